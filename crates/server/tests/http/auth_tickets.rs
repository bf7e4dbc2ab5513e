//! Tickets: one stream each, on any server, and nothing else (protocol 1, SE-11, SEC-03).

use antiphon_testkit::{Response, for_each_postgres, get, request, sse};

use crate::stage::{Stage, next};

async fn ask(stage: &Stage, token: Option<&str>, body: &str) -> Response {
    request("POST", &stage.url("/v1/tickets"), token, &[], body.as_bytes()).await.expect("an answer")
}

async fn ticket(stage: &Stage, body: &str) -> String {
    let answer = ask(stage, Some(&stage.alice), body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("private, no-store"));
    let body = answer.json().expect("JSON");
    assert!(body["expiresAt"].as_str().is_some_and(|at| at.ends_with('Z')), "{body}");
    body["ticket"].as_str().expect("a ticket").to_owned()
}

fn code(answer: &Response) -> (u16, String) {
    (answer.status, answer.json().expect("JSON")["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_ticket_opens_one_stream_on_any_server_and_resumes_it_until_the_token_ends_sec_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let (other, base) = stage.another().await;
        let ticket = ticket(&stage, "").await;
        let path = format!("/v1/orgs/acme/live?live=sse&ticket={ticket}");
        let mut stream = sse(&format!("{base}{path}"), None, None).await.expect("a stream");
        let (id, _) = next(&mut stream, "offset").await;
        // A second one finds it used, whichever server it asks, unless it resumes the first.
        for url in [stage.url(&path), format!("{base}{path}")] {
            let second = get(&url, None, &[]).await.expect("an answer");
            assert_eq!(code(&second), (401, "TICKET_INVALID".into()));
            let forged = get(&url, None, &[("last-event-id", "x")]).await.expect("an answer");
            assert_eq!(code(&forged), (401, "TICKET_INVALID".into()));
        }
        drop(stream);
        let mut again = sse(&stage.url(&path), None, id.as_deref()).await.expect("the stream goes on");
        next(&mut again, "offset").await;
        let foreign = stage.url(&path.replace("acme", "globex"));
        let foreign = get(&foreign, None, &[("last-event-id", "1")]).await.expect("an answer");
        assert_eq!(code(&foreign), (401, "TICKET_INVALID".into()), "it was opened for another stream");
        for info in stage.people.tokens(Some("alice")).await.expect("tokens") {
            stage.people.revoke_token(&info.id).await.expect("revoked");
        }
        let (_, notice) = next(&mut again, "notice").await;
        assert_eq!(notice["reason"], "auth_expired");
        let resumed = get(&stage.url(&path), None, &[("last-event-id", "1")]).await.expect("an answer");
        assert_eq!(code(&resumed), (401, "TICKET_INVALID".into()));
        other.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_ticket_opens_nothing_but_streams_and_a_token_is_no_ticket_se_11() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let fresh = ticket(&stage, "").await;
        for path in ["entities/note", "entities/note/1", "schema", "members"] {
            let url = stage.url(&format!("/v1/orgs/acme/{path}?ticket={fresh}"));
            let bare = get(&url, None, &[]).await.expect("an answer");
            assert_eq!(code(&bare), (401, "UNAUTHENTICATED".into()), "{path}");
            let with = get(&url, Some(&stage.alice), &[]).await.expect("an answer");
            assert_eq!(code(&with), (400, "PARAMETER_UNKNOWN".into()), "{path}");
        }
        let live = |ticket: &str| stage.url(&format!("/v1/orgs/acme/live?ticket={ticket}"));
        assert_eq!(stage.ask_as(&fresh, "/v1/orgs/acme/live").await.status, 401, "a ticket is no token");
        assert_eq!(ask(&stage, Some(&fresh), "").await.status, 401);
        let both = get(&live(&fresh), Some(&stage.alice), &[]).await.expect("an answer");
        assert_eq!(code(&both), (400, "PARAMETER_INVALID".into()));
        assert_eq!(get(&live(&fresh), None, &[]).await.expect("an answer").status, 200, "none of this has used it");
        for token in [&stage.alice, "aaaa.bbbb.cccc"] {
            let answer = get(&live(token), None, &[]).await.expect("an answer");
            assert_eq!(code(&answer), (400, "TOKEN_IN_URL".into()));
            assert!(!answer.text().contains(token), "the token is repeated");
        }
        for unknown in ["", "tkt_", "tkt_%00", &format!("tkt_{}", "0".repeat(64))] {
            let answer = get(&live(unknown), None, &[]).await.expect("an answer");
            assert_eq!(code(&answer), (401, "TICKET_INVALID".into()), "{unknown}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_ticket_is_for_whoever_may_read_and_for_the_organisation_it_names_sec_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        assert_eq!(code(&ask(&stage, None, "").await), (401, "UNAUTHENTICATED".into()));
        let alice = Some(stage.alice.as_str());
        for org in ["globex", "nowhere"] {
            let refused = ask(&stage, alice, &format!("{{\"org\": \"{org}\"}}")).await;
            assert_eq!(code(&refused), (403, "NOT_A_MEMBER".into()), "{org}");
        }
        for body in ["[]", "{\"orgs\": \"acme\"}", "{\"org\": 1}", "{"] {
            assert_eq!(code(&ask(&stage, alice, body).await), (400, "BODY_INVALID".into()), "{body}");
        }
        let long = format!("{{\"org\": \"{}\"}}", "a".repeat(5_000));
        assert_eq!(code(&ask(&stage, alice, &long).await), (413, "BODY_TOO_LARGE".into()));
        stage.people.join("globex", "alice", antiphon_model::Role::Viewer).await.expect("a member");
        let bound = ticket(&stage, "{\"org\": \"acme\"}").await;
        let elsewhere = get(&stage.url(&format!("/v1/orgs/globex/live?ticket={bound}")), None, &[]).await;
        assert_eq!(code(&elsewhere.expect("an answer")), (401, "TICKET_INVALID".into()));
        let here = get(&stage.url(&format!("/v1/orgs/acme/live?ticket={bound}")), None, &[]).await;
        assert_eq!(here.expect("an answer").status, 200);
        let foreign = ticket(&stage, "").await;
        let outside = get(&stage.url(&format!("/v1/orgs/nowhere/live?ticket={foreign}")), None, &[]).await;
        assert_eq!(code(&outside.expect("an answer")), (403, "NOT_A_MEMBER".into()));
    })
    .await;
}
