//! Attacks on a WebSocket, frame by frame: what the protocol forbids, floods of what needs no reading, fragments without
//! end, and tickets shown for more than they are good for (STR-04, SEC-03, SE-11, SE-20).

use antiphon_testkit::{for_each_postgres, get, request};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    mutations::id,
    stage::{SOON, Stage, next},
    transports::Socket,
};

const MASK: [u8; 4] = [7, 11, 13, 17];
/// A last frame of a message, and one that others follow.
const LAST: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A client's frame: its first byte, and what it holds.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        long => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(long).expect("a frame of a test").to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A connection that speaks bytes, after its handshake.
async fn connect(stage: &Stage) -> TcpStream {
    let url = stage.url("");
    let host = url.trim_start_matches("http://");
    let mut socket = TcpStream::connect(host).await.expect("connected");
    let head = format!(
        "GET /v1/ws HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-extensions: permessage-deflate\r\n\
         authorization: Bearer {}\r\n\r\n",
        stage.alice
    );
    socket.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await.expect("the head"));
    }
    let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(!answer.contains("deflate"), "nothing is packed, so nothing is unpacked: {answer}");
    socket.write_all(&frame(LAST | TEXT, br#"{"kind":"hello"}"#)).await.expect("sent");
    socket
}

/// Reads frames until the server closes, and returns the code that it gives.
async fn closed(socket: &mut TcpStream) -> Option<u16> {
    loop {
        let first = socket.read_u8().await.ok()?;
        let length = match socket.read_u8().await.ok()? {
            126 => usize::from(socket.read_u16().await.ok()?),
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        socket.read_exact(&mut payload).await.ok()?;
        if first == 0x88 {
            return Some(u16::from_be_bytes([*payload.first()?, *payload.get(1)?]));
        }
    }
}

#[tokio::test]
async fn what_the_protocol_of_frames_forbids_ends_its_connection_and_no_other_sec_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut bystander = stage.stream("offset=now", None).await;
        next(&mut bystander, "offset").await;
        let ping = br#"{"kind":"ping"}"#;
        let mut unmasked = vec![LAST | TEXT, ping.len() as u8];
        unmasked.extend(ping);
        let mut endless = vec![LAST | TEXT, 0xff];
        endless.extend([0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        endless.extend(MASK);
        let mut piece = frame(TEXT, &[b'x'; 60_000]);
        piece.extend(frame(LAST, &[b'x'; 60_000]));
        for (what, bytes, code) in [
            ("an unmasked frame", unmasked, 1002),
            ("a packed frame", frame(LAST | 0x40 | TEXT, ping), 1002),
            ("an unknown kind of frame", frame(LAST | 3, ping), 1002),
            ("a fragment of nothing", frame(LAST, ping), 1002),
            ("a ping in fragments", frame(PING, b""), 1002),
            ("a ping that is too long", frame(LAST | PING, &[b'x'; 126]), 1002),
            ("a message inside another one", [frame(TEXT, b"{"), frame(LAST | TEXT, ping)].concat(), 1002),
            ("text that is none", frame(LAST | TEXT, b"\xff\xfe"), 1007),
            ("fragments that are too long together", piece, 1009),
            ("a length without end", endless, 1009),
        ] {
            let mut socket = connect(&stage).await;
            socket.write_all(&bytes).await.expect("sent");
            let found = timeout(SOON, closed(&mut socket)).await;
            assert_eq!(found, Ok(Some(code)), "{what}");
        }
        stage.run("insert into notes (id, org) values ('1', 'acme')").await;
        assert_eq!(next(&mut bystander, "change").await.1["entityId"], "1");
    })
    .await;
}

#[tokio::test]
async fn pings_pongs_and_binary_frames_are_held_to_the_rate_of_messages_str_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        for kind in [PING, PONG, BINARY] {
            let mut socket = connect(&stage).await;
            let (mut reader, mut writer) = socket.split();
            // Answers are read beside, so that nobody waits for a full socket.
            let reading = async {
                let mut all = Vec::new();
                while !all.windows(12).any(|part| part == b"rate_limited") {
                    assert!(reader.read_buf(&mut all).await.is_ok_and(|read| read > 0), "closed without a reason");
                }
            };
            let flooding = async { while writer.write_all(&frame(LAST | kind, b"x")).await.is_ok() {} };
            let told = timeout(SOON, async {
                tokio::select! {
                    () = reading => {}
                    () = flooding => panic!("closed without a reason"),
                }
            });
            assert!(told.await.is_ok(), "a flood of kind {kind} has no end");
        }
    })
    .await;
}

#[tokio::test]
async fn a_ticket_is_good_for_what_its_token_is_good_for_and_for_no_more_sec_03_se_11() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.people.join("globex", "alice", antiphon_model::Role::Owner).await.expect("a member of both");
        let narrow =
            stage.people.create_scoped_token("alice", "narrow", None, &["read".into()]).await.expect("a token");
        let issue = async |body: &str| {
            let answer = request("POST", &stage.url("/v1/tickets"), Some(&narrow), &[], body.as_bytes()).await;
            let body = answer.expect("an answer").json().expect("JSON");
            body["ticket"].as_str().expect("a ticket").to_owned()
        };
        // What may only be read is not written by way of a ticket.
        let ticket = issue("").await;
        let mut socket = Socket::open_at(&stage, &format!("/v1/ws?ticket={ticket}"), None, None).await.expect("opened");
        socket.say(json!({ "kind": "hello" })).await;
        assert_eq!(socket.next().await.expect("a frame").0, "welcome");
        let edit = json!({ "entityType": "note", "action": "create", "data": { "id": "1" },
            "tx": { "transactionId": id(), "sourceId": "test" } });
        socket.say(json!({ "kind": "mutate", "org": "acme", "requestId": "r", "mutations": [edit] })).await;
        let (_, answer) = socket.next().await.expect("a frame");
        assert_eq!(answer["code"], "SCOPE_MISSING", "{answer}");
        // It is nobody's token, in band either.
        socket.say(json!({ "kind": "auth", "token": ticket })).await;
        assert_eq!(socket.close_code().await, Some(4401));
        // Opened for one organisation, it resumes there alone, under whatever name, and for no WebSocket.
        let ticket = issue("").await;
        let live = async |org: &str, last: &str| {
            let url = stage.url(&format!("/v1/orgs/{org}/live?ticket={ticket}"));
            get(&url, None, &[("last-event-id", last)]).await.expect("an answer").status
        };
        assert_eq!(live("acme", "0").await, 200);
        assert_eq!(live("acme", "0").await, 200, "it resumes");
        for (org, last) in [("globex", "0"), ("GLOBEX", "0"), ("*", "0"), ("acme%00", "0"), ("acme", "x"), ("acme", "")]
        {
            assert_eq!(live(org, last).await, 401, "{org} {last:?}");
        }
        let again = Socket::open_at(&stage, &format!("/v1/ws?ticket={ticket}"), None, None).await;
        assert_eq!(again.err(), Some(401), "no stream of another kind");
        let rows = stage.client.query_one("select count(*) from notes", &[]).await.expect("a count");
        assert_eq!(rows.get::<_, i64>(0), 0, "something was written");
    })
    .await;
}
