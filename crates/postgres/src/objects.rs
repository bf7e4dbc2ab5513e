//! What the application's database must hold for mutations: the schema `antiphon` and the records of applied ids.
//!
//! Records are partitioned by the id's text, which begins with time: a day is a partition, made ahead or when an id of
//! that day first comes, and dropped when no id so old is accepted any more (MUT-06). Everything here may be repeated.

use antiphon_engine::Fault;
use antiphon_model::Code;
use tokio_postgres::Client;

use crate::{errors, quote};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Records of ids older than this are dropped: a day more than ids are accepted for.
const KEPT_DAYS: u64 = 31;

/// So many days' partitions are made ahead, so that days of failed maintenance do no harm.
const AHEAD_DAYS: u64 = 3;
/// A partition is dropped under a lock that every edit waits behind.
const LOCK_WAIT: &str = "200ms";

/// Any number: whoever makes these objects takes turns.
pub(crate) const LOCK: i64 = 0x616e_7469_7068_6f6e;

/// Even a schema that is there already is not "made if missing" by a role that may not make any.
const OBJECTS: &str = "
do $$ begin
  if pg_catalog.to_regnamespace('antiphon') is null then
    create schema antiphon;
    comment on schema antiphon is 'what Antiphon keeps beside the application''s rows: applied mutations, functions';
  end if;
end $$;
create table if not exists antiphon.mutations (
  org text collate \"C\" not null,
  id text collate \"C\" not null,
  subject text not null,
  content_hash text not null,
  entity_type text not null,
  entity_id text not null,
  xid xid8 not null,
  primary key (id, org)
) partition by range (id);
create table if not exists antiphon.objects (
  one bool primary key default true check (one),
  version int4 not null
);
insert into antiphon.objects (version) values (1) on conflict do nothing;";
/// The version of these objects that this binary knows.
const VERSION: i32 = 1;

/// Makes what is missing, with room for the ids of yesterday and the next days.
///
/// # Errors
/// Fails with `PERMISSION` where the role may not create the schema or its tables.
pub async fn ensure_objects(client: &mut Client, now_ms: u64) -> Result<(), Fault> {
    let found = "select pg_catalog.to_regclass('antiphon.objects') is not null";
    let there: bool = client.query_one(found, &[]).await.map_err(errors::sql)?.get(0);
    if !there {
        let transaction = client.transaction().await.map_err(errors::sql)?;
        let lock = format!("select pg_catalog.pg_advisory_xact_lock({LOCK})");
        transaction.batch_execute(&lock).await.map_err(errors::sql)?;
        transaction.batch_execute(OBJECTS).await.map_err(permission)?;
        transaction.commit().await.map_err(errors::sql)?;
    }
    check_version(client).await?;
    let today = now_ms / DAY_MS;
    for day in today.saturating_sub(1)..=today + AHEAD_DAYS {
        ensure_day(client, day).await?;
    }
    Ok(())
}

/// Refuses objects of a newer binary, so that an old one never writes what it does not understand.
async fn check_version(client: &Client) -> Result<(), Fault> {
    let row = client.query_opt("select version from antiphon.objects", &[]).await.map_err(errors::sql)?;
    match row.map(|row| row.get::<_, i32>(0)) {
        Some(version) if version > VERSION => {
            let detail = format!("the schema `antiphon` is at version {version}, this binary knows {VERSION}");
            Err(Fault::new(Code::LogNewer, detail))
        }
        _ => Ok(()),
    }
}

/// Makes the partition for ids of a moment.
pub(crate) async fn ensure_partition(client: &Client, wall_ms: u64) -> Result<(), Fault> {
    ensure_day(client, wall_ms / DAY_MS).await
}

/// Makes the partitions of the next days and drops those that no accepted id falls into; returns how many were dropped.
///
/// Nobody waits long for it: a lock that is not free at once is left for the next time.
pub async fn maintain_objects(client: &Client, now_ms: u64) -> Result<usize, Fault> {
    let today = now_ms / DAY_MS;
    for day in today..=today + AHEAD_DAYS {
        ensure_day(client, day).await?;
    }
    let sql = "select c.relname::text from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
               where i.inhparent = 'antiphon.mutations'::pg_catalog.regclass order by 1";
    let mut dropped = 0;
    for row in client.query(sql, &[]).await.map_err(errors::sql)? {
        let name: String = row.get(0);
        let day = name.strip_prefix("mutations_").and_then(|day| day.parse::<u64>().ok());
        if day.is_none_or(|day| day + KEPT_DAYS >= today) {
            continue;
        }
        let name = quote::ident(&name)?;
        let drop =
            format!("begin; set local lock_timeout = '{LOCK_WAIT}'; drop table if exists antiphon.{name}; commit");
        match client.batch_execute(&drop).await {
            Ok(()) => dropped += 1,
            Err(error) => {
                client.batch_execute("rollback").await.map_err(errors::sql)?;
                if error.code().is_none_or(|code| code.code() != "55P03") {
                    return Err(errors::sql(error));
                }
            }
        }
    }
    Ok(dropped)
}

/// Makes the partition of a day. A table is attached, because making a partition at once would have every edit wait.
async fn ensure_day(client: &Client, day: u64) -> Result<(), Fault> {
    let attached = "select exists(select from pg_catalog.pg_inherits
      where inhrelid = pg_catalog.to_regclass($1) and inhparent = pg_catalog.to_regclass('antiphon.mutations'))";
    let name = format!("antiphon.mutations_{day}");
    let there = client.query_one(attached, &[&name]).await.map_err(errors::sql)?;
    if there.get(0) {
        return Ok(());
    }
    let (from, to) = (day * DAY_MS, (day + 1) * DAY_MS);
    let sql = format!(
        "begin; set local lock_timeout = '5s'; select pg_catalog.pg_advisory_xact_lock({LOCK}); create table if not \
         exists {name} (like antiphon.mutations including all); commit"
    );
    run(client, &sql).await?;
    let sql = format!(
        "begin; set local lock_timeout = '5s'; alter table antiphon.mutations attach partition {name} for values from \
         ('{from:013}') to ('{to:013}'); commit"
    );
    match run(client, &sql).await {
        Ok(()) => Ok(()),
        // Somebody else was faster.
        Err(_) if client.query_one(attached, &[&name]).await.is_ok_and(|row| row.get(0)) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Runs a transaction, and ends it where it fails.
async fn run(client: &Client, sql: &str) -> Result<(), Fault> {
    if let Err(error) = client.batch_execute(sql).await {
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
