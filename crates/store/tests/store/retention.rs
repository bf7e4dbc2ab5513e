//! What is dropped, and what readers are told before.

use antiphon_engine::ports::{ActivityLog, Leadership, Scope};
use antiphon_model::{ActivityId, Code};
use antiphon_store::Retention;
use antiphon_testkit::for_each_postgres;

use crate::{activity, batch, open};

#[tokio::test]
async fn the_floor_rises_with_what_is_dropped_and_the_open_partition_stays_log_02() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "retention").await;
        let store = store.with_partition_ids(100);
        let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
        let last = {
            let activities = (0..450).map(|n| activity("acme", &n.to_string(), 10)).collect();
            tenure.writer.append(&mut batch(10, activities)).await.unwrap()
        };
        tenure.flusher.flush(last).await.unwrap();
        let keep_all = Retention { days: 100_000, activities_min: 0 };
        let done = store.maintain(&keep_all).await.unwrap();
        assert_eq!((done.dropped.len(), done.indexed), (0, vec![0, 1, 2, 3]));
        // The activities are from 2023: old by age, but at least 200 are to be kept.
        let done = store.maintain(&Retention { days: 7, activities_min: 200 }).await.unwrap();
        assert_eq!(done.dropped, [0, 1]);
        assert_eq!(store.head().await.unwrap().floor, ActivityId::new(199));
        let client = db.connect_log().await;
        let lowest: i64 = client.query_one("select min(id) from log.activities", &[]).await.unwrap().get(0);
        assert_eq!(lowest, 200);
        let done = store.maintain(&Retention { days: 7, activities_min: 0 }).await.unwrap();
        assert_eq!(done.dropped, [2, 3], "the open partition stays");
        tenure.writer.append(&mut batch(20, vec![activity("acme", "x", 20)])).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_reader_below_what_was_dropped_is_told_and_never_finds_a_gap_log_02() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "gap").await;
        let store = store.with_partition_ids(100);
        let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
        let activities = (0..350).map(|n| activity("acme", &n.to_string(), 10)).collect();
        let last = tenure.writer.append(&mut batch(10, activities)).await.unwrap();
        tenure.flusher.flush(last).await.unwrap();
        // A reader in the middle of the first partition keeps it from being dropped.
        let reader = db.connect_log().await;
        reader.batch_execute("begin; select count(*) from log.activities_0").await.unwrap();
        let nothing = Retention { days: 7, activities_min: 0 };
        let fault = store.maintain(&nothing).await.unwrap_err();
        assert_eq!(fault.code(), Code::LogUnreachable, "it gives way: {fault:?}");
        let head = store.head().await.unwrap();
        assert_eq!(head.floor, ActivityId::new(99), "the floor rose first");
        for scope in [Scope::Org("acme".into()), Scope::Everything] {
            let fault = store.read(&scope, ActivityId::new(98), last, 10).await.unwrap_err();
            assert_eq!(fault.code(), Code::OffsetExpired, "{fault:?}");
            let page = store.read(&scope, head.floor, last, 10).await.unwrap();
            assert_eq!(page[0].id, ActivityId::new(100), "from the floor on nothing is missing");
        }
        // The writer and others go on meanwhile; the next time finishes what was begun.
        tenure.writer.append(&mut batch(20, vec![activity("acme", "x", 20)])).await.unwrap();
        reader.batch_execute("commit").await.unwrap();
        assert_eq!(store.maintain(&nothing).await.unwrap().dropped, [0, 1, 2]);
    })
    .await;
}

#[tokio::test]
async fn what_former_epochs_left_is_dropped_log_04() {
    for_each_postgres(|pg| async move {
        let (_db, store) = open(&pg, "former").await;
        let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
        tenure.writer.append(&mut batch(10, vec![activity("acme", "1", 10)])).await.unwrap();
        let epoch = store.new_epoch("main").await.unwrap();
        let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
        tenure.writer.append(&mut batch(10, vec![activity("acme", "1", 10)])).await.unwrap();
        let done = store.maintain(&Retention::default()).await.unwrap();
        assert!(done.dropped.contains(&0) && done.floor.is_none(), "{done:?}");
        assert_eq!(store.head().await.unwrap().floor, epoch.base());
        let old = store.read(&Scope::Everything, ActivityId::new(0), epoch.base().plus(1), 10).await.unwrap_err();
        assert_eq!(old.code(), Code::EpochChanged);
        let page = store.read(&Scope::Everything, epoch.base(), epoch.base().plus(1), 10).await.unwrap();
        assert_eq!(page.len(), 1);
    })
    .await;
}
