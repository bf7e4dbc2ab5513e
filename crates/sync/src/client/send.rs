//! Sending the outbox: what goes into a request, and what its failure as a whole means (CORE-04, CORE-06).
//!
//! Laws: one request at a time, so answers come in the order of requests; what is sent was saved as sent before; entries
//! of a group go together or not at all. A request that fails as a whole holds everything and counts for no entry; one
//! that fails twice is halved until the culprit is alone.

use super::{
    Answer, Asked, Client, Entry, EntryKey, Event, Law, Now, Refused, Request, State, Told, Waits,
    pace::{Pace, backoff_ms},
    words::{Problem, Results},
};
use crate::form;
use crate::json::Object;

/// Mutations of a request at most.
const BATCH_MAX: usize = 100;
/// An entry that was refused for now so often is refused for good.
pub(super) const ATTEMPTS_MAX: u32 = 10;

/// How sending stands.
#[derive(Debug)]
pub(super) struct Sending {
    /// What is on its way, or about to be.
    keys: Vec<EntryKey>,
    /// The body, until it is handed over.
    body: Option<String>,
    /// Whether a request is on its way.
    pub(super) under_way: bool,
    /// Whether a new epoch was met meanwhile: numbers of transactions in the answer may be of the cluster before.
    pub(super) voided: bool,
    /// The shared wait.
    pub(super) hold: Pace,
    size_max: usize,
    failed_whole: u32,
    /// Answers in a row after which all of the request must be sent again at once.
    idle_rounds: u32,
    /// Whether an answer to the present request has begun a new clock.
    pub(super) renewed: bool,
}

impl Default for Sending {
    fn default() -> Sending {
        Sending {
            keys: Vec::new(),
            body: None,
            under_way: false,
            voided: false,
            hold: Pace::default(),
            size_max: BATCH_MAX,
            failed_whole: 0,
            idle_rounds: 0,
            renewed: false,
        }
    }
}

impl Sending {
    pub(super) fn is_idle(&self) -> bool {
        self.keys.is_empty()
    }

    /// Tells whether an entry is part of what is on its way.
    pub(super) fn holds(&self, key: &str) -> bool {
        self.keys.iter().any(|held| held == key)
    }
}

impl Client {
    /// Prepares the next request, and hands it over once what it holds is saved as sent.
    pub(super) fn send(&mut self, now: Now) {
        // While the server does not answer at all, nothing is handed over: what never left may still be squashed.
        // What is on its way already is asked about all the same: lists wait for it (found by seed 17).
        let asks = self.pace.is_due(now.tick_ms) && self.outbox.iter().any(Entry::is_unsettled);
        let answers = self.stream.alive || self.pace.failures() == 0 || asks;
        if self.sending.is_idle() && answers && self.sending.hold.is_due(now.tick_ms) {
            self.prepare(now);
        }
        let confirmed = self.sending.keys.iter().any(|key| self.outbox.find(key).is_none());
        let held_back = self.sending.keys.iter().any(|key| self.saving.holds_back(key));
        if self.sending.body.is_some() && (confirmed || held_back) {
            // The stream spoke of some of it while it was being saved, or it cannot be saved: only the rest goes.
            self.sending.body = None;
            self.prepare(now);
        }
        if self.sending.body.is_some() && (self.is_saved() || self.breaks(Law::SavedBeforeSent)) {
            let body = self.sending.body.take().unwrap_or_default();
            (self.sending.under_way, self.sending.voided) = (true, false);
            self.ask(now, Asked::Mutations, Request::Mutations { body });
        }
    }

    fn prepare(&mut self, now: Now) {
        self.sending.keys.clear();
        let keys = self.next_batch(now);
        if keys.is_empty() {
            return;
        }
        for key in &keys {
            self.outbox.happen(key, Event::HandedOver, &mut self.dirty);
            // What was read before says nothing of the number that the answer will bring.
            self.outbox.update(key, &mut self.dirty, |entry| (entry.handed, entry.listed) = (true, None));
        }
        let entries: Vec<&Entry> = keys.iter().filter_map(|key| self.outbox.find(key)).collect();
        let atomic = entries.len() > 1 && entries.iter().all(|entry| entry.group == entries[0].group);
        let mutations: Vec<_> = entries.iter().map(|entry| entry.to_wire()).collect();
        let mut body = Object::new();
        if atomic {
            body.insert("atomic".into(), true.into());
        }
        body.insert("mutations".into(), mutations.into());
        self.sending.body = Some(form::text(&body));
        self.sending.keys = keys;
        self.outbox_changed = true;
    }

