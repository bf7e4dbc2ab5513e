//! The one place where this room starts tasks, so that each has a name in the log.

use std::future::Future;

use tokio::task::JoinHandle;
use tracing::Instrument;

/// Runs a future as a task whose log lines carry its name.
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future.instrument(tracing::info_span!("task", name)))
}
