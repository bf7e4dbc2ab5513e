//! Reads what the states are made of: a few statements, none of which waits for a lock.
//!
//! The slots and the log in one, the transactions that hold them back in another, then publication and tables. A table
//! that cannot be looked at says so by itself and hinders no other (PG-95).

use antiphon_engine::Fault;
use antiphon_model::{Lsn, RelationName};
use tokio::time::Instant;
use tokio_postgres::Client;

use super::{Concern, ConcernKind, HealthConfig, LogRate, PartitionChange, concern};
use crate::{
    CaptureMethod, entities, errors,
    publication::{self, Publication},
    query_capture,
    slots::{self, Slot},
};

/// What a transaction holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldsBy {
    /// It has a number: the slot's log is kept from its first change on.
    Writing,
    /// It reads with an old snapshot.
    Reading,
    /// It was prepared and nobody has ended it.
    Prepared,
}

/// A transaction that keeps log or old rows from being removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// How.
    pub by: HoldsBy,
    /// The process; none for a prepared transaction.
    pub pid: Option<i32>,
    /// The database.
    pub database: String,
    /// The application's name, or that of the prepared transaction.
    pub name: String,
    /// How long it has been open.
    pub open_seconds: i64,
    /// How many transactions began since.
    pub age: i64,
}

/// A declared table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableLook {
    /// The entity type.
    pub entity_type: String,
    /// The table.
    pub table: RelationName,
    /// Whether the publication carries it.
    pub published: bool,
    /// `default`, `nothing`, `full` or `index`.
    pub identity: &'static str,
    /// Whether old rows hold key and organisation.
    pub identity_ready: bool,
    /// Whether our own index of it is complete.
    pub index_valid: bool,
    /// What stands in the way, in words.
    pub problem: Option<String>,
    /// What capture cannot see of it by its method: `history`, and `deletes`.
    pub unseen: Vec<&'static str>,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The name of our slot.
    pub slot_name: String,
    /// Our slot.
    pub slot: Option<Slot>,
    /// The slots of others.
    pub others: Vec<Slot>,
    /// `max_slot_wal_keep_size` in bytes, where there is a limit.
    pub keep_bytes_max: Option<i64>,
    /// After how many seconds the server gives up an idle slot, where it does (18 and newer).
    pub idle_timeout_seconds: Option<i64>,
    /// How fast the log grows.
    pub log_bytes_per_second: Option<u64>,
    /// Who holds back log or old rows, the oldest first.
    pub holders: Vec<Holder>,
    /// The name of our publication.
    pub publication_name: String,
    /// Our publication.
    pub publication: Option<Publication>,
    /// The declared tables.
    pub tables: Vec<TableLook>,
    /// Partitions of them whose rows came or went without the stream.
    pub partitions: Vec<PartitionChange>,
}

/// What a look found.
#[derive(Clone, Debug)]
pub struct Look {
    /// What was read.
    pub watched: Watched,
    /// What of it deserves attention, the gravest first.
    pub concerns: Vec<Concern>,
    /// After how many seconds the slot is lost at the present rate, where a limit and a rate are known.
    pub seconds_until_loss: Option<u64>,
}

const SETTINGS: &str = "
    select (select s.setting::bigint from pg_catalog.pg_settings s where s.name = 'max_slot_wal_keep_size'),
        (select s.setting::bigint from pg_catalog.pg_settings s where s.name = 'idle_replication_slot_timeout'),
        (select s.unit from pg_catalog.pg_settings s where s.name = 'idle_replication_slot_timeout'),
        (case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
            else pg_catalog.pg_current_wal_lsn() end)::text";

/// A sender's own transaction is no holder: it ends with what it waits for.
const HOLDERS: &str = "
    select held.kind, held.pid, held.database, held.name, held.open_seconds, held.age from (
        select case when a.backend_xid is null then 'reading' else 'writing' end as kind, a.pid,
            coalesce(a.datname::text, '') as database, coalesce(a.application_name, '') as name,
            coalesce(extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::bigint, 0) as open_seconds,
            greatest(coalesce(pg_catalog.age(a.backend_xid), 0), coalesce(pg_catalog.age(a.backend_xmin), 0))::bigint as age
        from pg_catalog.pg_stat_activity a
        where (a.backend_xid is not null or a.backend_xmin is not null) and a.pid <> pg_catalog.pg_backend_pid()
            and a.backend_type <> 'walsender' and a.xact_start is not null
        union all
        select 'prepared', null, p.database::text, p.gid,
            extract(epoch from pg_catalog.clock_timestamp() - p.prepared)::bigint, pg_catalog.age(p.transaction)::bigint
        from pg_catalog.pg_prepared_xacts p
    ) held
    order by held.open_seconds desc limit 5";

