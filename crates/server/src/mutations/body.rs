//! The bodies of edits, read strictly: unknown members, members that stand twice and deep nesting are refused.
//!
//! Limits come before parsing: the size is bounded by the router, the depth is counted first (SEC-05).

mod numbers;

use antiphon_model::{Code, Mutation, MutationAction, Operation, SOURCE_SQL, TransactionId};
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::problem::Problem;

/// Values may be nested so deep.
const DEPTH_MAX: usize = 64;
/// Edits of one batch.
const MUTATIONS_MAX: usize = 100;
/// The name of a client may have so many bytes.
const SOURCE_BYTES_MAX: usize = 200;

/// Several edits.
pub(crate) struct Batch {
    pub(crate) stream_offset: Option<i64>,
    pub(crate) atomic: bool,
    pub(crate) mutations: Vec<Mutation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SingleBody {
    #[serde(default)]
    data: Option<Strict>,
    tx: TxBody,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BatchBody {
    #[serde(default)]
    stream_offset: Option<i64>,
    #[serde(default)]
    atomic: Option<bool>,
    mutations: Vec<MutationBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MutationBody {
    entity_type: String,
    #[serde(default)]
    entity_id: Option<String>,
    action: String,
    #[serde(default)]
    data: Option<Strict>,
    tx: TxBody,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TxBody {
    transaction_id: String,
    source_id: String,
    #[serde(default)]
    changed_field: Option<String>,
    #[serde(default)]
    expected_transaction_id: Option<String>,
    #[serde(default)]
    op: Option<OpBody>,
    #[serde(default)]
    schema: Option<u32>,
    #[serde(default)]
    json_null: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpBody {
    #[serde(default)]
    add: Option<Strict>,
    #[serde(default)]
    remove: Option<Strict>,
}

/// Reads the body of one edit; the address names the entity.
pub(super) fn single(
    bytes: &[u8],
    entity_type: String,
    entity_id: Option<String>,
    action: MutationAction,
) -> Result<Mutation, Problem> {
    let body: SingleBody = parse(bytes)?;
    mutation(MutationBody { entity_type, entity_id, action: action.as_str().to_owned(), data: body.data, tx: body.tx })
}

/// Reads the body of a batch.
pub(super) fn batch(bytes: &[u8]) -> Result<Batch, Problem> {
    let body: BatchBody = parse(bytes)?;
    whole(body.mutations, body.atomic.unwrap_or(false), body.stream_offset)
}

/// Reads a list of edits that came by another way.
pub(super) fn parts(mutations: &str, atomic: bool, stream_offset: Option<i64>) -> Result<Batch, Problem> {
    whole(parse(mutations.as_bytes())?, atomic, stream_offset)
}

fn whole(bodies: Vec<MutationBody>, atomic: bool, stream_offset: Option<i64>) -> Result<Batch, Problem> {
    if bodies.is_empty() || bodies.len() > MUTATIONS_MAX {
        return Err(invalid(format!("from 1 to {MUTATIONS_MAX} mutations are wanted")));
    }
    let mutations = bodies.into_iter().map(mutation).collect::<Result<_, _>>()?;
    Ok(Batch { stream_offset, atomic, mutations })
}

fn mutation(body: MutationBody) -> Result<Mutation, Problem> {
    let MutationBody { entity_type, entity_id, action, data, tx } = body;
    let action =
        MutationAction::parse(&action).ok_or_else(|| invalid("`action`: create, update or delete is wanted"))?;
    let transaction_id =
        TransactionId::parse(&tx.transaction_id).map_err(|error| invalid(format!("`tx.transactionId`: {error}")))?;
    // Ids and the source that mark plain SQL are not a client's to take.
    if transaction_id.node().starts_with("sql-") || tx.source_id == SOURCE_SQL {
        return Err(invalid("a node that begins with `sql-`, and the source `sql`, are the server's"));
    }
    if tx.source_id.is_empty() || tx.source_id.len() > SOURCE_BYTES_MAX || tx.source_id.contains('\0') {
        return Err(invalid("`tx.sourceId`: a text of 1 to 200 bytes is wanted"));
    }
    let texts = [entity_id.as_deref(), tx.changed_field.as_deref(), tx.expected_transaction_id.as_deref()];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(invalid("no text of the database holds the character 0"));
    }
    let data = match data.map(|data| data.0) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(invalid("`data`: an object is wanted")),
    };
    let operation = tx.op.map(operation).transpose()?;
    let mutation = Mutation {
        entity_type,
        entity_id,
        action,
        data,
        transaction_id,
        source_id: tx.source_id,
        changed_field: tx.changed_field,
        expected: tx.expected_transaction_id,
        operation,
        schema: tx.schema,
        json_null: tx.json_null.unwrap_or(false),
    };
    fits(&mutation)?;
    Ok(mutation)
}

fn operation(body: OpBody) -> Result<Operation, Problem> {
    let list = |value: Strict| match value.0 {
        Value::Array(elements) => Ok(elements),
        _ => Err(invalid("`tx.op`: a number to add, or arrays of elements to add and remove, are wanted")),
    };
    match (body.add, body.remove) {
        (Some(Strict(value @ (Value::Number(_) | Value::String(_)))), None) => Ok(Operation::Add(value)),
        (None, None) => Err(invalid("`tx.op` is empty")),
        (add, remove) => Ok(Operation::Elements {
            add: add.map(list).transpose()?.unwrap_or_default(),
            remove: remove.map(list).transpose()?.unwrap_or_default(),
        }),
    }
}

/// Checks that the parts of an edit belong together.
fn fits(mutation: &Mutation) -> Result<(), Problem> {
    match mutation.action {
        MutationAction::Create => {
            if mutation.changed_field.is_some() || mutation.expected.is_some() || mutation.operation.is_some() {
                return Err(invalid("a create names no field, no expected id and no operation"));
            }
        }
        MutationAction::Update => {
            let Some(field) = &mutation.changed_field else { return Err(invalid("`tx.changedField` is missing")) };
            let held = match mutation.operation {
                Some(_) => mutation.data.is_empty(),
                None => mutation.data.len() == 1 && mutation.data.contains_key(field),
            };
            if !held {
                return Err(invalid(
                    "`data` holds exactly the field that `tx.changedField` names, or `tx.op` stands for it",
                ));
            }
            if mutation.entity_id.is_none() {
                return Err(invalid("`entityId` is missing"));
            }
        }
        MutationAction::Delete => {
            if mutation.changed_field.is_some() || !mutation.data.is_empty() || mutation.operation.is_some() {
                return Err(invalid("a delete names no field and no value"));
            }
            if mutation.entity_id.is_none() {
                return Err(invalid("`entityId` is missing"));
            }
        }
    }
    Ok(())
}

fn parse<T: de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if depth(bytes) > DEPTH_MAX {
        return Err(invalid(format!("values may be nested {DEPTH_MAX} deep")));
    }
    if let Some(number) = numbers::inexact(bytes) {
        return Err(invalid(format!("the number {number} would lose digits; send it as a string")));
    }
    serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))
}

