//! Before capture has begun in an epoch, nothing is answered that a reader could go on from (hazard: ghost rows).
//!
//! What changes between a list and the beginning of the slot reaches nobody. A transaction that is held open keeps the
//! slot of a new epoch from being made, so that the time between is as long as a test wants.

use antiphon_testkit::{Response, for_each_postgres, get};
use serde_json::Value;
use tokio::time::Instant;

use crate::stage::{SOON, Stage, by_log, next};

/// What a reader could begin with.
const BEGINNINGS: &[&str] = &[
    "entities/note",
    "entities/note?ids=ghost",
    "entities/note/ghost",
    "entities/note/ghost/fields/title",
    "entities/note/ghost/history",
    "entities/note/deleted",
    "live?offset=now",
    "live?offset=now&live=sse",
];

/// Asks a server as alice.
async fn ask(stage: &Stage, base: &str, path: &str) -> Response {
    get(&format!("{base}/v1/orgs/acme/{path}"), Some(&stage.alice), &[]).await.expect("an answer")
}

/// Asks until the answer's status is as wanted.
async fn until(stage: &Stage, base: &str, path: &str, status: u16) -> Response {
    let deadline = Instant::now() + SOON;
    loop {
        let response = ask(stage, base, path).await;
        if response.status == status {
            return response;
        }
        assert!(Instant::now() < deadline, "{path} stayed at {} {}", response.status, response.text());
    }
}

/// Asks for everything that a reader could begin with, side by side, and wants it refused.
async fn nothing_to_begin_with(stage: &Stage, base: &str) {
    let asked = BEGINNINGS.iter().map(|path| ask(stage, base, path));
    for (path, response) in BEGINNINGS.iter().zip(futures::future::join_all(asked).await) {
        assert_eq!(response.status, 503, "{path}: {}", response.text());
        assert_eq!(response.json().expect("JSON")["code"], "TRY_AGAIN", "{path}");
        let wait: u32 = response.header("retry-after").and_then(|wait| wait.parse().ok()).expect("a time to wait");
        assert!((1..=60).contains(&wait), "{path}: {wait}");
    }
}

#[tokio::test]
async fn before_the_slot_of_an_epoch_is_there_no_server_answers_what_a_reader_could_begin_with_log_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, by_log()).await;
        let (follower, other) = stage.another().await;
        let leader = stage.url("");
        stage.run("insert into notes (id, org, title) values ('ghost', 'acme', 'boo')").await;
        let holder = stage.db.connect().await;
        holder.batch_execute("begin; select pg_current_xact_id()").await.expect("a transaction");
        assert_eq!(stage.operator.new_epoch().await.expect("a new epoch"), 2);
        for base in [&leader, &other] {
            // Until a server hears of it, its lists are of the old epoch, which no stream goes on from.
            until(&stage, base, "entities/note", 503).await;
            nothing_to_begin_with(&stage, base).await;
        }
        // The servers stand by for one another: one of the two waits, and says for whom.
        let deadline = Instant::now() + SOON;
        loop {
            let mut sources = Vec::new();
            for base in [&leader, &other] {
                let url = format!("{base}/v1/admin/source");
                let source = get(&url, Some(&stage.admin), &[]).await.expect("an answer").json().expect("JSON");
                sources.push(source);
            }
            let waits = |source: &&Value| source["reason"] == "SLOT_WAITS";
            if let Some(source) = sources.iter().find(waits) {
                assert_eq!(
                    (source["state"].as_str(), source["status"].as_str()),
                    (Some("initialising"), Some("waiting"))
                );
                assert!(source["detail"].as_str().is_some_and(|detail| detail.contains("process ")), "{source}");
                break;
            }
            assert!(Instant::now() < deadline, "{sources:?}");
        }
        // A list from before would show this row for ever.
        stage.run("delete from notes where id = 'ghost'").await;
        holder.batch_execute("rollback").await.expect("the end");
        for base in [&leader, &other] {
            let list: Value = until(&stage, base, "entities/note", 200).await.json().expect("JSON");
            assert_eq!((&list["items"], list["epoch"].as_u64()), (&Value::Array(Vec::new()), Some(2)), "{list}");
        }
        let list = stage.json("/v1/orgs/acme/entities/note").await;
        let from = format!("offset={}&epoch=2", list["offset"]);
        let mut stream = stage.stream(&from, None).await;
        stage.run("insert into notes (id, org) values ('after', 'acme')").await;
        let (_, change) = next(&mut stream, "change").await;
        assert_eq!((change["entityId"].as_str(), change["action"].as_str()), (Some("after"), Some("create")));
        follower.stop().await;
    })
    .await;
}
