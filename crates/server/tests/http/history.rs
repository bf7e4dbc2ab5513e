//! The history of entities, deleted ones, and edits of what is gone (protocol 4 and 5).

use antiphon_model::{Columns, Condition, Role, Rule};
use antiphon_testkit::for_each_postgres;
use serde_json::{Value, json};

use crate::{
    mutations::{create, delete, id, patch, refused, send, tx},
    stage::{Setup, Stage},
};

const NOTES: &str = "/v1/orgs/acme/entities/note";

fn all_of<'a>(body: &'a Value, member: &str) -> Vec<&'a Value> {
    body["items"].as_array().expect("items").iter().map(|item| &item[member]).collect()
}

/// Waits until the log has brought something that alice's stream shows.
async fn brought(stage: &Stage, text: &str) {
    stage.until(&stage.alice, "/v1/orgs/acme/live?offset=-1&limit=1000", |answer| answer.text().contains(text)).await;
}

/// Rules by which viewers see the titles of notes of rank 1, and owners everything.
fn ruled() -> Setup {
    let everything = Rule {
        roles: vec![Role::Owner],
        read: Columns::All,
        write: Columns::All,
        create: true,
        delete: true,
        ..Rule::default()
    };
    let first = Condition::OneOf { column: "rank".into(), values: vec!["1".into()] };
    let titles = Rule { roles: vec![Role::Viewer], when: Some(first), read: Columns::of(["title"]), ..Rule::default() };
    Setup { rules: vec![everything, titles], ..Setup::default() }
}

async fn member(stage: &Stage, name: &str, role: Role) -> String {
    stage.people.create_user(name, name, false).await.expect("a user");
    stage.people.join("acme", name, role).await.expect("a member");
    stage.people.create_token(name, "test", None).await.expect("a token")
}

#[tokio::test]
async fn a_history_is_newest_first_and_read_page_by_page_log_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.run("insert into notes (id, org, title) values ('1', 'acme', 't0'), ('2', 'acme', 'other')").await;
        for n in 1..=4 {
            stage.run(&format!("update notes set title = 't{n}' where id = '1'")).await;
        }
        stage.run("insert into notes (id, org, title) values ('1x', 'globex', 'theirs')").await;
        brought(&stage, "\"t4\"").await;
        let whole = stage.json(&format!("{NOTES}/1/history")).await;
        let titles: Vec<_> = all_of(&whole, "data").into_iter().map(|data| &data["title"]).collect();
        assert_eq!(titles, ["t4", "t3", "t2", "t1", "t0"]);
        assert_eq!(all_of(&whole, "action"), ["update", "update", "update", "update", "create"]);
        assert!(whole["next"].is_null() && whole["epoch"] == 1 && whole["access"].is_string(), "{whole}");
        assert!(whole.to_string().find("hush").is_none(), "hidden columns are nobody's: {whole}");
        // It is what the stream shows, in the other order.
        let page = stage.json("/v1/orgs/acme/live?offset=-1&limit=1000").await;
        let streamed = page["activities"].as_array().expect("activities");
        let mut streamed: Vec<_> = streamed.iter().filter(|one| one["entityId"] == "1").collect();
        streamed.reverse();
        assert_eq!(whole["items"].as_array().expect("items").iter().collect::<Vec<_>>(), streamed);
        let (mut pages, mut next) = (Vec::new(), String::new());
        loop {
            let page = stage.json(&format!("{NOTES}/1/history?limit=2{next}")).await;
            pages.push(page["items"].as_array().expect("items").len());
            match page["next"].as_u64() {
                Some(before) => next = format!("&before={before}"),
                None => break,
            }
        }
        assert_eq!(pages, [2, 2, 1]);
        // Below the first there is nothing, and that is no error.
        let first = whole["items"][4]["activityId"].as_u64().expect("an id");
        assert_eq!(stage.json(&format!("{NOTES}/1/history?before={first}")).await["items"], json!([]));
        for bad in ["before=0", "before=x", "before=-1", "before=%2B5", "limit=0", "limit=1001"] {
            for path in ["1/history", "deleted"] {
                let bad = if path == "deleted" { bad.replace("before", "after") } else { bad.to_owned() };
                let answer = stage.get(&format!("{NOTES}/{path}?{bad}")).await;
                assert_eq!(refused(&answer), (400, "PARAMETER_INVALID".into()), "{path} {bad}");
            }
        }
        assert_eq!(refused(&stage.get(&format!("{NOTES}/1/history?after=1")).await).1, "PARAMETER_UNKNOWN");
    })
    .await;
}

