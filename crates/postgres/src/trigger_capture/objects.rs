//! What trigger capture keeps in the application's database, beside the application's rows: the audit table, the order
//! of its transactions, and the shapes of its rows; made, kept small, and removed again (CAP-30, TG-09, TG-14).
//!
//! Recorded rows are never deleted one by one: they go with the partition of their day, once all of it is consumed, so
//! the table needs no vacuum and its indexes do not grow. Law: nothing goes that lies above the durable checkpoint, and
//! nothing by its age alone: a transaction that is open for days records rows of days ago (TG-03).

use antiphon_engine::Fault;
use antiphon_model::{Code, Lsn};
use tokio_postgres::{Client, error::SqlState};

use crate::{errors, objects::LOCK, quote};

/// So many days' partitions are made ahead; a default one takes what comes where that failed for longer.
const AHEAD_DAYS: i64 = 3;
/// A partition is dropped under a lock that every writer waits behind.
const LOCK_WAIT: &str = "200ms";
/// So many rows of the order are deleted at once.
const REAP_ROWS: i64 = 10_000;

/// No role but the one that makes them has any right on them.
const OBJECTS: &str = "
do $$ begin
  if pg_catalog.to_regnamespace('antiphon') is null then
    create schema antiphon;
    comment on schema antiphon is 'what Antiphon keeps beside the application''s rows: applied mutations, functions';
  end if;
end $$;
create sequence if not exists antiphon.audit_seq as int8 cache 1;
create table if not exists antiphon.audit (
  at timestamptz not null default pg_catalog.clock_timestamp(),
  xid xid8 not null,
  statement int8 not null,
  seq int8 not null,
  op \"char\" not null,
  relation oid,
  shape int8,
  columns text,
  kept int2[],
  old text,
  new text,
  said bytea
) partition by range (at);
create index if not exists audit_xid on antiphon.audit (xid, statement, seq);
create table if not exists antiphon.audit_default partition of antiphon.audit default;
create table if not exists antiphon.audit_shapes (
  relation oid not null,
  shape int8 not null,
  schema_name text not null,
  table_name text not null,
  columns text not null,
  primary key (relation, shape)
);
create table if not exists antiphon.audit_order (
  position int8 primary key,
  xid xid8 not null,
  changes int8 not null,
  bytes int8 not null,
  at timestamptz not null
);
create table if not exists antiphon.audit_state (
  one bool primary key default true check (one),
  ordered_below xid8 not null,
  last_position int8 not null
);
insert into antiphon.audit_state (ordered_below, last_position)
  select pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()), 0 on conflict do nothing;
revoke all on antiphon.audit, antiphon.audit_default, antiphon.audit_shapes, antiphon.audit_order, antiphon.audit_state
  from public;
revoke all on sequence antiphon.audit_seq from public;";

/// Returns the OID of the audit table, by which it is known again; `None` where there is none.
pub(crate) async fn find(client: &Client) -> Result<Option<u32>, Fault> {
    let statement = "select pg_catalog.to_regclass('antiphon.audit')::pg_catalog.oid";
    Ok(client.query_one(statement, &[]).await.map_err(errors::sql)?.get(0))
}

/// Makes what is missing; may be repeated.
pub(crate) async fn ensure(client: &mut Client) -> Result<u32, Fault> {
    if find(client).await?.is_none() {
        let transaction = client.transaction().await.map_err(errors::sql)?;
        let lock = format!("select pg_catalog.pg_advisory_xact_lock({LOCK})");
        transaction.batch_execute(&lock).await.map_err(errors::sql)?;
        transaction.batch_execute(OBJECTS).await.map_err(refused)?;
        transaction.commit().await.map_err(errors::sql)?;
    }
    ensure_days(client).await?;
    find(client).await?.ok_or_else(|| Fault::new(Code::TryAgain, "the audit table was removed while it was made"))
}

fn refused(error: tokio_postgres::Error) -> Fault {
    if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
        let detail = "the role may not make the audit table in the schema `antiphon`; let the owner of the database \
                      run: create schema antiphon authorization <role>";
        return Fault::new(Code::Permission, detail).with_source(error);
    }
    errors::sql(error)
}

