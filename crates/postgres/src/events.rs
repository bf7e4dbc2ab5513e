//! What happens between us and the source's server, as data.
//!
//! Each event's one `emit` writes log line and metric together, so that neither can be forgotten where it happens.
//! Nothing here decides anything, and no event holds a host, a secret or a row.

use antiphon_engine::Fault;
use antiphon_model::{Code, RelationName};

use crate::{
    failover::{Lack, Readiness},
    slots::{Blocker, Slot},
};

/// Without a limit of the server, so much retained log is worth a word, in bytes.
const LAG_NOTICE_BYTES: i64 = 1 << 30;
/// And so much a louder one.
const LAG_WARNING_BYTES: i64 = 2 << 30;

/// Bytes of the stream were read.
pub(crate) struct BytesReceived {
    pub(crate) bytes: u64,
}

impl BytesReceived {
    pub(crate) fn emit(&self) {
        metrics::counter!("antiphon_capture_bytes_total").increment(self.bytes);
    }
}

/// A connection after the first one of this process.
pub(crate) struct Reconnected<'a> {
    pub(crate) slot: &'a str,
}

impl Reconnected<'_> {
    pub(crate) fn emit(&self) {
        metrics::counter!("antiphon_capture_reconnects_total").increment(1);
        tracing::debug!(slot.name = self.slot, "capture connected to slot {} again", self.slot);
    }
}

/// Transactions came again although they had been yielded before the connection was lost.
pub(crate) struct TransactionsResent {
    pub(crate) transactions: u64,
}

impl TransactionsResent {
    pub(crate) fn emit(&self) {
        metrics::counter!("antiphon_capture_resent_transactions_total").increment(self.transactions);
    }
}

/// A capture's connection ended with a fault.
pub(crate) struct CaptureEnded<'a> {
    pub(crate) slot: &'a str,
    pub(crate) fault: &'a Fault,
}

impl CaptureEnded<'_> {
    pub(crate) fn emit(&self) {
        if self.fault.code() == Code::DecodeFailed {
            metrics::counter!("antiphon_capture_decode_errors_total").increment(1);
        }
        let slot = self.slot;
        // Whoever reacts to the fault logs it; this line helps to find its cause.
        tracing::debug!(slot.name = slot, error = %self.fault.chain(), "the stream from slot {slot} ended");
    }
}

/// The beginning of capture waits for transactions that were open before it (PG-20).
pub(crate) struct SlotWaits<'a> {
    pub(crate) slot: &'a str,
    pub(crate) blockers: &'a [Blocker],
}

impl SlotWaits<'_> {
    pub(crate) fn emit(&self) {
        let slot = self.slot;
        match self.blockers.first() {
            Some(oldest) => tracing::warn!(
                slot.name = slot,
                pid = oldest.pid,
                database = oldest.database,
                open_seconds = oldest.open_seconds,
                "capture from the slot {slot} can begin only when {} open transaction(s) have ended; the oldest is {:?}",
                self.blockers.len(),
                oldest.name
            ),
            None => tracing::info!(slot.name = slot, "the slot {slot} is being created"),
        }
    }
}

/// How far the oldest transaction holds back capture by triggers (TG-02).
pub(crate) struct HorizonHeld {
    /// For how long it has been the oldest, as far as was seen.
    pub(crate) seconds: u64,
    /// How many transactions have begun since it did.
    pub(crate) transactions: u64,
    /// Who it is, where that is to be told.
    pub(crate) holder: Option<String>,
}

impl HorizonHeld {
    pub(crate) fn emit(&self) {
        metrics::gauge!("antiphon_capture_horizon_held_seconds").set(self.seconds as f64);
        metrics::gauge!("antiphon_capture_horizon_held_transactions").set(self.transactions as f64);
        if let Some(holder) = &self.holder {
            let seconds = self.seconds;
            tracing::warn!(seconds, "what was committed for {seconds} s waits for an open transaction: {holder}");
        }
    }
}

/// Declared tables are not in the publication.
pub(crate) struct TablesNotPublished<'a> {
    pub(crate) publication: &'a str,
    pub(crate) tables: &'a [RelationName],
}

impl TablesNotPublished<'_> {
    pub(crate) fn emit(&self) {
        metrics::gauge!("antiphon_capture_unpublished_tables").set(self.tables.len() as f64);
        if self.tables.is_empty() {
            return;
        }
        let names: Vec<_> = self.tables.iter().map(ToString::to_string).collect();
        tracing::warn!(
            publication.name = self.publication,
            "changes of {} are not captured: the publication {} does not carry them; run `antiphon entities add`",
            names.join(", "),
            self.publication
        );
    }
}

/// How much log the slot holds on the server's disk (CAP-14).
pub(crate) struct SlotMeasured<'a> {
    pub(crate) slot: &'a Slot,
    /// The server's `max_slot_wal_keep_size` in bytes, where there is one.
    pub(crate) keep_bytes_max: Option<i64>,
}

