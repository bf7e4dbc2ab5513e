//! The server's half of a live stream, as one machine for SSE, long-poll and WebSocket (house 5, STR-01, STR-08).
//!
//! A stream has a position, not a buffer: it asks for a page of the log where it stands, shows what of it is for its
//! reader, and asks again. What does not fit (bytes, credit) stays in the log.
//! Laws: the position only rises; what lies at or below it was shown, or is not for this reader, or is confirmed; every
//! mutation of the stream's subject that it passes is either shown or confirmed (STR-02a); nothing follows a reset or a
//! notice. After any input, poll until `None`, then come back at `wake_at_ms`.
//! It refuses to know the transport: frames are values, and whoever sends them says how many bytes they took.

mod pass;

use std::{collections::VecDeque, ops::Deref, sync::Arc};

use antiphon_model::{Activity, ActivityId, Code, Columns, EntityType, Epoch, Reader, Visibility};

pub use self::pass::sight;
use crate::Bucket;

/// An offset at least this often, so that readers and proxies know that the stream lives.
pub const HEARTBEAT_MS: u64 = 15_000;
/// While activities are left out, the offset is told at least this often.
pub const OFFSET_INTERVAL_MS: u64 = 1_000;
/// A reader that was up to date and stays behind for this long is told so and let go.
pub const OVERLOADED_MS: u64 = 10_000;
/// Changes that a reader who acknowledges may have open.
pub const UNACKNOWLEDGED_MAX: usize = 256;
/// Room for so many frames is kept while nothing comes.
const KEPT: usize = 4;
/// Transaction ids of one confirm.
pub const CONFIRM_IDS_MAX: usize = 100;

/// What a stream is for.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// Who reads.
    pub reader: Reader,
    /// Every declared type by name, in order.
    pub entities: Arc<[Arc<EntityType>]>,
    /// Only these types, where given.
    pub types: Option<Vec<String>>,
    /// What this snapshot sees is left out.
    pub snapshot: Option<Visibility>,
    /// The epoch that the position belongs to.
    pub epoch: Epoch,
    /// Where to begin.
    pub position: ActivityId,
    /// Activities of one read.
    pub page: usize,
    /// Bytes a second and burst; `None`: as fast as the transport takes them.
    pub rate: Option<(u64, u64)>,
}

/// Where the log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The generation.
    pub epoch: Epoch,
    /// The last activity that may be shown.
    pub durable: ActivityId,
    /// The oldest offset from which reading on misses nothing.
    pub floor: ActivityId,
}

/// What became of the reader's right to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is what it was.
    Same,
    /// The token has expired or was revoked.
    TokenEnded,
    /// The place in the organisation is lost.
    PlaceLost,
    /// Something else may be seen now, in these types; in all where none is named.
    Changed(Vec<String>),
}

/// What happens to a stream.
#[derive(Debug)]
pub enum Input<A> {
    /// The log's marks are these.
    Marks(Marks),
    /// The page that was asked for: activities in order, up to where the log was searched, and whether that is all.
    Page {
        /// What was found.
        activities: Vec<A>,
        /// The position behind it.
        offset: ActivityId,
        /// Whether nothing durable lies above it.
        up_to_date: bool,
    },
    /// The page could not be read; it is asked for again after a moment.
    ReadFailed,
    /// The log no longer vouches for the position.
    Lost(Code, Epoch),
    /// So many bytes were handed to the transport.
    Sent(usize),
    /// The reader has processed everything up to here.
    Acknowledged(ActivityId),
    /// The right to read was looked at.
    Standing(Standing),
    /// The server stops; the reader is to come back after so many milliseconds.
    Drain(u64),
    /// The transport took nothing for too long.
    Stalled,
    /// Time has passed.
    Tick,
}

/// What a stream wants.
#[derive(Debug)]
pub enum Output<A> {
    /// Read a page of the log above this position.
    Read {
        /// Where to begin.
        after: ActivityId,
        /// At most so many activities.
        limit: usize,
    },
    /// Send this.
    Frame(Frame<A>),
}

