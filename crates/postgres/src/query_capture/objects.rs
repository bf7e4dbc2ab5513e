//! What capture by queries keeps in the application's database beside the recorded changes: what was told of each row,
//! how far each table was read, and who edited through the door since (CAP-40, CAP-41).
//!
//! Changes themselves go into the table that triggers record into, with a place in its order, so that one reader serves
//! both. Law: what was told and what is recorded change in one transaction, so a row is told once however often it is
//! read, and a change that was recorded is never found again.

use antiphon_engine::Fault;
use tokio_postgres::Client;

use crate::{errors, objects::LOCK, trigger_capture};

/// No role but the one that makes them has any right on them.
const OBJECTS: &str = "
create table if not exists antiphon.poll_tables (
  relation oid primary key,
  watermark text,
  from_moment int8,
  from_value text,
  clock int8,
  every_seconds int8,
  asked timestamptz,
  reconciled timestamptz
);
create table if not exists antiphon.poll_told (
  relation oid not null,
  key text[] collate \"C\" not null,
  identity text not null,
  hash int8 not null,
  shape int8 not null,
  primary key (relation, key)
);
create table if not exists antiphon.poll_said (
  seq int8 generated always as identity primary key,
  xid xid8 not null,
  relation oid not null,
  key text[] not null,
  org text not null,
  deletes bool not null,
  said bytea not null
);
revoke all on antiphon.poll_tables, antiphon.poll_told, antiphon.poll_said from public;";

/// Returns the OID of what was told, by which all this is known again; `None` where there is none.
pub(super) async fn find(client: &Client) -> Result<Option<u32>, Fault> {
    let statement = "select pg_catalog.to_regclass('antiphon.poll_told')::pg_catalog.oid";
    Ok(client.query_one(statement, &[]).await.map_err(errors::sql)?.get(0))
}

/// Makes what is missing; may be repeated.
pub(super) async fn ensure(client: &mut Client) -> Result<(), Fault> {
    trigger_capture::objects::ensure(client).await?;
    if find(client).await?.is_none() {
        let transaction = client.transaction().await.map_err(errors::sql)?;
        let lock = format!("select pg_catalog.pg_advisory_xact_lock({LOCK})");
        transaction.batch_execute(&lock).await.map_err(errors::sql)?;
        transaction.batch_execute(OBJECTS).await.map_err(errors::sql)?;
        transaction.commit().await.map_err(errors::sql)?;
    }
    Ok(())
}

/// Forgets what was told of tables: they are copied anew.
pub(super) async fn forget(client: &Client, relation: Option<u32>) -> Result<(), Fault> {
    for statement in [
        "delete from antiphon.poll_told where $1::oid is null or relation = $1",
        "delete from antiphon.poll_tables where $1::oid is null or relation = $1",
    ] {
        client.execute(statement, &[&relation]).await.map_err(errors::sql)?;
    }
    Ok(())
}

/// What removes the tables.
pub(crate) const REMOVE: [(&str, &str); 3] = [
    ("drop table if exists antiphon.poll_told", "what was told of each row"),
    ("drop table if exists antiphon.poll_tables", "how far each table was read"),
    ("drop table if exists antiphon.poll_said", "who edited since"),
];
