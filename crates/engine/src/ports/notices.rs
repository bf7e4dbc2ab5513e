//! Hints between the servers of one log that its head has moved.
//!
//! Law: a hint is only a reason to read the log's head; it carries no activities. One that is lost, late, repeated or
//! false changes nothing but the delay, since everyone also looks at the head from time to time.

use antiphon_model::ActivityId;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// A hint takes at most so many bytes: Postgres refuses notifications of 8,000 and more.
const PAYLOAD_BYTES_MAX: usize = 7_500;
/// So many hints wait for a listener; whoever is further behind is told once that some were missed.
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
    pub fn new(epoch: u64, first: ActivityId, last: ActivityId) -> Hint {
        Hint { epoch, first: first.as_u64(), last: last.as_u64() }
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
}

/// Carries hints. Durability: none. Order: none promised. Repetition: harmless. Concurrency: any number of both sides.
pub trait Notices: Send + Sync {
    /// Sends a hint without waiting; call it only after the activities are durable. Failures are not told.
    fn publish(&self, hint: Hint);

    /// Returns a receiver of hints from now on; a receiver that is told it lags has only to read the head.
    fn subscribe(&self) -> broadcast::Receiver<Hint>;
}

/// Carries hints within one process.
pub struct LocalNotices {
    sender: broadcast::Sender<Hint>,
}

impl Default for LocalNotices {
    fn default() -> LocalNotices {
        LocalNotices { sender: broadcast::Sender::new(WAITING_MAX) }
    }
}

impl Notices for LocalNotices {
    fn publish(&self, hint: Hint) {
        // Nobody listens: nobody misses it.
        drop(self.sender.send(hint));
    }

    fn subscribe(&self) -> broadcast::Receiver<Hint> {
        self.sender.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_read_back_and_small() {
        let hint = Hint { epoch: u64::MAX, first: u64::MAX, last: u64::MAX };
        let payload = hint.encode().unwrap();
        assert!(payload.len() <= PAYLOAD_BYTES_MAX);
        assert_eq!(Hint::decode(&payload), Some(hint));
    }

    #[test]
    fn what_is_none_of_ours_is_no_hint() {
        let padded = format!("{}{}", " ".repeat(PAYLOAD_BYTES_MAX), r#"{"epoch":1,"first":1,"last":1}"#);
        for payload in ["", "x", "{}", r#"{"epoch":1,"first":2,"last":1}"#, &padded] {
            assert_eq!(Hint::decode(payload), None);
        }
    }

    #[test]
    fn every_listener_gets_a_hint_and_none_is_needed() {
        let notices = LocalNotices::default();
        let hint = Hint { epoch: 1, first: 2, last: 3 };
        notices.publish(hint);
        let (mut one, mut other) = (notices.subscribe(), notices.subscribe());
        notices.publish(hint);
        assert_eq!((one.try_recv(), other.try_recv()), (Ok(hint), Ok(hint)));
        assert!(one.try_recv().is_err(), "a hint from before the subscription");
    }
}