/// What a reader is told.
#[derive(Clone, Debug)]
pub enum Frame<A> {
    /// An activity, as the reader sees it.
    Change {
        /// The activity.
        activity: A,
        /// What it is to the reader.
        action: antiphon_model::Action,
        /// The columns that the reader may see.
        columns: Columns,
    },
    /// Everything up to here was shown or is not for this reader.
    Offset(ActivityId),
    /// These mutations of the reader lie at or below the offset and were not shown.
    Confirm {
        /// Their ids, at most `CONFIRM_IDS_MAX`.
        transaction_ids: Vec<String>,
        /// Up to where.
        offset: ActivityId,
    },
    /// The stream lives.
    Beat,
    /// List again; the stream ends.
    Reset {
        /// Why.
        code: Code,
        /// The log's present epoch.
        epoch: Epoch,
        /// Which types, where not all.
        types: Vec<String>,
    },
    /// The stream ends; go on from the last id.
    Notice {
        /// Why, in the words of protocol 4.
        reason: &'static str,
        /// When to come back, where the server wants it.
        retry_after_ms: Option<u64>,
    },
}

impl<A> Frame<A> {
    /// Tells whether nothing follows it.
    pub fn ends(&self) -> bool {
        matches!(self, Frame::Reset { .. } | Frame::Notice { .. })
    }
}

/// A live stream.
#[derive(Debug)]
pub struct StreamServer<A> {
    config: StreamConfig,
    marks: Marks,
    /// Up to where the log was read.
    position: ActivityId,
    /// The last id that the reader was told.
    told: ActivityId,
    frames: VecDeque<Frame<A>>,
    reading: bool,
    /// Not before this time is a failed read tried again.
    read_again_at: u64,
    /// Whether the log was read to its end since the marks last moved.
    up_to_date: bool,
    /// Whether the reader was told that it has caught up.
    caught_up: bool,
    offset_due: bool,
    offset_at: u64,
    beat_at: u64,
    bucket: Option<Bucket>,
    acknowledges: bool,
    unacknowledged: VecDeque<ActivityId>,
    behind_since: Option<u64>,
    ended: bool,
}

impl<A: Deref<Target: AsRef<Activity>>> StreamServer<A> {
    /// Opens a stream.
    pub fn new(config: StreamConfig, marks: Marks, now_ms: u64) -> StreamServer<A> {
        StreamServer {
            marks,
            position: config.position,
            told: config.position,
            frames: VecDeque::new(),
            reading: false,
            read_again_at: 0,
            up_to_date: false,
            caught_up: false,
            offset_due: false,
            offset_at: now_ms,
            beat_at: now_ms,
            bucket: config.rate.map(|(rate, burst)| Bucket::new(rate, burst, now_ms)),
            acknowledges: false,
            unacknowledged: VecDeque::new(),
            behind_since: None,
            ended: false,
            config,
        }
    }

    /// Takes in what happened at `now_ms`.
    pub fn handle(&mut self, now_ms: u64, input: Input<A>) {
        if self.ended {
            return;
        }
        match input {
            Input::Marks(marks) => self.take_marks(marks),
            Input::Page { activities, offset, up_to_date } => self.take_page(now_ms, activities, offset, up_to_date),
            Input::ReadFailed => {
                self.reading = false;
                self.read_again_at = now_ms + OFFSET_INTERVAL_MS;
            }
            Input::Lost(code, epoch) => self.reset(code, epoch, Vec::new()),
            Input::Sent(bytes) => {
                if let Some(bucket) = &mut self.bucket {
                    bucket.charge(bytes as u64, now_ms);
                }
            }
            Input::Acknowledged(offset) => {
                self.acknowledges = true;
                while self.unacknowledged.front().is_some_and(|id| *id <= offset) {
                    self.unacknowledged.pop_front();
                }
            }
            Input::Standing(standing) => match standing {
                Standing::Same => {}
                Standing::TokenEnded => self.notice("auth_expired", None),
                Standing::PlaceLost => self.notice("access_revoked", None),
                Standing::Changed(types) => self.reset(Code::AccessChanged, self.marks.epoch, types),
            },
            Input::Drain(retry_after_ms) => self.notice("shutdown", Some(retry_after_ms)),
            Input::Stalled => self.notice("backpressure", None),
            Input::Tick => {}
        }
        self.judge(now_ms);
    }

