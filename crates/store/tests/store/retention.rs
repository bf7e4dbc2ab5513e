//! What is dropped, and what readers are told before.

use antiphon_engine::ports::{ActivityLog, Leadership};
use antiphon_model::ActivityId;
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
