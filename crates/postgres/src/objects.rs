//! What the application's database must hold for mutations: the schema `antiphon` and the records of applied ids.
//!
//! Records are partitioned by the id's text, which begins with time: a day is a partition, made ahead or when an id of
//! that day first comes, and dropped when no id so old is accepted any more (MUT-06). Everything here may be repeated.

use antiphon_engine::Fault;
use antiphon_model::Code;
use tokio_postgres::Client;

use crate::errors;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Records of ids older than this are dropped: a day more than ids are accepted for.
const KEPT_DAYS: u64 = 31;

/// Any number: whoever makes these objects takes turns.
const LOCK: i64 = 0x616e_7469_7068_6f6e;

const OBJECTS: &str = "
create schema if not exists antiphon;
create table if not exists antiphon.mutations (
  org text not null,
  id text collate \"C\" not null,
  subject text not null,
  content_hash text not null,
  entity_type text not null,
  entity_id text not null,
  xid xid8 not null,
  primary key (id, org)
) partition by range (id);
comment on table antiphon.mutations is 'antiphon: applied mutations, version 1';";

/// Makes what is missing, with room for the ids of yesterday, today and tomorrow.
///
/// # Errors
/// Fails with `PERMISSION` where the role may not create the schema or its tables.
pub async fn ensure_objects(client: &mut Client, now_ms: u64) -> Result<(), Fault> {
    let found = "select pg_catalog.to_regclass('antiphon.mutations') is not null";
    let there: bool = client.query_one(found, &[]).await.map_err(errors::sql)?.get(0);
    if !there {
        let transaction = client.transaction().await.map_err(errors::sql)?;
        let lock = format!("select pg_catalog.pg_advisory_xact_lock({LOCK})");
        transaction.batch_execute(&lock).await.map_err(errors::sql)?;
        transaction.batch_execute(OBJECTS).await.map_err(permission)?;
        transaction.commit().await.map_err(errors::sql)?;
    }
    let today = now_ms / DAY_MS;
    for day in today.saturating_sub(1)..=today + 1 {
        ensure_day(client, day).await?;
    }
    Ok(())
}

/// Makes the partition for ids of a moment.
pub(crate) async fn ensure_partition(client: &Client, wall_ms: u64) -> Result<(), Fault> {
    ensure_day(client, wall_ms / DAY_MS).await
}

/// Makes tomorrow's partition and drops those that no accepted id falls into; returns how many were dropped.
pub async fn maintain_objects(client: &Client, now_ms: u64) -> Result<usize, Fault> {
    let today = now_ms / DAY_MS;
    ensure_day(client, today + 1).await?;
    let sql = "select c.relname from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
               where i.inhparent = 'antiphon.mutations'::pg_catalog.regclass order by 1";
    let mut dropped = 0;
    for row in client.query(sql, &[]).await.map_err(errors::sql)? {
        let name: String = row.get(0);
        let day = name.strip_prefix("mutations_").and_then(|day| day.parse::<u64>().ok());
        if day.is_some_and(|day| day + KEPT_DAYS < today) {
            let drop = format!("drop table if exists antiphon.{}", crate::quote::ident(&name)?);
            client.batch_execute(&drop).await.map_err(errors::sql)?;
            dropped += 1;
        }
    }
    Ok(dropped)
}

async fn ensure_day(client: &Client, day: u64) -> Result<(), Fault> {
    let name = format!("antiphon.mutations_{day}");
    let there: bool =
        client.query_one("select pg_catalog.to_regclass($1) is not null", &[&name]).await.map_err(errors::sql)?.get(0);
    if there {
        return Ok(());
    }
    let (from, to) = (day * DAY_MS, (day + 1) * DAY_MS);
    let sql = format!(
        "begin; select pg_catalog.pg_advisory_xact_lock({LOCK}); create table if not exists {name} partition of \
         antiphon.mutations for values from ('{from:013}') to ('{to:013}'); commit"
    );
    if let Err(error) = client.batch_execute(&sql).await {
        client.batch_execute("rollback").await.map_err(errors::sql)?;
        return Err(permission(error));
    }
    Ok(())
}

fn permission(error: tokio_postgres::Error) -> Fault {
    match error.code().map(|code| code.code()) {
        Some("42501") => {
            let detail = "the role may not create the schema `antiphon` in the application's database; let its owner \
                          run: create schema antiphon authorization <role>";
            Fault::new(Code::Permission, detail).with_source(error)
        }
        _ => errors::sql(error),
    }
}
