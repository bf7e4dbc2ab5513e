//! Writing rows of the source: one transaction in which an edit is recorded, checked and applied (house 1, 4, 17).
//!
//! What may be written is decided above; a transaction of this port locks, writes, and says what it found.

use std::collections::BTreeMap;

use antiphon_model::{Code, EntityType, Mutation, Tx, Xid};
use async_trait::async_trait;
use serde_json::Value;

use super::RowImage;
use crate::Fault;

/// In whose name is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The organisation's id.
    pub org: String,
    /// The `sub`.
    pub subject: String,
}

/// Why something was not written.
#[derive(Debug)]
pub enum WriteError {
    /// The edit cannot be applied; nothing was changed.
    Refused(Refusal),
    /// Others were in the way; the whole transaction may be tried again.
    Again(Fault),
    /// Something else.
    Fault(Fault),
}

impl From<Fault> for WriteError {
    fn from(fault: Fault) -> WriteError {
        WriteError::Fault(fault)
    }
}

/// A refusal with its particulars (protocol 5).
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The code.
    pub code: Code,
    /// What is wrong, in words that hold no SQL.
    pub detail: String,
    /// The members of the problem.
    pub more: BTreeMap<&'static str, Value>,
}

impl Refusal {
    /// Makes a refusal.
    pub fn new(code: Code, detail: impl Into<String>) -> Refusal {
        Refusal { code, detail: detail.into(), more: BTreeMap::new() }
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Refusal {
        self.more.insert(name, value.into());
        self
    }
}

impl From<Refusal> for WriteError {
    fn from(refusal: Refusal) -> WriteError {
        WriteError::Refused(refusal)
    }
}

/// Whether a transaction id was applied before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Never; it is this transaction's now.
    New,
    /// It was.
    Known {
        /// Names what was applied.
        content_hash: String,
        /// The row that it concerned.
        entity_id: String,
        /// The transaction that applied it, where the record says so.
        xid: Option<Xid>,
        /// The first number that was not given out yet when the record was read.
        next_xid: Xid,
    },
}

/// A row under lock, or after a write.
#[derive(Clone, Debug)]
pub struct HeldRow {
    /// The entity's id.
    pub entity_id: String,
    /// The row as lists show it, whole.
    pub row: RowImage,
    /// The row's metadata as it stands, as JSON text.
    pub tx_text: Option<String>,
    /// The same, where it can be read.
    pub tx: Option<Tx>,
    /// The texts of the columns that policies read.
    pub policy: BTreeMap<String, Option<String>>,
}

/// What a statement did.
#[derive(Clone, Debug)]
pub enum Written {
    /// The row is this now.
    Row(Box<HeldRow>),
    /// The row is gone.
    Gone,
    /// No row was reported, and none was written.
    Suppressed,
}

/// Opens transactions.
///
/// Concurrency: any, bounded by a pool; when it is used up the call waits, then fails with `TRY_AGAIN`.
#[async_trait]
pub trait Writes: Send + Sync {
    /// Opens a transaction in an author's name.
    async fn begin(&self, author: &Author) -> Result<Box<dyn WriteTransaction>, WriteError>;
}

/// One transaction; dropped without a commit, it is rolled back.
///
/// Durability: none before `commit` returns, which is synchronous. Order: as called. Repetition: a claim of an id that
/// another transaction holds waits for that one's end. Concurrency: one call at a time.
#[async_trait]
pub trait WriteTransaction: Send {
    /// Returns the transaction's number.
    fn xid(&self) -> Xid;

    /// Returns the database's clock at the beginning, in milliseconds.
    fn now_ms(&self) -> u64;

    /// Records an id for this transaction, or says what it was used for.
    async fn claim(&mut self, mutation: &Mutation, content_hash: &str) -> Result<Claim, WriteError>;

    /// Notes the row of a claim that named none.
    async fn claimed(&mut self, mutation: &Mutation, entity_id: &str) -> Result<(), WriteError>;

    /// Locks a row; `None` where the organisation has none of this id.
    async fn lock(&mut self, entity: &EntityType, entity_id: &str) -> Result<Option<HeldRow>, WriteError>;

    /// Reads a row as it stands, without a lock.
    async fn read(&mut self, entity: &EntityType, entity_id: &str) -> Result<Option<HeldRow>, WriteError>;

    /// Makes a row of these values.
    async fn create(&mut self, entity: &EntityType, mutation: &Mutation, tx: &Tx) -> Result<Written, WriteError>;

    /// Changes fields of a locked row.
    async fn update(
        &mut self,
        entity: &EntityType,
        held: &HeldRow,
        values: &[FieldWrite<'_>],
        tx: &Tx,
    ) -> Result<Written, WriteError>;

    /// Removes a locked row.
    async fn delete(&mut self, entity: &EntityType, held: &HeldRow, tx: &Tx) -> Result<Written, WriteError>;

    /// Checks deferred constraints and commits.
    async fn commit(self: Box<Self>) -> Result<(), WriteError>;
}

/// One field's new value.
#[derive(Clone, Copy, Debug)]
pub enum FieldWrite<'a> {
    /// It becomes this.
    Set {
        /// The field.
        field: &'a str,
        /// Its value.
        value: &'a Value,
        /// Whether null is JSON's.
        json_null: bool,
    },
    /// This is added to it.
    Add {
        /// The field.
        field: &'a str,
        /// How much.
        value: &'a Value,
    },
}

impl FieldWrite<'_> {
    /// Returns the field.
    pub fn field(&self) -> &str {
        match self {
            FieldWrite::Set { field, .. } | FieldWrite::Add { field, .. } => field,
        }
    }
}
