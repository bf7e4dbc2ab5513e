//! Many readers at once: all are told to come back at different times, and all come back without a gap (STR-06, SY-06).

use std::{collections::BTreeSet, time::Duration};

use antiphon_testkit::{Sse, for_each_postgres, sse};
use futures::future::join_all;
use tokio::time::Instant;

use crate::stage::{SOON, Stage, next};

const READERS: usize = 100;
/// What protocol and code say of the time to come back.
const RETRY_MS: std::ops::Range<u64> = 500..5_000;

/// Opens a stream as a client does: where the server says that it has its hands full, again after a while.
async fn arrive(url: &str, token: &str, last: Option<&str>) -> Sse {
    let deadline = Instant::now() + SOON;
    loop {
        match sse(url, Some(token), last).await {
            Ok(stream) => return stream,
            Err(error) => assert!(error.to_string().contains("503") && Instant::now() < deadline, "{error:#}"),
        }
        // What `Retry-After` says.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Reads the ids of changes up to a row.
async fn read_to(stream: &mut Sse, row: &str, seen: &mut Vec<u64>) -> String {
    loop {
        let (id, change) = next(stream, "change").await;
        seen.push(change["activityId"].as_u64().expect("an id"));
        if change["entityId"] == row {
            return id.expect("every event has an id");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_that_are_sent_away_come_back_over_a_spread_of_time_and_miss_nothing_str_06_sy_06() {
    for_each_postgres(|pg| async move {
        let mut stage = Stage::open(&pg).await;
        let (other, base) = stage.another().await;
        stage.run("insert into notes (id, org) select 'a' || n, 'acme' from generate_series(1, 20) n").await;
        let url = |base: &str| format!("{base}/v1/orgs/acme/live?live=sse&offset=-1");
        let (here, there) = (url(&stage.url("")), url(&base));
        // Each has read up to another place when the server goes.
        let open = join_all((0..READERS).map(|n| {
            let (here, token) = (&here, &stage.alice);
            async move {
                let mut stream = arrive(here, token, None).await;
                let mut seen = Vec::new();
                let last = read_to(&mut stream, &format!("a{}", n % 20 + 1), &mut seen).await;
                (stream, seen, last)
            }
        }))
        .await;
        let (alice, stop) = (stage.alice.clone(), stage.stop());
        let leave = join_all(open.into_iter().map(|(mut stream, seen, last)| async move {
            let (_, notice) = next(&mut stream, "notice").await;
            assert_eq!(notice["reason"], "shutdown");
            (notice["retryAfterMs"].as_u64().expect("a time"), seen, last)
        }));
        let (told, ()) = tokio::join!(leave, stop);
        let retries: BTreeSet<u64> = told.iter().map(|(retry, ..)| *retry).collect();
        assert!(retries.iter().all(|retry| RETRY_MS.contains(retry)), "{retries:?}");
        // Of 100 out of 4500 about one is equal to another; in each fifth of the time there are about twenty.
        assert!(retries.len() > READERS * 3 / 4, "they come back together: {retries:?}");
        let fifth = (RETRY_MS.end - RETRY_MS.start) / 5;
        for part in 0..5 {
            let from = RETRY_MS.start + part * fifth;
            let within = retries.range(from..from + fifth).count();
            assert!((4..=50).contains(&within), "{within} come back {from} to {} ms later", from + fifth);
        }
        stage.run("insert into notes (id, org) select 'b' || n, 'acme' from generate_series(1, 20) n").await;
        // The worst case: nobody heeds the time.
        let back = join_all(told.into_iter().map(|(_, mut seen, last)| {
            let (there, alice) = (&there, &alice);
            async move {
                let mut stream = arrive(there, alice, Some(&last)).await;
                read_to(&mut stream, "b20", &mut seen).await;
                (stream, seen)
            }
        }))
        .await;
        for (_, seen) in &back {
            assert_eq!(seen.len(), 40, "each change once: {seen:?}");
            assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
            assert_eq!(seen, &back[0].1);
        }
        drop(back);
        other.stop().await;
    })
    .await;
}
