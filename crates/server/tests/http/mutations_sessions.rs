//! Edits whatever the database is set to, under whichever role, and whoever else is writing (house 17, MUT-02, MUT-08).

use antiphon_server::admin::ServeOptions;
use antiphon_testkit::for_each_postgres;
use serde_json::{Value, json};

use crate::{
    mutations::{create, id, id_at, json, patch, refused, send, tx},
    stage::{SOON, Setup, Stage},
};

/// Settings that would break or slow every edit if they counted, and a schema that stands before Postgres's own.
const HOSTILE: &str = r#"
create schema evil;
create table evil.notes (id text, org text, title text);
create table evil.mutations (org text, id text);
do $$ declare setting text; begin
  foreach setting in array array['search_path = evil, pg_catalog', 'default_transaction_isolation = ''repeatable read''',
    'statement_timeout = 1', 'lock_timeout = 1', 'idle_in_transaction_session_timeout = 1', 'synchronous_commit = off',
    'default_transaction_read_only = on', 'transform_null_equals = on', 'deadlock_timeout = 10'] loop
    execute pg_catalog.format('alter database %I set %s', pg_catalog.current_database(), setting);
  end loop;
end $$;"#;

/// Every edit of a note touches the other note, so that two edits at once deadlock.
const CROSSED: &str = "
do $$ begin execute format('alter database %I set deadlock_timeout = 10', current_database()); end $$;
create function crossed() returns trigger language plpgsql as $$ begin
  if pg_trigger_depth() = 1 then
    update notes set rank = coalesce(rank, 0) + 1 where id = case new.id when 'a' then 'b' else 'a' end;
  end if;
  return null; end $$;
create trigger crossed after update on notes for each row execute function crossed();";

const GUARDED: &str = "
do $$ begin create role antiphon_guarded nologin; exception when duplicate_object or unique_violation then null; end $$;
grant select, insert, update, delete on notes to antiphon_guarded;
alter table notes enable row level security;
create policy seen on notes for select to antiphon_guarded using (org = current_setting('app.tenant') and title <> 'unseen');
create policy changed on notes for update to antiphon_guarded using (true) with check (body is distinct from 'forbidden');
create policy made on notes for insert to antiphon_guarded with check (body = current_setting('app.user'));
create policy gone on notes for delete to antiphon_guarded using (true);";

fn unlimited(options: ServeOptions) -> ServeOptions {
    ServeOptions { mutations_per_second: 0, ..options }
}

#[tokio::test]
async fn no_setting_of_the_database_changes_what_an_edit_does_mut_02() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, Setup { tables: HOSTILE, serve: Some(unlimited), ..Setup::default() }).await;
        let first = id();
        let answer = create(&stage, &first, "1", json!({ "title": "a", "rank": 0 })).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(create(&stage, &id(), "2", json!({ "title": "z" })).await.status, 201);
        // Equal ids at once, while others write the same row: one effect, and everybody is answered.
        let edit = id();
        let stage = &stage;
        let same = (0..10).map(|_| patch(stage, &edit, "1", ("title", "b".into()), first.clone().into()));
        let others = (0..20).map(|number| async move {
            loop {
                let one = stage_rank(stage).await;
                let answer = patch(stage, &id(), "1", ("rank", (one.0 + 1).into()), one.1).await;
                match answer.status {
                    200 => return,
                    409 | 422 => {}
                    _ => panic!("{number}: {}", answer.text()),
                }
            }
        });
        let (same, _) = futures::future::join(futures::future::join_all(same), futures::future::join_all(others)).await;
        assert!(
            same.iter().all(|answer| answer.status == 200),
            "{:?}",
            same.iter().map(|a| a.text()).collect::<Vec<_>>()
        );
        let one = stage.json("/v1/orgs/acme/entities/note/1").await;
        assert_eq!((&one["data"]["title"], &one["data"]["rank"]), (&json!("b"), &json!(20)), "{one}");
        let other = stage.json("/v1/orgs/acme/entities/note/2").await;
        assert_eq!(other["data"]["title"], "z");
        let evil = stage.client.query_one("select count(*) from evil.notes", &[]).await.expect("a count");
        assert_eq!(evil.get::<_, i64>(0), 0);
    })
    .await;
}

