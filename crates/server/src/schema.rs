//! `GET .../schema` and `GET .../members`: what a client must know before it lists (protocol 3).
//!
//! The schema is made from the live tables and cut to what the caller's role may ever see or write; `can` says the most
//! that it may do with some row.

use std::sync::Arc;

use antiphon_engine::ports::{Field, FieldDefault, Shape};
use antiphon_model::{EntityType, Merge, Rights, Role, Sync, Tenancy, TypeKind};
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
    app.forget_old_shapes().await?;
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
    let org = entity.org_column().unwrap_or_default();
    let rights = rights(entity, role);
    let reads = |name: &str| rights.read.contains(name);
    let known = shape.fields.iter().filter(|field| reads(&field.name) || rights.write.contains(&field.name));
    let fields: Map<String, Value> =
        known.clone().map(|field| (field.name.clone(), describe_field(entity, field))).collect();
    let fixed = |name: &str| name == org || entity.key.iter().any(|key| key == name);
    let update: Vec<&str> =
        known.map(|field| field.name.as_str()).filter(|name| rights.write.contains(name) && !fixed(name)).collect();
    // Only what may be compared in every row may be filtered by.
    let filter: Vec<&String> = entity.filter.iter().filter(|name| entity.reads_throughout(role, name)).collect();
    let together: Vec<&Vec<String>> =
        entity.together.iter().filter(|group| group.iter().all(|name| fields.contains_key(name))).collect();
    let refs: Map<String, Value> = entity
        .refs
        .iter()
        .filter(|(name, _)| fields.contains_key(*name))
        .map(|(name, target)| (name.clone(), target.as_str().into()))
        .collect();
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
        "refs": refs,
        "sync": match entity.sync { Sync::All => "all", Sync::OnDemand => "on_demand" },
        "filter": filter,
        "together": together,
        "create": if made_by_database { Value::from("online") } else { Value::from("offline") },
        "can": { "create": rights.create, "update": update, "delete": rights.delete },
    })
}

/// The most that a role may do with any row; what everyone reads is written by plain SQL only.
fn rights(entity: &EntityType, role: Role) -> Rights {
    let most = entity.rights_at_most(role);
    match entity.org {
        Tenancy::Everyone => Rights { read: most.read, ..Rights::default() },
        _ => most,
    }
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
