//! `GET .../history` and `GET .../deleted`: the past of entities as far as the log reaches (protocol 4).
//!
//! Law: the past is cut by present access: each activity is seen as a stream would show it to this caller now, and what
//! would not be shown is neither listed nor counted. Truncates name no entity and are not part of anyone's history.

use std::sync::Arc;

use antiphon_engine::{
    Fault,
    ports::{Deleted, Past},
};
use antiphon_model::{
    Action, Activity, ActivityId, Columns, EntityType, Reader, Tx, View, cut_object, write_string, write_time,
};
use antiphon_sync::sight;
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};

use crate::{
    app::App,
    entities::cut_tx,
    problem::Problem,
    query::{Query, Segments, invalid},
};

/// So many reads of the log for one page: most of what is read may not be for the caller.
const READS_MAX: usize = 10;

/// Lists what happened to an entity, newest first.
pub(crate) async fn history(
    State(app): State<Arc<App>>,
    Segments((org, name, id)): Segments<(String, String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, &uri, &org).await?;
    let entity = app.entity(&name)?;
    let query = Query::parse(uri.query(), &["before", "limit"], &[])?;
    let limit = query.number("limit", 100, 1..=1_000)?;
    let (reader, mut below) = (caller.reader(), number(&query, "before")?);
    let mut items: Vec<String> = Vec::new();
    // A key that the database cannot hold, or of another form, names no row: nothing ever happened to it.
    let known = entity.key_values(&id).is_some() && !id.contains('\0');
    let mut more = known;
    for _ in 0..READS_MAX {
        if !more || items.len() >= limit {
            break;
        }
        let wanted = limit - items.len();
        let past = past(&app, &caller.membership.org, &name, below, wanted);
        let found = app.bus.log().of_entity(&past, &id).await?;
        more = found.len() >= wanted;
        below = found.last().map(|last| last.id).or(below);
        items.extend(found.iter().filter_map(|activity| shown(entity, &reader, activity)));
    }
    Ok(page(&items, below.filter(|_| more)))
}

/// Lists entities that are gone, the last deleted first, with their last known rows.
pub(crate) async fn deleted(
    State(app): State<Arc<App>>,
    Segments((org, name)): Segments<(String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, &uri, &org).await?;
    let entity = app.entity(&name)?;
    let query = Query::parse(uri.query(), &["after", "limit"], &[])?;
    let limit = query.number("limit", 100, 1..=1_000)?;
    let (reader, mut below) = (caller.reader(), number(&query, "after")?);
    let (mut items, mut more) = (Vec::new(), true);
    for _ in 0..READS_MAX {
        if !more || items.len() >= limit {
            break;
        }
        let wanted = limit - items.len();
        let found = app.bus.log().deleted(&past(&app, &caller.membership.org, &name, below, wanted)).await?;
        more = found.len() >= wanted;
        below = found.last().map(|last| last.delete.id).or(below);
        items.extend(found.iter().filter_map(|gone| last_known(entity, &reader, gone)));
    }
    Ok(page(&items, below.filter(|_| more)))
}

/// Returns the delete of an entity that is gone, as far as the log knows and the reader may see it.
pub(crate) async fn gone(
    app: &App,
    org: &str,
    entity: &EntityType,
    reader: &Reader,
    id: &str,
) -> Result<Option<Activity>, Fault> {
    let past = past(app, org, &entity.name, None, 1);
    let newest = app.bus.log().of_entity(&past, id).await?.into_iter().next();
    let seen = |activity: &Activity| sight(entity, reader, activity).is_some();
    Ok(newest.filter(|newest| newest.action == Action::Delete && seen(newest)))
}

fn past<'a>(app: &App, org: &'a str, entity_type: &'a str, below: Option<ActivityId>, limit: usize) -> Past<'a> {
    Past { org, entity_type, below, durable: app.bus.head().durable, limit }
}

fn number(query: &Query, name: &str) -> Result<Option<ActivityId>, Problem> {
    let Some(text) = query.text(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let number = text.parse::<u64>().ok().filter(|number| *number < 1 << 53);
    number.map(|number| Some(ActivityId::new(number))).ok_or_else(|| invalid(name, "an activity's number is wanted"))
}

fn shown(entity: &EntityType, reader: &Reader, activity: &Activity) -> Option<String> {
    let (action, columns) = sight(entity, reader, activity)?;
    let mut json = String::new();
    activity.write_view(&mut json, &View { action, columns: &columns }).then_some(json)
}

/// Writes an entity that is gone: its last row, cut to what the caller could see when it went.
fn last_known(entity: &EntityType, reader: &Reader, gone: &Deleted) -> Option<String> {
    let (_, columns) = sight(entity, reader, &gone.delete)?;
    let mut json = String::from("{\"entityId\":");
    write_string(&mut json, gone.delete.entity_id.as_deref()?);
    json.push_str(",\"data\":");
    match gone.row.as_ref().and_then(|row| row.image.as_deref()) {
        Some(image) if columns == Columns::All => json.push_str(image),
        Some(image) => cut_object(&mut json, image, |name| columns.contains(name)),
        None => json.push_str("null"),
    }
    json.push_str(",\"tx\":");
    let tx = gone.delete.tx.as_deref().and_then(Tx::parse).map(|tx| cut_tx(tx, entity, &columns));
    json.push_str(&tx.as_ref().map_or_else(|| "null".to_owned(), Tx::to_json));
    json.push_str(",\"deletedAt\":\"");
    write_time(&mut json, gone.delete.commit.at);
    json.push_str("\",\"deletedBy\":");
    match tx.and_then(|tx| tx.actor) {
        Some(actor) => write_string(&mut json, &actor),
        None => json.push_str("null"),
    }
    json.push_str(&format!(",\"activityId\":{}}}", gone.delete.id));
    Some(json)
}

fn page(items: &[String], next: Option<ActivityId>) -> Response {
    let next = next.map_or_else(|| "null".to_owned(), |next| format!("\"{next}\""));
    let body = format!("{{\"items\":[{}],\"next\":{next}}}", items.join(","));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}
