//! Rows that are fetched by their ids: to complete what came without large values, and to prove what became of an edit
//! (protocol 2 `unchanged`, CORE-06 `TOO_OLD_TO_PROVE`).
//!
//! Law: while a row is being fetched, what the stream says of it is held and joined to the answer by the answer's own
//! snapshot, so a row that was deleted meanwhile does not come back.

use antiphon_model::Visibility;

use super::{
    Answer, Asked, Client, EntityKey, Entry, EntryKey, Now, Request, State, Told,
    words::{Activity, Listed},
};
use crate::{
    form,
    ordered::{OrderedMap, OrderedSet},
};

/// Ids of a request.
const IDS_MAX: usize = 100;
/// So many activities of a row are held while it is fetched; with more it is fetched again.
const HELD_MAX: usize = 64;

/// What is to be fetched, and what is held until it has come.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    wanted: OrderedSet<EntityKey>,
    held: OrderedMap<EntityKey, Held>,
    proofs: OrderedMap<EntityKey, Vec<EntryKey>>,
    /// Rows whose fetching the store says was begun; whoever leads begins it anew.
    pub(super) begun: Vec<EntityKey>,
}

#[derive(Debug, Default)]
struct Held {
    activities: Vec<Activity>,
    too_many: bool,
    /// Where the type's rows stood when it was first asked for: everything after is held.
    since: Option<u64>,
    /// Entries that had given way when it was asked for: the answer holds what they gave way to, or what came after.
    yielded: Vec<EntryKey>,
}

impl Fetches {
    /// Wants a row.
    pub(super) fn want(&mut self, entity: &EntityKey) {
        self.wanted.insert(entity.clone());
        self.held.entry(entity.clone()).or_default();
    }

    /// Wants the rows of edits whose end has not come by the stream for long: ids need not rise with time, so what one gave
    /// way to may have come and gone unseen (seeds 36975, 37239).
    pub(super) fn want_overdue<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) {
        entries.filter(|entry| entry.state == State::Accepted).for_each(|entry| self.want(&entry.entity));
    }

    /// Wants a row to see whether an entry was applied.
    pub(super) fn prove(&mut self, entry: &Entry) {
        self.proofs.entry(entry.entity.clone()).or_default().push(entry.key.clone());
        self.want(&entry.entity);
    }

    /// Tells whether a row is wanted to see whether an entry was applied.
    pub(super) fn is_proof(&self, entity: &EntityKey) -> bool {
        self.proofs.contains_key(entity)
    }

    /// Wants a row again whose answer had seen less than the rows that are here.
    fn again_later(&mut self, entity: EntityKey, held: Held) {
        self.wanted.insert(entity.clone());
        self.held.insert(entity, held);
    }

    /// Wants rows again that could not be fetched.
    pub(super) fn again(&mut self, name: &str, ids: Vec<String>) {
        self.wanted.extend(ids.into_iter().map(|id| EntityKey::new(name, id)));
    }

    /// Holds an activity of a row that is being fetched.
    pub(super) fn hold(&mut self, entity: &EntityKey, activity: &Activity) {
        let Some(held) = self.held.get_mut(entity) else { return };
        match held.activities.len() < HELD_MAX {
            true => held.activities.push(activity.clone()),
            false => held.too_many = true,
        }
    }

    /// Rows were put in the place of others: what is held was said of those, and so is an answer that is on its way.
    pub(super) fn replaced(&mut self) {
        for (entity, held) in &mut self.held {
            held.activities.clear();
            held.since = None;
            held.too_many = !self.wanted.contains(entity);
        }
    }

    /// Returns the rows that are wanted or on their way, for the store.
    pub(super) fn keys(&self) -> Vec<EntityKey> {
        self.held.keys().cloned().collect()
    }

    /// Tells whether rows of a type are wanted or on their way.
    pub(super) fn is_fetching(&self, name: &str) -> bool {
        self.held.keys().any(|entity| entity.entity_type == name)
    }

    /// Tells whether a row is wanted or on its way.
    pub(super) fn is_wanted(&self, entity: &EntityKey) -> bool {
        self.held.contains_key(entity)
    }

    /// Tells whether nothing is wanted or on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.wanted.is_empty() && self.held.is_empty()
    }
}

