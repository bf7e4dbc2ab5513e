//! Tokens of an identity provider: what is accepted, and each way of not being so (SE-05, SE-06, SEC-02).

mod pairs;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use antiphon_model::Role;
use jsonwebtoken::{EncodingKey, crypto::sign};
use serde_json::json;

use super::*;
use crate::auth::AuthConfig;

const SECRET: &str = "a secret of at least thirty-two bytes";
const NOW: Micros = Micros(1_800_000_000_000_000);

fn config() -> AuthConfig {
    AuthConfig {
        secret: Some(SECRET.into()),
        issuer: Some("https://id.example".into()),
        audience: Some("antiphon".into()),
        orgs_claim: Some("orgs".into()),
        ..AuthConfig::default()
    }
}

async fn judge(config: AuthConfig) -> Judge {
    Judge::open(config.check().unwrap().unwrap(), Box::new(|| {})).await.unwrap()
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example", "aud": ["other", "antiphon"], "sub": "alice", "exp": 1_800_000_060,
        "orgs": {"acme": "owner", "globex": "boss", "*": "owner", "": "owner"},
    })
}

fn token(header: &str, body: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(body));
    let signature = sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn shared(header: &str, body: &str) -> String {
    token(header, body, &EncodingKey::from_secret(SECRET.as_bytes()), Algorithm::HS256)
}

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

#[tokio::test]
async fn a_good_token_says_who_until_when_and_where_sec_02() {
    let judge = judge(config()).await;
    let claims = judge.judge(&shared(HS256, &claims().to_string()), NOW).await.unwrap().unwrap();
    let places = BTreeMap::from([("acme".to_owned(), Role::Owner)]);
    let expected =
        Claims { subject: "alice".into(), expires_at: Micros(1_800_000_060_000_000), memberships: Some(places) };
    assert_eq!(claims, expected, "unknown roles and the names of everyone and nobody are no places");
}

#[tokio::test]
async fn every_other_claim_is_refused_for_its_reason_se_05() {
    let judge = judge(config()).await;
    for (name, value, refusal) in [
        ("exp", Value::Null, Refusal::Claims),
        ("exp", json!("1800000060"), Refusal::Claims),
        ("exp", json!(1e300), Refusal::Claims),
        ("exp", json!(-1), Refusal::Claims),
        ("exp", json!(1_800_000_000), Refusal::Expired),
        ("exp", json!(1_799_999_999.5), Refusal::Expired),
        ("nbf", json!(1_800_000_011), Refusal::NotYet),
        ("nbf", json!("soon"), Refusal::Claims),
        ("iss", json!("https://id.example/"), Refusal::Claims),
        ("iss", json!(["https://id.example"]), Refusal::Claims),
        ("iss", Value::Null, Refusal::Claims),
        ("aud", json!("antiphon-other"), Refusal::Claims),
        ("aud", json!([]), Refusal::Claims),
        ("aud", Value::Null, Refusal::Claims),
        ("sub", Value::Null, Refusal::Claims),
        ("sub", json!(""), Refusal::Claims),
        ("sub", json!(7), Refusal::Claims),
        ("sub", json!("a\u{0}b"), Refusal::Claims),
        ("sub", json!("a".repeat(201)), Refusal::Claims),
        ("orgs", json!(["acme"]), Refusal::Claims),
    ] {
        let mut body = claims();
        body[name] = value.clone();
        let judged = judge.judge(&shared(HS256, &body.to_string()), NOW).await.unwrap();
        assert_eq!(judged, Err(refusal), "{name} = {value}");
    }
    for missing in ["exp", "iss", "aud", "sub"] {
        let mut body = claims();
        body.as_object_mut().unwrap().remove(missing);
        let judged = judge.judge(&shared(HS256, &body.to_string()), NOW).await.unwrap();
        assert_eq!(judged, Err(Refusal::Claims), "without {missing}");
    }
    let mut ahead = claims();
    ahead["nbf"] = json!(1_800_000_009);
    assert!(judge.judge(&shared(HS256, &ahead.to_string()), NOW).await.unwrap().is_ok(), "clocks differ a little");
}

