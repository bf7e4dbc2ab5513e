//! Postgres's replication bytes and what they mean: session, pgoutput, relations, values, transactions.
//!
//! Everything here is a pure decoder or a machine without IO: time is an argument, bytes come in and meaning goes out.
//! Law: bytes from outside never panic, never allocate by a length that was not checked against the bytes at hand, and
//! never loop without consuming (SE-38). The room knows no socket, no tokio, no SQL and no clock.

mod assembler;
mod changes;
mod error;
mod frames;
mod pgoutput;
mod relations;
mod session;
mod spool;
mod type_table;
mod values;

pub use assembler::{Assembler, Counters, Limits, Output as AssemblerOutput};
pub use error::Error;
pub use frames::{Frame, StatusUpdate, parse_frame};
pub use pgoutput::{
    BeginPrepare, Commit, Message, OldKind, PreparedCommit, RawColumn, RawRelation, RowMessage, decode,
};
pub use relations::RelationCache;
pub use session::{Config as SessionConfig, Input as SessionInput, Output as SessionOutput, Session};
pub use spool::{CommitHeader, Part, PartLimits, SpoolReader};
pub use type_table::TypeTable;
pub use values::{Encoded, ValueError, encode_binary, encode_cell, encode_text, parse_raw_value, parse_value};
