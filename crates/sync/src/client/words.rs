//! What the server says, read strictly enough to be trusted (protocol 3, 4, 5).
//!
//! Members that are not known here are passed over, so that a newer server is understood; what is missing or of another
//! type is nonsense, and is refused as a whole before anything is changed.

use antiphon_model::Xid;
use serde::{Deserialize, Serialize};

use crate::{
    form::{self, Form, Written},
    json::{Object, Value},
    ordered::{OrderedMap, OrderedSet},
};

/// An activity.
#[derive(Clone, Debug, PartialEq, Deserialize, Form)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// Its place in the log.
    pub activity_id: u64,
    /// The row's type.
    pub entity_type: String,
    /// The row; `None` for all of the type.
    pub entity_id: Option<String>,
    /// What was done.
    pub action: Action,
    /// The permitted row.
    #[serde(default)]
    pub data: Option<Object>,
    /// Fields that the change stamped.
    #[serde(default)]
    pub changed_keys: Vec<String>,
    /// Fields that did not change and are not at hand.
    #[serde(default)]
    pub unchanged: Vec<String>,
    /// Fields that are fetched apart.
    #[serde(default)]
    pub omitted: Object,
    /// The number of the type's shape.
    #[serde(default)]
    pub schema: Option<u32>,
    /// Who wrote.
    #[serde(default)]
    pub tx: Option<Tx>,
    /// Why a row left sight without being deleted.
    #[serde(default)]
    pub reason: Option<String>,
    /// When it was committed.
    #[serde(default)]
    pub created_at: Option<String>,
    /// Where it was committed.
    pub commit: Commit,
}

/// Who wrote, and by which mutation; `fields` where a change carries several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Form)]
#[serde(rename_all = "camelCase")]
pub struct Tx {
    /// The newest mutation.
    pub transaction_id: String,
    /// Who wrote.
    #[serde(default)]
    pub actor: Option<String>,
    /// The one field that the mutation named.
    #[serde(default)]
    pub changed_field: Option<String>,
    /// Ids by field.
    #[serde(default)]
    pub fields: OrderedMap<String, String>,
}

impl Tx {
    /// Returns every id that it confirms, each once.
    pub fn ids(&self) -> OrderedSet<&str> {
        [&self.transaction_id].into_iter().chain(self.fields.values()).map(String::as_str).collect()
    }
}

/// What an activity does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Form)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The row is there now.
    Create,
    /// The row changed.
    Update,
    /// The row is gone.
    Delete,
    /// All rows of the type are gone.
    Truncate,
}

/// The transaction of an activity.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Form)]
pub struct Commit {
    /// Its number.
    pub xid: Xid,
    /// Whether this is its last activity for this reader.
    #[serde(default)]
    pub last: bool,
}

/// A row of a list.
#[derive(Clone, Debug, PartialEq, Deserialize, Form)]
pub struct Item {
    /// The permitted row.
    pub data: Object,
    /// Its metadata.
    #[serde(default)]
    pub tx: Option<Tx>,
    /// Fields that are fetched apart.
    #[serde(default)]
    pub omitted: Object,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Deserialize, Form)]
pub struct Listed {
    /// The rows.
    pub items: Vec<Item>,
    /// Where the next page begins; `None` on the last.
    #[serde(default)]
    pub next: Option<String>,
    /// The position of the page.
    pub offset: u64,
    /// The generation of the log.
    pub epoch: u64,
    /// What the page saw.
    pub snapshot: String,
    /// What the reader may see.
    pub access: String,
    /// The number of the type's shape.
    pub schema: u32,
}

/// A position on a stream.
#[derive(Clone, Debug, PartialEq, Deserialize, Form)]
#[serde(rename_all = "camelCase")]
pub struct Offset {
    /// Everything up to here was delivered.
    pub offset: u64,
    /// The generation of the log.
    pub epoch: u64,
    /// What the reader may see.
    pub access: String,
    /// Up to when the source is known.
    #[serde(default)]
    pub as_of: Option<String>,
}

/// Mutations that lie at or below an offset.
#[derive(Clone, Debug, PartialEq, Deserialize, Form)]
#[serde(rename_all = "camelCase")]
pub struct Confirm {
    /// Their ids.
    pub transaction_ids: Vec<String>,
    /// The position.
    pub offset: u64,
}

/// The end of what a position is good for.
#[derive(Clone, Debug, PartialEq, Deserialize, Form)]
#[serde(rename_all = "camelCase")]
pub struct Reset {
    /// Why.
    pub code: String,
    /// The generation of the log.
    #[serde(default)]
    pub epoch: Option<u64>,
    /// Which types are to be listed again; all where none is named.
    #[serde(default)]
    pub entity_types: Vec<String>,
}