/// Counts how deep brackets are nested outside of texts.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut most, mut text, mut escaped) = (0usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if text => escaped = true,
            b'"' => text = !text,
            b'{' | b'[' if !text => {
                depth += 1;
                most = most.max(depth);
            }
            b'}' | b']' if !text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    most
}

fn invalid(why: impl Into<String>) -> Problem {
    Problem::new(Code::BodyInvalid, why)
}

/// A value without members that stand twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(Strict(element)) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Strict(value))) = map.next_entry::<String, Strict>()? {
            if members.insert(name, value).is_some() {
                return Err(de::Error::custom("a member stands twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(body: &str) -> Result<Mutation, Problem> {
        single(body.as_bytes(), "page".into(), Some("7".into()), MutationAction::Update)
    }

    #[test]
    fn a_patch_holds_exactly_its_field() {
        let tx = r#""transactionId":"1769860800123.0000.a","sourceId":"s","changedField":"title""#;
        assert!(patch(&format!(r#"{{"data":{{"title":"x"}},"tx":{{{tx}}}}}"#)).is_ok());
        assert!(patch(&format!(r#"{{"tx":{{{tx},"op":{{"add":3}}}}}}"#)).is_ok());
        for bad in [
            "".to_owned(),
            "[]".to_owned(),
            "null".to_owned(),
            format!(r#"{{"data":{{"title":"x","body":"y"}},"tx":{{{tx}}}}}"#),
            format!(r#"{{"data":{{}},"tx":{{{tx}}}}}"#),
            format!(r#"{{"data":{{"title":"x"}},"tx":{{{tx}}},"more":1}}"#),
            format!(r#"{{"data":{{"title":"x"}},"tx":{{{tx},"more":1}}}}"#),
            format!(r#"{{"data":{{"title":"x","title":"y"}},"tx":{{{tx}}}}}"#),
            format!(r#"{{"data":{{"title":{{"a":1,"a":2}}}},"tx":{{{tx}}}}}"#),
            format!(r#"{{"data":{{"title":"x"}},"tx":{{{tx},"op":{{}}}}}}"#),
            format!(r#"{{"data":{{"title":{}1{}}},"tx":{{{tx}}}}}"#, "[".repeat(70), "]".repeat(70)),
            r#"{"data":{"title":"x"},"tx":{"transactionId":"1","sourceId":"s","changedField":"title"}}"#.to_owned(),
        ] {
            assert_eq!(patch(&bad).err().map(|problem| problem.code()), Some(Code::BodyInvalid), "{bad}");
        }
    }

    #[test]
    fn depth_is_counted_outside_of_texts_sec_05() {
        assert_eq!(depth(br#"{"a":"[[[[\"[[","b":[1,[2]]}"#), 3);
        assert_eq!(depth(&b"[".repeat(100_000)), 100_000);
    }
}
