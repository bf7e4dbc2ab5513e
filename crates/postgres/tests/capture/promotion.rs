//! A standby takes over, on the version that carries slots over: what goes on, and what is recognised and stopped.
//!
//! Real primaries and standbys. A promoted server that has all that was captured goes on from
//! the checkpoint; one that lacks something of it is never captured further.

use antiphon_engine::ports::Source;
use antiphon_model::{Checkpoint, Code};
use antiphon_postgres::{
    ConnectionInfo,
    failover::{self, Lack},
    slots,
};
use antiphon_testkit::{Pg, PgVersion, StopMode};

use crate::stage::{Reader, Stage, column, until, within};

/// A primary with a stage, and its standby.
struct Pair {
    primary: Pg,
    standby: Pg,
    stage: Stage,
}

const COPIES_SLOTS: &[(&str, &str)] = &[("sync_replication_slots", "on"), ("hot_standby_feedback", "on")];

impl Pair {
    async fn set(hint: &str, standby: &[(&str, &str)]) -> Option<Pair> {
        // The newest of this run that carries slots over; a run about older ones has nothing to show here.
        let version = PgVersion::tested().into_iter().filter(|version| *version >= PgVersion::V17).max()?;
        let primary = Pg::private(version, &[]).await?;
        let stage = Stage::set(&primary, hint).await;
        let standby = primary.standby("second", standby).await;
        Some(Pair { primary, standby, stage })
    }

    async fn await_standby(&self) {
        self.stage.run("alter system set synchronized_standby_slots = 'second'").await;
        self.stage.run("select pg_reload_conf()").await;
        until(&self.stage.client, "select current_setting('synchronized_standby_slots') = 'second'").await;
    }

    /// Waits until the standby's copy of the slot would outlive a promotion.
    async fn copied(&self) {
        let slot = self.stage.db.slot();
        let held = "synced and not temporary and invalidation_reason is null";
        self.standby
            .until("postgres", &format!("select {held} from pg_replication_slots where slot_name = '{slot}'"))
            .await;
    }

    /// Waits until the standby has everything that the primary has written.
    async fn followed(&self) {
        let written = self.stage.client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await.unwrap();
        let written: String = written.get(0);
        self.standby.until("postgres", &format!("select pg_last_wal_replay_lsn() >= '{written}'::pg_lsn")).await;
    }

    fn url(&self) -> String {
        self.standby.url(self.stage.db.name())
    }

    async fn promoted_run(&self, sql: &str) {
        self.standby.connect(self.stage.db.name()).await.batch_execute(sql).await.unwrap();
    }

