//! What every transport of hints keeps, in one process and over Postgres, and what Postgres adds (LOG-05).
//!
//! Each claim is made of two servers: `here` tells, `there` listens. In one process both are the same transport.

use std::{sync::Arc, time::Duration};

use antiphon_engine::ports::{Hint, LocalNotices, Notice, Notices};
use antiphon_store::{PgNotices, Store};
use antiphon_testkit::{Pg, TestDb, for_each_postgres};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_postgres::Client;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{open, over};

/// Whatever is waited for comes within this time.
const SOON: Duration = Duration::from_secs(20);
/// More than wait for one listener.
const MANY: u64 = 80;

/// Two servers of one log.
struct Pair {
    here: Arc<dyn Notices>,
    there: Arc<dyn Notices>,
}

impl Pair {
    fn local() -> Pair {
        let both: Arc<dyn Notices> = Arc::new(LocalNotices::default());
        Pair { here: Arc::clone(&both), there: both }
    }
}

/// A server that hears.
struct Server {
    notices: Arc<PgNotices>,
    heard: Receiver<Notice>,
    /// Stops it.
    _running: DropGuard,
}

impl Server {
    async fn start(store: &Store) -> Server {
        let notices = Arc::new(store.notices().await.expect("a channel"));
        let mut heard = notices.subscribe();
        let stop = CancellationToken::new();
        let (runs, until) = (Arc::clone(&notices), stop.clone());
        drop(antiphon_testkit::spawn("notices", async move { runs.run(until).await }));
        assert_eq!(next(&mut heard).await, Ok(Notice::Listening));
        Server { notices, heard, _running: stop.drop_guard() }
    }
}

async fn next(heard: &mut Receiver<Notice>) -> Result<Notice, RecvError> {
    tokio::time::timeout(SOON, heard.recv()).await.expect("a notice in time")
}

fn hint(last: u64) -> Hint {
    Hint { epoch: 3, first: last, last }
}

