//! The body of a batch of mutations, read as protocol 5 has it.
//!
//! The strictness of the real one (members that stand twice, depth, numbers) is the room `server`'s and tested there.

use antiphon_model::{Code, Mutation, MutationAction, Operation, TransactionId};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::problem::Problem;

/// Edits of one batch.
const MUTATIONS_MAX: usize = 100;

/// Several edits.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) stream_offset: Option<i64>,
    pub(super) atomic: bool,
    pub(super) mutations: Vec<Mutation>,
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
    data: Option<Map<String, Value>>,
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
    add: Option<Value>,
    #[serde(default)]
    remove: Option<Value>,
}

/// Reads the body of a batch.
pub(super) fn batch(body: &str) -> Result<Batch, Problem> {
    let body: BatchBody = serde_json::from_str(body).map_err(|error| invalid(&error.to_string()))?;
    if body.mutations.is_empty() || body.mutations.len() > MUTATIONS_MAX {
        return Err(invalid("from 1 to 100 mutations are wanted"));
    }
    let mutations = body.mutations.into_iter().map(mutation).collect::<Result<_, _>>()?;
    Ok(Batch { stream_offset: body.stream_offset, atomic: body.atomic.unwrap_or(false), mutations })
}

fn mutation(body: MutationBody) -> Result<Mutation, Problem> {
    let tx = body.tx;
    let mutation = Mutation {
        entity_type: body.entity_type,
        entity_id: body.entity_id,
        action: MutationAction::parse(&body.action).ok_or_else(|| invalid("`action`"))?,
        data: body.data.unwrap_or_default(),
        transaction_id: TransactionId::parse(&tx.transaction_id).map_err(|error| invalid(&error.to_string()))?,
        source_id: tx.source_id,
        changed_field: tx.changed_field,
        expected: tx.expected_transaction_id,
        operation: tx.op.map(operation).transpose()?,
        schema: tx.schema,
        json_null: tx.json_null.unwrap_or(false),
    };
    match fits(&mutation) {
        true => Ok(mutation),
        false => Err(invalid("the parts of the edit do not belong together")),
    }
}

fn operation(body: OpBody) -> Result<Operation, Problem> {
    let list = |value: Value| match value {
        Value::Array(elements) => Ok(elements),
        _ => Err(invalid("`tx.op`")),
    };
    match (body.add, body.remove) {
        (Some(value @ (Value::Number(_) | Value::String(_))), None) => Ok(Operation::Add(value)),
        (None, None) => Err(invalid("`tx.op` is empty")),
        (add, remove) => Ok(Operation::Elements {
            add: add.map(list).transpose()?.unwrap_or_default(),
            remove: remove.map(list).transpose()?.unwrap_or_default(),
        }),
    }
}

fn fits(mutation: &Mutation) -> bool {
    let named = mutation.changed_field.as_ref();
    match mutation.action {
        MutationAction::Create => named.is_none() && mutation.expected.is_none() && mutation.operation.is_none(),
        MutationAction::Update => {
            let held = match &mutation.operation {
                Some(_) => mutation.data.is_empty(),
                None => mutation.data.len() == 1 && named.is_some_and(|field| mutation.data.contains_key(field)),
            };
            named.is_some() && held && mutation.entity_id.is_some()
        }
        MutationAction::Delete => named.is_none() && mutation.data.is_empty() && mutation.entity_id.is_some(),
    }
}

fn invalid(why: &str) -> Problem {
    Problem::new(Code::BodyInvalid, why)
}
