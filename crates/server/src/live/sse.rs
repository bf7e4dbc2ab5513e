//! The stream as server-sent events, straight onto the socket: catch-up, then live.
//!
//! What the socket does not take is not read from the log either. Laws: frames that are ready go out in one write, each
//! whole; what ends the stream goes before what it has still to deliver; a stream ends with the reason as its last event,
//! and the reader goes on from its last id. A reader that takes nothing for ten seconds is told so, if it ever reads on.

use std::{io, io::IoSlice, time::Duration};

use antiphon_engine::{Feed, Published};
use antiphon_sync::Frame;
use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    frames::{self, Common, RETRY_MS},
    guard::{Guard, tell},
    registry::Place,
};
use crate::takeover::{Taken, Takeover};

/// Frames that are ready are written together up to this size.
const BATCH_BYTES: usize = 64 * 1024;
/// And up to this number: what the system takes in one call is a little more.
const BATCH_FRAMES: usize = 256;
/// Room for so many frames is kept between writes; what a burst needed is given back.
const KEPT_FRAMES: usize = 8;
/// A reader that says so much between two frames is let go.
const SAID_BYTES_MAX: usize = 64 * 1024;
/// A reader that takes nothing for this long is let go.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// And has so long to take the reason.
const LAST_WORD: Duration = Duration::from_secs(20);

/// Opens a stream.
pub(super) fn open(feed: Feed, guard: Guard, place: Place) -> Response {
    Takeover::answer(head(Body::empty()), move |taken| async move {
        let stream = Stream { chunked: taken.chunked, feed, guard, place };
        stream.run(taken).await;
    })
}

/// Answers with a reset and nothing else.
pub(super) fn ended(reset: &Frame<std::sync::Arc<Published>>) -> Response {
    let common = Common { epoch: antiphon_model::Epoch::FIRST, access: "", as_of: None };
    head(Body::from(frames::unchunked(&frames::event(reset, common))))
}

