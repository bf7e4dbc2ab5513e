//! Guesses at tokens: held to a rate by where they come from, and nobody else is turned away (SE-30).
//!
//! A guess beyond the rate is answered alike, whatever was guessed and wherever. An allowance grows back by one a second,
//! so what is asserted of a spent one is asserted of the first answer that is no 401.

use antiphon_server::admin::ServeOptions;
use antiphon_testkit::{Response, for_each_postgres, get, request};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

use crate::{
    auth::{provider, token},
    stage::{Setup, Stage},
    transports::Socket,
};

/// More guesses than any allowance, and fewer than a slow machine makes in the time of one.
const GUESSES_MAX: usize = 2_000;
const ALLOWANCE: usize = 100;
const FORWARDED: &str = "x-forwarded-for";
const HANDSHAKE: &[(&str, &str)] = &[
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// One way of showing something that nobody was given.
#[derive(Clone, Debug)]
struct Guess {
    method: &'static str,
    path: String,
    token: Option<String>,
    headers: Vec<(&'static str, &'static str)>,
}

impl Guess {
    fn get(path: &str, token: &str) -> Guess {
        Guess { method: "GET", path: path.into(), token: Some(token.into()), headers: Vec::new() }
    }

    fn ticket(path: &str, headers: &[(&'static str, &'static str)]) -> Guess {
        let path = format!("{path}ticket=tkt_{}", "0".repeat(64));
        Guess { method: "GET", path, token: None, headers: headers.to_vec() }
    }

    fn forwarded(mut self, addresses: &'static str) -> Guess {
        self.headers.push((FORWARDED, addresses));
        self
    }

    async fn make(&self, stage: &Stage) -> Response {
        let url = stage.url(&self.path);
        request(self.method, &url, self.token.as_deref(), &self.headers, b"").await.expect("an answer")
    }

    /// Guesses until the answer is another one than 401; returns it and how many came before it.
    async fn exhaust(&self, stage: &Stage) -> (usize, Response) {
        for before in 0..GUESSES_MAX {
            let answer = self.make(stage).await;
            if answer.status != 401 {
                return (before, answer);
            }
        }
        panic!("{self:?} was never refused");
    }
}

/// Tokens of every wrong kind: unknown, malformed, with another algorithm, badly signed.
fn wrong_tokens() -> Vec<String> {
    let signed = token("zoe", json!({ "acme": "viewer" }), 600);
    let claims = json!({ "iss": "https://id.example", "aud": "antiphon", "sub": "zoe", "exp": 4_000_000_000_u64 });
    let key = EncodingKey::from_secret(&[7; 64]);
    let other = encode(&Header::new(Algorithm::HS512), &claims, &key).expect("a token");
    let forged = encode(&Header::default(), &claims, &key).expect("a token");
    let cut = format!("{}.", signed.rsplit_once('.').expect("a signature").0);
    vec![format!("ant_{}", "0".repeat(64)), "ant_short".into(), "x".into(), "a.b.c".into(), other, forged, cut]
}

/// Every place where something may be shown that nobody was given.
fn guesses() -> Vec<Guess> {
    let mut all: Vec<Guess> = wrong_tokens().iter().map(|token| Guess::get("/v1/orgs/acme/schema", token)).collect();
    let wrong = wrong_tokens().remove(0);
    for path in ["/v1/orgs/nowhere/members", "/v1/orgs/acme/live?live=sse", "/v1/orgs/acme/live?live=poll"] {
        all.push(Guess::get(path, &wrong));
    }
    all.push(Guess::get("/v1/admin/source", &wrong));
    all.push(Guess { method: "POST", ..Guess::get("/v1/orgs/acme/mutations", &wrong) });
    all.push(Guess { method: "POST", ..Guess::get("/v1/tickets", &wrong) });
    all.push(Guess { headers: HANDSHAKE.to_vec(), ..Guess::get("/v1/ws", &wrong) });
    all.push(Guess::ticket("/v1/orgs/acme/live?live=sse&", &[]));
    all.push(Guess::ticket("/v1/orgs/acme/live?", &[("last-event-id", "7")]));
    all.push(Guess::ticket("/v1/ws?", HANDSHAKE));
    all
}

/// An answer without what differs by request.
fn alike(answer: &Response) -> (u16, Vec<(String, String)>, String) {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| !matches!(name.as_str(), "antiphon-request-id" | "date"));
    (answer.status, headers, answer.text())
}

