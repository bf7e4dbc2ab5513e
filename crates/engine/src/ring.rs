//! The most recent activities in memory, bounded by count and bytes (house 5).
//!
//! Law: the ring holds every activity of the log above `after`, up to its newest; a reader whose position is not
//! below `after` may read here, all others read the log by the same path. When full, the oldest go first: nothing
//! is lost, because the log has them.

use std::{collections::VecDeque, sync::Arc};

use antiphon_model::{Activity, ActivityId, EVERYONE};

use crate::Published;

/// Recent activities in rising order.
#[derive(Debug)]
pub(crate) struct Ring {
    after: ActivityId,
    newest: ActivityId,
    activities: VecDeque<Arc<Published>>,
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

impl Ring {
    /// Makes an empty ring that begins above `after`.
    pub(crate) fn new(after: ActivityId, count_max: usize, bytes_max: usize) -> Ring {
        Ring { after, newest: after, activities: VecDeque::new(), bytes: 0, count_max, bytes_max }
    }

    /// Empties the ring: the log above `after` continues elsewhere.
    pub(crate) fn restart(&mut self, after: ActivityId) {
        *self = Ring::new(after, self.count_max, self.bytes_max);
    }

    /// Adds what directly follows the newest activity; `newest` is the last id of the batch.
    pub(crate) fn extend(&mut self, mut activities: Vec<Activity>, newest: ActivityId) {
        // What would be pushed out again at once is not let in.
        let surplus = activities.len().saturating_sub(self.count_max);
        if let Some(last) = activities.drain(..surplus).next_back() {
            self.restart(last.id);
        }
        for activity in activities {
            self.bytes += activity.byte_len();
            self.activities.push_back(Arc::new(Published::new(activity)));
        }
        self.newest = newest;
        while self.activities.len() > self.count_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.activities.pop_front() else { break };
            self.bytes -= oldest.byte_len();
            self.after = oldest.id;
        }
    }

    /// Returns the last id that the ring covers.
    pub(crate) fn newest(&self) -> ActivityId {
        self.newest
    }

    /// Returns the activities of the organisation, and those of everyone, above `after`, or `None` where the ring does not reach back so far.
    ///
    /// The second value is the position up to which the ring was searched.
    pub(crate) fn read(&self, org: &str, after: ActivityId, limit: usize) -> Option<(Vec<Arc<Published>>, ActivityId)> {
        if after < self.after || after > self.newest {
            return None;
        }
        let start = self.activities.partition_point(|activity| activity.id <= after);
        let mut found = Vec::new();
        for activity in self.activities.range(start..) {
            if activity.org != org && activity.org != EVERYONE {
                continue;
            }
            if found.len() == limit {
                let reached = found.last().map_or(after, |last: &Arc<Published>| last.id);
                return Some((found, reached));
            }
            found.push(Arc::clone(activity));
        }
        Some((found, self.newest))
    }

    /// Returns how many activities and bytes are held.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.activities.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use antiphon_model::{Action, Commit, Lsn, Micros, Xid};

    use super::*;

    fn activity(id: u64, org: &str) -> Activity {
        let commit = Commit { lsn: Lsn::new(id), seq: 0, last: true, xid: Xid::new(id), at: Micros(0) };
        Activity {
            id: ActivityId::new(id),
            org: org.into(),
            entity_type: "page".into(),
            entity_id: Some(id.to_string()),
            action: Action::Create,
            image: None,
            changed: None,
            details: None,
            tx: None,
            policy: None,
            schema: 1,
            commit,
        }
    }

    fn ids(page: &[Arc<Published>]) -> Vec<u64> {
        page.iter().map(|activity| activity.id.as_u64()).collect()
    }

    #[test]
    fn a_reader_inside_the_ring_sees_its_organisation_only() {
        let mut ring = Ring::new(ActivityId::new(10), 8, 1 << 20);
        ring.extend(
            (11..=16).map(|id| activity(id, if id % 2 == 0 { "acme" } else { "globex" })).collect(),
            ActivityId::new(17),
        );
        let (page, reached) = ring.read("acme", ActivityId::new(10), 10).unwrap();
        assert_eq!((ids(&page), reached.as_u64()), (vec![12, 14, 16], 17));
        let (page, reached) = ring.read("acme", ActivityId::new(12), 1).unwrap();
        assert_eq!((ids(&page), reached.as_u64()), (vec![14], 14));
    }

    #[test]
    fn a_lagging_reader_is_sent_to_the_log_str_01() {
        let mut ring = Ring::new(ActivityId::new(0), 4, 1 << 20);
        ring.extend((1..=6).map(|id| activity(id, "acme")).collect(), ActivityId::new(6));
        assert!(ring.read("acme", ActivityId::new(1), 10).is_none());
        assert_eq!(ids(&ring.read("acme", ActivityId::new(2), 10).unwrap().0), [3, 4, 5, 6]);
        assert_eq!(ring.size().0, 4);
    }

    #[test]
    fn bytes_bound_the_ring_too() {
        let one = activity(1, "acme").byte_len();
        let mut ring = Ring::new(ActivityId::new(0), 100, one * 2);
        ring.extend((1..=5).map(|id| activity(id, "acme")).collect(), ActivityId::new(5));
        assert_eq!(ring.size(), (2, one * 2));
    }
}
