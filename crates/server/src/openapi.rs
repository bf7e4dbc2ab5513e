//! The description of the API: OpenAPI 3.1, and a page that shows it without anything from elsewhere.
//!
//! It is put together from the list of routes; a test asks that every route is described and no other.

use std::sync::Arc;

use antiphon_model::Code;
use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::{Map, Value, json};

use crate::{app::App, operations, router};

/// Serves the document.
pub(crate) async fn document(State(_): State<Arc<App>>) -> Response {
    operations::document(StatusCode::OK, &describe())
}

/// Serves the page.
pub(crate) async fn page(State(_): State<Arc<App>>) -> Response {
    let mut rows = String::new();
    let described = describe();
    for (method, path) in router::ROUTES {
        let operation = &described["paths"][path][method];
        let text = |name: &str| escape(operation[name].as_str().unwrap_or(""));
        rows.push_str(&format!(
            "<section><h2><code>{} {}</code></h2><p><strong>{}</strong></p><p>{}</p>",
            method.to_uppercase(),
            escape(path),
            text("summary"),
            text("description")
        ));
        if let Some(parameters) = operation["parameters"].as_array() {
            rows.push_str("<table><thead><tr><th>parameter</th><th>in</th><th>meaning</th></tr></thead><tbody>");
            for parameter in parameters {
                let text = |name: &str| escape(parameter[name].as_str().unwrap_or(""));
                rows.push_str(&format!(
                    "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
                    text("name"),
                    text("in"),
                    text("description")
                ));
            }
            rows.push_str("</tbody></table>");
        }
        rows.push_str("</section>");
    }
    router::text("text/html; charset=utf-8", include_str!("openapi/page.html").replace("{{operations}}", &rows))
}

/// Returns the document as text, for generators.
pub fn openapi_document() -> String {
    serde_json::to_string_pretty(&describe()).unwrap_or_default()
}

fn describe() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (method, path) in router::ROUTES {
        let (summary, description, parameters, answer) = writing(method, path).unwrap_or_else(|| operation(path));
        let mut all: Vec<Value> = path_parameters(path);
        all.extend(parameters.iter().map(|(name, place, meaning)| parameter(name, place, meaning)));
        let open = matches!(*path, "/healthz" | "/readyz" | "/metrics" | "/openapi.json" | "/docs");
        let success = if *path == "/v1/tickets" { "201" } else { "200" };
        let mut responses = Map::from_iter([(success.to_owned(), answer)]);
        if !open {
            for (status, meaning) in [
                ("400", "a parameter is unknown or invalid"),
                ("401", "no valid token"),
                ("403", "not a member, or no such organisation"),
                ("429", "RATE_LIMITED: too much was asked for, or too many tokens from this address were not accepted"),
            ] {
                responses.insert(status.into(), problem(meaning));
            }
        }
        if path.ends_with("/live") {
            responses.insert(
                "410".into(),
                problem("list again: OFFSET_EXPIRED, EPOCH_CHANGED, OFFSET_INVALID, ACCESS_CHANGED, SCHEMA_CHANGED"),
            );
            responses
                .insert("204".into(), json!({ "description": "`Last-Event-ID: end`: the stream has ended for good" }));
        }
        let operation = json!({
            "summary": summary,
            "description": description,
            "parameters": all,
            "security": if open { json!([]) } else { json!([{ "token": [] }]) },
            "responses": responses,
        });
        paths.entry((*path).to_owned()).or_insert_with(|| json!({}))[*method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Antiphon",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Lists of a Postgres database joined with a stream of its changes. Unknown parameters are refused.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "a personal access token `ant_...`, or a JSON Web Token of the configured identity provider" } },
            "schemas": schemas(),
        },
    })
}

type Parameters = &'static [(&'static str, &'static str, &'static str)];

