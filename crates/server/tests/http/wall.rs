//! The wall between organisations: whoever is outside learns nothing, not even whether an organisation exists.

use antiphon_server::ROUTES;
use antiphon_testkit::{Response, for_each_postgres, request};

use crate::stage::Stage;

/// An answer's status, its headers but for the request id and the clock, and its body.
type Shown = (u16, Vec<(String, String)>, String);

fn shown(response: &Response) -> Shown {
    let mut headers = response.headers.clone();
    headers.retain(|(name, _)| name != "antiphon-request-id" && name != "date");
    (response.status, headers, response.text())
}

/// Fills a route's parameters in with what is there for a member of `globex`.
fn address(path: &str, org: &str) -> String {
    path.replace("{org}", org).replace("{type}", "note").replace("{id}", "1").replace("{field}", "title")
}

#[tokio::test]
async fn outsiders_cannot_tell_an_organisation_from_none_on_any_route_byte_for_byte_sec_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.run("insert into notes (id, org, title) values ('1', 'globex', 'theirs')").await;
        stage.until(&stage.carol, "/v1/orgs/globex/live?offset=-1", |answer| answer.text().contains("theirs")).await;
        let of_orgs: Vec<_> = ROUTES.iter().filter(|(_, path)| path.contains("{org}")).collect();
        assert!(of_orgs.len() >= 6, "{of_orgs:?}");
        for (method, path) in of_orgs {
            for query in ["", "?bogus=1", "?offset=-1", "?live=sse&offset=-1", "?limit=0", "?entityTypes=nothing"] {
                let mut answers = Vec::new();
                for org in ["globex", "nowhere", "%00", "a%2Fb", "GLOBEX", "%20"] {
                    let url = stage.url(&format!("{}{query}", address(path, org)));
                    let answer =
                        request(&method.to_uppercase(), &url, Some(&stage.alice), &[], b"").await.expect("an answer");
                    assert_eq!(answer.status, 403, "{method} {url}: {}", answer.text());
                    answers.push(shown(&answer));
                }
                assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{method} {path}{query}: {answers:#?}");
                // The same address answers who belongs there, so that this test can fail.
                let inside =
                    request(&method.to_uppercase(), &stage.url(&address(path, "globex")), Some(&stage.carol), &[], b"")
                        .await;
                // What writes wants a body, and a look-up an id, and they say so to whoever belongs there.
                let status = if *method == "get" && !path.ends_with("/activities") { 200 } else { 400 };
                assert_eq!(inside.expect("an answer").status, status, "{method} {path}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_valid_token_every_route_but_the_open_ones_answers_401_alike_sec_02() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let open = ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"];
        for (method, path) in ROUTES {
            let url = |org: &str| stage.url(&address(path, org));
            if open.contains(path) {
                assert_eq!(
                    request(&method.to_uppercase(), &url(""), None, &[], b"").await.expect("an answer").status,
                    200,
                    "{path}"
                );
                continue;
            }
            for headers in [
                &[][..],
                &[("authorization", "Bearer")],
                &[("authorization", "Bearer  ")],
                &[("authorization", "Basic YWxpY2U6eA==")],
                &[("authorization", "Bearer ant_0000")],
                &[("authorization", "Bearer \u{e9}")],
            ] {
                let mut answers = Vec::new();
                for org in ["acme", "nowhere"] {
                    let answer =
                        request(&method.to_uppercase(), &url(org), None, headers, b"").await.expect("an answer");
                    assert_eq!(answer.status, 401, "{path} with {headers:?}: {}", answer.text());
                    assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path}");
                    assert_eq!(answer.json().expect("JSON")["code"], "UNAUTHENTICATED");
                    answers.push(shown(&answer));
                }
                assert_eq!(answers[0], answers[1], "{path} with {headers:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_token_in_the_url_is_refused_and_never_repeated_sec_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        for name in ["token", "access_token"] {
            let url = stage.url(&format!("/v1/orgs/acme/live?live=sse&{name}={}", stage.alice));
            for token in [None, Some(stage.alice.as_str())] {
                let answer = request("GET", &url, token, &[], b"").await.expect("an answer");
                let body = answer.json().expect("JSON");
                assert_eq!((answer.status, body["code"].as_str()), (400, Some("TOKEN_IN_URL")), "{body}");
                assert!(!answer.text().contains(&stage.alice), "the token is repeated");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_member_reaches_an_organisation_by_its_slug_too_and_rows_of_others_are_not_found_sec_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.people.create_org("org-7", "seven", "Seven").await.expect("an organisation");
        stage.people.join("org-7", "alice", antiphon_model::Role::Viewer).await.expect("a member");
        stage.run("insert into notes (id, org) values ('mine', 'org-7'), ('slugged', 'seven'), ('1', 'globex')").await;
        for org in ["org-7", "seven"] {
            let list = stage.json(&format!("/v1/orgs/{org}/entities/note")).await;
            let ids: Vec<_> = list["items"].as_array().expect("items").iter().map(|item| &item["data"]["id"]).collect();
            assert_eq!(ids, ["mine"], "{org}");
        }
        let foreign = stage.get("/v1/orgs/acme/entities/note/1").await;
        let missing = stage.get("/v1/orgs/acme/entities/note/2").await;
        assert_eq!(foreign.status, 404);
        assert_eq!(shown(&foreign), shown(&missing));
        let foreign = stage.get("/v1/orgs/acme/entities/note/1/fields/title").await;
        let missing = stage.get("/v1/orgs/acme/entities/note/2/fields/title").await;
        assert_eq!((foreign.status, shown(&foreign)), (404, shown(&missing)));
    })
    .await;
}
