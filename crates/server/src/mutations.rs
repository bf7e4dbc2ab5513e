//! Writing over HTTP: create, patch, delete, batch (protocol 5).
//!
//! One door for all of them and for the WebSocket. Order of refusals: token, place, scope, rate, the body, then each
//! edit for itself. Law: an answer only reports; what is refused has changed nothing.

mod answer;
mod body;
mod gone;
mod limit;

use std::sync::Arc;

use antiphon_engine::{Outcome, ports::Author};
use antiphon_model::{ActivityId, Code, Mutation, MutationAction, Reader};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::Response,
};
use serde_json::Value;

pub(crate) use self::limit::MutationLimits;
use self::{answer::Answered, body::Batch};
use crate::{
    app::{App, Caller},
    problem::Problem,
    query::{Query, Segments, Unread},
};

/// A client that has not seen this many changes of what it edits, and is this late, is told to read first.
const BEHIND_ACTIVITIES: usize = 10;
const BEHIND_MICROS: i64 = 5_000_000;
/// So many activities are looked at to find out.
const BEHIND_LOOKED_AT: usize = 2_000;

/// Creates an entity.
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Segments((org, name)): Segments<(String, String)>,
    headers: HeaderMap,
    uri: Uri,
    body: Unread,
) -> Result<Response, Problem> {
    single(&app, (&headers, &uri), &org, (name, None), MutationAction::Create, body).await
}

/// Changes one field of an entity.
pub(crate) async fn patch(
    State(app): State<Arc<App>>,
    Segments((org, name, id)): Segments<(String, String, String)>,
    headers: HeaderMap,
    uri: Uri,
    body: Unread,
) -> Result<Response, Problem> {
    single(&app, (&headers, &uri), &org, (name, Some(id)), MutationAction::Update, body).await
}

/// Deletes an entity.
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Segments((org, name, id)): Segments<(String, String, String)>,
    headers: HeaderMap,
    uri: Uri,
    body: Unread,
) -> Result<Response, Problem> {
    single(&app, (&headers, &uri), &org, (name, Some(id)), MutationAction::Delete, body).await
}

/// The id that is the address of a list, too.
const DELETED: &str = "deleted";

/// Changes one field of the entity whose id is `deleted`.
pub(crate) async fn patch_deleted(
    app: State<Arc<App>>,
    Segments((org, name)): Segments<(String, String)>,
    headers: HeaderMap,
    uri: Uri,
    body: Unread,
) -> Result<Response, Problem> {
    patch(app, Segments((org, name, DELETED.to_owned())), headers, uri, body).await
}

/// Deletes the entity whose id is `deleted`.
pub(crate) async fn delete_deleted(
    app: State<Arc<App>>,
    Segments((org, name)): Segments<(String, String)>,
    headers: HeaderMap,
    uri: Uri,
    body: Unread,
) -> Result<Response, Problem> {
    delete(app, Segments((org, name, DELETED.to_owned())), headers, uri, body).await
}

/// Applies several edits.
pub(crate) async fn batch(
    State(app): State<Arc<App>>,
    Segments(org): Segments<String>,
    headers: HeaderMap,
    uri: Uri,
    body: Unread,
) -> Result<Response, Problem> {
    let judged = async {
        let caller = app.writer(&headers, &uri, &org).await?;
        Query::parse(uri.query(), &[], &[])?;
        json_wanted(&headers)?;
        Ok(caller)
    };
    let (caller, bytes) = body.after(judged.await).await?;
    let batch = body::batch(&bytes)?;
    let results = apply(&app, &caller, &batch).await?;
    Ok(answer::json(StatusCode::OK, &serde_json::json!({ "results": results })))
}

/// Applies a batch and returns its results in order; what the WebSocket calls too.
pub(crate) async fn apply(app: &App, caller: &Caller, batch: &Batch) -> Result<Vec<Value>, Problem> {
    app.mutation_limits.take(&caller.membership.org, batch.mutations.len())?;
    if let Some(offset) = batch.stream_offset {
        not_behind(app, caller, offset, &batch.mutations).await?;
    }
    let (author, reader) = names(caller);
    let mut outcomes = match batch.atomic {
        true => app.door.all(&author, &reader, &batch.mutations).await?,
        false => app.door.each(&author, &reader, &batch.mutations).await?,
    };
    gone::name(app, (&author.org, &reader), &batch.mutations, &mut outcomes).await;
    let mut results = Vec::with_capacity(outcomes.len());
    for (mutation, outcome) in batch.mutations.iter().zip(outcomes) {
        count(&outcome);
        results.push(Answered { app, reader: &reader, mutation }.result(outcome).await);
    }
    Ok(results)
}

