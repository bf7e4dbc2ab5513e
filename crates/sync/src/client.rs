//! The client's half of the protocol as one machine: the very bytes that run in browsers, Node, terminals and the
//! simulator (CORE-01..18; `SPEC.md` tells it in words).
//!
//! Laws: nothing that a person typed is lost, applied twice or shown differently before it is settled; an edit is saved
//! before it is handed to a transport; rows, position, epoch and access are saved together. After any input, poll until
//! `None`, then come back at `wake_at_ms`. It refuses to know time, randomness, sockets and storage: all are arguments.

mod arrive;
mod decide;
mod draft;
mod entry;
mod expelled;
mod export;
mod face;
mod fetch;
mod held;
mod input;
mod journal;
mod judge;
mod keys;
mod law;
mod lists;
mod message;
mod outbox;
mod output;
mod pace;
mod plug;
mod recent;
mod role;
mod rows;
mod save;
mod send;
mod settle;
mod share;
mod state;
mod status;
mod store;
mod stream;
mod subset;
mod subsets;
mod tabs;
#[cfg(test)]
mod tests;
mod undo;
mod value;
mod vector;
mod view;
pub mod words;

use std::{borrow::Cow, collections::VecDeque};

use antiphon_model::TransactionId;

pub use self::{
    decide::{Decision, Undecided},
    draft::MergedText,
    entry::{Change, EntityKey, Entry, EntryKey, Refused, Theirs},
    export::{Export, ImportRefused, Imported, Owner, store_outbox},
    face::{Call, Face, Verb},
    input::{Config, Input, Now},
    journal::{Line, Rule},
    law::Law,
    outbox::{ENTRIES_MAX, Edit, Outbox, Waits},
    output::{EditRefused, Made, Output, Request, Told},
    role::{Role, RoleEvent, role_step},
    rows::{Row, TypeMarks, Versions},
    save::{Corrupt, Loaded},
    state::{Event, State, Step, step},
    status::{Network, Status},
    store::{FORMAT, Record, Write},
    subset::{Filter, Level, Subset, Test},
    subsets::{Changes, Come, OPEN_MAX, Presence, Query, TooMany, WANTED_MAX},
    value::same,
    vector::Vector,
};
use self::{
    fetch::Fetches,
    outbox::Making,
    pace::{Pace, Random},
    rows::TypeRows,
    save::Saving,
    send::Sending,
    store::Dirty,
    stream::Stream,
    subsets::{Asking, Subsets},
    tabs::Tabs,
    undo::Undo,
    words::{Problem, Schema},
};
pub use crate::json::{Object, Value};
use crate::{
    Clock, form,
    ordered::{OrderedMap, OrderedSet},
};

/// A request without an answer for so long is given up, in milliseconds.
const REQUEST_MS: u64 = 30_000;

/// The machine.
#[derive(Debug)]
pub struct Client {
    config: Config,
    clock: Clock,
    random: Random,
    /// How far the server's clock is ahead of ours, in milliseconds.
    server_ahead_ms: i64,
    schema: Option<Schema>,
    epoch: u64,
    access: String,
    types: OrderedMap<String, TypeRows>,
    building: OrderedMap<String, TypeRows>,
    outbox: Outbox,
    /// Ids that this device made lately, beyond those in the outbox.
    made: VecDeque<String>,
    journal: OrderedMap<String, Line>,
    undo: Undo,
    dirty: Dirty,
    saving: Saving,
    leading: Option<u64>,
    unplugged: bool,
    tabs: Tabs,
    wants_schema: bool,
    pace: Pace,
    asked: OrderedMap<u64, (Asked, u64)>,
    numbers: u64,
    stream: Stream,
    sending: Sending,
    fetches: Fetches,
    subsets: Subsets,
    shown: OrderedSet<EntityKey>,
    outbox_changed: bool,
    told_status: Option<Status>,
    upstream_since_ms: Option<u64>,
    outputs: VecDeque<Output>,
}

/// What an open request is about.
#[derive(Clone, Debug, PartialEq)]
enum Asked {
    Schema,
    List(String, Option<String>),
    Piece(Box<Asking>),
    Ids(String, Vec<String>),
    Mutations,
}

