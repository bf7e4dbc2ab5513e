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
mod journal;
mod judge;
mod keys;
mod law;
mod lists;
mod message;
mod outbox;
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

use crate::ordered::{OrderedMap, OrderedSet};
use std::{borrow::Cow, collections::VecDeque};

use antiphon_model::TransactionId;
use serde::{Deserialize, Serialize};

pub use self::{
    decide::{Decision, Undecided},
    draft::MergedText,
    entry::{Change, EntityKey, Entry, EntryKey, Refused, Theirs},
    export::{Export, ImportRefused, Imported, Owner, store_outbox},
    face::{Call, Face, Verb},
    journal::{Line, Rule},
    law::Law,
    outbox::{ENTRIES_MAX, Edit, Outbox, Waits},
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
use crate::Clock;
use crate::form::{self, Form, Written};
pub use crate::json::{Object, Value};

/// A request without an answer for so long is given up, in milliseconds.
const REQUEST_MS: u64 = 30_000;

/// Two clocks: one that tells the time and may jump, one that only goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Now {
    /// Milliseconds since 1970.
    pub wall_ms: u64,
    /// Milliseconds of a clock that never goes back.
    pub tick_ms: u64,
}

/// What a client is.
#[derive(Clone, Debug, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The name of this instance: random at each start, never stored.
    pub source: String,
    /// Where randomness begins.
    pub seed: u64,
    /// Whether a delete asks where others changed the row meanwhile.
    pub delete_asks: bool,
    /// What subsets that nobody wants any more may keep, in bytes.
    pub subsets_bytes_max: usize,
}

/// What is asked of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Written)]
#[serde(tag = "ask", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Request {
    /// `GET .../schema`.
    Schema,
    /// `GET .../entities/{type}?limit&after`.
    List {
        /// The type.
        entity_type: String,
        /// Where the page before ended.
        after: Option<String>,
        /// Rows at most.
        limit: usize,
    },
    /// `GET .../entities/{type}?where[..]&order&limit&after`.
    Subset {
        /// The type.
        entity_type: String,
        /// The parameters that make the subset, not encoded yet.
        parameters: Vec<(String, String)>,
        /// Where the page before ended.
        after: Option<String>,
        /// Rows at most.
        limit: usize,
    },
    /// `GET .../entities/{type}?ids=`.
    Ids {
        /// The type.
        entity_type: String,
        /// The rows.
        ids: Vec<String>,
    },
    /// `POST .../mutations`.
    Mutations {
        /// The body.
        body: String,
    },
}

