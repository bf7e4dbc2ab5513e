//! Turns transactions of the source into activities: scope, image, place in the commit (walk of one change, step 4).
//!
//! A pure mapping: no IO, no clock. What it must learn from outside (the number of a new shape, the organisations
//! that a truncate concerns) is asked for by `unknown_shape` and handed in by `learn`.
//! Law: every change of a declared table becomes its activities, in commit order; a change that the checkpoint covers
//! is mapped for its numbering and then dropped and counted.

mod author;
mod plan;
mod rows;
mod window;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use antiphon_model::{
    Action, Activity, ActivityId, Change, ChangedRow, Checkpoint, Commit, EVERYONE, EntityType, Lsn, Relation,
    Transaction, Tuple,
};
use author::{Authors, Heard};
use plan::{EntityPlan, Place, Plan};
pub(crate) use window::{Settled, Window};

use crate::{Authorship, Fault, ImageWriter, MESSAGE_PREFIX, SealKey, copier::WATERMARK};

/// Maps transactions to activities.
pub struct Mapper {
    entities: BTreeMap<(String, String), Arc<EntityType>>,
    plans: HashMap<u32, (Arc<Relation>, Plan)>,
    copied: HashMap<u32, (Arc<Relation>, EntityPlan)>,
    organisations: BTreeMap<String, BTreeSet<String>>,
    image: ImageWriter,
    open: Option<OpenTransaction>,
    resent_changes: u64,
    seal_key: Option<SealKey>,
    messages_refused: u64,
}

/// A transaction of which a part was mapped and more is to come.
#[derive(Debug)]
struct OpenTransaction {
    lsn: Lsn,
    next_seq: u64,
    orgs: BTreeSet<String>,
    authors: Authors,
}

/// What mapping appends to.
#[derive(Debug, Default)]
pub struct Mapped {
    /// The activities in order, without ids.
    pub activities: Vec<Activity>,
    /// Pairs (entity type, organisation) that occurred for the first time.
    pub organisations: Vec<(String, String)>,
    /// How many bytes of text the activities hold.
    pub bytes: usize,
}

impl Mapper {
    /// Makes a mapper for declared types; `organisations` are the pairs (entity type, organisation) already known.
    pub fn new(entities: &[Arc<EntityType>], organisations: Vec<(String, String)>) -> Mapper {
        let entities = entities.iter().map(|entity| {
            let table = &entity.table;
            ((table.schema.clone(), table.name.clone()), Arc::clone(entity))
        });
        let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (entity_type, org) in organisations {
            known.entry(entity_type).or_default().insert(org);
        }
        Mapper {
            entities: entities.collect(),
            plans: HashMap::new(),
            copied: HashMap::new(),
            organisations: known,
            image: ImageWriter::default(),
            open: None,
            resent_changes: 0,
            seal_key: None,
            messages_refused: 0,
        }
    }

    /// Believes messages that were sealed with this key; without one, none is believed.
    #[must_use]
    pub fn believing(mut self, key: SealKey) -> Mapper {
        self.seal_key = Some(key);
        self
    }

    /// Returns how many messages with our prefix were not ours.
    pub fn messages_refused(&self) -> u64 {
        self.messages_refused
    }

    /// Returns how many changes came again although the log had them.
    pub fn resent_changes(&self) -> u64 {
        self.resent_changes
    }

    /// Returns a declared relation among the changes whose shape is not known yet, with its type and fingerprint.
    pub fn unknown_shape(&mut self, changes: &[Change]) -> Option<(Arc<Relation>, String, String)> {
        for change in changes {
            let relations = match change {
                Change::Insert(row) | Change::Update(row) | Change::Delete(row) => std::slice::from_ref(&row.relation),
                Change::Truncate(relations) => relations.as_slice(),
                Change::Message { .. } => &[],
            };
            for relation in relations {
                if let Some(shape) = self.unknown_relation(relation) {
                    return Some(shape);
                }
            }
        }
        None
    }

    /// As `unknown_shape`, for one relation.
    pub fn unknown_relation(&mut self, relation: &Arc<Relation>) -> Option<(Arc<Relation>, String, String)> {
        if self.plans.get(&relation.oid).is_some_and(|(known, _)| Arc::ptr_eq(known, relation)) {
            return None;
        }
        // A relation message is repeated after each reconnect: the same shape needs no new number.
        if let Some((known, _)) = self.plans.get_mut(&relation.oid)
            && **known == **relation
        {
            *known = Arc::clone(relation);
            return None;
        }
        match self.entities.get(&(relation.schema.clone(), relation.name.clone())) {
            Some(entity) => {
                let fingerprint = EntityPlan::fingerprint(entity, relation);
                Some((Arc::clone(relation), entity.name.clone(), fingerprint))
            }
            None => {
                self.plans.insert(relation.oid, (Arc::clone(relation), Plan::Ignored));
                None
            }
        }
    }

