//! The end of a membership: what was read leaves the device, what was typed stays (SY-13, SY-15, CORE-06).
//!
//! Laws: `NOT_A_MEMBER` takes away all rows, what others wrote in the outbox and the journal, and what undo would bring
//! back; no entry goes, and none is sent to anybody else. It is no end for good: who comes back lists everything anew,
//! and the outbox goes on. What an edit began with stays: it is part of the edit.

use super::{Change, Client, Now, State, store::Record};

impl Client {
    /// The server says that this user is not of the organisation any more.
    pub(super) fn expelled(&mut self, now: Now) {
        if self.types.is_empty() && self.building.is_empty() {
            return;
        }
        self.close_stream();
        self.drop_building();
        let names: Vec<String> = self.types.keys().cloned().collect();
        names.iter().for_each(|name| self.leave(name));
        self.fetches = Default::default();
        self.undo.forget();
        self.wants_schema = true;
        for key in self.outbox.keys(&|entry| entry.state == State::Conflicted) {
            self.left_sight(now, &key);
        }
        for key in self.outbox.keys(&|_| true) {
            self.outbox.update(&key, &mut self.dirty, |entry| {
                entry.theirs = None;
                if let Change::Delete { row } = &mut entry.change {
                    *row = None;
                }
            });
        }
        for (key, line) in &mut self.journal {
            (line.base, line.theirs) = (None, None);
            self.dirty.put(Record::Journal(key.clone()));
        }
        self.outbox_changed = true;
    }
}