    /// Returns what to do next.
    pub fn poll(&mut self, now_ms: u64) -> Option<Output<A>> {
        if self.ended {
            return self.frames.pop_front().map(Output::Frame);
        }
        if self.up_to_date() {
            self.behind_since = None;
        }
        self.tell_offset(now_ms);
        if let Some(frame) = self.frames.front() {
            let blocked = matches!(frame, Frame::Change { .. }) && self.blocked_ms(now_ms).is_some();
            if blocked {
                self.judge(now_ms);
                return if self.ended { self.poll(now_ms) } else { None };
            }
            return self.frames.pop_front().map(|frame| Output::Frame(self.show(frame)));
        }
        if self.up_to_date {
            // An idle stream costs the same whatever has passed through it (STR-22).
            self.frames.shrink_to(KEPT);
            self.unacknowledged.shrink_to(KEPT);
        }
        if self.reading || !self.wants_page() || now_ms < self.read_again_at || self.blocked_ms(now_ms).is_some() {
            return None;
        }
        self.reading = true;
        Some(Output::Read { after: self.position, limit: self.config.page })
    }

    /// Returns when to come back although nothing happens.
    pub fn wake_at_ms(&mut self, now_ms: u64) -> u64 {
        let mut wake = self.beat_at + HEARTBEAT_MS;
        if self.caught_up && self.frames.is_empty() && self.position > self.told {
            wake = wake.min(self.offset_at + OFFSET_INTERVAL_MS);
        }
        if let Some(blocked) = self.blocked_ms(now_ms).filter(|_| !self.frames.is_empty() || self.wants_page()) {
            wake = wake.min(now_ms.saturating_add(blocked));
        }
        if let Some(since) = self.behind_since {
            wake = wake.min(since + OVERLOADED_MS);
        }
        if self.wants_page() && self.read_again_at > now_ms {
            wake = wake.min(self.read_again_at);
        }
        wake.max(now_ms + 1)
    }

    /// Returns the offset up to which the reader has been told everything.
    pub fn offset(&self) -> ActivityId {
        if self.frames.is_empty() && !self.ended { self.position } else { self.told }
    }

    /// Tells whether something waits for credit or for bytes that were sent.
    pub fn throttled(&mut self, now_ms: u64) -> bool {
        !self.frames.is_empty() && self.blocked_ms(now_ms).is_some()
    }

    /// Returns the epoch that it reads.
    pub fn epoch(&self) -> Epoch {
        self.config.epoch
    }

    /// Tells whether the log was read to its end and everything was told.
    pub fn up_to_date(&self) -> bool {
        self.up_to_date && self.frames.is_empty()
    }

    /// Tells whether it has said its last.
    pub fn over(&self) -> bool {
        self.ended && self.frames.is_empty()
    }

    /// Returns the page that is wanted: above which position, and at most how many activities.
    pub fn wanted(&self) -> (ActivityId, usize) {
        (self.position, self.config.page)
    }

    /// Tells whether a page was asked for and has not come.
    pub fn reading(&self) -> bool {
        self.reading && !self.ended
    }

    fn take_marks(&mut self, marks: Marks) {
        if marks.epoch != self.config.epoch {
            return self.reset(Code::EpochChanged, marks.epoch, Vec::new());
        }
        if self.position < marks.floor {
            return self.reset(Code::OffsetExpired, marks.epoch, Vec::new());
        }
        self.up_to_date &= marks.durable <= self.position;
        self.marks = marks;
    }