    /// Takes in the number of a shape that `unknown_shape` returned.
    pub fn learn(&mut self, relation: &Arc<Relation>, schema: u32) -> Result<(), Fault> {
        let table = (relation.schema.clone(), relation.name.clone());
        let plan = match self.entities.get(&table) {
            Some(entity) => Plan::Entity(EntityPlan::new(entity, relation, schema)?),
            None => Plan::Ignored,
        };
        self.plans.insert(relation.oid, (Arc::clone(relation), plan));
        Ok(())
    }

    /// Maps a transaction or a part of it; what `checkpoint` covers is counted and left out.
    ///
    /// Every shape in it must be known (`unknown_shape` returned `None`); others are ignored.
    pub fn map(&mut self, transaction: &Transaction, checkpoint: &Checkpoint, into: &mut Mapped) {
        let start = into.activities.len();
        let mut open = match self.open.take() {
            Some(open) if open.lsn == transaction.commit_lsn => open,
            _ => OpenTransaction::new(transaction.commit_lsn),
        };
        let mut commit = Commit {
            lsn: transaction.commit_lsn,
            seq: 0,
            last: false,
            xid: transaction.xid,
            at: transaction.committed_at,
        };
        for (index, change) in transaction.changes.iter().enumerate() {
            let (before, refused) = (into.activities.len(), self.messages_refused);
            self.map_change(change, commit, &mut open.authors, into);
            for activity in &mut into.activities[before..] {
                activity.commit.seq = open.next_seq;
                open.next_seq += 1;
            }
            if checkpoint.covers(transaction.commit_lsn, transaction.first_ordinal + index as u64) {
                self.resent_changes += 1;
                self.messages_refused = refused;
                for activity in into.activities.drain(before..) {
                    open.orgs.insert(activity.org);
                }
            }
        }
        // What is known to its end needs no end again.
        let known = transaction.commit_lsn < checkpoint.lsn
            || (transaction.commit_lsn == checkpoint.lsn && checkpoint.complete);
        if transaction.last && known {
            return;
        }
        if transaction.last {
            commit.seq = open.next_seq;
            if let Some(said) = open.authors.end() {
                into.activities.push(mark(said.org.clone(), Some(&said), commit));
                commit.seq += 1;
            }
            close(open, start, commit, into);
        } else {
            open.orgs.extend(into.activities[start..].iter().map(|activity| activity.org.clone()));
            self.open = Some(open);
        }
        into.bytes += into.activities[start..].iter().map(Activity::byte_len).sum::<usize>();
    }

    /// Maps rows of an initial copy as creates at the place of the high watermark's commit.
    pub(crate) fn map_copied(
        &mut self,
        relation: &Arc<Relation>,
        rows: &[Tuple],
        mut commit: Commit,
        into: &mut Mapped,
    ) {
        let start = into.activities.len();
        for row in rows {
            let Some((_, plan)) = self.copied.get(&relation.oid) else { return };
            let place = plan.place(row, None);
            if place.org.is_some() {
                let context = rows::Context { plan, governing: None, commit };
                let activity = rows::create(context, &mut self.image, row, None, place);
                note(&mut self.organisations, &activity, into);
                into.activities.push(activity);
                commit.seq += 1;
            }
        }
        let open = OpenTransaction::new(commit.lsn);
        close(open, start, commit, into);
        into.bytes += into.activities[start..].iter().map(Activity::byte_len).sum::<usize>();
    }

    /// Returns the entity type and the keys (before, after) that a change touches; for the windows of copies.
    pub(crate) fn touched(&self, row: &ChangedRow) -> Option<(&str, Vec<String>, bool)> {
        let (_, Plan::Entity(plan)) = self.plans.get(&row.relation.oid)? else { return None };
        let old = rows::old_tuple(&row.old);
        let mut keys = Vec::new();
        let mut whole = true;
        if let Some(new) = &row.new {
            keys.push(plan.place(new, old).id);
            whole = rows::whole(plan, row, new);
        }
        if let Some(old) = old {
            let id = plan.place(old, None).id;
            if !keys.contains(&id) {
                keys.push(id);
            }
        }
        Some((&plan.entity.name, keys, whole))
    }

    /// Returns the entity type of a relation, where it is declared.
    pub(crate) fn entity_of(&self, relation: &Relation) -> Option<&str> {
        match self.plans.get(&relation.oid) {
            Some((_, Plan::Entity(plan))) => Some(&plan.entity.name),
            _ => None,
        }
    }

    /// Returns type and fingerprint of a copied relation whose shape is not known yet.
    pub(crate) fn unknown_copied(&self, relation: &Arc<Relation>) -> Option<(String, String)> {
        if self
            .copied
            .get(&relation.oid)
            .is_some_and(|(known, _)| Arc::ptr_eq(known, relation) || **known == **relation)
        {
            return None;
        }
        let entity = self.entities.get(&(relation.schema.clone(), relation.name.clone()))?;
        Some((entity.name.clone(), EntityPlan::fingerprint(entity, relation)))
    }

    /// Takes in the number of a shape that `unknown_copied` returned.
    pub(crate) fn learn_copied(&mut self, relation: &Arc<Relation>, schema: u32) -> Result<(), Fault> {
        if let Some(entity) = self.entities.get(&(relation.schema.clone(), relation.name.clone())) {
            let plan = EntityPlan::of_rows(entity, relation, schema)?;
            self.copied.insert(relation.oid, (Arc::clone(relation), plan));
        }
        Ok(())
    }

