//! The stream as server-sent events: catch-up, then live.
//!
//! One task a stream reads from its position and hands over frames through a channel of two: what the socket does not
//! take is not read from the log either. Membership and token are looked at every two seconds (STR-05). A stream ends
//! with the reason as its last event; the reader goes on from its last id.

use std::{convert::Infallible, sync::Arc, time::Duration};

use antiphon_engine::{Fault, spawn};
use antiphon_model::{Access, ActivityId, Code, write_time};
use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use tokio::{sync::mpsc, time::Instant};

use super::cursor::{Cursor, Ended, Item, Reset};
use crate::app::{App, Caller, Place};

/// Frames are joined up to this size before they are handed to the socket.
const CHUNK_BYTES: usize = 64 * 1024;
/// One read of the log.
const PAGE: usize = 100;
/// A comment and an offset at least this often, so that proxies and readers know that the stream lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// While activities are filtered out, the offset is told at least this often.
const OFFSET_INTERVAL: Duration = Duration::from_secs(1);
/// How often the right to read is looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// A socket that takes nothing for this long is dropped.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// What a reader waits before it comes back, if it is not told otherwise.
const RETRY_MS: u64 = 1_000;

/// Opens a stream.
pub(super) fn open(app: Arc<App>, cursor: Cursor, caller: Caller, place: Place) -> Response {
    let (frames, mut ready) = mpsc::channel::<Bytes>(2);
    let stream = Stream {
        told: cursor.position,
        last_offset_at: None,
        last_beat: Instant::now(),
        buffer: format!("retry: {RETRY_MS}\n\n"),
        app,
        cursor,
        caller,
        frames,
    };
    drop(spawn("stream", async move {
        stream.run().await;
        drop(place);
    }));
    let body =
        futures::stream::poll_fn(move |context| ready.poll_recv(context).map(|frame| frame.map(Ok::<_, Infallible>)));
    respond(Body::from_stream(body))
}

/// Answers with a reset and nothing else.
pub(super) fn ended(reset: &Reset) -> Response {
    let mut text = String::new();
    write_reset(&mut text, reset);
    respond(Body::from(text))
}

