//! What is refused before the stream, and what ends it: each with its own reason, never healed in silence (I7).

use std::time::Duration;

use antiphon_engine::ports::Source;
use antiphon_model::{Checkpoint, Code, Lsn};
use antiphon_postgres::{ConnectionInfo, LogSource, SourceConfig, publication, slots};
use antiphon_testkit::{Pg, PgVersion, for_each_postgres};

use crate::stage::{Reader, Stage, until, within};

async fn refusal(source: &LogSource, checkpoint: &Checkpoint) -> antiphon_engine::Fault {
    match within(source.connect(checkpoint, &|_| {})).await {
        Ok(_) => panic!("the connection was not refused"),
        Err(fault) => fault,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_in_use_names_its_process_pg_15() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "inuse").await;
        let source = stage.source();
        let reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let slot = slots::find(&stage.client, &stage.db.slot()).await.unwrap().unwrap();
        let fault = refusal(&source, &reader.checkpoint).await;
        assert_eq!(fault.code(), Code::SlotInUse);
        assert!(fault.detail().contains(&slot.active_pid.unwrap().to_string()), "{fault}");
        let fault = slots::drop(&stage.client, &stage.db.slot(), false).await.unwrap_err();
        assert_eq!(fault.code(), Code::SlotInUse);
        slots::drop(&stage.client, &stage.db.slot(), true).await.unwrap();
        assert_eq!(reader.end().await.code(), Code::SourceUnreachable);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_gone_is_never_made_again_in_silence_pg_18() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "gone").await;
        let source = stage.source();
        let reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let checkpoint = reader.checkpoint.clone();
        drop(reader);
        slots::drop(&stage.client, &stage.db.slot(), true).await.unwrap();
        assert_eq!(refusal(&source, &checkpoint).await.code(), Code::SlotMissing);
        assert_eq!(slots::find(&stage.client, &stage.db.slot()).await.unwrap(), None);
        let missing = slots::drop(&stage.client, &stage.db.slot(), false).await.unwrap_err();
        assert_eq!(missing.code(), Code::SlotMissing);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_of_another_plugin_or_database_is_left_alone() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "foreign").await;
        let slot = stage.db.slot();
        stage.run(&format!("select pg_create_physical_replication_slot('{slot}')")).await;
        assert_eq!(refusal(&stage.source(), &Checkpoint::start()).await.code(), Code::SlotForeign);
        slots::drop(&stage.client, &slot, false).await.unwrap();
        let other = pg.database("foreignother").await;
        slots::create(&ConnectionInfo::parse(&other.url()).unwrap(), &slot, &|_| {}).await.unwrap();
        let fault = refusal(&stage.source(), &Checkpoint::start()).await;
        assert_eq!(fault.code(), Code::SlotForeign);
        assert!(fault.detail().contains(other.name()), "{fault}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_someone_moved_forward_is_told_pg_13_op_18() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "moved").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("insert into notes (id) values (1)").await;
        reader.changes(1).await;
        let checkpoint = reader.checkpoint.clone();
        drop(reader);
        let slot = stage.db.slot();
        until(&stage.client, &format!("select not active from pg_replication_slots where slot_name = '{slot}'")).await;
        stage.run("insert into notes (id) values (2)").await;
        let now: String = stage.client.query_one("select pg_current_wal_lsn()::text", &[]).await.unwrap().get(0);
        let moved = slots::advance(&stage.client, &slot, now.parse().unwrap()).await.unwrap();
        assert!(moved > checkpoint.acknowledged);
        assert_eq!(refusal(&source, &checkpoint).await.code(), Code::SlotAdvanced);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_database_or_history_is_recognised_pg_14_pg_19_pg_29() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "identity").await;
        let source = stage.source();
        let reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let checkpoint = reader.checkpoint.clone();
        drop(reader);
        let changed = |change: &dyn Fn(&mut Checkpoint)| {
            let mut changed = checkpoint.clone();
            change(&mut changed);
            changed
        };
        let identity = |checkpoint: &mut Checkpoint, change: &dyn Fn(&mut antiphon_model::SourceIdentity)| {
            checkpoint.identity.as_mut().map(change);
        };
        let other_server = changed(&|c| identity(c, &|identity| identity.system_identifier = "7".into()));
        let other_database = changed(&|c| identity(c, &|identity| identity.database_oid = 7));
        let later_timeline = changed(&|c| identity(c, &|identity| identity.timeline = 9));
        let ahead = changed(&|c| c.acknowledged = Lsn::new(u64::MAX >> 1));
        for (checkpoint, code) in [
            (other_server, Code::SourceReplaced),
            (other_database, Code::SourceReplaced),
            (later_timeline, Code::SourceForked),
            (ahead, Code::SourceRestored),
        ] {
            assert_eq!(refusal(&source, &checkpoint).await.code(), code);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_logical_log_says_so_pg_21() {
    let Some(pg) = Pg::private(PgVersion::V15, &[("wal_level", "replica")]).await else { return };
    let stage = Stage::set(&pg, "level").await;
    let fault = refusal(&stage.source(), &Checkpoint::start()).await;
    assert_eq!((fault.code(), fault.detail()), (Code::WalLevel, "wal_level is replica"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_free_slot_names_those_that_hold_one_pg_17() {
    for version in PgVersion::tested() {
        let Some(pg) = Pg::private(version, &[("max_replication_slots", "1")]).await else { continue };
        let stage = Stage::set(&pg, "exhausted").await;
        stage.run("select pg_create_physical_replication_slot('holder')").await;
        let fault = refusal(&stage.source(), &Checkpoint::start()).await;
        assert_eq!(fault.code(), Code::SlotsExhausted);
        assert!(fault.detail().contains("holder"), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_that_was_removed_is_a_lost_slot_pg_02() {
    for version in PgVersion::tested() {
        let settings = [("max_slot_wal_keep_size", "1MB"), ("max_wal_size", "32MB"), ("min_wal_size", "32MB")];
        let Some(pg) = Pg::private(version, &settings).await else { continue };
        let stage = Stage::set(&pg, "lost").await;
        let source = stage.source();
        let reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let checkpoint = reader.checkpoint.clone();
        drop(reader);
        let slot = stage.db.slot();
        until(&stage.client, &format!("select not active from pg_replication_slots where slot_name = '{slot}'")).await;
        for _ in 0..4 {
            stage.run("select pg_logical_emit_message(false, 'fill', repeat('x', 8000000)); select pg_switch_wal(); checkpoint").await;
        }
        until(
            &stage.client,
            &format!("select wal_status = 'lost' from pg_replication_slots where slot_name = '{slot}'"),
        )
        .await;
        let fault = refusal(&source, &checkpoint).await;
        assert_eq!(fault.code(), Code::SlotLost, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_is_dropped_or_shrinks_ends_the_stream_pg_53_pg_55_pg_56_pg_57() {
    for_each_postgres(|pg| async move {
        let change = |name: &str| {
            [
                format!("drop publication {name}"),
                format!("alter publication {name} drop table notes"),
                format!("alter publication {name} set (publish = 'insert, update')"),
                format!("drop publication {name}; create publication {name} for table notes"),
                // Within one look: nothing of the names has changed, and what was written meanwhile is missing.
                format!("alter publication {name} drop table notes; alter publication {name} add table notes"),
                format!("alter publication {name} set table notes where (id > 5)"),
                format!("alter publication {name} set table notes (id, org)"),
            ]
        };
        for which in 0..7 {
            let stage = Stage::set(&pg, "published").await;
            let reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
            stage.run(&change(&stage.db.publication())[which]).await;
            let fault = reader.end().await;
            assert_eq!(fault.code(), Code::PublicationChanged, "change {which}: {fault:?}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_left_the_publication_between_connections_is_told_pg_53() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "between").await;
        let source = stage.source();
        let reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let checkpoint = reader.checkpoint.clone();
        drop(reader);
        let slot = stage.db.slot();
        until(&stage.client, &format!("select not active from pg_replication_slots where slot_name = '{slot}'")).await;
        let publication = stage.db.publication();
        stage.run(&format!("alter publication {publication} drop table notes")).await;
        let fault = refusal(&source, &checkpoint).await;
        assert_eq!(fault.code(), Code::PublicationChanged);
        assert!(fault.detail().contains("public.notes"), "{fault}");
        // Put back, it lacks what was written meanwhile, whichever process looks; that is told until a new epoch.
        stage.run(&format!("insert into notes (id) values (1); alter publication {publication} add table notes")).await;
        let fault = refusal(&stage.source(), &checkpoint).await;
        assert_eq!(fault.code(), Code::PublicationChanged);
        assert!(fault.detail().contains("came back"), "{fault}");
        assert!(Reader::connect(&source, Checkpoint::start()).await.is_ok());
        // A table that was never in it does not keep the others from streaming.
        let never = Stage::set(&pg, "never").await;
        never.run(&format!("alter publication {} drop table notes", never.db.publication())).await;
        assert!(Reader::connect(&never.source(), Checkpoint::start()).await.is_ok());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_made_anew_or_not_declared_for_a_while_is_told_pg_53() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "anew").await;
        let publication = stage.db.publication();
        stage.run(&format!("drop publication {publication}; create publication {publication} for all tables")).await;
        let reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        let checkpoint = reader.checkpoint.clone();
        let again = "drop table notes; create table notes (id int primary key, org text not null default 'acme')";
        stage.run(again).await;
        let fault = reader.end().await;
        // Which of the two a look finds depends on the moment: the catalogue's functions see newer rows than a snapshot.
        let gone = format!("the publication {publication} no longer carries public.notes");
        assert_eq!(fault.code(), Code::PublicationChanged);
        assert!([gone.as_str(), "public.notes was dropped and made anew"].contains(&fault.detail()), "{fault}");
        let without = LogSource::new(SourceConfig { entities: Vec::new(), ..stage.config() }).unwrap();
        let slot = stage.db.slot();
        until(&stage.client, &format!("select not active from pg_replication_slots where slot_name = '{slot}'")).await;
        let reader = Reader::connect(&without, checkpoint).await.unwrap();
        let checkpoint = reader.checkpoint.clone();
        drop(reader);
        until(&stage.client, &format!("select not active from pg_replication_slots where slot_name = '{slot}'")).await;
        let fault = refusal(&stage.source(), &checkpoint).await;
        assert_eq!(fault.code(), Code::PublicationChanged);
        assert!(fault.detail().contains("it was not declared"), "{fault}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_older_than_its_publication_is_refused_pg_52() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "order").await;
        stage.run(&format!("drop publication {}", stage.db.publication())).await;
        let info = ConnectionInfo::parse(&stage.db.url()).unwrap();
        slots::create(&info, &stage.db.slot(), &|_| {}).await.unwrap();
        let fault = refusal(&stage.source(), &Checkpoint::start()).await;
        assert_eq!(fault.code(), Code::PublicationChanged);
        assert_eq!(publication::find(&stage.client, &stage.db.publication(), &[]).await.unwrap(), None);
        slots::drop(&stage.client, &stage.db.slot(), false).await.unwrap();
        assert!(Reader::connect(&stage.source(), Checkpoint::start()).await.is_ok());
        assert!(publication::find(&stage.client, &stage.db.publication(), &[]).await.unwrap().unwrap().via_root);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_a_slot_waits_for_open_transactions_says_so_and_can_be_given_up_pg_20() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "waits").await;
        let other = pg.database("waitsother").await;
        let writer = other.connect().await;
        writer.batch_execute("begin; create table held (id int)").await.unwrap();
        let info = ConnectionInfo::parse(&stage.db.url()).unwrap();
        let (slot, database) = (stage.db.slot(), other.name().to_owned());
        let told = tokio::sync::Notify::new();
        let waiting = |blockers: &[slots::Blocker]| {
            if blockers.iter().any(|blocker| blocker.database == database && blocker.pid.is_some()) {
                told.notify_one();
            }
        };
        {
            let creation = slots::create(&info, &slot, &waiting);
            tokio::pin!(creation);
            tokio::select! {
                created = &mut creation => panic!("the slot did not wait: {created:?}"),
                () = within(told.notified()) => {}
            }
        }
        let none = format!("select count(*) = 0 from pg_replication_slots where slot_name = '{slot}'");
        until(&stage.client, &none).await;
        let (created, committed) = tokio::join!(within(slots::create(&info, &slot, &|_| {})), async {
            tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await.ok();
            writer.batch_execute("commit").await
        });
        committed.unwrap();
        assert!(created.unwrap() > Lsn::ZERO);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_privileges_is_told_which_pg_99() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "privileges").await;
        let role = stage.db.name().to_owned();
        stage.run(&format!("create role {role} login")).await;
        let url = stage.db.url().replace("postgres@", &format!("{role}@"));
        let source = LogSource::new(stage.config_of(&url)).unwrap();
        assert_eq!(refusal(&source, &Checkpoint::start()).await.code(), Code::Permission);
        stage.run(&format!("drop role {role}")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_are_listed_with_what_they_hold_cap_50() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "listed").await;
        let info = ConnectionInfo::parse(&stage.db.url()).unwrap();
        let from = slots::create(&info, &stage.db.slot(), &|_| {}).await.unwrap();
        let taken = slots::create(&info, &stage.db.slot(), &|_| {}).await.unwrap_err();
        assert_eq!(taken.code(), Code::SlotForeign);
        stage.run("insert into notes (id) select generate_series(1, 1000)").await;
        let listed = slots::list(&stage.client).await.unwrap();
        let slot = listed.iter().find(|slot| slot.name == stage.db.slot()).unwrap();
        assert_eq!((slot.plugin.as_deref(), slot.database.as_deref()), (Some("pgoutput"), Some(stage.db.name())));
        assert_eq!((slot.confirmed, slot.active_pid, slot.lost()), (Some(from), None, false));
        assert!(slot.retained_bytes.unwrap() > 0 && slot.lag_bytes.unwrap() > 0);
        assert_eq!(slot.failover, pg.version() >= PgVersion::V17);
    })
    .await;
}
