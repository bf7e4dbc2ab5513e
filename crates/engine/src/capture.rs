//! Keeps one source captured: acquires the lease, connects, runs the pipeline, and reacts to what ends it (CAP-03).
//!
//! Every failure takes the same road: drop everything, ask the one table of reactions, wait, begin again from the
//! stored checkpoint. A pause ends the tenure and holds the checkpoint; the slot stays and nothing is lost (CAP-51).
//! Beside it, two small tasks: one reads the log's marks for servers that do not write, one keeps the mark of what
//! readers of the source are known to see close to the head, so that lists test only a short stretch of the log.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use antiphon_model::{Code, EntityType, Micros, SourceState, SourceStatus};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    Bus, CopyState, CopyStatus, Fault, Reaction, SealKey, backoff,
    events::{Connected, StateChanged},
    follow::follow,
    pipeline::{self, Observed, Works},
    ports::{Capture, Leadership, Notices, Schemas, Source, Tenure},
    reaction,
};

/// A blocked source is looked at again this often: what a person mended is noticed without a restart.
const LOOK_AGAIN_MS: u64 = 10_000;
/// A server that stands by tries for the lease this often.
const STAND_BY_MS: u64 = 500;
/// What readers are known to see is raised this often while the log moves.
const VISIBLE_MS: u64 = 500;

/// What capture needs.
pub struct CaptureConfig {
    /// The source's name.
    pub source_name: String,
    /// This process, unique among all.
    pub holder: String,
    /// The declared types.
    pub entities: Vec<Arc<EntityType>>,
    /// The database.
    pub source: Arc<dyn Source>,
    /// Who gives the lease.
    pub leadership: Arc<dyn Leadership>,
    /// Who numbers shapes.
    pub schemas: Arc<dyn Schemas>,
    /// What messages of the mutation service are sealed with.
    pub seal_key: SealKey,
    /// So many tables are copied side by side, each on a connection of its own.
    pub copies_at_once: usize,
    /// Where readers wait.
    pub bus: Bus,
    /// How other servers are told of what this one wrote, and the other way round.
    pub notices: Arc<dyn Notices>,
    /// The wall clock.
    pub clock: Arc<dyn Fn() -> Micros + Send + Sync>,
}

/// Controls and shows a running capture; cheap to clone.
#[derive(Clone)]
pub struct CaptureHandle {
    status: watch::Sender<SourceStatus>,
    paused: watch::Sender<bool>,
    copies: Arc<Mutex<Vec<CopyStatus>>>,
}

impl CaptureHandle {
    /// Returns the present state.
    pub fn status(&self) -> SourceStatus {
        self.status.borrow().clone()
    }

    /// Returns a receiver that wakes when the state changes.
    pub fn subscribe(&self) -> watch::Receiver<SourceStatus> {
        self.status.subscribe()
    }

    /// Holds the checkpoint; the slot stays and the source keeps its log for us.
    pub fn pause(&self) {
        self.paused.send_replace(true);
    }

    /// Goes on from the checkpoint.
    pub fn resume(&self) {
        self.paused.send_replace(false);
    }

    /// Returns the copies under way.
    pub fn copies(&self) -> Vec<CopyStatus> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs capture.
pub struct CaptureService {
    config: Arc<CaptureConfig>,
    handle: CaptureHandle,
}

impl CaptureService {
    /// Makes the service and its handle.
    pub fn new(config: CaptureConfig) -> (CaptureService, CaptureHandle) {
        let status = SourceStatus {
            state: SourceState::Initialising,
            reason: None,
            detail: String::new(),
            since: (config.clock)(),
            next_attempt_at: None,
        };
        let handle = CaptureHandle {
            status: watch::Sender::new(status),
            paused: watch::Sender::new(false),
            copies: Arc::default(),
        };
        (CaptureService { config: Arc::new(config), handle: handle.clone() }, handle)
    }

