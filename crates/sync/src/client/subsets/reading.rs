//! Reading subsets: piece by piece, beside what is shown where a type begins anew, into it where it is shown already
//! (protocol 4, the join; CORE-11, CORE-12).
//!
//! Laws: pieces of one epoch and one access only; a page that joins what is shown brings along what the stream has told
//! since the page was read; what the server refuses for good is told and not asked again.

use antiphon_model::Visibility;

use super::{
    super::{
        Answer, Asked, Client, EntityKey, Now, Request, Told,
        held::Held,
        rows::TypeRows,
        store::Record,
        subset::Subset,
        words::{Item, Listed, Problem, TypeShape},
    },
    joining::read_page,
};
use crate::{
    form,
    ordered::{OrderedMap, OrderedSet},
};

/// Ids of a request.
const IDS_MAX: usize = 100;

/// A part of what is wanted of a type.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Piece {
    /// A page of a subset.
    Page {
        /// The subset's key.
        key: String,
        /// The subset.
        subset: Subset,
        /// Where the page before ended.
        after: Option<String>,
        /// Rows at most.
        limit: usize,
    },
    /// Rows that are open or edited.
    Ids(Vec<String>),
    /// Nothing, but for the position: nothing is wanted yet.
    First,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Asking {
    pub(super) name: String,
    /// The generation that it is for.
    generation: u32,
    pub(super) piece: Piece,
}

/// A piece that came.
pub(super) struct Came {
    pub(super) items: OrderedMap<String, Item>,
    pub(super) ids: Vec<String>,
    pub(super) next: Option<String>,
    pub(super) offset: u64,
    pub(super) snapshot: Visibility,
}

impl Client {
    /// Looks at what is wanted anew, where that was asked for: what cannot be compared, what is open and not here.
    pub(in super::super) fn look_at_wanted(&mut self) {
        let Some(schema) = &self.schema else { return };
        if std::mem::take(&mut self.subsets.check) {
            let wanted = self.subsets.wanted.values().map(|(_, subset)| subset);
            let bad = wanted.filter(|subset| {
                schema.types.get(&subset.entity_type).is_some_and(|shape| subset.incomparable(shape).is_some())
            });
            let bad: Vec<Subset> = bad.cloned().collect();
            self.subsets.refused.extend(bad.into_iter().map(|subset| (subset, "NOT_COMPARABLE".to_owned())));
        }
        if self.leading.is_some() && std::mem::take(&mut self.subsets.look) {
            let shown = self.types.keys().filter(|name| self.is_in_parts(name) && !self.stream.stale.contains(*name));
            let names: Vec<String> = shown.cloned().collect();
            for name in names {
                let ids = self.types.get(&name).map(|rows| self.missing_pins(&name, rows)).unwrap_or_default();
                ids.iter().for_each(|id| self.fetches.want(&EntityKey::new(&name, id)));
            }
        }
        if self.leading.is_some() && std::mem::take(&mut self.subsets.long) {
            self.want_long();
        }
    }

    /// Asks for rows that are shown or edited and lack a long value, once for each reason to look: an answer that lacks it
    /// too is none.
    fn want_long(&mut self) {
        let (mut long, mut listed) = (Vec::new(), 0);
        for (name, rows) in &self.types {
            let Some(shape) = self.schema.as_ref().and_then(|schema| schema.types.get(name)) else { continue };
            for (id, row) in rows.rows.iter().filter(|(_, row)| row.is_partly()) {
                let entity = EntityKey::new(name, id);
                let pinned = self.is_pinned(&entity);
                let lists = || self.subsets.of(name).any(|(_, one)| one.matches(shape, &row.data));
                if !self.fetches.is_wanted(&entity) && (pinned || (listed < IDS_MAX && lists())) {
                    listed += usize::from(!pinned);
                    long.push(entity);
                }
            }
        }
        long.iter().for_each(|entity| self.fetches.want(entity));
    }

