//! Servers that went back or are others, real ones: restored from a backup or from their files, or made anew.
//!
//! System identifier and timeline may be the same, and the log may be longer than it was; none is ever captured further.

use antiphon_engine::{Fault, ports::Source};
use antiphon_model::{Checkpoint, Code, Lsn};
use antiphon_postgres::{LogSource, slots};
use antiphon_testkit::{Pg, PgVersion};

use crate::stage::{Reader, Stage, column, reader_of, until, within};

/// Connects to a server that stands where the captured one stood, and returns what is said of it, at once or once the
/// stream shows it.
async fn recognised(stage: &Stage, server: &Pg, checkpoint: &Checkpoint) -> Fault {
    let source = LogSource::new(stage.config_of(&server.url(stage.db.name()))).unwrap();
    match within(source.connect(checkpoint, &|_| {})).await {
        Err(fault) => fault,
        Ok(capture) => {
            let mut reader = reader_of(capture, checkpoint.clone());
            loop {
                match reader.next().await {
                    Err(fault) => return fault,
                    Ok(antiphon_engine::ports::Captured::Transactions(found)) => {
                        let beyond = found.iter().any(|transaction| transaction.commit_lsn > checkpoint.lsn);
                        assert!(!beyond, "a change of another history was yielded");
                    }
                    Ok(_) => {}
                }
            }
        }
    }
}

/// Captures so many rows, each a commit, tells the server that they are durable, and stops.
async fn captured(stage: &Stage, rows: usize) -> Checkpoint {
    let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
    for id in 1..=rows {
        stage.run(&format!("insert into notes (id) values ({id})")).await;
    }
    reader.changes(rows).await;
    reader.acknowledge();
    reader.checkpoint
}

