//! `antiphon dev` end to end: what protocol 8 promises to programs, on a real Postgres.

use std::{path::Path, time::Duration};

use antiphon_testkit::{PgVersion, Process, Signal, get, request, signal, skipped, sse};
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls};

use crate::run::command;

const START: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);
const PAGE: &str = "00000000-0000-4001-8001-000000000001";

/// A running `antiphon dev`.
pub(crate) struct Dev {
    process: Process,
    line: Value,
    home: tempfile::TempDir,
}

impl Dev {
    /// Starts it on a free port; `None` (and a skip) where there is no Postgres.
    pub(crate) async fn start(data: Option<&Path>, more: &[&str]) -> Option<Dev> {
        let Some(installation) = PgVersion::tested().into_iter().rev().find_map(PgVersion::installation) else {
            skipped("Postgres 15 or newer");
            return None;
        };
        let home = tempfile::tempdir().expect("a home");
        let mut start = command(home.path());
        start.args(["dev", "--json", "--port", "0", "--postgres-bin"]).arg(installation.bin_dir()).args(more);
        if let Some(data) = data {
            start.arg("--data").arg(data);
        }
        let mut process = Process::start(start.into()).expect("the binary runs");
        let line = process
            .wait_for_line(|line| line.starts_with("{\"api\"") || line.starts_with("{\"error\""), START)
            .await
            .expect("the line");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert!(line["error"].is_null(), "{line}");
        Some(Dev { process, line, home })
    }

    fn text(&self, field: &str) -> &str {
        self.line[field].as_str().unwrap_or_else(|| panic!("no {field}: {}", self.line))
    }

    pub(crate) fn token(&self, user: &str) -> &str {
        self.line["tokens"][user].as_str().unwrap_or_else(|| panic!("no token of {user}"))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.text("api"))
    }

    /// Returns the folder in which commands find it.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) async fn connect(&self) -> Client {
        connect(self.text("databaseUrl")).await.expect("the demonstration's database")
    }

    pub(crate) async fn stop(mut self) {
        self.process.signal(Signal::Term).expect("SIGTERM");
        let status = self.process.wait(SOON).await.expect("its end");
        assert!(status.success(), "{status}: {}", self.process.lines().join("\n"));
    }
}