const LIST: Parameters = &[
    ("limit", "query", "rows of a page, 1 to 1000, default 100"),
    ("after", "query", "the `next` of the page before"),
    (
        "ids",
        "query",
        "only these entities, at most 100, separated by commas; as JSON arrays of texts where the key has several columns or an id holds a comma",
    ),
    (
        "order",
        "query",
        "declared fields separated by commas, `-field` for descending; nulls last, text by bytes, then the key",
    ),
    (
        "where[field]",
        "query",
        "only rows whose declared field has this value; `where[field][op]` with gt, gte, lt, lte; `where[field][is]=null`",
    ),
];
const LIVE: Parameters = &[
    (
        "offset",
        "query",
        "`-1` everything still in the log, `now` (default) nothing old, or an offset: activities above it",
    ),
    ("Last-Event-ID", "header", "stands in for `offset` when an EventSource reconnects"),
    ("epoch", "query", "the epoch that the reader's rows belong to; another one is answered by a reset"),
    ("access", "query", "the access that the reader's rows belong to; another one is answered by a reset"),
    ("live", "query", "`sse` or `poll`; absent: one page of JSON"),
    ("entityTypes", "query", "only these types, separated by commas"),
    ("snapshot", "query", "the `snapshot` of one list: what it sees is left out"),
    ("limit", "query", "activities of a page, 1 to 1000, default 100"),
    ("timeout", "query", "with `live=poll`: seconds to wait, 1 to 60, default 20"),
    ("ticket", "query", "in place of the header `Authorization`, for clients that cannot set headers"),
];

const OF_TRANSACTION: Parameters = &[
    ("transactionId", "query", "the id in an activity's `tx`: a mutation's, or one that a row got in plain SQL"),
    ("after", "query", "the `next` of the page before: only activities with larger ids"),
    ("limit", "query", "activities of a page, 1 to 1000, default 100"),
];
const HISTORY: Parameters = &[
    ("before", "query", "the `next` of the page before: only activities with smaller ids"),
    ("limit", "query", "activities of a page, 1 to 1000, default 100"),
];
const DELETED: Parameters = &[
    ("after", "query", "the `next` of the page before"),
    ("limit", "query", "entities of a page, 1 to 1000, default 100"),
];

/// The operations that write (protocol 5).
fn writing(method: &str, path: &str) -> Option<(&'static str, &'static str, Parameters, Value)> {
    let answer = |meaning: &str| {
        let reference = json!({ "$ref": "#/components/schemas/Written" });
        json!({ "description": meaning, "content": { "application/json": { "schema": reference } } })
    };
    Some(match (method, path) {
        ("post", "/v1/orgs/{org}/entities/{type}") => (
            "Create an entity",
            "Body: `data` and `tx`. Answers 201; the same transaction id again answers 200 and changes nothing.",
            &[],
            answer("it was created before"),
        ),
        ("patch", "/v1/orgs/{org}/entities/{type}/{id}") => (
            "Change one field",
            "Body: `data` with the one field, or `tx.op` for counters and sets. 409 FIELD_CONFLICT where the field has \
             another id than expected.",
            &[],
            answer("the row as it is"),
        ),
        ("delete", "/v1/orgs/{org}/entities/{type}/{id}") => {
            ("Delete an entity", "Body: `tx` with the row's transaction id as last seen.", &[], answer("it is gone"))
        }
        ("post", "/v1/orgs/{org}/mutations") => (
            "Apply several edits",
            "Each for itself, or with `atomic` all or none. At most 100.",
            &[],
            json!({ "description": "the results in order", "content": { "application/json": {
                "schema": { "$ref": "#/components/schemas/Results" } } } }),
        ),
        _ => return None,
    })
}

fn operation(path: &str) -> (&'static str, &'static str, Parameters, Value) {
    let schema = |name: &str, meaning: &str| {
        let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
        json!({ "description": meaning, "content": { "application/json": { "schema": reference } } })
    };
    let plain = |kind: &str| json!({ "description": "done", "content": { kind: {} } });
    match path {
        "/v1/orgs/{org}/live" => {
            let mut answer = schema("Page", "a page; with `live=sse` events change, offset, reset, notice");
            answer["content"]["text/event-stream"] = json!({ "schema": { "type": "string" } });
            (
                "The stream of an organisation",
                "Catch-up, then live. Order is commit order, ids rise, gaps in ids are normal.",
                LIVE,
                answer,
            )
        }
        "/v1/orgs/{org}/schema" => (
            "The declared types",
            "With an ETag. `can` says what the caller may do.",
            &[],
            schema("Schema", "the types"),
        ),
        "/v1/orgs/{org}/members" => {
            ("The members", "Of the organisation, by name.", &[], schema("Members", "the members"))
        }
        "/v1/orgs/{org}/entities/{type}" => (
            "A list of a type",
            "Stream from `offset`; ignore, for each row, activities whose `commit.xid` the page's `snapshot` sees.",
            LIST,
            schema("List", "a page of the list"),
        ),
        "/v1/orgs/{org}/entities/{type}/{id}" => {
            ("One entity", "With the same frame fields as a list.", &[], schema("Entity", "the entity"))
        }
        "/v1/orgs/{org}/entities/{type}/{id}/fields/{field}" => {
            ("One value", "Whole, however large: what `omitted` names.", &[], schema("FieldValue", "the value"))
        }
        "/v1/ws" | "/v1/tickets" => connecting(path),
        "/v1/orgs/{org}/activities" => (
            "The activities of a transaction",
            "Those still in the log, in its order, each as the stream would show it under the caller's present access; \
             an empty list where there is none or none may be seen. Go on while `next` is not null.",
            OF_TRANSACTION,
            schema("Activities", "a page of the activities"),
        ),
        path if path.ends_with("/history") || path.ends_with("/deleted") => looking_back(path),
        path if path.starts_with("/v1/admin/") => administering(path),
        "/healthz" => ("The process answers", "", &[], plain("application/json")),
        "/readyz" => {
            ("The server can serve", "503 with each part's state where it cannot.", &[], plain("application/json"))
        }
        "/metrics" => ("Metrics", "For Prometheus.", &[], plain("text/plain")),
        "/openapi.json" => ("This document", "", &[], plain("application/json")),
        _ => ("This document as a page", "", &[], plain("text/html")),
    }
}