/// Makes the partitions of today and of the next days, by the database's clock.
pub(crate) async fn ensure_days(client: &Client) -> Result<(), Fault> {
    let missing = format!(
        "select n.day, pg_catalog.to_char(n.day, 'YYYYMMDD') from (
            select (pg_catalog.date_trunc('day', pg_catalog.clock_timestamp(), 'UTC') at time zone 'UTC')::date + d as day
            from pg_catalog.generate_series(0, {AHEAD_DAYS}) d) n
        where not exists (select from pg_catalog.pg_inherits i
            where i.inhrelid = pg_catalog.to_regclass('antiphon.audit_' || pg_catalog.to_char(n.day, 'YYYYMMDD'))
                and i.inhparent = pg_catalog.to_regclass('antiphon.audit'))"
    );
    let missing = missing.replace("n.day, pg_catalog.to_char", "n.day::text, pg_catalog.to_char");
    for row in client.query(&missing, &[]).await.map_err(errors::sql)? {
        let (day, name): (String, String) = (row.get(0), row.get(1));
        let sql = format!(
            "begin; set local lock_timeout = '2s'; select pg_catalog.pg_advisory_xact_lock({LOCK});
            create table if not exists antiphon.audit_{name} (like antiphon.audit including defaults including indexes);
            revoke all on antiphon.audit_{name} from public;
            alter table antiphon.audit attach partition antiphon.audit_{name}
                for values from ('{day} 00:00:00+00') to (('{day} 00:00:00+00'::timestamptz + interval '1 day')); commit"
        );
        let Err(error) = client.batch_execute(&sql).await else { continue };
        client.batch_execute("rollback").await.map_err(errors::sql)?;
        // Somebody else was faster, or is busy: the default partition takes what comes meanwhile.
        if ![Some("55P03"), Some("42P17"), Some("42809"), Some("23514")].contains(&error.code().map(SqlState::code)) {
            return Err(errors::sql(error));
        }
    }
    Ok(())
}

/// Drops what was consumed: the order below `consumed`, and each day's partition whose rows all are; returns how many
/// partitions went.
pub(crate) async fn reap(client: &mut Client, consumed: Lsn) -> Result<usize, Fault> {
    let consumed = i64::try_from(consumed.as_u64()).unwrap_or(i64::MAX);
    // The checkpoint's own transaction stays: by it this database is known again.
    let order = "delete from antiphon.audit_order where position in (
        select position from antiphon.audit_order where position < $1 order by position limit $2)";
    client.execute(order, &[&consumed, &REAP_ROWS]).await.map_err(errors::sql)?;
    let partitions =
        "select c.relname::text from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
        where i.inhparent = pg_catalog.to_regclass('antiphon.audit') and c.relname < 'audit_' || pg_catalog.to_char(
            pg_catalog.clock_timestamp() at time zone 'UTC', 'YYYYMMDD') and c.relname ~ '^audit_[0-9]{8}$' order by 1";
    let mut dropped = 0;
    for row in client.query(partitions, &[]).await.map_err(errors::sql)? {
        dropped += usize::from(drop_consumed(client, row.get(0), consumed).await?);
    }
    // What the default partition took goes by rows: it cannot be dropped.
    let stray = "delete from antiphon.audit_default where ctid in (
        select a.ctid from antiphon.audit_default a, antiphon.audit_state s where a.xid < s.ordered_below
            and not exists (select from antiphon.audit_order o where o.xid = a.xid and o.position > $1) limit $2)";
    client.execute(stray, &[&consumed, &REAP_ROWS]).await.map_err(errors::sql)?;
    Ok(dropped)
}

/// Drops a partition where all of it is consumed, under a lock that keeps writers out between the look and the drop.
async fn drop_consumed(client: &mut Client, name: &str, consumed: i64) -> Result<bool, Fault> {
    let name = quote::ident(name)?;
    let left = format!(
        "select exists (select from antiphon.{name} a, antiphon.audit_state s where a.xid >= s.ordered_below)
            or exists (select from antiphon.audit_order o join antiphon.{name} a on a.xid = o.xid where o.position > $1)"
    );
    if client.query_one(&left, &[&consumed]).await.map_err(errors::sql)?.get(0) {
        return Ok(false);
    }
    let transaction = client.transaction().await.map_err(errors::sql)?;
    let lock = format!(
        "set local lock_timeout = '{LOCK_WAIT}'; lock table antiphon.audit in access exclusive mode; \
         lock table antiphon.{name} in access exclusive mode"
    );
    match transaction.batch_execute(&lock).await {
        Ok(()) => {}
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => return Ok(false),
        Err(error) => return Err(errors::sql(error)),
    }
    if transaction.query_one(&left, &[&consumed]).await.map_err(errors::sql)?.get(0) {
        return Ok(false);
    }
    transaction.batch_execute(&format!("drop table antiphon.{name}")).await.map_err(errors::sql)?;
    transaction.commit().await.map_err(errors::sql)?;
    Ok(true)
}

/// What removes the tables; the functions and triggers must have gone before.
pub(super) const REMOVE: [(&str, &str); 5] = [
    ("drop table if exists antiphon.audit", "the recorded rows"),
    ("drop table if exists antiphon.audit_order", "the order of their transactions"),
    ("drop table if exists antiphon.audit_shapes", "the shapes of their tables"),
    ("drop table if exists antiphon.audit_state", "how far they were put in order"),
    ("drop sequence if exists antiphon.audit_seq", "what numbered them"),
];
