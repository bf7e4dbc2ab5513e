//! One edit inside a transaction: claim its id, look at the row under its lock, judge, write.
//!
//! Order of refusals: the clock, the id's record, the row's being there, the right to write, the newest id, the value.

use std::sync::Arc;

use antiphon_model::{
    Code, Columns, EntityType, Merge, Mutation, MutationAction, Operation, Rights, TransactionId, Tx, write_time,
};
use antiphon_sync::{Verdict, elements, judge, judge_clock};
use serde_json::{Map, Value};

use super::{Applied, Outcome, Scope, applied_xid};
use crate::ports::{Claim, FieldWrite, HeldRow, Refusal, WriteError, WriteTransaction, Written};

/// A caller's word is shown to it again up to this length.
const FIELD_CHARS_MAX: usize = 64;

/// Applies an edit; the caller commits.
pub(super) async fn apply(
    transaction: &mut dyn WriteTransaction,
    entity: &Arc<EntityType>,
    scope: Scope<'_>,
    mutation: &Mutation,
) -> Result<Outcome, WriteError> {
    if let Some(outcome) = claim(transaction, entity, scope, mutation).await? {
        return Ok(outcome);
    }
    let tx = mutation.tx(&scope.author.subject);
    let written = match mutation.action {
        MutationAction::Create => create(transaction, entity, scope, mutation, &tx).await?,
        MutationAction::Update => {
            let held = held(transaction, entity, scope, mutation).await?;
            let value = check_update(entity, scope, mutation, &held)?;
            let write = write_of(mutation, value.as_ref())?;
            transaction.update(entity, &held, &[write], &tx).await?
        }
        MutationAction::Delete => {
            let held = held(transaction, entity, scope, mutation).await?;
            check_delete(entity, scope, mutation, &held, None)?;
            transaction.delete(entity, &held, &tx).await?
        }
    };
    applied(transaction, &tx, written)
}

/// Makes the outcome of a statement.
pub(super) fn applied(transaction: &dyn WriteTransaction, tx: &Tx, written: Written) -> Result<Outcome, WriteError> {
    let (row, tx_text) = match written {
        Written::Row(row) => {
            let text = row.tx_text.clone();
            (Some(row), text)
        }
        Written::Gone => (None, Some(tx.to_json())),
        Written::Suppressed => {
            return Err(Refusal::new(Code::Suppressed, "the statement reported no row").into());
        }
    };
    Ok(Outcome::Applied(Applied { row, tx_text, xid: transaction.xid() }))
}

/// Records the edit's id; an outcome where it was applied before.
pub(super) async fn claim(
    transaction: &mut dyn WriteTransaction,
    entity: &EntityType,
    scope: Scope<'_>,
    mutation: &Mutation,
) -> Result<Option<Outcome>, WriteError> {
    let id = &mutation.transaction_id;
    let now_ms = transaction.now_ms();
    match judge_clock(id, mutation.expected.as_deref(), now_ms) {
        Verdict::ClockAhead => {
            let refusal = Refusal::new(Code::ClockAhead, "the id lies more than five minutes ahead of the server");
            return Err(refusal.with("serverTime", time(now_ms)).into());
        }
        Verdict::TooOld => {
            return Err(Refusal::new(Code::TooOldToProve, "the id is more than thirty days old").into());
        }
        // Said once the row is known, so that the answer names the server's id.
        Verdict::ClockBehind | Verdict::Apply | Verdict::Conflict { .. } => {}
    }
    let content_hash = mutation.content_hash(&scope.author.org);
    let claim = transaction.claim(mutation, &content_hash).await?;
    let Claim::Known { content_hash: known, entity_id, xid, next_xid } = claim else { return Ok(None) };
    if known != content_hash {
        let detail = "the transaction id was applied with other content";
        return Err(Refusal::new(Code::IdempotencyMismatch, detail).into());
    }
    let row = transaction.read(entity, &entity_id).await?;
    let row = row.filter(|row| !rights(entity, scope, row).read.is_empty());
    let tx_text = row.as_ref().and_then(|row| row.tx_text.clone());
    let xid = applied_xid(xid, next_xid);
    Ok(Some(Outcome::Duplicate(Applied { row: row.map(Box::new), tx_text, xid })))
}

