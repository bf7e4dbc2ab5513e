//! A mutation: one edit that a client asks for, named by its transaction id (protocol 5).
//!
//! The content of a mutation is what its id stands for: the same id with other content is another mutation, and refused.
//! The expected id is not part of it, because a rebase changes it.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{TransactionId, Tx};

/// What a mutation does to its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MutationAction {
    /// Makes the row.
    Create,
    /// Changes one field.
    Update,
    /// Removes the row.
    Delete,
}

impl MutationAction {
    /// Returns the word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            MutationAction::Create => "create",
            MutationAction::Update => "update",
            MutationAction::Delete => "delete",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<MutationAction> {
        let all = [MutationAction::Create, MutationAction::Update, MutationAction::Delete];
        all.into_iter().find(|action| action.as_str() == text)
    }
}

/// An operation instead of a value: it is applied under the row's lock and never conflicts.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Adds to a counter.
    Add(Value),
    /// Adds elements to a set and removes others.
    Elements {
        /// Elements that are to be in it.
        add: Vec<Value>,
        /// Elements that are not to be in it.
        remove: Vec<Value>,
    },
}

/// One edit.
#[derive(Clone, Debug)]
pub struct Mutation {
    /// The type of the row.
    pub entity_type: String,
    /// The row; `None` where the database is to make its key.
    pub entity_id: Option<String>,
    /// What is done.
    pub action: MutationAction,
    /// The values by field.
    pub data: Map<String, Value>,
    /// The edit's name.
    pub transaction_id: TransactionId,
    /// Which client asks.
    pub source_id: String,
    /// The one field that an update names.
    pub changed_field: Option<String>,
    /// The id that the field, or for a delete the row, is expected to have.
    pub expected: Option<String>,
    /// An operation in place of a value.
    pub operation: Option<Operation>,
    /// The number of the shape that the client knows.
    pub schema: Option<u32>,
    /// Whether a null in `data` is JSON's and not SQL's.
    pub json_null: bool,
}

impl Mutation {
    /// Returns what the mutation writes into the row's metadata, by whom.
    pub fn tx(&self, actor: &str) -> Tx {
        Tx {
            transaction_id: self.transaction_id.as_str().to_owned(),
            source_id: self.source_id.clone(),
            actor: Some(actor.to_owned()),
            changed_field: self.changed_field.clone(),
            fields: Default::default(),
        }
    }

    /// Names the content: equal text, equal mutation.
    pub fn content_hash(&self, org: &str) -> String {
        let mut text = String::new();
        let operation = match &self.operation {
            None => Value::Null,
            Some(Operation::Add(value)) => serde_json::json!({ "add": value }),
            Some(Operation::Elements { add, remove }) => serde_json::json!({ "add": add, "remove": remove }),
        };
        let parts = serde_json::json!([
            "mutation 1",
            org,
            self.entity_type,
            self.entity_id,
            self.action.as_str(),
            self.changed_field,
            self.json_null,
            operation,
            Value::Object(self.data.clone()),
        ]);
        canonical(&mut text, &parts);
        Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Writes JSON with the members of objects in order.
fn canonical(out: &mut String, value: &Value) {
    match value {
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort_unstable();
            out.push('{');
            for name in names {
                crate::write_string(out, name);
                out.push(':');
                canonical(out, &members[name]);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(elements) => {
            out.push('[');
            for element in elements {
                canonical(out, element);
                out.push(',');
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn edit() -> Mutation {
        Mutation {
            entity_type: "page".into(),
            entity_id: Some("7".into()),
            action: MutationAction::Update,
            data: json!({ "title": { "b": 1, "a": [1, 2] } }).as_object().unwrap().clone(),
            transaction_id: TransactionId::parse("1769860800123.0000.a").unwrap(),
            source_id: "s".into(),
            changed_field: Some("title".into()),
            expected: None,
            operation: None,
            schema: None,
            json_null: false,
        }
    }

    #[test]
    fn content_is_what_is_written_and_where_but_not_what_is_expected_sy_28() {
        let hash = edit().content_hash("acme");
        let reordered = json!({ "title": { "a": [1, 2], "b": 1 } }).as_object().unwrap().clone();
        let same = Mutation { data: reordered, expected: Some("x".into()), source_id: "t".into(), ..edit() };
        assert_eq!(same.content_hash("acme"), hash);
        for other in [
            Mutation { entity_id: Some("8".into()), ..edit() },
            Mutation { entity_type: "task".into(), ..edit() },
            Mutation { data: json!({ "title": 1 }).as_object().unwrap().clone(), ..edit() },
            Mutation { operation: Some(Operation::Add(json!(1))), ..edit() },
            Mutation { action: MutationAction::Delete, ..edit() },
            Mutation { json_null: true, ..edit() },
        ] {
            assert_ne!(other.content_hash("acme"), hash, "{other:?}");
        }
        assert_ne!(edit().content_hash("globex"), hash);
    }
}
