//! What a process lives on is taken away under load: memory, descriptors, a clock that tells the truth (OP-07, OP-08,
//! OP-12). Afterwards source, log and reader are compared as after a kill.

use std::{sync::Arc, time::Duration};

use antiphon_testkit::{Limited, Means, PgVersion, SteppedClock, get, memory_bytes};
use tokio::{net::TcpStream, task::JoinSet};

use crate::{
    number,
    scene::{DEADLINE, Reader, Scene, Under},
    verify,
    workload::Workload,
};

/// So many sessions write at once.
const SESSIONS: u64 = 4;

/// A scene under load, with a reader that misses nothing.
struct Loaded {
    scene: Scene,
    reader: Reader,
    workload: Arc<Workload>,
    writers: JoinSet<()>,
}

impl Loaded {
    async fn open(version: PgVersion, under: Under) -> Option<Loaded> {
        let seed = number("ANTIPHON_SEED", u64::from(std::process::id()));
        println!("seed {seed}");
        let mut scene = Scene::open_under(version, 0, under).await?;
        scene.copied().await;
        let reader = scene.follow("acme");
        let workload = Arc::new(Workload::default());
        let writers = workload.start(&scene.pg, scene.database(), SESSIONS, seed);
        Some(Loaded { scene, reader, workload, writers })
    }

    /// Writes a row and waits until it is captured.
    async fn captures(&self, what: &str) {
        let id = self.scene.marked(what).await;
        let logged = format!("select exists (select from log.activities where entity = '{id}')");
        self.scene.until_log(what, &logged).await;
    }

    /// Ends the load.
    async fn unload(&mut self) {
        self.workload.stop();
        while self.writers.join_next().await.is_some() {}
    }

    /// Ends the load and compares.
    async fn verify(mut self) {
        // A quick machine has been through everything before much was written.
        self.scene.until_log("the load has done something", "select count(*) > 100 from log.activities").await;
        self.unload().await;
        let sentinel = self.scene.sentinel().await;
        let shown = self.scene.collect(self.reader, &sentinel).await;
        let log = verify::log(&self.scene.log_client().await).await.expect("the log can be read");
        let source = verify::source(&self.scene.client().await).await.expect("the source can be read");
        let (verdict, seen) = (verify::compare(&log, &source), verify::compare_reader(&shown, &log, "acme"));
        println!("{} commits, {} activities; log: {verdict}; reader: {seen}", self.workload.commits(), log.len());
        assert!(verdict.clean(), "{verdict:#?}");
        assert!(seen.clean(), "{seen:#?}");
    }
}

/// A transaction of so many rows of 1,300 bytes.
const LARGE: &str = "insert into items (organization_id, payload)
    select 'globex', repeat(md5(n::text), 40) from generate_series(1, $1) n";

/// One value of 48 MB.
const HUGE: &str = "insert into items (organization_id, payload) values ('globex', repeat('huge', 12582912))";

