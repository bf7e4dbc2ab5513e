//! The contract of writing (protocol 5) against the real service on real Postgres 15 and 18.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use antiphon_model::Role;
use antiphon_testkit::{Response, for_each_postgres, request};
use serde_json::{Value, json};

use crate::stage::{SOON, Stage};

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A new id of now, above all before.
pub fn id() -> String {
    id_at(0)
}

/// A new id so many milliseconds from now.
pub fn id_at(offset_ms: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{:013}.{:04}.test-{number}", now + offset_ms, number % 10_000)
}

pub async fn send(stage: &Stage, method: &str, token: &str, path: &str, body: &Value) -> Response {
    let headers = [("content-type", "application/json")];
    request(method, &stage.url(path), Some(token), &headers, body.to_string().as_bytes()).await.expect("an answer")
}

pub fn tx(id: &str, field: Value, expected: Value) -> Value {
    json!({ "transactionId": id, "sourceId": "test", "changedField": field, "expectedTransactionId": expected })
}

pub async fn create(stage: &Stage, id: &str, key: &str, data: Value) -> Response {
    let mut data = data;
    data["id"] = key.into();
    let body = json!({ "data": data, "tx": tx(id, Value::Null, Value::Null) });
    send(stage, "POST", &stage.alice, "/v1/orgs/acme/entities/note", &body).await
}

pub async fn patch(stage: &Stage, id: &str, key: &str, (field, value): (&str, Value), expected: Value) -> Response {
    let body = json!({ "data": { field: value }, "tx": tx(id, field.into(), expected) });
    send(stage, "PATCH", &stage.alice, &format!("/v1/orgs/acme/entities/note/{key}"), &body).await
}

pub async fn delete(stage: &Stage, id: &str, key: &str, expected: Value) -> Response {
    let body = json!({ "tx": tx(id, Value::Null, expected) });
    send(stage, "DELETE", &stage.alice, &format!("/v1/orgs/acme/entities/note/{key}"), &body).await
}

pub fn json(answer: &Response) -> Value {
    answer.json().unwrap_or_else(|_| panic!("no JSON: {}", answer.text()))
}

pub fn refused(answer: &Response) -> (u16, String) {
    (answer.status, json(answer)["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_edit_is_created_changed_conflicts_is_repeated_and_deleted_mut_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let made = id();
        let answer = create(&stage, &made, "1", json!({ "title": "a", "rank": 7 })).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let body = json(&answer);
        assert_eq!((&body["data"]["title"], &body["data"]["org"]), (&"a".into(), &"acme".into()));
        assert_eq!(body["tx"]["fields"], json!({ "*": made }));
        assert_eq!((&body["tx"]["actor"], &body["tx"]["sourceId"]), (&"alice".into(), &"test".into()));
        assert!(
            body["commit"]["xid"].is_string()
                && body["data"].get("tx").is_none()
                && body["data"].get("secret").is_none()
        );
        // What a list says is what the answer said.
        let one = stage.json("/v1/orgs/acme/entities/note/1").await;
        assert_eq!((&one["data"], &one["tx"]), (&body["data"], &body["tx"]));

        let changed = id();
        let answer = patch(&stage, &changed, "1", ("title", "b".into()), made.clone().into()).await;
        assert_eq!((answer.status, &json(&answer)["data"]["title"]), (200, &"b".into()), "{}", answer.text());
        assert_eq!(json(&answer)["tx"]["fields"], json!({ "*": made, "title": changed }));

        // Another field has its own id, so this is no conflict (SY-33); the same field is one.
        assert_eq!(patch(&stage, &id(), "1", ("rank", 8.into()), made.clone().into()).await.status, 200);
        let answer = patch(&stage, &id(), "1", ("title", "c".into()), made.clone().into()).await;
        let conflict = json(&answer);
        assert_eq!(refused(&answer), (409, "FIELD_CONFLICT".into()));
        assert_eq!((&conflict["field"], &conflict["serverValue"]), (&"title".into(), &"b".into()));
        assert_eq!(conflict["serverTransactionId"], changed);
        assert_eq!(conflict["expectedTransactionId"], made);
        assert!(conflict["changedAt"].is_string());

        // The same id again: applied before, nothing changed now (SY-29); with other content it is refused (SY-28).
        let again = patch(&stage, &changed, "1", ("title", "b".into()), Value::Null).await;
        assert_eq!((again.status, &json(&again)["data"]["title"]), (200, &"b".into()));
        let other = patch(&stage, &changed, "1", ("title", "x".into()), made.clone().into()).await;
        assert_eq!(refused(&other), (422, "IDEMPOTENCY_MISMATCH".into()));

        let last = stage.json("/v1/orgs/acme/entities/note/1").await["tx"]["transactionId"].clone();
        assert_eq!(refused(&delete(&stage, &id(), "1", made.into()).await), (409, "FIELD_CONFLICT".into()));
        let answer = delete(&stage, &id(), "1", last).await;
        assert_eq!((answer.status, &json(&answer)["data"]), (200, &Value::Null), "{}", answer.text());
        assert_eq!(stage.get("/v1/orgs/acme/entities/note/1").await.status, 404);
        let gone = patch(&stage, &id(), "1", ("title", "z".into()), Value::Null).await;
        assert_eq!(gone.status, 404, "{}", gone.text());
    })
    .await;
}

