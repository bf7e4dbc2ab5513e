//! Our triggers and their functions: what is there of them, and the steps that make or remove them.
//!
//! A function is made anew where its text is not what it would be now; a trigger carries a hash of its definition as
//! its argument. All are enabled always, so that restored and replicated rows pass them too, and all are on the root of
//! a partitioned table, whose partitions get copies, those made later as well.

use std::collections::BTreeMap;

use antiphon_engine::Fault;
use antiphon_model::RelationName;
use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use super::Step;
use crate::{
    catalogue::TableInfo,
    errors, quote,
    stamp::function::{Function, SCHEMA},
};

/// A trigger as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    /// The table.
    pub(crate) table: &'a TableInfo,
    /// The trigger's name.
    pub(crate) name: &'a str,
    /// When it fires, as SQL: `before insert or update`.
    pub(crate) event: &'a str,
    /// For which rows, as SQL.
    pub(crate) condition: Option<String>,
    /// What it runs.
    pub(crate) function: &'a Function,
    /// What it is for.
    pub(crate) why: &'a str,
}

/// How a trigger is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// As it should be.
    Ready,
    /// It is not there, or not on every partition.
    Missing,
    /// It runs what was made for another shape of the table or another role.
    Outdated,
    /// It is there and does not fire always.
    Disabled,
}

struct Trigger {
    relation: u32,
    name: String,
    enabled: String,
    argument: String,
    function: String,
}

/// Our triggers on some tables, and our functions.
pub(crate) struct Installed {
    schema: bool,
    triggers: Vec<Trigger>,
    functions: BTreeMap<String, String>,
}

const SCHEMA_THERE: &str = "select exists(select from pg_catalog.pg_namespace where nspname = $1)";
const TRIGGERS: &str = "
    select t.tgrelid, t.tgname::text, t.tgenabled::text,
        pg_catalog.rtrim(pg_catalog.encode(t.tgargs, 'escape'), '\\0'), p.proname::text
    from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid
        join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where t.tgrelid = any($1) and n.nspname = $2
    order by t.tgname";
const FUNCTIONS: &str = "
    select p.proname::text, p.prosrc from pg_catalog.pg_proc p
        join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = $1 and p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype";

impl Installed {
    /// Reads what is there on tables and their partitions.
    pub(crate) async fn read(client: &Client, tables: &[&TableInfo]) -> Result<Installed, Fault> {
        let oids: Vec<u32> = tables.iter().flat_map(|table| relations(table)).collect();
        let read = async {
            let schema = client.query_one(SCHEMA_THERE, &[&SCHEMA]).await?.try_get(0)?;
            let mut triggers = Vec::new();
            for row in client.query(TRIGGERS, &[&oids, &SCHEMA]).await? {
                triggers.push(Trigger {
                    relation: row.try_get(0)?,
                    name: row.try_get(1)?,
                    enabled: row.try_get(2)?,
                    argument: row.try_get(3)?,
                    function: row.try_get(4)?,
                });
            }
            let mut functions = BTreeMap::new();
            for row in client.query(FUNCTIONS, &[&SCHEMA]).await? {
                functions.insert(row.try_get(0)?, row.try_get(1)?);
            }
            Ok(Installed { schema, triggers, functions })
        };
        read.await.map_err(errors::sql)
    }

    /// Tells how a trigger is found.
    pub(crate) fn state(&self, wanted: &Wanted<'_>) -> State {
        let fits =
            |trigger: &Trigger| trigger.function == wanted.function.name.name && trigger.argument == hash(wanted);
        let mut states = relations(wanted.table).map(|relation| {
            let found = self.triggers.iter().find(|one| one.relation == relation && one.name == wanted.name);
            match found {
                None => State::Missing,
                Some(trigger) if !fits(trigger) || !self.current(wanted.function) => State::Outdated,
                Some(trigger) if trigger.enabled != "A" => State::Disabled,
                Some(_) => State::Ready,
            }
        });
        states.find(|state| *state != State::Ready).unwrap_or(State::Ready)
    }

    /// Returns the names of our triggers on a table.
    pub(crate) fn names(&self, table: &TableInfo) -> impl Iterator<Item = &str> {
        let on_it = self.triggers.iter().filter(|trigger| trigger.relation == table.oid);
        on_it.map(|trigger| trigger.name.as_str())
    }