    /// Returns rows that are open, or edited and maybe known to the server, and that nothing is known of.
    fn missing_pins(&self, name: &str, rows: &TypeRows) -> Vec<String> {
        let open = self.subsets.open.keys();
        let edited = self.outbox.entities().filter(|entity| self.may_be_there(entity));
        let of_type = open.chain(edited).filter(|entity| entity.entity_type == name);
        let unknown = of_type.map(|e| &e.entity_id).filter(|id| !rows.rows.contains_key(*id) && !rows.is_missing(id));
        unknown.cloned().collect::<OrderedSet<_>>().into_iter().collect()
    }

    /// Asks for the next piece of a type; tells whether there was one.
    pub(in super::super) fn read_piece(&mut self, now: Now, name: &str) -> bool {
        let Some(piece) = self.next_piece(name) else { return false };
        let limit = |piece: &Piece| if let Piece::Page { limit, .. } = piece { *limit } else { 1 };
        let entity_type = name.to_owned();
        let request = match &piece {
            Piece::Page { subset, after, .. } => Request::Subset {
                entity_type,
                parameters: subset.parameters(),
                after: after.clone(),
                limit: limit(&piece),
            },
            Piece::Ids(ids) => Request::Ids { entity_type, ids: ids.clone() },
            Piece::First => Request::List { entity_type, after: None, limit: 1 },
        };
        let asking = Asking { name: name.to_owned(), generation: self.generation_of(name), piece };
        self.ask(now, Asked::Piece(Box::new(asking)), request);
        true
    }

    /// Tells whether something that is wanted of types that are shown is still to be read.
    pub(in super::super) fn is_to_read_on(&self) -> bool {
        let open = |name: &&String| self.is_in_parts(name) && self.joins(name) && self.next_piece(name).is_some();
        self.types.keys().any(|name| open(&name))
    }

    /// Tells whether pieces of a type go into what is shown.
    fn joins(&self, name: &str) -> bool {
        self.types.contains_key(name) && !self.stream.stale.contains(name)
    }

    fn generation_of(&self, name: &str) -> u32 {
        let shown = self.types.get(name).map_or(0, |rows| rows.marks.generation);
        if self.joins(name) { shown } else { self.next_generation(name) }
    }

    fn next_piece(&self, name: &str) -> Option<Piece> {
        let joins = self.joins(name);
        let rows = if joins { self.types.get(name) } else { self.building.get(name) };
        for (key, subset) in self.subsets.of(name) {
            let held = rows.and_then(|rows| rows.marks.subsets.get(key));
            let begun = || Held::begin(subset.clone(), 0).wants();
            let Some((after, limit)) = held.map_or_else(begun, Held::wants) else { continue };
            return Some(Piece::Page { key: key.clone(), subset: subset.clone(), after, limit });
        }
        if joins {
            return None;
        }
        let mut ids = self.missing_pins(name, rows.unwrap_or(&TypeRows::default()));
        ids.truncate(IDS_MAX);
        match (ids.is_empty(), rows) {
            (false, _) => Some(Piece::Ids(ids)),
            (true, None) => Some(Piece::First),
            (true, Some(_)) => None,
        }
    }

    /// Nothing is left to be read of a type that begins anew.
    pub(in super::super) fn built(&mut self, name: &str) {
        if let Some(rows) = self.building.get_mut(name) {
            rows.marks.complete = true;
            rows.recent.begin(rows.marks.offset);
            self.dirty.put(Record::Meta);
        }
    }

