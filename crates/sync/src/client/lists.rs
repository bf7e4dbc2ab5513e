//! Listing types: page after page, beside what is shown, until all is whole (protocol 4, CORE-11, CORE-12, SY-19, SY-20).
//!
//! Laws: pages of one epoch and access only; a first list is shown as it comes, a later one takes the old rows' place in
//! one step; a page that may hold an operation whose outcome is unknown is not shown before that is settled.

use antiphon_model::Visibility;

use super::{
    Answer, Asked, Client, EntityKey, Entry, Event, Law, Now, Request, State, Told,
    rows::TypeRows,
    store::Record,
    words::{Listed, Schema},
};
use crate::{form, ordered::OrderedSet};

/// Rows of a page.
const PAGE_ROWS: usize = 1_000;

impl Client {
    /// Returns the types that are still to be listed.
    pub(super) fn unlisted(&self) -> Vec<String> {
        let Some(schema) = &self.schema else { return Vec::new() };
        let missing = |name: &&String| {
            let built = self.building.get(*name).is_some_and(|rows| rows.marks.complete);
            !built && (!self.types.contains_key(*name) || self.stream.stale.contains(*name))
        };
        schema.types.keys().filter(missing).cloned().collect()
    }

    /// Asks for the next page, where one is wanted.
    pub(super) fn list(&mut self, now: Now) {
        let asks = self.is_asking(|asked| matches!(asked, Asked::List(..) | Asked::Piece(_)));
        if asks || now.tick_ms < self.subsets.later_ms() {
            return;
        }
        let Some(name) = self.unlisted().into_iter().next() else {
            self.show(now);
            return self.read_on(now);
        };
        if self.has_unsettled_operation(&name) {
            return;
        }
        if self.is_in_parts(&name) {
            if !self.read_piece(now, &name) {
                self.built(&name);
                self.list(now);
            }
            return;
        }
        let after = self.building.get(&name).and_then(|rows| rows.marks.next.clone());
        let request = Request::List { entity_type: name.clone(), after: after.clone(), limit: PAGE_ROWS };
        self.ask(now, Asked::List(name, after), request);
    }

    /// Reads what is wanted of types that are shown already.
    fn read_on(&mut self, now: Now) {
        let parts: Vec<String> = self.types.keys().filter(|name| self.is_in_parts(name)).cloned().collect();
        for name in parts {
            if !self.has_unsettled_operation(&name) && self.read_piece(now, &name) {
                return;
            }
        }
    }

    pub(super) fn has_unsettled_operation(&self, name: &str) -> bool {
        let of_type = self.outbox.iter().filter(|entry| entry.entity.entity_type == name);
        let unsettled = of_type.into_iter().any(|entry| self.is_unsettled_operation(entry));
        unsettled && !self.breaks(Law::OperationsAreSettled)
    }

    /// Tells whether an operation may be in rows that are read now and may not, and will be known soon.
    ///
    /// What waits for a person's decision about another edit does not hold up everybody's rows; nor does what only its
    /// row can tell (seed 5017212).
    pub(super) fn is_unsettled_operation(&self, entry: &Entry) -> bool {
        let asks_row = self.fetches.is_proof(&entry.entity);
        entry.change.is_operation() && entry.is_unsettled() && !self.is_held_up(entry) && !asks_row
    }

