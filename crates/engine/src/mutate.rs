//! The one door for writes: judges edits and applies them through the port, one at a time or all together (protocol 5).
//!
//! Laws: record, check, message and write are one transaction; only what was applied is recorded; whatever is refused
//! has changed nothing. A transaction that others were in the way of is tried again whole. What an edit means is decided
//! here and in `sync::conflict`; how rows are written is the adapter's business.

mod batch;
mod edit;

use std::{collections::BTreeMap, sync::Arc};

use antiphon_model::{Code, EntityType, Mutation, Reader, Xid};

use crate::{
    Fault,
    ports::{Author, HeldRow, Refusal, WriteError, Writes},
};

/// A transaction that others were in the way of is tried so many times in all.
const ATTEMPTS_MAX: usize = 6;

/// What became of one edit.
#[derive(Debug)]
pub enum Outcome {
    /// It was applied now.
    Applied(Applied),
    /// It was applied before, and nothing was changed now.
    Duplicate(Applied),
    /// It has no effect, for this reason.
    Refused(Refusal),
    /// Another edit of its atomic batch was refused: the one with this index.
    Aborted(usize),
}

/// An edit that has taken effect.
#[derive(Debug)]
pub struct Applied {
    /// The row as it is; `None` where it is gone.
    pub row: Option<Box<HeldRow>>,
    /// Who wrote what the row, or the deletion, is now.
    pub tx_text: Option<String>,
    /// The transaction that did it.
    pub xid: Xid,
}

/// Applies edits.
pub struct Door {
    writes: Arc<dyn Writes>,
    entities: BTreeMap<String, Arc<EntityType>>,
}

/// In whose name an edit is judged.
#[derive(Clone, Copy)]
struct Scope<'a> {
    author: &'a Author,
    reader: &'a Reader,
}

/// How one attempt went.
enum Attempt<T> {
    Done(T),
    Again(Fault),
}

impl Door {
    /// Makes the door to these types.
    pub fn new(writes: Arc<dyn Writes>, entities: impl IntoIterator<Item = Arc<EntityType>>) -> Door {
        Door { writes, entities: entities.into_iter().map(|entity| (entity.name.clone(), entity)).collect() }
    }

    /// Applies one edit in a transaction of its own.
    pub async fn one(&self, author: &Author, reader: &Reader, mutation: &Mutation) -> Result<Outcome, Fault> {
        let scope = Scope { author, reader };
        let mut last = None;
        for _ in 0..ATTEMPTS_MAX {
            match self.attempt(scope, mutation).await? {
                Attempt::Done(outcome) => return Ok(outcome),
                Attempt::Again(fault) => last = Some(fault),
            }
        }
        Err(given_up(last))
    }

    async fn attempt(&self, scope: Scope<'_>, mutation: &Mutation) -> Result<Attempt<Outcome>, Fault> {
        let entity = match self.entity(mutation) {
            Ok(entity) => entity,
            Err(refusal) => return Ok(Attempt::Done(Outcome::Refused(refusal))),
        };
        let done = async {
            let mut transaction = self.writes.begin(scope.author).await?;
            let outcome = edit::apply(&mut *transaction, entity, scope, mutation).await?;
            if matches!(outcome, Outcome::Applied(_)) {
                transaction.commit().await?;
            }
            Ok(outcome)
        };
        settle(done.await)
    }

    fn entity(&self, mutation: &Mutation) -> Result<&Arc<EntityType>, Refusal> {
        let unknown = || Refusal::new(Code::EntityTypeUnknown, "this type is not declared");
        let entity = self.entities.get(&mutation.entity_type).ok_or_else(unknown)?;
        if entity.org_column().is_none() {
            return Err(Refusal::new(Code::Forbidden, "what everyone reads is written by SQL only"));
        }
        Ok(entity)
    }
}

/// Turns how a transaction ended into an outcome, a reason to try again, or a fault.
fn settle(ended: Result<Outcome, WriteError>) -> Result<Attempt<Outcome>, Fault> {
    match ended {
        Ok(outcome) => Ok(Attempt::Done(outcome)),
        Err(WriteError::Refused(refusal)) => Ok(Attempt::Done(Outcome::Refused(refusal))),
        Err(WriteError::Again(fault)) => Ok(Attempt::Again(fault)),
        Err(WriteError::Fault(fault)) => Err(fault),
    }
}

fn given_up(last: Option<Fault>) -> Fault {
    let fault = Fault::new(Code::TryAgain, "others were in the way each time");
    match last {
        Some(cause) => fault.with_source(cause),
        None => fault,
    }
}

/// What every snapshot of any cluster sees: Postgres numbers what is older than all transactions so.
const FROZEN_XID: Xid = Xid::new(2);

/// The xid of an earlier application that an answer names: the recorded one where it can still be one.
///
/// A record with a number that was not given out yet comes from another cluster; its effect was here before any reader.
///
/// The number of the present transaction is no bound: one that began before it waits here for another to end.
fn applied_xid(recorded: Option<Xid>, next_xid: Xid) -> Xid {
    recorded.filter(|xid| *xid < next_xid).unwrap_or(FROZEN_XID)
}
