//! Appending, flushing and reading.

use antiphon_engine::ports::{ActivityLog, Leadership, Scope};
use antiphon_model::{ActivityId, Epoch};
use antiphon_testkit::{Pg, PgVersion, for_each_postgres};

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
async fn a_crash_takes_back_what_was_not_flushed_and_nothing_else_log_06() {
    // The walwriter flushes asynchronous commits after three times its delay: here it never does in time.
    let settings = [("wal_writer_delay", "10000"), ("fsync", "on")];
    let Some(pg) = Pg::private(PgVersion::V15, &settings).await else { return };
    let (db, store) = open(&pg, "crash").await;
    let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
    tenure.writer.append(&mut batch(10, vec![activity("acme", "1", 10)])).await.unwrap();
    tenure.flusher.flush(ActivityId::new(1)).await.unwrap();
    tenure.writer.append(&mut batch(20, vec![activity("acme", "2", 20)])).await.unwrap();
    pg.kill9().await;
    pg.restart().await;
    let again = over(&db).acquire("main", "one").await.unwrap().unwrap();
    let taken_back = again.head.last == ActivityId::new(1);
    assert_eq!(again.checkpoint.lsn.as_u64(), if taken_back { 10 } else { 20 }, "log and checkpoint go together");
    assert!(again.head.durable >= ActivityId::new(1), "what was flushed is there");
    let fault = tenure.writer.append(&mut batch(30, vec![])).await.unwrap_err();
    assert_eq!(fault.code(), antiphon_model::Code::LogUnreachable, "{fault:?}");
}

#[tokio::test]
async fn a_list_of_one_organisation_stops_at_its_limit_by_the_index_log_03() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "catchup").await;
        let store = store.with_partition_ids(2_000);
        let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
        let mut next = 0;
        for lsn in 1..=20 {
            let org = |n: u64| if n.is_multiple_of(4) { "acme" } else { "globex" };
            let activities = (0..500).map(|n| activity(org(n), &n.to_string(), lsn)).collect();
            next = tenure.writer.append(&mut batch(lsn, activities)).await.unwrap().as_u64();
        }
        tenure.flusher.flush(ActivityId::new(next)).await.unwrap();
        let scope = Scope::Org("acme".into());
        let page = store.read(&scope, ActivityId::new(1_990), ActivityId::new(next), 100).await.unwrap();
        assert_eq!(page.len(), 100);
        assert!(page.windows(2).all(|pair| pair[0].id < pair[1].id));
        let client = db.connect_log().await;
        client.batch_execute("analyze log.activities; set plan_cache_mode = force_generic_plan").await.unwrap();
        client.batch_execute("prepare p as select * from log.activities where org = $1 and id > $2 and id <= $3 order by id limit $4").await.unwrap();
        let rows = client.simple_query("explain (analyze, timing off, costs off) execute p('acme', 1990, 10000, 100)").await.unwrap();
        let plan: Vec<String> = rows
            .iter()
            .filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
            .collect();
        let plan = plan.join("\n");
        assert!(!plan.contains("Seq Scan") && !plan.contains("Sort"), "{plan}");
        assert!(plan.contains("never executed"), "later partitions are not touched:\n{plan}");
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
