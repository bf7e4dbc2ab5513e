//! Tables that are added while others stream, and copies that fail: shown, alone, and tried again (CAP-20 to CAP-22).

use antiphon_model::EntityType;
use antiphon_testkit::for_each_postgres;
use serde_json::Value;

use crate::stage::{SOON, Stage, by_log, entity, next};

fn declared(names: &[&'static str]) -> Vec<EntityType> {
    names.iter().map(|name| entity(&(name, name, &["id"]))).collect()
}

/// Prepares a table as `entities add` would, but for the publication.
async fn table(stage: &Stage, name: &str, rows: usize) {
    let sql = format!(
        "create table {name} (id int primary key, org text not null default 'acme', v text);
         create unique index {name}_identity on {name} (id, org);
         alter table {name} replica identity using index {name}_identity;
         insert into {name} select n, case n % 2 when 0 then 'acme' else 'globex' end, 'first' from generate_series(1, {rows}) n;
         analyze {name}"
    );
    stage.run(&sql).await;
}

fn copy<'a>(source: &'a Value, entity_type: &str) -> Option<&'a Value> {
    source["copies"].as_array()?.iter().find(|copy| copy["entityType"] == entity_type)
}

/// What the log holds of a type, newest image of each row, as `id=v`.
async fn logged(stage: &Stage, entity_type: &str) -> Vec<String> {
    let log = stage.db.connect_log().await;
    let sql = "select entity || '=' || (image::json ->> 'v') from (
                 select distinct on (entity) entity, image, action from log.activities where type = $1
                 order by entity, id desc) newest where action <> 3 order by entity::int";
    log.query(sql, &[&entity_type]).await.expect("the log").iter().map(|row| row.get(0)).collect()
}

async fn present(stage: &Stage, name: &str) -> Vec<String> {
    let sql = format!("select id || '=' || v from {name} order by id");
    stage.client.query(&sql, &[]).await.expect("rows").iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_table_added_later_is_copied_while_others_stream_and_one_that_fails_fails_alone_cap_21_cap_22() {
    for_each_postgres(|pg| async move {
        let mut stage = Stage::open_with(&pg, by_log()).await;
        for name in ["late", "lost", "unseen"] {
            table(&stage, name, 600).await;
        }
        let publication = stage.db.publication();
        stage.run(&format!("alter publication {publication} add table late, lost")).await;
        // The copy of one began when its key was another.
        let begun = "insert into log.snapshots (type, last_key, rows_done, rows_estimated, complete)
                     values ('lost', '[\"1\", \"a\", \"b\"]', 7, 9, false)";
        stage.db.connect_log().await.batch_execute(begun).await.expect("a stored place");
        stage.reopen(declared(&["late", "lost", "unseen"])).await;
        let mut stream = stage.stream("offset=now&entityTypes=note", None).await;
        let admin = stage.admin.clone();
        let settled = |source: &Value| {
            copy(source, "late").is_some_and(|copy| copy["state"] == "complete")
                && ["lost", "unseen"]
                    .iter()
                    .all(|name| copy(source, name).is_some_and(|copy| copy["state"] == "failed"))
        };
        let shown = stage.until(&admin, "/v1/admin/source", |answer| answer.json().is_ok_and(|it| settled(&it))).await;
        let source = shown.json().expect("JSON");
        let late = copy(&source, "late").expect("it is shown");
        assert_eq!(
            (&late["rowsDone"], &late["rowsEstimated"], &late["secondsLeft"]),
            (&600.into(), &600.into(), &0.into())
        );
        for (name, reason) in [("lost", "TABLE_UNFIT"), ("unseen", "PUBLICATION_CHANGED")] {
            let failed = copy(&source, name).expect("it is shown");
            assert_eq!(failed["reason"], reason, "{failed}");
            assert!(failed["hint"].as_str().is_some_and(|hint| hint.len() > 10), "{failed}");
            assert!(failed["detail"].as_str().is_some_and(|detail| detail.contains(name)), "{failed}");
        }
        // The others stream, and nothing is blocked by it.
        stage.run("insert into notes (id, org, title) values ('meanwhile', 'acme', 'x')").await;
        assert_eq!(next(&mut stream, "change").await.1["entityId"], "meanwhile");
        let ready = stage.ask_as(&admin, "/readyz").await;
        let document = ready.json().expect("JSON");
        assert_eq!((ready.status, &document["source"]["state"]), (200, &"streaming".into()), "{document}");
        assert!(document["needs"].to_string().contains("copy_failed"), "{document}");
        let metrics = stage.ask_as(&admin, "/metrics").await.text();
        assert!(metrics.contains("antiphon_capture_snapshot_tables{copy=\"failed\"} 2"), "{metrics}");
        // What is written while nobody captures the table is in the copy that comes after.
        stage.run("update unseen set v = 'second' where id < 100; delete from unseen where id > 590").await;
        stage.run(&format!("alter publication {publication} add table unseen")).await;
        let begun = |source: &Value| copy(source, "unseen").is_some_and(|copy| copy["state"] == "complete");
        stage.until(&admin, "/v1/admin/source", |answer| answer.json().is_ok_and(|it| begun(&it))).await;
        stage.operator.start_snapshot("lost").await.expect("asked for");
        // One that is complete is copied once more while it streams (CAP-21).
        stage.operator.start_snapshot("late").await.expect("asked for");
        let healed = |source: &Value| source["copies"].as_array().is_some_and(Vec::is_empty);
        stage.until(&admin, "/v1/admin/source", |answer| answer.json().is_ok_and(|it| healed(&it))).await;
        let last = "update unseen set v = 'third' where id = 1; insert into notes (id, org) values ('end', 'acme')";
        stage.run(&format!("begin; {last}; commit")).await;
        assert_eq!(next(&mut stream, "change").await.1["entityId"], "end");
        for name in ["late", "lost", "unseen"] {
            assert_eq!(logged(&stage, name).await, present(&stage, name).await, "{name}");
        }
        let stored = stage.operator.snapshots().await.expect("the copies");
        assert!(stored.iter().all(|copy| copy.complete && copy.failure.is_none()), "{stored:?}");
        assert_eq!(tokio::time::timeout(SOON, stage.stop()).await, Ok(()));
    })
    .await;
}