    /// Returns what goes next: one group, or as many single entries as fit and do not wait for each other.
    fn next_batch(&self, now: Now) -> Vec<EntryKey> {
        let mut batch = Vec::new();
        for entry in self.outbox.iter() {
            if !self.may_go(entry, now) || self.is_held_up(entry) {
                continue;
            }
            let members: Vec<EntryKey> = self.outbox.group(&entry.group);
            let open: Vec<EntryKey> = members
                .into_iter()
                .filter(|key| self.outbox.find(key).is_some_and(|member| member.state != State::Accepted))
                .collect();
            if open.len() > 1 {
                let whole = open.iter().all(|key| self.outbox.find(key).is_some_and(|member| self.may_go(member, now)));
                match (batch.is_empty(), whole) {
                    (true, true) => return open,
                    _ => continue,
                }
            }
            // What is suspected of failing requests goes alone, behind the others.
            if entry.attempts > 0 && !batch.is_empty() {
                continue;
            }
            batch.push(entry.key.clone());
            if batch.len() >= self.sending.size_max || entry.attempts > 0 {
                break;
            }
        }
        batch
    }

    /// Tells whether an entry waits for others.
    ///
    /// An operation that may have had its effect does not, alone in its group: what was handed over once may arrive twice
    /// at any time, and lists wait to know (found by seed 3876).
    pub(super) fn is_held_up(&self, entry: &Entry) -> bool {
        let Some(schema) = &self.schema else { return true };
        let asks = entry.change.is_operation() && entry.is_unsettled() && self.outbox.group(&entry.group).len() == 1;
        !asks && self.outbox.waits(entry, schema).is_some()
    }

    fn may_go(&self, entry: &Entry, now: Now) -> bool {
        // A due time that lies further ahead than any wait was set by a clock that was wrong.
        let due = entry.due_ms <= now.wall_ms || entry.due_ms > now.wall_ms.saturating_add(60_000);
        matches!(entry.state, State::Pending | State::Sent) && due && !self.saving.holds_back(&entry.key)
    }

    /// Tells whether something waits to be sent that nothing but time holds back.
    pub(super) fn has_due(&self, now: Now) -> bool {
        !self.next_batch(now).is_empty()
    }

    /// Returns what an entry waits for, to be shown under it.
    pub fn waits(&self, key: &str) -> Option<Waits> {
        self.outbox.waits(self.outbox.find(key)?, self.schema.as_ref()?)
    }

    pub(super) fn mutations_answered(&mut self, now: Now, answer: &Answer<'_>) {
        self.sending.under_way = false;
        let keys = std::mem::take(&mut self.sending.keys);
        match answer.status {
            200..=299 => match form::from_text::<Results>(answer.body) {
                Ok(results) if results.results.len() == keys.len() => {
                    self.sending.failed_whole = 0;
                    self.sending.size_max = (self.sending.size_max * 2).min(BATCH_MAX);
                    self.pace.succeeded();
                    let went_on = self.settle(now, &keys, results.results);
                    self.pace_rounds(now, went_on);
                }
                // An answer that is cut or speaks of something else says nothing about what became of the edits.
                _ => {
                    self.tell(Told::Nonsense("the answer to mutations".into()));
                    self.hold(now, &keys, answer.retry_after_ms);
                }
            },
            401 => {
                self.tell(Told::TokenWanted);
                self.hold(now, &keys, answer.retry_after_ms);
            }
            403 | 408 | 425 | 429 => self.hold(now, &keys, answer.retry_after_ms),
            400..=499 => self.refused_whole(now, keys, answer),
            // The server's own mistake may be about what was sent.
            500 => {
                self.failed_whole(now, &keys);
                self.hold(now, &keys, answer.retry_after_ms);
            }
            _ => self.hold(now, &keys, answer.retry_after_ms),
        }
    }

