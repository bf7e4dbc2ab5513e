//! Parts of types as those who show data want them: subscribe and release, open and close, query (CORE-12).
//!
//! Laws: of a type that is kept in parts, rows stay for three reasons only: a subset covers them, somebody has opened
//! them, the outbox is about them. What a query shows is complete or says that it is not; a row that is not here is not
//! said to be gone.

mod joining;
mod reading;
mod showing;
mod sparing;

use serde::Serialize;

use self::showing::Showing;
pub use self::showing::{Changes, Come};
use super::{Change, Client, EntityKey, Now, Row, Told, subset::Subset};
use crate::{
    form::{self, Written},
    ordered::{OrderedMap, OrderedSet},
};
pub(super) use reading::Asking;

/// So many subsets may be wanted at once.
pub const WANTED_MAX: usize = 1_000;
/// So many rows may be open at once.
pub const OPEN_MAX: usize = 1_000;

/// What was read too early is asked for again after so long, in milliseconds.
const TOO_EARLY_MS: u64 = 250;

/// Why a subset or a row was not taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Written)]
#[serde(rename_all = "camelCase")]
pub enum TooMany {
    /// As many subsets are wanted as may be.
    Subsets,
    /// As many rows are open as may be.
    Rows,
}

/// What is here of a subset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Written)]
pub struct Query {
    /// Whether all of its rows are here.
    pub complete: bool,
    /// Its rows as a person sees them, in order.
    pub ids: Vec<String>,
    /// Why the subset cannot be had: the server's code, or `NOT_COMPARABLE`.
    pub refused: Option<String>,
}

/// Whether a row is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Written)]
#[serde(rename_all = "camelCase")]
pub enum Presence {
    /// It is here.
    Here,
    /// It is here, without a value that is too long to come along, or with one that is being looked at again.
    Partly,
    /// It is being asked for.
    Coming,
    /// It may exist, but is not on this device.
    Elsewhere,
    /// There is no such row for this reader.
    Nowhere,
}

/// What is wanted of types that are kept in parts; none of it outlives the instance.
#[derive(Debug, Default)]
pub(super) struct Subsets {
    /// By subscription: the key and the subset.
    wanted: OrderedMap<u64, (String, Subset)>,
    numbers: u64,
    uses: u64,
    open: OrderedMap<EntityKey, usize>,
    refused: OrderedMap<Subset, String>,
    /// Rows that may have lost what kept them.
    loose: OrderedSet<EntityKey>,
    /// Types with rows that nothing may keep any more.
    overgrown: OrderedSet<String>,
    /// Bytes that came by the stream since spare rows were counted.
    grown_bytes: usize,
    /// Nothing is read before this moment, because what was read last was too old to be joined.
    later_ms: u64,
    /// Whether it is to be looked at again which open and edited rows are not here.
    look: bool,
    /// Whether it is to be looked at again which rows that are shown lack a long value.
    long: bool,
    /// Whether it is to be looked at again which subsets can be compared.
    check: bool,
    /// What is known of each subscription, as it was told last.
    told: OrderedMap<u64, (bool, Option<String>)>,
    /// What each subscription was said to hold, where that was asked.
    showing: OrderedMap<u64, Showing>,
}

impl Subsets {
    /// Looks at everything again: the shape of types, or who leads, has changed.
    pub(super) fn again(&mut self) {
        (self.look, self.long, self.check) = (true, true, true);
        self.refused.clear();
    }

    /// Takes note that a row may have lost what kept it.
    pub(super) fn loosen(&mut self, entity: &EntityKey) {
        self.loose.insert(entity.clone());
    }

    pub(super) fn grew(&mut self, bytes: usize) {
        self.grown_bytes += bytes;
    }

    /// What was read is older than what is still at hand of the stream: a moment later it will not be.
    pub(super) fn too_early(&mut self, now: Now) {
        self.later_ms = now.tick_ms + TOO_EARLY_MS;
    }

