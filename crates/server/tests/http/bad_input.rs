//! Bad input over every route: refused in one form, counted, nothing written, nobody else disturbed (SEC-05, SEC-04).
//!
//! The routes are the router's own list, so that a new one is asked the same. What is said of one route alone stands
//! with that route's tests; here stands what holds for all.

use antiphon_server::ROUTES;
use antiphon_testkit::{Response, for_each_postgres, request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::stage::{Stage, next};

/// What stands in a path where a name or an id is wanted.
const NAMES: &[&str] = &[
    "%00",
    "%ff%fe",
    "%c0%af",
    "%zz",
    "%",
    "%2e%2e%2f%2e%2e",
    "%27%3B%20drop%20table%20notes%3B--",
    "%22%5D%7D",
    "%E2%80%AE",
    "%F0%9F%92%A3",
    "%5B%5B%5B%5B%5B%5B",
    "%0d%0aset-cookie:%20a",
];
/// Queries that no route takes.
const QUERIES: &[&str] =
    &["bogus=1", "limit=1&limit=2", "offset=1&offset=2", "a%00b=1", "%ff=1", "=", "limit=%ff", "ticket=tkt_forged"];
/// Places in a stream that none of ours is.
const OFFSETS: &[&str] =
    &["", "abc", "-2", "1e3", "1.5", "%00", "+1", "0x10", "18446744073709551616", "%F0%9F%92%A3", "1;drop", "now%20"];
/// Bodies that no route takes.
const BODIES: &[&[u8]] = &[
    b"{",
    b"[]",
    b"null",
    b"\"text\"",
    b"\xff\xfe{}",
    b"{\"data\":{\"id\":\"\xc3\x28\"},\"tx\":{}}",
    b"{\"data\":{},\"data\":{}}",
    b"{\"more\":1}",
    b"{\"data\":{\"id\":\"\\ud800\"},\"tx\":{}}",
    b"{\"data\":7,\"tx\":7,\"mutations\":7}",
    b"{\"mutations\":[[]]}",
    b"{\"org\":{\"a\":1}}",
    b"{}{}",
];

/// Fills a route's parameters in.
fn address(path: &str, name: Option<&str>) -> String {
    let (kind, id, field) = name.map_or(("note", "1", "title"), |name| (name, name, name));
    path.replace("{org}", "acme").replace("{type}", kind).replace("{id}", id).replace("{field}", field)
}

/// Asks as whoever may use the route.
async fn ask(stage: &Stage, method: &str, address: &str, body: &[u8]) -> Response {
    let token = if address.contains("/admin/") { &stage.admin } else { &stage.alice };
    let headers = [("content-type", "application/json")];
    let asked = request(&method.to_uppercase(), &stage.url(address), Some(token), &headers, body).await;
    asked.unwrap_or_else(|error| panic!("{method} {address}: {error:#}"))
}

/// Checks that an answer is a refusal as every other.
fn refused(answer: &Response, asked: &str) {
    assert!((400..500).contains(&answer.status), "{asked}: {} {}", answer.status, answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{asked}");
    let body = answer.json().unwrap_or_else(|_| panic!("{asked}: {}", answer.text()));
    for member in ["type", "title", "code", "hint"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{asked}: `{member}` of {body}");
    }
    assert_eq!(body["status"], answer.status, "{asked}");
    assert!(answer.header("set-cookie").is_none(), "{asked}");
    assert!(answer.header("antiphon-request-id").is_some(), "{asked}");
    let told = answer.text();
    assert!(!told.contains("select ") && !told.contains("pg_catalog"), "{asked} told what stands behind it: {told}");
}

/// Returns how many refusals were counted.
async fn counted(stage: &Stage) -> f64 {
    let metrics = stage.ask_as(&stage.admin, "/metrics").await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("antiphon_http_requests_total{status=\"4xx\"} "));
    line.and_then(|count| count.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn bad_addresses_queries_and_bodies_are_refused_alike_on_every_route_and_write_nothing_sec_05_sec_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.run("insert into notes (id, org, title) values ('1', 'acme', 'whole')").await;
        let mut bystander = stage.stream("offset=-1", None).await;
        assert_eq!(next(&mut bystander, "change").await.1["entityId"], "1");
        let (before, mut refusals) = (counted(&stage).await, 0);
        let deep = ["[".repeat(100_000).into_bytes(), "{\"data\":".repeat(5_000).into_bytes()];
        for (method, path) in ROUTES.iter().filter(|(_, path)| path.starts_with("/v1/")) {
            for query in QUERIES {
                let asked = format!("{}?{query}", address(path, None));
                refused(&ask(&stage, method, &asked, b"{}").await, &format!("{method} {asked}"));
                refusals += 1;
            }
            for name in NAMES.iter().filter(|_| path.contains("{type}")) {
                let asked = address(path, Some(name));
                refused(&ask(&stage, method, &asked, b"{}").await, &format!("{method} {asked}"));
                refusals += 1;
            }
            if *method == "get" || path.contains("/admin/") {
                continue;
            }
            for body in BODIES.iter().copied().chain(deep.iter().map(Vec::as_slice)) {
                let asked = format!("{method} {path} {}", String::from_utf8_lossy(&body[..body.len().min(40)]));
                refused(&ask(&stage, method, &address(path, None), body).await, &asked);
                refusals += 1;
            }
            let large = vec![b' '; (1 << 20) + 1];
            let answer = ask(&stage, method, &address(path, None), &large).await;
            assert_eq!(answer.status, 413, "{method} {path}");
            refused(&answer, path);
            refusals += 1;
        }
        assert!(counted(&stage).await >= before + f64::from(refusals), "a refusal was not counted");
        let rows = stage.client.query("select id || title from notes", &[]).await.expect("the rows");
        assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>(), ["1whole"]);
        let records = stage.client.query_one("select count(*) from antiphon.mutations", &[]).await.expect("a count");
        assert_eq!(records.get::<_, i64>(0), 0, "a refused edit was recorded");
        stage.run("insert into notes (id, org) values ('2', 'acme')").await;
        assert_eq!(next(&mut bystander, "change").await.1["entityId"], "2", "somebody else was disturbed");
    })
    .await;
}

