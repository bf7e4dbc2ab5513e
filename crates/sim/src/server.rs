//! A server process: the engine's capture, bus, door and feeds behind the answers of protocol 4 and 5 (SIM-01).
//!
//! The shapes of answers are those of the room `server`, which may not be imported here; everything that decides is the
//! engine's and `sync`'s own. Law: a killed process takes its requests, streams and tasks with it where they stand.

mod answer;
mod body;
mod caller;
mod problem;
mod reading;
mod stream;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use antiphon_engine::{
    Bus, CaptureConfig, CaptureHandle, CaptureService, Door,
    ports::{ActivityLog, Directory},
};
use antiphon_model::{EntityType, SourceStatus};
use tokio_util::sync::CancellationToken;

use self::problem::Problem;
pub use self::stream::{Frames, Open, StreamFrame};
use crate::{Clock, Database, FixedSchemas, HintLink, LogLink, People, ProcessId, Simulation};

/// A server that cannot read the log at its start tries again after this time.
const START_AGAIN_MS: u64 = 500;

/// The switches of mutants in what a server does around the engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerManners {
    /// The right to read is looked at when a stream begins, and never again.
    pub mutant_connect_only: bool,
    /// What was brought as access is not compared on resume.
    pub mutant_access_on_resume: bool,
    /// Numbers of transactions are 32 bits wide.
    pub mutant_narrow: bool,
}

/// What somebody asks.
#[derive(Clone, Debug)]
pub struct Request {
    /// Names the answer.
    pub id: u64,
    /// Who asks.
    pub token: String,
    /// The organisation.
    pub org: String,
    /// What is asked.
    pub kind: Kind,
}

/// What can be asked, apart from streams.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A page of a list.
    List {
        /// The type.
        entity_type: String,
        /// The `next` of the page before.
        after: Option<String>,
        /// At most so many rows.
        limit: usize,
    },
    /// A page of a subset.
    Subset {
        /// The type.
        entity_type: String,
        /// The parameters that make it.
        parameters: Vec<(String, String)>,
        /// The `next` of the page before.
        after: Option<String>,
        /// At most so many rows.
        limit: usize,
    },
    /// Rows by their ids.
    Ids {
        /// The type.
        entity_type: String,
        /// The ids.
        ids: Vec<String>,
    },
    /// A batch of mutations.
    Mutate {
        /// The body of `POST .../mutations`.
        body: String,
    },
    /// The schema.
    Schema,
    /// The server's clock.
    Time,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The request's.
    pub id: u64,
    /// The HTTP status.
    pub status: u16,
    /// When to come back, where the server says so.
    pub retry_after_ms: Option<u64>,
    /// The body.
    pub body: String,
}

/// What a server is made of.
#[derive(Clone)]
pub struct Parts {
    /// The simulation.
    pub simulation: Simulation,
    /// The process.
    pub process: ProcessId,
    /// The customer's database.
    pub database: Database,
    /// The way to the log.
    pub log: LogLink,
    /// The way of hints to and from other servers.
    pub hints: HintLink,
    /// The directory.
    pub people: People,
    /// The process's clock.
    pub clock: Clock,
    /// Switches.
    pub manners: ServerManners,
}

/// A server; cheap to clone.
#[derive(Clone)]
pub struct Server {
    parts: Parts,
    app: Arc<Mutex<Option<Arc<App>>>>,
    starts: Arc<std::sync::atomic::AtomicU64>,
    running: Arc<std::sync::atomic::AtomicBool>,
}

/// A running server.
pub(crate) struct App {
    pub(crate) parts: Parts,
    pub(crate) entities: BTreeMap<String, Arc<EntityType>>,
    pub(crate) bus: Bus,
    pub(crate) capture: CaptureHandle,
    pub(crate) door: Door,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) drain: CancellationToken,
}

impl Server {
    /// Makes a server that does not run yet.
    pub fn new(parts: Parts) -> Server {
        Server { parts, app: Arc::default(), starts: Arc::default(), running: Arc::default() }
    }

    /// Starts it.
    pub fn start(&self) {
        self.running.store(true, std::sync::atomic::Ordering::Relaxed);
        let server = self.clone();
        self.parts.simulation.start(self.parts.process, async move { server.run().await });
    }

