//! `POST /v1/tickets`, and what tickets open (protocol 1, SE-11).
//!
//! Browsers cannot set headers on an `EventSource` or a `WebSocket`, and addresses stand in logs; so a client gets a
//! ticket for its token and shows that. Laws: a ticket opens streams only, once within its time, and again only for who
//! resumes; the token itself is refused in every address.

use std::sync::Arc;

use antiphon_engine::ports::{Principal, TokenScope};
use antiphon_model::{Code, write_time};
use axum::{
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tokio::time::timeout;

use super::{Caller, Refusal, TICKET_PREFIX, callers::bearer};
use crate::{
    app::App,
    problem::Problem,
    query::{BODY_TIME, Query, invalid},
};

/// The request's body is at most so long.
const BODY_BYTES_MAX: usize = 4 * 1024;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    org: Option<String>,
}

/// Issues a ticket, for one organisation where the body names it.
pub(crate) async fn issue(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    let (mut principal, token) = app.principal(&headers, &uri).await?;
    Caller::demand(&principal, TokenScope::Read)?;
    Query::parse(uri.query(), &[], &[])?;
    if let Some(org) = wanted(body).await?.org {
        principal.only_org = Some(app.caller_of(principal.clone(), token.clone(), &org).await?.membership.org);
    }
    let ticket = app.auth.tickets.issue(&principal, &token).await?;
    let mut expires_at = String::new();
    write_time(&mut expires_at, ticket.open_before);
    let body = serde_json::json!({ "ticket": ticket.text, "expiresAt": expires_at }).to_string();
    let mut response = (StatusCode::CREATED, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(response)
}

async fn wanted(body: Body) -> Result<Wanted, Problem> {
    let read = timeout(BODY_TIME, to_bytes(body, BODY_BYTES_MAX)).await;
    let read = read.map_err(|_| Problem::new(Code::BodyInvalid, "the body did not come in time"))?;
    let bytes = read.map_err(|_| Problem::new(Code::BodyTooLarge, ""))?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Wanted::default());
    }
    serde_json::from_slice(&bytes)
        .map_err(|_| Problem::new(Code::BodyInvalid, "`{\"org\": \"...\"}` or nothing is wanted"))
}

impl App {
    /// Finds out who opens a stream of an organisation: by header, or by ticket.
    ///
    /// `last_event_id` is what a reader that resumes sends.
    pub(crate) async fn caller_for_stream(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        org: &str,
        last_event_id: Option<&str>,
    ) -> Result<Caller, Problem> {
        let Some(ticket) = ticket(uri) else { return self.caller(headers, uri, org).await };
        if bearer(headers).is_some() {
            return self.caller(headers, uri, org).await.and(Err(both()));
        }
        let id = self.auth.org_id(org).await?;
        let principal = self.open_ticket(ticket, Some(&id), last_event_id.is_some_and(resumes)).await?;
        self.caller_of(principal, ticket.to_owned(), org).await
    }

    /// Finds out who opens a WebSocket: by header, or by ticket; `None` where nothing is shown yet.
    pub(crate) async fn principal_for_stream(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Result<Option<(Principal, String)>, Problem> {
        match (ticket(uri), bearer(headers)) {
            (None, None) => Ok(None),
            (None, Some(_)) => self.principal(headers, uri).await.map(Some),
            (Some(_), Some(_)) => self.principal(headers, uri).await.and(Err(both())),
            (Some(ticket), None) => {
                let principal = self.open_ticket(ticket, None, false).await?;
                Ok(Some((principal, ticket.to_owned())))
            }
        }
    }

    async fn open_ticket(&self, ticket: &str, org: Option<&str>, resumed: bool) -> Result<Principal, Problem> {
        // A token is recognised by its form, so that its owner learns what to do.
        if !ticket.starts_with(TICKET_PREFIX) && (ticket.starts_with("ant_") || ticket.split('.').count() == 3) {
            return Err(Refusal::InUrl.problem());
        }
        self.auth.tickets.open(ticket, org, resumed).await?.ok_or_else(|| Refusal::Ticket.problem())
    }
}

fn both() -> Problem {
    invalid("ticket", "it does not go with the header `Authorization`")
}

/// Returns the ticket of an address. It needs no decoding: tickets are letters, digits and `_`.
fn ticket(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("ticket="))
}

/// Tells whether this is the id of an event of ours.
fn resumes(last_event_id: &str) -> bool {
    last_event_id == "end" || last_event_id.parse::<u64>().is_ok()
}
