//! Appending, flushing, epochs.

use antiphon_engine::ports::{ActivityLog, Batch, Leadership, Scope, SnapshotProgress};
use antiphon_model::{ActivityId, Epoch, SourceIdentity};
use antiphon_testkit::for_each_postgres;

use crate::{activity, batch, open, over};

const ZERO: ActivityId = ActivityId::new(0);

#[tokio::test]
async fn what_is_appended_is_read_back_and_shown_only_after_the_flush_log_06() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "append").await;
        let mut tenure = store.acquire("main", "one").await.unwrap().expect("nobody else is there");
        let mut first = batch(10, vec![activity("acme", "1", 10), activity("globex", "2", 10)]);
        assert_eq!(tenure.writer.append(&mut first).await.unwrap(), ActivityId::new(2));
        assert_eq!(first.activities[1].id, ActivityId::new(2));
        let other = over(&db);
        assert_eq!(other.head().await.unwrap().durable, ZERO, "nothing is shown before the flush");
        tenure.flusher.flush(ActivityId::new(2)).await.unwrap();
        let head = other.head().await.unwrap();
        assert_eq!((head.durable, head.last), (ActivityId::new(2), ActivityId::new(2)));
        let acme = other.read(&Scope::Org("acme".into()), ZERO, head.durable, 10).await.unwrap();
        assert_eq!(acme, first.activities[..1]);
        let all = other.read(&Scope::Everything, ZERO, head.durable, 10).await.unwrap();
        assert_eq!(all, first.activities);
    })
    .await;
}

#[tokio::test]
async fn a_fenced_writer_changes_nothing_log_01() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "fence").await;
        let mut old = store.acquire("main", "one").await.unwrap().unwrap();
        old.writer.append(&mut batch(10, vec![activity("acme", "1", 10)])).await.unwrap();
        let new = over(&db).acquire("main", "one").await.unwrap().expect("the same holder takes over at once");
        assert_eq!(new.head.durable, ActivityId::new(1), "a new leader flushes first");
        assert_eq!(new.checkpoint.lsn.as_u64(), 10);
        let fault = old.writer.append(&mut batch(20, vec![activity("acme", "2", 20)])).await.unwrap_err();
        assert_eq!(fault.code(), antiphon_model::Code::Fenced, "{fault:?}");
        assert_eq!(old.lease.renew().await.unwrap_err().code(), antiphon_model::Code::Fenced);
        assert_eq!(store.head().await.unwrap().last, ActivityId::new(1));
    })
    .await;
}

#[tokio::test]
async fn a_new_epoch_starts_at_its_base_and_fences_the_writer_log_04() {
    for_each_postgres(|pg| async move {
        let (_db, store) = open(&pg, "epoch").await;
        let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
        tenure.writer.append(&mut batch(10, vec![activity("acme", "1", 10)])).await.unwrap();
        let epoch = store.new_epoch("main").await.unwrap();
        assert_eq!(epoch, Epoch::FIRST.next());
        let head = store.head().await.unwrap();
        assert_eq!((head.last, head.durable, head.floor), (epoch.base(), epoch.base(), epoch.base()));
        assert!(tenure.writer.append(&mut batch(20, vec![])).await.is_err());
        let mut next = store.acquire("main", "two").await.unwrap().expect("the lease is free");
        assert_eq!(next.checkpoint, antiphon_model::Checkpoint::start());
        let last = next.writer.append(&mut batch(30, vec![activity("acme", "1", 30)])).await.unwrap();
        assert_eq!(last, epoch.base().plus(1));
    })
    .await;
}

#[tokio::test]
async fn the_first_activity_that_a_snapshot_does_not_see_is_found_str_02() {
    for_each_postgres(|pg| async move {
        let (_db, store) = open(&pg, "visible").await;
        let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
        for xid in [5, 9, 7] {
            tenure.writer.append(&mut batch(xid, vec![activity("acme", "1", xid)])).await.unwrap();
        }
        tenure.flusher.flush(ActivityId::new(3)).await.unwrap();
        for (snapshot, expected) in [("5:5:", Some(1)), ("9:10:9", Some(2)), ("7:10:7", Some(3)), ("10:10:", None)] {
            let found = store.first_invisible(ZERO, ActivityId::new(3), &snapshot.parse().unwrap()).await.unwrap();
            assert_eq!(found.map(ActivityId::as_u64), expected, "{snapshot}");
        }
        store.raise_visible(Epoch::FIRST, ActivityId::new(3)).await.unwrap();
        store.raise_visible(Epoch::FIRST, ActivityId::new(2)).await.unwrap();
        store.raise_visible(Epoch::new(2), ActivityId::new(9)).await.unwrap();
        assert_eq!(store.head().await.unwrap().visible, ActivityId::new(3));
    })
    .await;
}