impl SlotMeasured<'_> {
    /// Sets the metrics, and logs where the level differs from that of the last look; returns the present one.
    pub(crate) fn emit(&self, before: Level) -> Level {
        let slot = self.slot;
        let retained = slot.retained_bytes.unwrap_or(0);
        metrics::gauge!("antiphon_capture_slot_lag_bytes").set(slot.lag_bytes.unwrap_or(0) as f64);
        metrics::gauge!("antiphon_capture_slot_retained_bytes").set(retained as f64);
        metrics::gauge!("antiphon_capture_slot_catalog_xmin_age").set(f64::from(slot.catalog_xmin_age.unwrap_or(0)));
        if let Some(safe) = slot.safe_wal_bytes {
            metrics::gauge!("antiphon_capture_slot_safe_wal_bytes").set(safe as f64);
        }
        let (name, level) = (&slot.name, self.level());
        match level {
            level if level == before => {}
            Level::Quiet => tracing::info!(slot.name = name, retained, "the slot {name} holds little log again"),
            Level::Notice => {
                tracing::info!(slot.name = name, retained, "the slot {name} holds {retained} bytes of log")
            }
            Level::Warning => tracing::warn!(
                slot.name = name,
                retained,
                safe = slot.safe_wal_bytes,
                "the slot {name} holds {retained} bytes of log on the server's disk and may be lost"
            ),
        }
        level
    }

    fn level(&self) -> Level {
        let retained = self.slot.retained_bytes.unwrap_or(0);
        let (notice, warning) = match self.keep_bytes_max {
            Some(max) => (max / 2, max / 5 * 4),
            None => (LAG_NOTICE_BYTES, LAG_WARNING_BYTES),
        };
        match retained {
            retained if retained >= warning => Level::Warning,
            retained if retained >= notice => Level::Notice,
            _ => Level::Quiet,
        }
    }
}

/// How much a slot's retained log is worth a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Quiet,
    Notice,
    Warning,
}

/// How ready the source is for a failover; one metric for each lack, so that an alert can name it.
pub(crate) struct FailoverMeasured<'a> {
    pub(crate) readiness: &'a Readiness,
}

impl FailoverMeasured<'_> {
    /// Sets the metrics, and logs where the word differs from that of the last look; returns the present one.
    pub(crate) fn emit(&self, before: &'static str) -> &'static str {
        let word = self.readiness.word();
        metrics::gauge!("antiphon_failover_ready").set(f64::from(u8::from(self.readiness.ready())));
        metrics::gauge!("antiphon_failover_standbys").set(self.readiness.standbys.len() as f64);
        for lack in Lack::ALL {
            let count = self.readiness.lacks.iter().filter(|found| found.lack == *lack).count();
            metrics::gauge!("antiphon_failover_lack", "lack" => lack.as_str()).set(count as f64);
        }
        if word == before {
            return word;
        }
        match self.readiness.lacks.iter().find(|found| found.lack.hinders()) {
            Some(found) => tracing::warn!(
                failover.state = word,
                "a failover would not go on without a gap: {}; {}",
                found.detail,
                found.remedy
            ),
            None => tracing::info!(failover.state = word, "readiness for a failover: {word}"),
        }
        word
    }
}

/// How much waits for the caller.
pub(crate) struct OutboxMeasured {
    pub(crate) bytes: usize,
}

impl OutboxMeasured {
    pub(crate) fn emit(&self) {
        metrics::gauge!("antiphon_capture_waiting_bytes").set(self.bytes as f64);
    }
}

/// What the spool holds on our own disk.
pub(crate) struct SpoolMeasured {
    pub(crate) bytes: u64,
}

impl SpoolMeasured {
    pub(crate) fn emit(&self) {
        metrics::gauge!("antiphon_capture_spool_bytes").set(self.bytes as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retained_log_is_warned_of_by_the_limit_where_there_is_one_cap_14() {
        let slot = |retained| Slot {
            name: "s".into(),
            plugin: None,
            database: None,
            active_pid: None,
            wal_status: None,
            invalidation: None,
            restart: None,
            confirmed: None,
            retained_bytes: Some(retained),
            lag_bytes: None,
            safe_wal_bytes: None,
            catalog_xmin_age: None,
            failover: false,
            temporary: false,
        };
        for (retained, keep_bytes_max, level) in [
            (499, Some(1_000), Level::Quiet),
            (500, Some(1_000), Level::Notice),
            (800, Some(1_000), Level::Warning),
            ((1 << 30) - 1, None, Level::Quiet),
            (1 << 30, None, Level::Notice),
            (2 << 30, None, Level::Warning),
        ] {
            assert_eq!(SlotMeasured { slot: &slot(retained), keep_bytes_max }.level(), level, "{retained}");
        }
    }
}
