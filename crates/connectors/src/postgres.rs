//! A mirror in another Postgres: the declared tables, kept as they are in the source, for reports and for whoever asks in SQL.
//!
//! Laws: a transaction of the source is one transaction of the target, or a part of one, never split over two; the cursor
//! is a row of the target and moves in that same transaction, so that nothing is written twice or left out, whatever is
//! killed; one runner writes at a time. What the target refuses stops the mirror there, with a reason (ADR 0035).
//! It refuses to write into tables that it did not make, and into a database that is captured.

mod apply;
mod boundaries;
mod control;
mod errors;
mod events;
mod fold;
mod layout;
mod listing;
mod rows;
mod session;
mod standing;
mod status;
mod write;

use std::{sync::Arc, time::Duration};

use antiphon_engine::{
    Bus, Fault, backoff,
    ports::{Catalogue, Source},
};
use antiphon_model::{Class, Code, EntityType, Micros};
use async_trait::async_trait;
pub use errors::connect as connect_fault;
use session::Session;
pub use standing::Standing;
use status::Board;
pub use status::{ListingStatus, MirrorState, MirrorStatus};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

/// What needs a person is looked at again after this long, then twice as long, and so on,
const LASTING_MS: u64 = 1_000;
/// up to this.
const LASTING_MAX_MS: u64 = 60_000;
/// A runner that stands by looks this often whether the other one has ended.
const STAND_BY: Duration = Duration::from_secs(2);

/// Makes connections to the target; whoever implements it also drives them and pins how values are printed and read.
#[async_trait]
pub trait Connect: Send + Sync {
    /// Opens a connection.
    async fn connect(&self) -> Result<Client, Fault>;
}

/// What a mirror needs to know.
pub struct MirrorConfig {
    /// The name under which the target keeps the cursor.
    pub name: String,
    /// The target.
    pub target: Arc<dyn Connect>,
    /// The log, and the word that it has grown.
    pub bus: Bus,
    /// The source, for initial rows and for values that the log leaves out.
    pub source: Arc<dyn Source>,
    /// The present columns of tables.
    pub catalogue: Arc<dyn Catalogue>,
    /// The declared types, with their keys.
    pub entities: Vec<Arc<EntityType>>,
    /// By what the activity log is known again: a cursor of another log says nothing about this one.
    pub log_identity: String,
    /// The time.
    pub clock: Arc<dyn Fn() -> Micros + Send + Sync>,
}

/// A mirror at work.
pub struct MirrorService {
    config: Arc<MirrorConfig>,
    board: Board,
}

/// Tells how a mirror is; cheap to clone.
#[derive(Clone)]
pub struct MirrorHandle {
    config: Arc<MirrorConfig>,
    board: Board,
}

impl MirrorHandle {
    /// Returns how it is, for people.
    pub fn status(&self) -> MirrorStatus {
        self.board.status(&self.config.bus)
    }
}

impl MirrorService {
    /// Makes a mirror and its handle.
    pub fn new(config: MirrorConfig) -> (MirrorService, MirrorHandle) {
        let board = Board::new(&config.name, (config.clock)());
        let config = Arc::new(config);
        let handle = MirrorHandle { config: Arc::clone(&config), board: board.clone() };
        (MirrorService { config, board }, handle)
    }

    /// Mirrors until it is stopped; whatever fails is tried again from the cursor.
    pub async fn run(self, stop: CancellationToken) {
        let mut attempt = 0;
        loop {
            let began = self.board.progress();
            let ended = tokio::select! {
                // What is open at the target is rolled back with its connection.
                () = stop.cancelled() => return,
                ended = self.session() => ended,
            };
            let Err(fault) = ended else { continue };
            attempt = if self.board.progress() > began { 0 } else { attempt + 1 };
            let wait = wait(&fault, attempt);
            self.board.failed(&fault, wait, (self.config.clock)());
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Works over one connection until something fails; it never ends well.
    async fn session(&self) -> Result<(), Fault> {
        let client = self.config.target.connect().await?;
        let mut session = Session::open(Arc::clone(&self.config), self.board.clone(), client).await?;
        session.run().await
    }
}

fn wait(fault: &Fault, attempt: u32) -> Duration {
    match (fault.code(), fault.class()) {
        (Code::MirrorInUse, _) => STAND_BY,
        (_, Class::Transient) => backoff::wait(attempt, u64::from(attempt)),
        _ => Duration::from_millis(LASTING_MS.saturating_mul(1 << attempt.min(16)).min(LASTING_MAX_MS)),
    }
}
