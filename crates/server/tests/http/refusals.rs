//! Who is let in, and what is refused by name.

use antiphon_testkit::{for_each_postgres, get};

use crate::stage::Stage;

const OF_AN_ORGANISATION: &[&str] = &[
    "/live",
    "/live?live=sse",
    "/live?live=poll",
    "/live?offset=-1",
    "/schema",
    "/members",
    "/entities/note",
    "/entities/nothing",
    "/entities/note/1",
    "/entities/note/1/fields/title",
    "/entities/note?bogus=1",
    "/live?bogus=1",
];

#[tokio::test]
async fn a_foreign_and_an_unknown_organisation_answer_alike_on_every_route_sec_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.run("insert into notes (id, org, title) values ('1', 'globex', 'theirs')").await;
        for route in OF_AN_ORGANISATION {
            let foreign = stage.get(&format!("/v1/orgs/globex{route}")).await;
            let unknown = stage.get(&format!("/v1/orgs/nowhere{route}")).await;
            assert_eq!((foreign.status, unknown.status), (403, 403), "{route}");
            assert_eq!(foreign.text(), unknown.text(), "{route}");
            assert!(foreign.text().contains("NOT_A_MEMBER") && !foreign.text().contains("theirs"), "{route}");
        }
    })
    .await;
}

#[tokio::test]
async fn refusals_are_problems_with_a_code_a_hint_and_a_request_id() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        for (path, status, code) in [
            ("/v1/orgs/acme/entities/note?limit=0", 400, "PARAMETER_INVALID"),
            ("/v1/orgs/acme/entities/note?limt=1", 400, "PARAMETER_UNKNOWN"),
            ("/v1/orgs/acme/entities/note?limit=1&limit=2", 400, "PARAMETER_INVALID"),
            ("/v1/orgs/acme/entities/note?where[body]=x", 400, "PARAMETER_INVALID"),
            ("/v1/orgs/acme/entities/note?where[rank]=many", 400, "PARAMETER_INVALID"),
            ("/v1/orgs/acme/entities/note?after=forged", 400, "PARAMETER_INVALID"),
            ("/v1/orgs/acme/entities/note?where[secret]=hush", 400, "PARAMETER_INVALID"),
            ("/v1/orgs/acme/entities/nothing", 404, "ENTITY_TYPE_UNKNOWN"),
            ("/v1/orgs/acme/entities/note/nobody", 404, "NOT_FOUND"),
            ("/v1/orgs/acme/entities/note/1/fields/secret", 404, "NOT_FOUND"),
            ("/v1/orgs/acme/live?offset=yesterday", 400, "PARAMETER_INVALID"),
            ("/v1/orgs/acme/live?entityTypes=nothing", 404, "ENTITY_TYPE_UNKNOWN"),
            ("/v1/orgs/acme/live?token=ant_x", 400, "TOKEN_IN_URL"),
            ("/v1/nowhere", 404, "NOT_FOUND"),
            ("/v1/admin/source", 403, "FORBIDDEN"),
        ] {
            let response = stage.get(path).await;
            let body = response.json().expect("JSON");
            assert_eq!((response.status, body["code"].as_str()), (status, Some(code)), "{path}: {body}");
            assert_eq!(response.header("content-type"), Some("application/problem+json"), "{path}");
            assert!(response.header("antiphon-request-id").is_some(), "{path}");
            assert!(
                body["hint"].as_str().is_some_and(|hint| !hint.is_empty()) && body["status"] == status,
                "{path}: {body}"
            );
        }
        let anonymous = get(&stage.url("/v1/orgs/acme/schema"), None, &[]).await.expect("an answer");
        assert_eq!((anonymous.status, anonymous.header("www-authenticate")), (401, Some("Bearer")));
        assert_eq!(stage.ask_as("ant_bad", "/v1/orgs/acme/schema").await.status, 401);
        assert_eq!(stage.ask_as(&stage.admin, "/v1/admin/source").await.status, 200);
    })
    .await;
}