    /// Connects to the standby as to a server that took over, and returns why that is refused.
    async fn refused(&self, checkpoint: &Checkpoint) -> antiphon_engine::Fault {
        let source = antiphon_postgres::LogSource::new(self.stage.config_of(&self.url())).unwrap();
        match within(source.connect(checkpoint, &|_| {})).await {
            Ok(_) => panic!("the promoted server was not refused"),
            Err(fault) => fault,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_with_the_slot_goes_on_where_the_checkpoint_ends_pg_24_pg_29_pg_33() {
    let Some(pair) = Pair::set("promoted", COPIES_SLOTS).await else { return };
    let stage = &pair.stage;
    // Both hosts are in the URL from the start, as an operator would write it.
    let hosts = format!("{},{}", pair.primary.address(), pair.standby.address());
    let url = stage.db.url().replace(&pair.primary.address().to_string(), &hosts) + "?target_session_attrs=read-write";
    let source = antiphon_postgres::LogSource::new(stage.config_of(&url)).unwrap();
    let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
    pair.await_standby().await;
    stage.run("insert into notes (id) values (1)").await;
    assert_eq!(column(&reader.changes(1).await, 0), ["1"]);
    reader.acknowledge();
    pair.copied().await;
    stage.run("insert into notes (id) values (2)").await;
    stage.run("insert into notes (id) values (3)").await;
    assert_eq!(column(&reader.changes(2).await, 0), ["2", "3"]);
    // Captured and not acknowledged: the slot stands before the checkpoint, and proves itself.
    let checkpoint = reader.checkpoint.clone();
    stage.run("insert into notes (id) values (4)").await;
    pair.followed().await;
    pair.primary.kill9().await;
    drop(reader);
    pair.standby.promote().await;
    pair.promoted_run("insert into notes (id) values (5)").await;
    let mut reader = Reader::connect(&source, checkpoint.clone()).await.unwrap();
    assert_eq!(reader.capture.identity().timeline, 2);
    let mut ids = Vec::new();
    while ids.last().map(String::as_str) != Some("5") {
        let antiphon_engine::ports::Captured::Transactions(found) = reader.next().await.unwrap() else { continue };
        // What comes again is known by its position.
        let new: Vec<_> = found.into_iter().filter(|transaction| transaction.commit_lsn > checkpoint.lsn).collect();
        ids.extend(column(&new, 0));
    }
    assert_eq!(ids, ["4", "5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_without_the_slot_is_told_as_such_pg_24() {
    let Some(pair) = Pair::set("slotless", &[]).await else { return };
    let mut reader = Reader::connect(&pair.stage.source(), Checkpoint::start()).await.unwrap();
    pair.stage.run("insert into notes (id) values (1)").await;
    reader.changes(1).await;
    pair.followed().await;
    let checkpoint = reader.checkpoint.clone();
    pair.primary.kill9().await;
    pair.standby.promote().await;
    let fault = pair.refused(&checkpoint).await;
    assert_eq!(fault.code(), Code::SlotMissingAfterFailover, "{fault}");
    assert!(fault.detail().contains("timeline 2"), "{fault}");
    let client = pair.standby.connect(pair.stage.db.name()).await;
    assert_eq!(slots::find(&client, &pair.stage.db.slot()).await.unwrap(), None, "a slot was made in silence");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_that_lacks_what_was_captured_is_a_fork_pg_28() {
    let Some(pair) = Pair::set("forked", COPIES_SLOTS).await else { return };
    let mut reader = Reader::connect(&pair.stage.source(), Checkpoint::start()).await.unwrap();
    pair.stage.run("insert into notes (id) values (1)").await;
    let kept = reader.changes(1).await;
    reader.acknowledge();
    pair.copied().await;
    // The standby is cut off; nobody told the primary to wait for it.
    pair.standby.halt(StopMode::Fast).await;
    pair.stage.run("insert into notes (id) values (2)").await;
    let lost = reader.changes(1).await;
    assert_eq!(column(&lost, 0), ["2"]);
    let checkpoint = reader.checkpoint.clone();
    pair.primary.kill9().await;
    pair.standby.restart().await;
    pair.standby.promote().await;
    // As much is written there as is needed to pass the checkpoint's position: numbers alone would tell nothing.
    pair.promoted_run("insert into notes select n, 'acme', repeat('x', 1000) from generate_series(10, 500) n").await;
    let fault = pair.refused(&checkpoint).await;
    assert_eq!(fault.code(), Code::SourceForked, "{fault}");
    // Its words divide what was captured: what lies after the position was taken back, and nothing else.
    let words = fault.detail().split([' ', ',']).skip_while(|word| *word != "at").nth(1);
    let began: antiphon_model::Lsn = words.expect("a position").parse().expect("a position");
    assert!(kept.iter().all(|transaction| transaction.commit_lsn <= began), "{fault}");
    assert!(lost.iter().all(|transaction| transaction.commit_lsn > began), "{fault}");
    // And the old primary is not taken for the new one once the new one was captured.
    pair.primary.restart().await;
    let mut beyond = checkpoint;
    beyond.identity.as_mut().unwrap().timeline = 2;
    let source = pair.stage.source();
    let fault = within(source.connect(&beyond, &|_| {})).await.err().expect("the old primary was taken");
    assert_eq!(fault.code(), Code::SourceForked, "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_old_primary_wrote_last_matters_only_where_it_was_ours_pg_28_pg_29() {
    let Some(pair) = Pair::set("tail", COPIES_SLOTS).await else { return };
    let mut reader = Reader::connect(&pair.stage.source(), Checkpoint::start()).await.unwrap();
    pair.stage.run("insert into notes (id) values (1)").await;
    reader.changes(1).await;
    reader.acknowledge();
    pair.copied().await;
    pair.followed().await;
    pair.standby.halt(StopMode::Fast).await;
    // Nothing of ours, and yet the position that the server may be told moves past the fork.
    let before = reader.checkpoint.acknowledged;
    pair.stage.run("create table other (n int)").await;
    pair.stage.run("insert into other select generate_series(1, 1000)").await;
    let written = pair.stage.client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await.unwrap();
    let written: antiphon_model::Lsn = written.get::<_, String>(0).parse().unwrap();
    while reader.checkpoint.acknowledged < written {
        reader.next().await.unwrap();
    }
    assert!(reader.checkpoint.acknowledged > before);
    reader.acknowledge();
    let checkpoint = reader.checkpoint.clone();
    pair.primary.kill9().await;
    drop(reader);
    pair.standby.restart().await;
    pair.standby.promote().await;
    pair.promoted_run("insert into notes (id) values (2)").await;
    let source = antiphon_postgres::LogSource::new(pair.stage.config_of(&pair.url())).unwrap();
    let mut reader = Reader::connect(&source, checkpoint.clone()).await.unwrap();
    assert!(reader.capture.started_at() < checkpoint.acknowledged, "the stream would skip what stands there now");
    let mut ids = Vec::new();
    while ids.last().map(String::as_str) != Some("2") {
        let antiphon_engine::ports::Captured::Transactions(found) = reader.next().await.unwrap() else { continue };
        let new: Vec<_> = found.into_iter().filter(|transaction| transaction.commit_lsn > checkpoint.lsn).collect();
        ids.extend(column(&new, 0));
    }
    assert_eq!(ids, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_server_that_waits_for_a_standby_it_does_not_have_says_so_pg_26() {
    let Some(pair) = Pair::set("waits", COPIES_SLOTS).await else { return };
    let mut reader = Reader::connect(&pair.stage.source(), Checkpoint::start()).await.unwrap();
    pair.stage.run("insert into notes (id) values (1)").await;
    reader.changes(1).await;
    reader.acknowledge();
    pair.copied().await;
    pair.followed().await;
    let checkpoint = reader.checkpoint.clone();
    pair.primary.kill9().await;
    pair.standby.promote().await;
    // As a standby made from a primary that waits for it would have it.
    pair.promoted_run("alter system set synchronized_standby_slots = 'second'").await;
    pair.promoted_run("select pg_reload_conf()").await;
    pair.standby.until("postgres", "select current_setting('synchronized_standby_slots') = 'second'").await;
    let fault = pair.refused(&checkpoint).await;
    assert_eq!(fault.code(), Code::StandbyWaits, "{fault}");
    assert!(fault.detail().contains("alter system reset synchronized_standby_slots"), "{fault}");
    // The remedy is run to the letter.
    pair.promoted_run("alter system reset synchronized_standby_slots").await;
    pair.promoted_run("select pg_reload_conf()").await;
    pair.standby.until("postgres", "select current_setting('synchronized_standby_slots') = ''").await;
    let source = antiphon_postgres::LogSource::new(pair.stage.config_of(&pair.url())).unwrap();
    let reader = Reader::connect(&source, checkpoint).await.unwrap();
    // Set while the stream runs, it ends the stream within a look.
    pair.promoted_run("alter system set synchronized_standby_slots = 'second'").await;
    pair.promoted_run("select pg_reload_conf()").await;
    assert_eq!(reader.end().await.code(), Code::StandbyWaits);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_yielded_that_an_awaited_standby_does_not_have_pg_28() {
    let Some(pair) = Pair::set("bounded", COPIES_SLOTS).await else { return };
    pair.await_standby().await;
    let mut reader = Reader::connect(&pair.stage.source(), Checkpoint::start()).await.unwrap();
    pair.stage.run("insert into notes (id) values (1)").await;
    reader.changes(1).await;
    pair.standby.halt(StopMode::Fast).await;
    pair.stage.run("insert into notes (id) values (2)").await;
    // The change does not come; that the standby is missing does.
    let fault = loop {
        match reader.next().await {
            Ok(antiphon_engine::ports::Captured::Transactions(found)) => panic!("it came: {:?}", column(&found, 0)),
            Ok(_) => {}
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault.code(), Code::StandbyWaits, "{fault}");
    let checkpoint = reader.checkpoint.clone();
    drop(reader);
    pair.standby.restart().await;
    let follows = "select active from pg_replication_slots where slot_name = 'second'";
    until(&pair.stage.client, follows).await;
    let mut reader = Reader::connect(&pair.stage.source(), checkpoint).await.unwrap();
    assert_eq!(column(&reader.changes(1).await, 0), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_to_a_ready_standby_is_named_with_its_remedy_pg_25_pg_26() {
    let Some(pair) = Pair::set("ready", &[]).await else { return };
    let info = ConnectionInfo::parse(&pair.stage.db.url()).unwrap();
    let standby = ConnectionInfo::parse(&pair.url()).unwrap();
    let slot = pair.stage.db.slot();
    let lacks = || async {
        let readiness = failover::examine(&info, Some(&standby), &slot).await.unwrap();
        assert_eq!(readiness.standbys, ["second"]);
        for found in &readiness.lacks {
            assert!(!found.remedy.is_empty() && !found.detail.is_empty(), "{found:?}");
        }
        readiness.lacks.iter().map(|found| found.lack).collect::<Vec<_>>()
    };
    // A slot of before, made without the thought of a failover.
    pair.stage.run(&format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await;
    let first =
        [Lack::SlotNotForFailover, Lack::StandbyNotAwaited, Lack::SyncOff, Lack::FeedbackOff, Lack::SlotNotCopied];
    assert_eq!(lacks().await, first);
    slots::drop(&pair.stage.client, &slot, false).await.unwrap();
    let mut reader = Reader::connect(&pair.stage.source(), Checkpoint::start()).await.unwrap();
    assert_eq!(lacks().await, first[1..]);
    pair.await_standby().await;
    assert_eq!(lacks().await, first[2..]);
    let unseen = failover::examine(&info, None, &slot).await.unwrap();
    assert_eq!((unseen.word(), unseen.lacks.len()), ("standby_unseen", 1));
    for setting in ["hot_standby_feedback = on", "sync_replication_slots = on"] {
        pair.standby.admin().await.batch_execute(&format!("alter system set {setting}")).await.unwrap();
    }
    pair.standby.admin().await.batch_execute("select pg_reload_conf()").await.unwrap();
    pair.stage.run("insert into notes (id) values (1)").await;
    reader.changes(1).await;
    reader.acknowledge();
    pair.copied().await;
    let ready = failover::examine(&info, Some(&standby), &slot).await.unwrap();
    assert_eq!((ready.word(), ready.lacks.as_slice(), ready.seen.len()), ("ready", &[][..], 1));
    pair.standby.halt(StopMode::Fast).await;
    let away = failover::examine(&info, Some(&standby), &slot).await.unwrap();
    assert_eq!(away.word(), "standby_waits");
    assert!(away.lacks.iter().any(|found| found.lack == Lack::StandbyUnreachable), "{away:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_of_the_same_name_on_the_standby_is_explained_pg_27() {
    let Some(pair) = Pair::set("taken", &[("hot_standby_feedback", "on")]).await else { return };
    let slot = pair.stage.db.slot();
    let reader = Reader::connect(&pair.stage.source(), Checkpoint::start()).await.unwrap();
    let own = format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')");
    let standby = pair.standby.connect(pair.stage.db.name()).await;
    let made = tokio::spawn(async move { standby.batch_execute(&own).await });
    // A slot on a standby begins at the next sign of the primary.
    while !made.is_finished() {
        pair.stage.run("select pg_log_standby_snapshot()").await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    made.await.unwrap().unwrap();
    let info = ConnectionInfo::parse(&pair.stage.db.url()).unwrap();
    let standby = ConnectionInfo::parse(&pair.url()).unwrap();
    let readiness = failover::examine(&info, Some(&standby), &slot).await.unwrap();
    let taken = readiness.lacks.iter().find(|found| found.lack == Lack::SlotNameTaken).expect("not told");
    assert_eq!(taken.remedy, format!("on the standby: select pg_drop_replication_slot('{slot}');"));
    drop(reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_would_vanish_at_a_promotion_is_told_until_the_standby_keeps_it_pg_25() {
    let Some(pair) = Pair::set("vanishing", &[("hot_standby_feedback", "on")]).await else { return };
    pair.await_standby().await;
    let mut reader = Reader::connect(&pair.stage.source(), Checkpoint::start()).await.unwrap();
    // The slot stays behind what the standby has: its copy cannot be kept yet.
    for id in 1..=5 {
        pair.stage.run(&format!("insert into notes (id) values ({id})")).await;
    }
    reader.changes(5).await;
    pair.followed().await;
    for sql in ["alter system set sync_replication_slots = on", "select pg_reload_conf()"] {
        pair.standby.admin().await.batch_execute(sql).await.unwrap();
    }
    let slot = pair.stage.db.slot();
    let temporary = format!("select synced and temporary from pg_replication_slots where slot_name = '{slot}'");
    pair.standby.until("postgres", &format!("select coalesce(({temporary}), false)")).await;
    let info = ConnectionInfo::parse(&pair.stage.db.url()).unwrap();
    let standby = ConnectionInfo::parse(&pair.url()).unwrap();
    let readiness = failover::examine(&info, Some(&standby), &slot).await.unwrap();
    assert_eq!(readiness.word(), "slot_temporary", "{readiness:?}");
    assert!(readiness.lacks.iter().all(|found| !found.remedy.is_empty()), "{readiness:?}");
    // Reading on is the remedy: the copy is kept as soon as the slot has come to where the standby began.
    let kept = async {
        let mut id = 5;
        while failover::examine(&info, Some(&standby), &slot).await.unwrap().word() != "ready" {
            id += 1;
            pair.stage.run("select pg_log_standby_snapshot()").await;
            pair.stage.run(&format!("insert into notes (id) values ({id})")).await;
            reader.changes(1).await;
            reader.acknowledge();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(90), kept).await.expect("the copy is kept");
}