async fn write_past(stage: &Stage, server: &Pg, checkpoint: &Checkpoint) {
    let client = server.connect(stage.db.name()).await;
    let past = checkpoint.acknowledged.max(checkpoint.lsn);
    loop {
        let insert = "insert into notes select max(id) + 1, 'acme', repeat('x', 2000) from notes";
        client.batch_execute(insert).await.unwrap();
        let row = client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await.unwrap();
        if row.get::<_, String>(0).parse::<Lsn>().unwrap() > past {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_recognised_before_and_after_it_outgrows_the_checkpoint_op_19() {
    for version in PgVersion::tested() {
        let Some(pg) = Pg::private(version, &[]).await else { continue };
        let stage = Stage::set(&pg, "backup").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        stage.run("insert into notes (id) values (1)").await;
        reader.changes(1).await;
        let backup = pg.backup().await;
        // More than a backup's own segment of log, so that the restored server stands behind.
        stage.run("select pg_switch_wal()").await;
        stage.run("insert into notes (id) values (2)").await;
        stage.run("select pg_switch_wal()").await;
        stage.run("insert into notes (id) values (3)").await;
        reader.changes(2).await;
        let checkpoint = reader.checkpoint.clone();
        let restored = backup.start(&[]).await;
        let fault = recognised(&stage, &restored, &checkpoint).await;
        assert_eq!(fault.code(), Code::SourceRestored, "{version}: {fault}");
        let client = restored.connect(stage.db.name()).await;
        client.batch_execute("select pg_switch_wal()").await.unwrap();
        write_past(&stage, &restored, &checkpoint).await;
        client.batch_execute("select pg_switch_wal()").await.unwrap();
        write_past(&stage, &restored, &checkpoint).await;
        // Its log is longer now; that it has no slot says that it is not the server that we knew.
        let fault = recognised(&stage, &restored, &checkpoint).await;
        assert!(matches!(fault.code(), Code::SourceRestored | Code::SlotMissing), "{version}: {fault}");
        assert_eq!(slots::find(&client, &stage.db.slot()).await.unwrap(), None, "a slot was made in silence");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_files_with_the_slot_in_them_are_recognised_by_their_history_op_19() {
    for version in PgVersion::tested() {
        let Some(pg) = Pg::private(version, &[]).await else { continue };
        let stage = Stage::set(&pg, "files").await;
        let checkpoint = captured(&stage, 1).await;
        let copy = pg.copy_of_files().await;
        let stage = Stage { client: stage.db.connect().await, ..stage };
        let mut reader = Reader::connect(&stage.source(), checkpoint).await.unwrap();
        stage.run("insert into notes (id) values (2)").await;
        reader.changes(1).await;
        let checkpoint = reader.checkpoint.clone();
        let restored = copy.start(&[]).await;
        // Same identifier, same timeline, the slot is there and its log is as long: only the history differs.
        write_past(&stage, &restored, &checkpoint).await;
        let fault = recognised(&stage, &restored, &checkpoint).await;
        assert_eq!(fault.code(), Code::SourceRestored, "{version}: {fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_with_the_same_database_and_slot_is_recognised_pg_19() {
    for version in PgVersion::tested() {
        let Some(pg) = Pg::private(version, &[]).await else { continue };
        let Some(other) = Pg::private(version, &[]).await else { continue };
        let stage = Stage::set(&pg, "other").await;
        let reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        let checkpoint = reader.checkpoint.clone();
        let name = stage.db.name();
        other.admin().await.batch_execute(&format!("create database {name}")).await.unwrap();
        let client = other.connect(name).await;
        let slot = stage.db.slot();
        client.batch_execute("create table notes (id int primary key, org text, body text)").await.unwrap();
        let publication = format!("create publication {} for table notes", stage.db.publication());
        client.batch_execute(&publication).await.unwrap();
        let made = format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')");
        client.batch_execute(&made).await.unwrap();
        let fault = recognised(&stage, &other, &checkpoint).await;
        assert_eq!(fault.code(), Code::SourceReplaced, "{version}: {fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_dropped_and_made_again_is_not_taken_for_the_old_one_pg_18() {
    for version in PgVersion::tested() {
        let Some(pg) = Pg::shared(version).await else { continue };
        let stage = Stage::set(&pg, "again").await;
        let checkpoint = captured(&stage, 1).await;
        let slot = stage.db.slot();
        until(&stage.client, &format!("select not active from pg_replication_slots where slot_name = '{slot}'")).await;
        slots::drop(&stage.client, &slot, true).await.unwrap();
        // This change is what a new slot would lose without a word.
        stage.run("insert into notes (id) values (2)").await;
        stage.run(&format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await;
        let fault = recognised(&stage, &pg, &checkpoint).await;
        assert_eq!(fault.code(), Code::SlotAdvanced, "{version}: {fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashed_proves_its_history_and_goes_on_pg_12() {
    for version in PgVersion::tested() {
        let Some(pg) = Pg::private(version, &[]).await else { continue };
        let stage = Stage::set(&pg, "crashed").await;
        let checkpoint = captured(&stage, 3).await;
        pg.kill9().await;
        pg.restart().await;
        let stage = Stage { client: stage.db.connect().await, ..stage };
        let mut reader = Reader::connect(&stage.source(), checkpoint.clone()).await.unwrap();
        stage.run("insert into notes (id) values (4)").await;
        let mut new = 0;
        while new == 0 {
            let antiphon_engine::ports::Captured::Transactions(found) = reader.next().await.unwrap() else { continue };
            new += found.iter().filter(|transaction| transaction.commit_lsn > checkpoint.lsn).count();
        }
        assert_eq!(new, 1, "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_server_is_another_one_and_is_captured_anew_or_not_at_all_pg_34() {
    // The oldest of this run, and the newest: slots are left behind up to 16, and kept by no package from 17 on.
    let (Some(old), Some(new)) = (PgVersion::tested().into_iter().min(), PgVersion::tested().into_iter().max()) else {
        return;
    };
    if old == new || old >= PgVersion::V17 {
        return;
    }
    let Some(pg) = Pg::private(old, &[]).await else { return };
    let stage = Stage::set(&pg, "upgraded").await;
    let checkpoint = captured(&stage, 2).await;
    let Some(upgraded) = pg.upgraded(new, &[]).await else { return };
    let fault = recognised(&stage, &upgraded, &checkpoint).await;
    assert_eq!(fault.code(), Code::SourceReplaced, "{fault}");
    let client = upgraded.connect(stage.db.name()).await;
    assert_eq!(slots::find(&client, &stage.db.slot()).await.unwrap(), None, "a slot was made in silence");
    // Begun anew, by an operator, it streams what is written from then on; publication and rows came along.
    let source = LogSource::new(stage.config_of(&upgraded.url(stage.db.name()))).unwrap();
    let mut anew = Reader::connect(&source, Checkpoint::start()).await.unwrap();
    client.batch_execute("insert into notes (id) select max(id) + 1 from notes").await.unwrap();
    assert_eq!(column(&anew.changes(1).await, 0), ["3"]);
}