/// The operations that open connections.
fn connecting(path: &str) -> (&'static str, &'static str, Parameters, Value) {
    let reference = json!({ "$ref": "#/components/schemas/Ticket" });
    let ticket =
        json!({ "description": "the ticket, this once", "content": { "application/json": { "schema": reference } } });
    match path {
        "/v1/ws" => (
            "A WebSocket",
            "Subprotocol `antiphon.v1`: many subscriptions, acknowledgements and mutations over one connection. JSON \
             frames with `kind`; `hello {token?}` comes first.",
            &[("ticket", "query", "in place of the header `Authorization`, for clients that cannot set headers")],
            json!({ "description": "the handshake is answered with 101" }),
        ),
        _ => (
            "A ticket",
            "Opens one stream (`?ticket=`) within 30 seconds, of the organisation that the optional body `{\"org\": ...}` \
             names or of any; shown again with the `Last-Event-ID` of that stream, it resumes it until the token behind \
             it ends.",
            &[],
            ticket,
        ),
    }
}

/// The operations that read what became of entities.
fn looking_back(path: &str) -> (&'static str, &'static str, Parameters, Value) {
    let schema = |name: &str, meaning: &str| {
        let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
        json!({ "description": meaning, "content": { "application/json": { "schema": reference } } })
    };
    match path {
        "/v1/orgs/{org}/entities/{type}/{id}/history" => (
            "The history of an entity",
            "Its activities that are still in the log, newest first, each as the stream would show it under the caller's \
             present access. A page may be shorter than `limit` where much is not for the caller: go on while `next` is \
             not null. A truncate of the whole table is not among them.",
            HISTORY,
            schema("History", "a page of the history"),
        ),
        _ => (
            "The deleted entities of a type",
            "Those whose newest activity in the log is a delete, the latest first: the last known row as far as the log \
             still has it (`unchanged` names what it does not), and the `tx` of the delete. An entity whose id is \
             `deleted` is read by `ids=deleted`, or here as `%64eleted`.",
            DELETED,
            schema("Deleted", "a page of deleted entities"),
        ),
    }
}

const CONNECTIONS: Parameters = &[
    ("after", "query", "the id of the last stream of the page before"),
    ("limit", "query", "streams of a page, 1 to 1000, default 100"),
];

/// The operations of system administrators.
fn administering(path: &str) -> (&'static str, &'static str, Parameters, Value) {
    let schema = |name: &str, meaning: &str| {
        let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
        json!({ "description": meaning, "content": { "application/json": { "schema": reference } } })
    };
    match path {
        "/v1/admin/source" => {
            ("The state of the source", "For system administrators.", &[], schema("Source", "the state"))
        }
        "/v1/admin/limits" => {
            ("The limits", "What tenants and connections may do.", &[], schema("Limits", "the limits"))
        }
        "/v1/admin/connections" => (
            "The open streams",
            "The oldest first, with what each was sent and how far it is behind.",
            CONNECTIONS,
            schema("Connections", "the streams"),
        ),
        "/v1/admin/mirrors" => (
            "The mirrors",
            "Each with its state, its reason, and how far behind it is.",
            &[],
            schema("Mirrors", "the mirrors"),
        ),
        "/v1/admin/source/pause" => (
            "Pause capture",
            "The checkpoint holds and the slot stays; nothing is lost.",
            &[],
            schema("Source", "the state"),
        ),
        _ => ("Resume capture", "From the checkpoint.", &[], schema("Source", "the state")),
    }
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = [
        ("org", "the organisation's id or slug"),
        ("type", "a declared entity type"),
        ("id", "the key's text, or a JSON array of texts, percent-encoded as one segment"),
        ("field", "a field of the type"),
    ];
    let here = names.iter().filter(|(name, _)| path.contains(&format!("{{{name}}}")));
    here.map(|(name, meaning)| parameter(name, "path", meaning)).collect()
}