fn head(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

struct Stream {
    feed: Feed,
    guard: Guard,
    chunked: bool,
    place: Place,
}

/// Why nothing more is written.
enum Stop {
    /// The reader is gone.
    Gone,
    /// The reader takes nothing.
    Stalled,
}

impl Stream {
    async fn run(mut self, taken: Taken) {
        let Taken { mut socket, head, chunked } = taken;
        let retry = frames::chunk(&format!("retry: {RETRY_MS}\n\n"));
        let mut parts = vec![Bytes::from(head), self.part(retry.into())];
        // What ends a stream is told once; the last frame follows.
        let mut ending = false;
        loop {
            let began = Instant::now();
            match write(&mut socket, &mut parts, STALLED_AFTER).await {
                Ok(0) => {}
                Ok(bytes) => {
                    metrics::histogram!("antiphon_send_path_seconds").record(began.elapsed().as_secs_f64());
                    self.feed.sent(bytes);
                    self.place.sent(bytes, self.feed.offset().as_u64());
                }
                Err(Stop::Gone) => return,
                Err(Stop::Stalled) => return self.last_word(socket, parts).await,
            }
            if self.feed.over() {
                break;
            }
            // An idle stream costs the same whatever has passed through it (STR-22).
            parts.shrink_to(KEPT_FRAMES);
            let frame = tokio::select! {
                biased;
                () = self.guard.due(), if !ending => {
                    if let Some(watched) = self.guard.look().await {
                        ending = true;
                        tell(&mut self.feed, &watched);
                    }
                    continue;
                }
                () = closed(&socket) => return,
                frame = self.feed.next() => frame,
            };
            self.gather(frame, &mut parts);
        }
        if chunked {
            parts.push(Bytes::from_static(b"0\r\n\r\n"));
        }
        if write(&mut socket, &mut parts, STALLED_AFTER).await.is_err() {
            tracing::debug!("a reader was gone before its stream was closed");
        }
    }

    /// Adds a frame, and those that are ready behind it.
    fn gather(&mut self, first: Frame<std::sync::Arc<Published>>, parts: &mut Vec<Bytes>) {
        let (mut bytes, mut changes) = (0, 0);
        let mut next = Some(first);
        while let Some(frame) = next {
            if let Frame::Change { activity, .. } = &frame {
                super::delivered(activity);
                changes += 1;
            }
            if let Frame::Notice { reason, .. } = &frame {
                metrics::counter!("antiphon_stream_notices_total", "reason" => *reason).increment(1);
            }
            let common = Common { epoch: self.feed.epoch(), access: self.guard.access(), as_of: self.feed.as_of() };
            let part = self.part(frames::event(&frame, common));
            bytes += part.len();
            if !part.is_empty() {
                parts.push(part);
            }
            next = if bytes < BATCH_BYTES && parts.len() < BATCH_FRAMES { self.feed.ready() } else { None };
        }
        metrics::counter!("antiphon_stream_changes_total").increment(changes);
        metrics::counter!("antiphon_stream_bytes_total").increment(bytes as u64);
    }

    fn part(&self, chunk: Bytes) -> Bytes {
        if self.chunked { chunk } else { frames::unchunked(&chunk) }
    }

    /// Finishes the frame that is half written, and says why nothing follows it.
    async fn last_word(mut self, mut socket: TcpStream, mut parts: Vec<Bytes>) {
        metrics::counter!("antiphon_stream_stalled_total").increment(1);
        self.feed.stalled();
        // What was not begun lies above the last id that the reader has, so it comes again.
        parts.truncate(1);
        while let Some(frame) = self.feed.ready() {
            self.gather(frame, &mut parts);
        }
        if self.chunked {
            parts.push(Bytes::from_static(b"0\r\n\r\n"));
        }
        if timeout(LAST_WORD, write(&mut socket, &mut parts, LAST_WORD)).await.is_err() {
            tracing::debug!("a reader that took nothing was let go without a word");
        }
    }
}

/// Writes the parts and empties the list; what is left in it when the socket stalls begins with the half written one.
async fn write(socket: &mut TcpStream, parts: &mut Vec<Bytes>, stalled: Duration) -> Result<usize, Stop> {
    let total = parts.iter().map(Bytes::len).sum();
    let mut progress = Instant::now();
    while !parts.is_empty() {
        let written = {
            let slices: Vec<IoSlice<'_>> = parts.iter().take(BATCH_FRAMES).map(|part| IoSlice::new(part)).collect();
            socket.try_write_vectored(&slices)
        };
        match written {
            Ok(0) => return Err(Stop::Gone),
            Ok(written) => {
                advance(parts, written);
                progress = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                match timeout(stalled.saturating_sub(progress.elapsed()), socket.writable()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(Stop::Gone),
                    Err(_) => return Err(Stop::Stalled),
                }
            }
            Err(_) => return Err(Stop::Gone),
        }
    }
    Ok(total)
}

fn advance(parts: &mut Vec<Bytes>, mut written: usize) {
    let whole = parts.iter().take_while(|part| {
        let fits = part.len() <= written;
        if fits {
            written -= part.len();
        }
        fits
    });
    let whole = whole.count();
    parts.drain(..whole);
    if let Some(part) = parts.first_mut() {
        *part = part.slice(written..);
    }
}

/// Returns when the reader has closed, or says more than a reader has to say: what it sends is not looked at, and taking
/// it without end would keep others of this thread from theirs.
async fn closed(socket: &TcpStream) {
    let (mut ignored, mut said_bytes) = ([0; 64], 0);
    while said_bytes <= SAID_BYTES_MAX {
        if socket.readable().await.is_err() {
            return;
        }
        match socket.try_read(&mut ignored) {
            Ok(0) => return,
            Ok(read) => said_bytes += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn what_was_written_of_several_parts_is_taken_off_their_front() {
        let texts = ["abc", "", "de", "f"];
        for written in 0..=6 {
            let mut parts: Vec<Bytes> = texts.map(Bytes::from).to_vec();
            advance(&mut parts, written);
            let rest: Vec<u8> = parts.concat();
            assert_eq!(rest, b"abcdef"[written..]);
        }
    }

    #[tokio::test]
    async fn a_reader_that_talks_without_end_is_let_go_se_20() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut talker = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        talker.write_all(&[b'x'; 1_000]).await.unwrap();
        let quiet = timeout(Duration::from_millis(100), closed(&socket)).await;
        assert!(quiet.is_err(), "a little may be said");
        let talking = async { while talker.write_all(&[b'x'; 1_000]).await.is_ok() {} };
        let ended = timeout(Duration::from_secs(20), async {
            tokio::select! {
                () = closed(&socket) => {}
                () = talking => {}
            }
        });
        assert!(ended.await.is_ok(), "it is listened to for ever");
    }
}
