//! Before the stream: is this the server, the database, the slot and the publication that the checkpoint belongs to?
//!
//! The order matters. What is wrong with the server comes before what is wrong with the slot, so that the fault names
//! the cause; publication and slot are created in this order, and only where there never was a checkpoint (PG-52).
//! Laws: a slot that is gone, lost, foreign or moved is a named state and never healed here (PG-18, I7). The stream
//! of a server that was not proven begins where the slot stands: what lies between the slot and the checkpoint is read
//! once more and must hold the checkpoint's own transaction (`proof`).

use std::time::Duration;

use antiphon_engine::{Fault, ports::Waits};
use antiphon_model::{Checkpoint, Code, Lsn, SourceIdentity, Visibility, Xid};
use tokio_postgres::Client;

use super::{
    SourceConfig, in_recovery,
    proof::{Life, Proof, Proven},
    timeline::contained_until,
    visible,
};
use crate::{
    connect::connect_sql,
    errors, failover,
    publication::{self, Baseline},
    replication::ReplicationConnection,
    slots::{self, Slot},
};

/// The oldest server that we know.
const SERVER_VERSION_MIN: i32 = 150_000;
/// From this version on, streams are asked for in the form that tells where a rollback lies, and by origin.
const SERVER_VERSION_PARALLEL: i32 = 160_000;
/// A server counts as dead after so much silence where it has no timeout of its own.
const SERVER_TIMEOUT: Duration = Duration::from_secs(60);
/// A status is sent at least this often.
const STATUS_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// The encoding of a database that holds any bytes as text.
const UNCHECKED: &str = "SQL_ASCII";

/// Everything that is known when the stream may begin.
pub(super) struct Prepared {
    pub(super) connection: ReplicationConnection,
    pub(super) client: Client,
    pub(super) identity: SourceIdentity,
    /// From where the server will stream.
    pub(super) started_at: Lsn,
    /// What the stream must still show before it is believed.
    pub(super) proof: Proof,
    /// The command that begins the stream.
    pub(super) command: String,
    /// A 64-bit transaction number of now.
    pub(super) reference: Xid,
    pub(super) status_interval: Duration,
    pub(super) server_timeout: Duration,
    pub(super) baseline: Baseline,
}

/// Connects and proves; creates publication and slot at the very first connection.
pub(super) async fn prepare(
    config: &SourceConfig,
    checkpoint: &Checkpoint,
    proven: &Proven,
    waits: &Waits<'_>,
) -> Result<Prepared, Fault> {
    let client = connect_sql(&config.info, "antiphon capture").await?;
    let server = Server::read(&client).await?;
    server.check()?;
    let mut settings = vec![("logical_decoding_work_mem", config.decoding_work_memory.as_str())];
    if server.encoding == UNCHECKED {
        // Bytes that are no text would end the stream for ever; unconverted, they arrive and are flagged (PG-84).
        settings.push(("client_encoding", UNCHECKED));
    }
    let mut connection = ReplicationConnection::connect(&config.info, "antiphon capture", &settings).await?;
    let started = same_server(&client, &mut connection).await?;
    let mut identity = identify(&mut connection, &server, checkpoint).await?;
    let slot = ensure_slot(config, &client, checkpoint, waits)
        .await
        .map_err(|fault| promoted(fault, checkpoint, &identity))?;
    let before = checkpoint.identity.as_ref().and_then(|identity| identity.publication.as_ref());
    let baseline = Baseline::take(&client, &config.publication, &config.tables(), before).await?;
    identity.publication = Some(baseline.mark(before));
    let confirmed = check_slot(&slot, &identity.database, checkpoint)?;
    if checkpoint.identity.is_none() {
        visible::wait(&client, &config.slot, waits).await?;
    }
    if slot.failover {
        failover::check_standbys(&client).await?;
    }
    let timeout = sender_timeout(&mut connection).await?;
    let life = Life { identity: identity.clone(), started, confirmed };
    let (started_at, proof) = Proof::begin(checkpoint, proven, life);
    Ok(Prepared {
        command: command(config, started_at, server.version),
        started_at,
        proof,
        reference: server.reference,
        status_interval: if timeout.is_zero() { STATUS_INTERVAL_MAX } else { (timeout / 3).min(STATUS_INTERVAL_MAX) },
        server_timeout: if timeout.is_zero() { SERVER_TIMEOUT } else { timeout * 2 },
        connection,
        client,
        identity,
        baseline,
    })
}

