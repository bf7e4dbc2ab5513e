//! Lists and single entities, each joined with the stream by the offset that its snapshot vouches for (protocol 4).
//!
//! Laws: what the rules do not show a caller is neither found nor told apart from what is not there; the mark is taken before the rows are read (`before_list`), never after. Values above the limit are left out and
//! fetched apart, by the field's own address.

mod cut;
mod request;

use std::sync::Arc;

use antiphon_engine::ports::{FieldQuery, ListQuery};
use antiphon_model::{Code, EntityType, Sight, Visibility, write_string};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
pub(crate) use cut::{cut_tx, write_cut};
#[cfg(test)]
pub(crate) use request::PARAMETERS;

use crate::{
    app::{App, Caller},
    problem::Problem,
    query::{Query, Segments},
};

/// Lists rows of a type.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Segments((org, name)): Segments<(String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, &uri, &org).await?;
    let entity = app.entity(&name)?;
    let reader = caller.reader();
    let query = request::list(uri.query(), entity, &caller.membership.org, &reader)?;
    let before = app.bus.before_list().await?;
    let page = app.rows.list(&query).await?;
    let (offset, epoch) = before.vouch(&page.visibility).await?;
    let schema = app.schema_of(entity, &page.fingerprint).await?;
    let frame = Frame { offset: offset.as_u64(), epoch: epoch.as_u32(), visibility: &page.visibility, schema };
    let mut body = String::from("{\"items\":[");
    for (index, row) in page.rows.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push('{');
        cut::write_item(&mut body, entity, &reader, row);
        body.push('}');
    }
    body.push_str("],\"next\":");
    match &page.next {
        Some(next) => write_string(&mut body, next),
        None => body.push_str("null"),
    }
    frame.finish(body, &caller, &name)
}

/// Returns one entity.
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    Segments((org, name, id)): Segments<(String, String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, &uri, &org).await?;
    let entity = app.entity(&name)?;
    Query::parse(uri.query(), &[], &[])?;
    let key = key(entity, &id)?;
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
    let before = app.bus.before_list().await?;
    let page = app.rows.list(&query).await.map_err(not_an_id)?;
    let (offset, epoch) = before.vouch(&page.visibility).await?;
    let schema = app.schema_of(entity, &page.fingerprint).await?;
    let row = page.rows.first().ok_or_else(missing)?;
    let mut body = String::from("{");
    cut::write_item(&mut body, entity, &caller.reader(), row);
    let frame = Frame { offset: offset.as_u64(), epoch: epoch.as_u32(), visibility: &page.visibility, schema };
    frame.finish(body, &caller, &name)
}

/// Returns one value of an entity whole, however large: what `omitted` names.
pub(crate) async fn field(
    State(app): State<Arc<App>>,
    Segments((org, name, id, field)): Segments<(String, String, String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, &uri, &org).await?;
    let entity = app.entity(&name)?;
    Query::parse(uri.query(), &[], &[])?;
    let key = key(entity, &id)?;
    let (shape, schema) = app.shape(entity).await?;
    // A field that is never shown to this role is none.
    let shown = entity.sight(caller.membership.role, Some(&field)) != Sight::Where(Vec::new());
    if !shown || !shape.fields.iter().any(|known| known.name == field) {
        return Err(Problem::new(Code::NotFound, "this type has no such field"));
    }
    let before = app.bus.before_list().await?;
    let query = FieldQuery {
        entity: Arc::clone(entity),
        org: caller.membership.org.clone(),
        reader: Some(caller.reader()),
        key,
        field: field.clone(),
    };
    let found = app.rows.field(&query).await.map_err(not_an_id)?;
    let found =
        found.ok_or_else(|| Problem::new(Code::NotFound, "there is no such entity, or this field is not shown"))?;
    let (offset, epoch) = before.vouch(&found.visibility).await?;
    let checksum = antiphon_engine::checksum(&found.value);
    let mut body = String::from("{\"field\":");
    write_string(&mut body, &field);
    body.push_str(",\"value\":");
    body.push_str(&found.value);
    body.push_str(&format!(",\"bytes\":{},\"checksum\":\"{checksum}\"", found.value.len()));
    let frame = Frame { offset: offset.as_u64(), epoch: epoch.as_u32(), visibility: &found.visibility, schema };
    frame.finish(body, &caller, &name)
}

/// An id that the key's type cannot hold names no row.
pub(crate) fn not_an_id(fault: antiphon_engine::Fault) -> Problem {
    if fault.code() == Code::ParameterInvalid { missing() } else { fault.into() }
}

/// Reads the key of an id; one that no value of the database can equal names no row.
pub(crate) fn key(entity: &EntityType, id: &str) -> Result<Vec<String>, Problem> {
    let fits = |key: &Vec<String>| !key.iter().any(|part| part.contains('\0'));
    entity.key_values(id).filter(fits).ok_or_else(missing)
}

/// The answer about what is not there for the caller.
pub(crate) fn missing() -> Problem {
    Problem::new(Code::NotFound, "there is no such entity in this organisation")
}

/// What every answer about rows carries.
struct Frame<'a> {
    offset: u64,
    epoch: u32,
    visibility: &'a Visibility,
    schema: u32,
}

impl Frame<'_> {
    /// Closes the body's object with the frame fields.
    fn finish(&self, mut body: String, caller: &Caller, name: &str) -> Result<Response, Problem> {
        let Frame { offset, epoch, visibility, schema } = self;
        let access = &caller.access;
        body.push_str(&format!(
            ",\"offset\":{offset},\"epoch\":{epoch},\"snapshot\":\"{visibility}\",\"access\":\"{access}\",\"schema\":{schema}}}"
        ));
        let mut response = body.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        if let Ok(value) = HeaderValue::from_str(&format!("{name}={schema}")) {
            headers.insert("antiphon-schema", value);
        }
        Ok(response)
    }
}
