//! Live streams: the engine's feed, watched over by the right to read, as events of protocol 4.
//!
//! Law: what ends a stream goes before what it has still to deliver; a frame waits for room at the reader, and what finds
//! none stays in the log.

use std::sync::Arc;

use antiphon_engine::{Feed, FeedConfig, Published, ports::Head};
use antiphon_model::{AccessChange, ActivityId, Code, Epoch, write_time};
use antiphon_sync::{Frame, StreamConfig};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{App, Server, caller::Caller, problem::Problem};

/// Frames that may be on their way to one reader.
const FRAMES_MAX: usize = 16;
/// Activities of one read.
const PAGE: usize = 50;
/// A reader that takes nothing for this long is told so and let go.
const STALLED_MS: u64 = 10_000;
/// What a reader who is not told otherwise waits before it comes back.
const RETRY_MS: u64 = 1_000;
/// Readers come back spread over this time when the server stops.
const DRAIN_MS: (u64, u64) = (500, 5_000);

/// A request for a stream.
#[derive(Clone, Debug)]
pub struct Open {
    /// Who asks.
    pub token: String,
    /// The organisation.
    pub org: String,
    /// Where to begin: `-1`, `now`, or an offset.
    pub offset: String,
    /// The epoch that the offset belongs to.
    pub epoch: Option<u32>,
    /// The access that the rows were read under.
    pub access: Option<String>,
    /// Only these types.
    pub types: Option<Vec<String>>,
}

/// An event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFrame {
    /// `change`, `offset`, `confirm`, `reset`, `notice`, or `beat` for a comment.
    pub event: &'static str,
    /// The event's id, where it has one.
    pub id: Option<String>,
    /// The data, as JSON.
    pub data: String,
    /// When the server sent it, in true microseconds since the run began; for checkers only.
    pub sent_us: u64,
}

/// The reader's end of a stream: dropped, the server notices at its next frame.
pub type Frames = mpsc::Receiver<StreamFrame>;

impl Server {
    /// Opens a stream, to be run in the server's process; `None` while the server does not run.
    pub async fn open(&self, open: Open) -> Option<Result<Frames, (u16, String)>> {
        let app = self.app()?;
        let opened = app.feed(&open).await;
        Some(match opened {
            Ok((feed, caller)) => {
                let (sender, frames) = mpsc::channel(FRAMES_MAX);
                let simulation = app.parts.simulation.clone();
                simulation.start(app.parts.process, async move { app.pump(feed, caller, sender).await });
                Ok(frames)
            }
            Err(problem) => Err((problem.status(), problem.body().to_string())),
        })
    }
}

impl App {
    async fn feed(&self, open: &Open) -> Result<(Feed, Caller), Problem> {
        let caller = self.caller(&open.token, &open.org).await?;
        let offset = match open.offset.as_str() {
            "-1" | "now" => None,
            text => Some(text.parse::<u64>().map_err(|_| Problem::new(Code::ParameterInvalid, "offset"))?),
        };
        if self.drain.is_cancelled() {
            return Err(Problem::new(Code::Shutdown, ""));
        }
        let mut head = self.bus.head();
        if offset.is_some_and(|at| at > head.durable.as_u64() || !head.epoch.contains(ActivityId::new(at))) {
            // Another server may have written what this one has not heard of yet.
            self.bus.refresh(self.bus.log().head().await?);
            head = self.bus.head();
        }
        let gone = |code| Problem::new(code, "").with("epoch", head.epoch.as_u32());
        if open.epoch.is_some_and(|epoch| Epoch::new(epoch) != head.epoch) {
            return Err(gone(Code::EpochChanged));
        }
        let position = match (offset, open.offset.as_str()) {
            (Some(offset), _) => position(ActivityId::new(offset), &head).map_err(gone)?,
            (None, "now") => head.durable,
            (None, _) => head.floor,
        };
        if let Some(types) = self.changed_access(open, &caller) {
            let problem = gone(Code::AccessChanged);
            return Err(if types.is_empty() { problem } else { problem.with("entityTypes", types) });
        }
        let stream = StreamConfig {
            reader: caller.reader(),
            entities: self.entities.values().cloned().collect(),
            types: open.types.clone(),
            snapshot: None,
            epoch: head.epoch,
            position,
            page: PAGE,
            rate: None,
        };
        let config = FeedConfig { org: caller.place.org.clone(), stream, now: self.parts.clock.instant() };
        Ok((Feed::new(&self.bus, config), caller))
    }

