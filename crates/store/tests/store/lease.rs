//! Who writes.

use antiphon_engine::ports::Leadership;
use antiphon_testkit::for_each_postgres;

use crate::{open, over};

#[tokio::test]
async fn a_second_server_stands_by_until_the_first_is_gone_op_14() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "lease").await;
        let first = store.acquire("main", "one").await.unwrap().expect("free");
        let second = over(&db);
        assert!(second.acquire("main", "two").await.unwrap().is_none(), "the first holds it");
        drop(first);
        // The end of the first one's connection reaches the server in its own time.
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
        loop {
            if second.acquire("main", "two").await.unwrap().is_some() {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "a dead holder was not noticed before its lease expired");
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_released_lease_is_free_at_once() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "release").await;
        let mut first = store.acquire("main", "one").await.unwrap().expect("free");
        first.lease.renew().await.unwrap();
        first.lease.release().await.unwrap();
        assert!(over(&db).acquire("main", "two").await.unwrap().is_some());
    })
    .await;
}