/// Locks the edit's row; one that the caller may not see is not there.
pub(super) async fn held(
    transaction: &mut dyn WriteTransaction,
    entity: &EntityType,
    scope: Scope<'_>,
    mutation: &Mutation,
) -> Result<HeldRow, WriteError> {
    let Some(entity_id) = &mutation.entity_id else {
        return Err(Refusal::new(Code::BodyInvalid, "`entityId` is missing").into());
    };
    let held = transaction.lock(entity, entity_id).await?;
    let seen = held.filter(|held| !rights(entity, scope, held).read.is_empty());
    seen.ok_or_else(|| Refusal::new(Code::NotFound, "there is no such entity in this organisation").into())
}

pub(super) async fn create(
    transaction: &mut dyn WriteTransaction,
    entity: &EntityType,
    scope: Scope<'_>,
    mutation: &Mutation,
    tx: &Tx,
) -> Result<Written, WriteError> {
    let most = entity.rights_at_most(scope.reader.role);
    if !most.create {
        return Err(Refusal::new(Code::Forbidden, "the caller may not create entities of this type").into());
    }
    let given = |field: &&String| !entity.key.contains(*field) && Some(field.as_str()) != entity.org_column();
    let beyond = |columns: &Columns| mutation.data.keys().filter(given).find(|field| !columns.contains(field)).cloned();
    if let Some(field) = beyond(&most.write) {
        return Err(forbidden(&field));
    }
    let written = transaction.create(entity, mutation, tx).await?;
    if let Written::Row(row) = &written {
        // Rules may look at what the row holds now, defaults and triggers included.
        let rights = rights(entity, scope, row);
        if !rights.create {
            return Err(Refusal::new(Code::Forbidden, "the caller may not create such an entity").into());
        }
        if let Some(field) = beyond(&rights.write) {
            return Err(forbidden(&field));
        }
        if mutation.entity_id.is_none() {
            transaction.claimed(mutation, &row.entity_id).await?;
        }
    }
    Ok(written)
}

/// Checks an update against the locked row; returns the value to be written where it is worked out from the present one.
pub(super) fn check_update(
    entity: &EntityType,
    scope: Scope<'_>,
    mutation: &Mutation,
    held: &HeldRow,
) -> Result<Option<Value>, WriteError> {
    let Some(field) = &mutation.changed_field else {
        return Err(Refusal::new(Code::BodyInvalid, "`changedField` is missing").into());
    };
    if entity.key.contains(field) || Some(field.as_str()) == entity.org_column() {
        return Err(forbidden(field));
    }
    if !rights(entity, scope, held).write.contains(field) {
        return Err(forbidden(field));
    }
    let merge = entity.fields.get(field).copied().unwrap_or_default();
    match (&mutation.operation, merge) {
        (None, Merge::Counter | Merge::Set) => {
            Err(typed(field, "this field takes an operation (`op`) instead of a value"))
        }
        (Some(Operation::Add(_)), Merge::Counter) => Ok(None),
        (Some(Operation::Elements { add, remove }), Merge::Set) => {
            let present: Map<String, Value> = serde_json::from_str(&held.row.image).unwrap_or_default();
            let present = match present.get(field) {
                Some(Value::Array(present)) => present.clone(),
                Some(Value::Null) => Vec::new(),
                // A value too large for an image is not at hand, and must not count as empty.
                None if omitted(held, field) => return Err(typed(field, "the set is too large for operations")),
                None => return Ok(Some(Value::Array(add.clone()))),
                Some(_) => return Err(typed(field, "the field holds no set")),
            };
            Ok(Some(Value::Array(elements(&present, add, remove))))
        }
        (Some(_), _) => Err(typed(field, "this operation does not fit the field's merge strategy")),
        // What writes the row says that the type has no such field, which may be younger than what was read.
        (None, _) if !shows(held, field) => Ok(None),
        (None, _) => {
            let newest = held.tx.as_ref().and_then(|tx| tx.field_id(field));
            let shown = rights(entity, scope, held).read.contains(field).then_some(field.as_str());
            compare(mutation, held, newest, shown).map(|()| None)
        }
    }
}

/// Checks a delete against the locked row; `committed` is the row's id before its transaction wrote it, where it did.
///
/// A client that deletes what it has changed in the same batch may name the one or the other.
pub(super) fn check_delete(
    entity: &EntityType,
    scope: Scope<'_>,
    mutation: &Mutation,
    held: &HeldRow,
    committed: Option<&str>,
) -> Result<(), WriteError> {
    if !rights(entity, scope, held).delete {
        return Err(Refusal::new(Code::Forbidden, "the caller may not delete this entity").into());
    }
    let newest = held.tx.as_ref().map(|tx| tx.transaction_id.as_str());
    if committed.is_some() && mutation.expected.as_deref() == committed {
        return above(mutation, newest);
    }
    compare(mutation, held, newest, None)
}

