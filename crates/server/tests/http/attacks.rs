//! Attacks on the data plane over HTTP: smuggled requests, bodies that are not what they seem, requests that are cheap to
//! send and dear to answer (SE-19, SE-20, SEC-01, SEC-05).
//!
//! Each is refused as bad input is, and somebody else reads on meanwhile.

use antiphon_testkit::{Response, for_each_postgres, get, request};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    mutations::id,
    stage::{SOON, Stage, next},
};

/// JSON, compressed.
const GZIP: &[u8] = &[
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0x56, 0x4a, 0x49, 0x2c, 0x49, 0x54, 0xb2, 0xaa, 0xae, 5, 0, 0x7f, 0xd1,
    0x9c, 0x4d, 0x0b, 0, 0, 0,
];

fn host(stage: &Stage) -> String {
    stage.url("").trim_start_matches("http://").to_owned()
}

/// Sends bytes on a connection of their own and returns all that comes back until it is closed.
async fn raw(stage: &Stage, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(host(stage)).await.expect("connected");
    // The server may answer and close before it has read everything.
    let written = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(SOON, socket.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "left open after {}: {written:?}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request that would write, were it taken for one.
fn inner(stage: &Stage) -> String {
    let body = json!({
        "data": { "id": "smuggled" },
        "tx": { "transactionId": id(), "sourceId": "test", "changedField": null, "expectedTransactionId": null },
    });
    let (body, host, token) = (body.to_string(), host(stage), &stage.alice);
    let length = body.len();
    format!(
        "POST /v1/orgs/acme/entities/note HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

async fn rows(stage: &Stage) -> i64 {
    stage.client.query_one("select count(*) from notes", &[]).await.expect("a count").get(0)
}

#[tokio::test]
async fn a_request_inside_another_ones_body_is_never_carried_out_se_20() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let (inner, host) = (inner(&stage), host(&stage));
        let first = format!("POST /v1/tickets HTTP/1.1\r\nhost: {host}\r\n");
        let length = inner.len();
        // Two that stand before and behind a proxy may differ in where each of these ends.
        for framing in [
            format!("transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n{inner}"),
            format!("content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
            format!("content-length: {length}\r\ncontent-length: 0\r\n\r\n{inner}"),
            format!("content-length: 0, {length}\r\n\r\n{inner}"),
            format!("content-length: +{length}\r\n\r\n{inner}"),
            format!("transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{inner}"),
            format!("transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"),
            format!("transfer-encoding : chunked\r\n\r\n0\r\n\r\n{inner}"),
            format!("x: 1\r\n transfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
            format!("transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{inner}"),
            format!("transfer-encoding: chunked\r\n\r\n-1\r\n{inner}"),
            format!("x: a\0b\r\n\r\n{inner}"),
        ] {
            let answer = raw(&stage, format!("{first}{framing}").as_bytes()).await;
            assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{framing}: {answer}");
            assert!(!answer.starts_with("HTTP/1.1 2"), "{framing}: {answer}");
            assert_eq!(rows(&stage).await, 0, "{framing}");
        }
        // The request itself is one, so that this test can fail.
        assert!(raw(&stage, inner.as_bytes()).await.starts_with("HTTP/1.1 201"));
        assert_eq!(rows(&stage).await, 1);
        let (alice, carol) = (&stage.alice, &stage.carol);
        for (one, other) in [(alice.as_str(), carol.as_str()), (alice, alice), ("ant_x", alice)] {
            let both = format!(
                "GET /v1/orgs/acme/schema HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {one}\r\n\
                 authorization: Bearer {other}\r\nconnection: close\r\n\r\n"
            );
            let answer = raw(&stage, both.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 401"), "two tokens: {answer}");
        }
    })
    .await;
}

fn code(answer: &Response) -> (u16, String) {
    (answer.status, answer.json().expect("JSON")["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn what_is_packed_is_not_unpacked_and_what_comes_from_a_stranger_is_not_kept_se_19_se_20() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let url = stage.url("/v1/orgs/acme/mutations");
        for coding in ["gzip", "br", "deflate", "gzip, gzip", "x-none"] {
            let headers = [("content-type", "application/json"), ("content-encoding", coding)];
            for body in [GZIP, b"{\"mutations\":[]}"] {
                let answer = request("POST", &url, Some(&stage.alice), &headers, body).await.expect("an answer");
                assert_eq!(code(&answer), (415, "BODY_INVALID".into()), "{coding}");
            }
        }
        // A stranger who sends much is answered as any stranger is, and not told how much would have been too much.
        for size in [1_000, 900_000] {
            let answer = request("POST", &url, Some("ant_x"), &[], &vec![b' '; size]).await.expect("an answer");
            assert_eq!(code(&answer), (401, "UNAUTHENTICATED".into()), "{size}");
        }
        // Names as long as an address may be are no organisation's.
        let org = "o".repeat(50_000);
        let ticket = format!("tkt_{}", "0".repeat(64));
        let stranger = get(&stage.url(&format!("/v1/orgs/{org}/live?ticket={ticket}")), None, &[]).await;
        assert_eq!(stranger.expect("an answer").status, 401);
        assert_eq!(stage.get(&format!("/v1/orgs/{org}/schema")).await.status, 403);
    })
    .await;
}

#[tokio::test]
async fn requests_that_repeat_themselves_ten_thousand_times_cost_what_one_costs_sec_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut bystander = stage.stream("offset=now", None).await;
        next(&mut bystander, "offset").await;
        let many = |part: &str| vec![part; 10_000].join(",");
        let pairs: String = (0..3_000).map(|n| format!("where[f{n}]=1&")).collect();
        for query in [
            format!("ids={}", many("1")),
            format!("order={}", many("rank")),
            "order=rank,-rank".into(),
            format!("{pairs}limit=1"),
            format!("after={}", "A".repeat(60_000)),
        ] {
            let answer = stage.get(&format!("/v1/orgs/acme/entities/note?{query}")).await;
            assert_eq!(code(&answer), (400, "PARAMETER_INVALID".into()), "{}", &query[..40]);
            assert!(answer.body.len() < 2_000, "what was refused is repeated: {} bytes", answer.body.len());
        }
        let xids: Vec<String> = (10..8_000).map(|xid| xid.to_string()).collect();
        for query in [
            format!("entityTypes={}&offset=-1", many("note")),
            format!("snapshot=10:8000:{}&offset=-1", xids.join(",")),
        ] {
            assert_eq!(stage.get(&format!("/v1/orgs/acme/live?{query}")).await.status, 200, "{}", &query[..40]);
        }
        let edit = json!({ "entityType": "note", "action": "create", "data": {}, "tx": {} });
        let batch = json!({ "mutations": vec![edit; 10_000] }).to_string();
        let headers = [("content-type", "application/json")];
        let url = stage.url("/v1/orgs/acme/mutations");
        let answer = request("POST", &url, Some(&stage.alice), &headers, batch.as_bytes()).await.expect("an answer");
        assert_eq!(answer.status, 400, "{}", answer.text());
        stage.run("insert into notes (id, org) values ('1', 'acme')").await;
        assert_eq!(next(&mut bystander, "change").await.1["entityId"], "1");
    })
    .await;
}

#[tokio::test]
async fn ids_that_look_alike_are_apart_and_no_id_breaks_out_of_its_frame_or_its_tenant_sec_01_sec_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let ids = [
            "caf\u{e9}",
            "cafe\u{301}",
            "\u{202e}txt",
            "a\u{200b}b",
            "ab",
            "\u{ff0e}\u{ff0e}/",
            "../globex",
            "..",
            "%2e%2e",
            "a\r\ndata: {}\r\n\r\n",
            "\u{2028}\u{2029}",
            "[\"a\",\"b\"]",
            "a,b",
            "1' or '1'='1",
            "deleted",
            " lead",
            "trail ",
            "\u{feff}bom",
            "K",
            "\u{212a}",
        ];
        let mut stream = stage.stream("offset=-1", None).await;
        for id in ids {
            let insert = "insert into notes (id, org, title) values ($1, 'acme', $1), ($2, 'globex', 'theirs')";
            stage.client.execute(insert, &[&id, &format!("{id}!")]).await.expect("inserted");
            let (_, change) = next(&mut stream, "change").await;
            assert_eq!((&change["entityId"], &change["data"]["title"]), (&json!(id), &json!(id)));
        }
        let encode = |id: &str| id.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        for id in ids {
            let listed =
                stage.json(&format!("/v1/orgs/acme/entities/note?ids={}", encode(&json!([id]).to_string()))).await;
            let items: Vec<&Value> = listed["items"].as_array().expect("items").iter().collect();
            assert_eq!(items.iter().map(|item| &item["data"]["id"]).collect::<Vec<_>>(), [id], "{listed}");
            // `deleted` is the address of a list.
            if id != "deleted" {
                let one = stage.json(&format!("/v1/orgs/acme/entities/note/{}", encode(id))).await;
                assert_eq!(one["data"]["id"], id);
            }
            let theirs = stage.get(&format!("/v1/orgs/acme/entities/note/{}", encode(&format!("{id}!")))).await;
            assert_eq!(theirs.status, 404, "{id}: {}", theirs.text());
        }
    })
    .await;
}
