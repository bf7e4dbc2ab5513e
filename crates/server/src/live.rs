//! `GET /v1/orgs/{org}/live`: the stream of an organisation, as SSE, long-poll or a single page (protocol 4).

mod cursor;
mod page;
mod request;
mod sse;

use std::sync::Arc;

use antiphon_model::Code;
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use cursor::{Ended, Reset};
#[cfg(test)]
pub(crate) use request::PARAMETERS;
use request::{Form, Request};

use crate::{app::App, problem::Problem, query::Segments};

/// Answers a reader.
pub(crate) async fn live(
    State(app): State<Arc<App>>,
    Segments(org): Segments<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let caller = app.caller(&headers, &uri, &org).await?;
    // The id of a reset: an EventSource that comes back with it is to stop.
    if headers.get("last-event-id").is_some_and(|id| id == "end") {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let request = Request::parse(uri.query(), &headers, &app)?;
    if app.drain.is_cancelled() {
        return Err(Problem::new(Code::Shutdown, "").retry_after(1));
    }
    let schema = schemas(&app).await?;
    let place = app.streams.enter(&caller.membership.org, app.streams_max)?;
    let cursor = request.cursor(&app.bus, &caller).await;
    let mut response = match (request.form, cursor) {
        (_, Err(Ended::Problem(problem))) => return Err(problem),
        (Form::Sse, Err(Ended::Reset(reset))) => sse::ended(&reset),
        (_, Err(Ended::Reset(reset))) => return Err(gone(&reset)),
        (Form::Sse, Ok(cursor)) => sse::open(Arc::clone(&app), cursor, caller, place),
        (Form::Page, Ok(cursor)) => page::page(&app, &caller, cursor, request.limit).await?,
        (Form::Poll { timeout_seconds }, Ok(cursor)) => {
            page::poll(&app, &caller, cursor, request.limit, timeout_seconds).await?
        }
    };
    if let Ok(value) = HeaderValue::from_str(&schema) {
        response.headers_mut().insert("antiphon-schema", value);
    }
    Ok(response)
}

/// The numbers of every type's shape, as the header `Antiphon-Schema` shows them.
async fn schemas(app: &App) -> Result<String, Problem> {
    let mut numbers = Vec::new();
    for entity in app.entities.values() {
        numbers.push(format!("{}={}", entity.name, app.shape(entity).await?.1));
    }
    Ok(numbers.join(", "))
}

/// A reset as the answer to a page or a long-poll.
fn gone(reset: &Reset) -> Problem {
    Problem::new(reset.code, "").with("epoch", reset.epoch.as_u32().into())
}
