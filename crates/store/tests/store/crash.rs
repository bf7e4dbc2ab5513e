//! The log's database is killed: what was shown stays, what was not flushed goes with its checkpoint.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use antiphon_engine::ports::{ActivityLog, Leadership, Scope};
use antiphon_model::{Activity, ActivityId, Code};
use antiphon_store::Store;
use antiphon_testkit::{Pg, PgVersion, TestDb, spawn};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{activity, batch, open, over};

/// Asynchronous commits reach the disk by the walwriter after three times its delay: here it never does in time.
const SETTINGS: [(&str, &str); 2] = [("wal_writer_delay", "10000"), ("fsync", "on")];
const ZERO: ActivityId = ActivityId::new(0);

#[tokio::test]
async fn a_crash_takes_back_what_was_not_flushed_together_with_its_checkpoint_log_06() {
    for version in PgVersion::tested() {
        let Some(pg) = Pg::private(version, &SETTINGS).await else { continue };
        let (db, _store) = open(&pg, "crash").await;
        // A commit that happens to fill a page of the server's log is written at once: then nothing is taken back.
        let mut taken_back = 0;
        for _ in 0..6 {
            taken_back += u32::from(crash_between_append_and_flush(&pg, &db).await);
        }
        assert!(taken_back > 0, "{version}: no crash took anything back, so this proved nothing");
    }
}

/// Appends and flushes one activity, appends another one, and kills the server; tells whether it took that back.
async fn crash_between_append_and_flush(pg: &Pg, db: &TestDb) -> bool {
    let mut tenure = over(db).acquire("main", "one").await.unwrap().unwrap();
    let lsn = tenure.checkpoint.lsn.as_u64();
    let one = |lsn| batch(lsn, vec![activity("acme", "1", lsn)]);
    let flushed = tenure.writer.append(&mut one(lsn + 1)).await.unwrap();
    tenure.flusher.flush(flushed).await.unwrap();
    let unflushed = tenure.writer.append(&mut one(lsn + 2)).await.unwrap();
    pg.kill9().await;
    pg.restart().await;
    let fault = tenure.writer.append(&mut one(lsn + 3)).await.unwrap_err();
    assert_eq!(fault.code(), Code::LogUnreachable, "{fault:?}");
    let mut again = over(db).acquire("main", "one").await.unwrap().unwrap();
    let taken_back = again.head.last == flushed;
    let expected = if taken_back { (flushed, lsn + 1) } else { (unflushed, lsn + 2) };
    assert_eq!((again.head.last, again.checkpoint.lsn.as_u64()), expected, "log and checkpoint go together");
    assert_eq!(again.head.durable, again.head.last, "a new leader flushes what it found");
    let rows = over(db).read(&Scope::Everything, ZERO, unflushed.plus(9), usize::MAX).await.unwrap();
    assert_eq!(rows.last().map(|activity| activity.id), Some(again.head.last), "head and rows go together");
    let next = again.writer.append(&mut one(again.checkpoint.lsn.as_u64() + 1)).await.unwrap();
    assert_eq!(next, again.head.last.plus(1), "a number that nobody was shown is given again");
    taken_back
}

#[tokio::test]
async fn a_batch_without_activities_survives_a_crash_without_a_flush_log_06() {
    let Some(pg) = Pg::private(PgVersion::V15, &SETTINGS).await else { return };
    let (db, store) = open(&pg, "emptycrash").await;
    let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
    tenure.writer.append(&mut batch(10, vec![])).await.unwrap();
    pg.kill9().await;
    pg.restart().await;
    let again = over(&db).acquire("main", "one").await.unwrap().unwrap();
    assert_eq!(again.checkpoint.lsn.as_u64(), 10, "its position may have been acknowledged");
}