    /// Returns the types whose rows must be listed again, all where none is named; `None` where none must.
    fn changed_access(&self, open: &Open, caller: &Caller) -> Option<Vec<String>> {
        let brought = open.access.as_deref().filter(|_| !self.parts.manners.mutant_access_on_resume)?;
        match caller.access.change(brought, self.entities.values().map(|entity| &**entity)) {
            AccessChange::None => None,
            AccessChange::Everything => Some(Vec::new()),
            AccessChange::Types(mut changed) => {
                changed.retain(|name| open.types.as_ref().is_none_or(|types| types.contains(name)));
                (!changed.is_empty()).then_some(changed)
            }
        }
    }

    /// Sends frames until the stream ends or its reader is gone.
    async fn pump(&self, mut feed: Feed, caller: Caller, to: mpsc::Sender<StreamFrame>) {
        let mut changes = self.directory.changes();
        // What changed since the caller was looked up counts too.
        changes.mark_changed();
        let mut ending = false;
        while !feed.over() {
            let frame = tokio::select! {
                biased;
                () = self.drain.cancelled(), if !ending => {
                    ending = true;
                    feed.drain(self.parts.simulation.dice().between(DRAIN_MS.0, DRAIN_MS.1));
                    continue;
                }
                changed = changes.changed(), if !ending && !self.parts.manners.mutant_connect_only => {
                    if changed.is_err() {
                        return;
                    }
                    match self.standing(&caller).await {
                        Ok(antiphon_sync::Standing::Same) | Err(_) => {}
                        Ok(standing) => {
                            ending = true;
                            feed.standing(standing);
                        }
                    }
                    continue;
                }
                () = to.closed() => return,
                frame = feed.next() => frame,
            };
            let Some(event) = self.event(&frame, &feed, &caller) else { continue };
            let bytes = event.data.len();
            let sent = tokio::select! {
                biased;
                sent = to.send(event) => sent.is_ok(),
                () = self.parts.clock.sleep_ms(STALLED_MS) => false,
            };
            if !sent {
                return;
            }
            feed.sent(bytes);
        }
    }

    fn event(&self, frame: &Frame<Arc<Published>>, feed: &Feed, caller: &Caller) -> Option<StreamFrame> {
        let at = |id: &ActivityId| Some(id.to_string());
        let (event, id, data) = match frame {
            Frame::Change { activity, action, columns } => {
                let json = &activity.encoded(*action, columns).json;
                if json.is_empty() {
                    return None;
                }
                ("change", at(&activity.id), String::from_utf8_lossy(json).into_owned())
            }
            Frame::Offset(offset) => {
                let as_of = feed.as_of().map(|at| {
                    let mut text = String::new();
                    write_time(&mut text, at);
                    text
                });
                let data = json!({
                    "offset": offset, "epoch": feed.epoch(), "access": caller.access, "asOf": as_of,
                });
                ("offset", at(offset), data.to_string())
            }
            Frame::Confirm { transaction_ids, offset } => {
                let data = json!({ "transactionIds": transaction_ids, "offset": offset });
                ("confirm", at(offset), data.to_string())
            }
            Frame::Beat => ("beat", None, String::new()),
            Frame::Reset { code, epoch, types } => {
                let mut data = json!({ "code": code, "epoch": epoch });
                if !types.is_empty() {
                    data["entityTypes"] = Value::from(types.clone());
                }
                ("reset", Some("end".to_owned()), data.to_string())
            }
            Frame::Notice { reason, retry_after_ms } => {
                let retry = retry_after_ms.unwrap_or(RETRY_MS);
                let data = json!({ "code": "disconnect_notice", "reason": reason, "retryAfterMs": retry });
                ("notice", None, data.to_string())
            }
        };
        Some(StreamFrame { event, id, data, sent_us: self.parts.clock.elapsed_us() })
    }
}

fn position(offset: ActivityId, head: &Head) -> Result<ActivityId, Code> {
    match offset {
        offset if !head.epoch.contains(offset) => Err(Code::EpochChanged),
        offset if offset > head.last => Err(Code::OffsetInvalid),
        offset if offset < head.floor => Err(Code::OffsetExpired),
        offset => Ok(offset),
    }
}
