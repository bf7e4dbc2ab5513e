//! `GET /v1/orgs/{org}/live`: the stream of an organisation, as SSE, long-poll or a single page (protocol 4).
//!
//! The transports differ in how they speak, never in what they show: that is one machine's (`antiphon_sync`). Law: the
//! right to read is settled before anything is read, and looked at while it is used.

mod frames;
mod guard;
mod page;
mod registry;
mod request;
mod sse;
mod ws;

use std::sync::Arc;

use antiphon_engine::{Fault, Published};
use antiphon_model::{Code, Epoch};
use antiphon_sync::Frame;
use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use guard::Guard;
use page::Asked;
pub(crate) use registry::{Entry, Streams, Transport};
#[cfg(test)]
pub(crate) use request::PARAMETERS;
use request::{Form, Request};
use serde_json::{Value, json};
use ws::limits as websocket_limits;
pub(crate) use ws::open as ws;

use crate::{
    app::App,
    compose::now,
    line::{Line, StreamBytes},
    problem::Problem,
    query::Segments,
};

/// Answers a reader.
pub(crate) async fn live(
    State(app): State<Arc<App>>,
    Segments(org): Segments<String>,
    Extension(line): Extension<Arc<Line>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let caller = app.caller_for_stream(&headers, &uri, &org, last).await?;
    // The id of a reset: an EventSource that comes back with it is to stop.
    if headers.get("last-event-id").is_some_and(|id| id == "end") {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let request = Request::parse(uri.query(), &headers, &app)?;
    if app.drain.is_cancelled() {
        return Err(Problem::new(Code::Shutdown, "").retry_after(1));
    }
    let schema = schemas(&app).await?;
    let transport = if request.form == Form::Sse { Transport::Sse } else { Transport::Poll };
    let place = app.streams.enter(&caller, transport, app.streams_max)?;
    let feed = request.wanted.feed(&app, &caller).await;
    let asked = Asked { caller: &caller, line: &line, limit: request.limit };
    let guard = Guard::new(Arc::clone(&app), caller.clone());
    let mut response = match (request.form, feed) {
        (_, Err(Ended::Problem(problem))) => return Err(problem),
        (Form::Sse, Err(Ended::Reset { code, epoch, types })) => sse::ended(&Frame::Reset { code, epoch, types }),
        (_, Err(Ended::Reset { code, epoch, types })) => return Err(gone(code, epoch, &types)),
        (Form::Sse, Ok(feed)) => sse::open(feed, guard, place),
        (Form::Page, Ok(feed)) => page::page(&app, asked, feed).await?,
        (Form::Poll { timeout_seconds }, Ok(feed)) => page::poll(&app, asked, feed, timeout_seconds).await?,
    };
    if let Ok(value) = HeaderValue::from_str(&schema) {
        response.headers_mut().insert("antiphon-schema", value);
    }
    Ok(response)
}

/// What each transport may do, for operators.
pub(crate) fn limits(bytes: StreamBytes) -> [(&'static str, Value); 3] {
    let websocket = websocket_limits(bytes);
    let bytes = json!({ "bytesPerSecond": websocket["bytesPerSecond"], "bytesBurst": websocket["bytesBurst"] });
    [("websocket", websocket), ("sse", bytes.clone()), ("poll", bytes)]
}

/// The numbers of every type's shape, as the header `Antiphon-Schema` shows them.
async fn schemas(app: &App) -> Result<String, Problem> {
    let mut numbers = Vec::new();
    for entity in app.entities.values() {
        numbers.push(format!("{}={}", entity.name, app.shape(entity).await?.1));
    }
    Ok(numbers.join(", "))
}

/// Why no stream begins.
enum Ended {
    /// The reader must list again.
    Reset { code: Code, epoch: Epoch, types: Vec<String> },
    /// Something else.
    Problem(Problem),
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Ended {
        Ended::Problem(fault.into())
    }
}

/// Counts how long after its commit an activity is handed to a socket, by the two machines' clocks.
fn delivered(activity: &Published) {
    let lag = (now().0 - activity.commit.at.0).max(0);
    metrics::histogram!("antiphon_delivery_lag_seconds").record(lag as f64 / 1e6);
}

/// What a stream brings.
type Told = Frame<Arc<Published>>;

/// A reset as the answer to a page or a long-poll.
fn gone(code: Code, epoch: Epoch, types: &[String]) -> Problem {
    let problem = Problem::new(code, "").with("epoch", epoch.as_u32().into());
    if types.is_empty() { problem } else { problem.with("entityTypes", types.into()) }
}
