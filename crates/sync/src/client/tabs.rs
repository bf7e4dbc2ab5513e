//! Several instances over one store: who leads, who is heard, and when another takes over (CORE-16, SY-55, SY-56).
//!
//! A follower that can be seen asks every two seconds who leads, and the leader answers at once: so nothing hangs on the
//! timers of a tab in the background, and whoever is alone says nothing. Laws: the table of `role` decides; what is in the
//! store counts, a message is a hint; a fence is asked for, never made up; whoever slept asks before it takes over.

mod adopt;
mod guests;
mod hear;
mod read;
mod wishes;

pub(super) use self::wishes::Unsaved;
use super::{
    Client, Entry, Now, Output, State,
    message::{Beat, Message, VERSION, What, Wish},
    role::{Role, RoleEvent, role_step},
    store::{Record, Write},
};
use crate::ordered::OrderedMap;

/// A follower asks so often who leads, in milliseconds.
const ASK_MS: u64 = 2_000;
/// A leader that is not heard for so long is taken over from, in milliseconds.
const SILENT_MS: u64 = 5_000;
/// But not before it was asked for so long, in milliseconds.
const ASKED_MS: u64 = 3_000;
/// After the leader left, what cannot be seen lets what can be seen go first for so long, in milliseconds.
const HIDDEN_MS: u64 = 1_000;
/// Whoever was not driven for so long has slept, in milliseconds.
const SLEPT_MS: u64 = 4_000;
/// Whoever led waits at most so long until another has come as far, in milliseconds.
const CAUGHT_UP_MS: u64 = 10_000;
/// A store that could not be read is read again after so long, in milliseconds.
const READ_AGAIN_MS: u64 = 5_000;

/// How an instance stands to the others.
#[derive(Debug)]
pub(super) struct Tabs {
    pub(super) role: Role,
    /// The fence that was granted to it last.
    own: u64,
    /// The highest fence that it heard of.
    fence: u64,
    /// How many saves of leaders it knows.
    pub(super) save: u64,
    /// Whether anything has happened to it.
    begun: bool,
    visible: bool,
    /// Whether another instance was ever heard.
    company: bool,
    /// What the leader said last.
    pub(super) said: Option<Beat>,
    heard_ms: u64,
    asked_ms: Option<u64>,
    /// Since when it asks and hears nothing.
    waits_ms: Option<u64>,
    driven_ms: u64,
    /// When the leader said that it leads no more.
    left_ms: Option<u64>,
    /// Since when it hears whoever outdid it.
    outdone_ms: Option<u64>,
    pub(super) reading: read::Reading,
    /// What leaders saved that cannot be taken yet.
    early: OrderedMap<u64, Vec<Write>>,
    /// Whether edits were added that the leader was not told of.
    hint: bool,
    /// What a person did to edits, and the leader has not done yet.
    wishes: Vec<(u64, Wish)>,
    wished: u64,
    wishes_due: bool,
    /// What others wish.
    inbox: Vec<(String, u64, Wish)>,
    done: OrderedMap<String, u64>,
    guests: guests::Guests,
    /// Whether the leader was told that something is wanted here.
    wants_said: bool,
    to_thank: OrderedMap<String, u64>,
    pub(super) unsaved: Unsaved,
    /// Epoch and offset that are in the store.
    pub(super) saved_position: (u64, u64),
    reached: OrderedMap<(Role, RoleEvent), u64>,
}

impl Default for Tabs {
    fn default() -> Tabs {
        Tabs {
            role: Role::Follower,
            own: 0,
            fence: 0,
            save: 0,
            begun: false,
            visible: true,
            company: false,
            said: None,
            heard_ms: 0,
            asked_ms: None,
            waits_ms: None,
            driven_ms: 0,
            left_ms: None,
            outdone_ms: None,
            reading: Default::default(),
            early: OrderedMap::new(),
            hint: false,
            wishes: Vec::new(),
            wished: 0,
            wishes_due: false,
            inbox: Vec::new(),
            done: OrderedMap::new(),
            guests: Default::default(),
            wants_said: false,
            to_thank: OrderedMap::new(),
            unsaved: Unsaved::default(),
            saved_position: (0, 0),
            reached: OrderedMap::new(),
        }
    }
}

impl Tabs {
    /// Returns how an instance begins, by what its store says of saves.
    pub(super) fn of(fence: u64, save: u64) -> Tabs {
        Tabs { fence, save, ..Tabs::default() }
    }

    fn heard(&mut self, now: Now) {
        self.heard_ms = now.tick_ms;
        (self.waits_ms, self.left_ms) = (None, None);
    }