/// What happens to a client.
#[derive(Debug)]
pub enum Input<'a> {
    /// The store's fence was raised for it: it leads. As the first input it says that the store was read after that;
    /// later the store is read again first.
    Lead {
        /// What a save must find in the store, so that a former leader cannot save any more.
        fence: u64,
    },
    /// It is not to speak for its store any more: its tab closes, or its driver says so.
    Follow,
    /// There is a network, or there is none. At first one is taken for granted.
    Network {
        /// Whether it is worth asking.
        usable: bool,
    },
    /// The fence that was asked for was granted, or not.
    Claimed {
        /// The store's fence now.
        fence: u64,
        /// Whether it is this instance's.
        won: bool,
    },
    /// The tab can be seen, or not. At first it can.
    Visible {
        /// Whether it can.
        visible: bool,
    },
    /// Time has passed.
    Tick,
    /// A request was answered.
    Answer {
        /// Which.
        id: u64,
        /// HTTP's status.
        status: u16,
        /// How long to wait before the next, where the server said so.
        retry_after_ms: Option<u64>,
        /// The server's clock, where it said so.
        server_ms: Option<u64>,
        /// The body.
        body: &'a str,
    },
    /// A request was not answered.
    NoAnswer {
        /// Which.
        id: u64,
    },
    /// A frame of the stream came.
    Frame {
        /// Which stream.
        stream: u64,
        /// Its event.
        event: &'a str,
        /// Its JSON.
        data: &'a str,
    },
    /// Something came that says only that the stream lives.
    Heard {
        /// Which stream.
        stream: u64,
    },
    /// The stream could not be opened, or has ended.
    Ended {
        /// Which.
        stream: u64,
        /// HTTP's status, where there was an answer.
        status: Option<u16>,
        /// How long to wait, where the server said so.
        retry_after_ms: Option<u64>,
    },
    /// A save is durable.
    Saved {
        /// Which.
        token: u64,
    },
    /// A save did not happen, and the store is as before.
    NotSaved {
        /// Which.
        token: u64,
        /// Why: `full`, `fenced`, or anything else.
        reason: &'a str,
    },
    /// Another instance over the same store says something.
    Shared {
        /// What `Output::Share` gave it.
        message: &'a str,
    },
    /// The store was read.
    Read {
        /// Which reading.
        token: u64,
        /// What was asked for.
        records: &'a [(Record, String)],
    },
    /// The store could not be read.
    NotRead {
        /// Which reading.
        token: u64,
    },
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Serialize, Written)]
#[serde(tag = "want", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Output {
    /// Ask the server.
    Request {
        /// The request's number.
        id: u64,
        /// What is asked.
        request: Request,
    },
    /// The answer is of no interest any more.
    Cancel {
        /// The request's number.
        id: u64,
    },
    /// Open the stream, after closing any other.
    Open {
        /// The stream's number.
        stream: u64,
        /// The position.
        offset: u64,
        /// The generation of the log.
        epoch: u64,
        /// What the reader could see.
        access: String,
    },
    /// Close the stream.
    Close {
        /// The stream's number.
        stream: u64,
    },
    /// Save in one transaction, if the store's fence is still this.
    Save {
        /// The save's number.
        token: u64,
        /// What the store must hold, else it is refused as `fenced`. `None` where entries are only added, which any
        /// instance may; where one of them is there already nothing is saved, and `exists` is the reason.
        fence: Option<u64>,
        /// What to write.
        writes: Vec<Write>,
    },
    /// Raise the store's fence by one, where it is still this, in one transaction.
    Claim {
        /// The fence that it knows.
        beyond: u64,
    },
    /// Read the store in one transaction: everything, or the entries of the outbox.
    Read {
        /// The reading's number.
        token: u64,
        /// Whether everything is wanted.
        all: bool,
    },
    /// Say this to all other instances over the same store, if it can be said.
    Share {
        /// The message.
        message: String,
    },
    /// Tell whoever shows the data.
    Tell(Box<Told>),
}

/// What is told to whoever shows the data.
#[derive(Clone, Debug, PartialEq, Serialize, Written)]
#[serde(tag = "told", content = "about", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Told {
    /// These rows may look different.
    Rows(Vec<EntityKey>),
    /// These subscriptions became complete, incomplete or refused.
    Subsets(Vec<u64>),
    /// The outbox changed.
    Outbox,
    /// These edits are on the device.
    Saved(Vec<EntryKey>),
    /// These edits are in memory only.
    NotSaved {
        /// Why.
        reason: String,
    },
    /// The status changed.
    Status(Status),
    /// A rule decided; a hint is due where what was typed did not stand.
    Decided(Box<Line>),
    /// A person is asked.
    Conflict(EntryKey),
    /// An edit was refused.
    Failed(EntryKey),
    /// The token is not accepted: a new one is needed.
    TokenWanted,
    /// The clock, or a copy of the store, made ids unusable; pending edits have new ones.
    NewIdentity,
    /// The server said what cannot be understood; nothing was changed by it.
    Nonsense(String),
}

/// Why an edit was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Written)]
#[serde(rename_all = "camelCase")]
pub enum EditRefused {
    /// The outbox is full.
    OutboxFull,
    /// There is no such row.
    NoSuchRow,
    /// Nothing is known of the types yet.
    NoSchema,
    /// The database makes keys of this type, so it cannot be created here.
    OnlineOnly,
}

/// What a person did, and how it is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Written)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// The group; `None` where it took back what never left.
    pub group: Option<EntryKey>,
}

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
