//! Reading far from the head: what the planner does, and that windows join without a gap.

use antiphon_engine::ports::{ActivityLog, Leadership, Scope};
use antiphon_model::{ActivityId, Visibility};
use antiphon_store::Store;
use antiphon_testkit::{TestDb, for_each_postgres};

use crate::{activity, batch, open};

/// As `Store::read` asks, whose statements are planned for their values.
const OF_ORG: &str =
    "select * from log.activities where id > 1990 and id <= 5990 and org = 'acme' order by id limit 100";
const OF_ALL: &str =
    "select * from log.activities where id > 101990 and id <= 106086 and action > 0 order by id limit 1000";

fn org(n: u64) -> &'static str {
    if n.is_multiple_of(4) { "acme" } else { "globex" }
}

async fn fill(store: &Store, activities: u64) -> ActivityId {
    let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
    let mut last = ActivityId::new(0);
    for first in (0..activities).step_by(10_000) {
        let batch_of =
            (first..(first + 10_000).min(activities)).map(|n| activity(org(n + 1), &n.to_string(), first + 1));
        last = tenure.writer.append(&mut batch(first + 1, batch_of.collect())).await.unwrap();
    }
    tenure.flusher.flush(last).await.unwrap();
    last
}

async fn plan(db: &TestDb, sql: &str) -> String {
    let sql = format!("explain (analyze, buffers, timing off, costs off, summary off) {sql}");
    let rows = db.connect_log().await.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
}

#[tokio::test]
async fn catch_up_of_one_organisation_stops_at_its_limit_by_the_index_log_03() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "catchup").await;
        let store = store.with_partition_ids(2_000);
        let last = fill(&store, 20_000).await;
        let page = store.read(&Scope::Org("acme".into()), ActivityId::new(1_990), last, 100).await.unwrap();
        let ids: Vec<u64> = page.iter().map(|activity| activity.id.as_u64()).collect();
        assert_eq!(ids, (1_991..).filter(|id| id % 4 == 0).take(100).collect::<Vec<_>>());
        // Neither before nor after the planner knows anything of the tables.
        for analysed in [false, true] {
            if analysed {
                db.connect_log().await.batch_execute("analyze log.activities").await.unwrap();
            }
            let plan = plan(&db, OF_ORG).await;
            assert!(plan.contains("_org_id_idx") && !plan.contains("Seq Scan") && !plan.contains("Sort"), "{plan}");
            assert!(plan.contains("never executed"), "later partitions are not touched:\n{plan}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_rare_organisation_is_found_in_any_partition_log_03() {
    for_each_postgres(|pg| async move {
        let (_db, store) = open(&pg, "rare").await;
        let store = store.with_partition_ids(100);
        let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
        let rare = [3, 1_777, 2_999];
        let activities = (1..=3_000).map(|id| activity(if rare.contains(&id) { "rare" } else { "acme" }, "1", 10));
        let last = tenure.writer.append(&mut batch(10, activities.collect())).await.unwrap();
        for (limit, expected) in [(1, &rare[..1]), (2, &rare[..2]), (3, &rare[..]), (4, &rare[..])] {
            let found = store.read(&Scope::Org("rare".into()), ActivityId::new(0), last, limit).await.unwrap();
            assert_eq!(found.iter().map(|activity| activity.id.as_u64()).collect::<Vec<_>>(), expected);
        }
        let all = store.read(&Scope::Everything, ActivityId::new(0), last, 10_000).await.unwrap();
        assert!(all.len() == 3_000 && all.windows(2).all(|pair| pair[0].id < pair[1].id));
        let none = store.read(&Scope::Org("nobody".into()), ActivityId::new(0), last, 10).await.unwrap();
        assert_eq!(none, []);
    })
    .await;
}

#[tokio::test]
async fn an_organisation_that_fell_silent_is_not_searched_for_among_the_others_log_03() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "silent").await;
        let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
        // Busy in the first half, then nothing: by statistics it has every other activity of what follows.
        let org = |id: u64| if id <= 20_000 { "acme" } else { "globex" };
        let activities = (1..=40_000).map(|id| activity(org(id), "1", 10)).collect();
        let last = tenure.writer.append(&mut batch(10, activities)).await.unwrap();
        db.connect_log().await.batch_execute("analyze log.activities").await.unwrap();
        let found = store.read(&Scope::Org("acme".into()), ActivityId::new(20_000), last, 100).await.unwrap();
        assert_eq!(found, []);
        let sql =
            "select * from log.activities where id > 20000 and id <= 40000 and org = 'acme' order by id limit 100";
        let plan = plan(&db, sql).await;
        assert!(plan.contains("_org_id_idx") && !plan.contains("Rows Removed"), "{plan}");
    })
    .await;
}

#[tokio::test]
async fn a_page_of_everything_touches_only_its_own_part_of_the_open_partition_log_03() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "middle").await;
        let last = fill(&store, 200_000).await;
        let page = store.read(&Scope::Everything, ActivityId::new(101_990), last, 1_000).await.unwrap();
        let ids: Vec<u64> = page.iter().map(|activity| activity.id.as_u64()).collect();
        assert_eq!(ids, (101_991..=102_990).collect::<Vec<_>>());
        let plan = plan(&db, OF_ALL).await;
        assert!(plan.contains("_id_idx") && !plan.contains("Seq Scan") && !plan.contains("Rows Removed"), "{plan}");
    })
    .await;
}

#[tokio::test]
async fn the_first_invisible_is_found_however_far_it_is_str_02() {
    for_each_postgres(|pg| async move {
        let (_db, store) = open(&pg, "far").await;
        let last = fill(&store, 120_000).await;
        // Transaction numbers are 1, 10_001, ... for 10,000 activities each.
        let seen: Visibility = "110002:110002:".parse().unwrap();
        assert_eq!(store.first_invisible(ActivityId::new(0), last, &seen).await.unwrap(), None);
        for (snapshot, expected) in [("1:110002:110001", 110_001), ("1:110002:60001,110001", 60_001), ("1:1:", 1)] {
            let found = store.first_invisible(ActivityId::new(0), last, &snapshot.parse().unwrap()).await.unwrap();
            assert_eq!(found.map(ActivityId::as_u64), Some(expected), "{snapshot}");
        }
    })
    .await;
}
