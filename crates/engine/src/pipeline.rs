//! One tenure at work: stream to batches, batches to the log, log to disk, and only then to readers and to Postgres.
//!
//! Three tasks with bounded channels between them, so that mapping, appending and flushing overlap:
//! `map` (transactions to activities), `append` (one fenced transaction a batch), `flush` (one commit for all that was
//! appended meanwhile). A batch is cut when the source is idle or when it is full, never by a timer.
//! Law (house 7): nothing is published and nothing acknowledged before the flush that covers it has returned.
//! When a stage fails, the whole tenure ends: the next one loads the stored checkpoint and goes on from there.

mod append;
mod flush;
mod map;

use std::{sync::Arc, time::Duration};

use antiphon_model::{Checkpoint, Code, EntityType, Lsn, Micros};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    Bus, Fault, Mapper, SealKey,
    copier::Copier,
    ports::{Batch, Capture, Lease, Notices, Schemas, SnapshotProgress, Source, Tenure},
};
pub(crate) use map::Observed;

/// A batch holds at most so many activities: large enough to spread the cost of a transaction over many rows.
const BATCH_ACTIVITIES_MAX: usize = 4_000;
/// And at most so many bytes: four batches may be under way at once.
const BATCH_BYTES_MAX: usize = 2 << 20;

/// What a tenure works with.
pub(crate) struct Works {
    pub(crate) entities: Vec<Arc<EntityType>>,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) schemas: Arc<dyn Schemas>,
    pub(crate) bus: Bus,
    pub(crate) notices: Arc<dyn Notices>,
    pub(crate) seal_key: SealKey,
    /// So many tables are copied side by side.
    pub(crate) copies_at_once: usize,
    pub(crate) clock: Arc<dyn Fn() -> Micros + Send + Sync>,
    pub(crate) observer: Arc<dyn Fn(Observed) + Send + Sync>,
}

/// What travels from mapping to appending, in order.
enum Work {
    /// Activities with the checkpoint behind them.
    Append(Batch),
    /// Nothing to append, but the source has come this far.
    Progress { checkpoint: Checkpoint, at: Micros },
}

/// What travels from appending to flushing, in order.
struct Appended {
    batch: Batch,
    /// The source's clock at a moment before which everything was appended.
    at: Micros,
    /// The position that may be acknowledged once this is durable.
    acknowledge: Lsn,
}

/// Runs a tenure until a fault ends it, which is returned, or until `stop`; then the lease is given back.
pub(crate) async fn run(
    works: Works,
    tenure: Tenure,
    capture: Box<dyn Capture>,
    stop: CancellationToken,
) -> Option<Fault> {
    let Tenure { checkpoint, organisations, snapshots, writer, flusher, lease, head } = tenure;
    let mapper = Mapper::new(&works.entities, organisations).believing(works.seal_key.clone());
    let pending = pending_copies(&works.entities, snapshots);
    let seed = format!("{}-{}", (works.clock)().0, checkpoint.lsn);
    let copier = Copier::new(&works, seed, pending);
    let acknowledge = capture.acknowledge();
    // One batch waits while one is appended; a few appended ones may wait for one flush.
    let (to_append, from_map) = mpsc::channel(1);
    let (to_flush, from_append) = mpsc::channel(4);
    let mut tasks = JoinSet::new();
    let map = map::Map::new(&works, mapper, copier, checkpoint.clone(), head.last);
    tasks.spawn(map.run(capture, to_append));
    tasks.spawn(append::run(
        writer,
        (head.epoch, checkpoint),
        works.bus.clone(),
        Arc::clone(&works.clock),
        from_map,
        to_flush,
    ));
    let flush = flush::Flush::new(flusher, &works);
    tasks.spawn(flush.run(from_append, acknowledge));
    tasks.spawn(keep_lease(lease, stop));
    let mut ended: Option<Fault> = None;
    while let Some(result) = tasks.join_next().await {
        let fault = match result {
            Ok(fault) => fault,
            Err(error) if error.is_cancelled() => continue,
            Err(error) => Some(Fault::new(Code::Internal, "a capture task panicked").with_source(error)),
        };
        // A stage whose neighbour went away ends without a fault of its own; the first real one is the reason.
        ended = ended.or(fault);
        tasks.abort_all();
    }
    ended
}

async fn keep_lease(mut lease: Box<dyn Lease>, stop: CancellationToken) -> Option<Fault> {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        fault = renew(&mut *lease) => return Some(fault),
    }
    lease.release().await.err()
}

/// Keeps a lease until it is lost, and says how.
pub(crate) async fn renew(lease: &mut dyn Lease) -> Fault {
    let interval = Duration::from_millis(lease.renew_interval_ms());
    loop {
        tokio::time::sleep(interval).await;
        if let Err(fault) = lease.renew().await {
            return fault;
        }
    }
}

/// Returns the copies that are still to do: declared types without a complete one.
fn pending_copies(entities: &[Arc<EntityType>], snapshots: Vec<SnapshotProgress>) -> Vec<SnapshotProgress> {
    let known = |name: &str| snapshots.iter().find(|progress| progress.entity_type == name).cloned();
    let all =
        entities.iter().map(|entity| known(&entity.name).unwrap_or_else(|| SnapshotProgress::fresh(&entity.name)));
    all.filter(|progress| !progress.complete).collect()
}