/// Runs a claim over both transports.
async fn over_both<F, Fut>(claim: F)
where
    F: Fn(Pair) -> Fut + Clone,
    Fut: Future<Output = ()>,
{
    claim(Pair::local()).await;
    for_each_postgres(|pg| {
        let claim = claim.clone();
        async move {
            let (db, _store) = open(&pg, "notices").await;
            let (here, there) = (Server::start(&over(&db)).await, Server::start(&over(&db)).await);
            claim(Pair { here: here.notices.clone(), there: there.notices.clone() }).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_hint_reaches_every_listener_of_every_server_log_05() {
    over_both(|pair| async move {
        let mut listeners = [pair.here.subscribe(), pair.there.subscribe(), pair.there.subscribe()];
        for last in 1..=3 {
            pair.here.publish(hint(last));
            for heard in &mut listeners {
                assert_eq!(next(heard).await, Ok(Notice::Moved(hint(last))));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_repeated_hint_is_only_heard_again_log_05() {
    over_both(|pair| async move {
        let mut heard = pair.there.subscribe();
        for last in [7, 7, 6, 7, 8] {
            pair.here.publish(hint(last));
            assert_eq!(next(&mut heard).await, Ok(Notice::Moved(hint(last))));
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_lags_is_told_so_and_then_hears_the_newest_log_05() {
    over_both(|pair| async move {
        let (mut slow, mut quick) = (pair.there.subscribe(), pair.there.subscribe());
        for last in 1..=MANY {
            pair.here.publish(hint(last));
            // One at a time, or they would be told as one.
            assert_eq!(next(&mut quick).await, Ok(Notice::Moved(hint(last))));
        }
        assert!(matches!(next(&mut slow).await, Err(RecvError::Lagged(missed)) if missed > 0));
        while next(&mut slow).await != Ok(Notice::Moved(hint(MANY))) {}
    })
    .await;
}

#[tokio::test]
async fn no_listener_is_needed_and_nothing_of_before_is_heard_log_05() {
    over_both(|pair| async move {
        let mut witness = pair.there.subscribe();
        pair.here.publish(hint(1));
        assert_eq!(next(&mut witness).await, Ok(Notice::Moved(hint(1))));
        drop(witness);
        pair.here.publish(hint(2));
        let mut heard = pair.there.subscribe();
        // Whether the second one was still under way is chance; the first one was not.
        pair.here.publish(hint(3));
        let Ok(Notice::Moved(first)) = next(&mut heard).await else { panic!("no hint") };
        assert!(first.last > 1, "{first:?}");
    })
    .await;
}

#[tokio::test]
async fn many_hints_at_once_say_the_newest_head_and_cover_all_log_05() {
    over_both(|pair| async move {
        let mut heard = pair.there.subscribe();
        for last in 1..=40 {
            pair.here.publish(hint(last));
        }
        let mut covered = 0;
        while covered < 40 {
            let Ok(Notice::Moved(told)) = next(&mut heard).await else { panic!("no hint") };
            assert!(told.first <= covered + 1, "{told:?} leaves a gap after {covered}");
            covered = covered.max(told.last);
        }
    })
    .await;
}

#[tokio::test]
async fn the_largest_hint_travels_log_05() {
    over_both(|pair| async move {
        let mut heard = pair.there.subscribe();
        let largest = Hint { epoch: u64::MAX, first: u64::MAX, last: u64::MAX };
        pair.here.publish(largest);
        assert_eq!(next(&mut heard).await, Ok(Notice::Moved(largest)));
    })
    .await;
}

/// The channel on which the servers of a log listen.
async fn channel(log: &Client) -> String {
    let sql = "select 'antiphon_' || left(encode(sha256('antiphon notices'::bytea || key), 'hex'), 32)
               from antiphon.installation";
    log.query_one(sql, &[]).await.expect("the key").get(0)
}

async fn notify(log: &Client, channel: &str, payload: &str) -> Result<(), tokio_postgres::Error> {
    log.execute("select pg_notify($1, $2)", &[&channel, &payload]).await.map(drop)
}

#[tokio::test]
async fn notifications_that_are_no_hints_are_passed_over_log_05() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "foreign").await;
        let mut server = Server::start(&store).await;
        let log = db.connect_log().await;
        let channel = channel(&log).await;
        let ours = r#"{"epoch":3,"first":5,"last":5}"#;
        // 7,500 bytes are the most that is read, though there are fewer characters; Postgres itself takes 7,999.
        let padded = format!(r#"{{"epoch":3,"first":4,"last":4,"more":"{}"}}"#, "é".repeat(3_750));
        assert!(padded.len() > 7_500 && padded.chars().count() < 7_500);
        for payload in ["", "hello", r#"{"epoch":3,"first":9,"last":1}"#, &padded] {
            notify(&log, &channel, payload).await.expect("Postgres takes it");
        }
        assert!(notify(&log, &channel, &" ".repeat(8_000)).await.is_err(), "Postgres takes more than it says");
        notify(&log, &channel, ours).await.expect("Postgres takes it");
        assert_eq!(next(&mut server.heard).await, Ok(Notice::Moved(hint(5))));
    })
    .await;
}

#[tokio::test]
async fn servers_of_another_installation_hear_nothing_of_ours_log_05() {
    for_each_postgres(|pg| async move {
        let (one, store) = open(&pg, "one").await;
        let (other, others) = open(&pg, "other").await;
        let (mut ours, mut theirs) = (Server::start(&store).await, Server::start(&others).await);
        let (log, their_log) = (one.connect_log().await, other.connect_log().await);
        assert_ne!(channel(&log).await, channel(&their_log).await);
        // Even in one database, and with every other word alike.
        let foreign = channel(&their_log).await;
        notify(&log, &foreign, r#"{"epoch":3,"first":1,"last":1}"#).await.expect("Postgres takes it");
        ours.notices.publish(hint(2));
        assert_eq!(next(&mut ours.heard).await, Ok(Notice::Moved(hint(2))));
        theirs.notices.publish(hint(3));
        assert_eq!(next(&mut theirs.heard).await, Ok(Notice::Moved(hint(3))));
    })
    .await;
}

/// Ends the sessions of a database whose last statement is like this; returns how many there were.
async fn end(pg: &Pg, db: &TestDb, like: &str) -> u64 {
    let sql = "select pg_terminate_backend(pid, 5000) from pg_stat_activity
               where datname = $1 and query like $2 and pid <> pg_backend_pid()";
    let name = format!("{}_log", db.name());
    pg.admin().await.execute(sql, &[&name, &like]).await.expect("ended")
}

#[tokio::test]
async fn a_killed_listener_listens_again_says_so_and_hears_log_05() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "killed").await;
        let mut servers = [Server::start(&over(&db)).await, Server::start(&store).await];
        for round in 1..=3 {
            assert_eq!(end(&pg, &db, "listen %").await, 2, "one session of each server listens");
            for server in &mut servers {
                assert_eq!(next(&mut server.heard).await, Ok(Notice::Listening));
            }
            servers[0].notices.publish(hint(round));
            for server in &mut servers {
                assert_eq!(next(&mut server.heard).await, Ok(Notice::Moved(hint(round))));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_hint_that_cannot_be_told_waits_for_the_next_connection_log_05() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "telling").await;
        let mut server = Server::start(&store).await;
        for round in 1..=3 {
            server.notices.publish(hint(round));
            assert_eq!(next(&mut server.heard).await, Ok(Notice::Moved(hint(round))));
            assert_eq!(end(&pg, &db, "%pg_notify%").await, 1, "one session tells");
        }
        server.notices.publish(hint(4));
        assert_eq!(next(&mut server.heard).await, Ok(Notice::Moved(hint(4))));
    })
    .await;
}

#[tokio::test]
async fn a_stopped_server_holds_no_connection_log_05() {
    for_each_postgres(|pg| async move {
        let (db, store) = open(&pg, "stopped").await;
        let mut server = Server::start(&store).await;
        server.notices.publish(hint(1));
        assert_eq!(next(&mut server.heard).await, Ok(Notice::Moved(hint(1))));
        drop(server);
        let (admin, name) = (pg.admin().await, format!("{}_log", db.name()));
        let sql = "select count(*) from pg_stat_activity
                   where datname = $1 and (query like 'listen %' or query like '%pg_notify%')";
        let deadline = tokio::time::Instant::now() + SOON;
        while admin.query_one(sql, &[&name]).await.expect("counted").get::<_, i64>(0) > 0 {
            assert!(tokio::time::Instant::now() < deadline, "a connection stayed");
            tokio::task::yield_now().await;
        }
    })
    .await;
}