    pub(in super::super) fn piece_answered(&mut self, now: Now, asking: Asking, answer: &Answer<'_>) {
        if answer.status != 200 {
            return self.piece_refused(now, &asking, answer);
        }
        let listed = form::from_text::<Listed>(answer.body).ok();
        let Some((listed, snapshot)) = listed.and_then(|l| l.snapshot.parse::<Visibility>().ok().map(|s| (l, s)))
        else {
            self.tell(Told::Nonsense("a list".into()));
            return self.pace.failed(now.tick_ms, None, &mut self.random);
        };
        self.pace.succeeded();
        let name = asking.name.as_str();
        let Some(shape) = self.schema.as_ref().and_then(|schema| schema.types.get(name)).cloned() else { return };
        self.meet_epoch(listed.epoch);
        if self.is_elsewhere(&snapshot) {
            return self.subsets.too_early(now);
        }
        if self.has_unsettled_operation(name) || asking.generation != self.generation_of(name) {
            return;
        }
        if let Piece::Page { key, .. } = &asking.piece
            && !self.subsets.of(name).any(|(wanted, _)| wanted == key)
        {
            // Released while it was on its way.
            return;
        }
        if listed.schema != shape.schema {
            self.wants_schema = true;
        }
        if self.joins(name) {
            if listed.epoch != self.epoch || listed.access != self.access {
                self.wants_schema |= listed.access != self.access;
                return self.list_again(now, &[]);
            }
            return self.join(now, &asking, &shape, came(&shape, listed, snapshot));
        }
        if !self.belongs(&listed) {
            self.drop_building();
            (self.stream.list_epoch, self.stream.list_access) = (listed.epoch, listed.access);
            return;
        }
        let number = listed.schema;
        self.build(now, asking, &shape, (number, came(&shape, listed, snapshot)));
    }

    fn piece_refused(&mut self, now: Now, asking: &Asking, answer: &Answer<'_>) {
        self.wants_schema |= answer.status == 404;
        let problem = form::from_text::<Problem>(answer.body).unwrap_or_default();
        let for_good = matches!(problem.code.as_str(), "PARAMETER_INVALID" | "PARAMETER_UNKNOWN" | "FIELD_FORBIDDEN");
        let Piece::Page { key, subset, after, .. } = &asking.piece else { return self.not_served(now, answer) };
        if !for_good {
            return self.not_served(now, answer);
        }
        if after.is_none() {
            self.pace.succeeded();
            self.subsets.refused.insert(subset.clone(), problem.code);
            return;
        }
        // The cursor is not good any more: the subset begins anew.
        let side = if self.joins(&asking.name) { &mut self.types } else { &mut self.building };
        let held = side.get_mut(&asking.name).and_then(|rows| rows.marks.subsets.get_mut(key));
        held.into_iter().for_each(Held::restart);
        self.not_served(now, answer);
    }

    fn build(&mut self, now: Now, asking: Asking, shape: &TypeShape, (number, came): (u32, Came)) {
        let Asking { name, generation, piece } = asking;
        let rows = self.building.entry(name.clone()).or_insert_with(|| TypeRows::begin(generation));
        rows.marks.offset = rows.marks.offset.min(came.offset);
        rows.marks.schema = number;
        let first = !self.types.contains_key(&name);
        let snapshot = came.snapshot.clone();
        let mut taken = Vec::new();
        match &piece {
            Piece::Page { .. } => {
                taken = read_page(rows, (&name, shape), (&piece, came, self.subsets.uses), &mut self.dirty)
            }
            Piece::Ids(ids) => {
                ids.iter().for_each(|id| rows.missing(id, &came.snapshot));
                taken = rows.put((&name, shape), came.items, &came.snapshot, &mut self.dirty);
            }
            Piece::First => {}
        }
        rows.count(shape);
        let generation = rows.marks.generation;
        self.mark_read(&name, generation, &snapshot);
        self.dirty.put(Record::Meta);
        if self.next_piece(&name).is_none() {
            self.built(&name);
        }
        if first {
            self.shown.extend(taken.into_iter().map(|id| EntityKey::new(&name, id)));
            self.review_type(now, &name);
        }
        if self.unlisted().is_empty() {
            self.show(now);
        }
    }
}

fn came(shape: &TypeShape, listed: Listed, snapshot: Visibility) -> Came {
    let ids: Vec<Option<String>> = listed.items.iter().map(|item| shape.id_of(&item.data)).collect();
    let pairs = ids.iter().cloned().zip(listed.items).filter_map(|(id, item)| Some((id?, item)));
    Came {
        items: pairs.collect(),
        ids: ids.into_iter().flatten().collect(),
        next: listed.next,
        offset: listed.offset,
        snapshot,
    }
}
