//! Two servers of one database: one captures, both serve, and readers notice nothing of which is which (LOG-05).

use std::time::Duration;

use antiphon_server::Service;
use antiphon_testkit::{Pg, Sse, for_each_postgres, get, sse};
use serde_json::Value;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::stage::{SOON, Stage, next};

/// So many rows are written in each part of a test.
const ROWS: usize = 60;

/// A stage with its server and another one that follows it.
struct Two {
    stage: Stage,
    follower: Service,
    base: String,
}

impl Two {
    async fn open(pg: &Pg) -> Two {
        let stage = Stage::open(pg).await;
        let (follower, base) = stage.another().await;
        let two = Two { stage, follower, base };
        two.knows_alice().await;
        two
    }

    /// Waits until the follower lets alice in.
    async fn knows_alice(&self) {
        let (url, deadline) = (format!("{}/v1/orgs/acme/schema", self.base), Instant::now() + SOON);
        while get(&url, Some(&self.stage.alice), &[]).await.expect("an answer").status != 200 {
            assert!(Instant::now() < deadline, "the token is not known at the other server");
        }
    }

    /// Opens alice's stream at a server, after an offset.
    async fn stream(&self, base: &str, after: Option<&str>) -> Sse {
        let url = format!("{base}/v1/orgs/acme/live?live=sse&offset=-1");
        sse(&url, Some(&self.stage.alice), after).await.expect("the stream")
    }

    /// The value of a metric of this process.
    async fn metric(&self, name: &str) -> f64 {
        let text = get(&format!("{}/metrics", self.base), None, &[]).await.expect("metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or_default()
    }
}

/// Reads changes until there are so many in all; each must be the next one, once.
async fn read_to(stream: &mut Sse, seen: &mut usize, to: usize) -> Option<String> {
    let mut last = None;
    while *seen < to {
        let (id, change) = next(stream, "change").await;
        *seen += 1;
        assert_eq!(change["entityId"], seen.to_string(), "out of order, missed or doubled");
        assert_eq!(id, Some(change["activityId"].to_string()));
        last = id;
    }
    last
}

/// Writes rows one at a time over a connection of its own.
async fn write(client: Client, from: usize, to: usize) {
    for n in from..=to {
        let sql = format!("insert into notes (id, org, rank) values ('{n}', 'acme', {n})");
        client.batch_execute(&sql).await.expect("a row");
    }
}

#[tokio::test]
async fn a_reader_at_a_follower_sees_every_change_once_and_in_order_across_the_end_of_the_capturing_one_log_05() {
    for_each_postgres(|pg| async move {
        let mut two = Two::open(&pg).await;
        let mut stream = two.stream(&two.base, None).await;
        let mut seen = 0;
        let writer = antiphon_testkit::spawn("writer", write(two.stage.db.connect().await, 1, ROWS));
        read_to(&mut stream, &mut seen, ROWS).await;
        writer.await.expect("written");
        // The writer goes on while the server that captures ends and the other one takes over.
        let writer = antiphon_testkit::spawn("writer", write(two.stage.db.connect().await, ROWS + 1, 3 * ROWS));
        read_to(&mut stream, &mut seen, ROWS + 5).await;
        two.stage.stop().await;
        read_to(&mut stream, &mut seen, 3 * ROWS).await;
        writer.await.expect("written");
        two.stage.run("insert into notes (id, org) values ('last', 'acme')").await;
        let (_, change) = next(&mut stream, "change").await;
        assert_eq!(change["entityId"], "last", "something was shown twice");
        // The server that took over ends streams whose token ended all the same (STR-05).
        for info in two.stage.people.tokens(Some("alice")).await.expect("tokens") {
            two.stage.people.revoke_token(&info.id).await.expect("revoked");
        }
        let revoked = Instant::now();
        let (_, notice) = next(&mut stream, "notice").await;
        assert_eq!(notice["reason"], "auth_expired", "{notice}");
        assert!(revoked.elapsed() < Duration::from_secs(2), "{:?}", revoked.elapsed());
        two.follower.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_changes_servers_with_its_offset_misses_and_doubles_nothing_log_05() {
    for_each_postgres(|pg| async move {
        let two = Two::open(&pg).await;
        let leader = two.stage.url("");
        let writer = antiphon_testkit::spawn("writer", write(two.stage.db.connect().await, 1, 4 * ROWS));
        let (mut seen, mut offset) = (0, None);
        // The one that captures is ahead of the other, which must not take its offset for an invalid one.
        for turn in 0..24 {
            let base = if turn % 2 == 0 { &leader } else { &two.base };
            let mut stream = two.stream(base, offset.as_deref()).await;
            offset = read_to(&mut stream, &mut seen, (turn + 1) * ROWS / 6).await;
        }
        assert_eq!(seen, 4 * ROWS);
        writer.await.expect("written");
        // Pages say the same at both.
        for base in [&leader, &two.base] {
            let url = format!("{base}/v1/orgs/acme/live?offset=-1&limit=1000");
            let deadline = Instant::now() + SOON;
            loop {
                let page: Value = get(&url, Some(&two.stage.alice), &[]).await.expect("a page").json().expect("JSON");
                let count = page["activities"].as_array().expect("activities").len();
                assert!(count <= 4 * ROWS, "{count}");
                if count == 4 * ROWS && page["upToDate"] == true {
                    break;
                }
                assert!(Instant::now() < deadline, "{count} activities");
            }
        }
        two.follower.stop().await;
    })
    .await;
}

#[tokio::test]
async fn hints_bring_changes_to_a_follower_sooner_than_looking_would_log_05() {
    for_each_postgres(|pg| async move {
        let two = Two::open(&pg).await;
        let mut stream = two.stream(&two.base, None).await;
        let mut seen = 0;
        let heard = two.metric("antiphon_notices_heard_total").await;
        let mut waits = Vec::new();
        for n in 1..=15 {
            let written = Instant::now();
            two.stage.run(&format!("insert into notes (id, org) values ('{n}', 'acme')")).await;
            read_to(&mut stream, &mut seen, n).await;
            waits.push(written.elapsed());
        }
        // Without hints the head is read once a second, so that the middle of these waits is half of one.
        waits.sort();
        assert!(waits[7] < Duration::from_millis(250), "{waits:?}");
        assert!(two.metric("antiphon_notices_heard_total").await > heard, "no hint was heard");
        assert!(two.metric("antiphon_notices_published_total").await > 0.0, "no hint was told");
        two.follower.stop().await;
    })
    .await;
}

#[tokio::test]
async fn readers_at_a_follower_go_on_though_every_connection_for_hints_is_ended_log_05() {
    for_each_postgres(|pg| async move {
        let two = Two::open(&pg).await;
        let mut stream = two.stream(&two.base, None).await;
        let (mut seen, admin) = (0, pg.admin().await);
        let name = format!("{}_log", two.stage.db.name());
        let end = "select pg_terminate_backend(pid, 5000) from pg_stat_activity
                   where datname = $1 and (query like 'listen %' or query like '%pg_notify%')";
        for n in 1..=20 {
            if n % 5 == 0 {
                let ended = admin.execute(end, &[&name]).await.expect("ended");
                assert!(n > 5 || ended >= 3, "two listen and one tells: {ended}");
            }
            two.stage.run(&format!("insert into notes (id, org) values ('{n}', 'acme')")).await;
            read_to(&mut stream, &mut seen, n).await;
        }
        assert!(two.metric("antiphon_notices_failed_total").await > 0.0, "what could not be told was not counted");
        two.follower.stop().await;
    })
    .await;
}