/// What the server says of itself.
struct Server {
    version: i32,
    in_recovery: bool,
    wal_level: String,
    database: String,
    database_oid: u32,
    reference: Xid,
    encoding: String,
}

impl Server {
    async fn read(client: &Client) -> Result<Server, Fault> {
        let statement = "
            select pg_catalog.current_setting('server_version_num')::int, pg_catalog.pg_is_in_recovery(),
                pg_catalog.current_setting('wal_level'), datname::text, oid, pg_catalog.pg_current_snapshot()::text,
                pg_catalog.current_setting('server_encoding')
            from pg_catalog.pg_database where datname = pg_catalog.current_database()";
        let row = client.query_one(statement, &[]).await.map_err(errors::sql)?;
        let unreadable = |error| Fault::new(Code::Internal, "the server printed no snapshot").with_source(error);
        let snapshot: Visibility = row.get::<_, &str>(5).parse().map_err(unreadable)?;
        Ok(Server {
            version: row.get(0),
            in_recovery: row.get(1),
            wal_level: row.get(2),
            database: row.get(3),
            database_oid: row.get(4),
            reference: snapshot.xmax(),
            encoding: row.get(6),
        })
    }

    fn check(&self) -> Result<(), Fault> {
        if self.version < SERVER_VERSION_MIN {
            let detail = format!("the server is Postgres {}, and 15 is the oldest that works", self.version / 10_000);
            return Err(Fault::new(Code::ConfigInvalid, detail));
        }
        if self.in_recovery {
            return Err(in_recovery());
        }
        if self.wal_level != "logical" {
            return Err(Fault::new(Code::WalLevel, format!("wal_level is {}", self.wal_level)));
        }
        Ok(())
    }
}

/// Proves that the checkpoint belongs to this server's history.
async fn identify(
    connection: &mut ReplicationConnection,
    server: &Server,
    checkpoint: &Checkpoint,
) -> Result<SourceIdentity, Fault> {
    let unreadable = || Fault::new(Code::PoolerRefused, "the server does not identify itself");
    let rows = connection.query("IDENTIFY_SYSTEM").await?;
    let row = rows.first().ok_or_else(unreadable)?;
    let column = |index: usize| row.get(index).and_then(Option::as_deref).ok_or_else(unreadable);
    let now = SourceIdentity {
        system_identifier: column(0)?.to_owned(),
        timeline: column(1)?.parse().map_err(|_| unreadable())?,
        database_oid: server.database_oid,
        database: server.database.clone(),
        publication: None,
    };
    let written: Lsn = column(2)?.parse().map_err(|_| unreadable())?;
    let Some(before) = &checkpoint.identity else { return Ok(now) };
    if before.system_identifier != now.system_identifier {
        return Err(Fault::new(Code::SourceReplaced, "the server is another one"));
    }
    if before.database_oid != now.database_oid {
        let detail = format!("the database {} was made anew", now.database);
        return Err(Fault::new(Code::SourceReplaced, detail));
    }
    if now.timeline < before.timeline {
        let detail = format!("it is on timeline {}, the checkpoint on {}", now.timeline, before.timeline);
        return Err(Fault::new(Code::SourceForked, detail));
    }
    if now.timeline > before.timeline {
        let rows = connection.query(&format!("TIMELINE_HISTORY {}", now.timeline)).await?;
        let history = rows.first().and_then(|row| row.get(1)).and_then(Option::as_deref).unwrap_or_default();
        // What was acknowledged beyond our last commit held nothing of ours and may be gone.
        let until = contained_until(history, before.timeline);
        if until.is_none_or(|until| checkpoint.lsn > until) {
            // By this position an operator finds what was taken back.
            let began = until.map(|until| format!(" at {until},")).unwrap_or_default();
            let detail = format!("timeline {} began{began} before our last change at {}", now.timeline, checkpoint.lsn);
            return Err(Fault::new(Code::SourceForked, detail));
        }
        return Ok(now);
    }
    let reached = checkpoint.acknowledged.max(checkpoint.lsn);
    if written < reached {
        let detail = format!("it has written up to {written}, the checkpoint is at {reached}");
        return Err(Fault::new(Code::SourceRestored, detail));
    }
    Ok(now)
}

/// Of several hosts, both connections must have met the same one: a moment apart, another may be the primary.
///
/// Returns when it was started, as it prints it.
async fn same_server(client: &Client, connection: &mut ReplicationConnection) -> Result<String, Fault> {
    let statement = "select (pg_catalog.pg_postmaster_start_time(), pg_catalog.pg_is_in_recovery())::text";
    let ours: String = client.query_one(statement, &[]).await.map_err(errors::sql)?.get(0);
    let rows = connection.query(statement).await?;
    let theirs = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
    if theirs == Some(ours.as_str()) {
        return Ok(ours);
    }
    Err(Fault::new(Code::SourceUnreachable, "two connections met different servers"))
}

