//! Edges of the contract of reading: what no value can be, ids with commas, much that is left out, the state of parts.
//!
//! The stage is that of the other tests over HTTP.

#[allow(dead_code)]
#[path = "http/stage.rs"]
mod stage;

use antiphon_testkit::{Response, for_each_postgres, get, request};
use stage::{SOON, Stage, next};

/// Asks until an answer is as wanted, and returns it.
async fn until(stage: &Stage, token: &str, path: &str, wanted: &str) -> Response {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let response = stage.ask_as(token, path).await;
        if response.text().contains(wanted) {
            return response;
        }
        assert!(tokio::time::Instant::now() < deadline, "{path} stayed at {}", response.text());
    }
}

#[tokio::test]
async fn what_no_value_of_the_database_can_be_is_refused_or_not_found_and_never_a_failure() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        for (path, status, code) in [
            ("/v1/orgs/acme/entities/note/%ff", 400, "PARAMETER_INVALID"),
            ("/v1/orgs/acme/entities/note/%00", 404, "NOT_FOUND"),
            ("/v1/orgs/acme/entities/note/%00/fields/title", 404, "NOT_FOUND"),
            ("/v1/orgs/acme/entities/note?where[title]=%00", 400, "PARAMETER_INVALID"),
            ("/v1/orgs/acme/entities/note?ids=1,%00", 400, "PARAMETER_INVALID"),
            ("/v1/orgs/acme/entities/note?after=%00", 400, "PARAMETER_INVALID"),
            ("/v1/orgs/no%00where/entities/note", 403, "NOT_A_MEMBER"),
            ("/v1/orgs/acme/schema?ticket=x", 400, "PARAMETER_UNKNOWN"),
            ("/v1/orgs/acme/live?offset=9007199254740992", 400, "PARAMETER_INVALID"),
            ("/v1/orgs/acme/live?live=poll&timeout=61", 400, "PARAMETER_INVALID"),
        ] {
            let response = stage.get(path).await;
            let body = response.json().expect("JSON");
            assert_eq!((response.status, body["code"].as_str()), (status, Some(code)), "{path}: {body}");
            assert_eq!(response.header("content-type"), Some("application/problem+json"), "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn ids_may_hold_commas_and_brackets() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.run("insert into notes (id, org) values ('a,b', 'acme'), ('[c', 'acme'), ('d', 'acme')").await;
        for (asked, found) in [
            ("%5B%22a,b%22%5D,%5B%22%5Bc%22%5D", 2),
            ("%5B%22a%2Cb%22%5D%2C%5B%22d%22%5D", 2),
            ("%5Bc", 1),
            ("d,nobody", 1),
            ("a,b", 0),
        ] {
            let page = stage.json(&format!("/v1/orgs/acme/entities/note?ids={asked}")).await;
            assert_eq!(page["items"].as_array().map(Vec::len), Some(found), "{asked}: {page}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_poll_reads_on_past_much_that_is_left_out_str_02() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        // More than one answer reads on for, one at a time.
        for n in 0..60 {
            stage.run(&format!("insert into notes (id, org) values ('{n}', 'acme')")).await;
        }
        let list = stage.json("/v1/orgs/acme/entities/note").await;
        let snapshot = list["snapshot"].as_str().expect("a snapshot");
        stage.run("insert into notes (id, org) values ('new', 'acme')").await;
        until(&stage, &stage.alice, "/v1/orgs/acme/live?offset=-1", "\"new\"").await;
        // Nothing moves the head any more: what ends the wait is what lies behind.
        let path = format!("/v1/orgs/acme/live?live=poll&timeout=60&offset=-1&limit=1&snapshot={snapshot}");
        let answer = stage.json(&path).await;
        assert_eq!(answer["activities"][0]["entityId"], "new", "{answer}");
    })
    .await;
}

#[tokio::test]
async fn a_document_with_carriage_returns_reaches_a_stream_whole_sy_08() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=-1", None).await;
        stage.run("insert into notes (id, org, doc) values ('1', 'acme', E'{\"a\":\\r1,\\r\\n\"b\":2}')").await;
        let (_, change) = next(&mut stream, "change").await;
        assert_eq!(change["data"]["doc"], serde_json::json!({ "a": 1, "b": 2 }));
    })
    .await;
}