    /// Returns when what was read too early is asked for again.
    pub(super) fn later_ms(&self) -> u64 {
        self.later_ms
    }

    /// Takes note that rows of a type are to be let go of.
    pub(super) fn overgrown(&mut self, name: &str) {
        self.overgrown.insert(name.to_owned());
    }

    pub(super) fn look(&mut self) {
        (self.look, self.long) = (true, true);
    }

    /// Takes note where a row has come that lacks a long value, or may.
    pub(super) fn look_for_long(&mut self, lacks: bool) {
        self.long |= lacks;
    }

    /// Returns each subset that is wanted, once, and the rows that are open.
    pub(super) fn all_wanted(&self) -> (Vec<Subset>, Vec<EntityKey>) {
        let subsets: OrderedMap<&String, &Subset> = self.wanted.values().map(|(key, subset)| (key, subset)).collect();
        (subsets.into_values().cloned().collect(), self.open.keys().cloned().collect())
    }

    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a String, &'a Subset)> {
        let of_type = self.wanted.values().filter(move |(_, subset)| subset.entity_type == name);
        of_type.filter(|(_, subset)| !self.refused.contains_key(subset)).map(|(key, subset)| (key, subset))
    }
}

impl Client {
    /// Wants a subset from now on; returns the number of the subscription.
    ///
    /// # Errors
    /// As many are wanted as may be.
    pub fn subscribe(&mut self, now: Now, subset: Subset) -> Result<u64, TooMany> {
        if self.subsets.wanted.len() >= WANTED_MAX {
            return Err(TooMany::Subsets);
        }
        let subset = subset.normal();
        // A subset is made of texts, numbers and lists of them: it cannot fail to be written.
        let key = form::text(&subset);
        self.subsets.numbers += 1;
        let number = self.subsets.numbers;
        self.use_subset(&subset.entity_type, &key);
        self.subsets.wanted.insert(number, (key, subset));
        (self.subsets.check, self.subsets.long) = (true, true);
        self.ask_at_once();
        self.drive(now);
        Ok(number)
    }

    /// Wants a subset no more; what it brought stays as long as there is room.
    pub fn release(&mut self, now: Now, subscription: u64) {
        let Some((key, subset)) = self.subsets.wanted.remove(&subscription) else { return };
        self.subsets.told.remove(&subscription);
        self.subsets.showing.remove(&subscription);
        if !self.subsets.wanted.values().any(|(_, wanted)| *wanted == subset) {
            self.subsets.refused.remove(&subset);
            self.released(&subset.entity_type, &key);
        }
        self.ask_at_once();
        self.drive(now);
    }

    /// Holds on to a row, and asks for it where it is not here.
    ///
    /// # Errors
    /// As many rows are open as may be.
    pub fn open(&mut self, now: Now, entity: &EntityKey) -> Result<(), TooMany> {
        if self.subsets.open.len() >= OPEN_MAX && !self.subsets.open.contains_key(entity) {
            return Err(TooMany::Rows);
        }
        let times = self.subsets.open.entry(entity.clone()).or_default();
        *times += 1;
        let first = *times == 1;
        self.subsets.look = true;
        self.subsets.long |= first && self.row(entity).is_some_and(Row::is_partly);
        self.ask_at_once();
        self.drive(now);
        Ok(())
    }

    /// Lets go of a row that was opened.
    pub fn close(&mut self, now: Now, entity: &EntityKey) {
        let Some(times) = self.subsets.open.get_mut(entity) else { return };
        *times -= 1;
        if *times == 0 {
            self.subsets.open.remove(entity);
            self.subsets.loosen(entity);
        }
        self.ask_at_once();
        self.drive(now);
    }

