//! Preparing tables for sync, and undoing it: plans of single statements, each with its lock and its reason.
//!
//! A plan is made from the catalogue, so what is done already is not needed again: a plan that was interrupted is made
//! anew and goes on where it stopped. The publication comes last when a table is added and first when it leaves: a
//! table without a usable identity is never published, so the application's own updates and deletes work at every
//! moment in between (PG-63).
//! Refused: tables whose changes are not logged (PG-85), and keys that nothing keeps unique.

mod add;
mod apply;
mod infer;
mod outlook;
mod remove;
mod status;
pub(crate) mod triggers;

use antiphon_engine::Fault;
use antiphon_model::{EntityType, RelationName};
use sha2::{Digest, Sha256};
use tokio_postgres::Client;

pub(crate) use self::status::status;
pub use self::{
    add::plan_add,
    apply::{Progress, apply},
    infer::{Proposal, infer, tables},
    outlook::{Known, Outlook, Prospect, outlook},
    remove::plan_remove,
    status::{EntityStatus, list, list_recorded},
};
use crate::{
    CaptureMethod,
    catalogue::{self, Identity, IndexInfo, TableInfo},
    errors,
    quote::{self, NAME_BYTES_MAX},
    stamp,
};

/// How a table is added.
#[derive(Clone, Debug, Default)]
pub struct AddOptions {
    /// The publication that it joins, where the log is decoded.
    pub publication: String,
    /// How the database is captured: only the log needs identities and a publication.
    pub method: CaptureMethod,
    /// Whether whole old rows are logged instead of key and organisation; costs log in every update.
    pub identity_full: bool,
    /// The role of the mutation service, whose settings the stamp believes; `None` for the role that adds the table.
    pub service_role: Option<String>,
    /// The declared types, among which `via` finds the organisation of the table that it names.
    pub declared: Vec<EntityType>,
}

/// How a table is removed.
#[derive(Clone, Debug)]
pub struct RemoveOptions {
    /// The publication that it leaves.
    pub publication: String,
    /// Whether the metadata column goes too, with what it holds.
    pub drop_tx: bool,
}

/// Statements in the order in which they run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The statements.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Tells whether nothing is left to do.
    pub fn done(&self) -> bool {
        self.steps.iter().all(|step| !step.needed)
    }
}

/// One statement.
#[derive(Clone, Debug)]
pub struct Step {
    /// The statement.
    pub sql: String,
    /// What it locks, in Postgres's own words.
    pub lock: String,
    /// What it is for.
    pub why: String,
    /// Whether it has to run; false where its effect is there already.
    pub needed: bool,
    /// What has to run before another try, because a failed one leaves something behind.
    clean_up: Option<String>,
}

impl Step {
    pub(crate) fn new(sql: String, lock: String, why: impl Into<String>, needed: bool) -> Step {
        Step { sql, lock, why: why.into(), needed, clean_up: None }
    }

    /// Tells whether the statement waits without blocking anyone who reads or writes.
    fn patient(&self) -> bool {
        self.sql.contains(" concurrently ")
    }
}

/// Returns the name of the index that serves as a table's identity; cut and told apart by a hash where it is too long.
pub fn identity_index_name(table: &str) -> String {
    bounded_name(table, "identity")
}

fn bounded_name(table: &str, purpose: &str) -> String {
    let name = format!("antiphon_{table}_{purpose}");
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    let hash: String = Sha256::digest(table.as_bytes())[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let room = NAME_BYTES_MAX - "antiphon_".len() - purpose.len() - hash.len() - 2;
    let mut end = room.min(table.len());
    while !table.is_char_boundary(end) {
        end -= 1;
    }
    format!("antiphon_{}_{hash}_{purpose}", &table[..end])
}

/// The table itself or one of its partitions, as far as identity is concerned.
#[derive(Clone, Copy)]
struct Node<'a> {
    name: &'a RelationName,
    identity: &'a Identity,
    indexes: &'a [IndexInfo],
    partitioned: bool,
    parent: Option<&'a RelationName>,
}

impl<'a> Node<'a> {
    /// Lists the table and its partitions, parents before children.
    fn all(table: &'a TableInfo) -> Vec<Node<'a>> {
        let root = Node {
            name: &table.name,
            identity: &table.identity,
            indexes: &table.indexes,
            partitioned: table.kind == crate::catalogue::TableKind::Partitioned,
            parent: None,
        };
        let partitions = table.partitions.iter().map(|leaf| Node {
            name: &leaf.name,
            identity: &leaf.identity,
            indexes: &leaf.indexes,
            partitioned: leaf.partitioned,
            parent: leaf.parent.as_ref(),
        });
        std::iter::once(root).chain(partitions).collect()
    }

    /// Tells whether the stream's old rows hold these columns and not all of them.
    fn identified(&self, columns: &[String]) -> bool {
        let index = match self.identity {
            Identity::Default => self.indexes.iter().find(|index| index.primary),
            Identity::Index(_) => self.indexes.iter().find(|index| index.identity),
            Identity::Full | Identity::Nothing => None,
        };
        let has = |index: &IndexInfo, name: &String| index.columns.iter().flatten().any(|column| column == name);
        index.is_some_and(|index| index.valid && columns.iter().all(|name| has(index, name)))
    }

    /// Finds our own index.
    fn own_index(&self) -> Option<&'a IndexInfo> {
        let name = identity_index_name(&self.name.name);
        self.indexes.iter().find(|index| index.name == name)
    }
}

