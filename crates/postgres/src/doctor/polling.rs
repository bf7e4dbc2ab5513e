//! What capture by queries cannot see, and what it needs of each table: the cursor's type, index, precision and values.
//!
//! Columns that are set by an application's clock, to the second, or without a time zone still work, by a margin; they
//! are told with what can go wrong (PL-05). A table without an index on its cursor is read whole at every poll, and the
//! server's own plan says so (PL-07).

use std::collections::HashMap;

use antiphon_engine::Fault;
use antiphon_model::{Code, EntityType};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::Findings;
use crate::{
    catalogue::{self, ColumnInfo, TableInfo},
    errors, query_capture, quote,
};

/// So many of the newest values are looked at.
const PROBED_ROWS: i64 = 200;
/// Fewer say nothing about precision.
const TOLD_ROWS: i64 = 20;
/// So many rows without a value are named.
const NAMED_ROWS: i64 = 5;

pub(super) async fn check(client: &Client, entities: &[EntityType], findings: &mut Findings) -> Result<(), Fault> {
    match query_capture::check_sight(client).await {
        Ok(()) => findings.ok("sight", "the role sees when transactions began"),
        Err(fault) => findings.fault("sight", &fault, None),
    }
    let reconciled = query_capture::reconciled(client).await?;
    for entity in entities {
        let checked = table(client, entity, &reconciled, findings).await;
        findings.take(&format!("cursor {}", entity.table), checked);
    }
    Ok(())
}

async fn table(
    client: &Client,
    entity: &EntityType,
    reconciled: &HashMap<u32, i64>,
    findings: &mut Findings,
) -> Result<(), Fault> {
    let Some(table) = catalogue::find_table(client, &entity.table).await? else { return Ok(()) };
    let name = format!("cursor {}", table.name);
    if let Err(fault) = query_capture::check(&table, entity) {
        findings.fault(&name, &fault, None);
        return Ok(());
    }
    let cursor = entity.polling.cursor.as_deref().unwrap_or_default();
    let Some(column) = table.column(cursor) else { return Ok(()) };
    seen(entity, reconciled.get(&table.oid).copied(), findings);
    index(client, &table, (entity, column), findings).await?;
    values(client, &table, column, findings).await?;
    nulls(client, &table, (entity, column), findings).await
}

/// What the method itself leaves out, whatever the table is (PL-01, PL-02).
fn seen(entity: &EntityType, every_seconds: Option<i64>, findings: &mut Findings) {
    let check = format!("seen {}", entity.table);
    let state = "state, not history: what changes several times between two polls is told once";
    match (&entity.polling.soft_delete, every_seconds) {
        (_, Some(seconds)) => {
            findings.ok(&check, format!("{state}; deletes are found by a reconciliation every {seconds} s"));
        }
        (Some(column), None) => {
            let told = format!(
                "{state}; rows marked by `{column}` are told as deleted, other deletes by a reconciliation only"
            );
            findings.ok(&check, told);
        }
        (None, None) => {
            let remedy = "name a `soft_delete` column, or set capture.reconcile_interval_seconds".to_owned();
            let detail = format!("{state}; deletes not seen, but for those by a reconciliation or through the door");
            findings.warn(&check, detail, Some(remedy));
        }
    }
}

async fn index(
    client: &Client,
    table: &TableInfo,
    (entity, column): (&EntityType, &ColumnInfo),
    findings: &mut Findings,
) -> Result<(), Fault> {
    let check = format!("cursor_index {}", table.name);
    let leads = |index: &&catalogue::IndexInfo| {
        index.whole && index.valid && index.columns.first() == Some(&Some(column.name.clone()))
    };
    if let Some(index) = table.indexes.iter().find(leads) {
        findings.ok(&check, format!("`{}` orders the table by its cursor", index.name));
        return Ok(());
    }
    let (name, cursor) = (quote::qualified(&table.name)?, quote::ident(&column.name)?);
    let keys: Vec<String> = entity.key.iter().map(|key| quote::ident(key)).collect::<Result<_, _>>()?;
    let keys = keys.join(", ");
    let explain = format!(
        "explain (costs off) select * from {name} where {cursor} >= (select pg_catalog.max({cursor}) from {name}) \
         order by {cursor}, {keys} limit 1000"
    );
    let lines = client.simple_query(&explain).await.map_err(errors::sql)?;
    let line = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(|line| line.trim().to_owned()),
        _ => None,
    };
    let plan: Vec<String> = lines.iter().filter_map(line).collect();
    let detail = format!("no index begins with the cursor: each poll reads the whole table ({})", plan.join("; "));
    findings.warn(&check, detail, Some(format!("create index concurrently on {name} ({cursor}, {keys});")));
    Ok(())
}

