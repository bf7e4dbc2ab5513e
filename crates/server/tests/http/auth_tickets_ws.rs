//! Tickets over a WebSocket: each opens one, within its time, for its organisation, from allowed pages (SEC-03, SE-11).

use antiphon_model::Role;
use antiphon_testkit::{for_each_postgres, get, request};
use serde_json::{Value, json};

use crate::{mutations::id, stage::Stage, transports::Socket};

async fn ticket(stage: &Stage, body: &str) -> String {
    let url = stage.url("/v1/tickets");
    let answer = request("POST", &url, Some(&stage.alice), &[], body.as_bytes()).await.expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json().expect("JSON")["ticket"].as_str().expect("a ticket").to_owned()
}

async fn open(stage: &Stage, ticket: &str, origin: Option<&str>) -> Result<Socket, u16> {
    Socket::open_at(stage, &format!("/v1/ws?ticket={ticket}"), None, origin).await
}

async fn refused(stage: &Stage, ticket: &str) -> u16 {
    match open(stage, ticket, None).await {
        Ok(_) => 101,
        Err(status) => status,
    }
}

/// Says hello and takes the welcome.
async fn greet(socket: &mut Socket) {
    socket.say(json!({ "kind": "hello" })).await;
    assert_eq!(socket.next().await.expect("a frame").0, "welcome");
}

/// Returns the next frame that is no position.
async fn next(socket: &mut Socket) -> Value {
    loop {
        let (kind, body) = socket.next().await.expect("an open connection");
        if kind != "offset" {
            return body;
        }
    }
}

#[tokio::test]
async fn a_ticket_opens_one_websocket_and_no_second_stream_of_any_kind_sec_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let ticket = ticket(&stage, "").await;
        let mut socket = open(&stage, &ticket, None).await.expect("opened");
        greet(&mut socket).await;
        socket.say(json!({ "kind": "subscribe", "id": "s", "org": "acme", "offset": -1 })).await;
        stage.run("insert into notes (id, org) values ('1', 'acme')").await;
        loop {
            let (kind, body) = socket.next().await.expect("an open stream");
            if kind == "change" {
                assert_eq!(body["activity"]["entityId"], "1");
                break;
            }
        }
        assert_eq!(refused(&stage, &ticket).await, 401, "it was used");
        let live = get(&stage.url(&format!("/v1/orgs/acme/live?ticket={ticket}")), None, &[]).await;
        assert_eq!(live.expect("an answer").status, 401, "it was used for another kind of stream");
        drop(socket);
        assert_eq!(refused(&stage, &ticket).await, 401, "a WebSocket has no last id to resume by");
    })
    .await;
}

#[tokio::test]
async fn of_many_who_show_one_ticket_at_once_one_gets_in_se_11() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let ticket = ticket(&stage, "").await;
        let all = futures::future::join_all((0..12).map(|_| open(&stage, &ticket, None))).await;
        let refusals: Vec<u16> = all.iter().filter_map(|opened| opened.as_ref().err().copied()).collect();
        assert_eq!(refusals, [401; 11]);
    })
    .await;
}

#[tokio::test]
async fn a_ticket_is_void_after_its_time_and_with_its_token_se_11() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let late = ticket(&stage, "").await;
        let log = stage.db.connect_log().await;
        let sql = "update antiphon.tickets set open_before = now() - interval '1 second'";
        assert_eq!(log.execute(sql, &[]).await.expect("its time is over"), 1);
        assert_eq!(refused(&stage, &late).await, 401);
        let orphan = ticket(&stage, "").await;
        for info in stage.people.tokens(Some("alice")).await.expect("tokens") {
            stage.people.revoke_token(&info.id).await.expect("revoked");
        }
        assert_eq!(refused(&stage, &orphan).await, 401, "its token was revoked");
    })
    .await;
}

#[tokio::test]
async fn a_ticket_of_one_organisation_reads_and_writes_no_other_over_a_websocket_sec_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.people.join("globex", "alice", Role::Owner).await.expect("a member of both");
        let ticket = ticket(&stage, r#"{"org": "acme"}"#).await;
        let mut socket = open(&stage, &ticket, None).await.expect("opened");
        greet(&mut socket).await;
        // Who has no subscription and no place is closed at once, so one of its own comes first.
        socket.say(json!({ "kind": "subscribe", "id": "ours", "org": "acme" })).await;
        assert_eq!(socket.next().await.expect("a frame").0, "subscribed");
        socket.say(json!({ "kind": "subscribe", "id": "theirs", "org": "globex", "offset": -1 })).await;
        let error = next(&mut socket).await;
        assert_eq!((&error["kind"], &error["code"]), (&"error".into(), &"NOT_A_MEMBER".into()), "{error}");
        let tx = json!({ "transactionId": id(), "sourceId": "test" });
        let edit = json!({ "entityType": "note", "action": "create", "data": { "id": "1" }, "tx": tx });
        socket.say(json!({ "kind": "mutate", "org": "globex", "requestId": "r", "mutations": [edit] })).await;
        let answer = next(&mut socket).await;
        assert!(answer.to_string().contains("NOT_A_MEMBER"), "{answer}");
        let rows = stage.client.query_one("select count(*) from notes", &[]).await.expect("a count");
        assert_eq!(rows.get::<_, i64>(0), 0, "something was written");
    })
    .await;
}

#[tokio::test]
async fn a_foreign_page_is_turned_away_before_its_ticket_is_used_se_10() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let ticket = ticket(&stage, "").await;
        let mut foreign = open(&stage, &ticket, Some("https://evil.example")).await.expect("a handshake");
        assert_eq!(foreign.close_code().await, Some(4403));
        let mut own = open(&stage, &ticket, Some(&stage.url(""))).await.expect("opened");
        greet(&mut own).await;
        for bad in ["", "tkt_", "tkt_%00", &"a".repeat(5_000), stage.alice.as_str()] {
            let status = refused(&stage, bad).await;
            assert!(matches!(status, 400 | 401), "{bad}: {status}");
        }
    })
    .await;
}
