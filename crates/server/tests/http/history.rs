//! The past of entities: history, what was deleted, and edits of what is gone (protocol 4 and 5, LOG-03, MUT-01).

use antiphon_model::{Columns, Condition, Role, Rule};
use antiphon_testkit::for_each_postgres;
use serde_json::{Value, json};

use crate::{
    mutations::{create, delete, id, json, patch, refused, send, tx},
    stage::{Setup, Stage},
};

/// Waits until a list of the past holds so many items, and returns them.
async fn past(stage: &Stage, token: &str, path: &str, count: usize) -> Vec<Value> {
    let items = |answer: &antiphon_testkit::Response| answer.json().expect("JSON")["items"].as_array().cloned();
    let wanted = |answer: &antiphon_testkit::Response| items(answer).is_some_and(|items| items.len() == count);
    items(&stage.until(token, path, wanted).await).expect("items")
}

fn actions(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["action"].as_str().expect("an action")).collect()
}

#[tokio::test]
async fn history_is_newest_first_and_goes_on_page_by_page_log_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let made = id();
        assert_eq!(create(&stage, &made, "1", json!({ "title": "a" })).await.status, 201);
        let changed = id();
        assert_eq!(patch(&stage, &changed, "1", ("title", "b".into()), made.clone().into()).await.status, 200);
        stage.run("update notes set rank = 5 where id = '1'; insert into notes (id, org) values ('2', 'acme')").await;
        assert_eq!(delete(&stage, &id(), "1", Value::Null).await.status, 409);
        let last = stage.json("/v1/orgs/acme/entities/note/1").await["tx"]["transactionId"].clone();
        assert_eq!(delete(&stage, &id(), "1", last).await.status, 200);
        stage.run("insert into notes (id, org, title) values ('1', 'acme', 'again')").await;
        let path = "/v1/orgs/acme/entities/note/1/history";
        let items = past(&stage, &stage.alice, path, 5).await;
        assert_eq!(actions(&items), ["create", "delete", "update", "update", "create"]);
        assert_eq!((&items[3]["tx"]["transactionId"], &items[3]["tx"]["actor"]), (&json!(changed), &json!("alice")));
        assert!(items.iter().all(|item| item["entityId"] == "1" && item["data"].get("secret").is_none()));
        let (mut walked, mut query) = (Vec::new(), "?limit=2".to_owned());
        loop {
            let page = stage.json(&format!("{path}{query}")).await;
            walked.extend(page["items"].as_array().expect("items").clone());
            match page["next"].as_str() {
                Some(next) => query = format!("?limit=2&before={next}"),
                None => break,
            }
        }
        assert_eq!(walked, items);
        for bad in ["?before=x", "?before=-1", "?limit=0", "?limit=1001", "?after=1", "?before=9007199254740992"] {
            assert_eq!(stage.get(&format!("{path}{bad}")).await.status, 400, "{bad}");
        }
        for nobody in ["/v1/orgs/acme/entities/note/none/history", "/v1/orgs/acme/entities/note/a%00b/history"] {
            assert_eq!(stage.json(nobody).await, json!({ "items": [], "next": null }));
        }
        let theirs = stage.ask_as(&stage.carol, "/v1/orgs/globex/entities/note/1/history").await;
        assert_eq!(json(&theirs)["items"], json!([]), "another organisation's entity has no history here");
    })
    .await;
}