#[tokio::test]
async fn hostile_text_comes_back_byte_for_byte() {
    for_each_postgres(|pg| async move {
        let (_db, store) = open(&pg, "hostile").await;
        let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
        let long = "\u{10ffff}é\\".repeat(60_000);
        let texts =
            ["", " ", "\\N", "\\.", "a\tb\nc\rd", "'; drop table log.activities; --", "\u{feff}\u{fffe}", &long];
        let activities = texts.iter().map(|text| {
            let text = (*text).to_owned();
            let mut activity = activity("acme", &text, 10);
            activity.changed = Some(text.clone());
            activity.details = Some(text);
            activity
        });
        let mut batch = batch(10, activities.collect());
        let last = tenure.writer.append(&mut batch).await.unwrap();
        tenure.flusher.flush(last).await.unwrap();
        let read = store.read(&Scope::Org("acme".into()), ZERO, last, 100).await.unwrap();
        assert_eq!(read, batch.activities);
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_the_database_refuses_changes_nothing_log_01() {
    for_each_postgres(|pg| async move {
        let (_db, store) = open(&pg, "refused").await;
        let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
        let many = |count: u64| (0..count).map(|n| activity("acme", &n.to_string(), 10));
        // Postgres cannot store this character; the source cannot have it either.
        let bad = activity("acme", "\0", 10);
        let mut refused = batch(10, many(5_000).chain([bad]).chain(many(5_000)).collect());
        tenure.writer.append(&mut refused).await.unwrap_err();
        let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
        assert_eq!((tenure.head.last, tenure.checkpoint.lsn.as_u64(), tenure.organisations.len()), (ZERO, 0, 0));
        let good = batch(10, many(5_000).collect());
        assert_eq!(tenure.writer.append(&mut good.clone()).await.unwrap(), ActivityId::new(5_000));
    })
    .await;
}

#[tokio::test]
async fn a_batch_without_activities_moves_the_checkpoint_and_remembers_progress_cap_22() {
    for_each_postgres(|pg| async move {
        let (_db, store) = open(&pg, "empty").await;
        let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
        let progress = |rows_done| SnapshotProgress {
            entity_type: "page".into(),
            last_key: Some("[\"k\"]".into()),
            rows_done,
            rows_estimated: 9,
            rows_per_second: 3,
            complete: false,
            failure: None,
        };
        for rows in [1, 2] {
            let mut batch = Batch { snapshot: Some(progress(rows)), ..batch(rows, vec![]) };
            batch.checkpoint.complete = false;
            batch.checkpoint.identity = Some(SourceIdentity {
                system_identifier: "7".into(),
                timeline: 1,
                database_oid: 5,
                database: "app".into(),
                publication: None,
            });
            assert_eq!(tenure.writer.append(&mut batch).await.unwrap(), ZERO);
            let next = store.acquire("main", "one").await.unwrap().unwrap();
            assert_eq!((&next.checkpoint, &next.snapshots[..]), (&batch.checkpoint, &[progress(rows)][..]));
            assert_eq!(next.organisations, [("page".to_owned(), "acme".to_owned())]);
            tenure = next;
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_committed_later_by_an_earlier_clock_is_read_later_pg_86() {
    for_each_postgres(|pg| async move {
        let (_db, store) = open(&pg, "backwards").await;
        let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
        for (lsn, at) in [(10, 1_700_000_000_000_000), (20, 1_600_000_000_000_000), (30, 0)] {
            let mut one = activity("acme", "1", lsn);
            one.commit.at = antiphon_model::Micros(at);
            tenure.writer.append(&mut batch(lsn, vec![one])).await.unwrap();
        }
        tenure.flusher.flush(ActivityId::new(3)).await.unwrap();
        let read = store.read(&Scope::Org("acme".into()), ZERO, ActivityId::new(3), 10).await.unwrap();
        assert_eq!(read.iter().map(|one| one.commit.lsn.as_u64()).collect::<Vec<_>>(), [10, 20, 30]);
    })
    .await;
}