/// Names the cause where a slot is missing because another server took over (PG-24).
fn promoted(fault: Fault, checkpoint: &Checkpoint, now: &SourceIdentity) -> Fault {
    match &checkpoint.identity {
        Some(before) if fault.code() == Code::SlotMissing && now.timeline > before.timeline => {
            let detail = format!("{}; the server is on timeline {} now", fault.detail(), now.timeline);
            Fault::new(Code::SlotMissingAfterFailover, detail)
        }
        _ => fault,
    }
}

async fn ensure_slot(
    config: &SourceConfig,
    client: &Client,
    checkpoint: &Checkpoint,
    waits: &Waits<'_>,
) -> Result<Slot, Fault> {
    let name = &config.slot;
    if let Some(slot) = slots::find(client, name).await? {
        let published = publication::find(client, &config.publication, &[]).await?.is_some();
        if checkpoint.identity.is_none() && !published {
            let detail = format!(
                "the slot {name} is older than its publication {} would be; drop it with `antiphon slots drop {name}`",
                config.publication
            );
            return Err(Fault::new(Code::PublicationChanged, detail));
        }
        return Ok(slot);
    }
    if checkpoint.identity.is_some() {
        return Err(Fault::new(Code::SlotMissing, format!("there is no slot {name}")));
    }
    publication::create_if_missing(client, &config.publication).await?;
    slots::create(&config.info, name, &|blockers| visible::tell(name, blockers, waits)).await?;
    let gone = || Fault::new(Code::SlotMissing, format!("the slot {name} went away as soon as it was made"));
    slots::find(client, name).await?.ok_or_else(gone)
}

/// Returns the slot's confirmed position, where the slot is ours and whole.
fn check_slot(slot: &Slot, database: &str, checkpoint: &Checkpoint) -> Result<Lsn, Fault> {
    let name = &slot.name;
    if slot.plugin.as_deref() != Some(slots::PLUGIN) || slot.database.as_deref() != Some(database) {
        let plugin = slot.plugin.as_deref().unwrap_or("none");
        let database = slot.database.as_deref().unwrap_or("none");
        let detail = format!("the slot {name} has the plugin {plugin} and the database {database}");
        return Err(Fault::new(Code::SlotForeign, detail));
    }
    if slot.lost() {
        let reason = slot.invalidation.as_deref().unwrap_or("wal_removed");
        return Err(Fault::new(Code::SlotLost, format!("the slot {name}: {reason}")));
    }
    if let Some(pid) = slot.active_pid {
        return Err(slots::in_use(pid));
    }
    let confirmed = slot.confirmed.unwrap_or(Lsn::ZERO);
    // A checkpoint without a position has nothing that could have been skipped.
    if checkpoint.identity.is_some() && checkpoint.acknowledged > Lsn::ZERO && confirmed > checkpoint.acknowledged {
        let detail = format!("the slot {name} is at {confirmed}, the checkpoint at {}", checkpoint.acknowledged);
        return Err(Fault::new(Code::SlotAdvanced, detail));
    }
    Ok(confirmed)
}

/// Reads the timeout as it holds for this very session: a role may have its own.
async fn sender_timeout(connection: &mut ReplicationConnection) -> Result<Duration, Fault> {
    let statement = "select setting from pg_catalog.pg_settings where name = 'wal_sender_timeout'";
    let rows = connection.query(statement).await?;
    let text = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
    let unreadable = || Fault::new(Code::Internal, "the server printed no wal_sender_timeout");
    let millis = text.and_then(|text| text.parse().ok()).ok_or_else(unreadable)?;
    Ok(Duration::from_millis(millis))
}

/// Names were checked, so that quoting them needs no escapes.
fn command(config: &SourceConfig, from: Lsn, version: i32) -> String {
    let (slot, publication) = (&config.slot, &config.publication);
    let form = if version >= SERVER_VERSION_PARALLEL {
        "proto_version '4', streaming 'parallel', origin 'any'"
    } else {
        "proto_version '2', streaming 'on'"
    };
    format!(
        "START_REPLICATION SLOT \"{slot}\" LOGICAL {from} ({form}, messages 'true', publication_names '\"{publication}\"')"
    )
}
