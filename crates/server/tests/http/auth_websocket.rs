//! Tokens over a WebSocket that nothing watches: each word is said under a token that is still good (SE-28, SY-17).

use std::time::Duration;

use antiphon_testkit::for_each_postgres;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    auth::{provider, token},
    mutations::id,
    stage::{SOON, Stage},
    transports::Socket,
};

/// Says hello under a token and takes the welcome.
async fn greeted(stage: &Stage, token: &str) -> Socket {
    let mut socket = Socket::open(stage, Some(token)).await;
    socket.say(json!({ "kind": "hello" })).await;
    assert_eq!(socket.next().await.expect("a welcome").0, "welcome");
    socket
}

fn create(key: &str) -> Value {
    let tx = json!({ "transactionId": id(), "sourceId": "test" });
    let edit = json!({ "entityType": "note", "action": "create", "data": { "id": key, "title": key }, "tx": tx });
    json!({ "kind": "mutate", "org": "acme", "requestId": key, "mutations": [edit] })
}

/// Returns the next frame of a kind; others come for ever, so they are waited out by the clock.
async fn until(socket: &mut Socket, wanted: &str) -> Value {
    let deadline = Instant::now() + SOON;
    loop {
        assert!(Instant::now() < deadline, "no {wanted} came");
        let (kind, body) = socket.next().await.unwrap_or_else(|| panic!("closed without {wanted}"));
        if kind == wanted {
            return body;
        }
    }
}

#[tokio::test]
async fn a_revoked_token_does_nothing_more_over_a_connection_without_subscriptions_se_28() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut socket = greeted(&stage, &stage.alice).await;
        socket.say(create("early")).await;
        assert_eq!(socket.next().await.expect("an answer").1["results"][0]["status"], "applied");
        for word in [create("late"), json!({ "kind": "subscribe", "id": "a", "org": "acme", "offset": -1 })] {
            let token = stage.people.create_token("alice", "socket", None).await.expect("a token");
            let mut socket = greeted(&stage, &token).await;
            let known = stage.people.tokens(Some("alice")).await.expect("tokens").into_iter();
            let id = known.filter(|info| !info.revoked).find(|info| info.name == "socket").expect("the token").id;
            stage.people.revoke_token(&id).await.expect("revoked");
            stage.until(&token, "/v1/orgs/acme/schema", |answer| answer.status == 401).await;
            socket.say(word.clone()).await;
            let (kind, body) = socket.next().await.expect("an answer");
            assert_eq!((kind.as_str(), &body["code"]), ("error", &"UNAUTHENTICATED".into()), "{word}: {body}");
            assert_eq!(socket.close_code().await, Some(4401), "{word}");
        }
        let rows = stage.client.query_one("select count(*) from notes", &[]).await.expect("a count");
        assert_eq!(rows.get::<_, i64>(0), 1, "a revoked token has written");
    })
    .await;
}

#[tokio::test]
async fn a_token_that_ends_does_nothing_more_over_a_connection_without_subscriptions_sy_17() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, provider()).await;
        let mut socket = greeted(&stage, &token("zoe", json!({ "acme": "owner" }), 2)).await;
        let mut pace = tokio::time::interval(Duration::from_millis(200));
        let deadline = Instant::now() + SOON;
        loop {
            pace.tick().await;
            assert!(Instant::now() < deadline, "edits are taken after the token's end");
            socket.say(json!({ "kind": "mutate", "org": "acme", "requestId": "1", "mutations": [] })).await;
            let (_, body) = socket.next().await.expect("an answer");
            if body["code"] == "UNAUTHENTICATED" {
                break;
            }
        }
        assert_eq!(socket.close_code().await, Some(4401));
    })
    .await;
}

#[tokio::test]
async fn a_token_renewed_in_band_is_judged_by_what_it_says_str_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, provider()).await;
        for (orgs, kind, reason) in [
            (json!({ "acme": "owner" }), "welcome", None),
            (json!({ "acme": "viewer" }), "reset", Some("ACCESS_CHANGED")),
            (json!({}), "notice", Some("access_revoked")),
        ] {
            let mut socket = greeted(&stage, &token("zoe", json!({ "acme": "owner" }), 600)).await;
            socket.say(json!({ "kind": "subscribe", "id": "a", "org": "acme" })).await;
            until(&mut socket, "offset").await;
            socket.say(json!({ "kind": "auth", "token": token("zoe", orgs.clone(), 600) })).await;
            let told = until(&mut socket, kind).await;
            if let Some(reason) = reason {
                assert!(told.to_string().contains(reason), "{orgs}: {told}");
            }
        }
    })
    .await;
}