    pub(super) fn schema_answered(&mut self, now: Now, answer: &Answer<'_>) {
        if answer.status != 200 {
            return self.not_served(now, answer);
        }
        let Ok(schema) = form::from_text::<Schema>(answer.body) else {
            self.tell(Told::Nonsense("the schema".into()));
            return self.pace.failed(now.tick_ms, None, &mut self.random);
        };
        self.pace.succeeded();
        self.wants_schema = false;
        self.subsets.again();
        // What a type's rows are made of has changed: they are listed again. A type that is gone leaves.
        let former = self.schema.replace(schema).unwrap_or_default();
        let Some(schema) = &self.schema else { return };
        let has_changed = |name: &String| {
            let shapes = former.types.get(name).zip(schema.types.get(name));
            shapes.is_some_and(|(known, shape)| {
                known.fields != shape.fields || known.key != shape.key || known.sync != shape.sync
            })
        };
        self.stream.stale.extend(schema.types.keys().filter(|name| has_changed(name)).cloned());
        self.building.retain(|name, rows| {
            let goes_on = schema.types.contains_key(name) && !has_changed(name);
            if !goes_on {
                // Nothing that is half listed stays on the device.
                self.dirty.clear(name, rows.marks.generation);
            }
            goes_on
        });
        let gone: Vec<String> = self.types.keys().filter(|name| !schema.types.contains_key(*name)).cloned().collect();
        for name in gone {
            self.leave(&name);
        }
        self.dirty.put(Record::Meta);
    }

    pub(super) fn leave(&mut self, name: &str) {
        if let Some(rows) = self.types.remove(name) {
            self.saving.generation_max = self.saving.generation_max.max(rows.marks.generation);
            self.dirty.clear(name, rows.marks.generation);
            self.shown_all(name, &rows);
        }
        self.stream.stale.remove(name);
    }

    pub(super) fn list_answered(&mut self, now: Now, name: &str, after: Option<&str>, answer: &Answer<'_>) {
        let next = self.building.get(name).and_then(|rows| rows.marks.next.as_deref());
        if next != after {
            // What was listed before this page is not here any more: rights ended, or the type changed (seed 546).
            return;
        }
        match answer.status {
            200 => {}
            // The cursor is not good any more: the list begins anew.
            400 => {
                if let Some(rows) = self.building.remove(name) {
                    self.dirty.clear(name, rows.marks.generation);
                    self.dirty.put(Record::Meta);
                }
                return self.not_served(now, answer);
            }
            404 => {
                self.wants_schema = true;
                return self.not_served(now, answer);
            }
            _ => return self.not_served(now, answer),
        }
        let listed = form::from_text::<Listed>(answer.body).ok();
        let Some((listed, snapshot)) = listed.and_then(|l| l.snapshot.parse::<Visibility>().ok().map(|s| (l, s)))
        else {
            self.tell(Told::Nonsense("a list".into()));
            return self.pace.failed(now.tick_ms, None, &mut self.random);
        };
        self.pace.succeeded();
        self.meet_epoch(listed.epoch);
        if self.is_elsewhere(&snapshot) {
            return self.subsets.too_early(now);
        }
        if self.has_unsettled_operation(name) {
            // It may be in this page or not: the page is asked for again once that is known.
            return;
        }
        if !self.belongs(&listed) {
            // Another generation of the log, or other rights: pages of both do not mix.
            (self.stream.list_epoch, self.stream.list_access) = (listed.epoch, listed.access.clone());
            if !self.breaks(Law::GenerationsApart) {
                return self.drop_building();
            }
        }
        if self.breaks(Law::OwnListConfirms) {
            self.confirm_seen(&snapshot, |_| true);
        }
        self.take_page(now, name, listed, snapshot);
        if self.unlisted().is_empty() {
            self.show(now);
        }
    }

    /// Tells whether rows were read in a cluster that the log does not know yet: a number that was given out before is
    /// beyond what the snapshot knows to be given out. An answer that came between looks the same, and is asked for again.
    pub(super) fn is_elsewhere(&self, snapshot: &Visibility) -> bool {
        let accepted = self.outbox.iter().filter(|entry| entry.state == State::Accepted);
        accepted.filter_map(|entry| entry.xid).any(|xid| xid >= snapshot.xmax())
    }

    /// Confirms accepted edits whose transaction was in sight of what was just read.
    pub(super) fn confirm_seen(&mut self, snapshot: &Visibility, of: impl Fn(&Entry) -> bool) {
        let keys = self.outbox.keys(&|entry| {
            let waits = entry.state == State::Accepted && entry.until.is_none();
            waits && of(entry) && entry.xid.is_some_and(|xid| snapshot.sees(xid))
        });
        keys.iter().for_each(|key| self.confirm(key));
    }

