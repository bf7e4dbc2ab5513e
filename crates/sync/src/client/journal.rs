//! What was decided without asking: by rule, or because a conflict ended by itself (CORE-14).
//!
//! Law: whatever a person typed and did not get is in here for 30 days, to be restored by an ordinary edit.

use serde::{Deserialize, Serialize};

use super::{EntityKey, Entry, EntryKey, Theirs};
use crate::form::{Form, Written};
use crate::json::Value;

/// A line is kept for so long, in milliseconds.
pub const KEPT_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// So many lines are kept; the oldest go first.
pub const LINES_MAX: usize = 1_000;

/// Why it was decided so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The server's value is the later one.
    LaterWins,
    /// Mine was the later one, upon another's.
    MineWins,
    /// Both edits of a text were merged.
    Merged,
    /// The server holds what I wanted.
    Same,
    /// The server holds what I began with.
    Unchanged,
    /// A member of its group gave way.
    WithItsGroup,
    /// It was made so long ago that its id says nothing any more.
    NewId,
    /// A person decided.
    Decided,
    /// A person took it back.
    Discarded,
    /// What it was about was deleted, by me.
    Deleted,
    /// It was typed about an edit that waits for a person, and is what that edit holds now.
    TakenUp,
    /// Another tab of this device wrote the field later.
    OtherTab,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Which entry.
    pub entry: EntryKey,
    /// The row.
    #[serde(flatten)]
    pub entity: EntityKey,
    /// The field; `None` for the whole row.
    pub field: Option<String>,
    /// What the edit began with.
    pub base: Option<Value>,
    /// What was typed.
    pub mine: Option<Value>,
    /// What the server has.
    pub theirs: Option<Theirs>,
    /// Why.
    pub rule: Rule,
}

impl Line {
    /// Makes a line about an entry.
    pub fn new(at_ms: u64, entry: &Entry, theirs: Option<Theirs>, rule: Rule) -> Line {
        Line {
            at_ms,
            entry: entry.key.clone(),
            entity: entry.entity.clone(),
            field: entry.change.field().map(str::to_owned),
            base: entry.base.clone(),
            mine: match &entry.change {
                super::Change::Create { data } => Some(Value::Object(data.clone())),
                super::Change::Value { value, .. } => Some(value.clone()),
                super::Change::Add { by, .. } => Some(by.clone()),
                super::Change::Elements { add, .. } => Some(Value::Array(add.clone())),
                super::Change::Delete { .. } => None,
            },
            theirs,
            rule,
        }
    }
}
