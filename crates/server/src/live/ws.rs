//! `GET /v1/ws`: many subscriptions and mutations over one WebSocket (protocol 4).
//!
//! The handshake is answered here; then the socket is taken over and a session runs on it. Laws: the origin is checked
//! before anything is read; nothing is done for whoever has not shown a valid token. It refuses other protocols than
//! `antiphon.v1`.

mod inbound;
mod outbound;
mod session;

use std::sync::Arc;

use antiphon_model::Code;
use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::Response,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

pub(crate) use self::session::limits;
use self::session::{Identity, Opening, Session};
use crate::{app::App, auth::Peer, problem::Problem, query::Query, takeover::Takeover};

/// The one protocol that is spoken.
const PROTOCOL: &str = "antiphon.v1";

/// Answers the handshake.
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    Query::parse(uri.query(), &["ticket"], &[])?;
    let accept = match accept_key(&headers) {
        Ok(accept) => accept,
        // As everywhere, who shows no valid token learns nothing else.
        Err(problem) => return app.principal(&headers, &uri).await.and(Err(problem)),
    };
    let offered = offered_protocols(&headers);
    if !offered.is_empty() && !offered.contains(&PROTOCOL) {
        return Err(Problem::new(Code::ParameterInvalid, format!("the subprotocol `{PROTOCOL}` is wanted")));
    }
    if app.drain.is_cancelled() {
        return Err(Problem::new(Code::Shutdown, "").retry_after(1));
    }
    let opening = match app.origin_allowed(&headers) {
        false => Opening::OriginRefused,
        true => match app.principal_for_stream(&headers, &uri).await? {
            Some((principal, token)) => Opening::Shown(Identity { principal, token }),
            // Who shows nothing here does so in `hello`.
            None => Opening::Silent,
        },
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if !offered.is_empty() {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    Ok(Takeover::answer(response, move |taken| Session::run(app, peer, opening, taken)))
}

fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let is = |name: header::HeaderName, wanted: &str| {
        // Several headers of a name are one list.
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(wanted))
    };
    let refused = |why: &str| Problem::new(Code::ParameterInvalid, why);
    if !is(header::UPGRADE, "websocket") || !is(header::CONNECTION, "upgrade") {
        return Err(refused("a WebSocket handshake is wanted"));
    }
    if !is(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(refused("version 13 of WebSocket is wanted"));
    }
    let key =
        headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(|| refused("the header `Sec-WebSocket-Key` is missing"))?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| refused("`Sec-WebSocket-Key` is malformed"))
}

fn offered_protocols(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty()).collect()
}
