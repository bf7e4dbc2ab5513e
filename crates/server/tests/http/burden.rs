//! What a server costs the source: connections that do not grow with its readers, and no echo of its own writes.

use std::time::Duration;

use antiphon_testkit::{for_each_postgres, get, spawn};
use serde_json::json;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::{
    mutations::{create, id},
    stage::{SOON, Setup, Stage, next},
};

/// As `docs/operate/monitoring.md` says: capture, lists and edits, each with its part.
const SOURCE_CONNECTIONS_MAX: i64 = 24;
const LOG_CONNECTIONS_MAX: i64 = 16;

async fn count(client: &Client, database: &str) -> i64 {
    let sql = "select count(*) from pg_stat_activity where datname = $1 and application_name like 'antiphon%'";
    client.query_one(sql, &[&database]).await.expect("a count").get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_edits_and_capture_together_take_no_more_connections_than_is_said_pg_101() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let watch = stage.db.connect().await;
        let log: String =
            stage.db.connect_log().await.query_one("select current_database()::text", &[]).await.unwrap().get(0);
        let mut readers = JoinSet::new();
        for _ in 0..40 {
            let (url, token) = (stage.url("/v1/orgs/acme/entities/note?limit=100"), stage.alice.clone());
            readers.spawn(async move {
                for _ in 0..10 {
                    assert_eq!(get(&url, Some(&token), &[]).await.expect("an answer").status, 200);
                }
            });
        }
        let name = stage.db.name().to_owned();
        let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
        let highest = spawn("watch", async move {
            let mut highest = (0, 0);
            while stopped.try_recv().is_err() {
                highest.0 = highest.0.max(count(&watch, &name).await);
                highest.1 = highest.1.max(count(&watch, &log).await);
            }
            highest
        });
        let numbers: Vec<String> = (0..40).map(|number| format!("n{number}")).collect();
        let edits = numbers.iter().map(|key| async {
            let made = create(&stage, &id(), key, json!({ "title": "t" })).await;
            assert!([201, 429].contains(&made.status), "{}", made.text());
            made.status
        });
        let made = futures::future::join_all(edits).await;
        assert!(made.contains(&201), "nothing was written");
        while let Some(done) = readers.join_next().await {
            done.expect("read");
        }
        stop.send(()).expect("the watch runs");
        let (source, log) = highest.await.expect("watched");
        eprintln!("{source} connections to the source, {log} to the log");
        assert!((4..=SOURCE_CONNECTIONS_MAX).contains(&source), "{source} connections to the source");
        assert!((2..=LOG_CONNECTIONS_MAX).contains(&log), "{log} connections to the log");
    })
    .await;
}

#[tokio::test]
async fn our_own_writes_in_a_published_database_echo_nothing_pg_58() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, Setup { together: true, ..Setup::default() }).await;
        let mut stream = stage.stream("offset=-1", None).await;
        for key in ["1", "2"] {
            assert_eq!(create(&stage, &id(), key, json!({ "title": "t" })).await.status, 201);
            let (_, change) = next(&mut stream, "change").await;
            assert_eq!((&change["entityType"], &change["entityId"]), (&json!("note"), &json!(key)));
        }
        // Nobody writes: what is written now would be the answer to our own writes, which the stream brings us too.
        let written = "select pg_current_wal_lsn() - '0/0'";
        let lsn = || async {
            let row = stage.client.query_one(&format!("select ({written})::float8"), &[]).await;
            row.map_or(0.0, |row| row.get::<_, f64>(0))
        };
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            let before = lsn().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            let grown = lsn().await - before;
            eprintln!("{grown} bytes in 3 s");
            if grown < 30_000.0 {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "the log grows by {grown} bytes in 3 s, and nobody writes");
        }
        let page = stage.json("/v1/orgs/acme/live?offset=0&epoch=1").await;
        let told = page["activities"].as_array().expect("activities");
        assert!(told.iter().all(|change| change["entityType"] == "note"), "{page}");
    })
    .await;
}
