//! Before the first poll: is this the database that the checkpoint belongs to, may we see who runs, and what was told?
//!
//! At the first connection of an epoch, and of a table that is declared later, every row there is noted as told without
//! telling it, because the copy that follows tells it; what changes from then on differs from what is noted. Laws: what
//! was noted lies before the copy's first chunk, so nothing falls between them; a table that was made anew under its name
//! is told and never read as if it were the old one.

use std::collections::BTreeMap;

use antiphon_engine::{Fault, ports::Waits};
use antiphon_model::{Checkpoint, Code, Lsn, PublicationMark, SourceIdentity};
use tokio_postgres::{
    Client,
    types::{ToSql, Type},
};

use super::{
    QueryConfig, look, objects,
    table::Polled,
    window::{From, Kind, Value, Window},
};
use crate::{
    connect::connect_sql,
    errors, quote,
    trigger_capture::{
        check::{identify, prove},
        install::{METHOD, changed, check_method},
    },
};

/// The word of a log that was captured by queries.
const METHOD_QUERY: &str = "query";
/// So many rows are noted at once.
const NOTED_ROWS: usize = 10_000;

/// Everything that is known when polling may begin.
pub(super) struct Prepared {
    pub(super) client: Client,
    pub(super) identity: SourceIdentity,
    /// After which place reading begins.
    pub(super) started_at: Lsn,
}

/// Connects, proves, and notes what is there of tables that were never polled.
pub(super) async fn prepare(
    config: &QueryConfig,
    checkpoint: &Checkpoint,
    waits: &Waits<'_>,
) -> Result<Prepared, Fault> {
    let mut client = connect_sql(&config.info, "antiphon capture").await?;
    let mut identity = identify(&client, checkpoint).await?;
    look::check_sight(&client).await?;
    let before = checkpoint.identity.as_ref().map(|identity| identity.publication.clone().unwrap_or_default());
    if let Some(before) = &before {
        check_method(before, METHOD_QUERY)?;
        if objects::find(&client).await? != Some(before.oid) {
            return Err(changed("what was told of each row was dropped".to_owned()));
        }
    }
    objects::ensure(&mut client).await?;
    client.batch_execute("set synchronous_commit = on").await.map_err(errors::sql)?;
    if before.is_none() {
        objects::forget(&client, None).await?;
    }
    let mut tables = before.as_ref().map(|before| before.tables.clone()).unwrap_or_default();
    begin_tables(config, &client, &mut tables, waits).await?;
    tables.insert(METHOD.to_owned(), METHOD_QUERY.to_owned());
    // People ask the database what is not seen.
    let every = config.reconcile_interval.map(|every| i64::try_from(every.as_secs().max(1)).unwrap_or(i64::MAX));
    client.execute("update antiphon.poll_tables set every_seconds = $1", &[&every]).await.map_err(errors::sql)?;
    let oid = objects::find(&client).await?.unwrap_or_default();
    identity.publication = Some(PublicationMark { oid, tables });
    let last = prove(&client, checkpoint).await?;
    let started_at = if before.is_some() { checkpoint.acknowledged } else { last };
    client.batch_execute("set lock_timeout = '2s'").await.map_err(errors::sql)?;
    Ok(Prepared { client, identity, started_at })
}

async fn begin_tables(
    config: &QueryConfig,
    client: &Client,
    marks: &mut BTreeMap<String, String>,
    waits: &Waits<'_>,
) -> Result<(), Fault> {
    for entity in &config.entities {
        let polled = match Polled::describe(client, entity).await {
            Ok(polled) => polled,
            Err(fault) if fault.code() == Code::TableUnfit => {
                tracing::warn!(table = %entity.table, "the table is not captured: {}", fault.detail());
                continue;
            }
            Err(fault) => return Err(fault),
        };
        let (name, oid) = (entity.table.to_string(), polled.table.oid.to_string());
        match marks.get(&name) {
            Some(known) if *known == oid => continue,
            Some(_) => return Err(changed(format!("the table {name} was made anew"))),
            None => {}
        }
        note(client, &polled, waits).await?;
        marks.insert(name, oid);
    }
    Ok(())
}