/// The rank of the first note, and the id that a change of it expects.
async fn stage_rank(stage: &Stage) -> (i64, Value) {
    let one = stage.json("/v1/orgs/acme/entities/note/1").await;
    let fields = &one["tx"]["fields"];
    (one["data"]["rank"].as_i64().expect("a rank"), fields.get("rank").unwrap_or(&fields["*"]).clone())
}

#[tokio::test]
async fn edits_that_deadlock_settle_and_none_is_lost_mut_02() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, Setup { tables: CROSSED, serve: Some(unlimited), ..Setup::default() }).await;
        for key in ["a", "b"] {
            assert_eq!(create(&stage, &id(), key, json!({ "title": "" })).await.status, 201);
        }
        let stage = &stage;
        let writers = (0..8).map(|writer| async move {
            let key = if writer % 2 == 0 { "a" } else { "b" };
            for _ in 0..200 {
                let one = stage.json(&format!("/v1/orgs/acme/entities/note/{key}")).await;
                let fields = &one["tx"]["fields"];
                let expected = fields.get("title").unwrap_or(&fields["*"]).clone();
                let title = format!("{}<{writer}>", one["data"]["title"].as_str().expect("a title"));
                let answer = patch(stage, &id(), key, ("title", title.into()), expected).await;
                match answer.status {
                    200 => return,
                    // Others were in the way six times: nothing was written, and it may be sent again.
                    503 => assert_eq!(refused(&answer).1, "TRY_AGAIN", "{}", answer.text()),
                    409 | 422 => {}
                    _ => panic!("{}", answer.text()),
                }
            }
            panic!("a writer never got through");
        });
        futures::future::join_all(writers).await;
        let row = "select string_agg(title, ''), sum(rank) from notes";
        let row = stage.client.query_one(row, &[]).await.expect("the rows");
        let (titles, touched): (String, i64) = (row.get(0), row.get(1));
        assert!((0..8).all(|writer| titles.matches(&format!("<{writer}>")).count() == 1), "{titles}");
        assert_eq!(touched, 8, "each edit had its trigger's effect once");
        let records = stage.client.query_one("select count(*) from antiphon.mutations", &[]).await.expect("a count");
        assert_eq!(records.get::<_, i64>(0), 10, "only what was applied is recorded");
    })
    .await;
}

#[tokio::test]
async fn row_security_and_settings_of_the_application_count_where_asked_mut_08() {
    for_each_postgres(|pg| async move {
        let serve = |options| ServeOptions {
            rls_role: Some("antiphon_guarded".into()),
            session_variables: vec!["app.user=actor".into(), "app.tenant=org".into()],
            ..options
        };
        let stage = Stage::open_with(&pg, Setup { tables: GUARDED, serve: Some(serve), ..Setup::default() }).await;
        let first = id();
        let answer = create(&stage, &first, "1", json!({ "title": "a", "body": "alice" })).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let other = create(&stage, &id(), "2", json!({ "title": "a", "body": "bob" })).await;
        assert_eq!(refused(&other), (403, "FORBIDDEN".into()), "{}", other.text());
        let bad = patch(&stage, &id(), "1", ("body", "forbidden".into()), first.clone().into()).await;
        assert_eq!(refused(&bad), (403, "FORBIDDEN".into()), "{}", bad.text());
        let good = patch(&stage, &id(), "1", ("body", "b".into()), first.clone().into()).await;
        assert_eq!(good.status, 200, "{}", good.text());
        let again = create(&stage, &first, "1", json!({ "title": "a", "body": "alice" })).await;
        assert_eq!(again.status, 200, "records are ours, whoever edits: {}", again.text());
        stage.run("insert into notes (id, org, title) values ('3', 'acme', 'unseen')").await;
        let unseen = patch(&stage, &id(), "3", ("body", "b".into()), Value::Null).await;
        assert_eq!(refused(&unseen), (404, "NOT_FOUND".into()), "{}", unseen.text());
        // The stamp believes what the service says, under this role too.
        assert_eq!(json(&good)["tx"]["actor"], "alice");
        // No connection keeps the role.
        let sessions = stage.client.query_one("select count(*) from antiphon.mutations", &[]).await.expect("a count");
        assert_eq!(sessions.get::<_, i64>(0), 2);
    })
    .await;
}