#[tokio::test]
async fn clocks_and_types_and_fields_are_refused_by_name_mut_01_mut_06() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let made = id();
        assert_eq!(create(&stage, &made, "1", json!({ "title": "a" })).await.status, 201);
        let value = |field: &'static str, value: Value| (field, value);
        for (edit, (field, value), expected, wanted) in [
            (id_at(6 * 60_000), value("title", "b".into()), json!(made), (422, "CLOCK_AHEAD")),
            (id_at(-31 * 24 * 3_600_000), value("title", "b".into()), Value::Null, (422, "TOO_OLD_TO_PROVE")),
            (id_at(-60_000), value("title", "b".into()), json!(made), (422, "CLOCK_BEHIND")),
            (id(), value("nothing", "b".into()), json!(made), (422, "FIELD_UNKNOWN")),
            (id(), value("secret", "b".into()), json!(made), (422, "FIELD_UNKNOWN")),
            (id(), value("tx", "b".into()), json!(made), (422, "FIELD_UNKNOWN")),
            (id(), value("id", "2".into()), json!(made), (422, "FIELD_FORBIDDEN")),
            (id(), value("org", "globex".into()), json!(made), (422, "FIELD_FORBIDDEN")),
            (id(), value("rank", "x".into()), json!(made), (422, "TYPE")),
            (id(), value("at", "yesterday or so".into()), json!(made), (422, "TYPE")),
            (id(), value("fixed", "much too long".into()), json!(made), (422, "TYPE")),
            (id(), value("title\"; drop table notes; --", "x".into()), json!(made), (422, "FIELD_UNKNOWN")),
            (id(), value("title", "b".into()), Value::Null, (409, "FIELD_CONFLICT")),
        ] {
            let answer = patch(&stage, &edit, "1", (field, value), expected).await;
            assert_eq!(refused(&answer), (wanted.0, wanted.1.to_owned()), "{field}: {}", answer.text());
        }
        assert_eq!(refused(&create(&stage, &id(), "1", json!({})).await), (409, "ALREADY_EXISTS".into()));
        let one = stage.json("/v1/orgs/acme/entities/note/1").await;
        assert_eq!((&one["data"]["title"], &one["tx"]["transactionId"]), (&"a".into(), &made.into()));
        // Nothing that was refused was recorded: the same id may be used for what is right.
        let edit = id();
        let bad = patch(&stage, &edit, "1", ("rank", "x".into()), one["tx"]["transactionId"].clone()).await;
        assert_eq!(bad.status, 422);
        let good = patch(&stage, &edit, "1", ("rank", 3.into()), one["tx"]["transactionId"].clone()).await;
        assert_eq!(good.status, 200, "{}", good.text());
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_each_for_itself_or_all_or_none_sy_49() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let edit = |id: &str, key: &str, action: &str, data: Value, tx: Value| {
            let mut tx = tx;
            tx["transactionId"] = id.into();
            tx["sourceId"] = "test".into();
            json!({ "entityType": "note", "entityId": key, "action": action, "data": data, "tx": tx })
        };
        let (a, b, c) = (id(), id(), id());
        let mutations = json!([
            edit(&a, "1", "create", json!({ "title": "a" }), json!({})),
            edit(&b, "1", "update", json!({ "title": "b" }), json!({ "changedField": "title", "expectedTransactionId": "x" })),
            edit(&c, "2", "create", json!({ "title": "c" }), json!({})),
        ]);
        let answer =
            send(&stage, "POST", &stage.alice, "/v1/orgs/acme/mutations", &json!({ "mutations": mutations })).await;
        let results = json(&answer)["results"].clone();
        let status = |results: &Value| -> Vec<String> {
            let all = results.as_array().expect("results");
            all.iter().map(|result| result["status"].as_str().expect("a status").to_owned()).collect()
        };
        assert_eq!(status(&results), ["applied", "conflict", "applied"], "{results}");
        assert_eq!(results[1]["problem"]["code"], "FIELD_CONFLICT");

        let (d, e, f) = (id(), id(), id());
        let atomic = |last: Value| {
            json!({ "atomic": true, "mutations": [
                edit(&d, "1", "update", json!({ "title": "d" }), json!({ "changedField": "title", "expectedTransactionId": a })),
                edit(&e, "1", "update", json!({ "rank": 5 }), json!({ "changedField": "rank", "expectedTransactionId": a })),
                edit(&f, "2", "update", json!({ "title": "f" }), json!({ "changedField": "title", "expectedTransactionId": last })),
            ] })
        };
        let answer = send(&stage, "POST", &stage.alice, "/v1/orgs/acme/mutations", &atomic("wrong".into())).await;
        let results = json(&answer)["results"].clone();
        assert_eq!(status(&results), ["aborted", "aborted", "conflict"]);
        assert_eq!(results[0]["because"], 2);
        assert_eq!(stage.json("/v1/orgs/acme/entities/note/1").await["data"]["title"], "a");
        let answer = send(&stage, "POST", &stage.alice, "/v1/orgs/acme/mutations", &atomic(c.clone().into())).await;
        assert_eq!(status(&json(&answer)["results"]), ["applied", "applied", "applied"], "{}", answer.text());
        // The two edits of one row were one statement, each field stamped with its own id.
        let one = stage.json("/v1/orgs/acme/entities/note/1").await;
        assert_eq!((&one["tx"]["fields"]["title"], &one["tx"]["fields"]["rank"]), (&json!(d), &json!(e)));
        let answer = send(&stage, "POST", &stage.alice, "/v1/orgs/acme/mutations", &atomic(c.into())).await;
        assert_eq!(status(&json(&answer)["results"]), ["duplicate", "duplicate", "duplicate"]);
    })
    .await;
}

