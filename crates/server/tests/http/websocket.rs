//! What only a WebSocket has: hello, subscriptions, limits, close codes (protocol 4).

use antiphon_testkit::for_each_postgres;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::{stage::Stage, transports::Socket};

#[tokio::test]
async fn who_says_nothing_valid_is_closed_with_4401_sec_02() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        for first in [
            json!({ "kind": "ping" }),
            json!({ "kind": "hello" }),
            json!({ "kind": "hello", "token": "ant_0000" }),
            json!({ "kind": "subscribe", "id": "a", "org": "acme" }),
        ] {
            let mut socket = Socket::open(&stage, None).await;
            socket.say(first.clone()).await;
            assert_eq!(socket.close_code().await, Some(4401), "{first}");
        }
        let mut socket = Socket::open(&stage, None).await;
        socket.say(json!({ "kind": "hello", "token": stage.alice })).await;
        let (kind, welcome) = socket.next().await.expect("a welcome");
        assert_eq!(kind, "welcome");
        assert!(welcome["connectionId"].is_string() && welcome["serverTime"].is_string());
        assert_eq!(welcome["limits"]["messageBytes"], 65_536);
    })
    .await;
}

#[tokio::test]
async fn pages_of_other_origins_are_closed_with_4403_se_10() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        for origin in ["https://evil.example", "http://localhost.evil.example", "null"] {
            let mut socket = Socket::open_from(&stage, Some(&stage.alice), Some(origin)).await;
            assert_eq!(socket.close_code().await, Some(4403), "{origin}");
        }
        // Our own page, and pages of the machine that the server listens on.
        for origin in [stage.url("").as_str(), "http://localhost:5173"] {
            let mut socket = Socket::open_from(&stage, Some(&stage.alice), Some(origin)).await;
            socket.say(json!({ "kind": "hello" })).await;
            assert_eq!(socket.next().await.expect("a frame").0, "welcome", "{origin}");
        }
    })
    .await;
}

#[tokio::test]
async fn subscriptions_are_apart_and_each_ends_alone_str_08() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut socket = Socket::open(&stage, Some(&stage.alice)).await;
        socket.say(json!({ "kind": "hello" })).await;
        socket.say(json!({ "kind": "subscribe", "id": "all", "org": "acme", "offset": -1 })).await;
        socket.say(json!({ "kind": "subscribe", "id": "notes", "org": "acme", "entityTypes": ["note"] })).await;
        socket.say(json!({ "kind": "subscribe", "id": "all", "org": "acme" })).await;
        socket.say(json!({ "kind": "subscribe", "id": "theirs", "org": "globex" })).await;
        socket.say(json!({ "kind": "subscribe", "id": "none", "org": "acme", "entityTypes": ["nothing"] })).await;
        let (mut subscribed, mut errors) = (Vec::new(), Vec::new());
        while subscribed.len() + errors.len() < 5 {
            let (kind, body) = socket.next().await.expect("a frame");
            match kind.as_str() {
                "subscribed" => {
                    assert!(body["access"].is_string() && body["schema"]["note"].is_number(), "{body}");
                    subscribed.push(body["id"].clone());
                }
                "error" => errors.push((body["id"].clone(), body["code"].clone())),
                _ => {}
            }
        }
        assert_eq!(subscribed, ["all", "notes"]);
        assert_eq!(
            errors,
            [
                ("all".into(), "BODY_INVALID".into()),
                ("theirs".into(), "NOT_A_MEMBER".into()),
                ("none".into(), "ENTITY_TYPE_UNKNOWN".into())
            ]
        );
        stage.run("insert into notes (id, org) values ('1', 'acme')").await;
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let (kind, body) = socket.next().await.expect("a frame");
            if kind == "change" {
                assert_eq!(body["activity"]["entityId"], "1");
                seen.push(body["id"].as_str().expect("an id").to_owned());
            }
        }
        seen.sort();
        assert_eq!(seen, ["all", "notes"]);
        socket.say(json!({ "kind": "unsubscribe", "id": "all" })).await;
        socket.say(json!({ "kind": "ping" })).await;
        while socket.next().await.expect("a frame").0 != "pong" {}
        stage.run("insert into notes (id, org) values ('2', 'acme')").await;
        loop {
            let (kind, body) = socket.next().await.expect("a frame");
            if kind == "change" {
                assert_eq!((&body["id"], &body["activity"]["entityId"]), (&"notes".into(), &"2".into()));
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn bad_messages_are_explained_and_floods_are_dropped_and_told_str_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut socket = Socket::open(&stage, Some(&stage.alice)).await;
        socket.say(json!({ "kind": "hello" })).await;
        assert_eq!(socket.next().await.expect("a frame").0, "welcome");
        for bad in ["", "{", "[]", r#"{"kind":"x"}"#, r#"{"kind":"ping","more":1}"#, &"[".repeat(30_000)] {
            socket.raw(Message::text(bad)).await;
            let (kind, body) = socket.next().await.expect("a frame");
            assert_eq!((kind.as_str(), &body["code"]), ("error", &"BODY_INVALID".into()), "{bad}");
        }
        for _ in 0..100 {
            socket.say(json!({ "kind": "ping" })).await;
        }
        let (mut pongs, mut told) = (0, 0);
        while told == 0 || pongs < 30 {
            let (kind, body) = socket.next().await.expect("a frame");
            match kind.as_str() {
                "pong" => pongs += 1,
                "error" => {
                    assert_eq!(body["code"], "RATE_LIMITED");
                    told += 1;
                }
                _ => {}
            }
        }
        assert_eq!(told, 1);
        let mut large = Socket::open(&stage, Some(&stage.alice)).await;
        large.raw(Message::text("x".repeat(65_537))).await;
        assert_eq!(large.close_code().await, Some(1009));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_closes_with_1001_str_06() {
    for_each_postgres(|pg| async move {
        let mut stage = Stage::open(&pg).await;
        let mut socket = Socket::open(&stage, Some(&stage.alice)).await;
        socket.say(json!({ "kind": "hello" })).await;
        socket.say(json!({ "kind": "subscribe", "id": "a", "org": "acme" })).await;
        while socket.next().await.expect("a frame").0 != "offset" {}
        stage.stop().await;
        let (kind, notice) = socket.next().await.expect("a notice");
        assert_eq!((kind.as_str(), &notice["reason"]), ("notice", &"shutdown".into()));
        assert!(notice["retryAfterMs"].as_u64() >= Some(500));
        assert_eq!(socket.close_code().await, Some(1001));
    })
    .await;
}