#[tokio::test(flavor = "multi_thread")]
async fn memory_has_its_bound_and_who_finds_none_ends_and_begins_again_op_07() {
    for version in PgVersion::tested() {
        let Some(mut loaded) = Loaded::open(version, Under::default()).await else { continue };
        for round in 1..=2 {
            let pid = loaded.scene.server().pid().expect("it runs");
            let room = memory_bytes(pid).expect("its memory") + (8 << 20);
            let left = Limited::process(pid, Means::Memory, room).expect("limited");
            // In one piece it has no room any more, whatever was freed before.
            loaded.scene.client().await.execute(HUGE, &[]).await.expect("the application writes on");
            let ended = loaded.scene.server().wait(DEADLINE).await.expect("without memory it ends");
            assert!(!ended.success(), "{ended}");
            println!("{version}, round {round}: it ended with {ended}");
            drop(left);
            loaded.scene.supervise().await;
            loaded.captures("begun again").await;
        }
        loaded.unload().await;
        // Enough for what it holds at most, whatever the size of a transaction: more than that passes through.
        let pid = loaded.scene.server().pid().expect("it runs");
        let before = memory_bytes(pid).expect("its memory");
        let bound = Limited::process(pid, Means::Memory, before + (64 << 20)).expect("limited");
        loaded.scene.client().await.execute(LARGE, &[&160_000]).await.expect("a large transaction");
        loaded.captures("after a large transaction").await;
        assert_eq!(loaded.scene.server().pid(), Some(pid), "it ended");
        println!("{version}: {} MiB before, {} after", before >> 20, memory_bytes(pid).expect("its memory") >> 20);
        drop(bound);
        loaded.verify().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_that_run_out_are_told_and_capture_keeps_its_own_op_08() {
    for version in PgVersion::tested() {
        let under = Under { descriptors: Some((64, 256)), ..Under::default() };
        let Some(mut loaded) = Loaded::open(version, under).await else { continue };
        let pid = loaded.scene.server().pid().expect("it runs");
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("its limits");
        let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
        assert_eq!(files.split_whitespace().nth(3), Some("256"), "it did not ask for what it may have: {files}");

        // Peers take every place there is for them.
        let address = loaded.scene.base().trim_start_matches("http://").to_owned();
        let mut peers = Vec::new();
        for _ in 0..200 {
            peers.push(TcpStream::connect(&address).await.expect("the system takes it"));
        }
        let told = |line: &str| line.contains("as many as this process may have descriptors for");
        loaded.scene.server().wait_for_line(told, DEADLINE).await.expect("it is told");
        let client = loaded.scene.client().await;
        let cut =
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like 'antiphon%'";
        client.execute(cut, &[]).await.expect("every connection to the databases is cut");
        loaded.captures("connected anew while peers hold what they could get").await;
        let told_often = loaded.scene.server().lines().iter().filter(|line| told(line)).count();
        assert_eq!(told_often, 1, "one line for one state");
        drop(peers);
        let ready = get(&format!("{}/readyz", loaded.scene.base()), None, &[]).await.expect("an answer");
        assert_eq!(ready.status, 200, "{}", ready.text());

        // Not even those are left: nothing can be opened, and nothing ends for it.
        let none = Limited::process(pid, Means::Descriptors, 4).expect("limited");
        client.execute(cut, &[]).await.expect("every connection to the databases is cut");
        let told = |line: &String| line.contains("retrying") && line.contains("no descriptor is left");
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !loaded.scene.server().lines().iter().any(told) {
            assert!(tokio::time::Instant::now() < deadline, "{}", loaded.scene.server().lines().join("\n"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(none);
        loaded.captures("with descriptors again").await;
        assert_eq!(loaded.scene.server().pid(), Some(pid), "it ended");
        loaded.verify().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_leaves_leases_and_changes_in_their_place_op_12() {
    for version in PgVersion::tested() {
        let Some(clock) = SteppedClock::new() else { return };
        let clock = Some(clock);
        let Some(mut loaded) = Loaded::open(version, Under { clock, ..Under::default() }).await else { continue };
        let mut other = loaded.scene.another();
        let bases = [loaded.scene.base(), other.base()];
        loaded.scene.capturing(&bases).await;
        // An hour ahead, back, an hour behind, and a leap second; the databases' clock and the servers' alike.
        for ahead_seconds in [3_600, 0, -3_600, -3_599] {
            let before = fence(&loaded.scene).await;
            loaded.scene.step_clock(ahead_seconds);
            let wanted =
                format!("abs(extract(epoch from clock_timestamp()) - {} - ({ahead_seconds})) < 600", seconds());
            loaded.scene.until_log("the clock is stepped", &format!("select {wanted}")).await;
            loaded.captures("after the step").await;
            // Whoever holds the lease has renewed it by the new time.
            let renewed = "select expires_at between clock_timestamp() and clock_timestamp() + interval '11 seconds'
                from log.checkpoints";
            loaded.scene.until_log("the lease is renewed", renewed).await;
            let taken = fence(&loaded.scene).await - before;
            println!("{version}, {ahead_seconds} s ahead: the lease was taken {taken} times");
            // Whoever takes it over waits with it until the former holder has let go of the slot.
            assert!(taken <= 1, "the lease went back and forth: {taken}");
            let settled = fence(&loaded.scene).await;
            let later = expires(&loaded.scene).await;
            loaded
                .scene
                .until_log(
                    "two more renewals",
                    &format!("select expires_at > '{later}'::timestamptz + interval '4 seconds' from log.checkpoints"),
                )
                .await;
            assert_eq!(fence(&loaded.scene).await, settled, "it was taken again with nobody gone");
            loaded.captures("and later").await;
        }
        // Behind, a lease looks good for an hour longer; a holder that is gone is followed at once all the same.
        let leads = loaded.scene.capturing(&bases).await;
        match leads {
            0 => loaded.scene.kill_server().await,
            _ => loaded.scene.kill_another(&mut other).await,
        }
        let began = tokio::time::Instant::now();
        loaded.captures("by whoever is left").await;
        assert!(began.elapsed() < Duration::from_secs(60), "it took {:?}", began.elapsed());
        loaded.verify().await;
    }
}

async fn fence(scene: &Scene) -> i64 {
    scene.log_client().await.query_one("select fence from log.checkpoints", &[]).await.expect("a row").get(0)
}

async fn expires(scene: &Scene) -> String {
    let sql = "select expires_at::text from log.checkpoints";
    scene.log_client().await.query_one(sql, &[]).await.expect("a row").get(0)
}

/// The true time.
fn seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}
