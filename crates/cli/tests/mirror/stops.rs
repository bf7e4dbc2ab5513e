//! What a mirror does about a target that refuses, and about what changes under it: named states, nothing skipped.

use antiphon_testkit::PgVersion;
use serde_json::Value;

use crate::scene::Scene;

/// A source with one table of notes, mirrored.
async fn notes(version: PgVersion) -> Option<Scene> {
    Some(serve(Scene::prepare(version, &[]).await?).await)
}

async fn serve(mut scene: Scene) -> Scene {
    let sql = "create table small (id int primary key, note text); insert into small values (1, 'one')";
    scene.source.connect().await.batch_execute(sql).await.expect("the table is made");
    scene.done(&["entities", "add", "small", "--table", "public.small", "--org", "*", "--yes"]);
    scene.serve().await;
    scene.until(|status| status["state"] == "following").await;
    scene
}

async fn blocked(scene: &mut Scene, code: &str) -> Value {
    let status = scene.until(|status| status["state"] == "blocked").await;
    assert_eq!(status["reason"], code, "{status}");
    assert!(status["hint"].as_str().is_some_and(|hint| hint.contains("Nothing")), "{status}");
    status
}

async fn note(scene: &Scene, id: i32) -> Option<String> {
    let sql = "select note from small where id = $1";
    let row = scene.target.connect().await.query_opt(sql, &[&id]).await.expect("the mirror is read");
    row.and_then(|row| row.get(0))
}