fn parameter(name: &str, place: &str, meaning: &str) -> Value {
    json!({ "name": name, "in": place, "required": place == "path", "description": meaning, "schema": { "type": "string" } })
}

fn problem(meaning: &str) -> Value {
    let reference = json!({ "$ref": "#/components/schemas/Problem" });
    json!({ "description": meaning, "content": { "application/problem+json": { "schema": reference } } })
}

fn schemas() -> Value {
    let frame = json!({
        "offset": { "type": "integer", "description": "every transaction up to here is in this answer" },
        "epoch": { "type": "integer" },
        "snapshot": { "type": "string", "description": "what the answer's snapshot sees: xmin:xmax:running" },
        "access": { "type": "string", "description": "names what the caller may see" },
        "schema": { "type": "integer", "description": "the number of the type's shape" },
    });
    let item = json!({ "data": { "type": "object" }, "tx": { "type": ["object", "null"] }, "omitted": { "type": "object" }, "jsonNulls": { "type": "array" } });
    let with_frame = |more: Value| {
        let mut all = frame.clone();
        if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
            all.extend(more);
        }
        json!({ "type": "object", "properties": all })
    };
    let log_page = |items: Value, next: &str| {
        json!({ "type": "object", "properties": {
            "items": { "type": "array", "items": items }, "next": { "type": [next, "null"] },
            "offset": { "type": "integer", "description": "the log was read up to here" },
            "epoch": frame["epoch"], "access": frame["access"], "schema": frame["schema"] } })
    };
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    json!({
        "Problem": { "type": "object", "required": ["type", "title", "status", "code", "hint"], "properties": {
            "type": { "type": "string" }, "title": { "type": "string" }, "status": { "type": "integer" },
            "code": { "type": "string", "enum": codes }, "detail": { "type": "string" }, "hint": { "type": "string" } } },
        "List": with_frame(json!({ "items": { "type": "array", "items": { "type": "object", "properties": item } }, "next": { "type": ["string", "null"] } })),
        "Entity": with_frame(item),
        "History": log_page(json!({ "$ref": "#/components/schemas/Activity" }), "integer"),
        "Activities": log_page(json!({ "$ref": "#/components/schemas/Activity" }), "integer"),
        "Deleted": log_page(json!({ "type": "object", "properties": {
            "entityId": { "type": "string" }, "deletedAt": { "type": "string" },
            "deletedBy": { "type": ["string", "null"], "description": "the `sub`; null for plain SQL" },
            "data": { "type": "object" }, "tx": { "type": ["object", "null"] }, "unchanged": { "type": "array" },
            "omitted": { "type": "object" }, "jsonNulls": { "type": "array" } } }), "string"),
        "FieldValue": with_frame(json!({ "field": { "type": "string" }, "value": {}, "bytes": { "type": "integer" }, "checksum": { "type": "string", "description": "`sha256:` and the digest of the encoded value" } })),
        "Activity": { "type": "object", "properties": {
            "activityId": { "type": "integer" }, "entityType": { "type": "string" }, "entityId": { "type": ["string", "null"] },
            "action": { "type": "string", "enum": ["create", "update", "delete", "truncate"] }, "data": { "type": ["object", "null"] },
            "changedKeys": { "type": "array" }, "unchanged": { "type": "array" }, "omitted": { "type": "object" }, "jsonNulls": { "type": "array" },
            "schema": { "type": "integer" }, "tx": { "type": ["object", "null"] }, "createdAt": { "type": "string" },
            "commit": { "type": "object", "properties": { "lsn": { "type": "string" }, "seq": { "type": "integer" }, "last": { "type": "boolean" }, "xid": { "type": "string" } } } } },
        "Page": { "type": "object", "properties": { "activities": { "type": "array", "items": { "$ref": "#/components/schemas/Activity" } },
            "offset": { "type": "integer" }, "epoch": { "type": "integer" }, "access": { "type": "string" }, "upToDate": { "type": "boolean" } } },
        "Written": { "type": "object", "properties": { "data": { "type": ["object", "null"] }, "tx": { "type": ["object", "null"] },
            "commit": { "type": "object", "properties": { "xid": { "type": "string" } } } } },
        "Results": { "type": "object", "properties": { "results": { "type": "array", "items": { "type": "object", "properties": {
            "transactionId": { "type": "string" }, "status": { "type": "string", "enum": ["applied", "duplicate", "conflict", "rejected", "aborted"] },
            "data": { "type": ["object", "null"] }, "tx": { "type": ["object", "null"] }, "commit": { "type": "object" },
            "problem": { "$ref": "#/components/schemas/Problem" }, "because": { "type": "integer" } } } } } },
        "Schema": { "type": "object", "properties": { "types": { "type": "object" }, "access": { "type": "string" } } },
        "Members": { "type": "object", "properties": { "items": { "type": "array" } } },
        "Ticket": { "type": "object", "properties": {
            "ticket": { "type": "string" }, "expiresAt": { "type": "string", "description": "it must open its stream before" } } },
        "Limits": { "type": "object", "properties": { "streamsPerOrganisation": { "type": ["integer", "null"] },
            "mutationsPerSecond": { "type": ["integer", "null"] }, "mutationsBurst": { "type": ["integer", "null"] },
            "refusedTokensPerSecond": { "type": "integer", "description": "from one address, before 429" }, "refusedTokensBurst": { "type": "integer" },
            "websocket": { "type": "object" }, "sse": { "type": "object" }, "poll": { "type": "object" } } },
        "Connections": { "type": "object", "properties": { "total": { "type": "integer" }, "next": { "type": ["integer", "null"] },
            "items": { "type": "array", "items": { "type": "object" } } } },
        "Mirrors": { "type": "object", "properties": { "items": { "type": "array", "items": { "type": "object" }, "description": "each with its name, its state (starting, standing_by, listing, catching_up, following, retrying, blocked), reason, title, hint and detail where something is wrong, since, nextAttemptAt, offset (the last activity that is written there), behind (activities that wait), lagMs (by the source's clock; null where nobody can tell), settling (initial rows may still be ahead of the rest), begunAnew, rowsWritten, rowsDeleted, and listing (entityType, rows, waiting) while initial rows come in" } } },
        "Source": { "type": "object", "properties": {
            "state": { "type": "string" }, "status": { "type": "string" }, "reason": { "type": ["string", "null"] }, "detail": { "type": "string" },
            "since": { "type": "string" }, "nextAttemptAt": { "type": ["string", "null"] }, "asOf": { "type": ["string", "null"] },
            "slot": { "type": ["object", "null"], "description": "null where the source does not answer" },
            "watch": { "type": ["object", "null"], "description": "what the newest look at the source found: rate of its log and time until the slot is lost, publication and tables, old transactions, other slots, and `concerns`, each a named state with its level and remedy; null before the first" }, "copies": { "type": "array", "description": "the copies of tables while any is left: state (queued, copying, retrying, failed, complete), rowsDone, rowsEstimated, rowsPerSecond, secondsLeft (null where nobody can tell); of one that is hindered its reason, title, hint, detail and attempts: it is tried again by itself, and the others go on", "items": { "type": "object" } } } },
    })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{activities, entities, history, live};

    #[test]
    fn every_parameter_that_is_read_is_described_and_no_other() {
        let described = |list: Parameters| -> Vec<&str> {
            list.iter()
                .filter(|(_, place, _)| *place == "query")
                .map(|(name, ..)| *name)
                .filter(|name| !name.contains('['))
                .collect()
        };
        let sorted = |mut names: Vec<&'static str>| {
            names.sort_unstable();
            names
        };
        assert_eq!(sorted(described(LIVE)), sorted(live::PARAMETERS.to_vec()));
        assert_eq!(sorted(described(HISTORY)), sorted(history::HISTORY_PARAMETERS.to_vec()));
        assert_eq!(sorted(described(OF_TRANSACTION)), sorted(activities::PARAMETERS.to_vec()));
        assert_eq!(sorted(described(DELETED)), sorted(history::DELETED_PARAMETERS.to_vec()));
        assert_eq!(sorted(described(LIST)), sorted(entities::PARAMETERS.to_vec()));
    }

    #[test]
    fn every_route_is_described() {
        let described = describe();
        for (method, path) in router::ROUTES {
            assert!(described["paths"][path][method]["summary"].is_string(), "{method} {path}");
        }
    }
}
