//! The stream as the client holds it: one position, one transaction at a time (protocol 4, STR-01..08, SY-02..26).
//!
//! Laws: the position rises only with what was applied, in the same save; a transaction is applied whole; an end that says
//! why is obeyed, silence is an end too. A position that the server does not vouch for is never kept.

use super::{
    Client, Law, Now, Output, Told,
    store::Record,
    words::{Activity, Confirm, Notice, Offset, Reset},
};
use crate::{form, ordered::OrderedSet};

/// The server sends something at least this often; twice of it without anything is the end, in milliseconds.
const HEARTBEAT_MS: u64 = 15_000;
/// Activities of one transaction that are held before they are applied in parts.
const TRANSACTION_MAX: usize = 1_000;
/// A position that moved without rows is saved at most this often, in milliseconds.
const OFFSET_SAVE_MS: u64 = 5_000;
/// Accepted edits whose echo does not come for so long, while the source goes on, are a reason to connect anew.
const NO_PROGRESS_MS: u64 = 10_000;

/// How the stream stands.
#[derive(Debug, Default)]
pub(super) struct Stream {
    number: u64,
    pub(super) open: bool,
    /// Whether a frame has come since it was opened.
    pub(super) alive: bool,
    /// Everything up to here is in the rows.
    pub(super) position: u64,
    heard_ms: u64,
    progress_ms: u64,
    kicked: bool,
    saved_ms: u64,
    transaction: Vec<Activity>,
    pub(super) as_of: Option<String>,
    /// Types that are to be listed again, while their rows are still shown.
    pub(super) stale: OrderedSet<String>,
    pub(super) list_epoch: u64,
    /// The epoch whose coming has made what was said of transactions void.
    pub(super) voided_by: u64,
    pub(super) list_access: String,
    /// How a request was refused last.
    pub(super) refused: Option<u16>,
    /// Whether that was because the user is no member any more.
    pub(super) expelled: bool,
}

impl Stream {
    /// Forgets all but its number: the rows are others now.
    pub(super) fn forget(&mut self) {
        *self = Stream { number: self.number, ..Stream::default() };
    }
}

impl Client {
    /// Opens the stream where all rows are listed; closes one that has gone silent.
    pub(super) fn keep_stream(&mut self, now: Now) {
        if self.stream.open {
            let silent = now.tick_ms.saturating_sub(self.stream.heard_ms) >= 2 * HEARTBEAT_MS;
            if silent || self.is_stuck(now) {
                self.stream.kicked |= !silent;
                self.fetches.want_overdue(self.outbox.iter());
                self.close_stream();
                self.pace.failed(now.tick_ms, None, &mut self.random);
            }
            return;
        }
        let ready = self.unlisted().is_empty() && self.building.is_empty() && !self.types.is_empty();
        if !ready || self.wants_schema {
            return;
        }
        // Rows of different positions: from the lowest, and each type passes over what it has.
        self.stream.position = self.types.values().map(|rows| rows.marks.offset).min().unwrap_or_default();
        self.stream.number += 1;
        self.types.values_mut().for_each(|rows| rows.recent.begin(rows.marks.offset));
        (self.stream.open, self.stream.alive) = (true, false);
        (self.stream.heard_ms, self.stream.progress_ms) = (now.tick_ms, now.tick_ms);
        self.stream.transaction.clear();
        self.outputs.push_back(Output::Open {
            stream: self.stream.number,
            offset: self.stream.position,
            epoch: self.epoch,
            access: self.access.clone(),
        });
    }

    /// Connected, and work is pending, but nothing moves although the source does (CORE-15, SY-26).
    fn is_stuck(&self, now: Now) -> bool {
        let pending = self.outbox.iter().any(|entry| entry.state == super::State::Accepted);
        pending && !self.stream.kicked && now.tick_ms.saturating_sub(self.stream.progress_ms) >= NO_PROGRESS_MS
    }

    /// Returns when the stream must be looked at.
    pub(super) fn stream_wake_ms(&self) -> Option<u64> {
        let pending = !self.stream.kicked && self.outbox.iter().any(|entry| entry.state == super::State::Accepted);
        let silent_ms = self.stream.heard_ms + 2 * HEARTBEAT_MS;
        let stuck_ms = if pending { self.stream.progress_ms + NO_PROGRESS_MS } else { u64::MAX };
        self.stream.open.then(|| silent_ms.min(stuck_ms))
    }

    pub(super) fn close_stream(&mut self) {
        if std::mem::take(&mut self.stream.open) {
            self.stream.alive = false;
            self.stream.transaction.clear();
            self.outputs.push_back(Output::Close { stream: self.stream.number });
        }
    }

    pub(super) fn heard(&mut self, now: Now, stream: u64) {
        if stream == self.stream.number && self.stream.open {
            self.stream.heard_ms = now.tick_ms;
            self.stream.alive = true;
            self.stream.refused = None;
            self.pace.succeeded();
        }
    }

    pub(super) fn ended(&mut self, now: Now, stream: u64, status: Option<u16>, retry_after_ms: Option<u64>) {
        if stream != self.stream.number || !self.stream.open {
            return;
        }
        (self.stream.open, self.stream.alive) = (false, false);
        self.stream.transaction.clear();
        if status == Some(401) {
            self.tell(Told::TokenWanted);
        }
        self.stream.refused = status.filter(|status| *status >= 400);
        // Why it is refused stands in an answer only.
        self.wants_schema |= status == Some(403);
        self.pace.failed(now.tick_ms, retry_after_ms, &mut self.random);
    }