    pub(super) fn belongs(&mut self, listed: &Listed) -> bool {
        if self.building.is_empty() {
            (self.stream.list_epoch, self.stream.list_access) = (listed.epoch, listed.access.clone());
        }
        if self.epoch != listed.epoch && !self.types.is_empty() {
            // Positions of the rows that are shown mean nothing in the new generation.
            self.stream.stale.extend(self.types.keys().cloned());
        }
        self.stream.list_epoch == listed.epoch && self.stream.list_access == listed.access
    }

    pub(super) fn drop_building(&mut self) {
        for (name, rows) in std::mem::take(&mut self.building) {
            self.dirty.clear(&name, rows.marks.generation);
            self.unmark_read(&name, rows.marks.generation);
            self.shown_all(&name, &rows);
        }
        self.dirty.put(Record::Meta);
    }

    /// Returns the generation of a list that begins anew: a number that the store knew is not used again, because what is
    /// left under it may not have been cleared yet.
    pub(super) fn next_generation(&self, name: &str) -> u32 {
        let shown = self.types.get(name).map_or(0, |rows| rows.marks.generation);
        shown.max(self.saving.generation_max).saturating_add(1)
    }

    fn take_page(&mut self, now: Now, name: &str, listed: Listed, snapshot: Visibility) {
        let Some(shape) = self.schema.as_ref().and_then(|schema| schema.types.get(name)) else { return };
        if listed.schema != shape.schema {
            self.wants_schema = true;
        }
        let generation = self.next_generation(name);
        let rows = self.building.entry(name.to_owned()).or_insert_with(|| TypeRows::begin(generation));
        let ids: Vec<String> = listed.items.iter().filter_map(|item| shape.id_of(&item.data)).collect();
        rows.page(name, shape, listed, snapshot.clone(), &mut self.dirty);
        let generation = rows.marks.generation;
        self.mark_read(name, generation, &snapshot);
        self.dirty.put(Record::Meta);
        if self.types.contains_key(name) {
            return;
        }
        // A first list is shown as it comes.
        self.shown.extend(ids.into_iter().map(|id| EntityKey::new(name, id)));
        self.review_type(now, name);
    }

    pub(super) fn review_type(&mut self, now: Now, name: &str) {
        let edited = self.outbox.edited(name);
        edited.iter().for_each(|entity| self.review(now, entity));
    }

    /// Puts what was listed in the place of what is shown.
    pub(super) fn show(&mut self, now: Now) {
        let built = std::mem::take(&mut self.building);
        if built.is_empty() {
            return;
        }
        (self.epoch, self.access) = (self.stream.list_epoch, self.stream.list_access.clone());
        let mut names = OrderedSet::new();
        for (name, rows) in built {
            self.stream.stale.remove(&name);
            self.shown_all(&name, &rows);
            if let Some(former) = self.types.insert(name.clone(), rows) {
                self.dirty.clear(&name, former.marks.generation);
                self.shown_all(&name, &former);
                self.left_meanwhile(now, &name, former);
            }
            names.insert(name);
        }
        // What the stream has told beyond the new positions comes once more.
        self.close_stream();
        self.fetches.replaced();
        self.dirty.put(Record::Meta);
        self.subsets.look();
        names.iter().for_each(|name| self.sweep(name));
        names.iter().for_each(|name| self.review_type(now, name));
        // An echo may be of before the new positions, and the row in none of the pages.
        let left = |entry: &&Entry| entry.state == State::Accepted && entry.until.is_none();
        for entry in self.outbox.iter().filter(left).filter(|entry| names.contains(&entry.entity.entity_type)) {
            self.fetches.want(&entry.entity);
        }
    }

