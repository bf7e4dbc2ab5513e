//! What happens in capture, as data: each event's one `emit` writes log line and metric together.
//!
//! Metrics have few labels, of bounded sets, and are counted by batch. Names are `antiphon_<noun>_<unit>`.
//! Nothing here decides anything.

use std::time::Duration;

use antiphon_model::{Code, Lsn, SourceState};

/// A batch became durable and was published.
pub(crate) struct BatchPublished {
    pub(crate) activities: usize,
    pub(crate) bytes: usize,
    pub(crate) lag_ms: f64,
    pub(crate) flush: Duration,
}

impl BatchPublished {
    pub(crate) fn emit(&self) {
        metrics::counter!("antiphon_log_activities_total").increment(self.activities as u64);
        metrics::counter!("antiphon_log_bytes_total").increment(self.bytes as u64);
        metrics::counter!("antiphon_log_flushes_total").increment(1);
        metrics::histogram!("antiphon_log_flush_seconds").record(self.flush.as_secs_f64());
        metrics::histogram!("antiphon_capture_lag_ms").record(self.lag_ms);
    }
}

/// Transactions were mapped.
#[derive(Default)]
pub(crate) struct TransactionsMapped {
    pub(crate) transactions: u64,
    pub(crate) changes: u64,
    pub(crate) resent_changes: u64,
    pub(crate) messages_refused: u64,
}

impl TransactionsMapped {
    pub(crate) fn emit(&self) {
        metrics::counter!("antiphon_capture_transactions_total").increment(self.transactions);
        metrics::counter!("antiphon_capture_changes_total").increment(self.changes);
        metrics::counter!("antiphon_capture_resent_changes_total").increment(self.resent_changes);
        metrics::counter!("antiphon_capture_messages_refused_total").increment(self.messages_refused);
    }
}

/// The source's state changed.
pub(crate) struct StateChanged<'a> {
    pub(crate) source: &'a str,
    pub(crate) state: SourceState,
    pub(crate) reason: Option<Code>,
    pub(crate) detail: &'a str,
}

impl StateChanged<'_> {
    pub(crate) fn emit(&self) {
        let (source, state) = (self.source, self.state.as_str());
        metrics::gauge!("antiphon_capture_streaming").set(f64::from(u8::from(self.state == SourceState::Streaming)));
        match self.reason {
            Some(reason) if matches!(self.state, SourceState::Blocked | SourceState::Failed) => {
                tracing::error!(
                    source.id = source,
                    state,
                    reason = reason.as_str(),
                    detail = self.detail,
                    "source {source} needs a person: {}",
                    reason.title()
                );
            }
            Some(reason) => {
                tracing::warn!(
                    source.id = source,
                    state,
                    reason = reason.as_str(),
                    detail = self.detail,
                    "source {source} is {state}: {}",
                    reason.title()
                );
            }
            None => tracing::info!(source.id = source, state, "source {source} is {state}"),
        }
    }
}

/// Capture connected and streams.
pub(crate) struct Connected<'a> {
    pub(crate) source: &'a str,
    pub(crate) from: Lsn,
}

impl Connected<'_> {
    pub(crate) fn emit(&self) {
        metrics::counter!("antiphon_capture_connects_total").increment(1);
        tracing::info!(source.id = self.source, from = %self.from, "source {} streams from {}", self.source, self.from);
    }
}

/// Rows of an initial copy entered the log.
pub(crate) struct RowsCopied<'a> {
    pub(crate) entity_type: &'a str,
    pub(crate) rows: u64,
    pub(crate) rows_done: u64,
    pub(crate) complete: bool,
}

impl RowsCopied<'_> {
    pub(crate) fn emit(&self) {
        metrics::counter!("antiphon_capture_snapshot_rows_total").increment(self.rows);
        if self.complete {
            tracing::info!(entity.type = self.entity_type, rows = self.rows_done, "the copy of {} is complete", self.entity_type);
        }
    }
}

/// The copy of one table failed; the others go on.
pub(crate) struct CopyFailed<'a> {
    pub(crate) entity_type: &'a str,
    pub(crate) fault: &'a crate::Fault,
    /// Whether it does not look as if it would end by itself.
    pub(crate) lasting: bool,
    /// When it is tried again.
    pub(crate) wait: Duration,
}

impl CopyFailed<'_> {
    pub(crate) fn emit(&self) {
        metrics::counter!("antiphon_capture_snapshot_failures_total").increment(1);
        let chain = self.fault.chain();
        let (entity_type, wait_ms) = (self.entity_type, self.wait.as_millis() as u64);
        if self.lasting {
            let hint = self.fault.code().hint();
            tracing::error!(entity.type = entity_type, wait_ms, error = %chain, "the copy of {entity_type} fails: {hint}");
        } else {
            tracing::warn!(entity.type = entity_type, wait_ms, error = %chain, "the copy of {entity_type} is tried again");
        }
    }
}