fn respond(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

struct Stream {
    app: Arc<App>,
    cursor: Cursor,
    caller: Caller,
    frames: mpsc::Sender<Bytes>,
    buffer: String,
    /// The last id that the reader was told.
    told: ActivityId,
    last_offset_at: Option<Instant>,
    last_beat: Instant,
}

/// Why a stream ends.
enum End {
    Reset(Reset),
    Notice { reason: &'static str, retry_after_ms: u64 },
    Gone,
}

impl Stream {
    async fn run(mut self) {
        let end = self.follow().await;
        match end {
            End::Reset(reset) => write_reset(&mut self.buffer, &reset),
            End::Notice { reason, retry_after_ms } => {
                metrics::counter!("antiphon_stream_notices_total", "reason" => reason).increment(1);
                self.buffer.push_str(&format!("retry: {retry_after_ms}\n"));
                let data = format!(
                    "{{\"code\":\"disconnect_notice\",\"reason\":\"{reason}\",\"retryAfterMs\":{retry_after_ms}}}"
                );
                write_event(&mut self.buffer, "notice", None, &data);
            }
            End::Gone => return,
        }
        if self.hand_over().await.is_err() {
            tracing::debug!("a reader was gone before it was told why its stream ends");
        }
    }

    async fn follow(&mut self) -> End {
        let mut head = self.app.bus.subscribe();
        let mut check = tokio::time::interval(CHECK_INTERVAL);
        let mut tick = tokio::time::interval(OFFSET_INTERVAL);
        if self.hand_over().await.is_err() {
            return End::Gone;
        }
        loop {
            head.borrow_and_update();
            match self.deliver().await {
                Ok(()) => {}
                Err(end) => return end,
            }
            tokio::select! {
                changed = head.changed() => if changed.is_err() { return shutdown() },
                _ = tick.tick() => {}
                _ = check.tick() => if let Some(end) = self.check().await { return end },
                () = self.app.drain.cancelled() => return shutdown(),
                () = self.frames.closed() => return End::Gone,
            }
        }
    }

    /// Delivers everything up to the durable head, then tells the offset where it is due.
    async fn deliver(&mut self) -> Result<(), End> {
        // Between the durable head and the head the answer waits.
        let waits =
            self.cursor.position > self.app.bus.head().durable && self.cursor.epoch == self.app.bus.head().epoch;
        let mut up_to_date = waits;
        while !up_to_date {
            let items = match self.cursor.read(&self.app.bus, PAGE).await {
                Ok(items) => items,
                Err(Ended::Reset(reset)) => return Err(End::Reset(reset)),
                // The log's database is away: the stream stays open and goes on when it is back.
                Err(Ended::Problem(_)) => break,
            };
            for item in items.items {
                self.write(item);
                if self.buffer.len() >= CHUNK_BYTES {
                    self.hand_over().await.map_err(|()| End::Gone)?;
                }
            }
            up_to_date = items.up_to_date;
        }
        if up_to_date && !waits {
            self.tell_offset();
        }
        if self.last_beat.elapsed() >= HEARTBEAT {
            self.buffer.push_str(": beat\n\n");
            self.last_beat = Instant::now();
        }
        self.hand_over().await.map_err(|()| End::Gone)
    }

    fn write(&mut self, item: Item) {
        match item {
            Item::Change(activity) => {
                let mut data = String::with_capacity(activity.byte_len() + 256);
                activity.write_json(&mut data);
                write_event(&mut self.buffer, "change", Some(activity.id), &data);
                self.told = activity.id;
                metrics::counter!("antiphon_stream_changes_total").increment(1);
            }
            Item::Offset(id) => self.write_offset(id),
        }
    }

    fn tell_offset(&mut self) {
        let since = self.last_offset_at.map(|at| at.elapsed());
        let filtered = self.cursor.position > self.told;
        let due = match since {
            None => true,
            Some(since) => since >= HEARTBEAT || (filtered && since >= OFFSET_INTERVAL),
        };
        if due {
            self.write_offset(self.cursor.position);
        }
    }

    fn write_offset(&mut self, offset: ActivityId) {
        let as_of = match self.app.bus.as_of() {
            Some(at) => {
                let mut text = String::from("\"");
                write_time(&mut text, at);
                text.push('"');
                text
            }
            None => "null".to_owned(),
        };
        let (epoch, access) = (self.cursor.epoch, &self.cursor.access);
        let data = format!("{{\"offset\":{offset},\"epoch\":{epoch},\"access\":\"{access}\",\"asOf\":{as_of}}}");
        write_event(&mut self.buffer, "offset", Some(offset), &data);
        self.told = offset;
        self.last_offset_at = Some(Instant::now());
    }

    /// Looks whether the caller may still read.
    async fn check(&self) -> Option<End> {
        let caller = &self.caller;
        let look = async {
            if self.app.directory.authenticate(&caller.token).await?.is_none() {
                return Ok(Some(End::Notice { reason: "auth_expired", retry_after_ms: RETRY_MS }));
            }
            let subject = &caller.principal.subject;
            Ok::<_, Fault>(match self.app.directory.membership(&caller.membership.org, subject).await? {
                None => Some(End::Notice { reason: "access_revoked", retry_after_ms: RETRY_MS }),
                Some(place) if Access::of(subject, &place.org, place.role) != self.cursor.access => {
                    Some(End::Reset(Reset { code: Code::AccessChanged, epoch: self.cursor.epoch }))
                }
                Some(_) => None,
            })
        };
        match look.await {
            Ok(end) => end,
            // The same database holds the log: while it is away nothing new is delivered either.
            Err(fault) => {
                tracing::debug!(error = %fault.chain(), "the right to read could not be looked at");
                None
            }
        }
    }

    async fn hand_over(&mut self) -> Result<(), ()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        metrics::counter!("antiphon_stream_bytes_total").increment(bytes.len() as u64);
        match tokio::time::timeout(STALLED_AFTER, self.frames.send(bytes)).await {
            Ok(sent) => sent.map_err(|_| ()),
            Err(_) => {
                metrics::counter!("antiphon_stream_stalled_total").increment(1);
                Err(())
            }
        }
    }
}

/// The end of a server that stops: readers come back spread over a few seconds.
fn shutdown() -> End {
    End::Notice { reason: "shutdown", retry_after_ms: rand::random_range(500..5_000) }
}

fn write_reset(out: &mut String, reset: &Reset) {
    let data = format!("{{\"code\":\"{}\",\"epoch\":{}}}", reset.code, reset.epoch);
    out.push_str("id: end\n");
    write_event(out, "reset", None, &data);
}

fn write_event(out: &mut String, event: &str, id: Option<ActivityId>, data: &str) {
    if let Some(id) = id {
        out.push_str(&format!("id: {id}\n"));
    }
    out.push_str("event: ");
    out.push_str(event);
    // A document of type `json` may hold line ends: each line is a field of its own, and the reader joins them.
    for line in data.split('\n') {
        out.push_str("\ndata: ");
        out.push_str(line.strip_suffix('\r').unwrap_or(line));
    }
    out.push_str("\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_in_a_document_does_not_end_the_frame_sy_08() {
        let mut out = String::new();
        write_event(&mut out, "change", Some(ActivityId::new(7)), "{\"a\":\n1}");
        assert_eq!(out, "id: 7\nevent: change\ndata: {\"a\":\ndata: 1}\n\n");
    }
}
