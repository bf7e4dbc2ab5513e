//! A standby takes over while the service runs: readers go on, or are told to list again, and miss nothing.

use std::collections::BTreeSet;

use antiphon_testkit::{Pg, PgVersion, Proxy, StopMode};
use serde_json::Value;

use crate::stage::{SOON, Setup, Stage, by_log, next};

/// A primary behind an address that moves, with a service over it, and the primary's standby.
struct Scene {
    primary: Pg,
    standby: Pg,
    proxy: Proxy,
    stage: Stage,
}

impl Scene {
    async fn set(log: Option<Pg>) -> Option<Scene> {
        let primary = Pg::private(PgVersion::V18, &[]).await?;
        let proxy = Proxy::start(primary.address()).await.expect("a proxy");
        let setup = Setup { through: Some(proxy.address()), log, ..by_log() };
        let stage = Stage::open_with(&primary, setup).await;
        let copies = [("sync_replication_slots", "on"), ("hot_standby_feedback", "on")];
        let standby = primary.standby("second", &copies).await;
        let scene = Scene { primary, standby, proxy, stage };
        // The slot is copied once it has moved past what the standby began with.
        scene.write(&scene.primary, "before").await;
        let held = "select synced and not temporary from pg_replication_slots where slot_name";
        scene.standby.until("postgres", &format!("{held} = '{}'", scene.stage.db.slot())).await;
        Some(scene)
    }

    async fn write(&self, server: &Pg, id: &str) {
        let client = server.connect(self.stage.db.name()).await;
        let sql = format!("insert into notes (id, org) values ('{id}', 'acme')");
        client.batch_execute(&sql).await.expect("the insert");
    }

    /// The standby takes over; as in a promotion by the book, the address moves last.
    async fn promote(&self) {
        self.standby.promote().await;
        self.proxy.lead_to(self.standby.address());
    }