#[tokio::test]
async fn an_organisation_that_sends_too_much_waits_and_others_do_not_mut_07() {
    for_each_postgres(|pg| async move {
        let serve = |options| ServeOptions { mutations_per_second: 1, mutations_burst: 3, ..options };
        let stage = Stage::open_with(&pg, Setup { serve: Some(serve), ..Setup::default() }).await;
        let mut refusals = 0;
        for number in 0..6 {
            let answer = create(&stage, &id(), &number.to_string(), json!({ "title": "a" })).await;
            if answer.status == 201 {
                continue;
            }
            assert_eq!(refused(&answer), (429, "RATE_LIMITED".into()));
            let after: u32 = answer.header("retry-after").expect("a time").parse().expect("seconds");
            assert!((1..=3).contains(&after));
            refusals += 1;
        }
        assert!(refusals > 0, "a burst of three");
        let body = json!({ "data": { "id": "9", "title": "b" }, "tx": tx(&id(), Value::Null, Value::Null) });
        let theirs = send(&stage, "POST", &stage.carol, "/v1/orgs/globex/entities/note", &body).await;
        assert_eq!(theirs.status, 201, "{}", theirs.text());
        let metrics = stage.ask_as(&stage.admin, "/metrics").await.text();
        for line in
            ["antiphon_mutations_total{outcome=\"applied\"}", "antiphon_mutations_refused_total{code=\"RATE_LIMITED\"}"]
        {
            assert!(metrics.contains(line), "{metrics}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_missed_much_of_what_it_edits_reads_first_mut_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, Setup { serve: Some(unlimited), ..Setup::default() }).await;
        let made = id();
        assert_eq!(create(&stage, &made, "1", json!({ "title": "a" })).await.status, 201);
        for number in 0..12 {
            stage.run(&format!("update notes set rank = {number} where id = '1'")).await;
        }
        let page = stage
            .until(&stage.alice, "/v1/orgs/acme/live?offset=-1&limit=100", |answer| {
                answer.json().expect("JSON")["activities"].as_array().expect("activities").len() == 13
            })
            .await;
        let head = json(&page)["offset"].clone();
        let batch = |key: &str, offset: &Value| {
            let tx = tx(&id(), "body".into(), "none".into());
            let edit =
                json!({ "entityType": "note", "entityId": key, "action": "update", "data": { "body": "b" }, "tx": tx });
            json!({ "streamOffset": offset, "mutations": [edit] })
        };
        let deadline = tokio::time::Instant::now() + SOON;
        // Until five seconds have passed, being behind is nothing.
        let answer = loop {
            let answer = send(&stage, "POST", &stage.alice, "/v1/orgs/acme/mutations", &batch("1", &json!(0))).await;
            if answer.status != 200 {
                break answer;
            }
            assert!(tokio::time::Instant::now() < deadline, "it was never told");
        };
        assert_eq!(refused(&answer), (409, "STREAM_BEHIND".into()));
        assert_eq!((&json(&answer)["clientOffset"], &json(&answer)["serverOffset"]), (&json!(0), &head));
        for (key, offset) in [("1", &head), ("2", &json!(0)), ("1", &json!(i64::MAX / 1024))] {
            let answer = send(&stage, "POST", &stage.alice, "/v1/orgs/acme/mutations", &batch(key, offset)).await;
            assert_eq!(answer.status, 200, "{key} {offset} {}", answer.text());
        }
    })
    .await;
}

#[tokio::test]
async fn a_row_changed_and_deleted_in_one_batch_is_compared_with_what_was_committed_mut_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        for (key, deletes_by) in [("1", "committed"), ("2", "own"), ("3", "neither")] {
            let (made, changed) = (id(), id());
            assert_eq!(create(&stage, &made, key, json!({ "title": "a" })).await.status, 201);
            let expected = match deletes_by {
                "committed" => made.clone(),
                "own" => changed.clone(),
                _ => id(),
            };
            let edits = json!([
                { "entityType": "note", "entityId": key, "action": "update", "data": { "title": "b" }, "tx": tx(&changed, "title".into(), made.into()) },
                { "entityType": "note", "entityId": key, "action": "delete", "tx": tx(&id(), Value::Null, expected.into()) },
            ]);
            let body = json!({ "atomic": true, "mutations": edits });
            let answer = send(&stage, "POST", &stage.alice, "/v1/orgs/acme/mutations", &body).await;
            let gone = stage.get(&format!("/v1/orgs/acme/entities/note/{key}")).await.status == 404;
            assert_eq!(gone, deletes_by != "neither", "{deletes_by}: {}", answer.text());
        }
    })
    .await;
}