    pub(super) fn frame(&mut self, now: Now, stream: u64, event: &str, data: &str) {
        if stream != self.stream.number || !self.stream.open {
            return;
        }
        self.heard(now, stream);
        let understood = match event {
            "change" => form::from_text(data).map(|activity| self.change(now, activity)),
            "offset" => form::from_text(data).map(|offset| self.offset(now, offset)),
            "confirm" => form::from_text(data).map(|confirm| self.confirmed(now, confirm)),
            "reset" => form::from_text(data).map(|reset| self.reset(now, reset)),
            "notice" => form::from_text(data).map(|notice| self.notice(now, notice)),
            // A newer server may say more.
            _ => Ok(()),
        };
        if understood.is_err() {
            // What comes after a frame that cannot be read cannot be believed either.
            self.tell(Told::Nonsense(format!("a frame `{event}`")));
            self.close_stream();
            self.pace.failed(now.tick_ms, None, &mut self.random);
        }
    }

    fn change(&mut self, now: Now, mut activity: Activity) {
        activity.commit.xid = self.number(activity.commit.xid);
        let newest = self.stream.transaction.last().map_or(self.stream.position, |last| last.activity_id);
        if activity.activity_id <= newest {
            return;
        }
        let (last, id) = (activity.commit.last, activity.activity_id);
        self.stream.transaction.push(activity);
        if self.breaks(Law::PositionWithRows) {
            self.advance(now, id);
            self.dirty.put(Record::Meta);
        }
        if last || self.stream.transaction.len() >= TRANSACTION_MAX {
            self.apply_transaction(now);
        }
    }

    fn apply_transaction(&mut self, now: Now) {
        let transaction = std::mem::take(&mut self.stream.transaction);
        let Some(position) = transaction.last().map(|last| last.activity_id) else { return };
        for activity in &transaction {
            self.arrive(now, activity);
        }
        self.dirty.put(Record::Meta);
        self.stream.saved_ms = now.tick_ms;
        self.advance(now, position);
    }

    fn advance(&mut self, now: Now, position: u64) {
        if position <= self.stream.position {
            return;
        }
        self.stream.position = position;
        (self.stream.progress_ms, self.stream.kicked) = (now.tick_ms, false);
        for rows in self.types.values_mut() {
            rows.marks.offset = rows.marks.offset.max(position);
        }
        if now.tick_ms.saturating_sub(self.stream.saved_ms) >= OFFSET_SAVE_MS {
            self.stream.saved_ms = now.tick_ms;
            self.dirty.put(Record::Meta);
        }
    }

    fn offset(&mut self, now: Now, offset: Offset) {
        self.apply_transaction(now);
        if offset.epoch != self.epoch || offset.access != self.access {
            // The server would have said `reset`; whatever this is, a list tells the truth.
            self.tell(Told::Nonsense("an offset of another epoch or access".into()));
            return self.list_again(now, &[]);
        }
        if offset.as_of.is_some() && offset.as_of == self.stream.as_of {
            // The source stands still: nothing can come, and connecting anew would not help.
            self.stream.progress_ms = now.tick_ms;
        }
        self.stream.as_of = offset.as_of;
        self.advance(now, offset.offset);
    }

    fn confirmed(&mut self, now: Now, confirm: Confirm) {
        self.apply_transaction(now);
        for id in &confirm.transaction_ids {
            if let Some(key) = self.outbox.by_id(id).map(|entry| entry.key.clone()) {
                self.confirm(&key);
            }
        }
        self.advance(now, confirm.offset);
        self.dirty.put(Record::Meta);
    }

    fn reset(&mut self, now: Now, reset: Reset) {
        if matches!(reset.code.as_str(), "SCHEMA_CHANGED" | "ACCESS_CHANGED") {
            self.wants_schema = true;
        }
        let types = match reset.code.as_str() {
            "ACCESS_CHANGED" | "SCHEMA_CHANGED" => reset.entity_types.as_slice(),
            _ => &[],
        };
        self.list_again(now, types);
    }

    /// Lists types again, all where none is named; the outbox stays as it is.
    pub(super) fn list_again(&mut self, _now: Now, types: &[String]) {
        self.close_stream();
        self.drop_building();
        match types {
            [] => self.stream.stale.extend(self.types.keys().cloned()),
            named => self.stream.stale.extend(named.iter().filter(|name| self.types.contains_key(*name)).cloned()),
        }
        if self.stream.stale.is_empty() {
            self.stream.stale.extend(self.types.keys().cloned());
        }
    }

    fn notice(&mut self, now: Now, notice: Notice) {
        self.apply_cut();
        self.close_stream();
        if notice.reason == "auth_expired" {
            self.tell(Told::TokenWanted);
        }
        self.pace.failed(now.tick_ms, notice.retry_after_ms, &mut self.random);
    }

    /// What came of a transaction that did not end is not applied: it comes again.
    fn apply_cut(&mut self) {
        self.stream.transaction.clear();
    }
}