    fn take_page(&mut self, now_ms: u64, activities: Vec<A>, offset: ActivityId, up_to_date: bool) {
        self.reading = false;
        for activity in activities {
            self.pass(activity);
        }
        assert!(offset >= self.position, "a stream's position went back");
        self.position = offset;
        self.up_to_date = up_to_date && self.marks.durable <= offset;
        if up_to_date && !self.caught_up {
            self.caught_up = true;
            self.offset_due = true;
        }
        // Confirms and offsets stand behind what came before them; a silent page says so within the interval.
        if self.position > self.told && now_ms >= self.offset_at + OFFSET_INTERVAL_MS && self.caught_up {
            self.offset_due = true;
        }
    }

    /// Tells whether there is something to read; a position that is not durable yet waits.
    fn wants_page(&self) -> bool {
        let durable = self.marks.durable;
        self.position <= durable && (!self.caught_up || !self.up_to_date && self.position < durable)
    }

    /// Tells that the stream lives, and the offset where it is due, behind everything else.
    fn tell_offset(&mut self, now_ms: u64) {
        if !self.frames.is_empty() {
            return;
        }
        if now_ms >= self.beat_at + HEARTBEAT_MS {
            self.frames.push_back(Frame::Beat);
            self.beat_at = now_ms;
            self.offset_due = true;
        }
        let since = now_ms.saturating_sub(self.offset_at);
        let filtered = self.caught_up && self.position > self.told && since >= OFFSET_INTERVAL_MS;
        // The newest position is told, so it is read up to there first; while reading fails, the old one has to do.
        let reads = self.wants_page() && self.read_again_at <= now_ms;
        let waits = self.position > self.marks.durable;
        if waits || reads || !(self.offset_due || filtered) {
            return;
        }
        self.frames.push_back(Frame::Offset(self.position));
        self.offset_due = false;
        self.offset_at = now_ms;
    }

    /// Notes what a frame tells the reader.
    fn show(&mut self, frame: Frame<A>) -> Frame<A> {
        match &frame {
            Frame::Change { activity, .. } => {
                let id = (**activity).as_ref().id;
                self.told = id;
                if self.acknowledges {
                    self.unacknowledged.push_back(id);
                }
            }
            Frame::Offset(offset) | Frame::Confirm { offset, .. } => self.told = self.told.max(*offset),
            Frame::Beat | Frame::Reset { .. } | Frame::Notice { .. } => {}
        }
        frame
    }

    /// Returns for how many milliseconds nothing may be shown; `None` where it may be.
    fn blocked_ms(&mut self, now_ms: u64) -> Option<u64> {
        if self.acknowledges && self.unacknowledged.len() >= UNACKNOWLEDGED_MAX {
            return Some(OVERLOADED_MS);
        }
        self.bucket.as_mut().map(|bucket| bucket.wait_ms(1, now_ms)).filter(|wait| *wait > 0)
    }

    /// Lets a reader go that was up to date and stays behind.
    fn judge(&mut self, now_ms: u64) {
        let behind = self.caught_up && !self.ended && self.blocked_ms(now_ms).is_some() && !self.up_to_date();
        match (behind, self.behind_since) {
            (false, _) if self.up_to_date() => self.behind_since = None,
            (true, None) => self.behind_since = Some(now_ms),
            (true, Some(since)) if now_ms >= since + OVERLOADED_MS => self.notice("backpressure", None),
            _ => {}
        }
    }

    fn reset(&mut self, code: Code, epoch: Epoch, types: Vec<String>) {
        self.end(Frame::Reset { code, epoch, types });
    }

    fn notice(&mut self, reason: &'static str, retry_after_ms: Option<u64>) {
        self.end(Frame::Notice { reason, retry_after_ms });
    }

    /// What was read and not shown is dropped: it lies above the last id that the reader has.
    fn end(&mut self, last: Frame<A>) {
        if !self.ended {
            self.frames.clear();
            self.frames.push_back(last);
            self.ended = true;
        }
    }
}

#[cfg(test)]
mod tests;
