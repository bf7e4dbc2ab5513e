//! What browsers are told: which pages may call, and how answers are to be treated (SE-10, SE-32).

use antiphon_server::ROUTES;
use antiphon_testkit::{for_each_postgres, request};

use crate::stage::{Setup, Stage};

const OURS: &str = "https://app.example.com";

#[tokio::test]
async fn pages_of_listed_origins_may_call_every_route_and_no_others_se_32() {
    for_each_postgres(|pg| async move {
        let setup = Setup { allowed_origins: vec![OURS.into()], ..Setup::default() };
        let stage = Stage::open_with(&pg, setup).await;
        for (method, path) in ROUTES {
            let path = path.replace("{org}", "acme").replace("{type}", "note").replace("{id}", "1");
            let url = stage.url(&path.replace("{field}", "title"));
            let method = method.to_uppercase();
            for (origin, allowed) in [(OURS, true), ("https://evil.example", false), ("http://localhost:1", false)] {
                let asked = [("origin", origin), ("access-control-request-method", method.as_str())];
                let preflight = request("OPTIONS", &url, None, &asked, b"").await.expect("an answer");
                let answer = request(&method, &url, None, &[("origin", origin)], b"").await.expect("an answer");
                for answer in [&preflight, &answer] {
                    let named = answer.header("access-control-allow-origin");
                    assert_eq!(named, allowed.then_some(origin), "{method} {path} from {origin}");
                    assert_eq!(answer.header("access-control-allow-credentials"), None);
                    assert!(answer.header("vary").is_some_and(|vary| vary.to_lowercase().contains("origin")), "{path}");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn every_answer_is_framed_by_nobody_guessed_by_nobody_and_leaks_no_address_se_32() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut seen = 0;
        for (method, path) in ROUTES.iter().chain(&[("get", "/nothing/here"), ("put", "/v1/tickets")]) {
            let path = path.replace("{org}", "acme").replace("{type}", "note").replace("{id}", "1");
            for token in [None, Some(stage.alice.as_str())] {
                let url = stage.url(&path.replace("{field}", "title"));
                let answer = request(&method.to_uppercase(), &url, token, &[], b"").await.expect("an answer");
                for (name, value) in [
                    ("x-content-type-options", "nosniff"),
                    ("x-frame-options", "DENY"),
                    ("content-security-policy", "frame-ancestors 'none'"),
                    ("referrer-policy", "no-referrer"),
                ] {
                    assert_eq!(answer.header(name), Some(value), "{method} {path}: {}", answer.status);
                }
                seen += 1;
            }
        }
        assert!(seen > 20, "{seen}");
    })
    .await;
}
