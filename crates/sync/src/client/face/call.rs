//! The forms of calls: what happens to a client, what a person does, and what is asked of it.
//!
//! Names are those of the protocol in camel case, times end in `Ms`. Where the machine takes JSON text (a body, a frame's
//! data), a call may hold the text, or the document itself, which is then written without spaces.

use serde::{Deserialize, Deserializer, Serialize};

use super::super::{Config, Decision, Edit, EntityKey, EntryKey, Input, Now, Owner, Record, Subset};
use crate::form::{self, Form, Refused};
use crate::json::Value;

/// One call.
#[derive(Clone, Debug, Serialize, Deserialize, Form)]
pub struct Call {
    /// The two clocks; as in the call before where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<Now>,
    /// What is done or asked.
    #[serde(flatten)]
    pub verb: Verb,
}

/// JSON text, or the document that is written as text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::String(text) => Text(text),
            document => Text(form::text(&document)),
        })
    }
}

impl Form for Text {
    fn blank() -> Text {
        Text(String::new())
    }

    fn fill(&mut self, document: Value, _: &mut Refused) {
        *self = Text(match document {
            Value::String(text) => text,
            document => form::text(&document),
        });
    }
}

/// What is done or asked.
#[derive(Clone, Debug, Serialize, Deserialize, Form)]
#[serde(tag = "do", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[expect(
    missing_docs,
    reason = "members are named as those of `Input`, `Edit` and the client's verbs, and mean the same"
)]
pub enum Verb {
    /// Makes a client of what its store held; a former one is forgotten.
    Start { config: Config, records: Vec<(Record, String)> },
    /// Asks for the outbox of a store that cannot be opened.
    StoreOutbox { owner: Owner, records: Vec<(Record, String)> },
    /// It speaks for its store from now on.
    Lead { fence: u64 },
    /// It does not speak for its store any more.
    Follow,
    /// There is a network, or there is none.
    Network { usable: bool },
    /// Time has passed.
    Tick,
    /// A request was answered.
    Answer { id: u64, status: u16, retry_after_ms: Option<u64>, server_ms: Option<u64>, body: Text },
    /// A request was not answered.
    NoAnswer { id: u64 },
    /// A frame of the stream came.
    Frame { stream: u64, event: String, data: Text },
    /// Something came that says only that the stream lives.
    Heard { stream: u64 },
    /// The stream could not be opened, or has ended.
    Ended { stream: u64, status: Option<u16>, retry_after_ms: Option<u64> },
    /// A save is durable.
    Saved { token: u64 },
    /// A save did not happen.
    NotSaved { token: u64, reason: String },
    /// The fence that was asked for was granted, or not.
    Claimed { fence: u64, won: bool },
    /// The tab can be seen, or not.
    Visible { visible: bool },
    /// Another instance said something.
    Shared { message: Text },
    /// The store was read.
    Read { token: u64, records: Vec<(Record, String)> },
    /// The store could not be read.
    NotRead { token: u64 },
    /// A person edits.
    Edit {
        edit: Edit,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upon: Option<String>,
    },
    /// A person decides about a conflict.
    Decide { key: EntryKey, seen: Option<String>, decision: Decision },
    /// A person sends a refused edit again.
    Retry { key: EntryKey },
    /// A person takes an edit back.
    Discard { key: EntryKey },
    /// A person undoes what was done last.
    Undo,
    /// A person does again what was undone last.
    Redo,
    /// A person brings an exported outbox back.
    Import { owner: Owner, export: Text },
    /// Asks for the outbox, to be kept elsewhere.
    Export { owner: Owner },
    /// Asks for a row as a person sees it.
    View {
        #[serde(flatten)]
        entity: EntityKey,
    },
    /// Asks for the ids of a type's rows.
    Ids { entity_type: String },
    /// Asks whether all rows of a type are here.
    Complete { entity_type: String },
    /// Asks what the client says of itself.
    Status,
    /// Asks for the outbox.
    Outbox,
    /// Asks for the journal.
    Journal,
    /// Wants a part of a type.
    Subscribe { subset: Subset },
    /// Does not want it any more.
    Release { subscription: u64 },
    /// Has a row on screen.
    Open {
        #[serde(flatten)]
        entity: EntityKey,
    },
    /// Has it on screen no more.
    Close {
        #[serde(flatten)]
        entity: EntityKey,
    },
    /// Asks what is here of a part that is wanted.
    Query { subscription: u64 },
    /// Asks what is different about it since this was asked last.
    Changes { subscription: u64 },
    /// Asks whether a row is here.
    Presence {
        #[serde(flatten)]
        entity: EntityKey,
    },
    /// Asks what others' edit of a text and mine are as one.
    Merge { base: String, mine: String, theirs: String },
    /// Asks what an entry waits for.
    Waits { key: EntryKey },
    /// Asks what would go with an entry.
    DiscardedWith { key: EntryKey },
    /// Asks up to where the server's changes are here.
    Position,
}