    fn current(&self, function: &Function) -> bool {
        self.functions.get(&function.name.name) == Some(&function.body)
    }

    /// Adds the steps that bring a trigger about.
    pub(crate) fn add(&self, wanted: &Wanted<'_>, steps: &mut Vec<Step>) -> Result<(), Fault> {
        let schema = format!("create schema if not exists {}", quote::ident(SCHEMA)?);
        if !steps.iter().any(|step| step.sql == schema) {
            let why = "the schema for what must commit together with the application's rows";
            steps.push(Step::new(schema, "none".to_owned(), why, !self.schema));
        }
        let root = &wanted.table.name;
        let there = self.triggers.iter().find(|one| one.relation == wanted.table.oid && one.name == wanted.name);
        let outdated =
            there.is_some_and(|one| one.function != wanted.function.name.name || one.argument != hash(wanted));
        let create = wanted.function.create()?;
        if !steps.iter().any(|step| step.sql == create) {
            steps.push(Step::new(create, "none".to_owned(), wanted.why, !self.current(wanted.function)));
        }
        let lock = format!("SHARE ROW EXCLUSIVE on {root}");
        let (name, table) = (quote::ident(wanted.name)?, quote::qualified(root)?);
        if outdated {
            steps.push(drop_trigger(wanted.table, wanted.name, "it was made for another declaration")?);
        }
        let condition = wanted.condition.as_ref().map(|sql| format!(" when ({sql})")).unwrap_or_default();
        let sql = format!(
            "create trigger {name} {} on {table} for each row{condition} execute function {}({})",
            wanted.event,
            quote::qualified(&wanted.function.name)?,
            quote::literal(&hash(wanted))?
        );
        steps.push(Step::new(sql, lock.clone(), wanted.why, outdated || there.is_none()));
        let sql = format!("alter table {table} enable always trigger {name}");
        let always = self.state(wanted) == State::Ready
            || relations(wanted.table).all(|relation| {
                let found = self.triggers.iter().find(|one| one.relation == relation && one.name == wanted.name);
                found.is_some_and(|one| one.enabled == "A")
            });
        steps.push(Step::new(sql, lock, "replicated and restored rows pass it too", outdated || !always));
        Ok(())
    }

    /// Adds the steps that remove every trigger of ours from a table, and those functions that served it alone.
    pub(crate) fn remove(&self, table: &TableInfo, only: &[&str], steps: &mut Vec<Step>) -> Result<(), Fault> {
        let mut functions = Vec::new();
        let ours = |trigger: &&Trigger| trigger.relation == table.oid && only.contains(&trigger.name.as_str());
        for trigger in self.triggers.iter().filter(ours) {
            steps.push(drop_trigger(table, &trigger.name, "the table is let go")?);
            functions.push(&trigger.function);
        }
        functions.dedup();
        for function in functions {
            let name = RelationName { schema: SCHEMA.to_owned(), name: function.clone() };
            let sql = format!("drop function if exists {}()", quote::qualified(&name)?);
            steps.push(Step::new(sql, "none".to_owned(), "nothing runs it any more", true));
        }
        Ok(())
    }
}

fn drop_trigger(table: &TableInfo, name: &str, why: &str) -> Result<Step, Fault> {
    let quoted = quote::qualified(&table.name)?;
    let sql = format!("drop trigger if exists {} on {quoted}", quote::ident(name)?);
    // By itself it locks the partitions before the root, and an application that writes locks them the other way round.
    let first = format!("lock table {quoted} in access exclusive mode; ");
    let sql = if table.partitions.is_empty() { sql } else { first + &sql };
    Ok(Step::new(sql, format!("ACCESS EXCLUSIVE on {}", table.name), why, true))
}

fn relations(table: &TableInfo) -> impl Iterator<Item = u32> {
    std::iter::once(table.oid).chain(table.partitions.iter().map(|leaf| leaf.oid))
}

/// Tells definitions of one trigger apart.
fn hash(wanted: &Wanted<'_>) -> String {
    let definition = format!("{}\0{}", wanted.event, wanted.condition.as_deref().unwrap_or_default());
    Sha256::digest(definition.as_bytes())[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}