    /// One answer that settles nothing is a clock or an edit of others; a second one in a row is not worth a third at once.
    fn pace_rounds(&mut self, now: Now, went_on: bool) {
        self.sending.idle_rounds = if went_on { 0 } else { self.sending.idle_rounds.saturating_add(1) };
        match self.sending.idle_rounds {
            0 => self.sending.hold.succeeded(),
            1 => {}
            _ => self.sending.hold.failed(now.tick_ms, None, &mut self.random),
        }
    }

    pub(super) fn mutations_unanswered(&mut self, now: Now, after_ms: Option<u64>) {
        self.sending.under_way = false;
        let keys = std::mem::take(&mut self.sending.keys);
        self.hold(now, &keys, after_ms);
    }

    /// Nothing is known of what was sent: everything waits, and nothing counts.
    fn hold(&mut self, now: Now, keys: &[EntryKey], after_ms: Option<u64>) {
        for key in keys {
            self.outbox.happen(key, Event::NoAnswer, &mut self.dirty);
            self.outbox.update(key, &mut self.dirty, |entry| entry.doubt = true);
            if self.breaks(Law::DoubtKeepsItsId) {
                self.restamp(now, key);
            }
        }
        self.sending.hold.failed(now.tick_ms, after_ms, &mut self.random);
        self.outbox_changed = true;
    }

    /// Makes the next request smaller after the second failure; an entry alone is counted.
    fn failed_whole(&mut self, now: Now, keys: &[EntryKey]) {
        self.sending.failed_whole += 1;
        if self.sending.failed_whole >= 2 {
            self.sending.size_max = (keys.len() / 2).max(1);
        }
        if let [key] = keys {
            self.count(now, key);
        }
    }

    /// The request was refused as it stands, so none of it had an effect.
    fn refused_whole(&mut self, now: Now, keys: Vec<EntryKey>, answer: &Answer<'_>) {
        let problem: Problem = form::from_text(answer.body).unwrap_or_default();
        if problem.code.is_empty() {
            // Not our server's words: something between us answered.
            return self.hold(now, &keys, answer.retry_after_ms);
        }
        for key in &keys {
            self.outbox.happen(key, Event::Aborted, &mut self.dirty);
        }
        self.failed_whole(now, &keys);
        let alone =
            keys.len() == 1 || self.outbox.find(&keys[0]).is_some_and(|e| self.outbox.group(&e.group).len() > 1);
        match alone {
            true => keys.iter().for_each(|key| self.refuse(now, key, &problem)),
            false => self.sending.hold.failed(now.tick_ms, answer.retry_after_ms, &mut self.random),
        }
    }

    /// An answer about this very entry said: not now.
    pub(super) fn count(&mut self, now: Now, key: &str) {
        let Some(attempts) = self.outbox.find(key).map(|entry| entry.attempts + 1) else { return };
        let due_ms = now.wall_ms.saturating_add(backoff_ms(attempts, &mut self.random));
        self.outbox.update(key, &mut self.dirty, |entry| (entry.attempts, entry.due_ms) = (attempts, due_ms));
        if attempts >= ATTEMPTS_MAX {
            let problem = Problem { code: "GIVEN_UP".into(), ..Problem::default() };
            self.refuse(now, key, &problem);
        }
    }

    /// The server refused an entry for good: it is kept, and what builds upon it waits under it.
    pub(super) fn refuse(&mut self, _now: Now, key: &str, problem: &Problem) {
        self.outbox.happen(key, Event::Refused, &mut self.dirty);
        let refused = Refused { code: problem.code.clone(), detail: problem.detail.clone().unwrap_or_default() };
        self.outbox.update(key, &mut self.dirty, |entry| entry.refused = Some(refused));
        if let Some(entity) = self.outbox.find(key).map(|entry| entry.entity.clone()) {
            self.touched(&entity);
        }
        self.tell(Told::Failed(key.to_owned()));
    }
}