/// Returns the number of the server's first process.
async fn postmaster(client: &Client) -> u32 {
    let folder: String = client.query_one("show data_directory", &[]).await.expect("a row").get(0);
    let file = std::fs::read_to_string(Path::new(&folder).join("postmaster.pid")).expect("the server's file");
    file.lines().next().and_then(|pid| pid.trim().parse().ok()).expect("its number")
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    antiphon_testkit::spawn("test connection", async move {
        // It ends with the client or the server; both are what the test is about.
        connection.await.unwrap_or_default();
    });
    Ok(client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committed_row_reaches_tail_and_stream_and_a_foreign_member_sees_none_of_it() {
    let Some(dev) = Dev::start(None, &[]).await else { return };
    assert_eq!(dev.line["orgs"], json!(["acme", "globex"]));
    assert_eq!(dev.line["pid"], json!(dev.process.pid()));
    assert_eq!(dev.text("console"), dev.url("/"));
    let mut tail = command(dev.home.path());
    tail.args(["tail", "--org", "acme", "--json", "--limit", "1"]);
    let mut tail = Process::start(tail.into()).expect("tail runs");
    tail.wait_for_line(|line| line.starts_with("activities after"), SOON).await.expect("tail found dev");
    let live = dev.url("/v1/orgs/acme/live?live=sse&offset=now");
    let mut stream = sse(&live, Some(dev.token("alice")), None).await.expect("the stream");

    let client = dev.connect().await;
    let insert =
        "insert into pages(id, organization_id, title, body) values (gen_random_uuid(), 'acme', 'From psql', 'x')";
    client.execute(insert, &[]).await.expect("the insert");
    let frame = tail.wait_for_line(|line| line.starts_with("{\"activityId\""), SOON).await.expect("the activity");
    let frame: Value = serde_json::from_str(&frame).expect("a frame");
    assert_eq!((frame["action"].as_str(), frame["data"]["title"].as_str()), (Some("create"), Some("From psql")));
    assert!(tail.wait(SOON).await.expect("tail's end").success());
    let event = loop {
        let event = stream.next(SOON).await.expect("an event").expect("an open stream");
        if event.event == "change" {
            break event;
        }
    };
    let sent: Value = serde_json::from_str(&event.data).expect("JSON");
    assert_eq!(sent, frame, "tail prints what the stream sends");
    let foreign = get(&dev.url("/v1/orgs/acme/live"), Some(dev.token("carol")), &[]).await.expect("an answer");
    assert_eq!(foreign.status, 403, "{}", foreign.text());
    dev.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_answers_this_machine_only_and_runs_sql_for_its_own_origin_only() {
    let Some(dev) = Dev::start(None, &[]).await else { return };
    let page = get(&dev.url("/"), None, &[]).await.expect("the page");
    assert_eq!(page.status, 200);
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
    for asset in ["/dev/dev.css", "/dev/dev.js", "/dev/session"] {
        assert_eq!(get(&dev.url(asset), None, &[]).await.expect("an answer").status, 200, "{asset}");
    }
    let foreign = get(&dev.url("/dev/session"), None, &[("origin", "http://localhost:3000")]).await.expect("an answer");
    assert_eq!(foreign.status, 403, "{}", foreign.text());
    let bearer = format!("Bearer {}", dev.token("admin"));
    let kind = ("content-type", "application/json");
    let sql = |text: &str| json!({"sql": text}).to_string().into_bytes();
    let run = async |headers: &[(&str, &str)], body: Vec<u8>| {
        request("POST", &dev.url("/dev/sql"), None, headers, &body).await.expect("an answer")
    };
    let own = [kind, ("authorization", bearer.as_str())];
    let answer = run(&own, sql("update pages set title = title where organization_id = 'acme'; select 1 as one")).await;
    let document = answer.json().expect("JSON");
    assert_eq!(document["results"][0]["affected"], 25, "{document}");
    assert_eq!((&document["results"][1]["rows"], &document["error"]), (&json!([["1"]]), &Value::Null));
    let wrong = run(&own, sql("select nonsense")).await.json().expect("JSON");
    assert_eq!(wrong["error"]["code"], "42703", "{wrong}");
    let many = run(&own, sql("select generate_series(1, 5000)")).await.json().expect("JSON");
    assert_eq!(many["results"][0]["rows"].as_array().map(Vec::len), Some(100));
    assert_eq!(many["results"][0]["truncated"], true);
    assert_eq!(run(&[kind], sql("select 1")).await.status, 401);
    assert_eq!(run(&[("authorization", bearer.as_str())], sql("select 1")).await.status, 400);
    let evil = [kind, ("authorization", bearer.as_str()), ("origin", "http://evil.example")];
    assert_eq!(run(&evil, sql("select 1")).await.status, 403);
    dev.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_stops_all_and_removes_what_was_temporary() {
    let Some(dev) = Dev::start(None, &[]).await else { return };
    let (url, api) = (dev.text("databaseUrl").to_owned(), dev.text("api").to_owned());
    let state = dev.home.path().join(".local/state/antiphon/dev.json");
    assert!(state.exists(), "other commands find it");
    let client = dev.connect().await;
    let folder: String = client.query_one("show data_directory", &[]).await.expect("a row").get(0);
    let home = dev.home.path().to_owned();
    let Dev { mut process, home: kept, .. } = dev;
    process.signal(Signal::Term).expect("SIGTERM");
    assert!(process.wait(SOON).await.expect("its end").success());
    assert!(connect(&url).await.is_err(), "Postgres ended");
    assert!(get(&format!("{api}/healthz"), None, &[]).await.is_err(), "the server ended");
    assert!(!Path::new(&folder).exists(), "the temporary data went");
    assert!(!home.join(".local/state/antiphon/dev.json").exists(), "the state file went");
    drop(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigkill_of_both_a_next_start_keeps_data_and_tokens() {
    let parent = tempfile::tempdir().expect("a folder");
    let data = parent.path().join("data");
    let Some(mut dev) = Dev::start(Some(&data), &[]).await else { return };
    let client = dev.connect().await;
    let update = format!("update pages set title = 'Kept' where id = '{PAGE}'");
    client.execute(&update, &[]).await.expect("the update");
    let folder: String = client.query_one("show data_directory", &[]).await.expect("a row").get(0);
    let postgres = postmaster(&client).await;
    let (alice, password_url) = (dev.token("alice").to_owned(), dev.text("databaseUrl").to_owned());
    dev.process.kill9().await.expect("killed");
    // It may have noticed already that its owner is gone.
    signal(postgres, Signal::Kill).unwrap_or_default();

    let again = Dev::start(Some(&data), &[]).await.expect("Postgres was there before");
    assert_eq!(again.token("alice"), alice);
    let user = |url: &str| url.split('@').next().unwrap_or_default().to_owned();
    assert_eq!(user(again.text("databaseUrl")), user(&password_url), "the same password");
    let title: String = again
        .connect()
        .await
        .query_one(&format!("select title from pages where id = '{PAGE}'"), &[])
        .await
        .expect("the row")
        .get(0);
    assert_eq!(title, "Kept");
    let item =
        get(&again.url(&format!("/v1/orgs/acme/entities/page/{PAGE}")), Some(&alice), &[]).await.expect("an answer");
    assert_eq!(item.json().expect("JSON")["data"]["title"], "Kept", "{}", item.text());
    again.stop().await;
    // As root the server's files lie where its user can reach them.
    let cluster = Path::new(&folder).parent().expect("the cluster's folder");
    if !cluster.starts_with(parent.path()) {
        std::fs::remove_dir_all(cluster).expect("cleaned up");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_copied_anew_and_a_new_epoch_lose_nothing_and_go_on_by_themselves() {
    let Some(dev) = Dev::start(None, &[]).await else { return };
    let live = dev.url("/v1/orgs/acme/live?live=sse&offset=now");
    let mut stream = sse(&live, Some(dev.token("alice")), None).await.expect("the stream");
    let run = |arguments: &[&str]| command(dev.home.path()).args(arguments).output().expect("the binary runs");
    let started = run(&["snapshot", "start", "attachment", "--json"]);
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let mut copied = 0;
    while copied < 12 {
        let event = stream.next(SOON).await.expect("an event").expect("an open stream");
        copied += usize::from(event.event == "change" && event.data.contains("\"entityType\":\"attachment\""));
    }
    let begun = run(&["slots", "create", "--new-epoch", "--yes", "--json"]);
    assert!(begun.status.success(), "{}", String::from_utf8_lossy(&begun.stderr));
    let document: Value = serde_json::from_slice(&begun.stdout).expect("JSON");
    assert_eq!((&document["epoch"], &document["slot"]["plugin"]), (&json!(2), &json!("pgoutput")));
    loop {
        let event = stream.next(SOON).await.expect("an event").expect("an open stream");
        if event.event == "reset" {
            assert!(event.data.contains("EPOCH_CHANGED"), "{}", event.data);
            break;
        }
    }
    let mut stream = sse(&dev.url("/v1/orgs/acme/live?live=sse&offset=-1"), Some(dev.token("alice")), None)
        .await
        .expect("the stream");
    let insert = "insert into pages(id, organization_id, title) values (gen_random_uuid(), 'acme', 'In epoch two')";
    dev.connect().await.execute(insert, &[]).await.expect("the insert");
    // The insert may overtake the copies; a row of them comes once, in whichever order.
    let (mut rows, mut inserted) = (std::collections::BTreeSet::new(), false);
    while !inserted || rows.len() < 25 + 42 + 12 {
        let event = stream.next(SOON).await.expect("an event").expect("an open stream");
        assert_ne!(event.event, "reset", "{}", event.data);
        if event.event != "change" {
            continue;
        }
        let frame: Value = serde_json::from_str(&event.data).expect("JSON");
        inserted |= frame["data"]["title"] == "In epoch two";
        if frame["data"]["title"] != "In epoch two" {
            rows.insert(frame["entityId"].as_str().expect("an id").to_owned());
        }
    }
    dev.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postgres_is_started_again_and_a_seed_is_run_once() {
    let parent = tempfile::tempdir().expect("a folder");
    let seed = parent.path().join("seed.sql");
    std::fs::write(&seed, "insert into tasks(id, organization_id, title) values (gen_random_uuid(), 'acme', 'Seeded')")
        .expect("written");
    let Some(dev) = Dev::start(None, &["--seed", &seed.display().to_string()]).await else { return };
    let client = dev.connect().await;
    let count = "select count(*) from tasks where title = 'Seeded'";
    assert_eq!(client.query_one(count, &[]).await.expect("a row").get::<_, i64>(0), 1);
    let postgres = postmaster(&client).await;
    signal(postgres, Signal::Kill).expect("killed");
    let deadline = tokio::time::Instant::now() + SOON;
    let again = loop {
        match connect(dev.text("databaseUrl")).await {
            Ok(client) => {
                if client
                    .execute("update tasks set votes = 7 where title = 'Seeded'", &[])
                    .await
                    .is_ok_and(|rows| rows == 1)
                {
                    break client;
                }
            }
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
    };
    assert_ne!(postmaster(&again).await, postgres);
    let mut stream = sse(&dev.url("/v1/orgs/acme/live?live=sse&offset=-1"), Some(dev.token("alice")), None)
        .await
        .expect("the stream");
    loop {
        let event = stream.next(SOON).await.expect("an event").expect("an open stream");
        if event.data.contains("Seeded") && event.data.contains("\"votes\":7") {
            break;
        }
    }
    dev.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_told_before_anything_is_made() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let home = tempfile::tempdir().expect("a home");
    let output = command(home.path()).args(["dev", "--json", "--port", &port]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(6));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let error: Value = serde_json::from_str(told.lines().last().unwrap_or_default()).expect("JSON");
    assert_eq!(error["error"]["code"], "PORT_IN_USE", "{told}");
    assert!(output.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_postgres_is_told_with_how_to_get_one() {
    let home = tempfile::tempdir().expect("a home");
    let mut start = command(home.path());
    start.args(["dev", "--json", "--port", "0", "--postgres-bin"]).arg(home.path());
    let output = start.output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(5));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("POSTGRES_NOT_FOUND"), "{told}");
}