impl Client {
    /// Lets something happen.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::Lead { fence } => self.granted(now, fence),
            Input::Follow => self.steps_down(now),
            Input::Network { usable } => self.plug(now, usable),
            Input::Claimed { fence, won } => self.claimed(now, fence, won),
            Input::Visible { visible } => self.seen(now, visible),
            Input::Tick => {}
            Input::Answer { id, status, retry_after_ms, server_ms, body } => {
                if let Some(server_ms) = server_ms {
                    self.server_ahead_ms = server_ms.cast_signed().saturating_sub(now.wall_ms.cast_signed());
                }
                if let Some((asked, _)) = self.asked.remove(&id) {
                    self.answered(now, asked, &Answer { status, retry_after_ms, body });
                }
            }
            Input::NoAnswer { id } => {
                if let Some((asked, _)) = self.asked.remove(&id) {
                    self.unanswered(now, asked);
                }
            }
            Input::Frame { stream, event, data } => self.frame(now, stream, event, data),
            Input::Heard { stream } => self.heard(now, stream),
            Input::Ended { stream, status, retry_after_ms } => self.ended(now, stream, status, retry_after_ms),
            Input::Saved { token } => self.saved(token),
            Input::NotSaved { token, reason } => self.not_saved(now, token, reason),
            Input::Shared { message } => self.heard_other(now, message),
            Input::Read { token, records } => self.was_read(now, token, records),
            Input::NotRead { token } => self.not_read(now, token),
        }
        self.drive(now);
    }

    /// Returns what the client wants next; `None` once it waits.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes an edit; what it does is visible at once.
    ///
    /// # Errors
    /// Nothing was taken, and the reason says why.
    pub fn edit(&mut self, now: Now, edit: Edit) -> Result<Made, EditRefused> {
        self.edit_upon(now, edit, None)
    }

    /// Takes an edit of one field, whose author saw this text in it.
    ///
    /// # Errors
    /// Nothing was taken, and the reason says why.
    pub fn edit_upon(&mut self, now: Now, edit: Edit, seen: Option<&str>) -> Result<Made, EditRefused> {
        if !self.outbox.has_room() {
            return Err(EditRefused::OutboxFull);
        }
        let schema = self.schema.as_ref().ok_or(EditRefused::NoSchema)?;
        let shape = schema.types.get(&edit.entity().entity_type).ok_or(EditRefused::NoSuchRow)?;
        let creates = matches!(edit, Edit::Create { .. });
        if creates && shape.create == "online" {
            return Err(EditRefused::OnlineOnly);
        }
        if !creates && self.view(edit.entity()).is_none() {
            return Err(EditRefused::NoSuchRow);
        }
        let before = self.view(edit.entity());
        let seen = seen.filter(|_| !self.breaks(Law::DraftsMeetOthers));
        let upon = seen.and_then(|seen| self.begun_upon(&edit, seen, before.as_ref()));
        let edit = upon.as_ref().and_then(|upon| upon.merged(&edit)).unwrap_or(edit);
        let (entity, undone) = (edit.entity().clone(), edit.clone());
        let made = self.make_noted(now, edit, before.as_ref());
        if let (Some(upon), Some(group)) = (upon, &made) {
            self.ground(now, group, &entity, upon);
        }
        self.undo.done(&made, &entity, undone, before);
        self.drive(now);
        Ok(Made { group: made })
    }

    fn make(&mut self, now: Now, edit: Edit) -> Option<EntryKey> {
        let leads = self.leading.is_some();
        self.make_as(now, edit, leads)
    }

    /// Puts an edit into the outbox, as whoever leads or as whoever leaves that to another.
    fn make_as(&mut self, now: Now, edit: Edit, leads: bool) -> Option<EntryKey> {
        let entity = edit.entity().clone();
        if leads && matches!(edit, Edit::Delete { .. }) {
            self.note_unseen(now, &entity);
        }
        let now_ms = self.stamp_ms(now);
        let Some(schema) = &self.schema else { return None };
        let rows = self.types.get(&entity.entity_type).or_else(|| self.building.get(&entity.entity_type));
        let row = rows.and_then(|rows| rows.rows.get(&entity.entity_id));
        let source = &self.config.source;
        let (clock, dirty) = (&mut self.clock, &mut self.dirty);
        let mut making = Making { now_ms, clock, source, row, schema, leads, dirty };
        let made = self.outbox.make(edit, &mut making);
        self.dirty.put(Record::Meta);
        self.touched(&entity);
        made
    }

    /// Notes what goes with a row that its person deletes, and is not in it: what waits for a decision (seed 6011502).
    fn note_unseen(&mut self, now: Now, entity: &EntityKey) {
        let waits = |entry: &&Entry| matches!(entry.state, State::Conflicted | State::Failed) && entry.mine().is_some();
        for entry in self.outbox.of(entity).filter(waits).cloned().collect::<Vec<_>>() {
            self.note(now, &entry, entry.theirs.clone(), Rule::Deleted);
        }
    }

    /// Returns a row as a person sees it; `None` where there is none, or none on this device.
    pub fn view(&self, entity: &EntityKey) -> Option<Object> {
        view::view(self.row(entity), self.outbox.of(entity))
    }

    /// The same, lent where nothing is pending.
    fn shown_row(&self, entity: &EntityKey) -> Option<Cow<'_, Object>> {
        view::lent(self.row(entity), self.outbox.of(entity))
    }

    /// Returns a row as the server confirmed it.
    pub fn row(&self, entity: &EntityKey) -> Option<&Row> {
        self.rows_of(&entity.entity_type)?.rows.get(&entity.entity_id)
    }

    /// Returns the confirmed rows of a type, without what is pending.
    pub fn confirmed_rows(&self, entity_type: &str) -> impl Iterator<Item = (&String, &Row)> {
        self.rows_of(entity_type).into_iter().flat_map(|rows| rows.rows.iter())
    }

    /// Returns the epoch, and the offset up to which everything is in the rows.
    pub fn position(&self) -> (u64, u64) {
        (self.epoch, self.types.values().map(|rows| rows.marks.offset).min().unwrap_or_default())
    }

    /// Returns the ids of a type's rows as a person sees them.
    pub fn ids(&self, entity_type: &str) -> OrderedSet<String> {
        let confirmed = self.rows_of(entity_type).into_iter().flat_map(|rows| rows.rows.keys().cloned());
        let mut ids: OrderedSet<String> = confirmed.collect();
        for entity in self.outbox.edited(entity_type) {
            match self.view(&entity) {
                Some(_) => ids.insert(entity.entity_id),
                None => ids.remove(&entity.entity_id),
            };
        }
        ids
    }

    /// Tells whether all rows of a type are here.
    pub fn is_complete(&self, entity_type: &str) -> bool {
        !self.is_in_parts(entity_type) && self.rows_of(entity_type).is_some_and(|rows| rows.marks.complete)
    }

    /// Returns the outbox.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Returns what was decided without asking, oldest first.
    pub fn journal(&self) -> impl Iterator<Item = &Line> {
        self.journal.values()
    }

    /// Returns the types, where they are known.
    pub fn schema(&self) -> Option<&Schema> {
        self.schema.as_ref()
    }

    fn rows_of(&self, entity_type: &str) -> Option<&TypeRows> {
        self.types.get(entity_type).or_else(|| self.building.get(entity_type))
    }

    /// Returns the time that ids are made with: the server's, where ours is known to be far off.
    fn stamp_ms(&self, now: Now) -> u64 {
        const TOLERATED_MS: u64 = 60_000;
        if self.server_ahead_ms.unsigned_abs() > TOLERATED_MS { self.server_now_ms(now) } else { now.wall_ms }
    }

    fn server_now_ms(&self, now: Now) -> u64 {
        now.wall_ms.saturating_add_signed(self.server_ahead_ms)
    }

    /// Takes ids from afar into account.
    fn merge_clock(&mut self, now: Now, id: &str) {
        if let Ok(id) = TransactionId::parse(id) {
            self.clock.merge(&id, self.server_now_ms(now));
        }
    }

    fn touched(&mut self, entity: &EntityKey) {
        self.shown.insert(entity.clone());
        self.subsets.loosen(entity);
        self.outbox_changed = true;
    }

    fn tell(&mut self, told: Told) {
        self.outputs.push_back(Output::Tell(Box::new(told)));
    }

    fn ask(&mut self, now: Now, asked: Asked, request: Request) {
        self.numbers += 1;
        self.asked.insert(self.numbers, (asked, now.tick_ms.saturating_add(REQUEST_MS)));
        self.outputs.push_back(Output::Request { id: self.numbers, request });
    }

    fn is_asking(&self, what: impl Fn(&Asked) -> bool) -> bool {
        self.asked.values().any(|(asked, _)| what(asked))
    }

    fn answered(&mut self, now: Now, asked: Asked, answer: &Answer<'_>) {
        let problem = || form::from_text::<Problem>(answer.body);
        let expelled = answer.status == 403 && problem().is_ok_and(|said| said.code == "NOT_A_MEMBER");
        if expelled {
            self.expelled(now);
        }
        self.stream.expelled = expelled;
        match asked {
            Asked::Schema => self.schema_answered(now, answer),
            Asked::List(name, after) => self.list_answered(now, &name, after.as_deref(), answer),
            Asked::Piece(asking) => self.piece_answered(now, *asking, answer),
            Asked::Ids(name, ids) => self.ids_answered(now, &name, &ids, answer),
            Asked::Mutations => self.mutations_answered(now, answer),
        }
    }

    fn unanswered(&mut self, now: Now, asked: Asked) {
        match asked {
            Asked::Mutations => self.mutations_unanswered(now, None),
            Asked::Ids(name, ids) => self.fetches.again(&name, ids),
            Asked::Schema | Asked::List(..) | Asked::Piece(_) => {}
        }
        self.pace.failed(now.tick_ms, None, &mut self.random);
    }
}

/// What the server answered.
struct Answer<'a> {
    status: u16,
    retry_after_ms: Option<u64>,
    body: &'a str,
}