#[tokio::test]
async fn nothing_in_a_token_chooses_how_it_is_judged_se_05() {
    let judge = judge(config()).await;
    let body = claims().to_string();
    let good = shared(HS256, &body);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let twice = body.replacen('{', r#"{"sub":"mallory","#, 1);
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    for (token, refusal) in [
        (format!("{}.{}.", encoded(r#"{"alg":"none"}"#), encoded(&body)), Refusal::Algorithm),
        (format!("{}.{}.{signature}", encoded(r#"{"alg":"none"}"#), encoded(&body)), Refusal::Algorithm),
        (shared(r#"{"alg":"HS512"}"#, &body), Refusal::Algorithm),
        (shared(r#"{"alg":"RS256"}"#, &body), Refusal::Algorithm),
        (shared(r#"{"typ":"JWT"}"#, &body), Refusal::Algorithm),
        (shared(r#"{"alg":"none","alg":"HS256"}"#, &body), Refusal::Form),
        (shared(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, &body), Refusal::Form),
        (shared(r#"{"alg":"HS256","kid":7}"#, &body), Refusal::Key),
        (shared(HS256, &twice), Refusal::Form),
        (shared(HS256, "[]"), Refusal::Form),
        (format!("{message}."), Refusal::Signature),
        (format!("{message}.{}", encoded("x")), Refusal::Signature),
        (format!("{}.{}.{signature}", encoded(HS256), encoded(&body.replace("alice", "admin"))), Refusal::Signature),
        (format!("{good}{}", "A".repeat(8192)), Refusal::Form),
        (format!("{HS256}.{body}.{signature}"), Refusal::Form),
        ("..".into(), Refusal::Form),
    ] {
        assert_eq!(judge.judge(&token, NOW).await.unwrap(), Err(refusal), "{token}");
    }
    // Addresses of keys are not followed, names of a shared key say nothing.
    let header = r#"{"alg":"HS256","kid":"../../dev/null","jku":"https://evil.example","jwk":{"kty":"oct","k":""}}"#;
    assert!(judge.judge(&shared(header, &body), NOW).await.unwrap().is_ok());
}

#[tokio::test]
async fn each_algorithm_is_accepted_by_its_own_key_and_by_no_other_se_05() {
    let file = std::env::temp_dir().join(format!("antiphon-jwks-{}", uuid::Uuid::new_v4()));
    std::fs::write(&file, pairs::only(&["ec", "ed", "rsa"])).unwrap();
    let public = AuthConfig { secret: None, jwks: Some(file.display().to_string()), ..config() };
    let judge = judge(public).await;
    let body = claims().to_string();
    for (name, kid, algorithm, key) in pairs::all() {
        let header = format!(r#"{{"alg":"{name}","kid":"{kid}"}}"#);
        assert!(judge.judge(&token(&header, &body, &key, algorithm), NOW).await.unwrap().is_ok(), "{name}");
        let nameless = format!(r#"{{"alg":"{name}"}}"#);
        assert!(judge.judge(&token(&nameless, &body, &key, algorithm), NOW).await.unwrap().is_ok(), "{name} alone");
        for (other, ..) in pairs::all().into_iter().filter(|(other, ..)| *other != name) {
            let header = format!(r#"{{"alg":"{other}","kid":"{kid}"}}"#);
            let judged = judge.judge(&token(&header, &body, &key, algorithm), NOW).await.unwrap();
            assert_eq!(judged, Err(Refusal::Key), "a key of {name} for {other}");
        }
        // The public key, which everybody has, is no shared secret.
        let confused = shared(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), &body);
        assert_eq!(judge.judge(&confused, NOW).await.unwrap(), Err(Refusal::Algorithm));
        let unknown = format!(r#"{{"alg":"{name}","kid":"../{kid}"}}"#);
        assert_eq!(judge.judge(&token(&unknown, &body, &key, algorithm), NOW).await.unwrap(), Err(Refusal::Key));
    }
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn keys_are_rotated_with_overlap_and_made_up_ones_do_not_hammer_the_provider_se_06() {
    let served = Arc::new(AtomicUsize::new(0));
    let set = Arc::new(std::sync::Mutex::new(pairs::only(&["ed"])));
    let (count, shown) = (Arc::clone(&served), Arc::clone(&set));
    let answer = move || {
        count.fetch_add(1, Ordering::SeqCst);
        let body = shown.lock().unwrap().clone();
        async move { body }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().route("/keys", axum::routing::get(answer));
    let server = antiphon_engine::spawn("keys", async move { axum::serve(listener, router).await.unwrap() });
    let public = AuthConfig { secret: None, jwks: Some(format!("http://{address}/keys")), ..config() };
    let withdrawn = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&withdrawn);
    let pinned = public.check().unwrap().unwrap();
    let judge = Judge::open(
        pinned,
        Box::new(move || {
            told.fetch_add(1, Ordering::SeqCst);
        }),
    )
    .await
    .unwrap();
    let body = claims().to_string();
    let made = |wanted: &str| {
        let (name, kid, algorithm, key) = pairs::all().into_iter().find(|(_, kid, ..)| *kid == wanted).unwrap();
        token(&format!(r#"{{"alg":"{name}","kid":"{kid}"}}"#), &body, &key, algorithm)
    };
    assert!(judge.judge(&made("ed"), NOW).await.unwrap().is_ok());
    // A storm of names that nobody has: none of them makes us ask before the floor is over.
    let (_, _, algorithm, key) = pairs::all().remove(0);
    let storm = (0..200).map(|n| token(&format!(r#"{{"alg":"ES256","kid":"{n}"}}"#), &body, &key, algorithm));
    let storm: Vec<String> = storm.collect();
    let judged = futures::future::join_all(storm.iter().map(|token| judge.judge(token, NOW))).await;
    assert!(judged.iter().all(|one| *one.as_ref().unwrap() == Err(Refusal::Key)));
    assert_eq!(served.load(Ordering::SeqCst), 1);
    // The provider begins to sign with a new key and still shows the old one.
    *set.lock().unwrap() = pairs::only(&["ed", "ec"]);
    judge.provider().unwrap().let_the_floor_pass().await;
    let both = [made("ec"), made("ed")];
    let judged = futures::future::join_all(both.iter().map(|token| judge.judge(token, NOW))).await;
    assert!(judged.into_iter().all(|one| one.unwrap().is_ok()));
    assert_eq!((served.load(Ordering::SeqCst), withdrawn.load(Ordering::SeqCst)), (2, 0));
    // Nonsense, or no answer, changes nothing.
    *set.lock().unwrap() = "<html>".into();
    judge.provider().unwrap().let_the_floor_pass().await;
    assert_eq!(judge.judge(&storm[0], NOW).await.unwrap(), Err(Refusal::Key));
    assert!(judge.judge(&made("ed"), NOW).await.unwrap().is_ok());
    // It withdraws the old one.
    *set.lock().unwrap() = pairs::only(&["ec"]);
    judge.provider().unwrap().let_the_floor_pass().await;
    assert_eq!(judge.judge(&storm[0], NOW).await.unwrap(), Err(Refusal::Key));
    assert_eq!(judge.judge(&made("ed"), NOW).await.unwrap(), Err(Refusal::Key), "it was withdrawn");
    assert_eq!(withdrawn.load(Ordering::SeqCst), 1, "open streams are looked at again");
    server.abort();
}

#[tokio::test]
async fn without_keys_a_token_is_neither_accepted_nor_refused_sec_02() {
    let public = AuthConfig { secret: None, jwks: Some("http://127.0.0.1:1/keys".into()), ..config() };
    let judge = judge(public).await;
    let (name, kid, algorithm, key) = pairs::all().remove(0);
    let token = token(&format!(r#"{{"alg":"{name}","kid":"{kid}"}}"#), &claims().to_string(), &key, algorithm);
    assert_eq!(judge.judge(&token, NOW).await.unwrap_err().code(), Code::TryAgain);
    let missing = AuthConfig { secret: None, jwks: Some("/nowhere/keys.json".into()), ..config() };
    let opened = Judge::open(missing.check().unwrap().unwrap(), Box::new(|| {})).await;
    assert_eq!(opened.err().map(|fault| fault.code()), Some(Code::ConfigInvalid));
}