#[tokio::test]
async fn what_is_deleted_is_listed_with_its_last_row_until_it_is_made_again_mut_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        for key in ["1", "2", "deleted"] {
            let made = id();
            assert_eq!(create(&stage, &made, key, json!({ "title": key, "rank": 1 })).await.status, 201);
            let changed = patch(&stage, &id(), key, ("title", "last".into()), made.into()).await;
            let row = json(&changed)["tx"]["transactionId"].clone();
            assert_eq!(delete(&stage, &id(), key, row).await.status, 200, "{key}");
        }
        stage.run("insert into tasks (list, n, org, title) values ('a', 1, 'acme', 't'); delete from tasks").await;
        let path = "/v1/orgs/acme/entities/note/deleted";
        let items = past(&stage, &stage.alice, path, 3).await;
        let first = &items[0];
        assert_eq!((&first["entityId"], &first["deletedBy"]), (&json!("deleted"), &json!("alice")));
        assert_eq!((&first["data"]["title"], &first["data"]["rank"]), (&json!("last"), &json!(1)));
        assert!(
            first["deletedAt"].as_str().is_some_and(|at| at.ends_with('Z')) && first["data"].get("secret").is_none()
        );
        let keys = past(&stage, &stage.alice, "/v1/orgs/acme/entities/task/deleted", 1).await;
        assert_eq!((&keys[0]["entityId"], &keys[0]["deletedBy"]), (&json!(r#"["a","1"]"#), &Value::Null));
        let page = stage.json(&format!("{path}?limit=2")).await;
        let rest = stage.json(&format!("{path}?limit=2&after={}", page["next"].as_str().expect("more"))).await;
        assert_eq!((rest["items"].as_array().expect("items").len(), &rest["next"]), (1, &Value::Null));
        // An edit of what is gone says who deleted it; what never was, or is another's, says nothing.
        for answer in [
            patch(&stage, &id(), "1", ("title", "x".into()), Value::Null).await,
            delete(&stage, &id(), "deleted", Value::Null).await,
        ] {
            assert_eq!(refused(&answer), (404, "ENTITY_GONE".into()), "{}", answer.text());
            assert_eq!((&json(&answer)["deletedBy"], json(&answer)["deletedAt"].is_string()), (&json!("alice"), true));
        }
        let never = patch(&stage, &id(), "never", ("title", "x".into()), Value::Null).await;
        assert_eq!(refused(&never), (404, "NOT_FOUND".into()));
        let theirs = json!({ "data": { "title": "x" }, "tx": tx(&id(), "title".into(), Value::Null) });
        let theirs = send(&stage, "PATCH", &stage.carol, "/v1/orgs/globex/entities/note/1", &theirs).await;
        assert_eq!(refused(&theirs), (404, "NOT_FOUND".into()));
        assert_eq!(create(&stage, &id(), "1", json!({ "title": "back" })).await.status, 201);
        let left = past(&stage, &stage.alice, path, 2).await;
        assert!(left.iter().all(|item| item["entityId"] != "1"), "{left:?}");
    })
    .await;
}

#[tokio::test]
async fn the_past_is_cut_by_present_access_sec_01_mut_05() {
    for_each_postgres(|pg| async move {
        let draft = Condition::OneOf { column: "title".into(), values: vec!["draft".into()] };
        let rules = vec![
            Rule {
                roles: vec![Role::Owner],
                read: Columns::All,
                write: Columns::All,
                create: true,
                delete: true,
                ..Rule::default()
            },
            Rule { when: Some(draft), read: Columns::of(["id", "title"]), ..Rule::default() },
        ];
        let stage = Stage::open_with(&pg, Setup { rules, ..Setup::default() }).await;
        stage.people.create_user("bob", "bob", false).await.expect("a user");
        stage.people.join("acme", "bob", Role::Member).await.expect("a member");
        let bob = stage.people.create_token("bob", "test", None).await.expect("a token");
        stage
            .run(
                "insert into notes (id, org, title, rank) values ('1', 'acme', 'draft', 1);
                 update notes set rank = 2 where id = '1'; update notes set title = 'final' where id = '1';
                 update notes set rank = 3 where id = '1'; delete from notes where id = '1';
                 insert into notes (id, org, title) values ('2', 'acme', 'draft'); delete from notes where id = '2'",
            )
            .await;
        let path = "/v1/orgs/acme/entities/note/1/history";
        assert_eq!(
            actions(&past(&stage, &stage.alice, path, 5).await),
            ["delete", "update", "update", "update", "create"]
        );
        // The row left sight when its title changed: what came before and after that is not told.
        let seen = past(&stage, &bob, path, 2).await;
        assert_eq!(actions(&seen), ["delete", "create"]);
        assert_eq!((&seen[0]["reason"], &seen[1]["data"]), (&json!("access"), &json!({ "id": "1", "title": "draft" })));
        let gone = past(&stage, &bob, "/v1/orgs/acme/entities/note/deleted", 1).await;
        assert_eq!((&gone[0]["entityId"], &gone[0]["data"]), (&json!("2"), &json!({ "id": "2", "title": "draft" })));
        assert_eq!(past(&stage, &stage.alice, "/v1/orgs/acme/entities/note/deleted", 2).await.len(), 2);
    })
    .await;
}