    /// Runs until `stop`; then the lease is given back.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = self.capture(stop.clone()) => {}
            () = follow(&self.config.bus, &*self.config.notices) => {}
            () = self.raise_visible() => {}
        }
    }

    async fn capture(&self, stop: CancellationToken) {
        let mut attempt = 0;
        let mut paused = self.handle.paused.subscribe();
        while !stop.is_cancelled() {
            if *paused.borrow_and_update() {
                self.show(SourceState::Paused, None, None);
                tokio::select! {
                    biased;
                    changed = paused.changed() => if changed.is_err() { return },
                    () = stop.cancelled() => return,
                }
                continue;
            }
            let until = stop.child_token();
            let mut streamed = false;
            let ended = tokio::select! {
                biased;
                ended = self.tenure(until.clone(), &mut streamed) => ended,
                () = pause_wanted(&mut paused) => continue,
            };
            let Some(fault) = ended else { continue };
            attempt = if streamed { 0 } else { attempt + 1 };
            let wait = self.react(&fault, attempt);
            tokio::select! {
                biased;
                () = tokio::time::sleep(wait) => {}
                () = pause_wanted(&mut paused) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Acquires, connects and works until something ends it.
    async fn tenure(&self, stop: CancellationToken, streamed: &mut bool) -> Option<Fault> {
        let config = &self.config;
        let mut tenure = match config.leadership.acquire(&config.source_name, &config.holder).await {
            Ok(Some(tenure)) => tenure,
            Ok(None) => return Some(Fault::new(Code::LeaseHeld, "")),
            Err(fault) => return Some(fault),
        };
        let known = config.bus.head();
        if tenure.head.epoch == known.epoch && tenure.head.last < known.durable {
            // Readers have seen more than there is: the next activities would get numbers that were given out before.
            let detail = format!("it ends at {}, and {} was delivered", tenure.head.last, known.durable);
            return Some(Fault::new(Code::LogCorrupt, detail));
        }
        config.bus.refresh(tenure.head);
        let capture = match self.connect(&mut tenure, &stop).await {
            Ok(Some(capture)) => capture,
            Ok(None) => return None,
            Err(fault) => return Some(fault),
        };
        *streamed = true;
        Connected { source: &config.source_name, from: capture.started_at() }.emit();
        self.show(SourceState::CatchingUp, None, None);
        let works = Works {
            entities: config.entities.clone(),
            source: Arc::clone(&config.source),
            schemas: Arc::clone(&config.schemas),
            bus: config.bus.clone(),
            notices: Arc::clone(&config.notices),
            seal_key: config.seal_key.clone(),
            copies_at_once: config.copies_at_once.max(1),
            clock: Arc::clone(&config.clock),
            observer: self.observer(),
        };
        pipeline::run(works, tenure, capture, stop).await
    }

    /// Connects to the source; `None` where `stop` came first.
    ///
    /// Whoever held the lease before may hold the slot a little longer: that is waited for with the lease in hand, because
    /// to take it anew for each attempt would end nobody's hold on the slot any sooner. An attempt is made under a lease
    /// that is known to be ours: the checkpoint of a lost one may lie behind the slot (found by seed 5675).
    async fn connect(&self, tenure: &mut Tenure, stop: &CancellationToken) -> Result<Option<Box<dyn Capture>>, Fault> {
        let waits = |fault: Fault| self.show(SourceState::Initialising, Some(&fault), None);
        let mut attempt = 0;
        loop {
            let connected = tokio::select! {
                biased;
                connected = self.config.source.connect(&tenure.checkpoint, &waits) => connected,
                // The wait for others' transactions may outlast a lease.
                fault = pipeline::renew(&mut *tenure.lease) => return Err(fault),
                () = stop.cancelled() => return Ok(None),
            };
            match connected {
                Err(fault) if fault.code() == Code::SlotInUse => {
                    attempt += 1;
                    tokio::select! {
                        () = tokio::time::sleep(self.react(&fault, attempt)) => {}
                        () = stop.cancelled() => return Ok(None),
                    }
                    tenure.lease.renew().await?;
                }
                connected => return connected.map(Some),
            }
        }
    }

    fn observer(&self) -> Arc<dyn Fn(Observed) + Send + Sync> {
        let (handle, config) = (self.handle.clone(), Arc::clone(&self.config));
        Arc::new(move |observed: Observed| {
            // A copy that fails is shown by itself: the others, and the stream, go on (CAP-22).
            let goes_on = |copy: &CopyStatus| !matches!(copy.state, CopyState::Complete | CopyState::Failed);
            let copying = observed.copies.iter().flatten().any(goes_on);
            let state = match (copying, observed.catching_up) {
                (true, _) => SourceState::Snapshotting,
                (false, true) => SourceState::CatchingUp,
                (false, false) => SourceState::Streaming,
            };
            *handle.copies.lock().unwrap_or_else(PoisonError::into_inner) = observed.copies.unwrap_or_default();
            show(&handle, &config, state, None, None);
        })
    }

    fn react(&self, fault: &Fault, attempt: u32) -> Duration {
        let reaction = reaction(fault.code());
        let now = (self.config.clock)();
        let wait = match reaction {
            Reaction::Retry => backoff::wait(attempt, now.0 as u64),
            Reaction::StandBy => Duration::from_millis(STAND_BY_MS),
            Reaction::Block | Reaction::Stop => Duration::from_millis(LOOK_AGAIN_MS),
        };
        tracing::debug!(error = %fault.chain(), "capture ended");
        for copy in self.handle.copies.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            copy.progress.rows_per_second = 0;
        }
        let next = Micros(now.0 + wait.as_micros() as i64);
        self.show(reaction.state(), Some(fault), Some(next));
        wait
    }

    fn show(&self, state: SourceState, fault: Option<&Fault>, next: Option<Micros>) {
        show(&self.handle, &self.config, state, fault, next);
    }

    async fn raise_visible(&self) {
        let bus = &self.config.bus;
        loop {
            tokio::time::sleep(Duration::from_millis(VISIBLE_MS)).await;
            let head = bus.head();
            if !head.begun || head.visible >= head.durable {
                continue;
            }
            let raised = async {
                let before = bus.before_list().await?;
                before.vouch(&self.config.source.visibility().await?).await
            };
            if let Err(fault) = raised.await {
                tracing::debug!(error = %fault.chain(), "what readers see could not be determined");
            }
        }
    }
}

async fn pause_wanted(paused: &mut watch::Receiver<bool>) {
    if paused.wait_for(|paused| *paused).await.is_err() {
        std::future::pending().await
    }
}

fn show(
    handle: &CaptureHandle,
    config: &CaptureConfig,
    state: SourceState,
    fault: Option<&Fault>,
    next: Option<Micros>,
) {
    let reason = fault.map(Fault::code);
    let detail = fault.map(|fault| fault.detail().to_owned()).unwrap_or_default();
    handle.status.send_if_modified(|status| {
        let same = status.state == state && status.reason == reason && status.detail == detail;
        if !same {
            StateChanged { source: &config.source_name, state, reason, detail: &detail }.emit();
            *status = SourceStatus { state, reason, detail, since: (config.clock)(), next_attempt_at: next };
        } else {
            status.next_attempt_at = next;
        }
        !same
    });
}
