//! What is let go of: rows that nothing keeps any more, and released subsets, the longest unused first (CORE-12).
//!
//! Laws: a subset that is wanted, an open row and a row with edits are never let go of; what only released subsets keep
//! stays within the budget of bytes; a subset that was released before it was whole goes at once.

use super::super::{Client, EntityKey, held::bytes_of, rows::TypeRows, store::Record, words::TypeShape};
use crate::ordered::OrderedSet;

/// Released subsets of a type that are kept at most, however small they are.
const RELEASED_MAX: usize = 256;

impl Client {
    /// Takes note that a subset is wanted now, or was until now.
    pub(super) fn use_subset(&mut self, name: &str, key: &str) {
        let known = self.types.values().flat_map(|rows| rows.marks.subsets.values()).map(|held| held.used);
        self.subsets.uses = known.max().unwrap_or_default().max(self.subsets.uses) + 1;
        if self.leading.is_none() {
            return;
        }
        if let Some(held) = self.types.get_mut(name).and_then(|rows| rows.marks.subsets.get_mut(key)) {
            held.used = self.subsets.uses;
            self.dirty.put(Record::Meta);
        }
    }

    /// A subset is wanted no more: what is whole stays within the budget.
    pub(super) fn released(&mut self, name: &str, key: &str) {
        if self.leading.is_none() {
            return;
        }
        self.use_subset(name, key);
        for side in [&mut self.types, &mut self.building] {
            let Some(rows) = side.get_mut(name) else { continue };
            if rows.marks.subsets.get(key).is_some_and(|held| !held.is_whole()) {
                rows.marks.subsets.remove(key);
                self.dirty.put(Record::Meta);
            }
        }
        self.spare();
        self.sweep(name);
    }

    /// It leads from now on: what the former leader held on to, or had begun to read, is not held any more.
    pub(in super::super) fn take_subsets_over(&mut self) {
        let names: Vec<String> = self.types.keys().filter(|name| self.is_in_parts(name)).cloned().collect();
        for name in names {
            let wanted: OrderedSet<String> = self.subsets.of(&name).map(|(key, _)| key.clone()).collect();
            if let Some(rows) = self.types.get_mut(&name) {
                rows.marks.subsets.retain(|key, held| held.is_whole() || wanted.contains(key));
            }
            self.subsets.overgrown(&name);
        }
        self.subsets.again();
    }

    /// Lets go of what lost what kept it, and of released subsets where rows came.
    pub(in super::super) fn let_go(&mut self) {
        if self.leading.is_none() {
            // What is kept is for whoever leads to say.
            return self.subsets.loose.clear();
        }
        for entity in std::mem::take(&mut self.subsets.loose) {
            self.let_go_of(&entity.entity_type, Some(&entity.entity_id));
            // What only a released subset keeps from now on counts against the budget.
            let bytes = self.row(&entity).map_or(0, |row| bytes_of(row.data.iter()));
            self.subsets.grown_bytes += bytes;
        }
        for name in std::mem::take(&mut self.subsets.overgrown) {
            self.sweep(&name);
        }
        if self.subsets.grown_bytes > self.config.subsets_bytes_max / 16 {
            self.spare();
        }
    }

    /// Lets go of all rows of a type that nothing keeps.
    pub(in super::super) fn sweep(&mut self, name: &str) {
        self.let_go_of(name, None);
    }

    fn let_go_of(&mut self, name: &str, only: Option<&str>) {
        if !self.is_in_parts(name) {
            return;
        }
        let Some(shape) = self.schema.as_ref().and_then(|schema| schema.types.get(name)) else { return };
        let (open, outbox) = (&self.subsets.open, &self.outbox);
        let pinned = |id: &str| {
            let entity = EntityKey::new(name, id);
            open.contains_key(&entity) || outbox.of(&entity).next().is_some()
        };
        for side in [&mut self.types, &mut self.building] {
            let Some(rows) = side.get_mut(name) else { continue };
            let gone = rows.let_go(name, shape, &pinned, only, &mut self.dirty);
            self.shown.extend(gone.into_iter().map(|id| EntityKey::new(name, id)));
        }
    }

    /// Drops released subsets, the longest unused first, until the rest fits the budget.
    fn spare(&mut self) {
        self.subsets.grown_bytes = 0;
        while let Some((name, key)) = self.too_much() {
            if let Some(rows) = self.types.get_mut(&name) {
                rows.marks.subsets.remove(&key);
            }
            self.dirty.put(Record::Meta);
            self.sweep(&name);
        }
    }

    /// Returns the released subset that goes next; `None` where all fits.
    fn too_much(&self) -> Option<(String, String)> {
        let schema = self.schema.as_ref()?;
        let mut released: Vec<(u64, &String, &String)> = Vec::new();
        let mut bytes = 0;
        for (name, rows) in &self.types {
            let Some(shape) = schema.types.get(name).filter(|shape| shape.sync == "on_demand") else { continue };
            let wanted: OrderedSet<&String> = self.subsets.of(name).map(|(key, _)| key).collect();
            let before = released.len();
            let of_type = rows.marks.subsets.iter().filter(|(key, _)| !wanted.contains(key));
            released.extend(of_type.map(|(key, held)| (held.used, name, key)));
            if released.len() > before {
                bytes += self.spare_bytes(name, rows, shape, &wanted);
            }
        }
        let over = bytes > self.config.subsets_bytes_max || released.len() > RELEASED_MAX;
        let oldest = released.into_iter().min();
        oldest.filter(|_| over).map(|(_, name, key)| (name.clone(), key.clone()))
    }

    fn spare_bytes(&self, name: &str, rows: &TypeRows, shape: &TypeShape, wanted: &OrderedSet<&String>) -> usize {
        let pinned = |id: &str| self.is_pinned(&EntityKey::new(name, id));
        rows.spare_bytes(shape, &|key| wanted.iter().any(|wanted| *wanted == key), &pinned)
    }
}