/// Looks at everything but the tables.
pub(super) async fn look(
    client: &Client,
    config: &HealthConfig,
    rate: &mut LogRate,
    (tables, partitions): (Vec<TableLook>, Vec<PartitionChange>),
) -> Result<Look, Fault> {
    let row = client.query_one(SETTINGS, &[]).await.map_err(errors::sql)?;
    let number = |column: usize| row.try_get::<_, Option<i64>>(column).map_err(errors::sql);
    // The limit is in megabytes, and -1 where there is none; the timeout is off at 0.
    let keep_bytes_max =
        number(0)?.filter(|megabytes| *megabytes >= 0).map(|megabytes| megabytes.saturating_mul(1 << 20));
    let unit: Option<&str> = row.try_get(2).map_err(errors::sql)?;
    let idle_seconds = if unit == Some("min") { 60 } else { 1 };
    let idle_timeout_seconds = number(1)?.filter(|timeout| *timeout > 0).map(|timeout| timeout * idle_seconds);
    let end: Option<&str> = row.try_get(3).map_err(errors::sql)?;
    let end = end.and_then(|end| end.parse::<Lsn>().ok());
    let (ours, others) = slots::list(client).await?.into_iter().partition::<Vec<_>, _>(|slot| slot.name == config.slot);
    let watched = Watched {
        slot_name: config.slot.clone(),
        slot: ours.into_iter().next(),
        others,
        keep_bytes_max,
        idle_timeout_seconds,
        log_bytes_per_second: end.and_then(|end| rate.note(Instant::now(), end)),
        holders: holders(client).await?,
        publication_name: config.publication.clone(),
        publication: publication::find(client, &config.publication, &config.tables()).await?,
        tables,
        partitions,
    };
    let seconds_until_loss = concern::seconds_until_loss(&watched);
    let mut concerns = concern::concerns(&watched);
    if !config.method.decodes() {
        // Slots and publications are others' affair then.
        use ConcernKind::{PartitionsChanged, TableUnready, TransactionHolds};
        concerns.retain(|one| matches!(one.state, TransactionHolds | TableUnready | PartitionsChanged));
    }
    Ok(Look { concerns, seconds_until_loss, watched })
}

async fn holders(client: &Client) -> Result<Vec<Holder>, Fault> {
    let rows = client.query(HOLDERS, &[]).await.map_err(errors::sql)?;
    let holder = |row: &tokio_postgres::Row| Holder {
        by: match row.get(0) {
            "writing" => HoldsBy::Writing,
            "prepared" => HoldsBy::Prepared,
            _ => HoldsBy::Reading,
        },
        pid: row.get(1),
        database: row.get(2),
        name: row.get(3),
        open_seconds: row.get(4),
        age: row.get(5),
    };
    Ok(rows.iter().map(holder).collect())
}

/// Looks at the declared tables.
pub(super) async fn tables(client: &Client, config: &HealthConfig) -> Result<Vec<TableLook>, Fault> {
    let statuses = match config.method.decodes() {
        true => entities::list(client, &config.entities, &config.publication).await?,
        false => entities::list_recorded(client, &config.entities).await?,
    };
    let reconciled = match config.method {
        CaptureMethod::Query => query_capture::reconciled(client).await?,
        CaptureMethod::Log | CaptureMethod::Trigger => Default::default(),
    };
    let look = |status: entities::EntityStatus| TableLook {
        unseen: unseen(config, &status.entity_type, !reconciled.is_empty()),
        entity_type: status.entity_type,
        table: status.table,
        published: status.in_publication,
        identity: status.identity,
        identity_ready: status.identity_ready,
        index_valid: status.index_valid,
        problem: status.problem,
    };
    Ok(statuses.into_iter().map(look).collect())
}

/// What polling leaves out: states between two polls, and deletes that nothing marks and no reconciliation finds.
fn unseen(config: &HealthConfig, entity_type: &str, reconciled: bool) -> Vec<&'static str> {
    if config.method != CaptureMethod::Query {
        return Vec::new();
    }
    let declared = config.entities.iter().find(|entity| entity.name == entity_type);
    let marked = declared.is_some_and(|entity| entity.polling.soft_delete.is_some());
    if marked || reconciled { vec!["history"] } else { vec!["history", "deletes"] }
}
