//! The triggers of a table: what is there, what is missing, and what was changed behind our back (CAP-30, TG-05).
//!
//! Row triggers stand on a partitioned table's root, and Postgres copies them to every partition; triggers of statements
//! it does not copy, so those stand on each. All fire always, whatever `session_replication_role` says. Laws: a table
//! that was captured before and whose trigger was dropped, disabled or made anew has lost changes, and that is told
//! and never healed in silence; what only became stale is made anew at once.

use std::collections::BTreeMap;

use antiphon_engine::Fault;
use antiphon_model::{Code, EntityType, PublicationMark, RelationName};
use tokio_postgres::Client;

use super::function::{self, Functions};
use crate::{
    catalogue::{self, TableInfo},
    entities::{Plan, Step},
    errors, quote,
    stamp::function::{Function, SCHEMA},
};

/// The trigger that records rows. It runs before the application's own, which may change the same rows again.
pub(crate) const ROW: &str = "!antiphon_audit";
/// The trigger that ends a statement.
const STATEMENT: &str = "!antiphon_audit_end";
/// The triggers around `truncate`.
const EMPTIES: &str = "!antiphon_audit_empties";
const EMPTIED: &str = "!antiphon_audit_emptied";
/// The key under which a mark names its method, where tables stand.
pub(crate) const METHOD: &str = "(method)";
pub(crate) const METHOD_TRIGGER: &str = "trigger";

/// A trigger as it should be.
struct Wanted<'a> {
    relation: u32,
    on: &'a RelationName,
    name: &'static str,
    when: &'static str,
    function: &'a Function,
    why: &'static str,
    /// Whether Postgres copies it from the root.
    copied: bool,
}

/// A trigger as it is.
struct Found {
    relation: u32,
    name: String,
    always: bool,
    function: String,
}

const TRIGGERS: &str = "
    select t.tgrelid, t.tgname::text, t.tgenabled = 'A', p.proname::text
    from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid
        join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = $1 and t.tgrelid = any($2)";
const SOURCES: &str = "
    select p.proname::text, p.prosrc from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = $1 and p.proname like 'audit%'";
/// A trigger that was disabled and enabled again has another `xmin`.
const MARK: &str = "
    select t.tgrelid::text || '/' || t.oid::text || '/' || t.xmin::text
    from pg_catalog.pg_trigger t where t.tgrelid = $1 and t.tgname = $2";

/// What is there of a table.
pub(super) struct Installed {
    found: Vec<Found>,
    sources: BTreeMap<String, String>,
    shape_known: bool,
}

impl Installed {
    async fn read(client: &Client, table: &TableInfo, entity: &EntityType) -> Result<Installed, Fault> {
        let oids: Vec<u32> = std::iter::once(table.oid).chain(table.partitions.iter().map(|leaf| leaf.oid)).collect();
        let rows = client.query(TRIGGERS, &[&SCHEMA, &oids]).await.map_err(errors::sql)?;
        let found = rows.iter().map(|row| Found {
            relation: row.get(0),
            name: row.get(1),
            always: row.get(2),
            function: row.get(3),
        });
        let sources = client.query(SOURCES, &[&SCHEMA]).await.map_err(errors::sql)?;
        let shape = function::shape_number(table, &function::recorded(table, entity));
        let known = "select exists(select from antiphon.audit_shapes where relation = $1 and shape = $2)";
        let shape_known = client.query_one(known, &[&table.oid, &shape]).await.map_err(errors::sql)?.get(0);
        Ok(Installed {
            found: found.collect(),
            sources: sources.iter().map(|row| (row.get(0), row.get(1))).collect(),
            shape_known,
        })
    }

    fn current(&self, function: &Function) -> bool {
        self.sources.get(&function.name.name) == Some(&function.body)
    }

    fn find(&self, wanted: &Wanted<'_>) -> Option<&Found> {
        self.found.iter().find(|found| found.relation == wanted.relation && found.name == wanted.name)
    }