/// Returns what an update writes.
pub(super) fn write_of<'a>(
    mutation: &'a Mutation,
    worked_out: Option<&'a Value>,
) -> Result<FieldWrite<'a>, WriteError> {
    let Some(field) = mutation.changed_field.as_deref() else {
        return Err(Refusal::new(Code::BodyInvalid, "`changedField` is missing").into());
    };
    if let Some(value) = worked_out {
        return Ok(FieldWrite::Set { field, value, json_null: false });
    }
    if let Some(Operation::Add(value)) = &mutation.operation {
        return Ok(FieldWrite::Add { field, value });
    }
    match mutation.data.get(field) {
        Some(value) => Ok(FieldWrite::Set { field, value, json_null: mutation.json_null }),
        None => Err(Refusal::new(Code::BodyInvalid, "`data` does not hold the changed field").into()),
    }
}

fn compare(mutation: &Mutation, held: &HeldRow, newest: Option<&str>, shown: Option<&str>) -> Result<(), WriteError> {
    if let Verdict::Conflict { newest } = judge(mutation.expected.as_deref(), newest) {
        return Err(conflict(mutation, held, newest.as_deref(), shown).into());
    }
    above(mutation, newest)
}

fn above(mutation: &Mutation, newest: Option<&str>) -> Result<(), WriteError> {
    match newest {
        Some(newest) if mutation.transaction_id.as_str() <= newest => {
            let refusal = Refusal::new(Code::ClockBehind, "the id is not above the one that it expects");
            Err(refusal.with("serverTransactionId", newest).into())
        }
        _ => Ok(()),
    }
}

/// The particulars of a conflict; `shown` is the field, where the caller may see its value.
fn conflict(mutation: &Mutation, held: &HeldRow, newest: Option<&str>, shown: Option<&str>) -> Refusal {
    // The row's own writer is known; of an older id only what it says itself.
    let writer = held.tx.as_ref().filter(|tx| Some(tx.transaction_id.as_str()) == newest);
    let read = newest.and_then(|newest| TransactionId::parse(newest).ok());
    let source = match (writer, &read) {
        (Some(tx), _) => Value::from(tx.source_id.clone()),
        (None, Some(id)) if id.node().starts_with("sql-") => Value::from(antiphon_model::SOURCE_SQL),
        (None, _) => Value::Null,
    };
    let image: Map<String, Value> = serde_json::from_str(&held.row.image).unwrap_or_default();
    let value = match shown {
        Some(field) => image.get(field).cloned().unwrap_or_default(),
        None => Value::Null,
    };
    Refusal::new(Code::FieldConflict, "")
        .with("field", mutation.changed_field.clone())
        .with("expectedTransactionId", mutation.expected.clone())
        .with("serverTransactionId", newest)
        .with("serverValue", value)
        .with("serverSourceId", source)
        .with("serverActor", writer.and_then(|tx| tx.actor.clone()))
        .with("changedAt", read.map(|id| time(id.wall_ms())))
}

pub(super) fn rights(entity: &EntityType, scope: Scope<'_>, held: &HeldRow) -> Rights {
    entity.rights(scope.reader, |column| held.policy.get(column).and_then(Option::as_deref))
}

/// Tells whether a value was left out of the row's image for its size.
fn omitted(held: &HeldRow, field: &str) -> bool {
    let details = held.row.details.as_deref().unwrap_or_default();
    let details: Map<String, Value> = serde_json::from_str(&format!("{{{details}}}")).unwrap_or_default();
    details.get("omitted").is_some_and(|omitted| omitted.get(field).is_some())
}

/// Tells whether a field is one of the row's.
fn shows(held: &HeldRow, field: &str) -> bool {
    let image: Map<String, Value> = serde_json::from_str(&held.row.image).unwrap_or_default();
    image.contains_key(field) || omitted(held, field)
}

fn forbidden(field: &str) -> WriteError {
    let field: String = field.chars().take(FIELD_CHARS_MAX).collect();
    Refusal::new(Code::FieldForbidden, format!("`{field}` may not be written")).with("field", field).into()
}

fn typed(field: &str, why: &str) -> WriteError {
    Refusal::new(Code::FieldType, why).with("field", field).into()
}

fn time(ms: u64) -> String {
    let mut text = String::new();
    write_time(&mut text, antiphon_model::Micros(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000)));
    text
}