#[tokio::test]
async fn another_organisations_history_and_deleted_rows_are_not_there_sec_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.run("insert into notes (id, org, title) values ('1', 'globex', 'theirs'), ('2', 'globex', 'gone')").await;
        stage.run("delete from notes where id = '2'").await;
        stage.run("insert into notes (id, org, title) values ('3', 'acme', 'mark')").await;
        brought(&stage, "mark").await;
        let missing = stage.get(&format!("{NOTES}/none/history")).await;
        assert_eq!(refused(&missing), (404, "NOT_FOUND".into()));
        for foreign in ["1", "2"] {
            let answer = stage.get(&format!("{NOTES}/{foreign}/history")).await;
            assert_eq!((answer.status, answer.text()), (404, missing.text()), "{foreign}");
            let edit = patch(&stage, &id(), foreign, ("title", "mine".into()), Value::Null).await;
            assert_eq!(refused(&edit), (404, "NOT_FOUND".into()), "{foreign}");
        }
        assert_eq!(stage.json(&format!("{NOTES}/deleted")).await["items"], json!([]));
        let theirs = stage.ask_as(&stage.carol, "/v1/orgs/globex/entities/note/deleted").await.json().expect("JSON");
        assert_eq!(all_of(&theirs, "entityId"), ["2"]);
    })
    .await;
}

