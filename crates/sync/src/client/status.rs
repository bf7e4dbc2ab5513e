//! What drives the client from one moment to the next, and what it says of itself (CORE-05, CORE-15, SY-25).
//!
//! Law: what it says follows from what is: pending counts entries, online means that our server answered, and nothing is
//! called listed that is not whole.

use serde::{Deserialize, Serialize};

use super::{Asked, Client, EntityKey, Now, Output, Request, State, Told, outbox::Outbox};
use crate::form::{Form, Written};

/// After connecting, the outbox goes first for at most so long, in milliseconds.
const UPSTREAM_FIRST_MS: u64 = 3_000;

/// Whether the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase")]
pub enum Network {
    /// It is not known yet.
    Connecting,
    /// The server answers, and the stream stands.
    Online,
    /// It does not answer.
    Offline,
    /// It answers, but refuses: this is HTTP's status.
    Refused(u16),
}

/// What a client says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Written)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Whether the server answers.
    pub network: Network,
    /// Whether this instance speaks for the store.
    pub leading: bool,
    /// Whether every type that is kept whole is whole.
    pub listed: bool,
    /// Rows that have come, while lists are not whole.
    pub rows: usize,
    /// Edits that wait to be sent, are on their way, or are not confirmed.
    pub pending: usize,
    /// Edits that wait for a person.
    pub conflicted: usize,
    /// Edits that were refused.
    pub failed: usize,
    /// Up to when the source is known.
    pub as_of: Option<String>,
    /// Why nothing can be saved; `None` where it can.
    pub not_saving: Option<String>,
    /// Whether the server refuses because the user is no member any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub expelled: bool,
}

impl Client {
    /// Does whatever is due.
    pub(super) fn drive(&mut self, now: Now) {
        self.give_up_requests(now);
        self.keep_tabs(now);
        self.look_at_wanted();
        if self.may_ask() {
            let paced = self.pace.is_due(now.tick_ms);
            if self.wants_schema && paced && !self.is_asking(|asked| *asked == Asked::Schema) {
                self.ask(now, Asked::Schema, Request::Schema);
            }
            if self.schema.is_some() {
                self.send(now);
            }
            if self.schema.is_some() && paced && !self.upstream_first(now) {
                if !self.wants_schema {
                    self.list(now);
                }
                self.keep_stream(now);
            } else if self.stream.open {
                self.keep_stream(now);
            }
            if paced && !self.fetches.is_idle() && self.schema.is_some() {
                self.fetch(now);
            }
        }
        self.let_go();
        if !self.tabs.reading.is_under_way() {
            self.save(now);
        }
        self.read_store(now);
        if self.may_ask() && self.schema.is_some() {
            // A save that was not needed lets the request go at once.
            self.send(now);
        }
        self.tell_changes();
    }

    fn give_up_requests(&mut self, now: Now) {
        let late: Vec<u64> =
            self.asked.iter().filter(|(_, (_, until_ms))| *until_ms <= now.tick_ms).map(|(id, _)| *id).collect();
        for id in late {
            self.outputs.push_back(Output::Cancel { id });
            if let Some((asked, _)) = self.asked.remove(&id) {
                self.unanswered(now, asked);
            }
        }
    }

    /// The outbox goes first, but never for long: the field check protects the data, not the order.
    fn upstream_first(&mut self, now: Now) -> bool {
        if self.stream.open || self.types.is_empty() || !self.building.is_empty() {
            return false;
        }
        let may_send = self.pace.failures() == 0 && self.sending.hold.is_due(now.tick_ms);
        let waits = !self.sending.is_idle() || (may_send && self.has_due(now));
        let since_ms = *self.upstream_since_ms.get_or_insert(now.tick_ms);
        waits && now.tick_ms.saturating_sub(since_ms) < UPSTREAM_FIRST_MS
    }