/// What the doctor says of the mirror, which comes out like this.
fn examined(scene: &Scene, status: &str) -> String {
    let said: Value = serde_json::from_str(&scene.ran(&["doctor", "--json"])).expect("findings are JSON");
    let findings = said["findings"].as_array().expect("a list");
    let finding = findings.iter().find(|finding| finding["check"] == "mirror copy").expect("the mirror is examined");
    assert_eq!(finding["status"], status, "{finding}");
    format!("{} {}", finding["detail"], finding["remedy"])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_refuses_stops_the_mirror_with_a_reason_and_is_not_skipped_pip_06() {
    for version in PgVersion::tested() {
        let Some(mut scene) = notes(version).await else { continue };
        let (source, target) = (scene.source.connect().await, scene.target.connect().await);
        let refusing = "alter table small add constraint no_two check (note <> 'two')";
        target.batch_execute(refusing).await.expect("the constraint is made");
        // The refused row and the next one are of one transaction: neither may be seen.
        let sql = "begin; insert into small values (3, 'three'); insert into small values (2, 'two'); commit";
        source.batch_execute(sql).await.expect("the rows are written");
        let status = blocked(&mut scene, "MIRROR_CONSTRAINT").await;
        assert!(examined(&scene, "warning").contains("nobody writes it now"));
        assert!(status["detail"].as_str().is_some_and(|detail| detail.contains("no_two")), "{status}");
        assert_eq!(note(&scene, 3).await, None);
        target.batch_execute("alter table small drop constraint no_two").await.expect("the constraint goes");
        scene.until(|status| status["state"] == "following" && status["behind"] == 0).await;
        assert_eq!(note(&scene, 2).await.as_deref(), Some("two"));
        // A column that somebody changed there is told, whatever it holds.
        target.batch_execute("alter table small alter note type varchar").await.expect("the column is changed");
        scene.kill_target_connections().await;
        blocked(&mut scene, "MIRROR_TABLE_UNFIT").await;
        // The way that its page names: dropped, it is made and filled again.
        target.batch_execute("drop table small").await.expect("the table is dropped");
        scene.until(|status| status["state"] == "following" && status["behind"] == 0).await;
        assert_eq!(note(&scene, 3).await.as_deref(), Some("three"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_comes_with_the_values_of_rows_that_did_not_change_pip_01() {
    for version in PgVersion::tested() {
        let Some(mut scene) = notes(version).await else { continue };
        let source = scene.source.connect().await;
        let sql = "alter table small add column mark text default 'given'; insert into small (id, note, mark) values (2, 'two', 'own')";
        source.batch_execute(sql).await.expect("the column is made");
        let client = scene.target.connect().await;
        let sql = "select coalesce(string_agg(mark, ',' order by id), '') from small";
        let deadline = tokio::time::Instant::now() + crate::scene::DEADLINE;
        loop {
            let marks = client.query_one(sql, &[]).await;
            if marks.is_ok_and(|marks| marks.get::<_, String>(0) == "given,own") {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "the column never came:\n{}", scene.said());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        scene.until(|status| status["state"] == "following").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_is_asked_for_once_the_source_shows_it_pip_01() {
    // A commit that waits for a standby is in the source's log, and sent, before anybody sees it.
    let settings = [("synchronous_standby_names", "nobody"), ("synchronous_commit", "local")];
    for version in PgVersion::tested() {
        let prepared = Scene::prepare_with(version, &settings, |_, target| target.log_url()).await;
        let Some(scene) = prepared else { continue };
        let mut scene = serve(scene).await;
        let source = scene.source.connect().await;
        let writing = antiphon_testkit::spawn("writing", async move {
            let sql = "set synchronous_commit = on; begin; alter table small add mark text;
                       insert into small (id, note, mark) values (2, 'two', 'own'); commit";
            source.batch_execute(sql).await
        });
        let status = scene.until(|status| status["state"] == "retrying").await;
        assert_eq!(status["reason"], "TRY_AGAIN", "{status}");
        assert_eq!(note(&scene, 2).await, None);
        let admin = scene.pg.admin().await;
        for statement in ["alter system set synchronous_standby_names = ''", "select pg_reload_conf()"] {
            admin.batch_execute(statement).await.expect("nobody waits any more");
        }
        writing.await.expect("no panic").expect("the row is written");
        scene.until(|status| status["state"] == "following" && status["behind"] == 0).await;
        let client = scene.target.connect().await;
        let mark = client.query_one("select mark from small where id = 2", &[]).await.expect("the column came");
        assert_eq!(mark.get::<_, Option<String>>(0).as_deref(), Some("own"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_and_a_lost_cursor_begin_anew_and_rows_that_went_meanwhile_are_gone_pip_07() {
    for version in PgVersion::tested() {
        let Some(mut scene) = notes(version).await else { continue };
        scene.end_server().await;
        let source = scene.source.connect().await;
        source.batch_execute("delete from small; insert into small values (7, 'seven')").await.expect("rows change");
        scene.done(&["resync", "--yes"]);
        scene.serve().await;
        let status = scene.until(|status| status["state"] == "following" && status["begunAnew"] == 2).await;
        assert_eq!(status["reason"], Value::Null, "{status}");
        assert_eq!((note(&scene, 1).await, note(&scene, 7).await.as_deref()), (None, Some("seven")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_writes_into_nothing_that_it_did_not_make_pip_07() {
    for version in PgVersion::tested() {
        let Some(mut scene) = Scene::prepare(version, &[]).await else { continue };
        let sql = "create table small (id int primary key, note text)";
        for db in [&scene.source, &scene.target] {
            db.connect().await.batch_execute(sql).await.expect("the table is made");
        }
        scene.done(&["entities", "add", "small", "--table", "public.small", "--org", "*", "--yes"]);
        let target = scene.target.connect().await;
        target.batch_execute("insert into small values (5, 'theirs')").await.expect("a row of others");
        scene.serve().await;
        blocked(&mut scene, "MIRROR_FOREIGN").await;
        assert_eq!(note(&scene, 5).await.as_deref(), Some("theirs"));
        target.batch_execute("drop table small; create schema antiphon").await.expect("it looks like one of ours");
        let told = |status: &Value| status["detail"].as_str().is_some_and(|detail| detail.contains("schema"));
        let status = scene.until(|status| status["reason"] == "MIRROR_FOREIGN" && told(status)).await;
        assert_eq!(status["state"], "blocked");
        target.batch_execute("drop schema antiphon").await.expect("it is none of ours");
        scene.until(|status| status["state"] == "following").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_one_writes_and_the_other_takes_over_when_it_is_gone_pip_06() {
    for version in PgVersion::tested() {
        let Some(mut scene) = notes(version).await else { continue };
        assert!(examined(&scene, "ok").contains("behind; 1 tables"));
        let mut other = scene.another();
        let line = other.wait_for_line(|line| line.contains("stands by"), crate::scene::DEADLINE).await;
        assert!(line.is_ok_and(|line| line.contains("MIRROR_IN_USE")), "the other server does not stand by");
        scene.end_server().await;
        let source = scene.source.connect().await;
        source.batch_execute("insert into small values (2, 'two')").await.expect("a row is written");
        let deadline = tokio::time::Instant::now() + crate::scene::DEADLINE;
        while note(&scene, 2).await.as_deref() != Some("two") {
            let said = || other.lines().join("\n");
            assert!(tokio::time::Instant::now() < deadline, "the other one does not take over:\n{}", said());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}
