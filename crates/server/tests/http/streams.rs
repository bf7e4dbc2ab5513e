//! The stream in its three forms.

use antiphon_testkit::{for_each_postgres, get, request};

use crate::stage::{SOON, Stage, next};

#[tokio::test]
async fn a_stream_goes_on_after_its_last_id_without_gap_or_double_str_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.run("insert into notes (id, org) values ('1', 'acme'), ('2', 'acme')").await;
        let mut stream = stage.stream("offset=-1", None).await;
        let (first, change) = next(&mut stream, "change").await;
        assert_eq!((change["entityId"].as_str(), change["commit"]["last"].as_bool()), (Some("1"), Some(false)));
        drop(stream);
        stage.run("insert into notes (id, org) values ('3', 'acme')").await;
        let mut stream = stage.stream("offset=-1", first.as_deref()).await;
        for id in ["2", "3"] {
            assert_eq!(next(&mut stream, "change").await.1["entityId"], id);
        }
        let header = stream.headers().iter().find(|(name, _)| name.eq_ignore_ascii_case("x-accel-buffering"));
        assert_eq!(header.map(|(_, value)| value.as_str()), Some("no"));
        let url = stage.url("/v1/orgs/acme/live?live=sse");
        let end = get(&url, Some(&stage.alice), &[("Last-Event-ID", "end")]).await.expect("an answer");
        assert_eq!(end.status, 204);
    })
    .await;
}

#[tokio::test]
async fn moves_keys_and_truncates_reach_each_organisation_as_its_own_sy_16_pg_62_pg_67() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=now", None).await;
        next(&mut stream, "offset").await;
        stage.run("insert into notes (id, org) values ('1', 'acme')").await;
        stage.run("update notes set id = '2' where id = '1'").await;
        stage.run("update notes set org = 'globex' where id = '2'").await;
        stage.run("update notes set org = 'acme' where id = '2'").await;
        stage.run("truncate notes").await;
        let mut seen = Vec::new();
        for _ in 0..6 {
            let (_, change) = next(&mut stream, "change").await;
            seen.push(format!(
                "{} {}",
                change["action"].as_str().unwrap_or("?"),
                change["entityId"].as_str().unwrap_or("-")
            ));
        }
        assert_eq!(seen, ["create 1", "delete 1", "create 2", "delete 2", "create 2", "truncate -"]);
        let theirs =
            get(&stage.url("/v1/orgs/globex/live?offset=-1"), Some(&stage.carol), &[]).await.expect("an answer");
        let theirs = theirs.json().expect("JSON");
        let actions: Vec<_> =
            theirs["activities"].as_array().expect("activities").iter().map(|a| a["action"].clone()).collect();
        assert_eq!(actions, ["create", "delete", "truncate"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_for_a_reader_moves_its_offset_all_the_same() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=now", None).await;
        let (_, start) = next(&mut stream, "offset").await;
        assert!(start["asOf"].is_string() || start["asOf"].is_null());
        stage.run("insert into notes (id, org) values ('1', 'globex')").await;
        let (id, offset) = next(&mut stream, "offset").await;
        assert!(offset["offset"].as_u64() > start["offset"].as_u64(), "{offset}");
        assert_eq!(id, Some(offset["offset"].to_string()));
        assert_eq!((offset["epoch"].as_u64(), offset["access"].is_string()), (Some(1), true));
    })
    .await;
}

#[tokio::test]
async fn a_long_poll_answers_as_soon_as_there_is_something_and_a_page_at_once() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let page = stage.json("/v1/orgs/acme/live?offset=-1").await;
        assert_eq!((page["activities"].as_array().map(Vec::len), &page["upToDate"]), (Some(0), &true.into()));
        let path = format!("/v1/orgs/acme/live?live=poll&timeout=30&offset={}", page["offset"]);
        let (poll, ()) = tokio::join!(stage.get(&path), stage.run("insert into notes (id, org) values ('1', 'acme')"));
        let answer = poll.json().expect("JSON");
        assert_eq!(answer["activities"][0]["entityId"], "1");
        assert_eq!(poll.header("stream-next-offset"), Some(answer["offset"].to_string().as_str()));
        let empty = stage.json(&format!("/v1/orgs/acme/live?live=poll&timeout=1&offset={}", answer["offset"])).await;
        assert_eq!(empty["activities"].as_array().map(Vec::len), Some(0));
    })
    .await;
}

#[tokio::test]
async fn a_pause_holds_and_loses_nothing_cap_51() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let pause = stage.url("/v1/admin/source/pause");
        assert_eq!(request("POST", &pause, Some(&stage.alice), &[], b"").await.expect("an answer").status, 403);
        assert_eq!(request("POST", &pause, Some(&stage.admin), &[], b"").await.expect("an answer").status, 202);
        stage.run("insert into notes (id, org) values ('1', 'acme')").await;
        let resume = stage.url("/v1/admin/source/resume");
        assert_eq!(request("POST", &resume, Some(&stage.admin), &[], b"").await.expect("an answer").status, 202);
        let mut stream = stage.stream("offset=-1", None).await;
        assert_eq!(next(&mut stream, "change").await.1["entityId"], "1");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_stops_tells_its_readers_when_to_come_back_str_06() {
    for_each_postgres(|pg| async move {
        let mut stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=now", None).await;
        next(&mut stream, "offset").await;
        let (notice, ()) = tokio::join!(next(&mut stream, "notice"), stage.stop());
        assert_eq!(
            (notice.1["reason"].as_str(), notice.1["code"].as_str()),
            (Some("shutdown"), Some("disconnect_notice"))
        );
        assert!(notice.1["retryAfterMs"].as_u64().is_some());
        assert!(stream.next(SOON).await.expect("the end").is_none());
    })
    .await;
}
