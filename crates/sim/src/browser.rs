//! A person's browser: one to three tabs with the shipped client machine over one storage with a fence (SIM-01, CORE-16).
//!
//! Tabs are opened, closed, killed, put to sleep and copied; what they say to each other is late, doubled, lost or out of
//! order. Laws: the storage compares fences in the transaction that writes; what a sleeping tab is told may be lost; after
//! each step the watch compares what that tab shows with what the person did in any of them.

mod burst;
mod channel;
mod deeds;
mod tab;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use antiphon_sync::client::{Client, Entry, Filter, Role, RoleEvent, State, Subset, Test};

use self::{channel::Channel, tab::Slot, watch::Book};
use crate::{
    Clock, FinalPart, FinalView, ProcessId,
    checks::Truth,
    storage::Storage,
    typing::{Pen, Words},
    workload::Stage,
};

/// The types of every run.
const TYPES: &[&str] = &["note", "page", "task"];
/// So many in a thousand transactions of a browser's storage take long.
const SLOW_PERMILLE: u64 = 20;
/// Tabs at most.
const TABS_MAX: usize = 3;

/// A browser at work; cheap to clone.
#[derive(Clone)]
pub(crate) struct Browser {
    stage: Stage,
    number: u32,
    process: ProcessId,
    pub(crate) subject: &'static str,
    pub(crate) org: &'static str,
    clock: Clock,
    storage: Storage,
    channel: Channel,
    shared: Arc<Mutex<Shared>>,
}

/// What outlives the tabs, for checkers.
struct Shared {
    slots: Vec<Slot>,
    offline: bool,
    book: Book,
    /// What was typed in any of its tabs.
    words: Words,
    /// Whether a tab was copied with its name: one id may stand for two texts until that is told apart.
    copied: bool,
    reached: BTreeMap<(Role, RoleEvent), u64>,
}

impl Browser {
    /// Makes a browser; its clock may be wrong.
    pub(crate) fn new(stage: Stage, number: u32, process: ProcessId, who: (&'static str, &'static str)) -> Browser {
        let dice = stage.simulation.dice();
        let off_us = match dice.below(10) {
            // Ten minutes ahead: what it makes is refused until it knows.
            0 => 600_000_000,
            _ => dice.below(4_000_000) as i64 - 2_000_000,
        };
        let clock = stage.simulation.clock().skewed(off_us);
        let storage = Storage::new(&stage.simulation, SLOW_PERMILLE);
        let tabs = dice.between(1, TABS_MAX as u64) as usize;
        let pen = |at: usize| {
            let number = number * TABS_MAX as u32 + at as u32;
            stage.typing.as_ref().map(|dice| Pen::new(dice, number, who.1))
        };
        let slot = |at| Slot { pen: pen(at), ..Slot::default() };
        let shared = Shared {
            slots: (0..tabs).map(slot).collect(),
            offline: false,
            book: Book::default(),
            words: Words::default(),
            copied: false,
            reached: BTreeMap::new(),
        };
        let (subject, org) = who;
        let channel = Channel::new(&stage, process);
        Browser { stage, number, process, subject, org, clock, storage, channel, shared: Arc::new(Mutex::new(shared)) }
    }

    /// Starts its tabs.
    pub(crate) fn start(&self) {
        let tabs = self.shared().slots.len();
        for at in 0..tabs {
            let tab = tab::Tab::new(self.clone(), at);
            self.stage.simulation.start(self.process, tab.run());
        }
    }

    /// Tells whether one tab leads and has heard everything, all that it was asked to do is done or waits for its person,
    /// and the others show the same.
    pub(crate) fn settled(&self, epoch: u64, offset: u64) -> bool {
        let shared = self.shared();
        let mut leaders = shared.clients().filter(|client| client.role() == Role::Leader);
        let (Some(leader), None) = (leaders.next(), leaders.next()) else { return false };
        let waiting = |entry: &Entry| match entry.state {
            State::Pending | State::Sent => leader.waits(&entry.key).is_none(),
            State::Accepted => true,
            State::Conflicted | State::Failed => false,
        };
        let heard = leader.position() >= (epoch, offset) && leader.status().listed;
        let others = shared.clients().filter(|client| client.role() != Role::Leader);
        let alike = |client: &Client| client.role() == Role::Follower && rows(client) == rows(leader);
        heard
            && !leader.outbox().iter().any(waiting)
            && shared.slots.iter().all(|slot| slot.is_up() && slot.is_complete())
            && others.into_iter().all(|client| alike(client) && client.outbox().iter().eq(leader.outbox().iter()))
    }

