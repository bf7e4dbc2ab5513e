//! Tokens over HTTP: those of an identity provider, scopes, and their end on every server (SEC-02, SE-28, STR-05).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use antiphon_model::Role;
use antiphon_server::admin::AuthConfig;
use antiphon_testkit::{Response, for_each_postgres, get, request, sse};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    stage::{SOON, Setup, Stage, next},
    transports::Socket,
};

const SECRET: &str = "a secret of at least thirty-two bytes";

/// A provider whose tokens say the places of their holder.
pub fn provider() -> Setup {
    let auth = AuthConfig {
        secret: Some(SECRET.into()),
        issuer: Some("https://id.example".into()),
        audience: Some("antiphon".into()),
        orgs_claim: Some("orgs".into()),
        ..AuthConfig::default()
    };
    Setup { auth, ..Setup::default() }
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

/// A token of the provider that is good for some seconds.
pub fn token(sub: &str, orgs: Value, seconds: u64) -> String {
    let claims = json!({
        "iss": "https://id.example", "aud": "antiphon", "sub": sub, "exp": now_seconds() + seconds, "orgs": orgs,
    });
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("a token")
}

fn code(answer: &Response) -> String {
    answer.json().expect("JSON")["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_providers_token_opens_what_its_claim_says_and_nothing_else_sec_02() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, provider()).await;
        stage.people.create_org("org-7", "seven", "Seven").await.expect("an organisation");
        stage.run("insert into notes (id, org, title) values ('1', 'acme', 'ours'), ('2', 'org-7', 'sevens')").await;
        let zoe = token("zoe", json!({"acme": "viewer", "seven": "member", "*": "owner"}), 600);
        for (org, status) in
            [("acme", 200), ("seven", 200), ("org-7", 200), ("globex", 403), ("nowhere", 403), ("*", 403), ("%2A", 403)]
        {
            for path in ["entities/note", "schema", "members", "live?offset=-1"] {
                let answer = stage.ask_as(&zoe, &format!("/v1/orgs/{org}/{path}")).await;
                assert_eq!(answer.status, status, "{org}/{path}: {}", answer.text());
            }
        }
        let schema = stage.ask_as(&zoe, "/v1/orgs/acme/schema").await.json().expect("JSON");
        assert_eq!(schema["types"]["note"]["can"]["create"], false, "a viewer");
        // Places in our tables count for our own tokens; a provider's token brings its own.
        let alice = token("alice", json!({}), 600);
        assert_eq!(stage.ask_as(&alice, "/v1/orgs/acme/schema").await.status, 403);
        assert_eq!(stage.get("/v1/orgs/acme/schema").await.status, 200);
        assert_eq!(code(&stage.ask_as(&zoe, "/v1/admin/source").await), "FORBIDDEN");
        let root = token("root", json!({}), 600);
        assert_eq!(stage.ask_as(&root, "/v1/admin/source").await.status, 200, "our tables say who administers");
        let forged = format!("{}x", &zoe[..zoe.len() - 1]);
        for bad in [token("zoe", json!({"acme": "viewer"}), 0), forged, "aaaa.bbbb.cccc".into()] {
            let answer = stage.ask_as(&bad, "/v1/orgs/acme/schema").await;
            assert_eq!((answer.status, code(&answer).as_str()), (401, "UNAUTHENTICATED"));
            assert!(!answer.text().contains(&bad[5..]), "the token is repeated");
        }
        let metrics = get(&stage.url("/metrics"), None, &[]).await.expect("metrics").text();
        for reason in ["expired", "signature", "form"] {
            let counted = format!("antiphon_auth_refusals_total{{reason=\"{reason}\"}}");
            assert!(metrics.contains(&counted), "{counted} is missing");
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_with_its_token_and_shows_nothing_after_it_sy_17() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, provider()).await;
        let zoe = token("zoe", json!({"acme": "viewer"}), 3);
        let ends = UNIX_EPOCH + Duration::from_secs(now_seconds() + 3);
        let mut stream = sse(&stage.url("/v1/orgs/acme/live?live=sse"), Some(&zoe), None).await.expect("a stream");
        let (_, notice) = next(&mut stream, "notice").await;
        assert_eq!(notice["reason"], "auth_expired", "{notice}");
        let late = SystemTime::now().duration_since(ends).unwrap_or_default();
        assert!(late < Duration::from_secs(2), "{late:?} after its end");
        assert!(stream.next(SOON).await.expect("the end").is_none());
        assert_eq!(stage.ask_as(&zoe, "/v1/orgs/acme/live").await.status, 401);
    })
    .await;
}