    /// Kills it where it stands.
    pub fn crash(&self) {
        self.parts.simulation.kill(self.parts.process);
        self.running.store(false, std::sync::atomic::Ordering::Relaxed);
        *self.slot() = None;
    }

    /// Starts it where it does not run.
    pub fn start_again(&self) {
        if !self.running.load(std::sync::atomic::Ordering::Relaxed) {
            self.crash();
            self.start();
        }
    }

    /// Stops it as a deployment does: streams are told, the lease is given back.
    pub fn drain(&self) {
        if let Some(app) = self.app() {
            self.running.store(false, std::sync::atomic::Ordering::Relaxed);
            app.drain.cancel();
        }
    }

    /// Returns its way to the log, to be cut or mended.
    pub fn log(&self) -> &LogLink {
        &self.parts.log
    }

    /// Returns what its capture is doing; `None` while it does not run.
    pub fn status(&self) -> Option<SourceStatus> {
        self.app().map(|app| app.capture.status())
    }

    /// Returns its process.
    pub fn process(&self) -> ProcessId {
        self.parts.process
    }

    /// Answers a request; to be run in the server's process.
    pub async fn answer(&self, request: Request) -> Option<Answer> {
        let app = self.app()?;
        let id = request.id;
        let answered = app.answer(request).await;
        let (status, retry_after_ms, body) = match answered {
            Ok(body) => (200, None, body),
            Err(problem) => (problem.status(), problem.retry_after_ms(), problem.body().to_string()),
        };
        Some(Answer { id, status, retry_after_ms, body })
    }

    fn app(&self) -> Option<Arc<App>> {
        self.slot().clone()
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<App>>> {
        // A panic ends the run.
        self.app.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self) {
        let parts = &self.parts;
        let log: Arc<dyn ActivityLog> = Arc::new(parts.log.clone());
        let head = loop {
            match log.head().await {
                Ok(head) => break head,
                Err(_) => parts.clock.sleep_ms(START_AGAIN_MS).await,
            }
        };
        let start = self.starts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let bus = Bus::new(log, head);
        let clock = parts.clock.clone();
        let (capture, handle) = CaptureService::new(CaptureConfig {
            source_name: "main".into(),
            holder: format!("server-{}-{start}", parts.process.0),
            entities: parts.database.entities(),
            source: Arc::new(parts.database.source(parts.process, parts.manners.mutant_narrow)),
            leadership: Arc::new(parts.log.clone()),
            schemas: Arc::new(FixedSchemas),
            copies_at_once: 4,
            seal_key: parts.database.seal_key(),
            bus: bus.clone(),
            notices: Arc::new(parts.hints.clone()),
            clock: Arc::new(move || clock.now()),
        });
        let entities = parts.database.entities();
        let drain = CancellationToken::new();
        let app = App {
            parts: parts.clone(),
            entities: entities.iter().map(|entity| (entity.name.clone(), Arc::clone(entity))).collect(),
            bus,
            capture: handle,
            door: Door::new(Arc::new(parts.database.clone()), entities),
            directory: Arc::new(parts.people.heard_by(parts.process)),
            drain: drain.clone(),
        };
        *self.slot() = Some(Arc::new(app));
        capture.run(drain).await;
    }
}

impl App {
    async fn answer(&self, request: Request) -> Result<String, Problem> {
        let caller = self.caller(&request.token, &request.org).await?;
        match request.kind {
            Kind::List { entity_type, after, limit } => {
                self.list(&caller, &entity_type, reading::Wanted { after, limit, ..Default::default() }).await
            }
            Kind::Subset { entity_type, parameters, after, limit } => {
                let (filters, order) = reading::subset(&parameters)?;
                let wanted = reading::Wanted { ids: Vec::new(), filters, order, after, limit };
                self.list(&caller, &entity_type, wanted).await
            }
            Kind::Ids { entity_type, ids } => {
                let limit = ids.len();
                self.list(&caller, &entity_type, reading::Wanted { ids, limit, ..Default::default() }).await
            }
            Kind::Mutate { body } => self.mutate(&caller, &body).await,
            Kind::Schema => self.schema(&caller),
            Kind::Time => {
                let mut time = String::new();
                antiphon_model::write_time(&mut time, self.parts.clock.now());
                Ok(serde_json::json!({ "serverTime": time }).to_string())
            }
        }
    }
}