#[tokio::test]
async fn an_applied_edit_is_told_so_again_though_its_author_may_not_write_any_more_mut_02() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let made = json!({ "mutations": [{ "entityType": "note", "entityId": "1", "action": "create",
            "data": { "title": "a" }, "tx": { "transactionId": id(), "sourceId": "test" } }] });
        let told = async |body: &Value| {
            let answer = send(&stage, "POST", &stage.alice, "/v1/orgs/acme/mutations", body).await;
            json(&answer)["results"][0].clone()
        };
        assert_eq!(told(&made).await["status"], "applied");
        stage.people.join("acme", "alice", Role::Viewer).await.expect("another role");
        let deadline = tokio::time::Instant::now() + SOON;
        // What the server keeps of memberships is renewed in its own time.
        loop {
            let mut another = made.clone();
            (another["mutations"][0]["entityId"], another["mutations"][0]["tx"]["transactionId"]) =
                (id().into(), id().into());
            let refused = told(&another).await;
            if refused["status"] == "rejected" {
                assert_eq!(refused["problem"]["code"], "FORBIDDEN", "{refused}");
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "a viewer goes on writing: {refused}");
        }
        assert_eq!(told(&made).await["status"], "duplicate");
    })
    .await;
}

#[tokio::test]
async fn bad_bodies_are_refused_and_nothing_is_written_sec_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let good = json!({ "data": { "id": "1", "title": "a" }, "tx": tx(&id(), Value::Null, Value::Null) });
        let deep = format!(r#"{{"data":{}1{},"tx":{{}}}}"#, "[".repeat(200), "]".repeat(200));
        let large = format!(r#"{{"data":{{"id":"1","title":"{}"}}}}"#, "x".repeat(1 << 20));
        for (body, status) in [
            ("", 400),
            ("{", 400),
            ("null", 400),
            (r#"{"data":{}}"#, 400),
            (r#"{"data":{},"tx":{},"more":1}"#, 400),
            (deep.as_str(), 400),
            (large.as_str(), 413),
        ] {
            let headers = [("content-type", "application/json")];
            let url = stage.url("/v1/orgs/acme/entities/note");
            let answer = request("POST", &url, Some(&stage.alice), &headers, body.as_bytes()).await.expect("an answer");
            assert_eq!(answer.status, status, "{}", answer.text());
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        }
        let url = stage.url("/v1/orgs/acme/entities/note");
        let plain =
            request("POST", &url, Some(&stage.alice), &[], good.to_string().as_bytes()).await.expect("an answer");
        assert_eq!(plain.status, 400, "a body without its type");
        let theirs = send(&stage, "POST", &stage.alice, "/v1/orgs/globex/entities/note", &good).await;
        assert_eq!(refused(&theirs), (403, "NOT_A_MEMBER".into()));
        let mut other = good.clone();
        other["data"]["org"] = "globex".into();
        let theirs = send(&stage, "POST", &stage.alice, "/v1/orgs/acme/entities/note", &other).await;
        assert_eq!(refused(&theirs), (422, "FIELD_FORBIDDEN".into()));
        stage.people.join("acme", "alice", Role::Viewer).await.expect("a viewer");
        stage
            .until(&stage.alice, "/v1/orgs/acme/schema", |answer| {
                answer.json().expect("JSON")["types"]["note"]["can"]["create"] == false
            })
            .await;
        let viewer = send(&stage, "POST", &stage.alice, "/v1/orgs/acme/entities/note", &good).await;
        assert_eq!(refused(&viewer), (403, "FORBIDDEN".into()));
        assert_eq!(stage.json("/v1/orgs/acme/entities/note").await["items"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn another_tenants_row_is_not_there_for_writers_sec_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.run("insert into notes (id, org, title) values ('9', 'globex', 'theirs')").await;
        for answer in [
            patch(&stage, &id(), "9", ("title", "mine".into()), Value::Null).await,
            delete(&stage, &id(), "9", Value::Null).await,
        ] {
            assert_eq!(refused(&answer), (404, "NOT_FOUND".into()));
            assert!(!answer.text().contains("theirs"));
        }
        let row = stage.client.query_one("select title from notes where id = '9'", &[]).await.expect("the row");
        assert_eq!(row.get::<_, String>(0), "theirs");
    })
    .await;
}

#[tokio::test]
async fn equal_ids_at_once_have_one_effect_mut_02_sy_27() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let edit = id();
        let all = (0..20).map(|_| create(&stage, &edit, "1", json!({ "title": "a" })));
        let answers = futures::future::join_all(all).await;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 200 | 201)), "{statuses:?}");
        let log = stage.client.query_one("select count(*) from antiphon.mutations", &[]).await.expect("a count");
        assert_eq!(log.get::<_, i64>(0), 1);
        // Whoever began before the one that won, and waited for it, names it too.
        let numbers: BTreeSet<String> =
            answers.iter().map(|answer| answer.json().expect("JSON")["commit"]["xid"].to_string()).collect();
        assert_eq!(numbers.len(), 1, "{numbers:?}");
    })
    .await;
}