#[tokio::test]
async fn a_revocation_holds_on_every_server_within_two_seconds_str_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let (other, base) = stage.another().await;
        let people = &stage.people;
        let url = format!("{base}/v1/orgs/acme/live?live=sse");
        // What is taken away, and what readers at the other server are told.
        for (taken, reason) in [("role", "ACCESS_CHANGED"), ("place", "access_revoked"), ("token", "auth_expired")] {
            people.join("acme", "alice", Role::Owner).await.expect("a member");
            let token = people.create_token("alice", taken, None).await.expect("a token");
            stage.until(&token, "/v1/orgs/acme/schema", |answer| answer.status == 200).await;
            let deadline = Instant::now() + SOON;
            while get(&format!("{base}/v1/orgs/acme/schema"), Some(&token), &[]).await.expect("an answer").status != 200
            {
                assert!(Instant::now() < deadline, "the token is not known at the other server");
            }
            let mut stream = sse(&url, Some(&token), None).await.expect("a stream");
            next(&mut stream, "offset").await;
            match taken {
                "role" => people.join("acme", "alice", Role::Viewer).await.expect("another role"),
                "place" => people.leave("acme", "alice").await.expect("gone"),
                _ => {
                    let id = people.tokens(Some("alice")).await.expect("tokens");
                    let id = id.into_iter().find(|info| info.name == "token").expect("the token").id;
                    people.revoke_token(&id).await.expect("revoked");
                }
            }
            let since = Instant::now();
            loop {
                let event = stream.next(SOON).await.expect("an event").expect("a last word");
                if event.event != "offset" {
                    assert!(event.data.contains(reason), "{taken}: {}", event.data);
                    break;
                }
            }
            assert!(since.elapsed() < Duration::from_secs(2), "{taken}: {:?}", since.elapsed());
        }
        other.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_nobody_watches_does_nothing_more_for_a_token_that_ended_str_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let ask = |org: &str| json!({ "kind": "mutate", "org": org, "requestId": "r", "mutations": [] });
        let read_only =
            stage.people.create_scoped_token("alice", "reads", None, &["read".into()]).await.expect("a token");
        let mut reader = Socket::open(&stage, Some(&read_only)).await;
        let mut socket = Socket::open(&stage, Some(&stage.alice)).await;
        for (socket, code) in [(&mut reader, "SCOPE_MISSING"), (&mut socket, "BODY_INVALID")] {
            socket.say(json!({ "kind": "hello" })).await;
            assert_eq!(socket.next().await.expect("a frame").0, "welcome");
            socket.say(ask("acme")).await;
            let (_, answer) = socket.next().await.expect("an answer");
            assert_eq!(answer["code"], code, "{answer}");
        }
        for info in stage.people.tokens(Some("alice")).await.expect("tokens") {
            stage.people.revoke_token(&info.id).await.expect("revoked");
        }
        stage.until(&stage.alice, "/v1/orgs/acme/schema", |answer| answer.status == 401).await;
        socket.say(ask("acme")).await;
        let (_, answer) = socket.next().await.expect("an answer");
        assert_eq!(answer["code"], "UNAUTHENTICATED", "{answer}");
        assert_eq!(socket.close_code().await, Some(4401));
    })
    .await;
}

#[tokio::test]
async fn a_token_is_good_for_its_scopes_only_se_28() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.people.join("acme", "root", Role::Member).await.expect("a member");
        let routes = [("GET", "/v1/orgs/acme/entities/note", "read"), ("GET", "/v1/admin/source", "admin")];
        for scopes in [&["read"][..], &["write"], &["admin"], &["read", "admin"]] {
            let words: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            let token = stage.people.create_scoped_token("root", "test", None, &words).await.expect("a token");
            for (method, path, needed) in routes {
                let answer = request(method, &stage.url(path), Some(&token), &[], b"").await.expect("an answer");
                let allowed = scopes.contains(&needed) || needed == "read" && scopes.contains(&"write");
                match allowed {
                    true => assert_eq!(answer.status, 200, "{scopes:?} {path}"),
                    false => {
                        assert_eq!((answer.status, code(&answer).as_str()), (403, "SCOPE_MISSING"), "{scopes:?} {path}")
                    }
                }
            }
        }
        for wrong in [&["everything".to_owned()][..], &[]] {
            assert!(stage.people.create_scoped_token("root", "test", None, wrong).await.is_err());
        }
    })
    .await;
}
