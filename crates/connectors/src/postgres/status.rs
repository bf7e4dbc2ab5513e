//! How a mirror is, for people and machines.
//!
//! One board for each mirror, written by its runner and read by whoever asks. Figures are those of this process: a runner
//! that stands by shows that another one works.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use antiphon_engine::{Bus, Fault};
use antiphon_model::{ActivityId, Class, Code, Micros};

use super::{control::Cursor, events};

/// What a mirror is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorState {
    /// It connects.
    Starting,
    /// Another runner writes; this one takes over when that one ends.
    StandingBy,
    /// Initial rows come in.
    Listing,
    /// It works through what is waiting.
    CatchingUp,
    /// Nothing is waiting.
    Following,
    /// It failed and is tried again by itself.
    Retrying,
    /// It cannot go on until a person acts; it looks now and then whether that was done.
    Blocked,
}

impl MirrorState {
    /// Every state.
    pub const ALL: [MirrorState; 7] = [
        MirrorState::Starting,
        MirrorState::StandingBy,
        MirrorState::Listing,
        MirrorState::CatchingUp,
        MirrorState::Following,
        MirrorState::Retrying,
        MirrorState::Blocked,
    ];

    /// Returns the word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            MirrorState::Starting => "starting",
            MirrorState::StandingBy => "standing_by",
            MirrorState::Listing => "listing",
            MirrorState::CatchingUp => "catching_up",
            MirrorState::Following => "following",
            MirrorState::Retrying => "retrying",
            MirrorState::Blocked => "blocked",
        }
    }
}

/// How far initial rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListingStatus {
    /// The type whose rows come in.
    pub entity_type: String,
    /// Rows so far, since this runner began.
    pub rows: u64,
    /// Types that wait for their turn.
    pub waiting: usize,
}

/// A mirror's state with its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorStatus {
    /// The mirror's name.
    pub name: String,
    /// What it is doing.
    pub state: MirrorState,
    /// Why, where something is wrong.
    pub reason: Option<Code>,
    /// The particulars, without secrets.
    pub detail: String,
    /// Since when.
    pub since: Micros,
    /// When it tries again, where it does.
    pub next_attempt_at: Option<Micros>,
    /// The last activity that was written; `None` before it is known.
    pub offset: Option<ActivityId>,
    /// How many activities wait.
    pub behind: u64,
    /// When the newest transaction that was written was committed, by the source's clock.
    pub applied_at: Option<Micros>,
    /// Whether listed rows may still be ahead of the rest.
    pub settling: bool,
    /// How often it began anew.
    pub begun_anew: u64,
    /// Rows written since this runner began.
    pub rows_written: u64,
    /// Rows deleted since this runner began.
    pub rows_deleted: u64,
    /// Initial rows, where they come in.
    pub listing: Option<ListingStatus>,
}

impl MirrorStatus {
    /// Returns how long behind it is, in milliseconds of the source's clock; `None` where that is not known.
    pub fn lag_ms(&self, as_of: Option<Micros>) -> Option<u64> {
        match (self.offset, self.behind, self.applied_at, as_of) {
            (Some(_), 0, _, _) => Some(0),
            (Some(_), _, Some(applied), Some(now)) => {
                Some(now.0.saturating_sub(applied.0).max(0).unsigned_abs() / 1_000)
            }
            _ => None,
        }
    }
}

/// Where a mirror's runner writes how it is.
#[derive(Clone)]
pub(super) struct Board {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    status: MirrorStatus,
    progress: u64,
    /// Whether something was done for good since the last failure; until then the failure is shown.
    recovered: bool,
}

impl Board {
    pub(super) fn new(name: &str, now: Micros) -> Board {
        let status = MirrorStatus {
            name: name.to_owned(),
            state: MirrorState::Starting,
            reason: None,
            detail: String::new(),
            since: now,
            next_attempt_at: None,
            offset: None,
            behind: 0,
            applied_at: None,
            settling: false,
            begun_anew: 0,
            rows_written: 0,
            rows_deleted: 0,
            listing: None,
        };
        Board { inner: Arc::new(Mutex::new(Inner { status, progress: 0, recovered: true })) }
    }

    pub(super) fn status(&self, bus: &Bus) -> MirrorStatus {
        let mut status = self.lock().status.clone();
        let durable = bus.head().durable.as_u64();
        status.behind = status.offset.map_or(0, |offset| durable.saturating_sub(offset.as_u64()));
        status
    }

    /// Returns a number that rises with everything that is done for good.
    pub(super) fn progress(&self) -> u64 {
        self.lock().progress
    }

    /// Notes what it is doing.
    pub(super) fn enter(&self, state: MirrorState, now: Micros) {
        let mut inner = self.lock();
        if inner.status.state == state || !inner.recovered {
            return;
        }
        let status = &mut inner.status;
        (status.state, status.since) = (state, now);
        (status.reason, status.next_attempt_at) = (None, None);
        status.detail.clear();
        if state != MirrorState::Listing {
            status.listing = None;
        }
        events::entered(&status.name, state);
    }

    /// Notes what failed and when it is tried again.
    pub(super) fn failed(&self, fault: &Fault, wait: Duration, now: Micros) {
        let state = match (fault.code(), fault.class()) {
            (Code::MirrorInUse, _) => MirrorState::StandingBy,
            (_, Class::Transient) => MirrorState::Retrying,
            _ => MirrorState::Blocked,
        };
        let mut inner = self.lock();
        inner.recovered = false;
        let status = &mut inner.status;
        let news = status.reason != Some(fault.code()) || status.detail != fault.detail();
        if status.state != state {
            status.since = now;
        }
        status.state = state;
        status.reason = Some(fault.code());
        fault.detail().clone_into(&mut status.detail);
        status.next_attempt_at =
            Some(Micros(now.0.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX))));
        status.listing = None;
        events::failed(&status.name, state, fault, news);
    }

    /// Something was done for good, or there is nothing to do: what failed before is over.
    pub(super) fn advanced(&self) {
        let mut inner = self.lock();
        inner.progress += 1;
        inner.recovered = true;
    }

    /// Notes where it stands.
    pub(super) fn stands(&self, cursor: &Cursor, applied_at: Option<Micros>) {
        let mut inner = self.lock();
        let status = &mut inner.status;
        status.offset = Some(cursor.offset);
        status.settling = cursor.settle.is_some();
        status.begun_anew = cursor.begun_anew;
        status.applied_at = applied_at.or(status.applied_at);
    }

    /// Counts rows.
    pub(super) fn rows(&self, written: u64, deleted: u64) {
        let mut inner = self.lock();
        inner.status.rows_written += written;
        inner.status.rows_deleted += deleted;
        events::rows(&inner.status.name, written, deleted);
    }

    /// Notes initial rows.
    pub(super) fn listing(&self, listing: ListingStatus) {
        self.advanced();
        let mut inner = self.lock();
        inner.status.listing = Some(listing);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic cannot leave the board half written in a way that matters: it is shown, never acted upon.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
