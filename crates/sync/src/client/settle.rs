//! What answers about single mutations mean (CORE-06, CORE-07, CORE-13; protocol 5).
//!
//! Laws: an answer never moves rows; an entry that gives way keeps its layer until the other's value has come back; what a
//! group's member meets is met by all of it. Every code has its place here, and an unknown one is a refusal that is kept.

use antiphon_model::{TransactionId, Xid};

use super::{
    Change, Client, EntityKey, Entry, EntryKey, Event, Law, Now, State, Theirs, Told,
    journal::{self, Line, Rule},
    judge::{Ruling, judge},
    store::Record,
    words::{Outcome, Problem, Status, Strategy},
};

/// Ids of this device that are remembered after their entries are gone.
const MADE_MAX: usize = 1_000;

impl Client {
    /// Takes the outcomes of a request; tells whether any of it needs no further request.
    pub(super) fn settle(&mut self, now: Now, keys: &[EntryKey], outcomes: Vec<Outcome>) -> bool {
        self.sending.renewed = false;
        for (key, outcome) in keys.iter().zip(outcomes) {
            let Some(entry) = self.outbox.find(key).cloned() else { continue };
            // Confirmed by the stream while the answer was on its way, or not what was asked.
            if entry.id.as_str() != outcome.transaction_id {
                self.tell(Told::Nonsense("an answer to another mutation".into()));
                self.outbox.happen(key, Event::NoAnswer, &mut self.dirty);
                self.outbox.update(key, &mut self.dirty, |entry| entry.doubt = true);
                continue;
            }
            self.touched(&entry.entity);
            // Why its row left while it was in doubt is of use for this answer only.
            self.outbox.update(key, &mut self.dirty, |entry| entry.refused = None);
            match outcome.status {
                Status::Applied | Status::Duplicate => self.applied(&entry, &outcome),
                Status::Aborted => {
                    self.outbox.happen(key, Event::Aborted, &mut self.dirty);
                }
                Status::Conflict | Status::Rejected => {
                    self.declined(now, &entry, outcome.problem.unwrap_or_default());
                }
            }
        }
        keys.iter().any(|key| {
            let entry = self.outbox.find(key);
            entry.is_none_or(|entry| !matches!(entry.state, State::Pending | State::Sent) || entry.due_ms > now.wall_ms)
        })
    }

    fn applied(&mut self, entry: &Entry, outcome: &Outcome) {
        self.outbox.happen(&entry.key, Event::Applied, &mut self.dirty);
        if self.sending.voided {
            // The answer may have been given before a restore that is known by now; the next one is not (seed 1795314058).
            return self.void(&entry.key);
        }
        let kept = matches!(entry.change, Change::Delete { .. }) && outcome.data.is_object();
        let xid = outcome.commit.as_ref().map(|commit| self.number(commit.xid));
        self.outbox.update(&entry.key, &mut self.dirty, |entry| {
            (entry.xid, entry.kept, entry.doubt, entry.until) = (xid, kept, false, None);
            if xid.is_some_and(Xid::is_frozen) {
                // Applied before the database was restored: only rows read from now on are surely of after that.
                entry.listed = None;
            }
        });
        // A list that came first may have seen it already.
        let seen = self.is_listed(&entry.key) && !self.breaks(Law::RowsConfirm);
        if seen || self.breaks(Law::LayerStays) {
            self.confirm(&entry.key);
        } else if outcome.status == Status::Duplicate {
            // A copy of this store may have sent it, and its echo be long gone: the row itself tells.
            self.fetches.want(&entry.entity);
        }
    }

    /// Tells whether rows that were read since it was handed over saw the transaction that applied an edit.
    ///
    /// Rows that were read before say nothing: they may be of another cluster, whose numbers mean something else.
    pub(super) fn is_listed(&self, key: &str) -> bool {
        let Some(entry) = self.outbox.find(key).filter(|entry| entry.state == State::Accepted) else { return false };
        let name = &entry.entity.entity_type;
        let shape = self.schema.as_ref().and_then(|schema| schema.types.get(name));
        let (Some(shape), Some(rows), Some(xid)) = (shape, self.rows_of(name), entry.xid) else { return false };
        let read_since = entry.listed == Some(rows.marks.generation);
        entry.until.is_none() && read_since && rows.saw(shape, &entry.entity.entity_id, xid)
    }

