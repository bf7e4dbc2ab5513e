//! `GET .../schema` and `GET .../members`: what a client must know before it lists (protocol 3).
//!
//! The schema is made from the live tables; `can` follows the caller's role until policies say more.

use std::sync::Arc;

use antiphon_engine::ports::{Field, FieldDefault, Shape};
use antiphon_model::{EntityType, Merge, Role, Sync, TypeKind};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    problem::Problem,
    query::{Query, Segments},
};

/// Describes every declared type for the caller.
pub(crate) async fn schema(
    State(app): State<Arc<App>>,
    Segments(org): Segments<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, &uri, &org).await?;
    Query::parse(uri.query(), &[], &[])?;
    let (mut types, mut numbers) = (Map::new(), Vec::new());
    for entity in app.entities.values() {
        let (shape, number) = app.shape(entity).await?;
        types.insert(entity.name.clone(), describe(entity, &shape, number, caller.membership.role));
        numbers.push(format!("{}={number}", entity.name));
    }
    let body = json!({ "types": types, "access": caller.access }).to_string();
    let etag = format!("\"{}\"", &antiphon_engine::checksum(&body)[7..39]);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let unchanged = known.is_some_and(|known| {
        known.split(',').any(|one| matches!(one.trim().trim_start_matches("W/"), one if one == "*" || one == etag))
    });
    let mut response = match unchanged {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
    };
    let values = [
        (header::ETAG, etag),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
        (header::HeaderName::from_static("antiphon-schema"), numbers.join(", ")),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// Lists the members of an organisation.
pub(crate) async fn members(
    State(app): State<Arc<App>>,
    Segments(org): Segments<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, &uri, &org).await?;
    Query::parse(uri.query(), &[], &[])?;
    let members = app.directory.members(&caller.membership.org).await?;
    let items: Vec<Value> = members
        .iter()
        .map(|member| {
            let mut item = json!({ "id": member.id, "name": member.name, "role": member.role });
            if let Some(url) = &member.avatar_url {
                item["avatarUrl"] = url.as_str().into();
            }
            item
        })
        .collect();
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "private, no-store")];
    Ok((headers, json!({ "items": items }).to_string()).into_response())
}

fn describe(entity: &EntityType, shape: &Shape, number: u32, role: Role) -> Value {
    let org = &entity.org_column().unwrap_or_default().to_owned();
    let fields: Map<String, Value> =
        shape.fields.iter().map(|field| (field.name.clone(), describe_field(entity, field))).collect();
    let fixed = |name: &str| name == org || entity.key.iter().any(|key| key == name);
    let update: Vec<&str> = match role.writes() {
        true => shape.fields.iter().map(|field| field.name.as_str()).filter(|name| !fixed(name)).collect(),
        false => Vec::new(),
    };
    // A key that only the database can make cannot be made offline.
    let made_by_database = entity.key.iter().any(|key| {
        let field = shape.fields.iter().find(|field| field.name == *key);
        field.is_some_and(|field| field.default == Some(FieldDefault::Database) && field.ty.name != "uuid")
    });
    json!({
        "schema": number,
        "key": entity.key,
        "org": org,
        "fields": fields,
        "refs": entity.refs,
        "sync": match entity.sync { Sync::All => "all", Sync::OnDemand => "on_demand" },
        "filter": entity.filter,
        "together": entity.together,
        "create": if made_by_database { Value::from("online") } else { Value::from("offline") },
        "can": { "create": role.writes(), "update": update, "delete": role.writes() },
    })
}

fn describe_field(entity: &EntityType, field: &Field) -> Value {
    let merge = match entity.fields.get(&field.name).copied().unwrap_or_default() {
        Merge::Lww => "lww",
        Merge::Manual => "manual",
        Merge::Text => "text",
        Merge::Counter => "counter",
        Merge::Set => "set",
    };
    let mut described = json!({
        "type": field.ty.name,
        "json": field.ty.json_name(),
        "nullable": field.nullable,
        "merge": merge,
    });
    match &field.default {
        Some(FieldDefault::Literal(text)) => described["default"] = serde_json::from_str(text).unwrap_or(Value::Null),
        Some(FieldDefault::Now) => described["default"] = "now".into(),
        Some(FieldDefault::Database) | None => {}
    }
    if let TypeKind::Enum(labels) = &field.ty.kind {
        described["enum"] = labels.iter().map(String::as_str).collect();
    }
    if let Some(length) = field.length_max {
        described["length"] = length.into();
    }
    if let Some(entity_type) = entity.refs.get(&field.name) {
        described["ref"] = entity_type.as_str().into();
    }
    described
}