#[tokio::test]
async fn what_a_connected_reader_was_shown_survives_every_crash_log_06() {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let Some(pg) = Pg::private(PgVersion::V18, &SETTINGS).await else { return };
    let (db, store) = open(&pg, "shown").await;
    let mut shown: Vec<Activity> = Vec::new();
    let mut lsn = 0;
    for round in 0..4 {
        let stop = Arc::new(AtomicBool::new(false));
        let reader = spawn("reader", follow(over(&db), shown, Arc::clone(&stop)));
        lsn = write(&store, lsn, random.random_range(20..200)).await;
        // The reader follows on beside it; the blow falls wherever it is.
        pg.kill9().await;
        stop.store(true, Ordering::Relaxed);
        shown = reader.await.unwrap();
        pg.restart().await;
        let tenure = over(&db).acquire("main", "one").await.unwrap().unwrap();
        let newest = shown.last().map_or(ZERO, |activity| activity.id);
        assert!(tenure.head.durable >= newest, "round {round}: {newest} was shown, {:?}", tenure.head);
        let kept = over(&db).read(&Scope::Everything, ZERO, newest, usize::MAX).await.unwrap();
        assert!(kept == shown, "round {round}: something that was shown changed, seed {seed}");
        lsn = lsn.min(tenure.checkpoint.lsn.as_u64());
    }
    assert!(!shown.is_empty(), "the reader saw nothing: this proved nothing");
}

/// Appends so many batches and flushes now and then; returns the position reached.
async fn write(store: &Store, mut lsn: u64, batches: u64) -> u64 {
    let mut tenure = store.acquire("main", "one").await.unwrap().unwrap();
    lsn = lsn.max(tenure.checkpoint.lsn.as_u64());
    for n in 0..batches {
        lsn += 1;
        let last = tenure.writer.append(&mut batch(lsn, vec![activity("acme", &n.to_string(), lsn)])).await.unwrap();
        if n.is_multiple_of(3) {
            tenure.flusher.flush(last).await.unwrap();
        }
    }
    lsn
}

/// Collects what a reader is shown until it is told to stop or the server is gone.
async fn follow(store: Store, mut shown: Vec<Activity>, stop: Arc<AtomicBool>) -> Vec<Activity> {
    while !stop.load(Ordering::Relaxed) {
        let Ok(head) = store.head().await else { break };
        let after = shown.last().map_or(ZERO, |activity: &Activity| activity.id);
        let Ok(page) = store.read(&Scope::Everything, after, head.durable, 1_000).await else { break };
        shown.extend(page);
    }
    shown
}

/// Two servers that both believe to be the writer, taking the log from each other.
async fn contend(store: Store, holder: &'static str, source: Arc<std::sync::atomic::AtomicU64>, appends: u64) {
    let mut done = 0;
    while done < appends {
        let Ok(Some(mut tenure)) = store.acquire("main", "one").await else { continue };
        let mut lsn = tenure.checkpoint.lsn.as_u64();
        while done < appends {
            lsn += 1;
            let Ok(last) = tenure.writer.append(&mut batch(lsn, vec![activity("acme", holder, lsn)])).await else {
                break;
            };
            done += 1;
            source.fetch_max(lsn, Ordering::Relaxed);
            if tenure.flusher.flush(last).await.is_err() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn two_writers_never_interleave_skip_or_double_a_position_log_01() {
    antiphon_testkit::for_each_postgres(|pg| async move {
        let (db, store): (TestDb, Store) = open(&pg, "two").await;
        let highest = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let servers = ["one", "two"].map(|name| {
            let store = over(&db);
            spawn("writer", contend(store, name, Arc::clone(&highest), 30))
        });
        for server in servers {
            server.await.unwrap();
        }
        let last = store.head().await.unwrap().last;
        let all = store.read(&Scope::Everything, ZERO, last, usize::MAX).await.unwrap();
        let places: Vec<(u64, u64)> = all.iter().map(|a| (a.id.as_u64(), a.commit.lsn.as_u64())).collect();
        let expected: Vec<(u64, u64)> = (1..=highest.load(Ordering::Relaxed)).map(|n| (n, n)).collect();
        assert_eq!(places, expected);
        assert!(places.len() >= 60, "each append that was reported is there");
    })
    .await;
}
