//! Taking in edits that other tabs added: the leader gives each its place (CORE-03, CORE-07, SY-44).
//!
//! The tab that made such an edit may not have seen what others had done by then. Laws: whoever wrote a field last, by the
//! order of keys, has it; texts are merged where they can be; what is covered goes with a line in the journal; what is on
//! its way is not touched. Taking in twice does nothing.

use super::super::{
    Change, Client, Entry, Event, Law, Now, State, Theirs, journal::Rule, outbox::Making, same, words::Strategy,
};
use crate::{AHEAD_MAX_MS, json::Value, merge};

impl Client {
    /// Takes in everything that others added, in order.
    pub(super) fn take_in_all(&mut self, now: Now) {
        let added = self.outbox.keys(&|entry| entry.added);
        added.iter().for_each(|key| self.take_in(now, key));
    }

    /// Takes in an edit that another tab added.
    pub(super) fn take_in(&mut self, now: Now, key: &str) {
        let Some(entry) = self.outbox.find(key).cloned() else { return };
        self.touched(&entry.entity);
        // Whoever shows it shall see that it was taken in.
        self.outbox.update(key, &mut self.dirty, |entry| entry.added = false);
        if !entry.is_untouched() {
            // It left from a leader that could not save: its echo may have gone by, so the row is read (seed 141).
            self.outbox.update(key, &mut self.dirty, |entry| entry.doubt = true);
            if entry.until.is_none() {
                // So may the end of the generation that its transaction's number is of (seed 1795370010).
                self.void(key);
            }
            self.fetches.want(&entry.entity);
            return;
        }
        let far = entry.id.wall_ms() > self.server_now_ms(now).saturating_add(AHEAD_MAX_MS);
        match far {
            true => self.restamp(now, key),
            false => drop(self.clock.merge(&entry.id, u64::MAX)),
        }
        if self.settles_earlier(now, &entry) || self.is_covered(now, &entry) {
            return;
        }
        self.put_behind(now, key);
        // What was typed behind it builds upon what it has become, one by one.
        let mut next = self.next_of_field(&entry);
        while let Some(behind) = next.filter(Entry::is_untouched) {
            self.put_behind(now, &behind.key);
            next = self.next_of_field(&behind);
        }
        self.review(now, &entry.entity);
    }

    /// What was typed about an edit that waits for a person is what that edit holds now.
    fn settles_earlier(&mut self, now: Now, entry: &Entry) -> bool {
        let earlier = |other: &&Entry| other.key < entry.key;
        let waits = |other: &&Entry| matches!(other.state, State::Conflicted | State::Failed);
        if matches!(entry.change, Change::Delete { .. }) {
            let moot = self.outbox.of(&entry.entity).filter(earlier).filter(|o| o.is_untouched() || waits(o));
            let moot: Vec<Entry> = moot.cloned().collect();
            for other in &moot {
                self.note(now, other, other.theirs.clone(), Rule::Deleted);
                self.outbox.bequeath(other, &mut self.dirty);
                self.outbox.happen(&other.key, Event::Dropped, &mut self.dirty);
            }
            let alone = self.outbox.of(&entry.entity).all(|other| other.key == entry.key);
            if alone && self.row(&entry.entity).is_none() {
                self.note(now, entry, None, Rule::Deleted);
                self.outbox.happen(&entry.key, Event::Dropped, &mut self.dirty);
                return true;
            }
            return false;
        }
        let Some(value) = entry.mine().cloned() else { return false };
        let same_field = |other: &&Entry| other.change.field() == entry.change.field() || other.change.is_whole_row();
        let last = self.outbox.of(&entry.entity).filter(earlier).rfind(same_field).cloned();
        let Some(last) = last.filter(|last| waits(&last) && last.mine().is_some()) else { return false };
        // What the other tab had not seen of it stays in it.
        let held = last.mine().cloned().unwrap_or_default();
        let before = Theirs { id: Some(last.id.as_str().to_owned()), value: held, ..Theirs::default() };
        let value = self.upon(now, entry, &value, entry.change.field().unwrap_or_default(), &before);
        self.note(now, entry, None, Rule::TakenUp);
        self.outbox.happen(&entry.key, Event::Dropped, &mut self.dirty);
        let now_ms = self.stamp_ms(now);
        let Some(schema) = &self.schema else { return true };
        let source = &self.config.source;
        let (clock, dirty) = (&mut self.clock, &mut self.dirty);
        let mut making = Making { now_ms, clock, source, row: None, schema, leads: true, dirty };
        self.outbox.squash(&last, value, &mut making);
        true
    }