/// The end of a stream that may be resumed.
#[derive(Clone, Debug, PartialEq, Deserialize, Form)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Why.
    pub reason: String,
    /// When to come back, in milliseconds.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

/// The answer to a batch.
#[derive(Clone, Debug, PartialEq, Deserialize, Form)]
pub struct Results {
    /// One for each mutation.
    pub results: Vec<Outcome>,
}

/// What became of a mutation.
#[derive(Clone, Debug, PartialEq, Deserialize, Form)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Its id.
    pub transaction_id: String,
    /// How it went.
    pub status: Status,
    /// The row as it is; null where it is gone.
    #[serde(default)]
    pub data: Value,
    /// The transaction that applied it.
    #[serde(default)]
    pub commit: Option<Commit>,
    /// Why it had no effect.
    #[serde(default)]
    pub problem: Option<Problem>,
}

/// How a mutation went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Form)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It took effect now.
    Applied,
    /// It took effect before.
    Duplicate,
    /// The field has another id than expected.
    Conflict,
    /// It was refused.
    Rejected,
    /// Another mutation of the same atomic batch was refused.
    Aborted,
}

/// Why something was refused.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Form)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The stable code.
    pub code: String,
    /// More about it.
    #[serde(default)]
    pub detail: Option<String>,
    /// The newest id of the field or row.
    #[serde(default)]
    pub server_transaction_id: Option<String>,
    /// The field's value.
    #[serde(default)]
    pub server_value: Value,
    /// Who wrote it.
    #[serde(default)]
    pub server_actor: Option<String>,
    /// When it was written.
    #[serde(default)]
    pub changed_at: Option<String>,
    /// The server's clock.
    #[serde(default)]
    pub server_time: Option<Value>,
    /// Who deleted the row.
    #[serde(default)]
    pub deleted_by: Option<String>,
    /// When it was deleted.
    #[serde(default)]
    pub deleted_at: Option<String>,
}

/// What types there are, for this caller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Form, Written)]
pub struct Schema {
    /// Types by name.
    pub types: OrderedMap<String, TypeShape>,
}

/// A type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Form, Written)]
pub struct TypeShape {
    /// The number of this shape.
    pub schema: u32,
    /// The key's columns.
    pub key: Vec<String>,
    /// Its fields.
    #[serde(default)]
    pub fields: OrderedMap<String, FieldShape>,
    /// Fields that name rows of other types.
    #[serde(default)]
    pub refs: OrderedMap<String, String>,
    /// `all` or `on_demand`.
    #[serde(default)]
    pub sync: String,
    /// Fields that are judged as one.
    #[serde(default)]
    pub together: Vec<Vec<String>>,
    /// `offline` or `online`.
    #[serde(default)]
    pub create: String,
    /// What the caller may do.
    #[serde(default)]
    pub can: Can,
}

/// What the caller may do with rows of a type, at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Form, Written)]
pub struct Can {
    /// Whether it may make them.
    #[serde(default)]
    pub create: bool,
    /// Fields that it may change.
    #[serde(default)]
    pub update: Vec<String>,
    /// Whether it may remove them.
    #[serde(default)]
    pub delete: bool,
}

/// A field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Form, Written)]
pub struct FieldShape {
    /// Its Postgres type.
    #[serde(rename = "type", default)]
    pub ty: String,
    /// How two edits are settled.
    #[serde(default)]
    pub merge: Strategy,
    /// The values of an enum.
    #[serde(rename = "enum", default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// How two edits of one field are settled (CORE-07).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The later edit stands.
    #[default]
    Lww,
    /// A person decides.
    Manual,
    /// Texts are merged by words.
    Text,
    /// Additions are added up.
    Counter,
    /// Elements are added and removed.
    Set,
}

impl Schema {
    /// Returns how two edits of a field are settled.
    pub fn strategy(&self, entity_type: &str, field: &str) -> Strategy {
        let shape = self.types.get(entity_type).and_then(|shape| shape.fields.get(field));
        shape.map(|field| field.merge).unwrap_or_default()
    }
}

impl TypeShape {
    /// Returns the id of a row; `None` where a part of its key is missing.
    pub fn id_of(&self, data: &Object) -> Option<String> {
        let text = |name: &String| match data.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(form::text(number)),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        };
        match self.key.as_slice() {
            [one] => text(one),
            several => {
                let parts = several.iter().map(text).collect::<Option<Vec<String>>>()?;
                Some(form::text(&parts))
            }
        }
    }
}