    /// Returns the number of a transaction as it is compared: whole, unless that law is broken.
    pub(super) fn number(&self, xid: Xid) -> Xid {
        if self.breaks(Law::WideNumbers) {
            Xid::new(xid.as_u64() & u64::from(u32::MAX))
        } else if self.breaks(Law::PagesCover) {
            Xid::new(u64::MAX)
        } else {
            xid
        }
    }

    /// The edit's effect is known to be in the rows, or to have come and gone.
    pub(super) fn confirm(&mut self, key: &str) {
        if let Some(entry) = self.outbox.happen(key, Event::Confirmed, &mut self.dirty) {
            self.remember(entry.id.as_str());
            self.touched(&entry.entity);
        }
    }

    pub(super) fn remember(&mut self, id: &str) {
        self.made.push_back(id.to_owned());
        if self.made.len() > MADE_MAX {
            self.made.pop_front();
        }
    }

    /// Tells whether this device made an id.
    pub(super) fn is_mine(&self, id: &str) -> bool {
        let own_node = TransactionId::parse(id).is_ok_and(|id| id.node() == self.clock.node());
        own_node || self.outbox.by_id(id).is_some() || self.made.iter().any(|made| made == id)
    }

    /// The edit had no effect.
    fn declined(&mut self, now: Now, entry: &Entry, problem: Problem) {
        let key = &entry.key;
        match problem.code.as_str() {
            // A value that is too long to be told comes with its row, which meets it.
            "FIELD_CONFLICT" if problem.server_value.is_null() && self.is_long(entry) => {
                self.fetches.want(&entry.entity);
                self.not_now(now, key);
            }
            "FIELD_CONFLICT" => {
                let theirs = Theirs {
                    id: problem.server_transaction_id.clone(),
                    value: problem.server_value.clone(),
                    gone: false,
                    actor: problem.server_actor.clone(),
                    at: problem.changed_at.clone(),
                };
                if let Some(id) = &theirs.id {
                    self.merge_clock(now, id);
                }
                self.meet(now, key, theirs);
            }
            "ENTITY_GONE" | "NOT_FOUND" if entry.refused.is_some() => self.left_sight(now, key),
            "ENTITY_GONE" | "NOT_FOUND" if entry.change.action() != antiphon_model::MutationAction::Create => {
                let row = self.row(&entry.entity).map(|row| row.data.clone().into());
                let kept = entry.theirs.as_ref().map(|theirs| theirs.value.clone());
                let value = row.or(kept).unwrap_or_default();
                let theirs =
                    Theirs { id: None, value, gone: true, actor: problem.deleted_by.clone(), at: problem.deleted_at };
                self.meet(now, key, theirs);
            }
            "CLOCK_BEHIND" => {
                if let Some(id) = &problem.server_transaction_id {
                    self.merge_clock(now, id);
                }
                self.again(now, key, None);
            }
            "CLOCK_AHEAD" | "IDEMPOTENCY_MISMATCH" => self.new_identity(now, key),
            "TOO_OLD_TO_PROVE" => self.too_old(now, entry),
            "TRY_AGAIN" | "RATE_LIMITED" | "INTERNAL" => self.not_now(now, key),
            _ => self.refuse(now, key, &problem),
        }
    }

    fn not_now(&mut self, now: Now, key: &str) {
        self.outbox.happen(key, Event::Aborted, &mut self.dirty);
        self.count(now, key);
    }

    fn is_long(&self, entry: &Entry) -> bool {
        let row = self.row(&entry.entity).zip(entry.change.field());
        row.is_some_and(|(row, field)| row.omitted.contains_key(field))
    }

