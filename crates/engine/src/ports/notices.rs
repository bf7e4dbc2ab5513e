//! Hints between the servers of one log that its head has moved.
//!
//! Law: a hint is only a reason to read the log's head; it carries no activities. One that is lost, late, repeated or
//! false changes nothing but the delay, since everyone also looks at the head from time to time.

use std::cmp::Ordering;

use antiphon_model::{ActivityId, Epoch};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::Head;

/// A hint takes at most so many bytes: Postgres refuses notifications of 8,000 and more.
const PAYLOAD_BYTES_MAX: usize = 7_500;
/// So many notices wait for a listener; whoever is further behind is told once that some were missed.
const WAITING_MAX: usize = 64;

/// Activities `first` to `last` of an epoch are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// The log's epoch.
    pub epoch: u64,
    /// The first new activity.
    pub first: u64,
    /// The last one: the durable head.
    pub last: u64,
}

impl Hint {
    /// Makes a hint of a range.
    pub fn new(epoch: Epoch, first: ActivityId, last: ActivityId) -> Hint {
        Hint { epoch: u64::from(epoch.as_u32()), first: first.as_u64(), last: last.as_u64() }
    }

    /// Returns the payload; `None` where it would be too large to send.
    pub fn encode(&self) -> Option<String> {
        serde_json::to_string(self).ok().filter(|text| text.len() <= PAYLOAD_BYTES_MAX)
    }

    /// Reads a payload; `None` where it is none of ours.
    pub fn decode(payload: &str) -> Option<Hint> {
        let fits = payload.len() <= PAYLOAD_BYTES_MAX;
        let hint: Hint = fits.then(|| serde_json::from_str(payload).ok()).flatten()?;
        (hint.first <= hint.last).then_some(hint)
    }

    /// Returns one hint that says what both say: of two epochs, only what the newer one says matters.
    #[must_use]
    pub fn and(self, other: Hint) -> Hint {
        match self.epoch.cmp(&other.epoch) {
            Ordering::Less => other,
            Ordering::Greater => self,
            Ordering::Equal => {
                Hint { epoch: self.epoch, first: self.first.min(other.first), last: self.last.max(other.last) }
            }
        }
    }

    /// Returns whether whoever knows this head learns nothing from the hint.
    pub fn is_known(&self, head: &Head) -> bool {
        let epoch = u64::from(head.epoch.as_u32());
        self.epoch < epoch || self.epoch == epoch && self.last <= head.durable.as_u64()
    }
}

/// What a listener is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The head has moved.
    Moved(Hint),
    /// Hints are heard from now on; those of before may have been missed.
    Listening,
}

/// Takes the payloads of a connection's notifications; dropped when the connection ends.
pub type Heard = Box<dyn FnMut(&str) + Send>;

/// Carries hints. Durability: none. Order: none promised. Repetition: harmless. Concurrency: any number of both sides.
pub trait Notices: Send + Sync {
    /// Sends a hint without waiting; call it only after the activities are durable. Failures are not told.
    fn publish(&self, hint: Hint);

    /// Returns a receiver of notices from now on; a receiver that is told it lags has only to read the head.
    fn subscribe(&self) -> broadcast::Receiver<Notice>;
}

/// Carries hints within one process.
pub struct LocalNotices {
    sender: broadcast::Sender<Notice>,
}

impl Default for LocalNotices {
    fn default() -> LocalNotices {
        LocalNotices { sender: broadcast::Sender::new(WAITING_MAX) }
    }
}

impl LocalNotices {
    /// Tells every listener of this process.
    pub fn tell(&self, notice: Notice) {
        // Nobody listens: nobody misses it.
        drop(self.sender.send(notice));
    }
}

impl Notices for LocalNotices {
    fn publish(&self, hint: Hint) {
        self.tell(Notice::Moved(hint));
    }

    fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.sender.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(epoch: u64, first: u64, last: u64) -> Hint {
        Hint { epoch, first, last }
    }

    #[test]
    fn a_payload_is_read_back_and_small_log_05() {
        let largest = hint(u64::MAX, u64::MAX, u64::MAX);
        let payload = largest.encode().unwrap();
        assert!(payload.len() <= PAYLOAD_BYTES_MAX);
        assert_eq!(Hint::decode(&payload), Some(largest));
    }

    #[test]
    fn what_is_none_of_ours_is_no_hint_log_05() {
        let ours = r#"{"epoch":1,"first":1,"last":1}"#;
        let padded = format!("{}{ours}", " ".repeat(PAYLOAD_BYTES_MAX));
        // Fewer characters than the bound, but more bytes.
        let wide = format!(r#"{{"epoch":1,"first":1,"last":1,"more":"{}"}}"#, "é".repeat(PAYLOAD_BYTES_MAX / 2));
        assert!(wide.chars().count() < PAYLOAD_BYTES_MAX);
        for payload in ["", "x", "{}", r#"{"epoch":1,"first":2,"last":1}"#, &padded, &wide] {
            assert_eq!(Hint::decode(payload), None);
        }
        assert_eq!(Hint::decode(ours), Some(hint(1, 1, 1)));
    }

    #[test]
    fn hints_that_wait_become_one_that_says_the_newest_head_log_05() {
        assert_eq!(hint(1, 5, 6).and(hint(1, 7, 9)), hint(1, 5, 9));
        assert_eq!(hint(1, 7, 9).and(hint(1, 5, 6)), hint(1, 5, 9));
        assert_eq!(hint(1, 7, 9).and(hint(2, 1, 1)), hint(2, 1, 1));
        assert_eq!(hint(2, 1, 1).and(hint(1, 7, 9)), hint(2, 1, 1));
    }
}
