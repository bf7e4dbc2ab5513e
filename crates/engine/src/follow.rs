//! Learns from the log what other servers wrote: at a hint at once, and now and then without one (house 16).
//!
//! Law: hints decide only when the log's head is read, never what it is; with every hint lost, readers are served all
//! the same, a little later. Hints that say nothing new, such as a writer's own, cost no read; several that wait cost one.
//! After one that was false the next is followed only some time later: whoever forges them, as any role of the log's
//! database can, buys few reads.

use std::time::Duration;

use tokio::sync::broadcast::{
    Receiver,
    error::{RecvError, TryRecvError},
};

use crate::{
    Bus,
    ports::{Notice, Notices},
};

/// The log's head is read this often even without a hint.
const LOOK_MS: u64 = 1_000;

/// After a hint that turned out to be false, the next one is looked at so much later.
const FALSE_MS: u64 = 50;

/// Follows the log's head until dropped.
pub(crate) async fn follow(bus: &Bus, notices: &dyn Notices) {
    let mut heard = notices.subscribe();
    loop {
        // Without hints the time decides alone.
        let told = tokio::time::timeout(Duration::from_millis(LOOK_MS), news(bus, &mut heard)).await.is_ok();
        let before = bus.head();
        match bus.log().head().await {
            Ok(head) => {
                bus.refresh(head);
                if told && bus.head() == before {
                    tokio::time::sleep(Duration::from_millis(FALSE_MS)).await;
                }
            }
            Err(fault) => {
                tracing::debug!(error = %fault.chain(), "the log's marks could not be read");
                // A database that refuses is not asked again at every hint.
                tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
            }
        }
    }
}