/// Asks from another address of this machine and returns the status.
async fn from_elsewhere(stage: &Stage, token: &str) -> String {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 77], 0).into()).expect("another address of this machine");
    let url = stage.url("");
    let host = url.trim_start_matches("http://");
    let mut stream = socket.connect(host.parse().expect("an address")).await.expect("connected");
    let head = format!(
        "GET /v1/orgs/acme/schema HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn guesses_beyond_the_rate_are_answered_alike_and_nobody_else_is_turned_away_se_30() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, provider()).await;
        let ticket = request("POST", &stage.url("/v1/tickets"), Some(&stage.alice), &[], b"").await.expect("an answer");
        let ticket = ticket.json().expect("JSON")["ticket"].as_str().expect("a ticket").to_owned();
        let (before, refused) = guesses()[0].exhaust(&stage).await;
        assert!(before >= ALLOWANCE, "refused after {before} guesses");
        let body = refused.json().expect("JSON");
        assert_eq!((refused.status, body["code"].as_str()), (429, Some("RATE_LIMITED")), "{body}");
        assert_eq!(refused.header("retry-after"), Some("1"));
        for guess in guesses() {
            let (before, answer) = guess.exhaust(&stage).await;
            assert_eq!(alike(&answer), alike(&refused), "{guess:?}");
            assert!(before < ALLOWANCE, "{guess:?} has an allowance of its own: {before}");
            // Nobody believes what a stranger says of itself.
            let answer = guess.forwarded("203.0.113.9").exhaust(&stage).await.1;
            assert_eq!(alike(&answer), alike(&refused), "a forged header");
        }
        assert_eq!(from_elsewhere(&stage, "ant_short").await, "401", "another address has its own allowance");
        // Who has a good token is let in, from the same address, by every door.
        let zoe = token("zoe", json!({ "acme": "viewer" }), 600);
        for good in [&stage.alice, &zoe] {
            assert_eq!(stage.ask_as(good, "/v1/orgs/acme/schema").await.status, 200);
            let mut socket = Socket::open(&stage, Some(good)).await;
            socket.say(json!({ "kind": "hello" })).await;
            assert_eq!(socket.next().await.expect("a frame").0, "welcome");
        }
        let opened = get(&stage.url(&format!("/v1/orgs/acme/live?ticket={ticket}")), None, &[]).await;
        assert_eq!(opened.expect("an answer").status, 200, "a good ticket");
        // What was good once, or is good elsewhere, is no guess.
        let expired = token("zoe", json!({ "acme": "viewer" }), 0);
        let old = stage.people.create_token("alice", "old", Some(0)).await.expect("a token");
        for _ in 0..5 {
            for shown in [Some(expired.as_str()), Some(&old), None] {
                let answer = get(&stage.url("/v1/orgs/acme/schema"), shown, &[]).await.expect("an answer");
                assert_eq!(answer.status, 401, "{}", answer.text());
            }
        }
        let metrics = get(&stage.url("/metrics"), None, &[]).await.expect("metrics").text();
        let counted = metrics.lines().find_map(|line| line.strip_prefix("antiphon_auth_throttled_total "));
        assert!(counted.is_some_and(|count| count != "0"), "not counted");
    })
    .await;
}

#[tokio::test]
async fn guesses_inside_a_websocket_draw_from_the_same_allowance_se_30() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let guess = |kind: &'static str| {
            let stage = &stage;
            async move {
                let shown = (kind == "auth").then_some(stage.alice.as_str());
                let mut socket = Socket::open(stage, shown).await;
                if kind == "auth" {
                    socket.say(json!({ "kind": "hello" })).await;
                    assert_eq!(socket.next().await.expect("a frame").0, "welcome");
                }
                socket.say(json!({ "kind": kind, "token": "ant_guessed" })).await;
                let told = socket.next().await.expect("a reason").1;
                (told, socket.close_code().await.expect("a code"))
            }
        };
        let mut before = 0;
        let told = loop {
            match guess("hello").await {
                (error, 4401) => assert_eq!(error["code"], "UNAUTHENTICATED", "{error}"),
                (told, code) => break (told, code),
            }
            before += 1;
            assert!(before < GUESSES_MAX, "never refused");
        };
        assert!(before >= ALLOWANCE, "refused after {before} guesses");
        let refused = json!({
            "kind": "notice", "code": "disconnect_notice", "reason": "rate_limited", "retryAfterMs": 1_000,
        });
        assert_eq!(told, (refused.clone(), 4429));
        let renewed = loop {
            match guess("auth").await {
                (_, 4401) => {}
                other => break other,
            }
        };
        assert_eq!(renewed, (refused, 4429), "a renewal is a guess as well");
        let (before, answer) = Guess::get("/v1/orgs/acme/schema", "ant_guessed").exhaust(&stage).await;
        assert!(answer.status == 429 && before < ALLOWANCE, "{} after {before}", answer.status);
        let mut good = Socket::open(&stage, None).await;
        good.say(json!({ "kind": "hello", "token": stage.alice })).await;
        assert_eq!(good.next().await.expect("a frame").0, "welcome");
    })
    .await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_guesses_are_counted_by_what_it_says_and_by_nothing_before_it_se_30() {
    for_each_postgres(|pg| async move {
        let trusting = |options| ServeOptions { trusted_proxies: vec!["127.0.0.0/8".into()], ..options };
        let stage = Stage::open_with(&pg, Setup { serve: Some(trusting), ..Setup::default() }).await;
        let guess = || Guess::get("/v1/orgs/acme/schema", "ant_guessed");
        for (spent, others) in [
            ("203.0.113.1", &["203.0.113.2", "203.0.113.1, 203.0.113.3"][..]),
            ("2001:db8:0:1::1", &["2001:db8:0:2::1"]),
        ] {
            let (before, answer) = guess().forwarded(spent).exhaust(&stage).await;
            assert!(answer.status == 429 && before >= ALLOWANCE, "{} after {before}", answer.status);
            for other in others {
                assert_eq!(guess().forwarded(other).make(&stage).await.status, 401, "{other}");
            }
        }
        for same in ["198.51.100.1, 203.0.113.1", "203.0.113.1, 127.0.0.9", "2001:db8:0:1:ffff::2"] {
            let (before, answer) = guess().forwarded(same).exhaust(&stage).await;
            assert!(answer.status == 429 && before < ALLOWANCE, "{same}: {} after {before}", answer.status);
        }
        assert_eq!(guess().make(&stage).await.status, 401, "the proxy itself was not spent");
    })
    .await;
}
