//! An entry of the outbox: one mutation from the moment a person makes it to the moment it is confirmed (CORE-02).
//!
//! Laws: the key gives the order and never changes; the id may change, but only while the entry is known to have had no
//! effect under it; nothing here is forgotten by a restart: the record holds all of it.

use antiphon_model::{Mutation, MutationAction, Operation, TransactionId, Xid};
use serde::{Deserialize, Deserializer, Serialize};

use super::{State, same};
use crate::form::{self, Form, Written};
use crate::json::{Object, Value};

/// Names a row of any type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase")]
pub struct EntityKey {
    /// The type.
    pub entity_type: String,
    /// The row's id.
    pub entity_id: String,
}

impl EntityKey {
    /// Makes a name.
    pub fn new(entity_type: impl Into<String>, entity_id: impl Into<String>) -> EntityKey {
        EntityKey { entity_type: entity_type.into(), entity_id: entity_id.into() }
    }
}

/// The place of an entry in its outbox; later ones compare as greater.
pub type EntryKey = String;

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Form, Written)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Change {
    /// Makes the row.
    Create {
        /// Its fields.
        data: Object,
    },
    /// Gives a field a value.
    Value {
        /// The field.
        field: String,
        /// The value.
        value: Value,
        /// Whether a null is JSON's and not SQL's.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        json_null: bool,
    },
    /// Adds to a counter.
    Add {
        /// The field.
        field: String,
        /// How much: a number, or its text.
        by: Value,
    },
    /// Adds elements to a set and removes others.
    Elements {
        /// The field.
        field: String,
        /// Elements that are to be in it.
        add: Vec<Value>,
        /// Elements that are not to be in it.
        remove: Vec<Value>,
    },
    /// Removes the row.
    Delete {
        /// The row as it was last shown, to bring it back.
        row: Option<Object>,
    },
}

impl Change {
    /// Returns the one field that it is about.
    pub fn field(&self) -> Option<&str> {
        match self {
            Change::Value { field, .. } | Change::Add { field, .. } | Change::Elements { field, .. } => Some(field),
            Change::Create { .. } | Change::Delete { .. } => None,
        }
    }

    /// Tells whether it is applied to whatever is there, and so cannot conflict.
    pub fn is_operation(&self) -> bool {
        matches!(self, Change::Add { .. } | Change::Elements { .. })
    }

    /// Tells whether the row is made or removed.
    pub fn is_whole_row(&self) -> bool {
        self.field().is_none()
    }

    /// Returns the word on the wire.
    pub fn action(&self) -> MutationAction {
        match self {
            Change::Create { .. } => MutationAction::Create,
            Change::Delete { .. } => MutationAction::Delete,
            Change::Value { .. } | Change::Add { .. } | Change::Elements { .. } => MutationAction::Update,
        }
    }
}

/// The other side of a conflict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase")]
pub struct Theirs {
    /// The id of their change; `None` where they have none.
    pub id: Option<String>,
    /// Their value, or their row where the whole row is at stake.
    pub value: Value,
    /// Whether they deleted the row.
    #[serde(default)]
    pub gone: bool,
    /// Who it was.
    pub actor: Option<String>,
    /// When, as the server wrote it.
    pub at: Option<String>,
}

/// Why an entry was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Form, Written)]
pub struct Refused {
    /// The stable code.
    pub code: String,
    /// More about it.
    #[serde(default)]
    pub detail: String,
}

/// One mutation that is not confirmed yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its place.
    pub key: EntryKey,
    /// The key of the first entry of what was done in one go.
    pub group: EntryKey,
    /// The row.
    #[serde(flatten)]
    pub entity: EntityKey,
    /// What is done to it.
    pub change: Change,
    /// What the field held when the edit began; `None` where that is not known, or no field is named.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    #[form(with = Some)]
    pub base: Option<Value>,
    /// Its name on the wire.
    pub id: TransactionId,
    /// Which client made it.
    pub source: String,
    /// The id that the field, or for a delete the row, is expected to have.
    pub expected: Option<String>,
    /// Where it stands.
    pub state: State,
    /// Whether a follower added it, and the leader has not taken it in yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub added: bool,
    /// Whether it was handed to a transport under its present id.
    #[serde(default)]
    pub handed: bool,
    /// Whether a former handing under its present id had no definite outcome.
    #[serde(default)]
    pub doubt: bool,
    /// Answers about it that refused it for now.
    #[serde(default)]
    pub attempts: u32,
    /// Not before this moment, in milliseconds since 1970.
    #[serde(default)]
    pub due_ms: u64,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// The number of the shape under which it was made.
    pub schema: Option<u32>,
    /// The transaction that applied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xid: Option<Xid>,
    /// The generation of its type's rows that was read while it was on its way, or later: only what that saw can confirm it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<u32>,
    /// It gives way once this id, or a newer one, has come back; empty: once the row is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Whether a delete left the row in place, because the database turned it into a change.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    /// The other side of a conflict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theirs: Option<Theirs>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// A null that is there is a value, and not one that is not known.
fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Entry {
    /// Returns the value that it gives its field; `None` for operations and whole rows.
    pub fn mine(&self) -> Option<&Value> {
        match &self.change {
            Change::Value { value, .. } => Some(value),
            _ => None,
        }
    }

    /// Tells whether it may still be changed, merged or removed as if it had never left (CORE-03).
    pub fn is_untouched(&self) -> bool {
        !self.handed && self.state == State::Pending
    }

    /// Tells whether its key is one that an outbox makes: twelve digits and the maker's name.
    pub(super) fn has_proper_key(&self) -> bool {
        let parts = self.key.split_once('-');
        parts.is_some_and(|(digits, _)| digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// Tells whether it was handed over, and its outcome is not known.
    pub fn is_in_flight(&self) -> bool {
        self.state == State::Sent
    }

    /// Tells whether it may be in rows that are read now and may not: an answer that is no answer to what was asked first
    /// leaves it pending, and in doubt.
    pub fn is_unsettled(&self) -> bool {
        self.is_in_flight() || (self.state == State::Pending && self.doubt)
    }

    /// Tells whether others' values may meet it: what may have had its effect is settled under its own id first.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Pending | State::Conflicted) && !self.is_unsettled()
    }

    /// Tells whether a value of the server says the same.
    pub fn agrees_with(&self, value: &Value) -> bool {
        self.mine().is_some_and(|mine| same(mine, value))
    }

    /// Returns its JSON in a batch.
    pub fn to_wire(&self) -> Value {
        let mut tx = Object::new();
        tx.insert("transactionId".into(), self.id.as_str().into());
        tx.insert("sourceId".into(), self.source.as_str().into());
        tx.insert("changedField".into(), self.change.field().into());
        tx.insert("expectedTransactionId".into(), self.expected.as_deref().into());
        if let Some(schema) = self.schema {
            tx.insert("schema".into(), schema.into());
        }
        let data = match &self.change {
            Change::Create { data } => Value::Object(data.clone()),
            Change::Value { field, value, json_null } => {
                if *json_null {
                    tx.insert("jsonNull".into(), true.into());
                }
                Value::Object(Object::from_iter([(field.clone(), value.clone())]))
            }
            Change::Add { by, .. } => {
                tx.insert("op".into(), form::of([("add", by.clone())]));
                Value::Null
            }
            Change::Elements { add, remove, .. } => {
                tx.insert("op".into(), form::of([("add", add.clone().into()), ("remove", remove.clone().into())]));
                Value::Null
            }
            Change::Delete { .. } => Value::Null,
        };
        if self.change.is_operation() {
            // An operation is compared with nothing.
            tx.insert("expectedTransactionId".into(), Value::Null);
        }
        form::of([
            ("entityType", self.entity.entity_type.as_str().into()),
            ("entityId", self.entity.entity_id.as_str().into()),
            ("action", self.change.action().as_str().into()),
            ("data", data),
            ("tx", tx.into()),
        ])
    }

    /// Returns it as the server's half reads it, for worlds without HTTP.
    pub fn to_mutation(&self) -> Mutation {
        let plain = |values: &[Value]| values.iter().cloned().map(Into::into).collect();
        let operation = match &self.change {
            Change::Add { by, .. } => Some(Operation::Add(by.clone().into())),
            Change::Elements { add, remove, .. } => {
                Some(Operation::Elements { add: plain(add), remove: plain(remove) })
            }
            _ => None,
        };
        let data = match &self.change {
            Change::Create { data } => data.clone(),
            Change::Value { field, value, .. } => Object::from_iter([(field.clone(), value.clone())]),
            _ => Object::new(),
        };
        Mutation {
            entity_type: self.entity.entity_type.clone(),
            entity_id: Some(self.entity.entity_id.clone()),
            action: self.change.action(),
            data: data.into(),
            transaction_id: self.id.clone(),
            source_id: self.source.clone(),
            changed_field: self.change.field().map(str::to_owned),
            expected: if operation.is_some() { None } else { self.expected.clone() },
            operation,
            schema: self.schema,
            json_null: matches!(self.change, Change::Value { json_null: true, .. }),
        }
    }
}
