//! The right to read while it is used: it ends within seconds, also in the middle of a long catch-up (STR-05).

use std::time::Duration;

use antiphon_model::Role;
use antiphon_testkit::{Response, for_each_postgres, get};
use tokio::time::Instant;

use crate::stage::{SOON, Stage, next};

/// So many large rows that no socket's buffers hold them all.
const ROWS: u32 = 1_500;

#[tokio::test]
async fn a_reader_that_lost_its_place_is_cut_off_in_the_middle_of_its_catch_up_str_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let sql = format!("insert into notes (id, org, rank, body) select n::text, 'acme', n, repeat('x', 40000) from generate_series(1, {ROWS}) n");
        stage.run(&sql).await;
        stage.until(&stage.alice, "/v1/orgs/acme/live", |answer| answer.json().expect("JSON")["offset"].as_u64() >= Some(ROWS.into())).await;
        let mut stream = stage.stream("offset=-1", None).await;
        next(&mut stream, "change").await;
        stage.people.leave("acme", "alice").await.expect("gone");
        let gone = Instant::now();
        // The reader is slow: it takes one row at a time until the server must have looked again.
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        let mut changes = 1;
        loop {
            if gone.elapsed() < Duration::from_secs(5) {
                pace.tick().await;
            }
            let event = stream.next(SOON).await.expect("an event").expect("an open stream");
            match event.event.as_str() {
                "change" => changes += 1,
                "notice" => {
                    assert!(event.data.contains("access_revoked"), "{}", event.data);
                    break;
                }
                _ => {}
            }
        }
        assert!(changes < ROWS, "everything was delivered to somebody who may read nothing");
    })
    .await;
}

#[tokio::test]
async fn a_revoked_token_ends_its_stream_str_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=now", None).await;
        next(&mut stream, "offset").await;
        for token in stage.people.tokens(Some("alice")).await.expect("tokens") {
            stage.people.revoke_token(&token.id).await.expect("revoked");
        }
        let (_, notice) = next(&mut stream, "notice").await;
        assert_eq!((&notice["code"], &notice["reason"]), (&"disconnect_notice".into(), &"auth_expired".into()));
        assert!(stream.next(SOON).await.expect("the end").is_none());
        stage.until(&stage.alice, "/v1/orgs/acme/schema", |answer| answer.status == 401).await;
    })
    .await;
}

#[tokio::test]
async fn a_poll_that_waited_answers_nothing_to_somebody_who_lost_the_right_meanwhile_str_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.people.create_user("dave", "dave", false).await.expect("a user");
        stage.people.join("acme", "dave", Role::Viewer).await.expect("a member");
        stage.people.create_user("erin", "erin", false).await.expect("a user");
        stage.people.join("acme", "erin", Role::Viewer).await.expect("a member");
        let mut polls = Vec::new();
        for user in ["dave", "erin"] {
            let token = stage.people.create_token(user, "test", None).await.expect("a token");
            let url = stage.url("/v1/orgs/acme/live?live=poll&timeout=60");
            polls.push((
                token.clone(),
                antiphon_testkit::spawn("poll", async move { get(&url, Some(&token), &[]).await }),
            ));
        }
        let open = |answer: &Response| {
            let listed = answer.json().expect("JSON");
            listed["items"].as_array().expect("items").len() == 2
        };
        stage.until(&stage.admin, "/v1/admin/connections", open).await;
        stage.people.leave("acme", "dave").await.expect("gone");
        stage.people.join("acme", "erin", Role::Admin).await.expect("another role");
        stage.until(&polls[0].0, "/v1/orgs/acme/schema", |answer| answer.status == 403).await;
        stage.until(&polls[1].0, "/v1/orgs/acme/schema", |answer| answer.text().contains("\"create\":true")).await;
        stage.run("insert into notes (id, org) values ('1', 'acme')").await;
        let mut answers = Vec::new();
        for (_, poll) in polls {
            let answer = poll.await.expect("no panic").expect("an answer");
            answers.push((answer.status, answer.json().expect("JSON")["code"].as_str().map(str::to_owned)));
        }
        assert_eq!(answers, [(403, Some("NOT_A_MEMBER".to_owned())), (410, Some("ACCESS_CHANGED".to_owned()))]);
    })
    .await;
}
