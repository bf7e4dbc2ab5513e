//! The whole way, from an edit to every reader, where capture is by triggers and the log is not decoded (CAP-30, CAP-31).

use antiphon_server::admin::{CaptureMethod, ServeOptions};
use antiphon_testkit::Pg;
use serde_json::{Value, json};

use crate::{
    confirmation::shown_or_confirmed,
    mutations::{id, send},
    stage::{Setup, Stage, private_clusters},
    transports::{ALL, Reader},
};

fn by_triggers() -> Setup {
    Setup { method: Some(CaptureMethod::Trigger), ..Setup::default() }
}

/// Clusters as a hosted server may be: without logical decoding, and without a slot to be had.
///
/// They are these tests' own: a transaction that is open for long in one test holds back what is read in another.
async fn clusters() -> Vec<Pg> {
    private_clusters(&[("wal_level", "replica"), ("max_replication_slots", "0")]).await
}

#[tokio::test]
async fn edits_are_confirmed_on_every_stream_where_no_log_is_decoded_cap_30_str_02a() {
    for pg in clusters().await {
        let stage = Stage::open_with(&pg, by_triggers()).await;
        shown_or_confirmed(&stage).await;
        let slots = stage.client.query_one("select count(*) from pg_replication_slots", &[]).await.expect("a count");
        assert_eq!(slots.get::<_, i64>(0), 0);
    }
}

#[tokio::test]
async fn edits_under_a_role_of_the_application_have_their_author_cap_30_mut_08() {
    for pg in clusters().await {
        let guarded = |options: ServeOptions| ServeOptions { rls_role: Some("antiphon_recorded".into()), ..options };
        let made = "do $$ begin create role antiphon_recorded; exception when duplicate_object then null; end $$";
        pg.admin().await.batch_execute(made).await.expect("the role");
        let setup = Setup { serve: Some(guarded), ..by_triggers() };
        let stage = Stage::open_with(&pg, setup).await;
        stage.run("grant usage on schema public to antiphon_recorded; grant all on notes to antiphon_recorded").await;
        let mut reader = Reader::open(&stage, ALL[0], &stage.alice, "acme", "offset=now").await;
        reader.until("offset").await;
        let made = id();
        let body = json!({ "data": { "id": "1", "title": "a" }, "tx": { "transactionId": made, "sourceId": "test" } });
        let answer = send(&stage, "POST", &stage.alice, "/v1/orgs/acme/entities/note", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let change = reader.change().await;
        assert_eq!((&change["tx"]["transactionId"], &change["tx"]["actor"]), (&json!(made), &"alice".into()));
        let gone = id();
        let tx = json!({ "transactionId": gone, "sourceId": "test", "expectedTransactionId": made });
        let path = "/v1/orgs/acme/entities/note/1";
        assert_eq!(send(&stage, "DELETE", &stage.alice, path, &json!({ "tx": tx })).await.status, 200);
        // Only the recorded message knows who deletes: a row that is gone has no stamp.
        let change = reader.change().await;
        assert_eq!((&change["action"], &change["tx"]["transactionId"]), (&"delete".into(), &json!(gone)));
        assert_eq!(change["tx"]["actor"], "alice");
        stage.run("drop owned by antiphon_recorded").await;
    }
}

#[tokio::test]
async fn a_message_that_nobody_sealed_is_nobodys_cap_30_house_12() {
    for pg in clusters().await {
        let stage = Stage::open_with(&pg, by_triggers()).await;
        let mut reader = Reader::open(&stage, ALL[0], &stage.alice, "acme", "offset=now").await;
        reader.until("offset").await;
        stage
            .run(
                "begin; insert into antiphon.audit (xid, statement, seq, op, said)
                 select pg_current_xact_id(), n, n, 'M', '{\"org\":\"acme\",\"tx\":{\"transactionId\":\"x\",\"sourceId\":\"x\"}}'
                 from nextval('antiphon.audit_seq') n; insert into notes (id, org) values ('1', 'acme');
                 delete from notes; commit",
            )
            .await;
        for action in ["create", "delete"] {
            let change = reader.change().await;
            assert_eq!((&change["action"], &change["tx"]["sourceId"]), (&json!(action), &"sql".into()));
            assert_eq!(change["tx"]["actor"], Value::Null);
        }
    }
}

#[tokio::test]
async fn rows_of_before_are_copied_and_old_values_are_judged_cap_30_cap_20() {
    for pg in clusters().await {
        let before =
            "insert into notes (id, org, title) select n::text, 'acme', 'old ' || n from generate_series(1, 500) n;";
        let stage = Stage::open_with(&pg, Setup { tables: before, ..by_triggers() }).await;
        let mut reader = Reader::open(&stage, ALL[0], &stage.alice, "acme", "offset=-1").await;
        let mut titles = Vec::new();
        for _ in 0..500 {
            let change = reader.change().await;
            assert_eq!(change["action"], "create");
            titles.push(change["data"]["title"].as_str().expect("a title").to_owned());
        }
        titles.sort();
        titles.dedup();
        assert_eq!(titles.len(), 500);
        // A row that moves to another organisation leaves this one.
        stage.run("update notes set org = 'globex', title = 'moved' where id = '7'").await;
        let change = reader.change().await;
        assert_eq!((&change["action"], &change["entityId"]), (&"delete".into(), &"7".into()), "{change}");
        stage.run("truncate notes").await;
        assert_eq!(reader.change().await["action"], "truncate");
    }
}
