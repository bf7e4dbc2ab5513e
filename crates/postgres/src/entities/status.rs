//! What is prepared of each declared table and what is not.
//!
//! Read from the catalogue each time, so an index that was dropped or left invalid shows before the application's own
//! updates fail (PG-64). It repairs nothing: a new plan does.

use antiphon_engine::Fault;
use antiphon_model::{Code, EntityType, RelationName};
use tokio_postgres::Client;

use super::{
    Membership, Node, identity_columns, identity_ready, service_role, stamp_trigger,
    triggers::{self, Installed, State},
};
use crate::{
    catalogue::{self, Identity, TableInfo},
    query_capture, stamp,
    tenancy::Link,
};

/// How far a declared table is prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityStatus {
    /// The entity type.
    pub entity_type: String,
    /// The table.
    pub table: RelationName,
    /// Whether the stream carries it.
    pub in_publication: bool,
    /// Which identity old rows have: `default`, `nothing`, `full` or `index`.
    pub identity: &'static str,
    /// Whether old rows hold key and organisation, on every leaf.
    pub identity_ready: bool,
    /// Whether our own index, where there is one, is complete.
    pub index_valid: bool,
    /// Whether the metadata column is there.
    pub tx_column: bool,
    /// Whether the organisation column is not null.
    pub org_not_null: bool,
    /// How many tables hold its rows: one, or its leaves.
    pub leaves: usize,
    /// How many of them log key and organisation.
    pub leaves_ready: usize,
    /// How many rows the planner expects; `None` where the table was never analysed.
    pub rows_estimated: Option<u64>,
    /// What stands in the way, in words; `None` where all is ready.
    pub problem: Option<String>,
}

impl EntityStatus {
    /// Tells whether the table takes part.
    pub fn ready(&self) -> bool {
        self.problem.is_none()
    }
}

/// Looks at every declared table; one that cannot be looked at says why and hinders no other (PG-95).
///
/// # Errors
/// Fails where the database cannot be reached.
pub async fn list(client: &Client, entities: &[EntityType], publication: &str) -> Result<Vec<EntityStatus>, Fault> {
    all(client, entities, Some(publication)).await
}

/// Looks at declared tables whose rows triggers record: identities and publications are of no use to them.
///
/// # Errors
/// As `list`.
pub async fn list_recorded(client: &Client, entities: &[EntityType]) -> Result<Vec<EntityStatus>, Fault> {
    all(client, entities, None).await
}

async fn all(client: &Client, entities: &[EntityType], publication: Option<&str>) -> Result<Vec<EntityStatus>, Fault> {
    let mut statuses = Vec::with_capacity(entities.len());
    for entity in entities {
        statuses.push(match status(client, entity, entities, publication).await {
            Ok(status) => status,
            Err(fault) if fault.code() == Code::SourceUnreachable => return Err(fault),
            Err(fault) => EntityStatus { problem: Some(fault.detail().to_owned()), ..absent(entity) },
        });
    }
    Ok(statuses)
}

/// Looks at one declared table; `declared` are all of them, and without a publication triggers record its rows.
pub(crate) async fn status(
    client: &Client,
    entity: &EntityType,
    declared: &[EntityType],
    publication: Option<&str>,
) -> Result<EntityStatus, Fault> {
    let table = catalogue::describe(client, entity).await?;
    let found = match publication {
        Some(publication) => Some(Membership::read(client, publication, table.oid).await?),
        None => None,
    };
    let columns = identity_columns(entity);
    let nodes = Node::all(&table);
    let leaves: Vec<&Node<'_>> = nodes.iter().filter(|node| !node.partitioned).collect();
    let ready = |node: &&&Node<'_>| *node.identity == Identity::Full || node.identified(&columns);
    let leaves_ready = leaves.iter().filter(ready).count();
    let index_valid = nodes.iter().filter_map(Node::own_index).all(|index| index.valid);
    let mut status = EntityStatus {
        in_publication: found.as_ref().map_or(table.audited || entity.polling.cursor.is_some(), |found| found.member),
        identity: match table.identity {
            Identity::Default => "default",
            Identity::Nothing => "nothing",
            Identity::Full => "full",
            Identity::Index(_) => "index",
        },
        identity_ready: found.is_none() || identity_ready(&table, entity),
        index_valid,
        tx_column: table.column(&entity.tx).is_some(),
        org_not_null: entity.org_column().is_none_or(|org| table.column(org).is_some_and(|column| column.not_null)),
        leaves: leaves.len(),
        leaves_ready,
        rows_estimated: table.rows_estimated,
        ..absent(entity)
    };
    status.problem = match &found {
        Some(found) => problem(&status, &table, entity, found),
        None => recorded_problem(&status, &table, entity),
    };
    if status.problem.is_none() {
        status.problem = triggers_problem(client, entity, &table, declared).await?;
    }
    Ok(status)
}

