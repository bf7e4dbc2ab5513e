//! A mutation comes back to its author: by its own activity, or by a confirm, on every transport (STR-02a, house 13).

use antiphon_testkit::for_each_postgres;
use serde_json::{Value, json};

use crate::{
    mutations::{id, send},
    stage::{Stage, by_log},
    transports::{ALL, Reader},
};

async fn create(stage: &Stage, id: &str, key: &str) -> Value {
    let tx = json!({ "transactionId": id, "sourceId": "test" });
    let body = json!({ "data": { "id": key, "title": "a" }, "tx": tx });
    let answer = send(stage, "POST", &stage.alice, "/v1/orgs/acme/entities/note", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json().expect("JSON")
}

#[tokio::test]
async fn each_mutation_is_shown_or_confirmed_on_every_stream_of_its_author_str_02a() {
    for_each_postgres(|pg| async move {
        shown_or_confirmed(&Stage::open(&pg).await).await;
    })
    .await;
}

fn ids(mut confirm: Value) -> Vec<Value> {
    confirm["transactionIds"].as_array_mut().map(std::mem::take).expect("ids")
}

/// Each mutation comes back on every stream of its author, as a change of its own or as a confirm.
pub async fn shown_or_confirmed(stage: &Stage) {
    for transport in ALL {
        let mut all = Reader::open(stage, transport, &stage.alice, "acme", "offset=now").await;
        let mut tasks = Reader::open(stage, transport, &stage.alice, "acme", "offset=now&entityTypes=task").await;
        all.until("offset").await;
        tasks.until("offset").await;
        let (made, edited, gone) = (id(), id(), id());
        let key = format!("{transport:?}");
        let written = create(stage, &made, &key).await;
        let change = all.change().await;
        assert_eq!((&change["tx"]["transactionId"], &change["tx"]["actor"]), (&json!(made), &"alice".into()));
        if stage.tells_history() {
            assert_eq!(change["commit"]["xid"], written["commit"]["xid"], "{transport:?}");
        }
        let mut first = ids(tasks.until("confirm").await);
        if !stage.tells_history() {
            // Once with its row and once for itself; the second word of the edit before may come here as well.
            while !first.contains(&json!(made)) {
                first = ids(tasks.until("confirm").await);
            }
            first.retain(|id| *id == json!(made));
            first.dedup();
        }
        assert_eq!(first, [json!(made)], "{transport:?}");

        let tx = json!({ "transactionId": edited, "sourceId": "test", "changedField": "title", "expectedTransactionId": made });
        let path = format!("/v1/orgs/acme/entities/note/{key}");
        let body = json!({ "data": { "title": "b" }, "tx": tx });
        assert_eq!(send(stage, "PATCH", &stage.alice, &path, &body).await.status, 200);
        let change = all.change().await;
        assert_eq!((&change["tx"]["transactionId"], &change["tx"]["changedField"]), (&json!(edited), &"title".into()));
        if stage.tells_history() {
            assert_eq!(change["changedKeys"], json!(["title"]));
        }

        let tx = json!({ "transactionId": gone, "sourceId": "test", "expectedTransactionId": edited });
        assert_eq!(send(stage, "DELETE", &stage.alice, &path, &json!({ "tx": tx })).await.status, 200);
        let change = all.change().await;
        assert_eq!((&change["action"], &change["tx"]["transactionId"]), (&"delete".into(), &json!(gone)));
        let mut confirmed: Vec<Value> = Vec::new();
        while confirmed.len() < 2 {
            confirmed.extend(ids(tasks.until("confirm").await));
            if !stage.tells_history() {
                // A row may be found before the edit that wrote it is told of: then both confirm it.
                let mut known = std::collections::HashSet::from([json!(made)]);
                confirmed.retain(|id| known.insert(id.clone()));
            }
        }
        assert_eq!(confirmed, [json!(edited), json!(gone)], "{transport:?}");
    }
}

#[tokio::test]
async fn a_mutation_that_changed_no_captured_row_is_confirmed_all_the_same_str_02a() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, by_log()).await;
        // The table leaves the publication: what is written there is not captured, only the mutation's message is.
        let leave = format!("alter publication {} drop table notes", stage.db.publication());
        let mut reader = Reader::open(&stage, ALL[0], &stage.alice, "acme", "offset=now").await;
        reader.until("offset").await;
        stage.run(&leave).await;
        let made = id();
        create(&stage, &made, "1").await;
        assert_eq!(reader.until("confirm").await["transactionIds"], json!([made]));
    })
    .await;
}

#[tokio::test]
async fn plain_sql_has_an_author_of_its_own_and_changes_only_what_it_changed_house_2() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut reader = Reader::open(&stage, ALL[0], &stage.alice, "acme", "offset=now").await;
        reader.until("offset").await;
        stage.run("insert into notes (id, org, title) values ('1', 'acme', 'a')").await;
        stage.run("update notes set rank = 3 where id = '1'").await;
        stage.run("delete from notes where id = '1'").await;
        for (action, changed) in [("create", None), ("update", Some(json!(["rank"]))), ("delete", Some(json!([])))] {
            let change = reader.change().await;
            assert_eq!(change["action"], action);
            assert_eq!((&change["tx"]["sourceId"], &change["tx"]["actor"]), (&"sql".into(), &Value::Null), "{change}");
            let xid = change["commit"]["xid"].as_str().expect("an xid");
            assert!(change["tx"]["transactionId"].as_str().expect("an id").ends_with(&format!(".sql-{xid}")));
            if let Some(changed) = changed {
                assert_eq!(change["changedKeys"], changed);
            }
        }
    })
    .await;
}
