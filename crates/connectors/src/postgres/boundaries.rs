//! Where transactions of the source end in what was read of the log.
//!
//! A transaction's activities are adjacent and share a commit position, so a new position ends the one before. At the
//! durable head nothing follows: there a transaction has ended once every organisation in it had its last activity, because
//! the log takes a transaction, or a part of a large one, as a whole. Law: nothing is called whole on a guess.

use std::collections::BTreeSet;

use antiphon_model::{Activity, EVERYONE, Lsn};

/// Follows the ends of transactions from page to page.
#[derive(Debug, Default)]
pub(super) struct Boundaries {
    lsn: Option<Lsn>,
    /// Organisations of the transaction at hand whose last activity has not come.
    open: BTreeSet<String>,
}

impl Boundaries {
    /// Returns how many of the page's activities stand before the last known end; 0: what came before the page is whole,
    /// `None`: nothing ended.
    ///
    /// `at_head`: nothing durable follows the page.
    pub(super) fn pass(&mut self, page: &[Activity], at_head: bool) -> Option<usize> {
        let mut whole = None;
        for (index, activity) in page.iter().enumerate() {
            let lsn = activity.commit.lsn;
            if self.lsn != Some(lsn) {
                if self.lsn.is_some() {
                    whole = Some(index);
                }
                self.lsn = Some(lsn);
                self.open.clear();
            }
            match (activity.commit.last, activity.org == EVERYONE) {
                (false, _) => drop(self.open.insert(activity.org.clone())),
                (true, false) => drop(self.open.remove(&activity.org)),
                // Everyone's last one ends it for all.
                (true, true) => self.open.clear(),
            }
        }
        if at_head && self.open.is_empty() && !page.is_empty() {
            whole = Some(page.len());
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use antiphon_model::{Action, ActivityId, Commit, Micros, Xid};

    use super::*;

    fn page(places: &[(u64, &str, bool)]) -> Vec<Activity> {
        let activity = |&(lsn, org, last): &(u64, &str, bool)| Activity {
            id: ActivityId::new(1),
            org: org.into(),
            entity_type: "t".into(),
            entity_id: Some("1".into()),
            action: Action::Update,
            image: None,
            changed: None,
            details: None,
            tx: None,
            policy: None,
            schema: 1,
            commit: Commit { lsn: Lsn::new(lsn), seq: 0, last, xid: Xid::new(1), at: Micros(0) },
        };
        places.iter().map(activity).collect()
    }

    #[test]
    fn a_transaction_ends_where_the_next_begins_or_at_the_head_where_all_have_had_their_last_pip_06() {
        let mut ends = Boundaries::default();
        // Cut by the page, not by the head: acme had its last, and globex may follow.
        assert_eq!(ends.pass(&page(&[(1, "acme", true)]), false), None);
        assert_eq!(ends.pass(&page(&[(1, "globex", false), (1, "globex", true), (2, "acme", false)]), false), Some(2));
        // At the head in the middle of a large one.
        assert_eq!(ends.pass(&page(&[(2, "acme", false)]), true), None);
        assert_eq!(ends.pass(&page(&[(2, "acme", true)]), true), Some(1));
        // What came before the page is whole.
        assert_eq!(ends.pass(&page(&[(3, "acme", false)]), false), Some(0));
        assert_eq!(ends.pass(&[], true), None);
    }

    #[test]
    fn the_last_activity_of_everyone_ends_a_transaction_for_all_pip_06() {
        let mut ends = Boundaries::default();
        assert_eq!(ends.pass(&page(&[(1, "acme", false), (1, "*", false)]), true), None);
        assert_eq!(ends.pass(&page(&[(1, "*", true)]), true), Some(1));
    }
}
