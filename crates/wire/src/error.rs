//! Why bytes of the replication stream were not understood.
//!
//! The enumeration is closed and holds data, never text from outside: messages may be shown to operators as they are.
//! Every variant but a peer's silence means that capture must stop before the message and acknowledge nothing.

use antiphon_model::{Code, TupleError};

/// Bytes or an order of messages that the protocol does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The message ends inside a field.
    #[error("the message {tag:?} ends early")]
    Truncated {
        /// The message's kind.
        tag: char,
    },
    /// The message goes on after its last field, so that it was read out of its place.
    #[error("the message {tag:?} has {bytes} bytes too many")]
    Trailing {
        /// The message's kind.
        tag: char,
        /// How many bytes are left.
        bytes: usize,
    },
    /// A kind of message that pgoutput does not define.
    #[error("the message kind {kind} is not known")]
    UnknownMessage {
        /// The byte found.
        kind: u8,
    },
    /// A byte inside a message that has no meaning there.
    #[error("the message {tag:?} holds the unknown mark {mark}")]
    UnknownMark {
        /// The message's kind.
        tag: char,
        /// The byte found.
        mark: u8,
    },
    /// A row whose columns cannot be walked.
    #[error("a row cannot be read: {0}")]
    Tuple(#[from] TupleError),
    /// A row of a table that was not described before.
    #[error("a row of the table with OID {oid} came before its description")]
    UnknownRelation {
        /// The table's OID.
        oid: u32,
    },
    /// A row whose number of columns differs from its table's description.
    #[error("a row of the table with OID {oid} has {found} columns in place of {expected}")]
    ColumnCount {
        /// The table's OID.
        oid: u32,
        /// The number described.
        expected: usize,
        /// The number found.
        found: usize,
    },
    /// A message where the protocol does not allow it, such as a row outside a transaction.
    #[error("the message {tag:?} came out of place")]
    OutOfPlace {
        /// The message's kind.
        tag: char,
    },
    /// A two-phase message although two-phase decoding was not asked for.
    #[error("the two-phase message {tag:?} came although it was not asked for")]
    TwoPhase {
        /// The message's kind.
        tag: char,
    },
    /// A spooled transaction whose bytes are not those that were written.
    #[error("the spooled transaction is damaged at byte {at_bytes}")]
    Spool {
        /// Where.
        at_bytes: u64,
    },
    /// A frame that is neither log data nor a keepalive.
    #[error("the frame kind {kind} is not known")]
    UnknownFrame {
        /// The byte found.
        kind: u8,
    },
    /// A frame shorter than its header.
    #[error("a frame of {bytes} bytes is shorter than its header")]
    ShortFrame {
        /// Its length.
        bytes: usize,
    },
}

impl Error {
    /// Returns the stable code that a source's state shows for it.
    pub const fn code(&self) -> Code {
        Code::DecodeFailed
    }
}
