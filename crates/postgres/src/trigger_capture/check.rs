//! Before the first read: is this the database that the checkpoint belongs to, and is all in place that records its
//! changes?
//!
//! At the first connection of an epoch everything that is missing is made. A trigger is made under a lock that waits for
//! whoever writes to its table, so what it does not record is visible to every snapshot taken from then on. Later only
//! tables that are declared for the first time get theirs. Law: the checkpoint's own transaction must have its place,
//! under its number; a database that was restored or went another way has not, and is never read as if it had.

use std::collections::BTreeMap;

use antiphon_engine::{Fault, ports::Waits};
use antiphon_model::{Checkpoint, Code, Lsn, PublicationMark, SourceIdentity};
use tokio_postgres::Client;

use super::{
    TriggerConfig,
    install::{self, Baseline},
    objects,
};
use crate::{
    connect::connect_sql,
    entities::{self, Progress},
    errors,
};

/// The oldest server that we know.
const SERVER_VERSION_MIN: i32 = 150_000;

/// Everything that is known when reading may begin.
pub(super) struct Prepared {
    pub(super) client: Client,
    pub(super) identity: SourceIdentity,
    /// After which place reading begins.
    pub(super) started_at: Lsn,
    pub(super) baseline: Baseline,
}

/// Connects, proves, and makes what is missing.
pub(super) async fn prepare(
    config: &TriggerConfig,
    checkpoint: &Checkpoint,
    waits: &Waits<'_>,
) -> Result<Prepared, Fault> {
    let mut client = connect_sql(&config.info, "antiphon capture").await?;
    let mut identity = identify(&client, checkpoint).await?;
    let before = checkpoint.identity.as_ref().map(|identity| identity.publication.clone().unwrap_or_default());
    if let Some(before) = &before {
        install::check_method(before, install::METHOD_TRIGGER)?;
        if objects::find(&client).await? != Some(before.oid) {
            return Err(install::changed("the audit table was dropped".to_owned()));
        }
    }
    let audit = objects::ensure(&mut client).await?;
    let marks = tables(config, &client, (audit, before.as_ref()), waits).await?;
    let baseline = Baseline::new(audit, marks, before.as_ref());
    identity.publication = Some(baseline.mark().clone());
    let last = prove(&client, checkpoint).await?;
    let started_at = if before.is_some() { checkpoint.acknowledged } else { last };
    client.batch_execute("set synchronous_commit = on").await.map_err(errors::sql)?;
    Ok(Prepared { client, identity, started_at, baseline })
}

/// Proves that the checkpoint belongs to this server's database.
pub(crate) async fn identify(client: &Client, checkpoint: &Checkpoint) -> Result<SourceIdentity, Fault> {
    let statement = "
        select pg_catalog.current_setting('server_version_num')::int, pg_catalog.pg_is_in_recovery(), datname::text, oid
        from pg_catalog.pg_database where datname = pg_catalog.current_database()";
    let row = client.query_one(statement, &[]).await.map_err(errors::sql)?;
    let version: i32 = row.get(0);
    if version < SERVER_VERSION_MIN {
        let detail = format!("the server is Postgres {}, and 15 is the oldest that works", version / 10_000);
        return Err(Fault::new(Code::ConfigInvalid, detail));
    }
    if row.get(1) {
        return Err(Fault::new(Code::InRecovery, ""));
    }
    let history = "select (select system_identifier::text from pg_catalog.pg_control_system()),
        ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::int";
    let told = client.query_one(history, &[]).await.map_err(errors::sql)?;
    let now = SourceIdentity {
        system_identifier: told.get(0),
        timeline: told.get::<_, i32>(1).unsigned_abs(),
        database_oid: row.get(3),
        database: row.get(2),
        publication: None,
    };
    let Some(before) = &checkpoint.identity else { return Ok(now) };
    if before.system_identifier != now.system_identifier {
        return Err(Fault::new(Code::SourceReplaced, "the server is another one"));
    }
    if before.database_oid != now.database_oid {
        return Err(Fault::new(Code::SourceReplaced, format!("the database {} was made anew", now.database)));
    }
    if now.timeline < before.timeline {
        let detail = format!("it is on timeline {}, the checkpoint on {}", now.timeline, before.timeline);
        return Err(Fault::new(Code::SourceForked, detail));
    }
    Ok(now)
}

/// Makes the triggers of tables that have none yet, and checks those of the others; returns their marks.
async fn tables(
    config: &TriggerConfig,
    client: &Client,
    (audit, before): (u32, Option<&PublicationMark>),
    waits: &Waits<'_>,
) -> Result<BTreeMap<String, String>, Fault> {
    let mut marks = BTreeMap::new();
    for entity in &config.entities {
        let table = match install::describe(client, entity).await {
            Ok(table) => table,
            Err(fault) if fault.code() == Code::TableUnfit => {
                tracing::warn!(table = %entity.table, "the table is not captured: {}", fault.detail());
                continue;
            }
            Err(fault) => return Err(fault),
        };
        if let Some(before) = before {
            Baseline::check(client, before, Some(audit), &table).await?;
        }
        let plan = install::plan(client, &table, entity).await?;
        entities::apply(client, &plan, &mut |progress| {
            if let Progress::Retrying { attempt, .. } = progress {
                let detail = format!("{} is locked; its trigger was tried {attempt} times", table.name);
                waits(Fault::new(Code::TryAgain, detail));
            }
        })
        .await?;
        if let Some(mark) = install::mark(client, table.oid).await? {
            marks.insert(table.name.to_string(), mark);
        }
    }
    Ok(marks)
}

/// Returns the highest place that was given, once the checkpoint's transaction is found at its own.
pub(crate) async fn prove(client: &Client, checkpoint: &Checkpoint) -> Result<Lsn, Fault> {
    let statement = "select s.last_position, (select o.xid::text from antiphon.audit_order o where o.position = $1)
        from antiphon.audit_state s";
    let place = i64::try_from(checkpoint.lsn.as_u64()).unwrap_or(i64::MAX);
    let row = client.query_opt(statement, &[&place]).await.map_err(errors::sql)?;
    let row = row.ok_or_else(|| install::changed("the audit table's state was deleted".to_owned()))?;
    let last = Lsn::new(row.get::<_, i64>(0).unsigned_abs());
    if checkpoint.identity.is_none() {
        return Ok(last);
    }
    let captured = checkpoint.lsn > Lsn::ZERO;
    let found: Option<String> = row.get(1);
    let same = found.is_some_and(|xid| xid == checkpoint.xid.to_string());
    if last < checkpoint.acknowledged || (captured && !same) {
        let detail = format!("the last captured transaction, {}, is not in it", checkpoint.xid);
        return Err(Fault::new(Code::SourceRestored, detail));
    }
    Ok(last)
}
