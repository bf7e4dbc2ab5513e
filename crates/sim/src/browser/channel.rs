//! What tabs say to each other: late, out of order, twice, or never (CORE-16).
//!
//! It is there because a machine that counts on its words shall fail here first. Law: once all is mended every word comes,
//! and what a sleeping tab misses is gone for good, as in browsers. It refuses to know what is said.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::{ProcessId, came::Came, workload::Stage};

/// A channel; cheap to clone.
#[derive(Clone)]
pub(super) struct Channel {
    stage: Stage,
    process: ProcessId,
    ears: Arc<Mutex<Vec<Ear>>>,
}

struct Ear {
    at: usize,
    asleep: bool,
    sender: mpsc::Sender<Came>,
}

impl Channel {
    pub(super) fn new(stage: &Stage, process: ProcessId) -> Channel {
        Channel { stage: stage.clone(), process, ears: Arc::default() }
    }

    /// A tab listens from now on.
    pub(super) fn listen(&self, at: usize, sender: mpsc::Sender<Came>) {
        let mut ears = self.ears();
        ears.retain(|ear| ear.at != at);
        ears.push(Ear { at, asleep: false, sender });
    }

    /// A tab is gone.
    pub(super) fn leave(&self, at: usize) {
        self.ears().retain(|ear| ear.at != at);
    }

    /// A tab sleeps, or wakes.
    pub(super) fn sleep(&self, at: usize, asleep: bool) {
        self.ears().iter_mut().filter(|ear| ear.at == at).for_each(|ear| ear.asleep = asleep);
    }

    /// Says something to all others.
    pub(super) fn say(&self, from: usize, message: &str) {
        let dice = self.stage.simulation.dice().clone();
        let disturbed = !self.stage.over.is_cancelled();
        let others: Vec<usize> = self.ears().iter().map(|ear| ear.at).filter(|at| *at != from).collect();
        for at in others {
            if disturbed && dice.permille(40) {
                self.stage.network.count("word between tabs lost");
                continue;
            }
            let times = if disturbed && dice.permille(20) { 2 } else { 1 };
            for _ in 0..times {
                let ms = if disturbed && dice.permille(50) { dice.below(4_000) } else { dice.below(15) };
                let (channel, message, clock) =
                    (self.clone(), message.to_owned(), self.stage.simulation.clock().clone());
                self.stage.simulation.start(self.process, async move {
                    clock.sleep_ms(ms).await;
                    channel.deliver(at, message);
                });
            }
        }
    }

    fn deliver(&self, at: usize, message: String) {
        let lost = self.stage.simulation.dice().permille(500);
        let ears = self.ears();
        let Some(ear) = ears.iter().find(|ear| ear.at == at) else { return };
        if ear.asleep && lost {
            return self.stage.network.count("word to a sleeping tab lost");
        }
        // A tab that does not keep up loses words, as browsers do.
        drop(ear.sender.try_send(Came::Shared { message }));
    }

    fn ears(&self) -> MutexGuard<'_, Vec<Ear>> {
        // A panic ends the run.
        self.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
