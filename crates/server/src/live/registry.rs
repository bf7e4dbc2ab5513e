//! Open streams: counted by organisation, and shown to operators.
//!
//! Laws: an organisation has at most so many; whoever leaves gives the place back, however it ends. An entry costs a few
//! words beside its names, because there may be ten thousand.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use antiphon_model::{Code, Micros};

use crate::{app::Caller, compose::now, problem::Problem};

/// How a stream is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Sse,
    Poll,
    WebSocket,
}

impl Transport {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Transport::Sse => "sse",
            Transport::Poll => "poll",
            Transport::WebSocket => "websocket",
        }
    }
}

/// The open streams.
#[derive(Default, Clone)]
pub(crate) struct Streams {
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    next: u64,
    of_org: HashMap<String, usize>,
    entries: BTreeMap<u64, Entry>,
}

/// One open stream.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) transport: Transport,
    pub(crate) org: String,
    pub(crate) subject: String,
    pub(crate) since: Micros,
    pub(crate) progress: Arc<Progress>,
}

/// How far a stream has come; written by the stream, read by operators.
#[derive(Default)]
pub(crate) struct Progress {
    bytes: AtomicU64,
    offset: AtomicU64,
}

impl Progress {
    /// Returns the bytes sent and the offset told.
    pub(crate) fn read(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.offset.load(Ordering::Relaxed))
    }
}

/// A stream's place; given back when dropped.
pub(crate) struct Place {
    streams: Streams,
    id: u64,
    progress: Arc<Progress>,
}

impl Streams {
    /// Takes a place, or refuses where the organisation has too many.
    pub(crate) fn enter(&self, caller: &Caller, transport: Transport, most: Option<usize>) -> Result<Place, Problem> {
        let org = &caller.membership.org;
        let mut open = self.lock();
        let count = open.of_org.get(org).copied().unwrap_or_default();
        if most.is_some_and(|most| count >= most) {
            metrics::counter!("antiphon_streams_refused_total").increment(1);
            return Err(Problem::new(Code::RateLimited, "this organisation has too many open streams").retry_after(5));
        }
        open.of_org.insert(org.clone(), count + 1);
        let id = open.next;
        open.next += 1;
        let progress = Arc::new(Progress::default());
        let entry = Entry {
            id,
            transport,
            org: org.clone(),
            subject: caller.principal.subject.clone(),
            since: now(),
            progress: Arc::clone(&progress),
        };
        open.entries.insert(id, entry);
        metrics::gauge!("antiphon_streams_open", "transport" => transport.as_str()).increment(1.0);
        Ok(Place { streams: self.clone(), id, progress })
    }

    /// Returns at most so many of the open streams above an id, the oldest first, and how many there are.
    pub(crate) fn list(&self, above: Option<u64>, most: usize) -> (Vec<Entry>, usize) {
        let open = self.lock();
        let from = above.map_or(0, |above| above.saturating_add(1));
        (open.entries.range(from..).take(most).map(|(_, entry)| entry.clone()).collect(), open.entries.len())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        // A panic cannot leave the maps half changed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Notes what was sent, and the offset that the reader was told.
    pub(crate) fn sent(&self, bytes: usize, offset: u64) {
        self.progress.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.progress.offset.store(offset, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        let Some(entry) = open.entries.remove(&self.id) else { return };
        if let Some(count) = open.of_org.get_mut(&entry.org) {
            *count -= 1;
            if *count == 0 {
                open.of_org.remove(&entry.org);
            }
        }
        metrics::gauge!("antiphon_streams_open", "transport" => entry.transport.as_str()).decrement(1.0);
    }
}