#[tokio::test]
async fn health_readiness_metrics_and_the_description_need_no_token() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        for (path, kind, holds) in [
            ("/healthz", "application/json", "ok"),
            ("/readyz", "application/json", "\"durable\""),
            ("/metrics", "text/plain", "antiphon_http_requests_total"),
            ("/openapi.json", "application/json", "/v1/orgs/{org}/live"),
            ("/docs", "text/html", "/v1/orgs/{org}/live"),
        ] {
            let answer = get(&stage.url(path), None, &[("Origin", "http://localhost:3000")]).await.expect("an answer");
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            assert!(answer.header("content-type").is_some_and(|found| found.starts_with(kind)), "{path}");
            assert!(answer.text().contains(holds), "{path}: {}", answer.text());
            assert_eq!(answer.header("access-control-allow-origin"), None, "only `dev` lets other origins in");
        }
        let page = get(&stage.url("/docs"), None, &[]).await.expect("an answer").text();
        assert!(!page.contains("src=\"http") && !page.contains("//cdn"), "the page needs nothing from elsewhere");
    })
    .await;
}

#[tokio::test]
async fn the_state_of_the_source_shows_how_far_its_slot_is_behind_cap_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let source = until(&stage, &stage.admin, "/v1/admin/source", "\"state\":\"streaming\"").await;
        let source = source.json().expect("JSON");
        let slot = &source["slot"];
        assert_eq!(
            (slot["name"].as_str(), slot["active"].as_bool()),
            (Some(&*stage.db.slot()), Some(true)),
            "{source}"
        );
        assert!(slot["lagBytes"].is_i64() && slot["retainedBytes"].is_i64(), "{source}");
        let pause = stage.url("/v1/admin/source/pause?for=ever");
        let refused = request("POST", &pause, Some(&stage.admin), &[], b"").await.expect("an answer");
        assert_eq!(refused.json().expect("JSON")["code"], "PARAMETER_UNKNOWN", "a pause takes no parameter");
    })
    .await;
}

#[tokio::test]
async fn what_needs_somebody_at_the_source_is_a_named_state_with_its_remedy_cap_14_pg_23() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let orphan = format!("{}_orphan", stage.db.slot());
        let made = "select pg_create_logical_replication_slot($1, 'pgoutput')::text";
        stage.db.connect().await.query_one(made, &[&orphan]).await.expect("a slot");
        let source = until(&stage, &stage.admin, "/v1/admin/source", &orphan).await.json().expect("JSON");
        let watch = &source["watch"];
        let concerns = watch["concerns"].as_array().expect("concerns");
        let told = concerns.iter().find(|concern| concern["subject"] == *orphan).expect("the orphan");
        assert_eq!((told["state"].as_str(), told["level"].as_str()), (Some("slot_orphaned"), Some("notice")));
        assert!(told["remedy"].as_str().expect("a remedy").ends_with(&format!("slots drop {orphan}")), "{told}");
        for table in watch["tables"].as_array().expect("tables") {
            assert!(table["published"] == true && table["identityReady"] == true, "{table}");
            assert!(table["schema"].is_u64() && table["problem"].is_null(), "{table}");
        }
        assert!(!watch["tables"].as_array().expect("tables").is_empty() && watch["publication"]["name"].is_string());
        let metrics = stage.ask_as(&stage.admin, "/metrics").await.text();
        assert!(metrics.contains("antiphon_source_concerns{concern=\"slot_orphaned\"}"), "{metrics}");
        // Without a token there are names of states and no particulars.
        let ready = stage.ask_as(&stage.admin, "/readyz").await;
        assert!(ready.json().expect("JSON")["needs"].is_array() && !ready.text().contains(&orphan));
    })
    .await;
}

#[tokio::test]
async fn the_schema_is_answered_to_the_caller_alone_and_304_while_it_holds() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let url = stage.url("/v1/orgs/acme/schema");
        let first = get(&url, Some(&stage.alice), &[]).await.expect("an answer");
        assert_eq!(first.header("cache-control"), Some("private, no-store"));
        let tag = first.header("etag").expect("an ETag").to_owned();
        for (sent, status) in
            [(format!("W/{tag}, \"other\""), 304), ("*".to_owned(), 304), ("\"other\"".to_owned(), 200)]
        {
            let again = get(&url, Some(&stage.alice), &[("If-None-Match", &sent)]).await.expect("an answer");
            assert_eq!((again.status, again.header("etag")), (status, Some(&*tag)), "{sent}");
        }
        assert!(tokio::time::timeout(SOON, stage.get("/v1/orgs/acme/members")).await.is_ok_and(|a| a.status == 200));
    })
    .await;
}
