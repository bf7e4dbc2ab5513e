//! The words that every other room speaks: positions, values, changes, activities, entities, codes.
//!
//! Everything here is plain data with its laws beside it; each type is defined once, on this lowest floor.
//! The room does no IO, reads no clock and knows neither Postgres's wire format nor SQL.

mod access;
mod activity;
mod change;
mod codes;
mod entity;
mod hlc;
mod json;
mod lsn;
mod mutation;
mod offset;
mod rules;
mod source;
mod tx;
mod types;
mod visibility;
mod xid;

pub use access::{Access, AccessChange, Role};
pub use activity::{Action, Activity, Commit, View, write_time};
pub use change::{
    Cell, Cells, Change, ChangedRow, Column, OldRow, Relation, ReplicaIdentity, Transaction, Tuple, TupleError,
};
pub use codes::{Class, Code};
pub use entity::{EVERYONE, EntityType, Merge, ORG_COLUMN, Polling, RelationName, Sync, Tenancy};
pub use hlc::{TransactionId, TransactionIdError};
pub use json::{cut_object, top_level_keys, write_string};
pub use lsn::{Lsn, LsnError};
pub use mutation::{Mutation, MutationAction, Operation};
pub use offset::{ActivityId, EPOCH_SPAN, Epoch};
pub use rules::{Columns, Condition, Reader, Rights, Rule, Sight};
pub use source::{Checkpoint, PublicationMark, SourceIdentity, SourceState, SourceStatus, Status};
pub use tx::{EVERY_FIELD, SOURCE_SQL, Tx};
pub use types::{Type, TypeKind};
pub use visibility::{Visibility, VisibilityError};
pub use xid::Xid;

/// Microseconds since 1970-01-01T00:00:00Z; Postgres's own resolution of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Micros(pub i64);

/// Seconds between the Unix epoch and Postgres's own (2000-01-01), in microseconds.
pub const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;
