//! Rules decide what of a row is read and written, in lists, edits and streams alike (MUT-05, STR-05, SEC-01).

use antiphon_model::{Columns, Condition, Role, Rule};
use antiphon_testkit::for_each_postgres;
use serde_json::{Value, json};

use crate::{
    mutations::{id, send},
    stage::{Setup, Stage},
    transports::{ALL, Reader},
};

/// Whoever owns a note reads all of it and writes its title; everybody else reads titles of public ones.
fn rules() -> Vec<Rule> {
    vec![
        Rule {
            roles: vec![Role::Owner, Role::Member],
            when: Some(Condition::Owner { column: "secret".into() }),
            read: Columns::All,
            write: Columns::of(["title"]),
            create: true,
            delete: true,
        },
        Rule {
            when: Some(Condition::OneOf { column: "flag".into(), values: vec!["t".into()] }),
            read: Columns::of(["title"]),
            ..Rule::default()
        },
    ]
}

async fn stage(pg: &antiphon_testkit::Pg) -> Stage {
    let stage = Stage::open_with(pg, Setup { rules: rules(), ..Setup::default() }).await;
    stage
        .run(
            "insert into notes (id, org, title, rank, secret, flag) values ('1', 'acme', 'mine', 1, 'alice', false),
               ('2', 'acme', 'public', 2, 'bob', true), ('3', 'acme', 'private', 3, 'bob', false)",
        )
        .await;
    stage
}

#[tokio::test]
async fn lists_and_single_rows_show_what_the_rules_grant_mut_05() {
    for_each_postgres(|pg| async move {
        let stage = stage(&pg).await;
        let list = stage.json("/v1/orgs/acme/entities/note").await;
        let ids: Vec<&Value> =
            list["items"].as_array().expect("items").iter().map(|item| &item["data"]["id"]).collect();
        assert_eq!(ids, ["1", "2"]);
        assert_eq!(list["items"][0]["data"]["rank"], 1);
        assert_eq!(list["items"][1]["data"], json!({ "id": "2", "title": "public" }));
        assert!(!list.to_string().contains("private") && !list.to_string().contains("bob"), "{list}");
        assert_eq!(stage.json("/v1/orgs/acme/entities/note/2").await["data"], json!({ "id": "2", "title": "public" }));
        for (path, status) in [
            ("/v1/orgs/acme/entities/note/3", 404),
            ("/v1/orgs/acme/entities/note/3/fields/title", 404),
            ("/v1/orgs/acme/entities/note/2/fields/title", 200),
            ("/v1/orgs/acme/entities/note/2/fields/rank", 404),
            ("/v1/orgs/acme/entities/note/1/fields/rank", 200),
            ("/v1/orgs/acme/entities/note?where[rank]=3", 422),
            ("/v1/orgs/acme/entities/note?order=rank", 422),
            ("/v1/orgs/acme/entities/note?where[title]=mine", 200),
        ] {
            let answer = stage.get(path).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
        }
        let schema = stage.json("/v1/orgs/acme/schema").await;
        assert_eq!(schema["types"]["note"]["can"], json!({ "create": true, "update": ["title"], "delete": true }));
        stage.people.join("acme", "alice", Role::Viewer).await.expect("a viewer");
        let cannot = |answer: &antiphon_testkit::Response| {
            answer.json().expect("JSON")["types"]["note"]["can"]["create"] == false
        };
        let schema = stage.until(&stage.alice, "/v1/orgs/acme/schema", cannot).await.json().expect("JSON");
        let fields: Vec<&String> = schema["types"]["note"]["fields"].as_object().expect("fields").keys().collect();
        assert_eq!(fields, ["id", "title"]);
        let list = stage.json("/v1/orgs/acme/entities/note").await;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    })
    .await;
}

#[tokio::test]
async fn edits_are_granted_by_the_row_as_it_stands_mut_05() {
    for_each_postgres(|pg| async move {
        let stage = stage(&pg).await;
        let edit = async |key: &str, field: &str, value: Value| {
            let path = format!("/v1/orgs/acme/entities/note/{key}");
            let one = stage.get(&path).await.json().expect("JSON");
            let expected = one["tx"]["fields"]["*"].clone();
            let tx = json!({ "transactionId": id(), "sourceId": "test", "changedField": field, "expectedTransactionId": expected });
            let answer = send(&stage, "PATCH", &stage.alice, &path, &json!({ "data": { field: value }, "tx": tx })).await;
            (answer.status, answer.json().expect("JSON")["code"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(edit("1", "title", "new".into()).await, (200, String::new()));
        assert_eq!(edit("1", "rank", 9.into()).await, (422, "FIELD_FORBIDDEN".into()));
        assert_eq!(edit("2", "title", "x".into()).await, (422, "FIELD_FORBIDDEN".into()));
        assert_eq!(edit("3", "title", "x".into()).await, (404, "NOT_FOUND".into()));
        let tx = json!({ "transactionId": id(), "sourceId": "test", "expectedTransactionId": "x" });
        let path = "/v1/orgs/acme/entities/note/2";
        let answer = send(&stage, "DELETE", &stage.alice, path, &json!({ "tx": tx })).await;
        assert_eq!((answer.status, &answer.json().expect("JSON")["code"]), (403, &"FORBIDDEN".into()));
        // A row of somebody else's may not be created: the hidden owner is not alice by default.
        let tx = json!({ "transactionId": id(), "sourceId": "test" });
        let body = json!({ "data": { "id": "4", "title": "t" }, "tx": tx });
        let answer = send(&stage, "POST", &stage.alice, "/v1/orgs/acme/entities/note", &body).await;
        assert_eq!(answer.status, 403, "{}", answer.text());
        let count = stage.client.query_one("select count(*) from notes", &[]).await.expect("a count");
        assert_eq!(count.get::<_, i64>(0), 3);
    })
    .await;
}

#[tokio::test]
async fn rows_enter_and_leave_sight_on_every_transport_str_05() {
    for_each_postgres(|pg| async move {
        let stage = stage(&pg).await;
        for transport in ALL {
            let mut reader = Reader::open(&stage, transport, &stage.alice, "acme", "offset=now").await;
            reader.until("offset").await;
            stage.run("update notes set rank = rank + 10 where id = '3'").await;
            stage.run("update notes set rank = rank + 10 where id = '2'").await;
            stage.run("update notes set title = title || '!' where id = '2'").await;
            let change = reader.change().await;
            assert_eq!(
                (&change["action"], &change["changedKeys"]),
                (&"update".into(), &json!(["title"])),
                "{transport:?}"
            );
            assert_eq!(change["data"].as_object().map(|data| data.len()), Some(2), "{change}");
            stage.run("update notes set secret = 'alice' where id = '3'").await;
            let change = reader.change().await;
            assert_eq!((&change["action"], &change["data"]["title"]), (&"create".into(), &"private".into()));
            stage.run("update notes set secret = 'bob' where id = '3'").await;
            let change = reader.change().await;
            assert_eq!((&change["action"], &change["reason"]), (&"delete".into(), &"access".into()));
            assert_eq!((&change["entityId"], &change["data"]), (&"3".into(), &Value::Null));
            assert!(!change.to_string().contains("private"), "{change}");
        }
    })
    .await;
}
