//! What became of entities: the history of one, and those of a type that are gone (protocol 4).
//!
//! Both read the log of the caller's organisation and cut each activity as the stream does (`antiphon_sync::sight`), by
//! the caller's present rules and role. Laws: what may not be seen is passed over and fills no page, so that neither
//! length nor `next` tells of it, except where a request has looked at `LOOKED_AT_MAX`; an entity of which nothing may
//! be seen is answered like one that never was.

use std::sync::Arc;

use antiphon_engine::ports::{Deleted, EntityRef, Head, ListQuery, RowImage, Span};
use antiphon_model::{ActivityId, EVERYONE, EntityType, Reader, View, write_string, write_time};
use antiphon_sync::sight;
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};

use crate::{
    app::{App, Caller},
    entities,
    problem::Problem,
    query::{Query, Segments, invalid},
};

/// The parameters of a history.
pub(crate) const HISTORY_PARAMETERS: &[&str] = &["before", "limit"];
/// The parameters of the list of deleted entities.
pub(crate) const DELETED_PARAMETERS: &[&str] = &["after", "limit"];

/// One request looks at so many activities; what it found by then is its page.
const LOOKED_AT_MAX: usize = 10_000;
/// So many are read at a time, at least: many may not be for the caller.
const READ_MIN: usize = 100;

/// Items that may be seen, and where the next page begins.
#[derive(Default)]
struct Found {
    items: Vec<String>,
    last: Option<ActivityId>,
    rest_below: Option<ActivityId>,
    looked_at: usize,
}

impl Found {
    /// Takes an item; `false` where the page was full before.
    fn take(&mut self, limit: usize, id: ActivityId, item: String) -> bool {
        if self.items.len() == limit {
            self.rest_below = self.last;
            return false;
        }
        self.items.push(item);
        self.last = Some(id);
        true
    }
}

/// Returns the activities of an entity, the newest first.
pub(crate) async fn history(
    State(app): State<Arc<App>>,
    Segments((org, name, id)): Segments<(String, String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, &uri, &org).await?;
    let entity = app.entity(&name)?;
    let query = Query::parse(uri.query(), HISTORY_PARAMETERS, &[])?;
    let limit = query.number("limit", 100, 1..=1_000)?;
    let head = app.bus.begun().await?;
    let before = position(&query, "before")?;
    let key = entities::key(entity, &id)?;
    let entity_id = EntityType::entity_id(key.iter().map(String::as_str));
    let (org, reader) = (org_in_log(entity, &caller.membership.org), caller.reader());
    if entity.rights_at_most(reader.role).read.is_empty() {
        return Err(entities::missing());
    }
    let of = EntityRef { org, entity_type: &entity.name, entity_id: &entity_id };
    let found = walk(&app, entity, &reader, (of, span(&head, before)), limit).await?;
    if found.items.is_empty() {
        // The end of a history that was read page by page is no error.
        let newer =
            before.is_some() && !walk(&app, entity, &reader, (of, span(&head, None)), 1).await?.items.is_empty();
        if !newer && !there(&app, entity, &caller, key).await? {
            return Err(entities::missing());
        }
    }
    let next = found.rest_below.map_or("null".to_owned(), |id| id.to_string());
    answer(&app, (&caller, entity, &head), &found.items, &next).await
}

/// Returns the last known rows of entities that are gone, the latest delete first.
pub(crate) async fn deleted(
    State(app): State<Arc<App>>,
    Segments((org, name)): Segments<(String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, &uri, &org).await?;
    let entity = app.entity(&name)?;
    let query = Query::parse(uri.query(), DELETED_PARAMETERS, &[])?;
    let limit = query.number("limit", 100, 1..=1_000)?;
    let head = app.bus.begun().await?;
    let mut part = span(&head, position(&query, "after")?);
    let reader = caller.reader();
    let whole = Span { after: head.floor, up_to: head.durable };
    let mut found = Found::default();
    'pages: loop {
        let wanted = (limit + 1 - found.items.len()).max(READ_MIN);
        let page =
            app.bus.log().deletes(org_in_log(entity, &caller.membership.org), &entity.name, part, wanted).await?;
        let came_back = came_back(&app, entity, &caller, &page.items, (part, whole)).await?;
        for gone in page.items.iter().filter(|gone| !came_back.contains(&gone.delete.id)) {
            let Some(item) = deleted_item(entity, &reader, gone) else { continue };
            if !found.take(limit, gone.delete.id, item) {
                break 'pages;
            }
        }
        found.looked_at += wanted;
        let Some(rest) = page.rest_below else { break };
        if found.looked_at >= LOOKED_AT_MAX {
            found.rest_below = Some(rest);
            break;
        }
        part.up_to = below(rest);
    }
    let next = found.rest_below.map_or("null".to_owned(), |id| format!("\"{id}\""));
    answer(&app, (&caller, entity, &head), &found.items, &next).await
}