/// Says what is wrong with our triggers.
async fn triggers_problem(
    client: &Client,
    entity: &EntityType,
    table: &TableInfo,
    declared: &[EntityType],
) -> Result<Option<String>, Fault> {
    let function = stamp::function::stamp(table, entity, &service_role(client).await?)?;
    let installed = Installed::read(client, &[table]).await?;
    let problem = match installed.state(&stamp_trigger(table, &function)) {
        State::Ready => None,
        State::Missing => Some("the trigger is missing that stamps who wrote each field"),
        State::Disabled => Some("the trigger that stamps who wrote each field is not enabled always"),
        State::Outdated => {
            Some("the trigger that stamps who wrote each field was made for another shape of the table or another role")
        }
    };
    if let Some(problem) = problem {
        return Ok(Some(problem.to_owned()));
    }
    if let Some(later) = triggers::later(client, table, stamp::TRIGGER).await? {
        let why =
            "runs after the one that stamps, which does not see what it changes: give it a name that sorts before `~`";
        return Ok(Some(format!("the trigger `{later}` {why}")));
    }
    let Some(link) = Link::read(client, entity, table, declared).await? else { return Ok(None) };
    let ready = link.state(client).await? == State::Ready;
    Ok((!ready)
        .then(|| format!("the triggers that keep its organisation as that of {} are not all there", link.parent.name)))
}

/// What stands in the way where triggers record the rows: they hold old rows whatever the log has of them.
fn recorded_problem(status: &EntityStatus, table: &TableInfo, entity: &EntityType) -> Option<String> {
    let recorded = TableInfo { audited: true, ..table.clone() };
    if let Err(fault) = catalogue::fits(&recorded, entity) {
        return Some(fault.detail().to_owned());
    }
    if entity.polling.cursor.is_some()
        && let Err(fault) = query_capture::check(table, entity)
    {
        return Some(fault.detail().to_owned());
    }
    (!status.tx_column).then(|| "there is no metadata column".to_owned())
}

fn problem(status: &EntityStatus, table: &TableInfo, entity: &EntityType, found: &Membership) -> Option<String> {
    if let Err(fault) = catalogue::fits(table, entity) {
        return Some(fault.detail().to_owned());
    }
    let partial = "the publication has only some of its rows or columns";
    let via_root = "the publication tells rows of partitions as rows of other tables";
    [
        (!status.identity_ready, "old rows do not hold key and organisation"),
        (!status.index_valid, "the index of its identity is incomplete"),
        (!status.tx_column, "there is no metadata column"),
        (!found.exists, "there is no publication"),
        (found.exists && !found.member, "it is not in the publication"),
        (found.member && !found.complete, "the publication leaves out some kinds of changes"),
        (found.partial, partial),
        (found.member && !found.via_root && !table.partitions.is_empty(), via_root),
    ]
    .into_iter()
    .find_map(|(wrong, what)| wrong.then(|| what.to_owned()))
}

fn absent(entity: &EntityType) -> EntityStatus {
    EntityStatus {
        entity_type: entity.name.clone(),
        table: entity.table.clone(),
        in_publication: false,
        identity: "nothing",
        identity_ready: false,
        index_valid: false,
        tx_column: false,
        org_not_null: false,
        leaves: 0,
        leaves_ready: 0,
        rows_estimated: None,
        problem: None,
    }
}
