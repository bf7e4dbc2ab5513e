//! Tells edits of entities that were deleted from edits of what never was (`ENTITY_GONE`, protocol 5).
//!
//! The log knows who deleted a row and when, as soon as capture has brought the delete. Laws: one look-up for all edits
//! of a type, however many a batch holds; only a delete that the caller could see is told; where the log is silent or
//! away, `NOT_FOUND` stands.

use std::collections::{BTreeMap, HashMap};

use antiphon_engine::{Outcome, ports::Span};
use antiphon_model::{Action, Activity, Code, EntityType, Mutation, MutationAction, Reader, write_time};
use antiphon_sync::sight;
use serde_json::Value;

use crate::{app::App, history::org_in_log};

/// Replaces `NOT_FOUND` by `ENTITY_GONE` in the outcomes of these edits where the log knows better.
pub(super) async fn name(app: &App, (org, reader): (&str, &Reader), mutations: &[Mutation], outcomes: &mut [Outcome]) {
    let mut wanted: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (mutation, outcome) in mutations.iter().zip(&*outcomes) {
        if let Some((entity, id)) = missing(app, mutation, outcome) {
            wanted.entry(entity.name.as_str()).or_default().push(id);
        }
    }
    for (entity_type, ids) in wanted {
        let Some(entity) = app.entities.get(entity_type) else { continue };
        let known = deletes(app, org, entity, &ids).await;
        for (mutation, outcome) in mutations.iter().zip(&mut *outcomes) {
            let id = missing(app, mutation, outcome).filter(|(of, _)| of.name == entity_type).map(|(_, id)| id);
            let delete = id.and_then(|id| known.get(&id)).filter(|delete| sight(entity, reader, delete).is_some());
            if let (Some(delete), Outcome::Refused(refusal)) = (delete, outcome) {
                let mut at = String::new();
                write_time(&mut at, delete.commit.at);
                refusal.code = Code::EntityGone;
                refusal.detail = "the entity was deleted".into();
                let by = delete.read_tx().and_then(|tx| tx.actor);
                refusal.more.insert("deletedBy", by.map_or(Value::Null, Value::from));
                refusal.more.insert("deletedAt", at.into());
            }
        }
    }
}

/// The type and id of an edit that found nothing to change.
fn missing<'a>(app: &'a App, mutation: &Mutation, outcome: &Outcome) -> Option<(&'a EntityType, String)> {
    let nothing = matches!(outcome, Outcome::Refused(refusal) if refusal.code == Code::NotFound);
    if !nothing || mutation.action == MutationAction::Create {
        return None;
    }
    let entity = app.entities.get(&mutation.entity_type)?;
    let key = entity.key_values(mutation.entity_id.as_deref()?)?;
    let holds = !key.iter().any(|part| part.contains('\0'));
    holds.then(|| (&**entity, EntityType::entity_id(key.iter().map(String::as_str))))
}

/// Of these entities, those whose newest activity is a delete.
async fn deletes(app: &App, org: &str, entity: &EntityType, ids: &[String]) -> HashMap<String, Activity> {
    let head = app.bus.head();
    let span = Span { after: head.floor, up_to: head.durable };
    let newest = app.bus.log().newest_of(org_in_log(entity, org), &entity.name, ids, span).await;
    let newest = newest.unwrap_or_else(|fault| {
        tracing::debug!(error = %fault.chain(), "the log could not be asked who deleted an entity");
        Vec::new()
    });
    let deletes = newest.into_iter().filter(|newest| newest.action == Action::Delete);
    deletes.filter_map(|delete| Some((delete.entity_id.clone()?, delete))).collect()
}
