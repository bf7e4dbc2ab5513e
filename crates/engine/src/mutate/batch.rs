//! Several edits at once: each for itself, or all or none.
//!
//! All or none is one transaction: ids are recorded in their order and rows locked in the order of type and id, so that
//! two batches never wait for each other; edits are applied as asked, and those of one row become one statement.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_model::{Code, EntityType, Mutation, MutationAction, Reader, Tx};

use super::{ATTEMPTS_MAX, Door, Outcome, Scope, edit, given_up};
use crate::{
    Fault,
    ports::{Author, FieldWrite, HeldRow, Refusal, WriteError, WriteTransaction, Written},
};

impl Door {
    /// Applies each edit in a transaction of its own, in order.
    pub async fn each(&self, author: &Author, reader: &Reader, mutations: &[Mutation]) -> Result<Vec<Outcome>, Fault> {
        let mut outcomes = Vec::with_capacity(mutations.len());
        for mutation in mutations {
            outcomes.push(self.one(author, reader, mutation).await?);
        }
        Ok(outcomes)
    }

    /// Applies all edits or none.
    pub async fn all(&self, author: &Author, reader: &Reader, mutations: &[Mutation]) -> Result<Vec<Outcome>, Fault> {
        let scope = Scope { author, reader };
        let mut last = None;
        for _ in 0..ATTEMPTS_MAX {
            match self.attempt_all(scope, mutations).await {
                Ok(outcomes) => return Ok(outcomes),
                Err((_, WriteError::Fault(fault))) => return Err(fault),
                Err((_, WriteError::Again(fault))) => last = Some(fault),
                Err((at, WriteError::Refused(refusal))) => return Ok(refused(mutations.len(), at, refusal)),
            }
        }
        Err(given_up(last))
    }

    async fn attempt_all(&self, scope: Scope<'_>, mutations: &[Mutation]) -> Result<Vec<Outcome>, (usize, WriteError)> {
        let mut entities = Vec::with_capacity(mutations.len());
        for (index, mutation) in mutations.iter().enumerate() {
            entities.push(&**self.entity(mutation).map_err(|refusal| (index, refusal.into()))?);
        }
        let mut transaction = self.writes.begin(scope.author).await.map_err(|error| (0, error))?;
        let batch = Batch { scope, mutations, entities };
        let outcomes = batch.apply(&mut *transaction).await?;
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Applied(_))) {
            transaction.commit().await.map_err(|error| (mutations.len() - 1, error))?;
        }
        Ok(outcomes)
    }
}

/// What all are where one is refused.
fn refused(count: usize, at: usize, refusal: Refusal) -> Vec<Outcome> {
    let mut refusal = Some(refusal);
    let one = |index| match refusal.take_if(|_| index == at) {
        Some(refusal) => Outcome::Refused(refusal),
        None => Outcome::Aborted(at),
    };
    (0..count).map(one).collect()
}

struct Batch<'a> {
    scope: Scope<'a>,
    mutations: &'a [Mutation],
    entities: Vec<&'a EntityType>,
}

/// The row of an edit: type and id.
type Place<'a> = (&'a str, &'a str);
/// The ids of rows as they were when they were locked.
type Committed<'a> = BTreeMap<Place<'a>, String>;