    /// Returns when a follower takes over, where nothing happens before.
    fn silent_at_ms(&self) -> Option<u64> {
        if !matches!(self.role, Role::Follower | Role::Fenced) {
            return None;
        }
        match (self.left_ms, self.visible) {
            (Some(left_ms), true) => Some(left_ms),
            (Some(left_ms), false) => Some(left_ms + HIDDEN_MS),
            (None, true) => self.waits_ms.map(|ms| (ms + ASKED_MS).max(self.heard_ms + SILENT_MS)),
            (None, false) => None,
        }
    }
}

impl Client {
    /// Returns what it is to its store.
    pub fn role(&self) -> Role {
        self.tabs.role
    }

    /// Returns which cells of the table of roles were reached, and how often; what cannot happen is counted too.
    pub fn reached_roles(&self) -> &OrderedMap<(Role, RoleEvent), u64> {
        &self.tabs.reached
    }

    /// Lets something happen to the role, by the table.
    pub(super) fn turn(&mut self, now: Now, event: RoleEvent) {
        let from = self.tabs.role;
        *self.tabs.reached.entry((from, event)).or_default() += 1;
        let Some(to) = role_step(from, event).filter(|to| *to != from) else { return };
        self.tabs.role = to;
        self.tabs.heard(now);
        match to {
            Role::Candidate => self.outputs.push_back(Output::Claim { beyond: self.tabs.fence }),
            // Only what is read under its own fence is what the former leader left.
            Role::Heir => self.read_anew(),
            Role::Leader => self.lead(now),
            Role::Fenced => {
                (self.tabs.outdone_ms, self.tabs.asked_ms) = (None, None);
                self.follow();
                // What it was about to fetch is the other's to fetch (seed 98 of tabs).
                self.fetches = Default::default();
                self.keep_fresh();
                self.drop_guests(now);
            }
            Role::Follower => {}
        }
    }

    /// Its driver took the fence.
    pub(super) fn granted(&mut self, now: Now, fence: u64) {
        if fence < self.tabs.fence {
            // Another was granted the next one meanwhile.
            return self.turn(now, RoleEvent::Lost);
        }
        (self.tabs.own, self.tabs.fence) = (fence, fence);
        match self.tabs.begun {
            false => self.turn(now, RoleEvent::Began),
            true => self.turn(now, RoleEvent::Won),
        }
    }

    pub(super) fn claimed(&mut self, now: Now, fence: u64, won: bool) {
        match won {
            true => self.granted(now, fence),
            false => {
                self.tabs.fence = self.tabs.fence.max(fence);
                self.turn(now, RoleEvent::Lost);
            }
        }
    }

    /// It is to stop leading: others are told, so that none waits.
    pub(super) fn steps_down(&mut self, now: Now) {
        let fence = self.leading;
        self.turn(now, RoleEvent::Released);
        if let Some(fence) = fence {
            self.share(What::Bye { fence });
        }
    }

    pub(super) fn seen(&mut self, now: Now, visible: bool) {
        if visible && !self.tabs.visible {
            (self.tabs.asked_ms, self.tabs.waits_ms) = (None, None);
            self.tabs.heard_ms = now.tick_ms;
        }
        self.tabs.visible = visible;
    }

    fn lead(&mut self, now: Now) {
        self.leading = Some(self.tabs.own);
        self.tabs.saved_position = self.position();
        self.drop_relisted();
        self.take_subsets_over();
        // The echo of what was accepted may lie behind the position, and what was read for it is forgotten.
        let accepted = self.outbox.iter().filter(|entry| entry.state == State::Accepted);
        accepted.for_each(|entry| self.fetches.want(&entry.entity));
        for entity in std::mem::take(&mut self.fetches.begun) {
            // A list that was not whole brings it as well.
            if self.types.contains_key(&entity.entity_type) {
                self.fetches.want(&entity);
            }
        }
        self.take_in_all(now);
        for (_, wish) in std::mem::take(&mut self.tabs.wishes) {
            self.grant(now, wish);
        }
        self.beat();
    }

    /// Says that it leads, and how far it is.
    fn beat(&mut self) {
        let Some(fence) = self.leading else { return };
        let done = match self.is_saved() {
            true => std::mem::take(&mut self.tabs.to_thank).into_iter().collect(),
            false => Vec::new(),
        };
        let status = self.status();
        let beat = Beat {
            fence,
            save: self.tabs.save,
            position: self.tabs.saved_position,
            network: status.network,
            as_of: status.as_of,
            server_ahead_ms: self.server_ahead_ms,
            done,
            expelled: status.expelled,
        };
        self.share(What::Beat(beat));
    }

    fn share(&mut self, what: What) {
        let message = Message { v: VERSION, from: self.config.source.clone(), what };
        self.outputs.push_back(Output::Share { message: message.text() });
    }

