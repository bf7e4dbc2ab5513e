//! Every route, and what all answers have in common: request ids, limits, refusals in one form.
//!
//! The list of routes is data that OpenAPI and the tests of the tenant wall share.

use std::{sync::Arc, time::Duration};

use antiphon_model::Code;
use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, patch, post},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
};
use uuid::Uuid;

use crate::{
    activities, app::App, auth, auth::Origins, entities, history, live, mirrors, mutations, openapi, operations,
    problem::Problem, schema,
};

/// A body may have so many bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
const REQUEST_ID: HeaderName = HeaderName::from_static("antiphon-request-id");

/// Every route: its method and its path, in axum's and OpenAPI's common spelling.
pub const ROUTES: &[(&str, &str)] = &[
    ("get", "/v1/orgs/{org}/live"),
    ("get", "/v1/orgs/{org}/schema"),
    ("get", "/v1/orgs/{org}/members"),
    ("get", "/v1/orgs/{org}/entities/{type}"),
    ("post", "/v1/orgs/{org}/entities/{type}"),
    ("get", "/v1/orgs/{org}/entities/{type}/{id}"),
    ("patch", "/v1/orgs/{org}/entities/{type}/{id}"),
    ("delete", "/v1/orgs/{org}/entities/{type}/{id}"),
    ("get", "/v1/orgs/{org}/entities/{type}/{id}/history"),
    ("get", "/v1/orgs/{org}/entities/{type}/deleted"),
    ("get", "/v1/orgs/{org}/activities"),
    ("post", "/v1/orgs/{org}/mutations"),
    ("get", "/v1/orgs/{org}/entities/{type}/{id}/fields/{field}"),
    ("get", "/v1/ws"),
    ("post", "/v1/tickets"),
    ("get", "/v1/admin/source"),
    ("get", "/v1/admin/limits"),
    ("get", "/v1/admin/connections"),
    ("get", "/v1/admin/mirrors"),
    ("post", "/v1/admin/source/pause"),
    ("post", "/v1/admin/source/resume"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/docs"),
];

/// Makes the router; `page` adds routes of its own (the page of `dev`).
pub(crate) fn router(app: Arc<App>, page: Option<Router>, origins: Origins) -> Router {
    let mut router = Router::new();
    for (method, path) in ROUTES {
        router = router.route(path, handler(method, path));
    }
    let gate = middleware::from_fn_with_state(Arc::clone(&app), auth::gate);
    let mut router = router.with_state(app);
    if let Some(page) = page {
        router = router.merge(page);
    }
    router = router
        .fallback(async || Problem::new(Code::NotFound, "there is no such address"))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed, ""))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(gate)
        .layer(cors(origins));
    router.layer(CatchPanicLayer::custom(panicked)).layer(middleware::from_fn(identify))
}

fn handler(method: &str, path: &str) -> MethodRouter<Arc<App>> {
    match (method, path) {
        (_, "/v1/orgs/{org}/live") => get(live::live),
        (_, "/v1/orgs/{org}/schema") => get(schema::schema),
        (_, "/v1/orgs/{org}/members") => get(schema::members),
        ("get", "/v1/orgs/{org}/entities/{type}") => get(entities::list),
        (_, "/v1/orgs/{org}/entities/{type}") => post(mutations::create),
        ("get", "/v1/orgs/{org}/entities/{type}/{id}") => get(entities::one),
        ("patch", "/v1/orgs/{org}/entities/{type}/{id}") => patch(mutations::patch),
        (_, "/v1/orgs/{org}/entities/{type}/{id}") => delete(mutations::delete),
        (_, "/v1/orgs/{org}/entities/{type}/{id}/history") => get(history::history),
        // An entity whose id is this word is edited at its own address; it is read by `ids=` or with a letter escaped.
        (_, "/v1/orgs/{org}/entities/{type}/deleted") => {
            get(history::deleted).patch(mutations::patch_deleted).delete(mutations::delete_deleted)
        }
        (_, "/v1/orgs/{org}/activities") => get(activities::of_transaction),
        (_, "/v1/orgs/{org}/mutations") => post(mutations::batch),
        (_, "/v1/orgs/{org}/entities/{type}/{id}/fields/{field}") => get(entities::field),
        (_, "/v1/ws") => get(live::ws),
        (_, "/v1/tickets") => post(auth::issue),
        (_, "/v1/admin/source") => get(operations::source),
        (_, "/v1/admin/limits") => get(operations::limits),
        (_, "/v1/admin/connections") => get(operations::connections),
        (_, "/v1/admin/mirrors") => get(mirrors::show),
        (_, "/v1/admin/source/pause") => post(operations::pause),
        (_, "/v1/admin/source/resume") => post(operations::resume),
        (_, "/healthz") => get(operations::healthz),
        (_, "/readyz") => get(operations::readyz),
        (_, "/metrics") => get(operations::metrics),
        (_, "/openapi.json") => get(openapi::document),
        (_, "/docs") => get(openapi::page),
        // A test asks every route of the list, so one without a handler is found there.
        _ => MethodRouter::new(),
    }
}

/// Gives each request an id, and counts the answers.
async fn identify(request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().to_string();
    // The route and never the address: people paste tokens into paths, and a query holds what no log should.
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let method = request.method().clone();
    let mut response = next.run(request).await;
    let status = response.status();
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    guard(response.headers_mut());
    let class = match status.as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    metrics::counter!("antiphon_http_requests_total", "status" => class).increment(1);
    tracing::debug!(request.id = id, %method, route, status = status.as_u16(), "answered {method} {route} with {status}");
    response
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    Problem::new(Code::Internal, "").into_response()
}

/// Pages of these origins may call. Tokens stand in a header that pages set themselves, so there are no credentials.
fn cors(origins: Origins) -> CorsLayer {
    let allowed = move |origin: &HeaderValue, _: &Parts| origins.allow(origin);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allowed))
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([
            REQUEST_ID,
            HeaderName::from_static("antiphon-schema"),
            HeaderName::from_static("stream-next-offset"),
            header::ETAG,
            header::RETRY_AFTER,
            // By it a client whose clock is wrong knows the time.
            header::DATE,
        ])
        .max_age(Duration::from_secs(600))
}

/// What every answer says to browsers: nobody frames it, nobody guesses its type, no address leaks (SE-32).
fn guard(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        // A page that says more for itself has said it on purpose.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// A handler's plain answer for documents that are text.
pub(crate) fn text(content_type: &'static str, body: String) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], body).into_response()
}