    /// Returns what each tab shows of the confirmed rows.
    pub(crate) fn views(&self) -> Vec<FinalView> {
        let shared = self.shared();
        let view = |(at, client): (usize, &Client)| FinalView {
            reader: self.reader(at),
            subject: self.subject.to_owned(),
            org: self.org.to_owned(),
            types: TYPES.iter().map(|name| (*name).to_owned()).collect(),
            parts: Some((0..shared.slots.len()).map(part).collect()),
            rows: rows(client),
        };
        shared.clients().enumerate().map(view).collect()
    }

    /// Returns what is wrong with what its person saw, once the run is over.
    pub(crate) fn complaints(&self, truth: &Truth) -> Vec<String> {
        let mut shared = self.shared();
        let Shared { slots, book, words, .. } = &mut *shared;
        let who = format!("browser {} ({} in {})", self.number, self.subject, self.org);
        let mut clients = slots.iter().filter_map(|slot| slot.client.as_ref());
        let leader = clients.find(|client| client.role() == Role::Leader);
        let leads = leader.is_some();
        words.lost(leader, &truth.written).into_iter().filter(|_| leads).for_each(|lost| book.complain(lost));
        book.finish(leader, truth).into_iter().map(|found| format!("{who}: {found}")).collect()
    }

    /// Returns which cells of the table of roles its tabs reached.
    pub(crate) fn reached(&self) -> Vec<String> {
        let shared = self.shared();
        let mut reached: BTreeSet<(Role, RoleEvent)> = shared.reached.keys().copied().collect();
        reached.extend(shared.clients().flat_map(|client| client.reached_roles().keys().copied()));
        reached.into_iter().map(|(role, event)| format!("tab {} {event:?}", role.as_str())).collect()
    }

    /// Says where it stands, for people.
    pub(crate) fn describe(&self) -> String {
        let shared = self.shared();
        let tab = |client: &Client| {
            // What differs from the leader's, else everything.
            let leads = |other: &&Client| other.role() == Role::Leader && client.role() != Role::Leader;
            let leader = shared.clients().find(leads);
            let same = |entry: &&Entry| leader.is_some_and(|leader| leader.outbox().find(&entry.key) == Some(*entry));
            let entries: Vec<&Entry> = client.outbox().iter().filter(|entry| !same(entry)).collect();
            let alike = leader.is_none_or(|leader| rows(leader) == rows(client));
            let entries: Vec<String> = match leader {
                Some(_) => entries.iter().map(|entry| format!("{entry:?}")).collect(),
                None => entries.iter().map(|entry| format!("{} {:?}", entry.id, entry.state)).collect(),
            };
            format!(
                "{:?} at {:?} rows alike {alike} {:?} {entries:?}",
                client.role(),
                client.position(),
                client.status()
            )
        };
        let tabs: Vec<String> = shared.clients().map(tab).collect();
        format!("browser {} fence {} {tabs:?}", self.number, self.storage.fence())
    }

    fn reader(&self, at: usize) -> u32 {
        self.number * TABS_MAX as u32 + at as u32
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // A panic ends the run.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn clients(&self) -> impl Iterator<Item = &Client> {
        self.slots.iter().filter_map(|slot| slot.client.as_ref())
    }
}

/// Returns what a tab wants of the type that is kept in parts.
fn wanted(at: usize) -> Subset {
    let part = part(at);
    let filter = part.equals.map(|(field, value)| Filter { field, test: Test::Eq, value });
    Subset {
        entity_type: part.entity_type,
        filters: filter.into_iter().collect(),
        order: Vec::new(),
        window_rows: None,
    }
}

fn part(at: usize) -> FinalPart {
    let status = ["open", "done"].get(at).map(|status| (*status).to_owned());
    FinalPart { entity_type: "task".to_owned(), equals: Some(("status".to_owned(), status)), first: None }
}

/// Returns the confirmed rows as a checker compares them.
fn rows(client: &Client) -> BTreeMap<(String, String), serde_json::Value> {
    let of = |name: &'static str| {
        client.confirmed_rows(name).map(move |(id, row)| ((name.to_owned(), id.clone()), row.data.clone().into()))
    };
    TYPES.iter().flat_map(|name| of(name)).collect()
}