    /// Returns the entity id of a row of a copy.
    pub(crate) fn copied_id(&self, relation: &Relation, row: &Tuple) -> Option<String> {
        self.copied.get(&relation.oid).map(|(_, plan)| plan.place(row, None).id)
    }

    fn map_change(&mut self, change: &Change, commit: Commit, authors: &mut Authors, into: &mut Mapped) {
        match change {
            Change::Insert(row) | Change::Update(row) | Change::Delete(row) => {
                let Some((_, Plan::Entity(plan))) = self.plans.get(&row.relation.oid) else { return };
                let before = into.activities.len();
                let inserted = matches!(change, Change::Insert(_));
                let context = rows::Context { plan, governing: authors.tx(), commit };
                rows::map(context, &mut self.image, row, inserted, &mut into.activities);
                authors.govern(&into.activities[before..]);
                for index in before..into.activities.len() {
                    let known = self
                        .organisations
                        .get(&plan.entity.name)
                        .is_some_and(|orgs| orgs.contains(&into.activities[index].org));
                    if !known {
                        let activity = into.activities[index].clone();
                        note(&mut self.organisations, &activity, into);
                    }
                }
            }
            Change::Truncate(relations) => {
                let before = into.activities.len();
                for relation in relations {
                    self.map_truncate(relation, commit, authors, into);
                }
                authors.govern(&into.activities[before..]);
            }
            Change::Message { prefix, content } if prefix[..] == *MESSAGE_PREFIX.as_bytes() => {
                match authors.hear(self.seal_key.as_ref(), commit.xid, content) {
                    Heard::Ours(None) => {}
                    Heard::Ours(Some(said)) => into.activities.push(mark(said.org.clone(), Some(&said), commit)),
                    // The watermarks of copies are ours, too, and name nobody.
                    Heard::Strange if content.starts_with(WATERMARK.as_bytes()) => {}
                    Heard::Strange => self.messages_refused += 1,
                }
            }
            Change::Message { .. } => {}
        }
    }

    fn map_truncate(&mut self, relation: &Relation, commit: Commit, authors: &Authors, into: &mut Mapped) {
        let Some((_, Plan::Entity(plan))) = self.plans.get(&relation.oid) else { return };
        let context = rows::Context { plan, governing: authors.tx(), commit };
        // Whatever the type was before, what everyone reads is emptied once.
        let everyone = plan.org.is_none().then(|| EVERYONE.to_owned());
        let known = self.organisations.get(&plan.entity.name).into_iter().flatten().filter(|_| everyone.is_none());
        for org in known.chain(&everyone) {
            into.activities.push(Activity {
                action: Action::Truncate,
                entity_id: None,
                tx: rows::removed(context),
                ..rows::blank(context, Place { org: Some(org.clone()), id: String::new() })
            });
        }
    }
}

impl OpenTransaction {
    fn new(lsn: Lsn) -> OpenTransaction {
        OpenTransaction { lsn, next_seq: 0, orgs: BTreeSet::new(), authors: Authors::default() }
    }
}

/// Marks the last activity of each organisation, and adds a mark for those whose last one is already in the log.
///
/// Where everyone's rows are among them, one end holds for all: the transaction's last activity is everyone's.
fn close(mut open: OpenTransaction, start: usize, mut commit: Commit, into: &mut Mapped) {
    commit.last = true;
    let of_everyone = |activity: &Activity| activity.org == EVERYONE;
    if open.orgs.contains(EVERYONE) || into.activities[start..].iter().any(of_everyone) {
        match into.activities[start..].last_mut().filter(|last| of_everyone(last)) {
            Some(last) => last.commit.last = true,
            None => into.activities.push(mark(EVERYONE.to_owned(), None, commit)),
        }
        return;
    }
    let mut seen: Vec<String> = Vec::new();
    for activity in into.activities[start..].iter_mut().rev() {
        if !seen.contains(&activity.org) {
            activity.commit.last = true;
            seen.push(activity.org.clone());
        }
    }
    for org in &seen {
        open.orgs.remove(org);
    }
    for org in open.orgs {
        into.activities.push(mark(org, None, commit));
        commit.seq += 1;
    }
}

/// Makes an activity that shows nothing: the end of a transaction, or a mutation that changed no captured row.
fn mark(org: String, said: Option<&Authorship>, commit: Commit) -> Activity {
    Activity {
        id: ActivityId::default(),
        org,
        entity_type: String::new(),
        entity_id: None,
        action: Action::Mark,
        image: None,
        changed: Some("[]".into()),
        details: None,
        tx: said.map(|said| said.tx.to_json()),
        policy: None,
        schema: 0,
        commit,
    }
}

fn note(organisations: &mut BTreeMap<String, BTreeSet<String>>, activity: &Activity, into: &mut Mapped) {
    if organisations.entry(activity.entity_type.clone()).or_default().insert(activity.org.clone()) {
        into.organisations.push((activity.entity_type.clone(), activity.org.clone()));
    }
}

#[cfg(test)]
mod tests;
