//! Desk, an application of pages and tasks, as `script/sdk` built it when this binary was built (DESK-04, DESK-05, SE-12):
//! for `dev` with two windows of it at `/try`, and for `serve` where the configuration wants it, with an answer to the
//! question whose token somebody has.
//!
//! Laws: it runs its own script and nothing else, and no text becomes code (Trusted Types, with one policy, which names the service worker); it
//! speaks with this server only, and only pages of this server may show it in a frame. Each file is sent as the browser
//! takes it: by Brotli, by gzip, or as it is.

use std::sync::Arc;

use antiphon_model::Code;
use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Uri, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use serde_json::{Value, json};

use crate::{
    app::App,
    problem::Problem,
    query::{Query, Segments},
};

/// The core as WebAssembly; empty in a binary without it.
pub(crate) const CORE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/core_bg.wasm"));

/// A file of Desk: its name, its kind, and its bytes as they are, by gzip, and by Brotli.
struct File {
    name: &'static str,
    kind: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
    brotli: &'static [u8],
}

macro_rules! built {
    ($name:expr) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name))
    };
}

macro_rules! file {
    ($address:literal, $kind:literal, $built:literal, $plain:expr) => {
        File {
            name: $address,
            kind: $kind,
            plain: $plain,
            gzip: built!(concat!($built, ".gz")),
            brotli: built!(concat!($built, ".br")),
        }
    };
    ($name:literal, $kind:literal) => {
        file!($name, $kind, $name, built!($name))
    };
}

const FILES: [File; 7] = [
    file!("", "text/html; charset=utf-8", "index.html", built!("index.html")),
    file!("desk.js", "text/javascript; charset=utf-8"),
    file!("desk.css", "text/css; charset=utf-8"),
    file!("worker.js", "text/javascript; charset=utf-8"),
    file!("manifest.webmanifest", "application/manifest+json"),
    file!("icon.svg", "image/svg+xml"),
    // As it is, the SDK has it already.
    file!("core_bg.wasm", "application/wasm", "core_bg.wasm", CORE),
];

const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; frame-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; \
                      require-trusted-types-for 'script'; trusted-types worker";

/// Makes the routes of Desk's files.
pub(crate) fn files<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/desk", get(|| async { Redirect::permanent("/desk/") }))
        .route("/desk/", get(|headers: HeaderMap| async move { file("", &headers) }))
        .route("/desk/{name}", get(|Path(name): Path<String>, headers: HeaderMap| async move { file(&name, &headers) }))
}

/// Makes the routes of the page with two windows: the same page, whose script sees where it stands.
pub(crate) fn two_windows<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/try", get(|| async { Redirect::permanent("/try/") }))
        .route("/try/", get(|headers: HeaderMap| async move { file("", &headers) }))
}

/// Makes the routes of Desk beside an API.
pub(crate) fn beside(app: Arc<App>) -> Router {
    files().route("/desk/session/{org}", get(session)).with_state(app)
}

/// Says whose token somebody has, who else is in the organisation, and which types there are.
async fn session(
    State(app): State<Arc<App>>,
    Segments(org): Segments<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, &uri, &org).await?;
    Query::parse(uri.query(), &[], &[])?;
    let org = &caller.membership.org;
    let members = app.directory.members(org).await?;
    let users: Vec<Value> =
        members.iter().map(|member| json!({ "id": member.id, "name": member.name, "org": org })).collect();
    let types: Vec<&String> = app.entities.keys().collect();
    let body = json!({ "user": caller.principal.subject, "users": users, "types": types }).to_string();
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "private, no-store")];
    Ok((headers, body).into_response())
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return Problem::new(Code::NotFound, "Desk has no such file").into_response();
    };
    if file.plain.is_empty() {
        let why = "this binary was built without Desk: run script/sdk, then build it again";
        return Problem::new(Code::NotFound, why).into_response();
    }
    let encodings = [("br", file.brotli), ("gzip", file.gzip)];
    let packed = encodings.into_iter().find(|(encoding, bytes)| !bytes.is_empty() && takes(headers, encoding));
    let mut response = packed.map_or(file.plain, |(_, bytes)| bytes).into_response();
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    answer.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    answer.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
    // A new release is found at once; the service worker keeps what works without a network.
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Some((encoding, _)) = packed {
        answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

/// Tells whether a browser takes an encoding: named, and not with the weight 0.
fn takes(headers: &HeaderMap, encoding: &str) -> bool {
    let named = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let weight = |part: &str| part.strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding))
            && parts.find_map(weight).is_none_or(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_code_in_desk_se_12() {
        assert!(!POLICY.contains("unsafe-inline") && !POLICY.contains("'unsafe-eval'") && !POLICY.contains('*'));
        assert!(POLICY.contains("require-trusted-types-for 'script'; trusted-types worker"));
        let page = include_str!("../../../apps/desk/index.html");
        assert!(!page.contains("<style") && !page.contains("style=") && !page.contains("onload"));
        assert_eq!(page.matches("<script type=\"module\" src=").count(), page.matches("<script").count());
    }

    #[test]
    fn a_file_is_packed_only_for_who_takes_it_desk_04() {
        let asked =
            |text: &'static str| HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(text))]);
        assert!(takes(&asked("gzip, deflate, br, zstd"), "br"));
        assert!(takes(&asked("gzip;q=0.5"), "gzip"));
        for (text, encoding) in [("gzip", "br"), ("br;q=0, gzip", "br"), ("identity", "gzip"), ("brotli", "br")] {
            assert!(!takes(&asked(text), encoding), "{text}");
        }
        assert!(!takes(&HeaderMap::new(), "gzip"));
    }
}