/// Waits until something was heard that makes the head worth reading, and takes all that waits beside it.
async fn news(bus: &Bus, heard: &mut Receiver<Notice>) {
    loop {
        let news = match heard.recv().await {
            Ok(Notice::Moved(hint)) => !hint.is_known(&bus.head()),
            Ok(Notice::Listening) | Err(RecvError::Lagged(_)) => true,
            Err(RecvError::Closed) => std::future::pending().await,
        };
        if !news {
            continue;
        }
        while !matches!(heard.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
        return;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use antiphon_model::{Activity, ActivityId, Epoch, Visibility};
    use async_trait::async_trait;
    use tokio::time::Instant;

    use super::*;
    use crate::{
        Fault,
        ports::{ActivityLog, DeletedPage, EntityRef, Head, Hint, LocalNotices, Scope, Span},
    };

    /// A log that another server writes; it counts how often its marks were read.
    struct Log {
        durable: AtomicU64,
        reads: AtomicU64,
    }

    impl Log {
        fn write(&self) -> Hint {
            let last = self.durable.fetch_add(1, Ordering::SeqCst) + 1;
            Hint { epoch: 1, first: last, last }
        }

        fn reads(&self) -> u64 {
            self.reads.load(Ordering::SeqCst)
        }
    }

    #[async_trait]
    impl ActivityLog for Log {
        async fn head(&self) -> Result<Head, Fault> {
            self.reads.fetch_add(1, Ordering::SeqCst);
            Ok(head(self.durable.load(Ordering::SeqCst)))
        }

        async fn read(&self, _: &Scope, _: ActivityId, _: ActivityId, _: usize) -> Result<Vec<Activity>, Fault> {
            Ok(Vec::new())
        }

        async fn first_invisible(
            &self,
            _: ActivityId,
            _: ActivityId,
            _: &Visibility,
        ) -> Result<Option<ActivityId>, Fault> {
            Ok(None)
        }

        async fn of_entity(&self, _: &EntityRef<'_>, _: Span, _: usize) -> Result<Vec<Activity>, Fault> {
            Ok(Vec::new())
        }

        async fn newest_of(&self, _: &str, _: &str, _: &[String], _: Span) -> Result<Vec<Activity>, Fault> {
            Ok(Vec::new())
        }

        async fn of_transaction(&self, _: &[&str], _: &str, _: Span, _: usize) -> Result<Vec<Activity>, Fault> {
            Ok(Vec::new())
        }

        async fn deletes(&self, _: &str, _: &str, _: Span, _: usize) -> Result<DeletedPage, Fault> {
            Ok(DeletedPage::default())
        }

        async fn raise_visible(&self, _: Epoch, _: ActivityId) -> Result<(), Fault> {
            Ok(())
        }
    }

    fn head(durable: u64) -> Head {
        let id = ActivityId::new(durable);
        Head { epoch: Epoch::new(1), last: id, floor: ActivityId::new(0), durable: id, visible: id, begun: true }
    }

    struct Follower {
        log: Arc<Log>,
        bus: Bus,
        notices: Arc<LocalNotices>,
    }

    impl Follower {
        /// Starts to follow, and waits until it does.
        async fn start() -> Follower {
            let log = Arc::new(Log { durable: AtomicU64::new(5), reads: AtomicU64::new(0) });
            let bus = Bus::new(Arc::clone(&log) as Arc<dyn ActivityLog>, head(5));
            let notices = Arc::new(LocalNotices::default());
            let (theirs, heard) = (bus.clone(), Arc::clone(&notices));
            crate::spawn("follow", async move { follow(&theirs, &*heard).await });
            let follower = Follower { log, bus, notices };
            follower.pause(0).await;
            follower
        }

        /// Lets the follower do all it can do within this time.
        async fn pause(&self, ms: u64) {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }

        /// Waits until the bus knows what was written, and returns the milliseconds that took.
        async fn catches_up(&self) -> u128 {
            let (wanted, since) = (head(self.log.durable.load(Ordering::SeqCst)), Instant::now());
            let mut marks = self.bus.subscribe();
            let caught = marks.wait_for(|marks| marks.durable == wanted.durable);
            tokio::time::timeout(Duration::from_secs(60), caught).await.expect("in time").expect("a bus");
            since.elapsed().as_millis()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hint_is_followed_at_once_log_05() {
        let follower = Follower::start().await;
        for _ in 0..3 {
            follower.notices.publish(follower.log.write());
            assert_eq!(follower.catches_up().await, 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_hint_is_needed_log_05() {
        let follower = Follower::start().await;
        for _ in 0..3 {
            follower.log.write();
            let waited = follower.catches_up().await;
            assert!((1..=u128::from(LOOK_MS)).contains(&waited), "{waited}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_each_listen_and_each_lag_the_head_is_read_log_05() {
        let follower = Follower::start().await;
        follower.log.write();
        follower.notices.tell(Notice::Listening);
        assert_eq!(follower.catches_up().await, 0);
        let known = Hint { epoch: 1, first: 6, last: 6 };
        follower.log.write();
        // More than wait for a listener: the one that mattered is among those that were dropped.
        (0..100).for_each(|_| follower.notices.publish(known));
        assert_eq!(follower.catches_up().await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_costs_no_read_and_many_hints_cost_one_log_05() {
        let follower = Follower::start().await;
        let first = follower.log.write();
        (0..30).for_each(|_| follower.notices.publish(first));
        follower.catches_up().await;
        follower.pause(1).await;
        assert_eq!(follower.log.reads(), 1);
        for known in [first, Hint { epoch: 0, first: 1, last: 99 }] {
            follower.notices.publish(known);
            follower.pause(1).await;
        }
        assert_eq!(follower.log.reads(), 1, "a repeated or an old hint was followed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_false_hint_changes_nothing_log_05() {
        let follower = Follower::start().await;
        for lie in [Hint { epoch: 1, first: 6, last: 900 }, Hint { epoch: 7, first: 1, last: 900 }] {
            follower.notices.publish(lie);
            follower.pause(FALSE_MS + 1).await;
            assert_eq!(follower.bus.head(), head(5));
        }
        assert_eq!(follower.log.reads(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_false_hints_costs_a_read_in_each_space_of_time_and_hides_no_true_one_log_05() {
        let follower = Follower::start().await;
        let (began, mut told) = (Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(10) {
            // More at once than wait for a listener.
            for n in 0..200 {
                told += 1;
                follower.notices.publish(Hint { epoch: 1 + n % 2, first: 6, last: 1_000 + told });
            }
            follower.pause(1).await;
        }
        let most = 10_000 / FALSE_MS + 1;
        let reads = follower.log.reads();
        assert!(reads <= most, "{reads} reads for {told} hints");
        assert!(reads > most / 2, "hints were not followed any more: {reads}");
        follower.notices.publish(follower.log.write());
        let waited = follower.catches_up().await;
        assert!(waited <= u128::from(FALSE_MS), "{waited}");
    }
}
