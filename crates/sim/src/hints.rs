//! Hints between servers that the log's head has moved, some of them lost or late (house 16).
//!
//! Law: nothing may depend on a hint but the delay; here one in ten never comes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_engine::ports::{Hint, LocalNotices, Notice, Notices};
use tokio::sync::broadcast::Receiver;

use crate::{ProcessId, Simulation};

/// Nothing kills what is on its way.
const CARRIER: ProcessId = ProcessId(u32::MAX - 2);
/// So many in a thousand are lost.
const LOST_PERMILLE: u64 = 100;
/// The others take at most so long.
const LATE_MS_MAX: u64 = 30;

/// Carries hints to every server; cheap to clone.
#[derive(Clone)]
pub struct Hints {
    simulation: Simulation,
    inboxes: Arc<Mutex<Vec<Arc<LocalNotices>>>>,
}

/// One server's end.
#[derive(Clone)]
pub struct HintLink {
    hints: Hints,
    own: Arc<LocalNotices>,
}

impl Hints {
    /// Makes a carrier without servers.
    pub fn new(simulation: &Simulation) -> Hints {
        Hints { simulation: simulation.clone(), inboxes: Arc::default() }
    }

    /// Adds a server.
    pub fn link(&self) -> HintLink {
        let own = Arc::new(LocalNotices::default());
        self.lock().push(Arc::clone(&own));
        HintLink { hints: self.clone(), own }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<LocalNotices>>> {
        // A panic ends the run.
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notices for HintLink {
    fn publish(&self, hint: Hint) {
        let simulation = &self.hints.simulation;
        for inbox in self.hints.lock().iter() {
            if simulation.dice().permille(LOST_PERMILLE) {
                continue;
            }
            let inbox = Arc::clone(inbox);
            let (clock, late_ms) = (simulation.clock().clone(), simulation.dice().below(LATE_MS_MAX));
            simulation.start(CARRIER, async move {
                clock.sleep_ms(late_ms).await;
                inbox.tell(Notice::Moved(hint));
            });
        }
    }

    fn subscribe(&self) -> Receiver<Notice> {
        self.own.subscribe()
    }
}