#[tokio::test]
async fn a_history_shows_what_the_rules_show_and_nothing_else_sec_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, ruled()).await;
        let viewer = member(&stage, "bob", Role::Viewer).await;
        let nobody = member(&stage, "dave", Role::Member).await;
        stage
            .run(
                "insert into notes (id, org, title, rank, body) values ('1', 'acme', 'never', 0, 'private'),
                  ('2', 'acme', 'unseen', 0, 'private'), ('3', 'acme', 'bye', 1, 'private'),
                  ('4', 'acme', 'unseen', 0, 'private')",
            )
            .await;
        stage.run("update notes set rank = 1, title = 'seen' where id = '1'").await;
        // A change of which a viewer may see nothing.
        stage.run("update notes set body = 'private too' where id = '1'").await;
        stage.run("update notes set rank = 2, title = 'secret' where id = '1'").await;
        stage.run("delete from notes where id in ('3', '4')").await;
        stage.run("insert into notes (id, org, title) values ('5', 'acme', 'mark')").await;
        brought(&stage, "mark").await;
        assert_eq!(stage.json(&format!("{NOTES}/1/history")).await["items"].as_array().expect("items").len(), 4);
        let ask = async |token: &str, path: &str| stage.ask_as(token, &format!("{NOTES}/{path}")).await;
        let seen = ask(&viewer, "1/history").await.json().expect("JSON");
        assert_eq!(all_of(&seen, "action"), ["delete", "create"], "{seen}");
        assert_eq!(all_of(&seen, "data"), [&Value::Null, &json!({ "id": "1", "title": "seen" })]);
        assert_eq!(seen["items"][0]["reason"], "access");
        for text in ["private", "secret", "never", "\"body\"", "rank"] {
            assert!(!seen.to_string().contains(text), "{text}: {seen}");
        }
        // Pages are full and say nothing of what was passed over.
        let page = ask(&viewer, "1/history?limit=1").await.json().expect("JSON");
        let rest = ask(&viewer, &format!("1/history?limit=1&before={}", page["next"])).await.json().expect("JSON");
        assert_eq!((all_of(&rest, "action"), &rest["next"]), (vec![&json!("create")], &Value::Null));
        for (token, key) in [(&viewer, "2"), (&viewer, "4"), (&nobody, "1"), (&nobody, "3")] {
            let answer = ask(token, &format!("{key}/history")).await;
            assert_eq!(refused(&answer), (404, "NOT_FOUND".into()), "{key}");
        }
        let gone = ask(&viewer, "deleted").await.json().expect("JSON");
        assert_eq!(all_of(&gone, "data"), [&json!({ "id": "3", "title": "bye" })], "{gone}");
        assert!(!gone.to_string().contains("private"), "{gone}");
        assert_eq!(ask(&nobody, "deleted").await.json().expect("JSON")["items"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn deleted_entities_are_listed_until_they_come_back_and_edits_are_told_who_did_it_mut_02() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        for key in ["a", "b", "c"] {
            let made = id();
            assert_eq!(create(&stage, &made, key, json!({ "title": key, "rank": 7 })).await.status, 201);
            let answer = delete(&stage, &id(), key, made.into()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        stage.run("insert into notes (id, org, title) values ('a', 'acme', 'again'), ('d', 'acme', 'sql')").await;
        stage.run("delete from notes where id = 'd'").await;
        stage.run("insert into notes (id, org, title) values ('e', 'acme', 'mark')").await;
        brought(&stage, "mark").await;
        let gone = stage.json(&format!("{NOTES}/deleted")).await;
        assert_eq!(all_of(&gone, "entityId"), ["d", "c", "b"], "{gone}");
        assert_eq!(all_of(&gone, "deletedBy"), [&Value::Null, &json!("alice"), &json!("alice")]);
        let last = &gone["items"][1];
        assert_eq!((&last["data"]["title"], &last["data"]["rank"], &last["tx"]["actor"]), (&"c".into(), &7.into(), &"alice".into()));
        assert!(last["deletedAt"].as_str().is_some_and(|at| at.ends_with('Z')), "{last}");
        assert!(last["data"].get("secret").is_none() && last["data"].get("tx").is_none(), "{last}");
        let first = stage.json(&format!("{NOTES}/deleted?limit=2")).await;
        let after = first["next"].as_str().expect("more").to_owned();
        let rest = stage.json(&format!("{NOTES}/deleted?limit=2&after={after}")).await;
        assert_eq!((all_of(&first, "entityId"), all_of(&rest, "entityId")), (vec![&json!("d"), &json!("c")], vec![&json!("b")]));
        assert!(rest["next"].is_null(), "the delete of `a` is no page of its own: {rest}");
        // The history of what is gone is there, and edits of it are told.
        assert_eq!(all_of(&stage.json(&format!("{NOTES}/b/history")).await, "action"), ["delete", "create"]);
        let edit = patch(&stage, &id(), "b", ("title", "late".into()), Value::Null).await;
        let body = edit.json().expect("JSON");
        assert_eq!(refused(&edit), (404, "ENTITY_GONE".into()), "{body}");
        assert_eq!((&body["deletedBy"], &body["deletedAt"]), (&"alice".into(), &gone["items"][2]["deletedAt"]));
        let again = delete(&stage, &id(), "d", id().into()).await;
        assert_eq!((refused(&again), again.json().expect("JSON")["deletedBy"].clone()), ((404, "ENTITY_GONE".into()), Value::Null));
        let batch = json!({ "mutations": [
            { "entityType": "note", "entityId": "c", "action": "update", "data": { "title": "x" }, "tx": tx(&id(), "title".into(), Value::Null) },
            { "entityType": "note", "entityId": "zzz", "action": "update", "data": { "title": "x" }, "tx": tx(&id(), "title".into(), Value::Null) },
        ] });
        let answer = send(&stage, "POST", &stage.alice, "/v1/orgs/acme/mutations", &batch).await.json().expect("JSON");
        let codes: Vec<_> = (0..2).map(|n| &answer["results"][n]["problem"]["code"]).collect();
        assert_eq!(codes, ["ENTITY_GONE", "NOT_FOUND"], "{answer}");
    })
    .await;
}

#[tokio::test]
async fn who_could_not_see_a_row_is_not_told_that_it_is_gone_sec_01() {
    for_each_postgres(|pg| async move {
        let mut setup = ruled();
        let own = Condition::OneOf { column: "rank".into(), values: vec!["3".into()] };
        let members = Rule {
            roles: vec![Role::Member],
            when: Some(own),
            read: Columns::of(["title"]),
            write: Columns::of(["title"]),
            ..Rule::default()
        };
        setup.rules.push(members);
        let stage = Stage::open_with(&pg, setup).await;
        let token = member(&stage, "erin", Role::Member).await;
        stage.run("insert into notes (id, org, title, rank) values ('1', 'acme', 'x', 1), ('3', 'acme', 'y', 3)").await;
        stage.run("delete from notes").await;
        stage.run("insert into notes (id, org, title) values ('5', 'acme', 'mark')").await;
        brought(&stage, "mark").await;
        for (key, code) in [("1", "NOT_FOUND"), ("3", "ENTITY_GONE"), ("none", "NOT_FOUND")] {
            let body = json!({ "data": { "title": "z" }, "tx": tx(&id(), "title".into(), Value::Null) });
            let answer = send(&stage, "PATCH", &token, &format!("{NOTES}/{key}"), &body).await;
            assert_eq!(refused(&answer), (404, code.into()), "{key}");
        }
    })
    .await;
}

#[tokio::test]
async fn ids_of_several_columns_and_the_id_that_is_an_address_are_found_log_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.run("insert into tasks (list, n, org, title) values ('a,b', 1, 'acme', 'first')").await;
        stage.run("delete from tasks").await;
        stage.run("insert into notes (id, org, title) values ('deleted', 'acme', 'odd')").await;
        brought(&stage, "odd").await;
        let tasks = "/v1/orgs/acme/entities/task";
        for spelling in ["%5B%22a,b%22,%221%22%5D", "%5B%22a,b%22,%20%221%22%5D"] {
            let history = stage.json(&format!("{tasks}/{spelling}/history")).await;
            assert_eq!(all_of(&history, "action"), ["delete", "create"], "{history}");
        }
        assert_eq!(all_of(&stage.json(&format!("{tasks}/deleted")).await, "entityId"), ["[\"a,b\",\"1\"]"]);
        assert_eq!(refused(&stage.get(&format!("{tasks}/x/history")).await), (404, "NOT_FOUND".into()));
        assert_eq!(
            refused(&stage.get("/v1/orgs/acme/entities/none/1/history").await),
            (404, "ENTITY_TYPE_UNKNOWN".into())
        );
        // An entity whose id is the address of the list.
        assert_eq!(all_of(&stage.json(&format!("{NOTES}/deleted/history")).await, "action"), ["create"]);
        assert_eq!(stage.json(&format!("{NOTES}/%64eleted")).await["data"]["title"], "odd");
        assert_eq!(stage.json(&format!("{NOTES}?ids=deleted")).await["items"][0]["data"]["title"], "odd");
        let one = stage.json(&format!("{NOTES}?ids=deleted")).await;
        let expected = one["items"][0]["tx"]["transactionId"].clone();
        let edited = id();
        let answer = patch(&stage, &edited, "deleted", ("title", "even".into()), expected).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(delete(&stage, &id(), "deleted", edited.into()).await.status, 200);
        assert_eq!(stage.get(&format!("{NOTES}/deleted")).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn the_activities_of_a_transaction_are_found_by_its_id_and_cut_like_the_stream_log_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, ruled()).await;
        let vera = member(&stage, "vera", Role::Viewer).await;
        // Whoever sets the metadata by hand can give rows of two organisations one id.
        let of_both = "1700000000000.0000.import";
        let tx_of = format!("{{\"transactionId\":\"{of_both}\",\"sourceId\":\"import\",\"changedField\":null}}");
        stage.run("alter table notes disable trigger \"~antiphon_stamp\"").await;
        stage
            .run(&format!(
                "insert into notes (id, org, title, rank, tx) values ('1', 'acme', 'one', 1, '{tx_of}'),
                 ('2', 'acme', 'two', 2, '{tx_of}'), ('g', 'globex', 'theirs', 1, '{tx_of}')"
            ))
            .await;
        stage.run("alter table notes enable trigger \"~antiphon_stamp\"").await;
        brought(&stage, "\"two\"").await;
        let path = |id: &str, more: &str| format!("/v1/orgs/acme/activities?transactionId={id}{more}");
        let page = stage.json("/v1/orgs/acme/live?offset=-1&limit=1000").await;
        let streamed = page["activities"].as_array().expect("activities").clone();
        // Each organisation has its own.
        let found = stage.json(&path(of_both, "")).await;
        assert_eq!((streamed.len(), &found["items"]), (2, &Value::Array(streamed.clone())), "{found}");
        assert!(found["next"].is_null() && !found.to_string().contains("theirs"), "{found}");
        let first = stage.json(&path(of_both, "&limit=1")).await;
        assert_eq!((&first["items"], &first["next"]), (&json!([streamed[0]]), &streamed[0]["activityId"]));
        let rest = stage.json(&path(of_both, &format!("&after={}", first["next"]))).await;
        assert_eq!((&rest["items"], &rest["next"]), (&json!([streamed[1]]), &Value::Null));
        // What a viewer may not see fills no page and is not told.
        let cut = stage.ask_as(&vera, &path(of_both, "&limit=1")).await.json().expect("JSON");
        assert_eq!(all_of(&cut, "data"), [&json!({ "id": "1", "title": "one" })], "{cut}");
        assert!(cut["next"].is_null(), "{cut}");
        // A mutation is found by the id that its author made.
        let edit = id();
        let answer = patch(&stage, &edit, "2", ("title", "edited".into()), Value::Null).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        brought(&stage, "\"edited\"").await;
        let found = stage.json(&path(&edit, "")).await;
        assert_eq!(found["items"][0]["data"]["title"], "edited");
        assert_eq!(found["items"].as_array().unwrap().len(), 1);
        assert_eq!(stage.json(&path("1700000000000.0000.nobody", "")).await["items"], json!([]));
        for bad in
            ["", "?transactionId=", "?transactionId=%00", "?transactionId=1&after=-1", "?transactionId=1&limit=0"]
        {
            let answer = stage.get(&format!("/v1/orgs/acme/activities{bad}")).await;
            assert_eq!(refused(&answer), (400, "PARAMETER_INVALID".into()), "{bad}");
        }
    })
    .await;
}
