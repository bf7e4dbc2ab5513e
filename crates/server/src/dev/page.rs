//! The page of `antiphon dev` and the door by which it runs SQL in the demonstration database.
//!
//! Laws: only this machine's browser is answered (the `Host` must be local, so a foreign name that resolves to us gets
//! nothing); other origins get neither tokens nor SQL; the page loads nothing from elsewhere and runs no inline script.
//! It exists in `dev` only.

mod sdk;
mod sql;

use std::sync::{Arc, OnceLock};

use antiphon_model::{Code, Role};
use antiphon_postgres::ConnectionInfo;
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{DevInfo, demo::USERS};
use crate::desk;

const PAGE: &str = include_str!("../../assets/dev.html");
const STYLE: &str = include_str!("../../assets/dev.css");
const SCRIPT: &str = include_str!("../../assets/dev.js");
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const BODY_BYTES_MAX: usize = 64 * 1024;

type Shown = Arc<OnceLock<DevInfo>>;

/// Makes the routes of the page; they answer once `shown` is set.
pub(super) fn router(shown: Shown) -> Router {
    Router::new()
        .route("/", get(|| asset("text/html; charset=utf-8", PAGE)))
        .route("/dev/dev.css", get(|| asset("text/css; charset=utf-8", STYLE)))
        .route("/dev/dev.js", get(|| asset("text/javascript; charset=utf-8", SCRIPT)))
        .merge(sdk::router())
        .merge(desk::files())
        .merge(desk::two_windows())
        .route("/dev/session", get(session))
        .route("/dev/sql", post(run_sql))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(guard))
        .with_state(shown)
}

async fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// Refuses foreign hosts, and sets the headers that every answer of the page has.
async fn guard(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let mut response = if local(host) {
        next.run(request).await
    } else {
        refusal(Code::Forbidden, "this page answers to localhost only")
    };
    let headers = response.headers_mut();
    // The example of the SDK and Desk have policies of their own.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    for (name, value) in [
        (header::CACHE_CONTROL, "private, no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Tells whether a `Host` header names this machine.
fn local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    matches!(name, "localhost" | "127.0.0.1" | "::1")
}

/// Tells whether a request comes from the page itself, or from a program that is no browser.
fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return false;
    }
    let host = text(header::HOST).unwrap_or_default();
    text(header::ORIGIN).is_none_or(|origin| origin.strip_prefix("http://") == Some(host))
}

/// Gives the page what it needs to act as the demonstration's users.
async fn session(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    if !same_origin(&headers) {
        return refusal(Code::Forbidden, "another origin asked");
    }
    let Some(info) = shown.get() else { return refusal(Code::TryAgain, "not ready yet") };
    let users: Vec<Value> = USERS
        .iter()
        .filter_map(|user| {
            let (org, role): (&str, Role) = user.org?;
            Some(json!({"id": user.id, "name": user.name, "org": org, "role": role.as_str()}))
        })
        .collect();
    let commands: Vec<Value> =
        info.commands().into_iter().map(|(say, command)| json!({"say": say, "command": command})).collect();
    Json(json!({"tokens": info.tokens, "orgs": info.orgs, "users": users, "commands": commands})).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlBody {
    sql: String,
}

/// Runs SQL in the demonstration database.
async fn run_sql(State(shown): State<Shown>, headers: HeaderMap, body: Bytes) -> Response {
    if !same_origin(&headers) {
        return refusal(Code::Forbidden, "another origin asked");
    }
    let Some(info) = shown.get() else { return refusal(Code::TryAgain, "not ready yet") };
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return refusal(Code::BodyInvalid, "the content type must be application/json");
    }
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let expected = info.tokens.get("admin").map(|token| format!("Bearer {token}"));
    if token.is_none() || token != expected.as_deref() {
        return refusal(Code::Unauthenticated, "this needs the administrator's token");
    }
    let body: SqlBody = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(error) => return refusal(Code::BodyInvalid, &error.to_string()),
    };
    let ran = match ConnectionInfo::parse(&info.database_url) {
        Ok(info) => sql::run(&info, &body.sql).await,
        Err(fault) => Err(fault),
    };
    match ran {
        Ok(document) => Json(document).into_response(),
        Err(fault) => refusal(fault.code(), fault.detail()),
    }
}

fn refusal(code: Code, detail: &str) -> Response {
    let status = match code {
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::BodyInvalid => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let problem = json!({
        "type": format!("urn:antiphon:error:{code}"), "status": status.as_u16(), "code": code.as_str(),
        "title": code.title(), "detail": detail, "hint": code.hint(),
    });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], problem.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["localhost", "localhost:7411", "127.0.0.1:1", "[::1]:7411", "[::1]"] {
            assert!(local(host), "{host}");
        }
        for host in ["", "evil.example", "evil.example:7411", "127.0.0.1.evil.example", "localhost.evil:80", "10.0.0.1"]
        {
            assert!(!local(host), "{host}");
        }
    }

    #[test]
    fn other_origins_are_refused_even_on_this_machine() {
        let check = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)));
            same_origin(&pairs.collect())
        };
        assert!(check(&[("host", "localhost:1")]));
        assert!(check(&[("host", "localhost:1"), ("origin", "http://localhost:1"), ("sec-fetch-site", "same-origin")]));
        assert!(!check(&[("host", "localhost:1"), ("origin", "http://localhost:2")]));
        assert!(!check(&[("host", "localhost:1"), ("origin", "null")]));
        assert!(!check(&[("host", "localhost:1"), ("sec-fetch-site", "cross-site")]));
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere_and_holds_no_inline_code_se_12() {
        assert!(!PAGE.contains("http://") && !PAGE.contains("https://") && !PAGE.contains("style="));
        assert!(!PAGE.contains("onclick") && !PAGE.contains("<style") && !PAGE.contains("<script>"));
        assert!(!SCRIPT.contains("innerHTML") && !SCRIPT.contains("eval("));
    }
}
