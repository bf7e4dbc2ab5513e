//! Looking activities up by their entity, in closed partitions and in the open one.

use antiphon_engine::ports::{ActivityLog, EntityRef, Leadership, Span};
use antiphon_model::{Action, Activity, ActivityId};
use antiphon_store::{Retention, Store};
use antiphon_testkit::{Pg, TestDb, for_each_postgres};

use crate::{activity, batch, open};

const KEEP: Retention = Retention { days: 100_000, activities_min: 0 };

fn gone(org: &str, entity: &str) -> Activity {
    Activity { action: Action::Delete, image: None, ..activity(org, entity, 10) }
}

fn of_type(entity_type: &str, entity: &str) -> Activity {
    Activity { entity_type: entity_type.into(), ..activity("acme", entity, 10) }
}

fn numbers(activities: &[Activity]) -> Vec<u64> {
    activities.iter().map(|activity| activity.id.as_u64()).collect()
}

fn page(entity_id: &str) -> EntityRef<'_> {
    EntityRef { org: "acme", entity_type: "page", entity_id }
}

fn span(after: u64, up_to: u64) -> Span {
    Span { after: ActivityId::new(after), up_to: ActivityId::new(up_to) }
}

/// A log of partitions of 10 ids, the closed ones with their index.
async fn filled(pg: &Pg, activities: Vec<Activity>) -> (TestDb, Store) {
    let (db, store) = open(pg, "lookup").await;
    let store = store.with_partition_ids(10);
    let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
    let last = tenure.writer.append(&mut batch(10, activities)).await.unwrap();
    tenure.flusher.flush(last).await.unwrap();
    store.maintain(&KEEP).await.unwrap();
    (db, store)
}

#[tokio::test]
async fn the_history_of_an_entity_is_newest_first_of_one_organisation_and_of_the_part_asked_for_log_03() {
    for_each_postgres(|pg| async move {
        // 1 to 35: every fifth is the entity's; the same id lives in another organisation and in another type.
        let of = |n: u64| match n % 5 {
            0 => activity("acme", "7", 10),
            1 => activity("globex", "7", 10),
            2 => of_type("task", "7"),
            3 => Activity { entity_id: None, action: Action::Truncate, image: None, ..activity("acme", "7", 10) },
            _ => activity("acme", "8", 10),
        };
        let (_db, store) = filled(&pg, (1..=35).map(of).collect()).await;
        let all = store.of_entity(&page("7"), span(0, 35), 100).await.unwrap();
        assert_eq!(numbers(&all), [35, 30, 25, 20, 15, 10, 5]);
        assert!(all.iter().all(|one| one.org == "acme" && one.entity_type == "page"));
        assert_eq!(numbers(&store.of_entity(&page("7"), span(0, 35), 3).await.unwrap()), [35, 30, 25]);
        assert_eq!(numbers(&store.of_entity(&page("7"), span(10, 29), 9).await.unwrap()), [25, 20, 15]);
        assert_eq!(store.of_entity(&page("nothing"), span(0, 35), 9).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_closed_partition_is_searched_by_its_index_log_03() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "lookup").await;
        let store = store.with_partition_ids(5_000);
        let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
        let written = |n: u32| {
            let tx = format!("{{\"transactionId\": \"t{n}\", \"sourceId\": \"s\", \"changedField\": null}}");
            Activity { tx: Some(tx), ..activity("acme", &(n % 3_000).to_string(), 10) }
        };
        let activities = (0..12_000).map(written).collect();
        let last = tenure.writer.append(&mut batch(10, activities)).await.unwrap();
        tenure.flusher.flush(last).await.unwrap();
        store.maintain(&KEEP).await.unwrap();
        let client = db.connect_log().await;
        client.batch_execute("analyze log.activities").await.unwrap();
        for (index, condition) in [
            ("activities_1_entity", "org = 'acme' and type = 'page' and entity = '7' order by id desc"),
            (
                "activities_1_transaction",
                "org = any('{acme,*}') and tx is not null and (tx::jsonb ->> 'transactionId') = 't7' order by id",
            ),
        ] {
            let sql = format!(
                "explain (analyze, costs off, timing off, summary off) select * from log.activities
                where id > 0 and id <= 9999 and {condition} limit 100"
            );
            let plan = client.query(&sql, &[]).await.unwrap();
            let plan: String = plan.iter().map(|row| row.get::<_, String>(0) + "\n").collect();
            assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{plan}");
        }
        let found = store.of_entity(&page("7"), Span { after: ActivityId::new(0), up_to: last }, 100).await.unwrap();
        assert_eq!(numbers(&found), [9_008, 6_008, 3_008, 8]);
        let part = Span { after: ActivityId::new(0), up_to: last };
        for (orgs, found) in [(["acme", "*"], vec![4_001]), (["globex", "*"], vec![])] {
            assert_eq!(numbers(&store.of_transaction(&orgs, "t4000", part, 9).await.unwrap()), found);
        }
    })
    .await;
}

#[tokio::test]
async fn deleted_is_what_did_not_come_back_with_its_last_row_page_by_page_log_03() {
    for_each_postgres(|pg| async move {
        let activities = vec![
            activity("acme", "back", 10),
            gone("acme", "back"),
            activity("acme", "old", 10),
            activity("globex", "old", 10),
            gone("acme", "old"), // 5
            gone("acme", "unknown"),
            activity("acme", "there", 10),
            activity("acme", "twice", 10),
            gone("acme", "twice"),
            gone("globex", "theirs"), // 10
            activity("acme", "twice", 10),
            gone("acme", "twice"), // 12
            activity("acme", "back", 10),
            activity("globex", "old", 10),
            Activity { action: Action::Delete, image: None, ..of_type("task", "t") }, // 15
            activity("acme", "there", 10),
        ];
        let (_db, store) = filled(&pg, activities).await;
        let all = store.deletes("acme", "page", span(0, 16), 100).await.unwrap();
        let shown: Vec<_> = all
            .items
            .iter()
            .map(|one| (one.delete.id.as_u64(), one.last.as_ref().map(|last| last.id.as_u64())))
            .collect();
        assert_eq!((shown, all.rest_below), (vec![(12, Some(11)), (6, None), (5, Some(3))], None));
        // Two deletes at a time: 12 and 9, of which one is of the same entity; then the rest.
        let first = store.deletes("acme", "page", span(0, 16), 2).await.unwrap();
        assert_eq!((first.items.len(), first.rest_below), (1, Some(ActivityId::new(9))));
        // What came after the part that is asked for does not count.
        let before = store.deletes("acme", "page", span(0, 9), 100).await.unwrap();
        let before: Vec<_> = before.items.iter().map(|one| one.delete.id.as_u64()).collect();
        assert_eq!(before, [9, 6, 5, 2]);
    })
    .await;
}

#[tokio::test]
async fn the_newest_activities_of_several_entities_are_found_at_once_mut_02() {
    for_each_postgres(|pg| async move {
        let activities =
            (1..=25).map(|n: u64| activity(if n == 25 { "globex" } else { "acme" }, &(n % 4).to_string(), 10));
        let (_db, store) = filled(&pg, activities.collect()).await;
        let ids = ["0", "1", "x"].map(str::to_owned);
        let mut found = numbers(&store.newest_of("acme", "page", &ids, span(0, 25)).await.unwrap());
        found.sort_unstable();
        assert_eq!(found, [21, 24]);
        assert_eq!(store.newest_of("acme", "page", &[], span(0, 25)).await.unwrap(), []);
    })
    .await;
}
