//! The whole way, from an edit to every reader, where capture is by queries: nothing is decoded, and no trigger records
//! rows (CAP-01, CAP-40, CAP-41).

use antiphon_model::EntityType;
use antiphon_server::admin::{CaptureMethod, ServeOptions};
use antiphon_testkit::Pg;
use serde_json::{Value, json};

use crate::{
    confirmation::shown_or_confirmed,
    mutations::{id, send},
    stage::{Setup, Stage, entity, private_clusters},
    transports::{ALL, Reader},
};

fn by_queries() -> Setup {
    Setup { method: Some(CaptureMethod::Query), ..Setup::default() }
}

/// Clusters whose log holds nothing that could be decoded; they are these tests' own.
async fn clusters() -> Vec<Pg> {
    private_clusters(&[("wal_level", "minimal"), ("max_wal_senders", "0")]).await
}

#[tokio::test]
async fn edits_are_confirmed_on_every_stream_where_tables_are_polled_cap_40_str_02a() {
    for pg in clusters().await {
        let stage = Stage::open_with(&pg, by_queries()).await;
        shown_or_confirmed(&stage).await;
        let recording = "select count(*) from pg_trigger where tgname like '!antiphon%'";
        assert_eq!(stage.client.query_one(recording, &[]).await.expect("a count").get::<_, i64>(0), 0);
    }
}

