//! All that a client wants: requests, the stream, saves, messages to other tabs, and what it tells whoever shows the data.
//!
//! Law: it is a wish and nothing more; whoever drives the client carries it out, and says with an input what came of it.
//! The same shapes are the messages of the WebAssembly build (`SPEC.md`).

use serde::Serialize;

use super::{EntityKey, EntryKey, Line, Status, Write};
use crate::form::Written;

/// What is asked of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Written)]
#[serde(tag = "ask", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Request {
    /// `GET .../schema`.
    Schema,
    /// `GET .../entities/{type}?limit&after`.
    List {
        /// The type.
        entity_type: String,
        /// Where the page before ended.
        after: Option<String>,
        /// Rows at most.
        limit: usize,
    },
    /// `GET .../entities/{type}?where[..]&order&limit&after`.
    Subset {
        /// The type.
        entity_type: String,
        /// The parameters that make the subset, not encoded yet.
        parameters: Vec<(String, String)>,
        /// Where the page before ended.
        after: Option<String>,
        /// Rows at most.
        limit: usize,
    },
    /// `GET .../entities/{type}?ids=`.
    Ids {
        /// The type.
        entity_type: String,
        /// The rows.
        ids: Vec<String>,
    },
    /// `POST .../mutations`.
    Mutations {
        /// The body.
        body: String,
    },
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Serialize, Written)]
#[serde(tag = "want", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Output {
    /// Ask the server.
    Request {
        /// The request's number.
        id: u64,
        /// What is asked.
        request: Request,
    },
    /// The answer is of no interest any more.
    Cancel {
        /// The request's number.
        id: u64,
    },
    /// Open the stream, after closing any other.
    Open {
        /// The stream's number.
        stream: u64,
        /// The position.
        offset: u64,
        /// The generation of the log.
        epoch: u64,
        /// What the reader could see.
        access: String,
    },
    /// Close the stream.
    Close {
        /// The stream's number.
        stream: u64,
    },
    /// Save in one transaction, if the store's fence is still this.
    Save {
        /// The save's number.
        token: u64,
        /// What the store must hold, else it is refused as `fenced`. `None` where entries are only added, which any
        /// instance may; where one of them is there already nothing is saved, and `exists` is the reason.
        fence: Option<u64>,
        /// What to write.
        writes: Vec<Write>,
    },
    /// Raise the store's fence by one, where it is still this, in one transaction.
    Claim {
        /// The fence that it knows.
        beyond: u64,
    },
    /// Read the store in one transaction: everything, or the entries of the outbox.
    Read {
        /// The reading's number.
        token: u64,
        /// Whether everything is wanted.
        all: bool,
    },
    /// Say this to all other instances over the same store, if it can be said.
    Share {
        /// The message.
        message: String,
    },
    /// Tell whoever shows the data.
    Tell(Box<Told>),
}

/// What is told to whoever shows the data.
#[derive(Clone, Debug, PartialEq, Serialize, Written)]
#[serde(tag = "told", content = "about", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Told {
    /// These rows may look different.
    Rows(Vec<EntityKey>),
    /// These subscriptions became complete, incomplete or refused.
    Subsets(Vec<u64>),
    /// The outbox changed.
    Outbox,
    /// These edits are on the device.
    Saved(Vec<EntryKey>),
    /// These edits are in memory only.
    NotSaved {
        /// Why.
        reason: String,
    },
    /// The status changed.
    Status(Status),
    /// A rule decided; a hint is due where what was typed did not stand.
    Decided(Box<Line>),
    /// A person is asked.
    Conflict(EntryKey),
    /// An edit was refused.
    Failed(EntryKey),
    /// The token is not accepted: a new one is needed.
    TokenWanted,
    /// The clock, or a copy of the store, made ids unusable; pending edits have new ones.
    NewIdentity,
    /// The server said what cannot be understood; nothing was changed by it.
    Nonsense(String),
}

/// Why an edit was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Written)]
#[serde(rename_all = "camelCase")]
pub enum EditRefused {
    /// The outbox is full.
    OutboxFull,
    /// There is no such row.
    NoSuchRow,
    /// Nothing is known of the types yet.
    NoSchema,
    /// The database makes keys of this type, so it cannot be created here.
    OnlineOnly,
}

/// What a person did, and how it is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Written)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// The group; `None` where it took back what never left.
    pub group: Option<EntryKey>,
}