    /// Rows that were there before and are not in the new list, but have edits.
    fn left_meanwhile(&mut self, now: Now, name: &str, former: TypeRows) {
        let edited = self.outbox.edited(name);
        for entity in edited {
            // Where a type is here in parts, only what was asked for by its id is known to be gone.
            let rows = self.types.get(name).filter(|_| self.is_in_parts(name));
            if rows.is_some_and(|rows| !rows.is_missing(&entity.entity_id)) {
                continue;
            }
            if let (Some(row), None) = (former.rows.get(&entity.entity_id), self.row(&entity)) {
                self.left_unseen(now, &entity, row.clone());
            }
        }
    }

    /// Notes that rows of a generation were read: what was handed over before may be in those that the snapshot governs.
    pub(super) fn mark_read(&mut self, name: &str, generation: u32, snapshot: &Visibility) {
        let shape = self.schema.as_ref().and_then(|schema| schema.types.get(name));
        let Some((shape, rows)) = shape.zip(self.rows_read(name, generation)) else { return };
        let read = self.outbox.keys(&|entry| {
            let on_its_way = matches!(entry.state, State::Sent | State::Accepted) && entry.entity.entity_type == name;
            on_its_way && rows.read_under(shape, &entry.entity.entity_id) == Some(snapshot)
        });
        for key in read {
            self.outbox.update(&key, &mut self.dirty, |entry| entry.listed = Some(generation));
        }
    }

    /// Returns the rows of a generation: those that are being built, or those that are shown.
    fn rows_read(&self, name: &str, generation: u32) -> Option<&TypeRows> {
        let sides = [self.building.get(name), self.types.get(name)];
        sides.into_iter().flatten().find(|rows| rows.marks.generation == generation)
    }

    /// What was read is dropped, and the next list may have its number.
    pub(super) fn unmark_read(&mut self, name: &str, generation: u32) {
        let read = |entry: &Entry| entry.entity.entity_type == name && entry.listed == Some(generation);
        let keys = self.outbox.keys(&read);
        keys.iter().for_each(|key| self.outbox.update(key, &mut self.dirty, |entry| entry.listed = None));
    }

    /// Compares the epoch of rows that were read with the one that is known.
    pub(super) fn meet_epoch(&mut self, epoch: u64) {
        // Before the first list is whole, its own epoch is the one that transactions belong to (seed 162).
        let known = if self.epoch == 0 { self.stream.list_epoch } else { self.epoch };
        // Where none is known, the record that says so is lost, and nothing that was accepted means anything (seed 128).
        if known != epoch && self.stream.voided_by != epoch {
            self.epoch_changed(epoch);
        }
    }

    /// A new generation of the log: what was said of transactions is void (CORE-11).
    ///
    /// It is void before a page is taken: an operation that was accepted may be in it.
    fn epoch_changed(&mut self, epoch: u64) {
        self.stream.voided_by = epoch;
        if self.breaks(Law::EpochVoidsNumbers) {
            return;
        }
        self.sending.voided = true;
        for key in self.outbox.keys(&|entry| entry.until.is_none()) {
            self.void(&key);
        }
    }

    /// What was said of an edit's transaction means nothing any more: where it was accepted, it is asked about again.
    pub(super) fn void(&mut self, key: &str) {
        let in_flight = self.sending.holds(key);
        self.outbox.happen(key, Event::EpochChanged, &mut self.dirty);
        self.outbox.update(key, &mut self.dirty, |entry| {
            // Nor do rows that were read before say anything of numbers given now.
            (entry.xid, entry.listed) = (None, None);
            entry.doubt |= entry.is_in_flight() && !in_flight;
        });
    }

    /// A request was answered with anything but what was asked for.
    pub(super) fn not_served(&mut self, now: Now, answer: &Answer<'_>) {
        if answer.status == 401 {
            self.tell(Told::TokenWanted);
        }
        self.stream.refused = Some(answer.status);
        self.pace.failed(now.tick_ms, answer.retry_after_ms, &mut self.random);
    }
}