#[tokio::test]
async fn offsets_that_nobody_gave_are_refused_in_every_form_of_reading_sy_02() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        for form in ["", "live=poll&timeout=1&", "live=sse&"] {
            for offset in OFFSETS {
                let asked = format!("/v1/orgs/acme/live?{form}offset={offset}");
                refused(&ask(&stage, "get", &asked, b"").await, &asked);
            }
        }
    })
    .await;
}

/// Sends bytes on a connection of their own and returns the beginning of the answer.
async fn raw(stage: &Stage, bytes: &[u8]) -> String {
    let url = stage.url("");
    let mut socket = TcpStream::connect(url.trim_start_matches("http://")).await.expect("connected");
    // The server may answer and close before it has read everything.
    let written = socket.write_all(bytes).await;
    let mut answer = vec![0; 256];
    let read = socket.read(&mut answer).await.unwrap_or_else(|error| panic!("{written:?}, {error}"));
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn heads_without_end_and_heads_that_are_none_end_their_connection_alone_sec_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut bystander = stage.stream("offset=now", None).await;
        next(&mut bystander, "offset").await;
        let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
        for (bytes, status) in [
            (format!("GET /healthz HTTP/1.1\r\nhost: a\r\n{many}\r\n"), "431"),
            (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(66_000)), "414"),
            ("\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), "400"),
            ("POST /v1/tickets HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n".to_owned(), "400"),
        ] {
            let answer = raw(&stage, bytes.as_bytes()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "wanted {status}: {answer}");
        }
        stage.run("insert into notes (id, org) values ('1', 'acme')").await;
        assert_eq!(next(&mut bystander, "change").await.1["entityId"], "1");
    })
    .await;
}