impl Client {
    /// Asks for the rows that are wanted.
    pub(super) fn fetch(&mut self, now: Now) {
        if self.is_asking(|asked| matches!(asked, Asked::Ids(..))) || now.tick_ms < self.subsets.later_ms() {
            return;
        }
        // Until a type is listed an answer has no place; until an operation is settled, no meaning.
        let askable = |entity: &&EntityKey| {
            let listed =
                self.types.contains_key(&entity.entity_type) && !self.stream.stale.contains(&entity.entity_type);
            listed && !self.outbox.of(entity).any(|entry| self.is_unsettled_operation(entry))
        };
        let Some(name) = self.fetches.wanted.iter().find(askable).map(|entity| entity.entity_type.clone()) else {
            return;
        };
        let of_type = self.fetches.wanted.iter().filter(|entity| entity.entity_type == name).filter(askable);
        let ids: Vec<String> = of_type.take(IDS_MAX).map(|entity| entity.entity_id.clone()).collect();
        let position = self.types.get(&name).map_or(0, |rows| rows.marks.offset);
        for entity in ids.iter().map(|id| EntityKey::new(&name, id)) {
            self.fetches.wanted.remove(&entity);
            let yielded = self.outbox.keys_of(&entity, &|entry| entry.until.is_some());
            // Wanted again while it was on its way, it was held for the answer that has come since (seed 6007577).
            let held = self.fetches.held.entry(entity).or_default();
            held.since.get_or_insert(position);
            held.yielded = yielded;
        }
        self.ask(now, Asked::Ids(name.clone(), ids.clone()), Request::Ids { entity_type: name, ids });
    }

    pub(super) fn ids_answered(&mut self, now: Now, name: &str, ids: &[String], answer: &Answer<'_>) {
        let listed = (answer.status == 200).then(|| form::from_text::<Listed>(answer.body).ok()).flatten();
        let Some((listed, snapshot)) = listed.and_then(|l| l.snapshot.parse::<Visibility>().ok().map(|s| (l, s)))
        else {
            if answer.status == 200 {
                self.tell(Told::Nonsense("rows by id".into()));
            }
            self.fetches.again(name, ids.to_vec());
            return self.not_served(now, answer);
        };
        if self.is_elsewhere(&snapshot) {
            self.fetches.again(name, ids.to_vec());
            return self.subsets.too_early(now);
        }
        if listed.epoch != self.epoch || !self.types.contains_key(name) {
            // All is listed anew; what is asked for comes with that, but for what a list cannot tell.
            for entity in ids.iter().map(|id| EntityKey::new(name, id)) {
                self.fetches.held.remove(&entity);
                if self.outbox.of(&entity).any(|entry| entry.state == State::Accepted) {
                    self.fetches.want(&entity);
                    self.subsets.too_early(now);
                }
            }
            return;
        }
        let Some(shape) = self.schema.as_ref().and_then(|schema| schema.types.get(name)).cloned() else { return };
        let in_parts = self.is_in_parts(name);
        let since = self.types.get(name).and_then(|rows| rows.recent.since(listed.offset, rows.marks.offset));
        let since: Option<Vec<Activity>> = since.map(|since| since.cloned().collect());
        let offset = listed.offset;
        let mut found: OrderedMap<String, _> =
            listed.items.into_iter().filter_map(|item| Some((shape.id_of(&item.data)?, item))).collect();
        for id in ids {
            let entity = EntityKey::new(name, id);
            let in_doubt = self.outbox.of(&entity).any(|entry| self.is_unsettled_operation(entry));
            let held = self.fetches.held.remove(&entity).unwrap_or_default();
            let too_early = in_parts && since.is_none();
            if too_early {
                self.subsets.too_early(now);
            }
            if held.too_many || in_doubt || too_early {
                self.fetches.want(&entity);
                continue;
            }
            if !in_parts && held.since.is_some_and(|since| offset < since) {
                // Readers see commits after the stream tells of them: the answer lacks what is here already.
                self.subsets.too_early(now);
                self.fetches.again_later(entity, held);
                continue;
            }
            let item = found.remove(id);
            match &since {
                Some(since) if in_parts => self.fetched_part(&entity, &shape, (item, &snapshot), since),
                _ => {
                    let Some(rows) = self.types.get_mut(name) else { return };
                    rows.fetched(name, id, item, &snapshot, &mut self.dirty);
                    let held = held.activities.iter().map(|activity| rows.apply(&shape, activity, &mut self.dirty));
                    self.subsets.look_for_long(held.count() > 0);
                }
            }
            self.shown.insert(entity.clone());
            self.confirm_seen(&snapshot, |entry| entry.entity == entity);
            held.yielded.iter().for_each(|key| self.confirm(key));
            for key in self.fetches.proofs.remove(&entity).unwrap_or_default() {
                self.proved(now, &key);
            }
            self.review(now, &entity);
        }
    }
}
