//! One line for each event of a run, where somebody wants to read them (SIM-02).
//!
//! Law: keeping lines changes nothing: no draw, no time, no order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keeps lines; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Option<Vec<String>>>>);

impl Trace {
    /// Begins to keep lines.
    pub(crate) fn listen(&self) {
        self.lock().get_or_insert_default();
    }

    /// Keeps a line that happened at a moment.
    pub(crate) fn say(&self, at_us: u64, line: impl FnOnce() -> String) {
        if let Some(lines) = self.lock().as_mut() {
            lines.push(format!("{:>10.3} {}", at_us as f64 / 1e6, line()));
        }
    }

    /// Returns the lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lock().clone().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<String>>> {
        // A panic ends the run.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
