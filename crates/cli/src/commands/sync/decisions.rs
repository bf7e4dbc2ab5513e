//! `sync conflicts`, `resolve`, `retry`, `discard`, `undo`, `redo` and `journal`: what only a person can decide, and what
//! was decided without one.
//!
//! Law: a decision names the version of the server that was on screen: the one that the replica holds, unless `--seen`
//! names another; about an older one it is not taken.

use antiphon_model::Code;
use antiphon_replica::{
    Fault, Replica,
    client::{self, Decision, EntityKey, Entry, State},
};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{
    rows::{cell, find, number, what},
    tell_pending,
};
use crate::{
    context::Context,
    fault::{Stop, usage},
};

/// Names an entry of the outbox.
#[derive(Debug, Args)]
pub(super) struct EntryArgs {
    /// The edit, as `outbox` shows it
    edit: String,
}

/// The arguments of `sync retry`.
#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    /// The edit, as `outbox` shows it [default: every refused one]
    edit: Option<String>,
}

/// The arguments of `sync resolve`.
#[derive(Debug, Args)]
pub(super) struct ResolveArgs {
    /// The edit, as `conflicts` shows it
    edit: String,
    /// Whose value is to stand
    #[arg(value_enum)]
    choice: Choice,
    /// The merged value
    #[arg(required_if_eq("choice", "merged"))]
    value: Option<String>,
    /// The id of their change that was decided about [default: the one that the replica holds]
    #[arg(long, value_name = "ID")]
    seen: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// Mine, upon theirs.
    Mine,
    /// Theirs.
    Theirs,
    /// This value, upon theirs.
    Merged,
    /// The row that others deleted is made again, with my edit.
    Restore,
}

/// Lists what waits for a decision.
pub(super) fn conflicts(context: &Context, replica: &Replica) -> Result<(), Stop> {
    let open = replica.outbox().iter().filter(|entry| entry.state == State::Conflicted);
    if context.out.json() {
        let conflicts: Vec<Value> = open.map(|entry| document(replica, entry)).collect();
        return context.out.document(&json!({"version": 1, "conflicts": conflicts}));
    }
    let rows = open.map(|entry| {
        let EntityKey { entity_type, entity_id } = &entry.entity;
        let theirs = entry.theirs.as_ref();
        let their_value = match theirs {
            Some(theirs) if theirs.gone => "(deleted)".to_owned(),
            theirs => cell(theirs.map(|theirs| &theirs.value)),
        };
        let who = theirs.and_then(|theirs| theirs.actor.clone()).unwrap_or_else(|| "-".to_owned());
        let field = entry.change.field().unwrap_or("(row)").to_owned();
        let mine = entry.mine().map_or_else(|| what(entry), |mine| cell(Some(mine)));
        let base = cell(entry.base.as_ref());
        vec![number(replica, entry), entity_type.clone(), entity_id.clone(), field, base, mine, their_value, who]
    });
    context.out.table(&["edit", "type", "id", "field", "before", "mine", "theirs", "by"], rows.collect())
}

fn document(replica: &Replica, entry: &Entry) -> Value {
    let theirs = entry.theirs.as_ref();
    json!({
        "edit": number(replica, entry), "key": entry.key, "type": entry.entity.entity_type,
        "id": entry.entity.entity_id, "field": entry.change.field(), "before": entry.base, "mine": entry.mine(),
        "theirs": theirs.map(|theirs| &theirs.value), "gone": theirs.is_some_and(|theirs| theirs.gone),
        "by": theirs.and_then(|theirs| theirs.actor.as_ref()), "at": theirs.and_then(|theirs| theirs.at.as_ref()),
        "seen": theirs.and_then(|theirs| theirs.id.as_ref()),
    })
}