#[tokio::test]
async fn batches_are_bounded_and_strict_mut_07() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, Setup { serve: Some(unlimited), ..Setup::default() }).await;
        let edit = |number: usize| {
            let tx = tx(&id(), Value::Null, Value::Null);
            json!({ "entityType": "note", "entityId": number.to_string(), "action": "create", "data": {}, "tx": tx })
        };
        let many = |count: usize| (0..count).map(edit).collect::<Vec<Value>>();
        let mut sql_id = edit(1);
        sql_id["tx"]["transactionId"] = "1769860800123.0000.sql-7".into();
        let mut sql_source = edit(1);
        sql_source["tx"]["sourceId"] = "sql".into();
        let mut forgotten = edit(1);
        forgotten.as_object_mut().expect("an object").remove("entityType");
        for (body, status) in [
            (json!({ "mutations": many(101) }), 400),
            (json!({ "mutations": [] }), 400),
            (json!({ "mutations": many(1), "atomic": "yes" }), 400),
            (json!({ "mutations": many(1), "more": 1 }), 400),
            (json!({ "mutations": [sql_id] }), 400),
            (json!({ "mutations": [sql_source] }), 400),
            (json!({ "mutations": [forgotten] }), 400),
            (json!({ "mutations": many(100) }), 200),
        ] {
            let answer = send(&stage, "POST", &stage.alice, "/v1/orgs/acme/mutations", &body).await;
            assert_eq!(answer.status, status, "{}", answer.text());
        }
        let raw = r#"{"mutations":[{"entityType":"note","entityId":"x","action":"create","data":{"doc":1.234567890123456789},
            "tx":{"transactionId":"1769860800123.0000.a","sourceId":"s"}}]}"#;
        let headers = [("content-type", "application/json")];
        let url = stage.url("/v1/orgs/acme/mutations");
        let lost = antiphon_testkit::request("POST", &url, Some(&stage.alice), &headers, raw.as_bytes()).await;
        assert_eq!(refused(&lost.expect("an answer")), (400, "BODY_INVALID".into()), "no digit is lost in silence");
        // The same id twice in an atomic batch cannot be told apart.
        let mut twice = many(2);
        twice[1]["tx"]["transactionId"] = twice[0]["tx"]["transactionId"].clone();
        let body = json!({ "atomic": true, "mutations": twice });
        let answer = send(&stage, "POST", &stage.alice, "/v1/orgs/acme/mutations", &body).await;
        assert_eq!(json(&answer)["results"][1]["problem"]["code"], "IDEMPOTENCY_MISMATCH", "{}", answer.text());
        // What is of no declared type is refused edit by edit.
        let mut unknown = edit(200);
        unknown["entityType"] = "nothing".into();
        let body = json!({ "mutations": [unknown, edit(201)] });
        let results = json(&send(&stage, "POST", &stage.alice, "/v1/orgs/acme/mutations", &body).await)["results"].clone();
        assert_eq!((&results[0]["problem"]["code"], &results[1]["status"]), (&json!("ENTITY_TYPE_UNKNOWN"), &json!("applied")));
    })
    .await;
}

#[tokio::test]
async fn an_edit_made_offline_weeks_ago_is_applied_once_mut_06_sy_30() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let long_ago = id_at(-20 * 24 * 3_600_000);
        for status in [201, 200, 200] {
            let answer = create(&stage, &long_ago, "1", json!({ "title": "a" })).await;
            assert_eq!(answer.status, status, "{}", answer.text());
        }
        // The first answer's transaction is named again, so that lists that see it confirm the edit.
        let edit = id();
        let first = patch(&stage, &edit, "1", ("title", "b".into()), long_ago.clone().into()).await;
        let again = patch(&stage, &edit, "1", ("title", "b".into()), long_ago.into()).await;
        assert_eq!(json(&first)["commit"], json(&again)["commit"]);
    })
    .await;
}