impl<'a> Batch<'a> {
    async fn apply(&self, transaction: &mut dyn WriteTransaction) -> Result<Vec<Outcome>, (usize, WriteError)> {
        let mut outcomes: Vec<Option<Outcome>> = self.mutations.iter().map(|_| None).collect();
        for index in self.by_id()? {
            let claimed = edit::claim(transaction, self.entities[index], self.scope, &self.mutations[index]).await;
            outcomes[index] = claimed.map_err(|error| (index, error))?;
        }
        let open: Vec<usize> = (0..self.mutations.len()).filter(|index| outcomes[*index].is_none()).collect();
        let mut rows = self.lock(transaction, &open).await?;
        let id = |row: &HeldRow| row.tx.as_ref().map(|tx| tx.transaction_id.clone());
        let committed: Committed<'_> = rows.iter().filter_map(|(place, row)| Some((*place, id(row)?))).collect();
        let mut done = BTreeSet::new();
        for &index in &open {
            if done.contains(&index) {
                continue;
            }
            let together = self.together(index, &open);
            let written = self.write(transaction, &together, &mut rows, &committed).await?;
            done.extend(together.iter().copied());
            for (index, outcome) in written {
                outcomes[index] = Some(outcome);
            }
        }
        // INVARIANT: every edit is claimed before or written now.
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or(Outcome::Aborted(0))).collect())
    }

    /// The edits in the order of their ids; the same id twice is refused.
    fn by_id(&self) -> Result<Vec<usize>, (usize, WriteError)> {
        let mut order: Vec<usize> = (0..self.mutations.len()).collect();
        order.sort_by_key(|index| &self.mutations[*index].transaction_id);
        let same = order
            .windows(2)
            .find(|pair| self.mutations[pair[0]].transaction_id == self.mutations[pair[1]].transaction_id);
        match same {
            Some(pair) => {
                let refusal = Refusal::new(Code::IdempotencyMismatch, "the id stands twice in the batch");
                Err((pair[1], refusal.into()))
            }
            None => Ok(order),
        }
    }

    /// Locks the rows of updates and deletes, in the order of type and id.
    async fn lock(
        &self,
        transaction: &mut dyn WriteTransaction,
        open: &[usize],
    ) -> Result<BTreeMap<Place<'a>, HeldRow>, (usize, WriteError)> {
        let mut created: BTreeSet<Place<'a>> = BTreeSet::new();
        let mut places: BTreeMap<Place<'a>, usize> = BTreeMap::new();
        for &index in open {
            let Some(place) = self.place(index) else { continue };
            match self.mutations[index].action {
                MutationAction::Create => drop(created.insert(place)),
                _ if created.contains(&place) => {}
                _ => drop(places.entry(place).or_insert(index)),
            }
        }
        let mut rows = BTreeMap::new();
        for (place, index) in places {
            let held = edit::held(transaction, self.entities[index], self.scope, &self.mutations[index]).await;
            rows.insert(place, held.map_err(|error| (index, error))?);
        }
        Ok(rows)
    }

    /// The updates of one row that follow each other and name different fields, beginning with this edit.
    fn together(&self, first: usize, open: &[usize]) -> Vec<usize> {
        if self.mutations[first].action != MutationAction::Update {
            return vec![first];
        }
        let mut fields = BTreeSet::new();
        let same_row = open.iter().copied().filter(|index| *index >= first && self.place(*index) == self.place(first));
        same_row
            .take_while(|index| {
                let mutation = &self.mutations[*index];
                mutation.action == MutationAction::Update && fields.insert(mutation.changed_field.as_deref())
            })
            .collect()
    }

    /// Writes one edit, or several updates of one row, and returns what became of each.
    async fn write(
        &self,
        transaction: &mut dyn WriteTransaction,
        together: &[usize],
        rows: &mut BTreeMap<Place<'a>, HeldRow>,
        committed: &Committed<'a>,
    ) -> Result<Vec<(usize, Outcome)>, (usize, WriteError)> {
        let first = together[0];
        let (entity, mutation) = (self.entities[first], &self.mutations[first]);
        let at = |error: WriteError| (first, error);
        let actor = &self.scope.author.subject;
        if mutation.action == MutationAction::Create {
            let created = edit::create(transaction, entity, self.scope, mutation, &mutation.tx(actor)).await;
            return self.settle(transaction, together, &mutation.tx(actor), created.map_err(at)?, rows);
        }
        let held = match self.place(first).and_then(|place| rows.get(&place)).cloned() {
            Some(held) => held,
            None => edit::held(transaction, entity, self.scope, mutation).await.map_err(at)?,
        };
        if mutation.action == MutationAction::Delete {
            let committed = self.place(first).and_then(|place| committed.get(&place)).map(String::as_str);
            edit::check_delete(entity, self.scope, mutation, &held, committed).map_err(at)?;
            let deleted = transaction.delete(entity, &held, &mutation.tx(actor)).await.map_err(at)?;
            return self.settle(transaction, together, &mutation.tx(actor), deleted, rows);
        }
        let mut values = Vec::with_capacity(together.len());
        for &index in together {
            let value = edit::check_update(entity, self.scope, &self.mutations[index], &held);
            values.push(value.map_err(|error| (index, error))?);
        }
        let mut writes: Vec<FieldWrite<'_>> = Vec::with_capacity(together.len());
        for (&index, value) in together.iter().zip(&values) {
            writes.push(edit::write_of(&self.mutations[index], value.as_ref()).map_err(|error| (index, error))?);
        }
        let tx = self.tx(together);
        let updated = transaction.update(entity, &held, &writes, &tx).await.map_err(at)?;
        self.settle(transaction, together, &tx, updated, rows)
    }

    /// The metadata of one statement: of several edits the greatest id, and the id of each field.
    fn tx(&self, together: &[usize]) -> Tx {
        let edits = || together.iter().map(|index| &self.mutations[*index]);
        let greatest = edits().max_by_key(|mutation| &mutation.transaction_id);
        let mut tx = greatest.map(|mutation| mutation.tx(&self.scope.author.subject)).unwrap_or_default();
        if together.len() > 1 {
            let named = edits().filter_map(|mutation| {
                Some((mutation.changed_field.clone()?, mutation.transaction_id.as_str().to_owned()))
            });
            tx.fields = named.collect();
        }
        tx
    }

    fn settle(
        &self,
        transaction: &mut dyn WriteTransaction,
        together: &[usize],
        tx: &Tx,
        written: Written,
        rows: &mut BTreeMap<Place<'a>, HeldRow>,
    ) -> Result<Vec<(usize, Outcome)>, (usize, WriteError)> {
        let first = together[0];
        if let Some(place) = self.place(first) {
            match &written {
                Written::Row(row) => drop(rows.insert(place, (**row).clone())),
                Written::Gone | Written::Suppressed => drop(rows.remove(&place)),
            }
        }
        let one = |written| edit::applied(transaction, tx, written).map_err(|error| (first, error));
        together.iter().map(|index| Ok((*index, one(written.clone())?))).collect()
    }

    fn place(&self, index: usize) -> Option<Place<'a>> {
        let mutation = &self.mutations[index];
        Some((mutation.entity_type.as_str(), mutation.entity_id.as_deref()?))
    }
}