/// Decides a conflict.
pub(super) fn resolve(context: &Context, replica: &mut Replica, args: &ResolveArgs) -> Result<(), Stop> {
    let entry = find(replica, &args.edit)?;
    if args.choice != Choice::Merged && args.value.is_some() {
        return Err(usage("a value goes with `merged` only"));
    }
    let decision = match (args.choice, &args.value) {
        (Choice::Mine, _) => Decision::KeepMine,
        (Choice::Theirs, _) => Decision::KeepTheirs,
        (Choice::Restore, _) => Decision::Restore,
        (Choice::Merged, Some(text)) => Decision::Merge(merged(entry, text)?),
        (Choice::Merged, None) => return Err(usage("what is the merged value?")),
    };
    let held = entry.theirs.as_ref().and_then(|theirs| theirs.id.clone());
    let (key, seen) = (entry.key.clone(), args.seen.clone().or(held));
    replica.decide(&key, seen.as_deref(), decision)?;
    said(context, replica, &json!({"version": 1, "edit": args.edit, "resolved": true}), "decided")
}

/// Makes of a text what the field held before; texts stay texts.
fn merged(entry: &Entry, text: &str) -> Result<client::Value, Stop> {
    match entry.mine() {
        Some(client::Value::String(_) | client::Value::Null) | None => Ok(text.into()),
        Some(_) => serde_json::from_str(text).map_err(|error| usage(format!("no JSON: {error}"))),
    }
}

/// Sends refused edits again.
pub(super) fn retry(context: &Context, replica: &mut Replica, args: &RetryArgs) -> Result<(), Stop> {
    let keys: Vec<String> = match &args.edit {
        Some(name) => vec![find(replica, name)?.key.clone()],
        None => {
            let refused = replica.outbox().iter().filter(|entry| entry.state == State::Failed);
            refused.map(|entry| entry.key.clone()).collect()
        }
    };
    let mut count = 0;
    for key in keys {
        // One of a group takes the others with it.
        if args.edit.is_some() || replica.outbox().find(&key).is_some_and(|entry| entry.state == State::Failed) {
            replica.retry(&key)?;
            count += 1;
        }
    }
    said(context, replica, &json!({"version": 1, "retried": count}), &format!("{count} to be sent again"))
}

/// Takes an edit back.
pub(super) fn discard(context: &Context, replica: &mut Replica, args: &EntryArgs) -> Result<(), Stop> {
    let key = find(replica, &args.edit)?.key.clone();
    let gone = replica.discard(&key)?;
    if gone.is_empty() {
        return Err(Fault::new(Code::Aborted, "the edit is on its way and can only be undone").into());
    }
    said(context, replica, &json!({"version": 1, "discarded": gone.len()}), &format!("{} taken back", gone.len()))
}

/// Undoes what was done last.
pub(super) fn undo(context: &Context, replica: &mut Replica) -> Result<(), Stop> {
    match replica.undo()? {
        true => said(context, replica, &json!({"version": 1, "undone": true}), "undone"),
        false => Err(crate::fault::not_found("there is nothing that can be undone")),
    }
}

/// Does again what was undone last.
pub(super) fn redo(context: &Context, replica: &mut Replica) -> Result<(), Stop> {
    match replica.redo()? {
        true => said(context, replica, &json!({"version": 1, "redone": true}), "done again"),
        false => Err(crate::fault::not_found("there is nothing that can be done again")),
    }
}

fn said(context: &Context, replica: &Replica, document: &Value, line: &str) -> Result<(), Stop> {
    match context.out.json() {
        true => context.out.document(document)?,
        false => context.out.line(line)?,
    }
    tell_pending(context, replica);
    Ok(())
}

/// Lists what was decided without asking.
pub(super) fn journal(context: &Context, replica: &Replica) -> Result<(), Stop> {
    if context.out.json() {
        let lines: Vec<Value> = replica.journal().map(|line| json!(line)).collect();
        return context.out.document(&json!({"version": 1, "lines": lines}));
    }
    let rows = replica.journal().map(|line| {
        let rule = serde_json::to_value(line.rule).unwrap_or_default().into();
        let theirs = line.theirs.as_ref().map(|theirs| &theirs.value);
        let EntityKey { entity_type, entity_id } = &line.entity;
        let field = line.field.clone().unwrap_or_else(|| "(row)".to_owned());
        vec![entity_type.clone(), entity_id.clone(), field, cell(Some(&rule)), cell(line.mine.as_ref()), cell(theirs)]
    });
    context.out.table(&["type", "id", "field", "rule", "mine", "theirs"], rows.collect())
}