/// The columns that old rows must hold: the key, then the organisation.
fn identity_columns(entity: &EntityType) -> Vec<String> {
    let mut columns = entity.key.clone();
    // Where everyone reads the type, the key is all there is to know.
    columns.extend(entity.org_column().filter(|org| !entity.key.iter().any(|key| key == org)).map(str::to_owned));
    columns
}

/// Tells whether old rows of a table hold key and organisation, on the table and on every partition.
fn identity_ready(table: &TableInfo, entity: &EntityType) -> bool {
    let nodes = Node::all(table);
    // The stream describes the table as its root is and sends what its leaves log: both must be of one mind.
    let full = nodes.iter().all(|node| *node.identity == Identity::Full);
    let columns = identity_columns(entity);
    if !catalogue::judged_beyond_key(entity).is_empty() {
        return full;
    }
    full || nodes.iter().filter(|node| !node.partitioned || node.parent.is_none()).all(|node| node.identified(&columns))
}

/// The stamp's trigger as it should be.
fn stamp_trigger<'a>(table: &'a TableInfo, function: &'a stamp::function::Function) -> triggers::Wanted<'a> {
    triggers::Wanted {
        table,
        name: stamp::TRIGGER,
        event: "before insert or update",
        condition: None,
        function,
        why: "keeps of each field who wrote it last, whoever writes",
    }
}

/// The role that this session was opened as, which is what the stamp compares.
async fn service_role(client: &Client) -> Result<String, Fault> {
    let row = client.query_one("select session_user::text", &[]).await.map_err(errors::sql)?;
    row.try_get(0).map_err(errors::sql)
}

/// What a publication is to a table.
struct Membership {
    exists: bool,
    via_root: bool,
    /// Whether it publishes insert, update, delete and truncate.
    complete: bool,
    /// Whether the table was added by name.
    named: bool,
    /// Whether the table is in it, by name or with all of its schema or database.
    member: bool,
    /// Whether only some rows or columns are published.
    partial: bool,
    /// Whether another publication has the table too.
    elsewhere: bool,
}

const MEMBERSHIP: &str = "
    with p as (
        select p.oid, p.pubname, p.pubviaroot, p.puballtables, p.pubinsert and p.pubupdate and p.pubdelete
                and p.pubtruncate as complete,
            exists(select from pg_catalog.pg_publication_rel r where r.prpubid = p.oid and r.prrelid = $2) as named,
            exists(select from pg_catalog.pg_publication_namespace n join pg_catalog.pg_class c
                on c.relnamespace = n.pnnspid where n.pnpubid = p.oid and c.oid = $2) as schema,
            exists(select from pg_catalog.pg_publication_rel r where r.prpubid = p.oid and r.prrelid = $2
                and (r.prqual is not null or r.prattrs is not null)) as partial
        from pg_catalog.pg_publication p
    )
    select p.pubviaroot, p.complete, p.named, p.named or p.schema or p.puballtables, p.partial,
        exists(select from p o where o.pubname <> $1 and (o.named or o.schema or o.puballtables))
    from (select 1) one left join p on p.pubname = $1";

impl Membership {
    async fn read(client: &Client, publication: &str, oid: u32) -> Result<Membership, Fault> {
        let row = client.query_one(MEMBERSHIP, &[&publication, &oid]).await.map_err(errors::sql)?;
        let flag = |column: usize| row.try_get::<_, Option<bool>>(column).map_err(errors::sql);
        Ok(Membership {
            exists: flag(0)?.is_some(),
            via_root: flag(0)?.unwrap_or(false),
            complete: flag(1)?.unwrap_or(false),
            named: flag(2)?.unwrap_or(false),
            member: flag(3)?.unwrap_or(false),
            partial: flag(4)?.unwrap_or(false),
            elsewhere: flag(5)?.unwrap_or(false),
        })
    }
}

/// Quotes an index, which lives in its table's schema.
fn index_name(table: &RelationName, index: &str) -> Result<String, Fault> {
    quote::qualified(&RelationName { schema: table.schema.clone(), name: index.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_indexes_fit_and_stay_apart_sec_04() {
        assert_eq!(identity_index_name("tasks"), "antiphon_tasks_identity");
        let long = ["x".repeat(63), format!("{}y", "x".repeat(62)), "ö".repeat(31)];
        let names: Vec<String> = long.iter().map(|table| identity_index_name(table)).collect();
        assert!(names.iter().all(|name| name.len() <= NAME_BYTES_MAX && name.ends_with("_identity")), "{names:?}");
        assert_ne!(names[0], names[1]);
    }
}
