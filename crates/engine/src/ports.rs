//! What the engine's tasks need of the world: the smallest traits, implemented one floor up.
//!
//! Each trait states durability, order, repetition and concurrency. Nothing here knows SQL.

mod activity_log;
mod catalogue;
mod directory;
mod log_writer;
mod notices;
mod rows;
mod source;
mod tickets;
mod writes;

pub use activity_log::{ActivityLog, Deleted, DeletedPage, EntityRef, Head, Scope, Span};
pub(crate) use catalogue::fingerprint;
pub use catalogue::{Catalogue, Field, FieldDefault, Schemas, Shape};
pub use directory::{Directory, Member, Membership, OrgNames, Principal, Shown, TokenScope, TokenScopes};
pub use log_writer::{Batch, Leadership, Lease, LogFlusher, LogWriter, SnapshotProgress, Tenure};
pub use notices::{Heard, Hint, LocalNotices, Notice, Notices};
pub use rows::{Comparison, FieldQuery, FieldValue, Filter, ListQuery, Order, RowImage, RowPage, Rows};
pub use source::{Capture, Captured, ChunkRows, SnapshotTable, Source, Waits};
pub use tickets::{Ticket, Tickets};
pub use writes::{Author, Claim, FieldWrite, HeldRow, Refusal, WriteError, WriteTransaction, Writes, Written};