impl Verb {
    /// Returns the form of an input.
    pub fn of(input: &Input<'_>) -> Verb {
        match *input {
            Input::Lead { fence } => Verb::Lead { fence },
            Input::Follow => Verb::Follow,
            Input::Network { usable } => Verb::Network { usable },
            Input::Tick => Verb::Tick,
            Input::Answer { id, status, retry_after_ms, server_ms, body } => {
                Verb::Answer { id, status, retry_after_ms, server_ms, body: Text(body.to_owned()) }
            }
            Input::NoAnswer { id } => Verb::NoAnswer { id },
            Input::Frame { stream, event, data } => {
                Verb::Frame { stream, event: event.to_owned(), data: Text(data.to_owned()) }
            }
            Input::Heard { stream } => Verb::Heard { stream },
            Input::Ended { stream, status, retry_after_ms } => Verb::Ended { stream, status, retry_after_ms },
            Input::Saved { token } => Verb::Saved { token },
            Input::NotSaved { token, reason } => Verb::NotSaved { token, reason: reason.to_owned() },
            Input::Claimed { fence, won } => Verb::Claimed { fence, won },
            Input::Visible { visible } => Verb::Visible { visible },
            Input::Shared { message } => Verb::Shared { message: Text(message.to_owned()) },
            Input::Read { token, records } => Verb::Read { token, records: records.to_vec() },
            Input::NotRead { token } => Verb::NotRead { token },
        }
    }

    /// Hands the input that it is the form of to `take`; does nothing where it is none.
    pub(super) fn with_input(&self, take: impl FnOnce(Input<'_>)) {
        take(match self {
            Verb::Lead { fence } => Input::Lead { fence: *fence },
            Verb::Follow => Input::Follow,
            Verb::Network { usable } => Input::Network { usable: *usable },
            Verb::Tick => Input::Tick,
            Verb::Answer { id, status, retry_after_ms, server_ms, body } => Input::Answer {
                id: *id,
                status: *status,
                retry_after_ms: *retry_after_ms,
                server_ms: *server_ms,
                body: &body.0,
            },
            Verb::NoAnswer { id } => Input::NoAnswer { id: *id },
            Verb::Frame { stream, event, data } => Input::Frame { stream: *stream, event, data: &data.0 },
            Verb::Heard { stream } => Input::Heard { stream: *stream },
            Verb::Ended { stream, status, retry_after_ms } => {
                Input::Ended { stream: *stream, status: *status, retry_after_ms: *retry_after_ms }
            }
            Verb::Saved { token } => Input::Saved { token: *token },
            Verb::NotSaved { token, reason } => Input::NotSaved { token: *token, reason },
            Verb::Claimed { fence, won } => Input::Claimed { fence: *fence, won: *won },
            Verb::Visible { visible } => Input::Visible { visible: *visible },
            Verb::Shared { message } => Input::Shared { message: &message.0 },
            Verb::Read { token, records } => Input::Read { token: *token, records },
            Verb::NotRead { token } => Input::NotRead { token: *token },
            _ => return,
        });
    }
}
