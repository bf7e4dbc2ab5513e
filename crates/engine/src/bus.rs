//! Wakes readers when the durable head moves, and serves them from the ring or from the log (house 5).
//!
//! Law: a reader has a position, not a buffer. Whoever lags behind the ring reads the log by the same call, so a slow
//! reader costs nothing and misses nothing. Nothing above the durable head is ever handed out (house 7).

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use antiphon_model::{Activity, ActivityId, EVERYONE, Epoch, Micros};
use tokio::sync::watch;

use crate::{
    Fault, Published,
    ports::{ActivityLog, Head, Scope},
    ring::Ring,
};

/// The ring holds at most so many activities: a few seconds of a busy source.
const RING_ACTIVITIES_MAX: usize = 8_192;
/// The ring holds at most so many bytes: what memory budgets allow for it.
const RING_BYTES_MAX: usize = 8 << 20;

/// A page of one organisation's activities.
#[derive(Clone, Debug)]
pub struct Page {
    /// The activities in order, marks included.
    pub activities: Vec<Arc<Published>>,
    /// The position after this page.
    pub offset: ActivityId,
    /// Whether nothing durable lies above it for this organisation.
    pub up_to_date: bool,
}

/// The meeting point of the one writer and all readers of this process; cheap to clone.
#[derive(Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

struct Shared {
    log: Arc<dyn ActivityLog>,
    head: watch::Sender<Head>,
    ring: Mutex<Ring>,
    as_of: watch::Sender<Option<Micros>>,
    /// Who waits for an organisation's activities; kept while anybody does.
    waiting: Mutex<HashMap<Arc<str>, watch::Sender<()>>>,
}

/// Wakes when something happens that a reader of one organisation must look at.
pub struct OrgWatch {
    receiver: watch::Receiver<()>,
    org: Arc<str>,
    bus: Bus,
}

impl OrgWatch {
    /// Waits until something has happened since the last call; cancel safe.
    pub async fn changed(&mut self) {
        if self.receiver.changed().await.is_err() {
            // INVARIANT: the sender is kept while this watch lives.
            std::future::pending().await
        }
    }
}

impl Drop for OrgWatch {
    fn drop(&mut self) {
        let mut waiting = self.bus.waiting();
        // This one still counts.
        if waiting.get(&self.org).is_some_and(|sender| sender.receiver_count() <= 1) {
            waiting.remove(&self.org);
        }
    }
}

impl Bus {
    /// Makes a bus over a log whose marks are `head`.
    pub fn new(log: Arc<dyn ActivityLog>, head: Head) -> Bus {
        let ring = Mutex::new(Ring::new(head.durable, RING_ACTIVITIES_MAX, RING_BYTES_MAX));
        let shared = Shared {
            log,
            head: watch::Sender::new(head),
            ring,
            as_of: watch::Sender::new(None),
            waiting: Mutex::default(),
        };
        Bus { shared: Arc::new(shared) }
    }

    /// Returns the log's marks as last known.
    pub fn head(&self) -> Head {
        *self.shared.head.borrow()
    }

    /// Returns a receiver that wakes when a mark moves.
    pub fn subscribe(&self) -> watch::Receiver<Head> {
        self.shared.head.subscribe()
    }

    /// Returns a watch that wakes when an organisation has new activities, or the log's epoch or horizon moves.
    pub fn watch(&self, org: &str) -> OrgWatch {
        let mut waiting = self.waiting();
        let (org, receiver) = match waiting.get_key_value(org) {
            Some((org, sender)) => (Arc::clone(org), sender.subscribe()),
            None => {
                let org: Arc<str> = org.into();
                let (sender, receiver) = watch::channel(());
                waiting.insert(Arc::clone(&org), sender);
                (org, receiver)
            }
        };
        drop(waiting);
        OrgWatch { receiver, org, bus: self.clone() }
    }

    /// Returns how many organisations have readers that wait.
    pub fn organisations_watched(&self) -> usize {
        self.waiting().len()
    }

    /// Returns the source's clock at the newest moment before which everything is in the log.
    pub fn as_of(&self) -> Option<Micros> {
        *self.shared.as_of.borrow()
    }

    /// Returns the log behind the bus.
    pub fn log(&self) -> &Arc<dyn ActivityLog> {
        &self.shared.log
    }

