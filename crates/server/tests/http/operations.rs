//! What every answer carries, what methods are refused, the schema and its tag.

use antiphon_testkit::{for_each_postgres, get, request};

use crate::stage::Stage;

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own_and_none_about_rows_may_be_stored_api_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut ids = std::collections::BTreeSet::new();
        for path in ["/healthz", "/nowhere", "/v1/orgs/acme/entities/note", "/v1/orgs/globex/entities/note"] {
            let answer = stage.get(path).await;
            ids.insert(answer.header("antiphon-request-id").expect("a request id").to_owned());
            if path.starts_with("/v1") && answer.status == 200 {
                assert_eq!(answer.header("cache-control"), Some("private, no-store"), "{path}");
                assert!(answer.header("antiphon-schema").is_some(), "{path}");
            }
        }
        assert_eq!(ids.len(), 4, "{ids:?}");
    })
    .await;
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_are_allowed_api_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let answer = request("PUT", &stage.url("/healthz"), None, &[], b"").await.expect("an answer");
        assert_eq!(answer.status, 405, "{}", answer.text());
        assert!(answer.header("allow").is_some_and(|methods| methods.contains("GET")));
    })
    .await;
}

#[tokio::test]
async fn the_schema_answers_304_while_it_holds_api_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let url = stage.url("/v1/orgs/acme/schema");
        let first = get(&url, Some(&stage.alice), &[]).await.expect("an answer");
        let tag = first.header("etag").expect("a tag").to_owned();
        let again = get(&url, Some(&stage.alice), &[("if-none-match", &tag)]).await.expect("an answer");
        assert_eq!((again.status, again.text().len()), (304, 0));
    })
    .await;
}

#[tokio::test]
async fn operators_see_limits_and_open_streams_and_nobody_else_does_str_07() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=now", None).await;
        crate::stage::next(&mut stream, "offset").await;
        let connections = stage.until(&stage.admin, "/v1/admin/connections", |answer| {
            answer.json().expect("JSON")["items"][0]["bytesSent"].as_u64() > Some(0)
        });
        let connections = connections.await.json().expect("JSON");
        let one = &connections["items"][0];
        assert_eq!((&connections["total"], &one["transport"], &one["org"]), (&1.into(), &"sse".into(), &"acme".into()));
        assert_eq!((&one["subject"], &one["behind"]), (&"alice".into(), &0.into()));
        let limits = stage.ask_as(&stage.admin, "/v1/admin/limits").await.json().expect("JSON");
        assert_eq!((&limits["mutationsPerSecond"], &limits["websocket"]["subscriptions"]), (&100.into(), &32.into()));
        for transport in ["websocket", "sse", "poll"] {
            let bytes = (&limits[transport]["bytesPerSecond"], &limits[transport]["bytesBurst"]);
            assert_eq!(bytes, (&(1 << 20).into(), &(4 << 20).into()), "{transport}");
        }
        assert_eq!((&limits["refusedTokensPerSecond"], &limits["refusedTokensBurst"]), (&1.into(), &100.into()));
        for path in ["/v1/admin/connections", "/v1/admin/limits"] {
            assert_eq!(stage.get(path).await.status, 403, "{path}");
        }
        drop(stream);
        stage.until(&stage.admin, "/v1/admin/connections", |answer| answer.json().expect("JSON")["total"] == 0).await;
    })
    .await;
}