#[tokio::test]
async fn hundreds_of_writers_on_one_row_lose_nothing_mut_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let made = id();
        assert_eq!(create(&stage, &made, "1", json!({ "title": "" })).await.status, 201);
        // Each writer reads, appends its letter, and tries again where somebody was faster.
        let writers = (0..40).map(|writer| {
            let stage = &stage;
            async move {
                for _ in 0..200 {
                    let one = stage.json("/v1/orgs/acme/entities/note/1").await;
                    let fields = &one["tx"]["fields"];
                    let expected = fields.get("title").unwrap_or(&fields["*"]).clone();
                    let title = format!("{}<{writer}>", one["data"]["title"].as_str().expect("a title"));
                    let answer = patch(stage, &id(), "1", ("title", title.into()), expected).await;
                    match answer.status {
                        200 => return,
                        409 | 422 | 429 => tokio::task::yield_now().await,
                        _ => panic!("{}", answer.text()),
                    }
                }
                panic!("a writer never got through");
            }
        });
        futures::future::join_all(writers).await;
        let one = stage.json("/v1/orgs/acme/entities/note/1").await;
        let title = one["data"]["title"].as_str().expect("a title");
        for writer in 0..40 {
            assert_eq!(title.matches(&format!("<{writer}>")).count(), 1, "{title}");
        }
    })
    .await;
}