    /// Reads an organisation's activities above `after`, at most `limit`, from the ring where it reaches, else the log.
    ///
    /// Order: rising ids. Nothing above the durable head at the time of the call is returned.
    pub async fn read(&self, org: &str, after: ActivityId, limit: usize) -> Result<Page, Fault> {
        let durable = self.head().durable;
        if after >= durable {
            return Ok(Page { activities: Vec::new(), offset: after, up_to_date: true });
        }
        let from_ring = self.ring(|ring| ring.read(org, after, limit));
        let (activities, offset) = match from_ring {
            Some(page) => page,
            None => {
                let scope = Scope::Org(org.to_owned());
                let found = self.shared.log.read(&scope, after, durable, limit).await?;
                let reached = match found.last() {
                    Some(last) if found.len() >= limit => last.id,
                    _ => durable,
                };
                (found.into_iter().map(|found| Arc::new(Published::new(found))).collect(), reached)
            }
        };
        let up_to_date = activities.len() < limit && offset >= durable;
        Ok(Page { activities, offset, up_to_date })
    }

    /// Publishes what a flush made durable: `activities` directly follow the last published ones.
    pub fn publish(&self, activities: Vec<Activity>, durable: ActivityId) {
        let orgs = organisations(&activities);
        self.ring(|ring| {
            let follows = activities.first().is_none_or(|first| first.id.as_u64() == ring.newest().as_u64() + 1);
            if follows && !activities.is_empty() {
                ring.extend(activities, durable);
            } else if !follows || durable > ring.newest() {
                ring.restart(durable);
            }
        });
        self.shared.head.send_modify(|head| {
            head.durable = head.durable.max(durable);
            head.last = head.last.max(durable);
        });
        self.wake(Some(&orgs));
    }

    /// Tells that activities up to `last` were appended but are not durable yet.
    pub fn appended(&self, last: ActivityId) {
        self.shared.head.send_if_modified(|head| {
            head.last = head.last.max(last);
            false
        });
    }

    /// Takes over marks read from the log: another server wrote, an epoch began, the horizon rose.
    pub fn refresh(&self, read: Head) {
        let moved = self.shared.head.send_if_modified(|head| {
            let before = *head;
            if read.epoch > head.epoch {
                *head = read;
                self.ring(|ring| ring.restart(read.durable));
            } else if read.epoch == head.epoch {
                if read.durable > head.durable {
                    self.ring(|ring| {
                        if ring.newest() < read.durable {
                            ring.restart(read.durable);
                        }
                    });
                }
                head.durable = head.durable.max(read.durable);
                head.last = head.last.max(read.last);
                head.visible = head.visible.max(read.visible);
                head.floor = head.floor.max(read.floor);
                head.begun |= read.begun;
            }
            let told = |head: &Head| (head.epoch, head.durable, head.floor, head.begun);
            told(&before) != told(head)
        });
        if moved {
            // Whose activities these are is not known here.
            self.wake(None);
        }
    }

    /// Tells that capture has begun in an epoch.
    pub fn begin(&self, epoch: Epoch) {
        self.shared.head.send_if_modified(|head| {
            let begins = head.epoch == epoch && !head.begun;
            head.begun |= begins;
            begins
        });
    }

    /// Tells that every transaction up to `to` is visible to readers of the source.
    pub fn raise_visible(&self, to: ActivityId) {
        self.shared.head.send_if_modified(|head| {
            head.visible = head.visible.max(to);
            false
        });
    }

    /// Tells the source's clock before which everything is in the log.
    pub fn set_as_of(&self, at: Micros) {
        self.shared.as_of.send_if_modified(|as_of| {
            let newer = as_of.is_none_or(|known| known < at);
            if newer {
                *as_of = Some(at);
            }
            newer
        });
    }

    /// Returns how many activities and bytes the ring holds.
    pub fn ring_size(&self) -> (usize, usize) {
        self.ring(|ring| ring.size())
    }

    /// Wakes the readers of these organisations; all where none is named, or where everyone is concerned.
    fn wake(&self, orgs: Option<&HashSet<String>>) {
        let waiting = self.waiting();
        match orgs.filter(|orgs| !orgs.contains(EVERYONE)) {
            None => waiting.values().for_each(|sender| sender.send_replace(())),
            Some(orgs) => {
                for sender in orgs.iter().filter_map(|org| waiting.get(org.as_str())) {
                    metrics::histogram!("antiphon_fanout_streams").record(sender.receiver_count() as f64);
                    sender.send_replace(());
                }
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, watch::Sender<()>>> {
        // A panic cannot leave the map half changed.
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring<T>(&self, act: impl FnOnce(&mut Ring) -> T) -> T {
        // A panic cannot leave the ring half changed: its methods keep its law at every step.
        act(&mut self.shared.ring.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns whose activities these are; neighbours mostly belong to the same one, and are not looked up again.
fn organisations(activities: &[Activity]) -> HashSet<String> {
    let mut orgs: HashSet<String> = HashSet::new();
    for run in activities.chunk_by(|one, next| one.org == next.org) {
        if let Some(first) = run.first().filter(|first| !orgs.contains(&first.org)) {
            orgs.insert(first.org.clone());
        }
    }
    orgs
}