/// How the cursor is written, as far as its type, its values and the table tell.
async fn values(client: &Client, table: &TableInfo, column: &ColumnInfo, findings: &mut Findings) -> Result<(), Fault> {
    let check = format!("cursor_values {}", table.name);
    let moment = column.type_sql == "pg_catalog.timestamptz";
    if !moment && column.type_sql != "pg_catalog.\"timestamp\"" {
        let told = format!(
            "`{}` is {}: every write must raise it, by one sequence without a cache",
            column.name, column.ty.name
        );
        findings.ok(&check, told);
        return Ok(());
    }
    let (name, cursor) = (quote::qualified(&table.name)?, quote::ident(&column.name)?);
    let ahead = if moment { "p.c > pg_catalog.clock_timestamp() + interval '5 s'" } else { "false" };
    let probe = format!(
        "select pg_catalog.count(*), pg_catalog.count(*) filter (where pg_catalog.date_trunc('second', p.c) = p.c),
            pg_catalog.count(*) filter (where {ahead}),
            exists(select from pg_catalog.pg_trigger t where t.tgrelid = $1 and not t.tgisinternal
                and t.tgtype & 2 = 2 and t.tgname !~ 'antiphon')
        from (select t.{cursor} as c from {name} t where t.{cursor} is not null order by t.{cursor} desc
            limit {PROBED_ROWS}) p"
    );
    let row = client.query_one(&probe, &[&table.oid]).await.map_err(errors::sql)?;
    let (rows, whole, ahead, triggers): (i64, i64, i64, bool) = (row.get(0), row.get(1), row.get(2), row.get(3));
    let mut told = Vec::new();
    if !moment {
        told.push(
            "it has no time zone: where clocks are set back for winter an hour of changes may be missed".to_owned(),
        );
    }
    if column.type_modifier == 0 || rows >= TOLD_ROWS && whole == rows {
        told.push("it is to the second: values are rounded, which a margin of two seconds covers".to_owned());
    }
    if ahead > 0 {
        told.push(format!("{ahead} of its newest values lie in the future"));
    }
    if !triggers {
        told.push(
            "no trigger sets it, so the application does, by its own clock: what it writes more than two seconds behind \
             the server's clock may be missed"
                .to_owned(),
        );
    }
    if told.is_empty() {
        findings.ok(&check, format!("`{}` is set in the database, to the microsecond", column.name));
        return Ok(());
    }
    let remedy = format!(
        "a `before insert or update` trigger that sets new.{cursor} := now(), a timestamptz column, or \
         capture.reconcile_interval_seconds"
    );
    findings.warn(&check, format!("`{}`: {}", column.name, told.join("; ")), Some(remedy));
    Ok(())
}

/// Rows without a value are told apart by their keys (PL-12).
async fn nulls(
    client: &Client,
    table: &TableInfo,
    (entity, column): (&EntityType, &ColumnInfo),
    findings: &mut Findings,
) -> Result<(), Fault> {
    if column.not_null {
        return Ok(());
    }
    let check = format!("unpollable {}", table.name);
    let (name, cursor) = (quote::qualified(&table.name)?, quote::ident(&column.name)?);
    let keys: Vec<String> = entity.key.iter().map(|key| quote::ident(key)).collect::<Result<_, _>>()?;
    let texts: Vec<String> = keys.iter().map(|key| format!("t.{key}::pg_catalog.text")).collect();
    let sql = format!(
        "select pg_catalog.concat_ws(',', {}) from {name} t where t.{cursor} is null order by {} limit {}",
        texts.join(", "),
        keys.join(", "),
        NAMED_ROWS + 1
    );
    let rows = client.query(&sql, &[]).await.map_err(errors::sql)?;
    if rows.is_empty() {
        findings.ok(&check, format!("every row has a `{}`", column.name));
        return Ok(());
    }
    let named: Vec<String> = rows.iter().take(NAMED_ROWS as usize).map(|row| row.get(0)).collect();
    let more = if rows.len() as i64 > NAMED_ROWS { " and more" } else { "" };
    let detail = format!("rows without a `{}` cannot be polled: {}{more}", column.name, named.join(", "));
    let remedy = format!(
        "update {name} set {cursor} = now() where {cursor} is null; alter table {name} alter column {cursor} set not null;"
    );
    findings.problem(&check, Code::TableUnfit, detail, Some(remedy));
    Ok(())
}