/// Notes every row as told, and where polling begins.
async fn note(client: &Client, polled: &Polled, waits: &Waits<'_>) -> Result<(), Fault> {
    let oid = polled.table.oid;
    objects::forget(client, Some(oid)).await?;
    let seen = look::look(client).await?;
    let mut window = Window::new(polled.kind, None, From::Beginning, None);
    let highest = highest(client, polled).await?;
    window.end(seen, 0, highest.clone());
    if polled.kind == Kind::Ranked {
        // Who was writing before is waited for by the copy, which reads what they wrote.
        let from = highest.map_or(From::Beginning, |value| From::Value(value.text));
        window = Window::new(polled.kind, window.watermark().cloned(), from, Some(seen.clock));
    }
    let (mut after, mut noted) = (None, 0_u64);
    loop {
        let (rows, last) = note_rows(client, polled, after.as_deref()).await?;
        noted += rows;
        if rows < NOTED_ROWS as u64 {
            break;
        }
        after = last;
        waits(Fault::new(Code::TryAgain, format!("{noted} rows of {} are noted before its copy", polled.table.name)));
    }
    tracing::info!(table = %polled.table.name, noted, "the table is polled from here on");
    look::keep(client, oid, &window).await
}

async fn highest(client: &Client, polled: &Polled) -> Result<Option<Value>, Fault> {
    let column = format!("t.{}", quote::ident(&polled.cursor()?.name)?);
    let (name, counts) = (polled.name()?, polled.counts(&column)?);
    let micros = match polled.kind {
        Kind::Timed => "(extract(epoch from h.value) * 1000000)::pg_catalog.int8",
        Kind::Ranked => "0::pg_catalog.int8",
    };
    let sql = format!(
        "select h.value::pg_catalog.text, {micros} from (select {column} as value from {name} t where {column} is not null
            and {counts} order by {column} desc limit 1) h"
    );
    let row = client.query_opt(&sql, &[]).await.map_err(errors::sql)?;
    Ok(row.map(|row| Value { text: row.get(0), micros: row.get(1) }))
}

async fn note_rows(
    client: &Client,
    polled: &Polled,
    after: Option<&[String]>,
) -> Result<(u64, Option<Vec<String>>), Fault> {
    let (name, keys, oid, shape) = (polled.name()?, polled.key_list()?, polled.table.oid, polled.shape);
    let condition = match after {
        Some(_) => format!("({keys}) > ({})", polled.key_values("$1::pg_catalog.text[]")?),
        None => "true".to_owned(),
    };
    let (key, identity, image, gone) = (polled.key_array()?, polled.identity()?, polled.image()?, polled.gone()?);
    let sql = format!(
        "with c as materialized (
            select {key} as key, {identity} as identity, pg_catalog.hashtextextended({image} collate \"C\", 0) as hash,
                {gone} as gone, pg_catalog.row_number() over (order by {keys}) as n
            from (select t.* from {name} t where {condition} order by {keys} limit {NOTED_ROWS}) t
        ), noted as (
            insert into antiphon.poll_told (relation, key, identity, hash, shape)
            select {oid}, c.key, c.identity, c.hash, {shape} from c where not c.gone on conflict do nothing
        )
        select pg_catalog.count(*), (select c.key from c order by c.n desc limit 1) from c"
    );
    let mut values: Vec<(&(dyn ToSql + Sync), Type)> = Vec::new();
    if let Some(after) = &after {
        values.push((after, Type::TEXT_ARRAY));
    }
    let rows = client.query_typed(&sql, &values).await.map_err(errors::sql)?;
    let Some(row) = rows.first() else { return Ok((0, None)) };
    Ok((row.get::<_, i64>(0).unsigned_abs(), row.get(1)))
}