async fn edit(stage: &Stage, key: &str, field: &str, value: &str, expected: &str) -> String {
    let edited = id();
    let tx = json!({ "transactionId": edited, "sourceId": "test", "changedField": field, "expectedTransactionId": expected });
    let body = json!({ "data": { field: value }, "tx": tx });
    let path = format!("/v1/orgs/acme/entities/note/{key}");
    let answer = send(stage, "PATCH", &stage.alice, &path, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    edited
}

#[tokio::test]
async fn several_edits_between_two_polls_come_as_one_state_with_all_their_ids_cap_40_pl_02() {
    for pg in clusters().await {
        let stage = Stage::open_with(&pg, by_queries()).await;
        let mut reader = Reader::open(&stage, ALL[0], &stage.alice, "acme", "offset=now").await;
        let mut tasks = Reader::open(&stage, ALL[0], &stage.alice, "acme", "offset=now&entityTypes=task").await;
        reader.until("offset").await;
        tasks.until("offset").await;
        stage.run("insert into notes (id, org, title, body) values ('1', 'acme', 'old', 'old')").await;
        let made = reader.change().await;
        let first = made["tx"]["transactionId"].as_str().expect("an id").to_owned();
        // Polling waits while this lock is held; edits do not.
        let locker = stage.db.connect().await;
        locker
            .batch_execute("begin; lock table antiphon.audit_state in share row exclusive mode")
            .await
            .expect("locked");
        let title = edit(&stage, "1", "title", "new", &first).await;
        let long = "x".repeat(20_000);
        let body = edit(&stage, "1", "body", &long, &first).await;
        locker.batch_execute("commit").await.expect("let go");
        let change = reader.change().await;
        assert_eq!(change["action"], "update");
        assert_eq!((&change["data"]["title"], &change["data"]["body"]), (&json!("new"), &json!(long)), "both are told");
        // The newest id is the row's; fields with another one are named.
        assert_eq!((&change["tx"]["transactionId"], &change["tx"]["fields"]["title"]), (&json!(body), &json!(title)));
        // Who does not see the type has all of them confirmed; some perhaps twice.
        let mut waiting = vec![title, body];
        while !waiting.is_empty() {
            let confirmed = tasks.until("confirm").await["transactionIds"].clone();
            waiting.retain(|id| !confirmed.as_array().expect("ids").contains(&json!(id)));
        }
    }
}

#[tokio::test]
async fn edits_under_a_role_of_the_application_have_their_author_and_nobody_else_has_cap_40_mut_08() {
    for pg in clusters().await {
        let guarded = |options: ServeOptions| ServeOptions { rls_role: Some("antiphon_polled".into()), ..options };
        let made = "do $$ begin create role antiphon_polled; exception when duplicate_object then null; end $$";
        pg.admin().await.batch_execute(made).await.expect("the role");
        let setup = Setup { serve: Some(guarded), ..by_queries() };
        let stage = Stage::open_with(&pg, setup).await;
        stage.run("grant usage on schema public to antiphon_polled; grant all on notes to antiphon_polled").await;
        let mut reader = Reader::open(&stage, ALL[0], &stage.alice, "acme", "offset=now").await;
        reader.until("offset").await;
        let made = id();
        let body = json!({ "data": { "id": "1", "title": "a" }, "tx": { "transactionId": made, "sourceId": "test" } });
        let answer = send(&stage, "POST", &stage.alice, "/v1/orgs/acme/entities/note", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let change = reader.change().await;
        assert_eq!((&change["tx"]["transactionId"], &change["tx"]["actor"]), (&json!(made), &"alice".into()));
        // A message that nobody sealed is nobody's, though it comes behind an edit of hers; the row that it names is looked
        // at all the same. Polling waits while this lock is held.
        let locker = stage.db.connect().await;
        let hold = "begin; lock table antiphon.audit_state in share row exclusive mode";
        locker.batch_execute(hold).await.expect("locked");
        edit(&stage, "1", "title", "b", &made).await;
        stage
            .run(
                "insert into antiphon.poll_said (xid, relation, key, org, deletes, said) select pg_current_xact_id(),
                 'notes'::regclass, '{1}', 'acme', true, '{\"org\":\"acme\",\"tx\":{\"transactionId\":\"x\",\"sourceId\":\"x\"}}';
                 delete from notes where id = '1'",
            )
            .await;
        locker.batch_execute("commit").await.expect("let go");
        let change = reader.change().await;
        assert_eq!((&change["action"], &change["tx"]["sourceId"]), (&"delete".into(), &"sql".into()), "{change}");
        assert_eq!(change["tx"]["actor"], Value::Null);
        stage.run("drop owned by antiphon_polled").await;
    }
}

#[tokio::test]
async fn rows_of_before_are_copied_and_what_is_not_seen_is_said_and_found_cap_41_pl_01_pl_02() {
    for pg in clusters().await {
        let before =
            "insert into notes (id, org, title) select n::text, 'acme', 'old ' || n from generate_series(1, 500) n;
            create table cards (id text primary key, org text not null, title text, gone bool);
            insert into cards values ('1', 'acme', 'a', null), ('2', 'acme', 'b', true);";
        let mut card: EntityType = entity(&("card", "cards", &["id"]));
        card.polling.soft_delete = Some("gone".into());
        let stage = Stage::open_with(&pg, Setup { tables: before, types: vec![card], ..by_queries() }).await;
        let mut reader = Reader::open(&stage, ALL[0], &stage.alice, "acme", "offset=-1").await;
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..501 {
            let change = reader.change().await;
            assert_eq!(change["action"], "create");
            seen.insert(format!("{} {}", change["entityType"], change["entityId"]));
        }
        assert_eq!(seen.len(), 501, "each row once, and none that is marked as deleted");
        // A row that moves to another organisation leaves this one; one that is marked is gone from lists and streams.
        stage.run("update notes set org = 'globex', title = 'moved' where id = '7'").await;
        let change = reader.change().await;
        assert_eq!((&change["action"], &change["entityId"]), (&"delete".into(), &"7".into()), "{change}");
        stage.run("update cards set gone = true where id = '1'").await;
        let change = reader.change().await;
        assert_eq!((&change["action"], &change["entityType"]), (&"delete".into(), &"card".into()), "{change}");
        let list = stage.json("/v1/orgs/acme/entities/card").await;
        assert_eq!(list["items"], json!([]));
        // What is not seen is said where people look, and found where somebody asks.
        let told = stage
            .until(&stage.admin, "/v1/admin/source", |answer| {
                answer.text().contains("\"unseen\":[\"history\",\"deletes\"]")
            })
            .await;
        assert!(told.text().contains("\"unseen\":[\"history\"]"), "{}", told.text());
        stage.run("delete from notes where id = '9'").await;
        assert_eq!(stage.operator.reconcile(&["note".into()]).await.expect("asked"), 1);
        let change = reader.change().await;
        assert_eq!((&change["action"], &change["entityId"]), (&"delete".into(), &"9".into()), "{change}");
        let refused = stage.operator.reconcile(&["nothing".into()]).await.expect_err("unknown");
        assert_eq!(refused.code(), antiphon_model::Code::EntityTypeUnknown);
    }
}
