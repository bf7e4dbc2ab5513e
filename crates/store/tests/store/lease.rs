//! Who writes.

use antiphon_engine::ports::Leadership;
use antiphon_model::Code;
use antiphon_testkit::for_each_postgres;

use crate::{batch, open, over};

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

#[tokio::test]
async fn an_expired_lease_is_taken_over_though_its_session_hangs_op_14() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "halfopen").await;
        let mut old = store.acquire("main", "one").await.unwrap().expect("free");
        let expire = "update log.checkpoints set expires_at = clock_timestamp() - interval '1 second'";
        db.connect_log().await.execute(expire, &[]).await.unwrap();
        let mut new = over(&db).acquire("main", "two").await.unwrap().expect("the lease has expired");
        assert_eq!(old.lease.renew().await.unwrap_err().code(), Code::Fenced);
        assert_eq!(old.writer.append(&mut batch(10, vec![])).await.unwrap_err().code(), Code::Fenced);
        // The end of a session that was followed frees nothing; that of the new one does, at once.
        drop(old);
        let (client, deadline) =
            (db.connect_log().await, tokio::time::Instant::now() + std::time::Duration::from_secs(5));
        let held = "select count(*) from pg_locks where locktype = 'advisory'
                    and database = (select oid from pg_database where datname = current_database())";
        while client.query_one(held, &[]).await.unwrap().get::<_, i64>(0) > 1 {
            assert!(tokio::time::Instant::now() < deadline, "the old session does not end");
        }
        assert!(store.acquire("main", "one").await.unwrap().is_none(), "the new holder is alive");
        new.lease.renew().await.unwrap();
        drop(new);
        while store.acquire("main", "one").await.unwrap().is_none() {
            assert!(tokio::time::Instant::now() < deadline, "the new holder's end was not noticed");
        }
    })
    .await;
}

#[tokio::test]
async fn a_holder_whose_session_the_server_ended_gives_way_at_once_op_14() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "ended").await;
        let mut old = store.acquire("main", "one").await.unwrap().expect("free");
        let end = "select pg_terminate_backend(l.pid, 5000) from pg_locks l where l.locktype = 'advisory'
                   and l.database = (select oid from pg_database where datname = current_database())";
        assert_eq!(db.connect_log().await.execute(end, &[]).await.unwrap(), 1, "one session holds the lease");
        assert!(over(&db).acquire("main", "two").await.unwrap().is_some());
        let fault = old.writer.append(&mut batch(10, vec![])).await.unwrap_err();
        assert_eq!(fault.code(), Code::Fenced, "its other sessions live on and are fenced: {fault:?}");
    })
    .await;
}

#[tokio::test]
async fn a_writer_that_was_cut_off_in_the_middle_of_its_rows_is_ended_chaos_01() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "cutoff").await;
        drop(store.acquire("main", "one").await.unwrap().expect("free"));
        // What such a writer leaves behind: the row locked, rows half copied, a connection that nobody closes.
        let stranded = db.connect_log().await;
        stranded.batch_execute("begin; update log.checkpoints set acknowledged = acknowledged").await.unwrap();
        let sink = stranded.copy_in::<_, bytes::Bytes>("copy log.organisations from stdin").await.unwrap();
        let next = tokio::time::timeout(std::time::Duration::from_secs(30), over(&db).acquire("main", "one")).await;
        assert!(next.expect("the lease is not waited for for ever").unwrap().is_some());
        drop(sink);
    })
    .await;
}