    fn ready(&self, wanted: &Wanted<'_>) -> bool {
        self.find(wanted).is_some_and(|found| found.always && found.function == wanted.function.name.name)
    }
}

/// Plans what a table lacks.
pub(super) async fn plan(client: &Client, table: &TableInfo, entity: &EntityType) -> Result<Plan, Fault> {
    let functions = function::functions(table, entity)?;
    let end = function::statement_end();
    let installed = Installed::read(client, table, entity).await?;
    let mut steps = Vec::new();
    remember(table, entity, &installed, &mut steps)?;
    for (function, why) in [
        (&functions.row, "records each changed row, and never fails a statement because it cannot"),
        (&functions.truncate, "records that the table was emptied"),
        (&end, "tells rows of one statement from those of the next"),
    ] {
        let needed = !installed.current(function);
        steps.push(Step::new(function.create()?, "none".to_owned(), why, needed));
        let revoke = format!("revoke all on function {}() from public", quote::qualified(&function.name)?);
        steps.push(Step::new(revoke, "none".to_owned(), "nobody else makes triggers of it", needed));
    }
    for wanted in wanted(table, &functions, &end) {
        add(&wanted, &installed, &mut steps)?;
    }
    Ok(Plan { steps })
}

fn remember(table: &TableInfo, entity: &EntityType, installed: &Installed, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let columns = function::recorded(table, entity);
    let sql = format!(
        "insert into antiphon.audit_shapes (relation, shape, schema_name, table_name, columns) values ({}, {}, {}, {}, {}) \
         on conflict do nothing",
        table.oid,
        function::shape_number(table, &columns),
        quote::literal(&table.name.schema)?,
        quote::literal(&table.name.name)?,
        quote::literal(&function::shape_text(&columns))?
    );
    steps.push(Step::new(sql, "none".to_owned(), "tells readers how its rows are recorded", !installed.shape_known));
    Ok(())
}

fn wanted<'a>(table: &'a TableInfo, functions: &'a Functions, end: &'a Function) -> Vec<Wanted<'a>> {
    const CHANGES: &str = "after insert or update or delete on";
    let mut all = Vec::new();
    let root = (table.oid, &table.name, true);
    let leaves = table.partitions.iter().map(|leaf| (leaf.oid, &leaf.name, false));
    for (relation, on, is_root) in std::iter::once(root).chain(leaves) {
        let one = |name, when, function, why| Wanted { relation, on, name, when, function, why, copied: false };
        all.push(one(STATEMENT, CHANGES, end, "tells rows of one statement from those of the next"));
        let empties = (EMPTIES, "before truncate on", &functions.truncate, "a partition is emptied alone, or with all");
        if !table.partitions.is_empty() {
            all.push(one(empties.0, empties.1, empties.2, empties.3));
        }
        if is_root {
            all.push(one(EMPTIED, "after truncate on", &functions.truncate, "row triggers do not see `truncate`"));
        }
        let row = one(ROW, CHANGES, &functions.row, "records each changed row, its partitions' too");
        all.push(Wanted { copied: !is_root, ..row });
    }
    all
}

fn add(wanted: &Wanted<'_>, installed: &Installed, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let there = installed.find(wanted);
    let (name, table) = (quote::ident(wanted.name)?, quote::qualified(wanted.on)?);
    let lock = format!("SHARE ROW EXCLUSIVE on {}", wanted.on);
    if !wanted.copied {
        let level = if wanted.name == ROW { "row" } else { "statement" };
        let function = quote::qualified(&wanted.function.name)?;
        let sql =
            format!("create trigger {name} {} {table} for each {level} execute function {function}()", wanted.when);
        steps.push(Step::new(sql, lock.clone(), wanted.why, there.is_none()));
    }
    // Copies on partitions are enabled with the root's.
    let needed = !installed.ready(wanted);
    let sql = format!("alter table {table} enable always trigger {name}");
    if !wanted.copied || there.is_some() {
        steps.push(Step::new(sql, lock, "restored and replicated rows pass it too", needed));
    }
    Ok(())
}