    /// An edit that is known to have had no effect meets the newest value of its field or row.
    pub(super) fn meet(&mut self, now: Now, key: &str, theirs: Theirs) {
        let Some(entry) = self.outbox.find(key).cloned() else { return };
        let field = entry.change.field().unwrap_or_default();
        let strategy = self.schema.as_ref().map_or(Strategy::Lww, |s| s.strategy(&entry.entity.entity_type, field));
        // What this device wrote itself is no other's: it goes upon it; of a text, with the words that are only there.
        let mine = !theirs.gone && theirs.id.as_ref().is_some_and(|id| *id != entry.id.as_str() && self.is_mine(id));
        let alone = self.outbox.group(&entry.group).len() == 1;
        let rule = |entry: &Entry| judge(entry, strategy, &theirs, self.config.delete_asks);
        let ruling = if mine && strategy != Strategy::Text { Ruling::Rebase } else { rule(&entry) };
        self.touched(&entry.entity);
        let covers =
            [entry.mine(), entry.base.as_ref()].iter().all(|seen| seen.is_some_and(|seen| *seen != theirs.value));
        if mine && ruling == Ruling::Rebase && covers {
            // A device that lost what it had saved has not shown it: what stood there is told (seed 200679).
            self.note(now, &entry, Some(theirs.clone()), Rule::MineWins);
        }
        if matches!(ruling, Ruling::Merged(_)) && self.has_typed_on(&entry) && !self.breaks(Law::TypedOnIsMerged) {
            // Theirs would be missing in what was typed on: that is what is merged.
            self.take_up(now, &entry);
            return self.meet(now, key, theirs);
        }
        match ruling {
            Ruling::Same => self.give_way(now, &entry, theirs, Rule::Same),
            Ruling::Rebase => self.rebase(now, &entry, &theirs, None),
            Ruling::Stands => {
                self.note(now, &entry, Some(theirs.clone()), Rule::MineWins);
                self.stand(&entry, &theirs);
            }
            Ruling::Merged(text) => {
                self.note(now, &entry, Some(theirs.clone()), Rule::Merged);
                self.rebase(now, &entry, &theirs, Some(text));
            }
            Ruling::Yield if alone => self.give_way(now, &entry, theirs, Rule::LaterWins),
            Ruling::Yield => self.yield_group(now, &entry, &theirs),
            Ruling::Ask => self.dispute(now, &entry, theirs),
        }
    }

    pub(super) fn dispute(&mut self, now: Now, entry: &Entry, theirs: Theirs) {
        self.take_up(now, entry);
        self.outbox.happen(&entry.key, Event::Disputed, &mut self.dirty);
        self.outbox.update(&entry.key, &mut self.dirty, |kept| kept.theirs = Some(theirs));
        self.tell(Told::Conflict(entry.key.clone()));
    }

    /// What was typed behind an edit, and never left, is what the person wants now: the edit takes it up.
    fn take_up(&mut self, now: Now, entry: &Entry) {
        for other in self.typed_on(entry).cloned().collect::<Vec<_>>() {
            let (Some(mine), Some(field)) = (other.mine(), other.change.field()) else { continue };
            let held = self.outbox.find(&entry.key).and_then(Entry::mine).cloned().unwrap_or_default();
            let before = Theirs { id: Some(entry.id.as_str().to_owned()), value: held, ..Theirs::default() };
            // It may come from a tab that had not seen what stands before it (seed 90189).
            let typed = self.upon(now, &other, mine, field, &before);
            self.note(now, &other, None, Rule::TakenUp);
            self.outbox.update(&entry.key, &mut self.dirty, |entry| {
                if let Change::Value { value, .. } = &mut entry.change {
                    *value = typed;
                }
            });
            self.outbox.happen(&other.key, Event::Dropped, &mut self.dirty);
        }
    }

    fn has_typed_on(&self, entry: &Entry) -> bool {
        self.typed_on(entry).next().is_some()
    }

