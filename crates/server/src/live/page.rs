//! The stream as JSON: one page, or a long-poll that waits for one.
//!
//! Both read on past what is not for the reader, so that an answer without activities means that there are none yet.
//! Law: whoever waited is looked at again before the answer; what was lost meanwhile (STR-05) is not told.

use std::time::Duration;

use antiphon_engine::Feed;
use antiphon_model::{Code, write_string};
use antiphon_sync::Frame;
use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use tokio::time::{Instant, sleep_until};

use super::{Told, gone};
use crate::{
    app::{App, Caller, Standing},
    line::Line,
    problem::Problem,
};

/// A page is read for at most so long, so that a filter that matches nothing costs a bounded time, and an offset that is
/// not durable yet is waited for.
const PAGE_TIME: Duration = Duration::from_secs(20);

/// An answer that has so many bytes is given, however many activities were asked for: it lies in memory as a whole, and
/// a connection is sent as many a second.
const ANSWER_BYTES: usize = 1 << 20;

/// What was found for an answer.
#[derive(Default)]
struct Found {
    activities: Vec<String>,
    bytes: usize,
    confirmed: Vec<String>,
    caught_up: bool,
}

/// Who asks for how much, over which connection.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) caller: &'a Caller,
    pub(super) line: &'a Line,
    pub(super) limit: usize,
}

impl Asked<'_> {
    /// Waits until the connection has paid for its former answers.
    async fn paid(&self) -> Result<(), Problem> {
        let refused = |wait: Duration| {
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            Problem::new(Code::RateLimited, "this connection takes too many bytes").retry_after(seconds)
        };
        self.line.room(PAGE_TIME).await.map_err(refused)
    }
}

/// Answers with what is there.
pub(super) async fn page(app: &App, asked: Asked<'_>, mut feed: Feed) -> Result<Response, Problem> {
    asked.paid().await?;
    let deadline = Instant::now() + PAGE_TIME;
    let mut found = Found::default();
    while !found.full(asked.limit) && !found.caught_up {
        let Some(frame) = next(app, &mut feed, deadline).await else { break };
        found.take(frame, &feed)?;
    }
    if found.activities.is_empty() && !found.caught_up {
        return Err(Problem::new(Code::TryAgain, "the offset is not durable yet, or the log is away").retry_after(1));
    }
    entitled(app, asked.caller, &feed).await?;
    Ok(found.answer(&feed, asked.caller, asked.line))
}

/// Answers as soon as there is something, or after the timeout.
pub(super) async fn poll(
    app: &App,
    asked: Asked<'_>,
    mut feed: Feed,
    timeout_seconds: usize,
) -> Result<Response, Problem> {
    asked.paid().await?;
    let deadline = Instant::now() + Duration::from_secs(timeout_seconds as u64);
    let mut found = Found::default();
    while found.nothing() {
        let Some(frame) = next(app, &mut feed, deadline).await else { break };
        found.take(frame, &feed)?;
        while !found.full(asked.limit) {
            let Some(frame) = feed.ready() else { break };
            found.take(frame, &feed)?;
        }
    }
    entitled(app, asked.caller, &feed).await?;
    Ok(found.answer(&feed, asked.caller, asked.line))
}

/// Waits for the next frame; `None` at the deadline, or where the server stops.
async fn next(app: &App, feed: &mut Feed, deadline: Instant) -> Option<Told> {
    tokio::select! {
        biased;
        frame = feed.next() => Some(frame),
        () = sleep_until(deadline) => None,
        () = app.drain.cancelled() => None,
    }
}

impl Found {
    fn take(&mut self, frame: Told, feed: &Feed) -> Result<(), Problem> {
        match frame {
            Frame::Change { activity, action, columns } => {
                let encoded = activity.encoded(action, &columns);
                if !encoded.json.is_empty() {
                    // INVARIANT: the JSON was a String.
                    self.activities.push(String::from_utf8_lossy(&encoded.json).into_owned());
                    self.bytes += encoded.json.len();
                }
            }
            Frame::Confirm { transaction_ids, .. } => self.confirmed.extend(transaction_ids),
            Frame::Offset(_) => self.caught_up |= feed.up_to_date(),
            Frame::Reset { code, epoch, types } => return Err(gone(code, epoch, &types)),
            Frame::Beat | Frame::Notice { .. } => {}
        }
        Ok(())
    }

    fn full(&self, limit: usize) -> bool {
        self.activities.len() >= limit || self.bytes >= ANSWER_BYTES
    }

    fn nothing(&self) -> bool {
        self.activities.is_empty() && self.confirmed.is_empty()
    }

    fn answer(&self, feed: &Feed, caller: &Caller, line: &Line) -> Response {
        let offset = feed.offset();
        let mut body = format!(
            "{{\"activities\":[{}],\"offset\":{offset},\"epoch\":{},\"access\":\"{}\",\"upToDate\":{}",
            self.activities.join(","),
            feed.epoch(),
            caller.access,
            feed.up_to_date(),
        );
        if !self.confirmed.is_empty() {
            body.push_str(",\"confirmed\":[");
            for (index, id) in self.confirmed.iter().enumerate() {
                if index > 0 {
                    body.push(',');
                }
                write_string(&mut body, id);
            }
            body.push(']');
        }
        body.push('}');
        line.sent(body.len());
        let mut response = body.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        headers.insert("stream-next-offset", HeaderValue::from(offset.as_u64()));
        response
    }
}

/// Refuses whoever lost the right to read while the answer was made.
async fn entitled(app: &App, caller: &Caller, feed: &Feed) -> Result<(), Problem> {
    match app.standing(caller).await? {
        Standing::Same => Ok(()),
        Standing::TokenEnded => Err(Problem::new(Code::Unauthenticated, "the token has expired or was revoked")),
        Standing::PlaceLost => Err(Problem::new(Code::NotAMember, "")),
        Standing::Changed => Err(gone(Code::AccessChanged, feed.epoch(), &[])),
    }
}