/// Finds what a table lacks that it had: its row trigger missing or not firing always, on it or on a partition.
async fn lost(client: &Client, table: &TableInfo) -> Result<Option<&'static str>, Fault> {
    let oids: Vec<u32> = std::iter::once(table.oid).chain(table.partitions.iter().map(|leaf| leaf.oid)).collect();
    let rows = client.query(TRIGGERS, &[&SCHEMA, &oids]).await.map_err(errors::sql)?;
    for oid in oids {
        let found = rows.iter().find(|row| row.get::<_, u32>(0) == oid && row.get::<_, &str>(1) == ROW);
        match found {
            None => return Ok(Some("has no trigger that records its rows")),
            Some(row) if !row.get::<_, bool>(2) => return Ok(Some("does not fire its recording trigger always")),
            Some(_) => {}
        }
    }
    Ok(None)
}

/// By what a table's trigger is known again.
pub(super) async fn mark(client: &Client, table: u32) -> Result<Option<String>, Fault> {
    let row = client.query_opt(MARK, &[&table, &ROW]).await.map_err(errors::sql)?;
    Ok(row.map(|row| row.get(0)))
}

/// What was known of the audit table and of every declared table's trigger.
#[derive(Clone, Debug)]
pub(super) struct Baseline {
    mark: PublicationMark,
}

impl Baseline {
    /// Takes what is there.
    pub(super) fn new(oid: u32, mut tables: BTreeMap<String, String>, before: Option<&PublicationMark>) -> Baseline {
        // A table that is not declared any more stays in it: declared again, it lacks what was written meanwhile.
        let forgotten = before.into_iter().flat_map(|before| before.tables.keys());
        for table in forgotten {
            tables.entry(table.clone()).or_default();
        }
        tables.insert(METHOD.to_owned(), METHOD_TRIGGER.to_owned());
        Baseline { mark: PublicationMark { oid, tables } }
    }

    /// Returns what to keep with the checkpoint.
    pub(super) fn mark(&self) -> &PublicationMark {
        &self.mark
    }

    /// Fails with `PUBLICATION_CHANGED` where what was known of a table is no longer so.
    pub(super) async fn check(
        client: &Client,
        before: &PublicationMark,
        audit: Option<u32>,
        table: &TableInfo,
    ) -> Result<(), Fault> {
        check_method(before, METHOD_TRIGGER)?;
        if audit != Some(before.oid) {
            return Err(changed("the audit table was dropped".to_owned()));
        }
        let Some(known) = before.tables.get(&table.name.to_string()) else { return Ok(()) };
        if let Some(lost) = lost(client, table).await? {
            return Err(changed(format!("{} {lost}", table.name)));
        }
        let now = mark(client, table.oid).await?;
        match now.as_ref() {
            Some(now) if now == known => Ok(()),
            _ if known.is_empty() => {
                Err(changed(format!("{} was not captured for a while: it was not declared", table.name)))
            }
            _ => Err(changed(format!("the trigger that records {} was disabled or made anew", table.name))),
        }
    }
}

/// Fails where the log was captured by another method.
pub(crate) fn check_method(before: &PublicationMark, method: &str) -> Result<(), Fault> {
    match before.tables.get(METHOD).map(String::as_str) {
        Some(known) if known == method => Ok(()),
        _ => Err(changed("the log was captured by another method so far".to_owned())),
    }
}

pub(crate) fn changed(detail: String) -> Fault {
    Fault::new(Code::PublicationChanged, detail)
}

/// Describes a declared table.
pub(super) async fn describe(client: &Client, entity: &EntityType) -> Result<TableInfo, Fault> {
    let table = catalogue::describe(client, entity).await?;
    match table.refusal() {
        Some(why) => Err(Fault::new(Code::TableUnfit, format!("table {}: {why}", entity.table))),
        None => Ok(table),
    }
}