    async fn source(&self) -> Value {
        let answer = self.stage.ask_as(&self.stage.admin, "/v1/admin/source").await;
        answer.json().expect("JSON")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_goes_on_in_the_same_epoch_with_no_gap_and_nothing_twice_pg_24_pg_28() {
    let Some(log) = Pg::shared(PgVersion::V18).await else { return };
    let Some(scene) = Scene::set(Some(log)).await else { return };
    let client = scene.primary.admin().await;
    client.batch_execute("alter system set synchronized_standby_slots = 'second'").await.expect("set");
    client.batch_execute("select pg_reload_conf()").await.expect("in force");
    let mut stream = scene.stage.stream("offset=-1", None).await;
    let mut seen = Vec::new();
    for number in 0..40 {
        scene.write(&scene.primary, &format!("old {number:02}")).await;
        if number < 30 {
            seen.push(next(&mut stream, "change").await);
        }
    }
    scene.primary.kill9().await;
    scene.promote().await;
    for number in 0..40 {
        scene.write(&scene.standby, &format!("new {number:02}")).await;
    }
    while seen.last().is_none_or(|(_, change)| change["entityId"] != "new 39") {
        // A reset would be an event of another kind, and then there is no end.
        seen.push(next(&mut stream, "change").await);
    }
    let ids: Vec<u64> = seen.iter().map(|(id, _)| id.as_ref().and_then(|id| id.parse().ok()).expect("an id")).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let entities: Vec<&str> = seen.iter().filter_map(|(_, change)| change["entityId"].as_str()).collect();
    let rows = scene.standby.connect(scene.stage.db.name()).await;
    let rows = rows.query("select id from notes", &[]).await.expect("the rows");
    let rows: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(entities.len(), rows.len(), "twice or never: {entities:?}");
    assert!(entities.iter().all(|id| rows.contains(*id)), "{entities:?}");
    let page = scene.stage.json("/v1/orgs/acme/live?offset=now").await;
    assert_eq!(page["epoch"], 1, "{page}");
    // What the operator sees: nobody follows the new primary.
    assert_eq!(scene.source().await["failover"]["state"], "no_standby");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_failed_over_with_the_source_goes_on_in_the_next_epoch_op_18_pg_28() {
    let Some(scene) = Scene::set(None).await else { return };
    let mut stream = scene.stage.stream("offset=-1", None).await;
    assert_eq!(next(&mut stream, "change").await.1["entityId"], "before");
    // The standby misses a change and the log's own record of it; a reader has it.
    scene.standby.halt(StopMode::Fast).await;
    scene.write(&scene.primary, "lost").await;
    let (lost, change) = next(&mut stream, "change").await;
    assert_eq!(change["entityId"], "lost");
    scene.primary.kill9().await;
    scene.standby.restart().await;
    scene.promote().await;
    // The number of what was lost would be given to this one, and the reader would never get it.
    scene.write(&scene.standby, "after").await;
    let (_, reset) = next(&mut stream, "reset").await;
    assert_eq!((reset["code"].as_str(), reset["epoch"].as_u64()), (Some("EPOCH_CHANGED"), Some(2)), "{reset}");
    let old = format!("/v1/orgs/acme/live?offset={}", lost.expect("an id"));
    assert_eq!(scene.stage.get(&old).await.status, 410);
    let list = "/v1/orgs/acme/entities/note";
    let whole = |text: String| text.contains("\"after\"") && text.contains("\"before\"") && !text.contains("\"lost\"");
    scene.stage.until(&scene.stage.alice, list, |answer| answer.status == 200 && whole(answer.text())).await;
    let mut stream = scene.stage.stream("offset=now", None).await;
    next(&mut stream, "offset").await;
    scene.write(&scene.standby, "last").await;
    let deadline = tokio::time::Instant::now() + SOON;
    while next(&mut stream, "change").await.1["entityId"] != "last" {
        assert!(tokio::time::Instant::now() < deadline);
    }
    let page = scene.stage.json("/v1/orgs/acme/live?offset=now").await;
    assert_eq!(page["epoch"], 2, "more than one epoch began: {page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_without_the_slot_stops_capture_and_says_what_to_do_pg_24() {
    let Some(log) = Pg::shared(PgVersion::V18).await else { return };
    let Some(scene) = Scene::set(Some(log)).await else { return };
    let mut stream = scene.stage.stream("offset=-1", None).await;
    assert_eq!(next(&mut stream, "change").await.1["entityId"], "before");
    let drop = format!("select pg_drop_replication_slot('{}')", scene.stage.db.slot());
    let client = scene.standby.admin().await;
    client.batch_execute("alter system set sync_replication_slots = off").await.expect("set");
    scene.primary.kill9().await;
    scene.standby.promote().await;
    scene.standby.admin().await.batch_execute(&drop).await.expect("the slot goes");
    scene.proxy.lead_to(scene.standby.address());
    scene.write(&scene.standby, "after").await;
    let admin = &scene.stage.admin;
    let stopped = |answer: &antiphon_testkit::Response| {
        answer.text().contains("SLOT_MISSING_AFTER_FAILOVER") && answer.text().contains("\"blocked\"")
    };
    scene.stage.until(admin, "/v1/admin/source", stopped).await;
    // Guided: the plan first, and then everything is there again.
    let operator = &scene.stage.operator;
    let plan = operator.resync_plan().await.expect("a plan");
    assert_eq!((plan.epoch, plan.slot.is_none(), plan.tables.len()), (1, true, 3), "{plan:?}");
    let (epoch, slot) = operator.resync(&|_| {}).await.expect("a resync");
    assert_eq!((epoch, slot.map(|slot| slot.ours)), (2, Some(true)));
    assert_eq!(next(&mut stream, "reset").await.1["code"], "EPOCH_CHANGED");
    let list = "/v1/orgs/acme/entities/note";
    let whole = |answer: &antiphon_testkit::Response| answer.status == 200 && answer.text().contains("\"after\"");
    scene.stage.until(&scene.stage.alice, list, whole).await;
}