    fn typed_on<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = &'a Entry> {
        // What stands behind a create or a delete was typed into another row (seed 1795313883).
        let behind = self.outbox.of(&entry.entity).filter(|other| other.key > entry.key);
        let same_row = behind.take_while(|other| !other.change.is_whole_row());
        let values = |other: &&Entry| other.is_untouched() && other.mine().is_some() && entry.mine().is_some();
        same_row.filter(|other| other.change.field() == entry.change.field()).filter(values)
    }

    /// Sends it again upon a newer value, under a new id.
    pub(super) fn rebase(&mut self, now: Now, entry: &Entry, theirs: &Theirs, value: Option<crate::json::Value>) {
        self.outbox.update(&entry.key, &mut self.dirty, |entry| {
            entry.expected = theirs.id.clone();
            if let Change::Value { value: mine, .. } = &mut entry.change {
                entry.base = Some(theirs.value.clone());
                if let Some(value) = value {
                    *mine = value;
                }
            }
        });
        self.again(now, &entry.key, theirs.id.as_deref());
    }

    /// Sends it again upon a newer value, under its id.
    fn stand(&mut self, entry: &Entry, theirs: &Theirs) {
        self.outbox.happen(&entry.key, Event::Rebased, &mut self.dirty);
        self.outbox.update(&entry.key, &mut self.dirty, |entry| {
            (entry.expected, entry.base, entry.theirs) = (theirs.id.clone(), Some(theirs.value.clone()), None);
        });
    }

    /// Sends an entry, and all that stand behind it, again under new ids above one.
    fn again(&mut self, now: Now, key: &str, above: Option<&str>) {
        if let Some(above) = above {
            self.merge_clock(now, above);
        }
        self.outbox.happen(key, Event::Rebased, &mut self.dirty);
        self.outbox.update(key, &mut self.dirty, |entry| (entry.theirs, entry.until) = (None, None));
        self.restamp(now, key);
    }

    pub(super) fn restamp(&mut self, now: Now, key: &str) {
        let now_ms = self.stamp_ms(now);
        let clock = &mut self.clock;
        self.outbox.restamp(key, &mut self.dirty, &mut || clock.tick(now_ms));
        self.dirty.put(Record::Meta);
    }

    /// The server's value stands. The layer stays until that value has come back.
    fn give_way(&mut self, now: Now, entry: &Entry, theirs: Theirs, rule: Rule) {
        self.note(now, entry, Some(theirs.clone()), rule);
        self.yield_to(entry, &theirs);
    }

    /// Ends an entry in favour of a server's value that has come back already, or will.
    pub(super) fn yield_to(&mut self, entry: &Entry, theirs: &Theirs) {
        self.outbox.bequeath_to(entry, theirs, &mut self.dirty);
        let until = if theirs.gone { String::new() } else { theirs.id.clone().unwrap_or_default() };
        self.outbox.happen(&entry.key, Event::Yields, &mut self.dirty);
        self.outbox.update(&entry.key, &mut self.dirty, |entry| (entry.until, entry.theirs) = (Some(until), None));
        self.end_yielded(&entry.entity);
    }

    /// Ends entries that gave way to what has come back by now.
    pub(super) fn end_yielded(&mut self, entity: &EntityKey) {
        let row = self.row(entity);
        let came = |entry: &Entry| {
            let Some(until) = &entry.until else { return false };
            let Some(row) = row else { return true };
            let present = match entry.change.field() {
                Some(field) => row.versions.field(field),
                None => row.versions.row.as_deref(),
            };
            match until.as_str() {
                // It waits for the row to go; one that was changed since, or made anew, is another row (seed 203).
                "" => present != entry.expected.as_deref() || present.is_none(),
                // A row that comes anew by the stream has one id for all its fields; a list knows each field's own, which
                // may be older (seed 11965).
                until if present.is_none_or(|present| present >= until) => true,
                until if row.versions.row.as_deref() >= Some(until) => true,
                // What was written since by a clock that is behind leaves the id at the fields that it did not write.
                until => entry.change.is_whole_row() && row.versions.fields.values().any(|id| id == until),
            }
        };
        let ended = self.outbox.keys_of(entity, &came);
        for key in ended {
            self.confirm(&key);
        }
    }

    /// A group is judged as one: where the newest of the server's values stands, none of it is sent (CORE-13).
    fn yield_group(&mut self, now: Now, entry: &Entry, theirs: &Theirs) {
        for key in self.outbox.group(&entry.group) {
            let Some(member) = self.outbox.find(&key).cloned() else { continue };
            if member.state == State::Accepted {
                continue;
            }
            let present = self.present(&member);
            let (theirs, rule) = match member.key == entry.key {
                true => (theirs.clone(), Rule::LaterWins),
                false => (present, Rule::WithItsGroup),
            };
            self.give_way(now, &member, theirs, rule);
        }
    }

    /// Returns what the server holds for an entry's field or row, as far as it has come here.
    pub(super) fn present(&self, entry: &Entry) -> Theirs {
        let Some(row) = self.row(&entry.entity) else { return Theirs { gone: true, ..Theirs::default() } };
        let (id, value) = match entry.change.field() {
            Some(field) => (row.versions.field(field), row.data.get(field).cloned().unwrap_or_default()),
            None => (row.versions.row.as_deref(), row.data.clone().into()),
        };
        Theirs {
            id: id.map(str::to_owned),
            value,
            gone: false,
            actor: row.versions.actor.clone(),
            at: row.versions.at.clone(),
        }
    }

    pub(super) fn note(&mut self, now: Now, entry: &Entry, theirs: Option<Theirs>, rule: Rule) {
        // The server's time where ours is known to be wrong: a clock that jumps takes nothing out of the journal.
        let now_ms = self.stamp_ms(now);
        let line = Line::new(now_ms, entry, theirs, rule);
        let key = format!("{now_ms:013}-{:04}-{}", self.journal.len() % 10_000, entry.key);
        self.dirty.put(Record::Journal(key.clone()));
        self.journal.insert(key, line.clone());
        while let Some((key, oldest)) = self.journal.first_key_value().map(|(key, line)| (key.clone(), line.at_ms)) {
            let old = oldest.saturating_add(journal::KEPT_MS) < now_ms;
            if !old && self.journal.len() <= journal::LINES_MAX {
                break;
            }
            self.journal.remove(&key);
            self.dirty.put(Record::Journal(key));
        }
        self.tell(Told::Decided(Box::new(line)));
    }

    /// The clock ran ahead, or the store has a twin: everything that surely had no effect gets ids of a new clock.
    fn new_identity(&mut self, now: Now, key: &str) {
        self.outbox.happen(key, Event::Rebased, &mut self.dirty);
        if std::mem::replace(&mut self.sending.renewed, true) {
            // Another answer of the same request has begun the new clock already.
            return self.restamp(now, key);
        }
        let node = self.random.name();
        self.config.source.clone_from(&node);
        self.clock.restart(&node, self.server_now_ms(now));
        // What is in doubt is settled under its own id first.
        let fresh: Vec<EntryKey> = self
            .outbox
            .iter()
            .filter(|entry| entry.is_untouched() || entry.key == key)
            .map(|entry| entry.key.clone())
            .collect();
        for key in fresh {
            self.restamp(now, &key);
        }
        self.tell(Told::NewIdentity);
    }

    /// The records that would show whether it was applied are gone.
    fn too_old(&mut self, now: Now, entry: &Entry) {
        if entry.doubt {
            // Its row says whether it was applied.
            self.outbox.happen(&entry.key, Event::NoAnswer, &mut self.dirty);
            self.outbox.update(&entry.key, &mut self.dirty, |entry| entry.due_ms = now.wall_ms.saturating_add(30_000));
            self.fetches.prove(entry);
            return;
        }
        let present = self.present(entry);
        let moved = entry.change.field().is_some() && present.id != entry.expected && !present.gone;
        self.note(now, entry, Some(present.clone()), Rule::NewId);
        match moved && entry.mine().is_some() {
            true => self.dispute(now, entry, present),
            false => self.again(now, &entry.key, None),
        }
    }

    /// A row was fetched to prove what became of an entry in doubt.
    pub(super) fn proved(&mut self, now: Now, key: &str) {
        let Some(entry) = self.outbox.find(key).cloned().filter(|entry| entry.is_in_flight()) else { return };
        let present = self.present(&entry);
        let ids = self.row(&entry.entity).map(|row| &row.versions);
        let own = ids.is_some_and(|versions| {
            versions.row.as_deref() == Some(entry.id.as_str())
                || versions.fields.values().any(|id| id == entry.id.as_str())
        });
        match own {
            true => self.confirm(key),
            false => {
                self.note(now, &entry, Some(present.clone()), Rule::NewId);
                self.dispute(now, &entry, present);
            }
        }
    }
}