    /// Returns when to come back, by the steady clock; `None`: only when something happens.
    pub fn wake_at_ms(&self, now: Now) -> Option<u64> {
        let requests = self.asked.values().map(|(_, until_ms)| *until_ms).min();
        let mut moments = vec![requests, self.saving.wake_at_ms(), self.stream_wake_ms(), self.tabs_wake_ms()];
        if self.may_ask() {
            let reads = self.wants_schema || !self.unlisted().is_empty() || self.is_to_read_on();
            let idle = !self.stream.open || reads || !self.fetches.is_idle();
            moments.push(idle.then(|| self.pace.until_ms()).filter(|at_ms| *at_ms > now.tick_ms));
            moments.push(idle.then(|| self.subsets.later_ms()).filter(|at_ms| *at_ms > now.tick_ms));
            moments.push(self.upstream_since_ms.map(|ms| ms + UPSTREAM_FIRST_MS).filter(|at_ms| *at_ms > now.tick_ms));
            moments.push(
                Some(self.sending.hold.until_ms()).filter(|at_ms| *at_ms > now.tick_ms && !self.outbox.is_empty()),
            );
            let due = |outbox: &Outbox| {
                let waiting = outbox.iter().filter(|e| e.state == State::Pending && e.due_ms > now.wall_ms);
                waiting.map(|entry| now.tick_ms + (entry.due_ms - now.wall_ms).min(60_000)).min()
            };
            moments.push(due(&self.outbox));
        }
        moments.into_iter().flatten().min()
    }

    /// Stops speaking for the store: another instance does.
    pub(super) fn follow(&mut self) {
        self.leading = None;
        // What another instance will have read from the stream is not in here.
        self.types.values_mut().for_each(|rows| rows.recent = Default::default());
        self.close_stream();
        for (id, (asked, _)) in std::mem::take(&mut self.asked) {
            self.outputs.push_back(Output::Cancel { id });
            drop(asked);
        }
        self.sending = Default::default();
        self.upstream_since_ms = None;
    }

    /// Returns what the client says of itself.
    pub fn status(&self) -> Status {
        let count = |states: &[State]| self.outbox.iter().filter(|entry| states.contains(&entry.state)).count();
        // Whoever follows knows of the server what the leader says.
        let said = self.tabs.said.as_ref().filter(|_| self.leading.is_none());
        let network = match (self.stream.alive, self.stream.refused, self.pace.failures()) {
            _ if self.unplugged => Network::Offline,
            (true, _, _) => Network::Online,
            (_, Some(status), _) => Network::Refused(status),
            (_, None, 0) => Network::Connecting,
            _ => Network::Offline,
        };
        Status {
            network: said.map_or(network, |said| said.network),
            expelled: match said {
                Some(said) => said.expelled,
                None => self.stream.expelled && matches!(network, Network::Refused(_)),
            },
            leading: self.leading.is_some(),
            listed: self.schema.is_some() && self.unlisted().is_empty() && self.building.is_empty(),
            rows: self.types.values().chain(self.building.values()).map(|rows| rows.rows.len()).sum(),
            pending: count(&[State::Pending, State::Sent, State::Accepted]),
            conflicted: count(&[State::Conflicted]),
            failed: count(&[State::Failed]),
            as_of: said.map_or_else(|| self.stream.as_of.clone(), |said| said.as_of.clone()),
            not_saving: self.saving.failing().map(str::to_owned),
        }
    }

    fn tell_changes(&mut self) {
        if !self.shown.is_empty() {
            let rows: Vec<EntityKey> = std::mem::take(&mut self.shown).into_iter().collect();
            self.subsets.may_differ(&rows);
            self.tell(Told::Rows(rows));
        }
        self.tell_subsets();
        if std::mem::take(&mut self.outbox_changed) {
            self.tell(Told::Outbox);
        }
        let status = self.status();
        if self.told_status.as_ref() != Some(&status) {
            self.told_status = Some(status.clone());
            self.tell(Told::Status(status));
        }
    }
}