    /// What another tab wrote later, and has left already, covers it.
    fn is_covered(&mut self, now: Now, entry: &Entry) -> bool {
        let field = entry.change.field();
        let later = self.outbox.of(&entry.entity).filter(|other| other.key > entry.key && !other.is_untouched());
        let covers = |other: &&Entry| match &other.change {
            Change::Value { .. } => field.is_some() && other.change.field() == field,
            Change::Delete { .. } => field.is_some(),
            Change::Create { .. } | Change::Add { .. } | Change::Elements { .. } => false,
        };
        let other = later.filter(covers).map(Entry::clone).next();
        let Some(other) = other else { return false };
        let deleted = matches!(other.change, Change::Delete { .. });
        let theirs = Theirs {
            id: Some(other.id.as_str().to_owned()),
            value: other.mine().cloned().unwrap_or_default(),
            gone: deleted,
            ..Theirs::default()
        };
        self.note(now, entry, Some(theirs), if deleted { Rule::Deleted } else { Rule::OtherTab });
        self.outbox.happen(&entry.key, Event::Dropped, &mut self.dirty);
        true
    }

    fn next_of_field(&self, entry: &Entry) -> Option<Entry> {
        let mut later = self.outbox.of(&entry.entity).filter(|other| other.key > entry.key);
        later.find(|other| entry.change.field().is_some() && other.change.field() == entry.change.field()).cloned()
    }

    /// Lets an edit build upon the one before it, which its tab may not have seen.
    fn put_behind(&mut self, now: Now, key: &str) {
        let Some(entry) = self.outbox.find(key).cloned() else { return };
        let Some(before) = self.stands_before(&entry) else { return };
        let same_text = entry.mine().is_none() || entry.base.as_ref().is_some_and(|base| same(base, &before.value));
        if before.id == entry.expected && same_text {
            return;
        }
        match (entry.mine(), entry.change.field()) {
            // Whoever makes a row expects nothing.
            _ if matches!(entry.change, Change::Create { .. }) => return,
            (Some(mine), Some(field)) => {
                let value = self.upon(now, &entry, mine, field, &before);
                self.outbox.update(key, &mut self.dirty, |entry| {
                    (entry.expected, entry.base) = (before.id.clone(), Some(before.value.clone()));
                    if let Change::Value { value: mine, .. } = &mut entry.change {
                        *mine = value;
                    }
                });
            }
            _ => self.outbox.update(key, &mut self.dirty, |entry| entry.expected = before.id.clone()),
        }
        if before.id.as_deref().is_some_and(|id| id >= entry.id.as_str()) {
            self.restamp(now, key);
        }
    }

    /// Returns what was typed upon what another tab wrote, with a line in the journal where that goes.
    pub(in crate::client) fn upon(
        &mut self,
        now: Now,
        entry: &Entry,
        mine: &Value,
        field: &str,
        before: &Theirs,
    ) -> Value {
        let unchanged = entry.base.as_ref().is_some_and(|base| same(base, &before.value));
        if unchanged || same(mine, &before.value) {
            return mine.clone();
        }
        let strategy = self.schema.as_ref().map_or(Strategy::Lww, |s| s.strategy(&entry.entity.entity_type, field));
        let texts = (entry.base.as_ref().and_then(Value::as_str), mine.as_str(), before.value.as_str());
        if let (Strategy::Text, (Some(base), Some(mine), Some(theirs))) = (strategy, texts)
            && !self.breaks(Law::TabsAreMerged)
            && let Some(text) = merge::clean(&merge::merge_text(base, mine, theirs))
        {
            self.note(now, entry, Some(before.clone()), Rule::Merged);
            return text.into();
        }
        self.note(now, entry, Some(before.clone()), Rule::MineWins);
        mine.clone()
    }

    /// Returns what this device wrote last of an edit's field, or row; `None` where that was another, or nobody.
    fn stands_before(&self, entry: &Entry) -> Option<Theirs> {
        let field = entry.change.field();
        let about = |other: &&Entry| match &other.change {
            Change::Create { .. } => true,
            Change::Delete { .. } => field.is_none(),
            _ => field.is_none() || other.change.field() == field,
        };
        let own = |other: &&Entry| other.key < entry.key && other.until.is_none() && about(other);
        if let Some(other) = self.outbox.of(&entry.entity).rfind(own) {
            if other.change.is_operation() {
                return None;
            }
            let value = match (&other.change, field) {
                (Change::Create { data }, Some(field)) => data.get(field).cloned().unwrap_or_default(),
                _ => other.mine().cloned().unwrap_or_default(),
            };
            return Some(Theirs { id: Some(other.id.as_str().to_owned()), value, ..Theirs::default() });
        }
        let present = self.present(entry);
        // What others wrote meanwhile is judged where all edits are.
        (!present.gone && present.id.as_deref().is_some_and(|id| self.is_mine(id))).then_some(present)
    }
}