    /// Returns what is here of a subset; `None` where there is no such subscription.
    pub fn query(&self, subscription: u64) -> Option<Query> {
        let (_, subset) = self.subsets.wanted.get(&subscription)?;
        let (complete, refused) = self.standing(subscription);
        let Some(shape) = self.schema.as_ref().and_then(|schema| schema.types.get(&subset.entity_type)) else {
            return Some(Query { complete, refused, ids: Vec::new() });
        };
        let mut places = self.places_of(subset, &subset.measure(shape));
        places.truncate(subset.window_rows.unwrap_or(usize::MAX));
        Some(Query { complete, refused, ids: places.iter().map(|place| place.id().to_owned()).collect() })
    }

    /// Tells whether a subscription is complete, and why it cannot be had.
    fn standing(&self, subscription: u64) -> (bool, Option<String>) {
        let Some((key, subset)) = self.subsets.wanted.get(&subscription) else { return (false, None) };
        if let Some(code) = self.subsets.refused.get(subset) {
            return (false, Some(code.clone()));
        }
        let name = &subset.entity_type;
        if self.is_unknown(name) {
            return (false, Some("ENTITY_TYPE_UNKNOWN".to_owned()));
        }
        let Some(rows) = self.types.get(name) else { return (false, None) };
        let complete = match self.is_in_parts(name) {
            // A row that enters, and is still being completed, is missing.
            true => rows.marks.subsets.get(key).is_some_and(|held| held.is_whole()) && !self.fetches.is_fetching(name),
            false => rows.marks.complete,
        };
        (complete, None)
    }

    /// Tells whether a row is here.
    pub fn presence(&self, entity: &EntityKey) -> Presence {
        if self.view(entity).is_some() {
            return if self.row(entity).is_some_and(Row::is_partly) { Presence::Partly } else { Presence::Here };
        }
        let rows = self.rows_of(&entity.entity_type);
        if self.row(entity).is_some() || rows.is_some_and(|rows| rows.is_missing(&entity.entity_id)) {
            return Presence::Nowhere;
        }
        match self.is_in_parts(&entity.entity_type) {
            true if self.subsets.open.contains_key(entity) => Presence::Coming,
            true => Presence::Elsewhere,
            false if self.is_complete(&entity.entity_type) => Presence::Nowhere,
            false => Presence::Coming,
        }
    }

    /// Tells whether the server has no such type for this user, by a schema that is not being asked for again.
    fn is_unknown(&self, name: &str) -> bool {
        let is_settled = self.leading.is_none() || !self.wants_schema;
        is_settled && self.schema.as_ref().is_some_and(|schema| !schema.types.contains_key(name))
    }

    /// Tells whether only parts of a type are kept.
    pub(super) fn is_in_parts(&self, name: &str) -> bool {
        let shape = self.schema.as_ref().and_then(|schema| schema.types.get(name));
        shape.is_some_and(|shape| shape.sync == "on_demand")
    }

    /// Tells whether a row is kept whatever it holds.
    pub(super) fn is_pinned(&self, entity: &EntityKey) -> bool {
        self.subsets.open.contains_key(entity) || self.outbox.of(entity).next().is_some()
    }

    /// Tells those who show data which subsets became complete, incomplete or refused.
    pub(super) fn tell_subsets(&mut self) {
        let numbers: Vec<u64> = self.subsets.wanted.keys().copied().collect();
        let mut changed = Vec::new();
        for number in numbers {
            let standing = self.standing(number);
            if self.subsets.told.get(&number) != Some(&standing) {
                let first = self.subsets.told.insert(number, standing.clone()).is_none();
                if !first || standing != (false, None) {
                    changed.push(number);
                }
            }
        }
        if !changed.is_empty() {
            self.tell(Told::Subsets(changed));
        }
    }

    /// Tells whether the server may know a row with edits: it does not where one of them is yet to make it.
    pub(super) fn may_be_there(&self, entity: &EntityKey) -> bool {
        !self.outbox.of(entity).any(|entry| entry.is_untouched() && matches!(entry.change, Change::Create { .. }))
    }
}