/// Reads an entity's activities from the newest on until a page is full of what may be seen.
async fn walk(
    app: &App,
    entity: &EntityType,
    reader: &Reader,
    (of, mut part): (EntityRef<'_>, Span),
    limit: usize,
) -> Result<Found, Problem> {
    let mut found = Found::default();
    loop {
        let wanted = (limit + 1 - found.items.len()).max(READ_MIN);
        let activities = app.bus.log().of_entity(&of, part, wanted).await?;
        for activity in &activities {
            let Some((action, columns)) = sight(entity, reader, activity) else { continue };
            let mut item = String::new();
            let shown = activity.write_view(&mut item, &View { action, columns: &columns });
            if shown && !found.take(limit, activity.id, item) {
                return Ok(found);
            }
        }
        found.looked_at += activities.len();
        let Some(last) = activities.last().filter(|_| activities.len() == wanted) else { return Ok(found) };
        if found.looked_at >= LOOKED_AT_MAX {
            found.rest_below = Some(last.id);
            return Ok(found);
        }
        part.up_to = below(last.id);
    }
}

/// Of deletes on a later page, those whose entity came back above it.
async fn came_back(
    app: &App,
    entity: &EntityType,
    caller: &Caller,
    gone: &[Deleted],
    (part, whole): (Span, Span),
) -> Result<Vec<ActivityId>, Problem> {
    if part == whole {
        return Ok(Vec::new());
    }
    let above = Span { after: part.up_to, up_to: whole.up_to };
    let ids: Vec<String> = gone.iter().filter_map(|gone| gone.delete.entity_id.clone()).collect();
    let newer = app.bus.log().newest_of(org_in_log(entity, &caller.membership.org), &entity.name, &ids, above).await?;
    let back = |gone: &&Deleted| newer.iter().any(|newer| newer.entity_id == gone.delete.entity_id);
    Ok(gone.iter().filter(back).map(|gone| gone.delete.id).collect())
}

/// An entity that is gone, as the caller may see it.
fn deleted_item(entity: &EntityType, reader: &Reader, gone: &Deleted) -> Option<String> {
    let (_, columns) = sight(entity, reader, &gone.delete)?;
    let mut item = String::from("{\"entityId\":");
    write_string(&mut item, gone.delete.entity_id.as_deref()?);
    item.push_str(",\"deletedAt\":\"");
    write_time(&mut item, gone.delete.commit.at);
    item.push_str("\",\"deletedBy\":");
    match gone.delete.read_tx().and_then(|tx| tx.actor) {
        Some(actor) => write_string(&mut item, &actor),
        None => item.push_str("null"),
    }
    item.push(',');
    let last = gone.last.as_ref();
    let row = RowImage {
        image: last.and_then(|last| last.image.clone()).unwrap_or_else(|| "{}".to_owned()),
        details: last.and_then(|last| last.details.clone()),
        tx: gone.delete.tx.clone(),
        policy: Default::default(),
    };
    entities::write_cut(&mut item, entity, &columns, &row);
    item.push('}');
    Some(item)
}

/// Tells whether the caller sees the entity at present.
async fn there(app: &App, entity: &Arc<EntityType>, caller: &Caller, key: Vec<String>) -> Result<bool, Problem> {
    let query = ListQuery {
        entity: Arc::clone(entity),
        org: caller.membership.org.clone(),
        reader: Some(caller.reader()),
        ids: vec![key],
        filters: Vec::new(),
        order: Vec::new(),
        after: None,
        limit: 1,
    };
    let page = app.rows.list(&query).await.map_err(entities::not_an_id)?;
    Ok(!page.rows.is_empty())
}

/// The organisation under which the log files the rows of a type that an organisation reads.
pub(crate) fn org_in_log<'a>(entity: &EntityType, org: &'a str) -> &'a str {
    if entity.org_column().is_none() { EVERYONE } else { org }
}

/// What of the log is durable, up to a position.
fn span(head: &Head, before: Option<ActivityId>) -> Span {
    let up_to = before.map_or(head.durable, |before| below(before).min(head.durable));
    Span { after: head.floor, up_to }
}

fn below(id: ActivityId) -> ActivityId {
    ActivityId::new(id.as_u64().saturating_sub(1))
}

/// Reads a position: an activity's id, below which the page begins.
fn position(query: &Query, name: &str) -> Result<Option<ActivityId>, Problem> {
    let Some(text) = query.text(name) else { return Ok(None) };
    let id = text.parse().ok().filter(|id| (1..1 << 53).contains(id) && text.bytes().all(|byte| byte.is_ascii_digit()));
    id.map(|id| Some(ActivityId::new(id))).ok_or_else(|| invalid(name, "the `next` of the page before is wanted"))
}

async fn answer(
    app: &App,
    (caller, entity, head): (&Caller, &EntityType, &Head),
    items: &[String],
    next: &str,
) -> Result<Response, Problem> {
    let (_, schema) = app.shape(entity).await?;
    let (offset, epoch, access) = (head.durable, head.epoch.as_u32(), &caller.access);
    let items = items.join(",");
    let body = format!(
        "{{\"items\":[{items}],\"next\":{next},\"offset\":{offset},\"epoch\":{epoch},\"access\":\"{access}\",\"schema\":{schema}}}"
    );
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    if let Ok(value) = HeaderValue::from_str(&format!("{}={schema}", entity.name)) {
        headers.insert("antiphon-schema", value);
    }
    Ok(response)
}