    /// Does what is due between instances.
    pub(super) fn keep_tabs(&mut self, now: Now) {
        if !std::mem::replace(&mut self.tabs.begun, true) {
            self.tabs.heard(now);
        } else if now.tick_ms.saturating_sub(self.tabs.driven_ms) >= SLEPT_MS {
            // What was said meanwhile may be lost: it asks anew before it believes that nobody leads.
            (self.tabs.asked_ms, self.tabs.waits_ms) = (None, None);
        }
        self.tabs.driven_ms = now.tick_ms;
        if self.leading.is_some() {
            if !self.tabs.to_thank.is_empty() && self.is_saved() {
                self.beat();
            }
            return self.forget_guests(now);
        }
        if self.tabs.silent_at_ms().is_some_and(|at_ms| at_ms <= now.tick_ms) {
            self.turn(now, RoleEvent::Silent);
        }
        self.say_what_was_done();
        self.ask_who_leads(now);
    }

    fn ask_who_leads(&mut self, now: Now) {
        let asks = matches!(self.tabs.role, Role::Follower | Role::Fenced) && self.has_to_ask();
        if !asks || self.tabs.asked_ms.is_some_and(|ms| now.tick_ms < ms + ASK_MS) {
            return;
        }
        self.tabs.asked_ms = Some(now.tick_ms);
        self.tabs.waits_ms.get_or_insert(now.tick_ms);
        let until = (self.tabs.role == Role::Fenced).then(|| self.position());
        self.share(What::Hello { until });
        // What was said before may have been lost.
        self.tabs.wishes_due = !self.tabs.wishes.is_empty();
        self.tabs.hint = self.tabs.hint || self.has_added();
        self.say_wants();
        self.say_what_was_done();
    }

    /// What the leader is to hear is said at once.
    pub(super) fn ask_at_once(&mut self) {
        if self.leading.is_none() {
            self.tabs.asked_ms = None;
        }
    }

    /// What cannot be seen is quiet, unless it waits for something.
    fn has_to_ask(&self) -> bool {
        let waits = self.tabs.role == Role::Fenced || !self.tabs.wishes.is_empty() || self.has_added();
        let waits = waits || self.wants_parts();
        self.tabs.asked_ms.is_none() || self.tabs.visible || waits
    }

    /// Tells whether edits are in the store that the leader has not taken in, as far as is known here.
    fn has_added(&self) -> bool {
        self.outbox.iter().any(|entry| entry.added && !self.outbox.is_fresh(&entry.key))
    }

    /// Returns when something is due between instances.
    pub(super) fn tabs_wake_ms(&self) -> Option<u64> {
        let asks = matches!(self.tabs.role, Role::Follower | Role::Fenced) && self.has_to_ask();
        let ask_ms = asks.then(|| self.tabs.asked_ms.map_or(0, |ms| ms + ASK_MS));
        [ask_ms, self.tabs.silent_at_ms(), self.tabs.reading.again_at_ms()].into_iter().flatten().min()
    }

    /// It goes on under another name, and so does what is neither saved nor about to be.
    pub(super) fn name_anew(&mut self, now: Now) {
        self.rename(now);
        let now_ms = self.stamp_ms(now);
        let saving = self.saving.entries();
        for mut entry in self.outbox.take_fresh(&saving) {
            (entry.id, entry.source) = (self.clock.tick(now_ms), self.config.source.clone());
            self.key_anew(entry);
        }
    }

    /// What is in the store under this key is another edit than the one that is here and may have left: it keeps its id.
    pub(super) fn part_from(&mut self, key: &str) {
        if let Some(entry) = self.outbox.find(key).filter(|_| self.outbox.is_fresh(key)).cloned() {
            self.outbox.forget(key);
            self.key_anew(entry);
        }
    }

    fn key_anew(&mut self, mut entry: Entry) {
        self.dirty.leave(&Record::Entry(entry.key.clone()));
        let alone = entry.group == entry.key;
        entry.key = self.outbox.next_key(self.clock.node());
        if alone {
            entry.group = entry.key.clone();
        }
        self.dirty.put(Record::Entry(entry.key.clone()));
        self.touched(&entry.entity);
        self.outbox.insert_fresh(entry);
    }

    /// Another instance uses its name: a tab was copied. It goes on under another.
    fn rename(&mut self, now: Now) {
        // A copy may hold the same seed; it hardly hears at the same moment.
        self.random.stir(now.tick_ms ^ now.wall_ms.rotate_left(32));
        self.config.source = self.random.name();
        self.clock.rename(&self.config.source);
        self.dirty.put(Record::Meta);
    }
}
