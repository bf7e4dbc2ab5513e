//! What happens while tables are polled, as data: log line and metric of each event together.
//!
//! Nothing here decides anything, and no event holds a row.

use std::time::Duration;

use antiphon_model::RelationName;

use super::page::Found;

/// A page of a table was polled.
pub(super) struct TablePolled<'a> {
    pub(super) table: &'a RelationName,
    pub(super) found: &'a Found,
    /// Since the poll of this table began.
    pub(super) elapsed: Duration,
    /// Whether it was the poll's last page.
    pub(super) last: bool,
    /// For how long the oldest open transaction has kept the window open.
    pub(super) open_seconds: u64,
}

impl TablePolled<'_> {
    pub(super) fn emit(&self) {
        let table = self.table.to_string();
        let Found { rows, late, .. } = self.found;
        metrics::counter!("antiphon_capture_query_rows_read_total", "table" => table.clone()).increment(*rows);
        metrics::counter!("antiphon_capture_query_late_rows_total", "table" => table.clone()).increment(*late);
        metrics::gauge!("antiphon_capture_query_window_open_seconds").set(self.open_seconds as f64);
        if self.last {
            metrics::histogram!("antiphon_capture_query_poll_seconds", "table" => table)
                .record(self.elapsed.as_secs_f64());
        }
        if *late > 0 {
            tracing::debug!(table = %self.table, late, "{late} rows of {} came late", self.table);
        }
    }
}

/// The source's clock was looked at; it stepped back by so much, or not at all.
pub(super) struct ClockStepped<'a> {
    pub(super) table: &'a RelationName,
    pub(super) micros: i64,
}

impl ClockStepped<'_> {
    pub(super) fn emit(&self) {
        if self.micros == 0 {
            return;
        }
        metrics::counter!("antiphon_capture_query_clock_steps_total").increment(1);
        let seconds = self.micros / 1_000_000;
        tracing::warn!(
            table = %self.table,
            seconds,
            "the source's clock has stepped back by {seconds} s: {} is read again from that much earlier",
            self.table
        );
    }
}

/// Rows without a value of the cursor were counted.
pub(super) struct UnpollableCounted<'a> {
    pub(super) table: &'a RelationName,
    pub(super) rows: i64,
    /// How many there were at the last count.
    pub(super) before: i64,
}

impl UnpollableCounted<'_> {
    pub(super) fn emit(&self) {
        let table = self.table.to_string();
        metrics::gauge!("antiphon_capture_query_unpollable_rows", "table" => table).set(self.rows as f64);
        if self.rows > 0 && self.before == 0 {
            let rows = self.rows;
            tracing::warn!(
                table = %self.table,
                rows,
                "{rows} rows of {} have no value of the cursor and cannot be polled; a reconciliation finds their changes",
                self.table
            );
        }
    }
}

/// A page of a table was reconciled.
pub(super) struct TableReconciled<'a> {
    pub(super) table: &'a RelationName,
    /// Rows that were gone though nobody had told.
    pub(super) deletes: u64,
    /// Rows that differed from what was told.
    pub(super) updates: u64,
    /// Rows looked at in a second.
    pub(super) rows_per_second: u64,
    /// Missed deletes and updates of all of it, at its end.
    pub(super) ended: Option<(u64, u64)>,
}

impl TableReconciled<'_> {
    pub(super) fn emit(&self) {
        let name = self.table.to_string();
        metrics::counter!("antiphon_capture_query_missed_deletes_total", "table" => name.clone())
            .increment(self.deletes);
        metrics::counter!("antiphon_capture_query_missed_updates_total", "table" => name.clone())
            .increment(self.updates);
        metrics::gauge!("antiphon_capture_query_reconcile_rows_per_second", "table" => name)
            .set(self.rows_per_second as f64);
        if let Some((deletes, updates)) = self.ended {
            let rate = self.rows_per_second;
            tracing::info!(
                table = %self.table,
                deletes,
                updates,
                rate,
                "{} was reconciled at {rate} rows a second: {deletes} deletes and {updates} other changes had been missed",
                self.table
            );
        }
    }
}
