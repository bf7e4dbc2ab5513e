//! Taking capture by triggers and by queries out again, from one table or altogether (TG-14).
//!
//! What is there is asked of the catalogue, not of the declaration: triggers of tables that are declared no more go too.
//! Triggers go first, so that the application's writes never meet a function without its table.

use antiphon_engine::Fault;
use antiphon_model::RelationName;
use tokio_postgres::Client;

use super::objects;
use crate::{
    entities::{Plan, Step},
    errors, query_capture, quote,
    stamp::function::SCHEMA,
};

/// Our recording triggers, apart from those that Postgres copied from a root: on some tables, or on all.
const TRIGGERS: &str = "
    select t.tgname::text, tn.nspname::text, c.relname::text, c.relkind = 'p', p.proname::text
    from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid
        join pg_catalog.pg_namespace tn on tn.oid = c.relnamespace
        join pg_catalog.pg_proc p on p.oid = t.tgfoid join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = $1 and p.proname like 'audit%' and t.tgparentid = 0
        and ($2::oid is null or t.tgrelid in (select $2 union select relid from pg_catalog.pg_partition_tree($2)))
    order by 2, 3, 1";
const FUNCTIONS: &str = "
    select p.proname::text from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = $1 and p.proname like 'audit%' order by 1";
const TABLES: &str = "
    select pg_catalog.to_regclass('antiphon.audit') is not null or pg_catalog.to_regclass('antiphon.audit_order') is not null
        or pg_catalog.to_regclass('antiphon.audit_shapes') is not null
        or pg_catalog.to_regclass('antiphon.audit_state') is not null
        or pg_catalog.to_regclass('antiphon.audit_seq') is not null";
const POLLED: &str = "
    select pg_catalog.to_regclass('antiphon.poll_told') is not null
        or pg_catalog.to_regclass('antiphon.poll_tables') is not null
        or pg_catalog.to_regclass('antiphon.poll_said') is not null";
/// Whether the schema holds nothing but what goes.
const EMPTY: &str = "
    select exists(select from pg_catalog.pg_namespace where nspname = $1)
        and not exists(select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c') and c.relname !~ '^(audit|poll)(_|$)')
        and not exists(select from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
            where n.nspname = $1 and p.proname not like 'audit%')";

/// Plans the removal of every object of capture by triggers and by queries.
///
/// # Errors
/// Fails where the catalogue cannot be read.
pub async fn plan_uninstall(client: &Client) -> Result<Plan, Fault> {
    let mut steps = Vec::new();
    drop_triggers(client, None, &mut steps).await?;
    for row in client.query(FUNCTIONS, &[&SCHEMA]).await.map_err(errors::sql)? {
        drop_function(row.get(0), &mut steps)?;
    }
    let there = client.query_one(TABLES, &[]).await.map_err(errors::sql)?.get(0);
    let polled = client.query_one(POLLED, &[]).await.map_err(errors::sql)?.get(0);
    for (sql, why) in query_capture::REMOVE {
        steps.push(Step::new(sql.to_owned(), "none that the application waits for".to_owned(), why, polled));
    }
    for (sql, why) in objects::REMOVE {
        steps.push(Step::new(sql.to_owned(), "none that the application waits for".to_owned(), why, there));
    }
    let empty = client.query_one(EMPTY, &[&SCHEMA]).await.map_err(errors::sql)?.get(0);
    let sql = format!("drop schema if exists {}", quote::ident(SCHEMA)?);
    steps.push(Step::new(sql, "none".to_owned(), "nothing else is in it", empty));
    Ok(Plan { steps })
}

/// Adds the steps that take one table out.
pub(crate) async fn leave(client: &Client, table: u32, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let functions = drop_triggers(client, Some(table), steps).await?;
    for function in functions.iter().filter(|name| !name.starts_with("audit_statement_end")) {
        drop_function(function, steps)?;
    }
    Ok(())
}

async fn drop_triggers(client: &Client, table: Option<u32>, steps: &mut Vec<Step>) -> Result<Vec<String>, Fault> {
    let mut functions = Vec::new();
    for row in client.query(TRIGGERS, &[&SCHEMA, &table]).await.map_err(errors::sql)? {
        let table = RelationName { schema: row.get(1), name: row.get(2) };
        let quoted = quote::qualified(&table)?;
        let drop = format!("drop trigger if exists {} on {quoted}", quote::ident(row.get(0))?);
        // As the stamp's: the root is locked before its partitions, as an application that writes locks them.
        let first = if row.get(3) { format!("lock table {quoted} in access exclusive mode; ") } else { String::new() };
        let lock = format!("ACCESS EXCLUSIVE on {table}");
        steps.push(Step::new(first + &drop, lock, "its rows are not recorded any more", true));
        functions.push(row.get(4));
    }
    functions.sort();
    functions.dedup();
    Ok(functions)
}

fn drop_function(name: &str, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let name = RelationName { schema: SCHEMA.to_owned(), name: name.to_owned() };
    let sql = format!("drop function if exists {}()", quote::qualified(&name)?);
    steps.push(Step::new(sql, "none".to_owned(), "nothing runs it any more", true));
    Ok(())
}
