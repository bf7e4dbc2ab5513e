//! What an instance makes of what another says (CORE-16, SY-55, SY-56).
//!
//! Laws: a message of a lower fence is answered, never obeyed; what a leader saved is taken in the order of its numbers
//! or not at all; a gap is closed from the store, so that no loss between tabs can lose more than time.

use super::{
    super::{
        Client, Now, Told,
        message::{Beat, Message, What},
        role::{Role, RoleEvent},
        store::{Record, Write},
    },
    CAUGHT_UP_MS,
};

/// So many saves that came too early are kept; with more the store is read.
const EARLY_MAX: usize = 64;
/// What a leader saved is told in a message up to this size, in bytes.
const MESSAGE_MAX_BYTES: usize = 1 << 20;

impl Client {
    /// Another instance said something.
    pub(in crate::client) fn heard_other(&mut self, now: Now, text: &str) {
        let Some(message) = Message::read(text) else {
            return self.tell(Told::Nonsense("a message of another tab".into()));
        };
        self.tabs.company = true;
        if message.from == self.config.source {
            // This tab was copied: what is not on its way to the store is numbered there as well (seed 80367).
            self.name_anew(now);
        }
        match message.what {
            What::Hello { until } => self.asked_who_leads(until),
            What::Beat(beat) => self.heard_beat(now, beat),
            What::Saved { fence, save, writes } => self.heard_saved(now, fence, save, writes),
            What::Added if self.leading.is_some() => self.tabs.reading.want_added(),
            What::Wishes { wishes } if self.leading.is_some() => {
                let wishes = wishes.into_iter().map(|(number, wish)| (message.from.clone(), number, wish));
                self.tabs.inbox.extend(wishes);
                // They may be about edits that this one has not seen yet.
                self.tabs.reading.want_added();
            }
            What::Wants { subsets, open } if self.leading.is_some() => {
                self.hear_wants(now, &message.from, subsets, open);
            }
            What::Bye { fence } if self.leading.is_none() && fence >= self.tabs.fence => {
                self.tabs.fence = fence;
                self.tabs.left_ms = Some(now.tick_ms);
            }
            What::Added | What::Wishes { .. } | What::Wants { .. } | What::Bye { .. } | What::Unknown => {}
        }
    }

    fn asked_who_leads(&mut self, until: Option<(u64, u64)>) {
        if self.leading.is_none() {
            return;
        }
        if until.is_some_and(|until| self.tabs.saved_position < until && until <= self.position()) {
            // Whoever led before waits for this to be in the store.
            self.dirty.put(Record::Meta);
        }
        self.beat();
    }

    /// A leader is heard; tells whether it is one to be believed.
    fn heard_leader(&mut self, now: Now, fence: u64) -> bool {
        if self.leading.is_some() && fence <= self.tabs.own {
            // It does not know yet that it leads no more.
            self.beat();
            return false;
        }
        if fence < self.tabs.fence {
            return false;
        }
        if fence > self.tabs.own {
            self.turn(now, RoleEvent::Outdone);
        }
        self.tabs.fence = fence;
        self.tabs.heard(now);
        true
    }

    fn heard_beat(&mut self, now: Now, beat: Beat) {
        if !self.heard_leader(now, beat.fence) {
            return;
        }
        self.server_ahead_ms = beat.server_ahead_ms;
        for (source, number) in &beat.done {
            if *source == self.config.source {
                self.tabs.wishes.retain(|(wish, _)| wish > number);
            }
        }
        let behind = match self.tabs.role {
            Role::Fenced => {
                let since_ms = *self.tabs.outdone_ms.get_or_insert(now.tick_ms);
                let waited = now.tick_ms.saturating_sub(since_ms) >= CAUGHT_UP_MS;
                waited || beat.position >= self.position()
            }
            Role::Follower | Role::Candidate => beat.save > self.tabs.save,
            Role::Heir | Role::Leader => false,
        };
        if behind {
            self.tabs.reading.want_all();
        }
        if beat.expelled && !self.tabs.said.as_ref().is_some_and(|said| said.expelled) {
            // Rows and entries leave with what the leader saves; what undo would bring back is each tab's own.
            self.undo.forget();
        }
        self.tabs.said = Some(beat);
    }

    fn heard_saved(&mut self, now: Now, fence: u64, save: u64, writes: Option<Vec<Write>>) {
        if !self.heard_leader(now, fence) || !matches!(self.tabs.role, Role::Follower | Role::Candidate) {
            return;
        }
        let Some(writes) = writes.filter(|_| self.tabs.early.len() < EARLY_MAX) else {
            return self.tabs.reading.want_all();
        };
        if save > self.tabs.save {
            self.tabs.early.insert(save, writes);
        }
        self.take_early(now);
    }

    /// Takes what leaders saved, as far as it goes on where this one is.
    pub(super) fn take_early(&mut self, now: Now) {
        if self.tabs.reading.is_under_way() {
            return;
        }
        while let Some((save, writes)) = self.tabs.early.pop_first() {
            if save > self.tabs.save + 1 {
                self.tabs.early.insert(save, writes);
                self.tabs.reading.want_all();
                return;
            }
            if save > self.tabs.save {
                self.tabs.save = save;
                self.shared(now, &writes);
            }
        }
    }

    /// Tells the others what was saved under its fence.
    pub(in crate::client) fn tell_saved(&mut self, writes: Vec<Write>) {
        let (Some(fence), true) = (self.leading, self.tabs.company) else { return };
        let size = |write: &Write| match write {
            Write::Put(_, text) => text.len(),
            Write::Remove(_) | Write::Clear { .. } => 0,
        };
        let fits = writes.iter().map(size).sum::<usize>() <= MESSAGE_MAX_BYTES;
        self.share(What::Saved { fence, save: self.tabs.save, writes: fits.then_some(writes) });
    }
}