/// Reads a batch as the WebSocket carries it.
pub(crate) fn read_batch(mutations: &str, atomic: bool, stream_offset: Option<i64>) -> Result<Batch, Problem> {
    body::parts(mutations, atomic, stream_offset)
}

async fn single(
    app: &App,
    (headers, uri): (&HeaderMap, &Uri),
    org: &str,
    (name, id): (String, Option<String>),
    action: MutationAction,
    body: Unread,
) -> Result<Response, Problem> {
    let judged = async {
        let caller = app.writer(headers, uri, org).await?;
        Query::parse(uri.query(), &[], &[])?;
        app.entity(&name)?;
        json_wanted(headers)?;
        Ok(caller)
    };
    let judged = judged.await;
    let (caller, bytes) = body.after(judged).await?;
    let mutation = body::single(&bytes, name, id, action)?;
    app.mutation_limits.take(&caller.membership.org, 1)?;
    let (author, reader) = names(&caller);
    let mut outcome = app.door.one(&author, &reader, &mutation).await?;
    let (edits, outcomes) = (std::slice::from_ref(&mutation), std::slice::from_mut(&mut outcome));
    gone::name(app, (&author.org, &reader), edits, outcomes).await;
    count(&outcome);
    Answered { app, reader: &reader, mutation: &mutation }.response(outcome).await
}

fn names(caller: &Caller) -> (Author, Reader) {
    let author = Author { org: caller.membership.org.clone(), subject: caller.principal.subject.clone() };
    (author, caller.reader())
}

fn json_wanted(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(Code::BodyInvalid, "the header `Content-Type: application/json` is wanted"))
}

/// Refuses a client that has not seen much of what happened to what it edits.
async fn not_behind(app: &App, caller: &Caller, offset: i64, mutations: &[Mutation]) -> Result<(), Problem> {
    let head = app.bus.head();
    let mut position = ActivityId::new(offset.max(0).unsigned_abs());
    let (mut missed, mut looked_at, mut oldest) = (0, 0, None);
    while position < head.durable && head.epoch.contains(position) && looked_at < BEHIND_LOOKED_AT {
        let Ok(page) = app.bus.read(&caller.membership.org, position, 500).await else { return Ok(()) };
        looked_at += page.activities.len();
        for activity in &page.activities {
            let named = mutations.iter().any(|mutation| {
                mutation.entity_type == activity.entity_type && mutation.entity_id == activity.entity_id
            });
            if named {
                missed += 1;
                oldest = oldest.or(Some(activity.commit.at));
            }
        }
        if page.up_to_date || page.offset == position {
            break;
        }
        position = page.offset;
    }
    let late = oldest.is_some_and(|at| crate::compose::now().0 - at.0 > BEHIND_MICROS);
    if missed > BEHIND_ACTIVITIES && late {
        let problem = Problem::new(Code::StreamBehind, "");
        return Err(problem.with("serverOffset", head.durable.as_u64().into()).with("clientOffset", offset.into()));
    }
    Ok(())
}

fn count(outcome: &Outcome) {
    let (name, code) = match outcome {
        Outcome::Applied(_) => ("applied", None),
        Outcome::Duplicate(_) => ("duplicate", None),
        Outcome::Refused(refusal) if refusal.code == Code::FieldConflict => ("conflict", Some(refusal.code)),
        Outcome::Refused(refusal) => ("rejected", Some(refusal.code)),
        Outcome::Aborted(_) => ("aborted", None),
    };
    metrics::counter!("antiphon_mutations_total", "outcome" => name).increment(1);
    if let Some(code) = code {
        metrics::counter!("antiphon_mutations_refused_total", "code" => code.as_str()).increment(1);
    }
}
