//! The activities of one transaction id: what became of a mutation, or what brought a row's last change (LOG-03).
//!
//! Law: it reads what the stream would show the caller at present and nothing else (`antiphon_sync::sight`), of the
//! caller's organisation and of what is everyone's. What may not be seen fills no page, and an id of which nothing may
//! be seen is answered like one that never was: by an empty list, since a transaction may lie behind the retention.

use std::sync::Arc;

use antiphon_engine::ports::Span;
use antiphon_model::{Activity, ActivityId, EVERYONE, Reader, View};
use antiphon_sync::sight;
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};

use crate::{
    app::App,
    problem::Problem,
    query::{Query, Segments, invalid},
};

/// The parameters.
pub(crate) const PARAMETERS: &[&str] = &["transactionId", "after", "limit"];
/// No id is longer: 13 digits, 4 digits and a node of 40.
const ID_BYTES_MAX: usize = 64;
/// So many are read at a time.
const READ_MAX: usize = 1_000;
/// One request looks at so many; what it found by then is its page.
const LOOKED_AT_MAX: usize = 10_000;

/// Returns the activities of a transaction id in the order of the log.
pub(crate) async fn of_transaction(
    State(app): State<Arc<App>>,
    Segments(org): Segments<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, &uri, &org).await?;
    let query = Query::parse(uri.query(), PARAMETERS, &[])?;
    let limit = query.number("limit", 100, 1..=1_000)?;
    let after = query.number("after", 0, 0..=1 << 53)?;
    let id = query.text("transactionId").unwrap_or_default();
    if id.is_empty() || id.len() > ID_BYTES_MAX || id.chars().any(char::is_control) {
        return Err(invalid("transactionId", "the id of a transaction is wanted, as in an activity's `tx`"));
    }
    let head = app.bus.begun().await?;
    let mut part = Span { after: head.floor.max(ActivityId::new(after as u64)), up_to: head.durable };
    let orgs = [caller.membership.org.as_str(), EVERYONE];
    let reader = caller.reader();
    let (mut items, mut looked_at, mut next) = (Vec::new(), 0, None);
    while next.is_none() {
        let found = app.bus.log().of_transaction(&orgs, id, part, READ_MAX).await?;
        for activity in &found {
            let Some(item) = shown(&app, &reader, activity) else { continue };
            if items.len() == limit {
                next = Some(part.after);
                break;
            }
            items.push(item);
            part.after = activity.id;
        }
        looked_at += found.len();
        let Some(last) = found.last().filter(|_| found.len() == READ_MAX && next.is_none()) else { break };
        part.after = last.id;
        next = (looked_at >= LOOKED_AT_MAX).then_some(last.id);
    }
    let next = next.map_or("null".to_owned(), |id| id.to_string());
    let (items, offset, epoch, access) = (items.join(","), head.durable, head.epoch.as_u32(), &caller.access);
    let body = format!(
        "{{\"items\":[{items}],\"next\":{next},\"offset\":{offset},\"epoch\":{epoch},\"access\":\"{access}\"}}"
    );
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(response)
}

/// An activity as the caller's stream would show it.
fn shown(app: &App, reader: &Reader, activity: &Activity) -> Option<String> {
    let entity = app.entity(&activity.entity_type).ok()?;
    let (action, columns) = sight(entity, reader, activity)?;
    let mut item = String::new();
    activity.write_view(&mut item, &View { action, columns: &columns }).then_some(item)
}
