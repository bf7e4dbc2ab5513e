//! The stream as server-sent events: catch-up, then live.
//!
//! One task a stream reads from its position and hands over frames through a channel of two: what the socket does not
//! take is not read from the log either. Law: between two pages of the log the stream looks whether it is to end, and
//! every two seconds at membership and token (STR-05), also in the middle of a long catch-up. A stream ends with the
//! reason as its last event; the reader goes on from its last id.

use std::{convert::Infallible, sync::Arc, time::Duration};

use antiphon_engine::spawn;
use antiphon_model::{ActivityId, Code, write_time};
use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior},
};

use super::cursor::{Cursor, Ended, Item, Reset};
use crate::app::{App, Caller, Place, Standing};

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
/// A reader that takes no frame for this long is told so and let go.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// What a reader waits before it comes back, if it is not told otherwise.
const RETRY_MS: u64 = 1_000;

/// Opens a stream.
pub(super) fn open(app: Arc<App>, cursor: Cursor, caller: Caller, place: Place) -> Response {
    let (frames, mut ready) = mpsc::channel::<Bytes>(2);
    let stream = Stream {
        told: cursor.position,
        caught_up: false,
        last_offset_at: Instant::now(),
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
    /// Whether the reader was told that it has caught up.
    caught_up: bool,
    last_offset_at: Instant,
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
        let Err(end) = self.follow().await;
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
        if let Err(_late) = self.hand_over().await {
            tracing::debug!("a reader was gone before it was told why its stream ends");
        }
    }

    async fn follow(&mut self) -> Result<Infallible, End> {
        let mut head = self.app.bus.subscribe();
        let (mut check, mut tick) = (every(CHECK_INTERVAL), every(OFFSET_INTERVAL));
        self.hand_over().await?;
        loop {
            head.borrow_and_update();
            let more = self.deliver().await?;
            tokio::select! {
                // What ends a stream goes before what it has still to deliver.
                biased;
                () = self.app.drain.cancelled() => return Err(shutdown()),
                () = self.frames.closed() => return Err(End::Gone),
                _ = check.tick() => self.check().await?,
                () = tokio::task::yield_now(), if more => {}
                changed = head.changed() => if changed.is_err() { return Err(shutdown()) },
                _ = tick.tick() => {}
            }
        }
    }

    /// Delivers one page of the log and tells the offset where it is due; returns whether there is more.
    async fn deliver(&mut self) -> Result<bool, End> {
        let head = self.app.bus.head();
        // Between the durable head and the head the answer waits.
        let waits = self.cursor.position > head.durable && self.cursor.epoch == head.epoch;
        let mut more = false;
        if !waits {
            match self.cursor.read(&self.app.bus, PAGE).await {
                Ok(items) => {
                    more = !items.up_to_date;
                    self.write_page(items.items).await?;
                    self.tell_offset(items.up_to_date);
                }
                Err(Ended::Reset(reset)) => return Err(End::Reset(reset)),
                // The log's database is away: the stream stays open and goes on when it is back.
                Err(Ended::Problem(_)) => self.tell_offset(false),
            }
        }
        if self.last_beat.elapsed() >= HEARTBEAT {
            self.buffer.push_str(": beat\n\n");
            self.last_beat = Instant::now();
        }
        self.hand_over().await?;
        Ok(more)
    }

    async fn write_page(&mut self, items: Vec<Item>) -> Result<(), End> {
        let changes = items.iter().filter(|item| matches!(item, Item::Change(_))).count();
        metrics::counter!("antiphon_stream_changes_total").increment(changes as u64);
        for item in items {
            self.write(item);
            if self.buffer.len() >= CHUNK_BYTES {
                self.hand_over().await?;
            }
        }
        Ok(())
    }

    fn write(&mut self, item: Item) {
        match item {
            Item::Change(activity) => {
                let mut data = String::with_capacity(activity.byte_len() + 256);
                activity.write_json(&mut data);
                write_event(&mut self.buffer, "change", Some(activity.id), &data);
                self.told = activity.id;
            }
            Item::Offset(id) => self.write_offset(id),
        }
    }

    fn tell_offset(&mut self, up_to_date: bool) {
        let since = self.last_offset_at.elapsed();
        let filtered = self.cursor.position > self.told;
        // The end of the catch-up is told at once, whatever was told before it.
        let caught_up = up_to_date && !self.caught_up;
        if caught_up || since >= HEARTBEAT || (filtered && since >= OFFSET_INTERVAL) {
            self.write_offset(self.cursor.position);
            self.caught_up |= up_to_date;
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
        self.last_offset_at = Instant::now();
    }

    /// Looks whether the caller may still read.
    async fn check(&self) -> Result<(), End> {
        match self.app.standing(&self.caller).await {
            Ok(Standing::Same) => Ok(()),
            Ok(Standing::TokenEnded) => Err(End::Notice { reason: "auth_expired", retry_after_ms: RETRY_MS }),
            Ok(Standing::PlaceLost) => Err(End::Notice { reason: "access_revoked", retry_after_ms: RETRY_MS }),
            Ok(Standing::Changed) => Err(End::Reset(Reset { code: Code::AccessChanged, epoch: self.cursor.epoch })),
            // The same database holds the log: while it is away nothing new is delivered either.
            Err(fault) => {
                tracing::debug!(error = %fault.chain(), "the right to read could not be looked at");
                Ok(())
            }
        }
    }

    async fn hand_over(&mut self) -> Result<(), End> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        let length = bytes.len() as u64;
        match tokio::time::timeout(STALLED_AFTER, self.frames.send(bytes)).await {
            Ok(Ok(())) => {
                metrics::counter!("antiphon_stream_bytes_total").increment(length);
                Ok(())
            }
            Ok(Err(_)) => Err(End::Gone),
            // What was not taken lies above the last id that the reader has, so it comes again.
            Err(_) => {
                metrics::counter!("antiphon_stream_stalled_total").increment(1);
                Err(End::Notice { reason: "backpressure", retry_after_ms: RETRY_MS })
            }
        }
    }
}

/// A beat that was missed is not made up for.
fn every(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
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
    // A document of type `json` may hold line ends of every kind between its parts: each line is a field of its own, and
    // the reader joins them.
    for line in data.split(['\n', '\r']) {
        out.push_str("\ndata: ");
        out.push_str(line);
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
        // A carriage return ends a line for an EventSource as well.
        let mut out = String::new();
        write_event(&mut out, "change", None, "{\"a\":\r1,\r\n\"b\":2}");
        assert_eq!(out, "event: change\ndata: {\"a\":\ndata: 1,\ndata: \ndata: \"b\":2}\n\n");
    }
}
