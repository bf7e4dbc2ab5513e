//! What arrives: everything that was committed, once, in order, under pinned settings.

use antiphon_engine::ports::{Captured, Source};
use antiphon_model::{Change, Checkpoint, Code, Lsn, Transaction};
use antiphon_postgres::{ConnectionInfo, LogSource, connect_sql, slots};
use antiphon_testkit::{Direction, Faults, Pg, PgVersion, Proxy, StopMode, for_each_postgres};
use rand::{Rng, SeedableRng, seq::IndexedRandom};

use crate::stage::{Reader, Stage, column, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn commits_arrive_once_and_in_order_and_rollbacks_never_cap_11() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "commits").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("insert into notes (id, body) values (1, 'a')").await;
        stage.run("begin; insert into notes (id) values (2); rollback").await;
        stage.run("begin; insert into notes (id) values (3); update notes set body = 'b' where id = 1; commit").await;
        stage.run("delete from notes where id = 3").await;
        stage.run("truncate notes").await;
        let taken = reader.changes(5).await;
        let kinds: Vec<_> = taken.iter().flat_map(|transaction| &transaction.changes).map(kind).collect();
        assert_eq!(kinds, ["insert", "insert", "update", "delete", "truncate"]);
        assert!(taken.windows(2).all(|pair| pair[0].commit_lsn < pair[1].commit_lsn && pair[0].xid < pair[1].xid));
        assert!(taken.iter().all(|transaction| transaction.last && transaction.first_ordinal == 0));
        let seen = within(source.visibility()).await.unwrap();
        assert!(taken.iter().all(|transaction| seen.sees(transaction.xid)));
    })
    .await;
}

fn kind(change: &Change) -> &'static str {
    match change {
        Change::Insert(_) => "insert",
        Change::Update(_) => "update",
        Change::Delete(_) => "delete",
        Change::Truncate(_) => "truncate",
        Change::Message { .. } => "message",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_sends_again_from_the_checkpoint_pg_12() {
    for version in PgVersion::tested() {
        let Some(pg) = Pg::private(version, &[]).await else { continue };
        let stage = Stage::set(&pg, "killed").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("insert into notes (id) values (1)").await;
        assert_eq!(column(&reader.changes(1).await, 0), ["1"]);
        let after_first = reader.checkpoint.clone();
        stage.run("insert into notes (id) values (2)").await;
        assert_eq!(column(&reader.changes(1).await, 0), ["2"]);
        pg.kill9().await;
        assert_eq!(reader.end().await.code(), Code::SourceUnreachable);
        pg.restart().await;
        let client = stage.db.connect().await;
        client.batch_execute("insert into notes (id) values (3)").await.unwrap();
        // The log had stored only the first one: the others come (again), and nothing before.
        let mut again = loop {
            match Reader::connect(&source, after_first.clone()).await {
                Ok(reader) => break reader,
                Err(fault) if fault.code() == Code::SlotInUse => continue,
                Err(fault) => panic!("{fault:?}"),
            }
        };
        let taken = again.changes(2).await;
        assert_eq!(column(&taken, 0), ["2", "3"]);
        assert!(taken.iter().all(|transaction| !after_first.covers(transaction.commit_lsn, 0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slot_follows_what_is_acknowledged_and_never_runs_ahead_cap_13_pg_11() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "acknowledged").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let confirmed =
            || async { slots::find(&stage.client, &stage.db.slot()).await.unwrap().unwrap().confirmed.unwrap() };
        let before = confirmed().await;
        stage.run("insert into notes (id) select generate_series(1, 10)").await;
        reader.changes(10).await;
        assert_eq!(confirmed().await, before, "nothing was said to be durable");
        let durable = reader.acknowledge();
        let slot = stage.db.slot();
        let reached =
            format!("select confirmed_flush_lsn = '{durable}' from pg_replication_slots where slot_name = '{slot}'");
        until(&stage.client, &reached).await;
        // A lower one changes nothing.
        reader.capture.acknowledge().send_replace(Lsn::new(1));
        stage.run("insert into notes (id) values (11)").await;
        reader.changes(1).await;
        assert_eq!(confirmed().await, durable);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_database_reports_progress_so_that_its_slot_advances_pg_06_pg_45() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "idle").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("create table elsewhere (id int); insert into elsewhere select generate_series(1, 1000)").await;
        let written: String = stage.client.query_one("select pg_current_wal_lsn()::text", &[]).await.unwrap().get(0);
        let written: Lsn = written.parse().unwrap();
        while reader.checkpoint.acknowledged < written {
            // Statements of others make the server speak; an idle one is asked by the session.
            stage.run("select pg_logical_emit_message(false, 'test', 'tick')").await;
            reader.next().await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_are_the_same_whatever_the_role_prefers_pg_74_pg_97() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "hostile").await;
        let role = stage.db.name().to_owned();
        let settings = [
            "IntervalStyle = sql_standard",
            "DateStyle = 'German'",
            "TimeZone = 'Asia/Tokyo'",
            "extra_float_digits = -5",
            "bytea_output = escape",
            "default_transaction_read_only = on",
            "row_security = on",
            "search_path = ''",
            "statement_timeout = 1",
            "idle_in_transaction_session_timeout = 1",
            "idle_session_timeout = 1",
        ];
        stage.run(&format!("create role {role} superuser login")).await;
        for setting in settings {
            stage.run(&format!("alter role {role} set {setting}")).await;
        }
        stage.run("alter table notes add d date, add i interval, add f float8, add b bytea, add t timestamptz").await;
        let url = stage.db.url().replace("postgres@", &format!("{role}@"));
        let source = LogSource::new(stage.config_of(&url)).unwrap();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage
            .run(
                "insert into notes (id, d, i, f, b, t) values (1, '2026-01-31', '1 day 02:00', 0.1::float8 + 0.2, \
                  '\\x00ff', '2026-01-31 12:00:00+00')",
            )
            .await;
        let taken = reader.changes(1).await;
        let wanted = ["2026-01-31", "P1DT2H", "0.30000000000000004", "\\x00ff", "2026-01-31 12:00:00+00"];
        for (index, value) in wanted.iter().enumerate() {
            assert_eq!(column(&taken, index + 3), [*value]);
        }
        let client = connect_sql(&ConnectionInfo::parse(&url).unwrap(), "test").await.unwrap();
        let printed = client.query_one("select pg_catalog.concat_ws('|', d, i, f, b, t) from public.notes", &[]).await;
        assert_eq!(printed.unwrap().get::<_, String>(0), wanted.join("|"));
        drop(reader);
        stage.run(&format!("drop role {role}")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn types_that_are_made_while_streaming_are_known_by_name_pg_48() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "types").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("create type mood as enum ('sad', 'ok'); alter table notes add m mood, add ms mood[]").await;
        stage.run("insert into notes (id, m, ms) values (1, 'ok', '{sad,ok}')").await;
        stage.run("insert into notes (id, m) values (2, 'sad')").await;
        let taken = reader.changes(2).await;
        let Change::Insert(row) = &taken[0].changes[0] else { panic!("an insert was made") };
        let names: Vec<_> = row.relation.columns.iter().map(|column| column.ty.name.as_str()).collect();
        assert_eq!(names[3..], ["mood", "mood[]"]);
        assert_eq!(column(&taken, 3), ["ok", "sad"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_caller_loses_neither_walsender_nor_changes_pg_35() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "slow").await;
        let role = stage.db.name().to_owned();
        // The hazard was seen with this timeout: a reader that stops answering was gone after two seconds.
        stage.run(&format!("create role {role} superuser login; alter role {role} set wal_sender_timeout = '1s'")).await;
        let url = stage.db.url().replace("postgres@", &format!("{role}@"));
        let source = LogSource::new(stage.config_of(&url)).unwrap();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let slot = stage.db.slot();
        let pid = format!("select active_pid::bigint from pg_replication_slots where slot_name = '{slot}'");
        let walsender = stage.count(&pid).await;
        for batch in 0..40 {
            let first = batch * 1_000;
            stage
                .run(&format!(
                    "insert into notes (id, body) select id, repeat('x', 1000) from generate_series({first}, {first} + 999) id"
                ))
                .await;
        }
        // The server says itself that three timeouts have passed since the last row, and the same process still serves.
        let waited = "select pg_sleep(3.5) is not null";
        until(&stage.client, waited).await;
        assert_eq!(stage.count(&pid).await, walsender, "the walsender was replaced");
        let taken = reader.changes(40_000).await;
        let ids: Vec<i64> = column(&taken, 0).iter().map(|id| id.parse().unwrap()).collect();
        assert_eq!(ids, (0..40_000).collect::<Vec<_>>());
        assert_eq!(stage.count(&pid).await, walsender);
        drop(reader);
        until(&stage.client, &format!("select not active from pg_replication_slots where slot_name = '{slot}'")).await;
        stage.run(&format!("drop role {role}")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_network_is_noticed_within_two_timeouts_pg_36_op_10() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "silent").await;
        let role = stage.db.name().to_owned();
        stage
            .run(&format!("create role {role} superuser login; alter role {role} set wal_sender_timeout = '1s'"))
            .await;
        let proxy = Proxy::start(pg.address()).await.unwrap();
        let url = stage.db.url_through(proxy.address()).replace("postgres@", &format!("{role}@"));
        let source = LogSource::new(stage.config_of(&url)).unwrap();
        let reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        proxy.set(Direction::Down, Faults { swallow: true, ..Faults::default() });
        let fault = reader.end().await;
        assert_eq!(fault.code(), Code::SourceUnreachable);
        assert!(fault.detail().contains("nothing was heard"), "{fault}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_anywhere_neither_lose_nor_double_cap_11_pg_37() {
    let seed: u64 = std::env::var("ANTIPHON_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("ANTIPHON_SEED={seed}");
    for_each_postgres(|pg| async move {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let stage = Stage::set(&pg, "breaks").await;
        let proxy = Proxy::with_seed(pg.address(), seed).await.unwrap();
        let mut config = stage.config_of(&stage.db.url_through(proxy.address()));
        // Large ones are streamed, middle ones are spooled for their size, small ones are kept in memory.
        config.decoding_work_memory = "64kB".into();
        config.transaction_bytes_max = 20_000;
        let source = LogSource::new(config).unwrap();
        let mut checkpoint = Reader::connect(&source, Checkpoint::start()).await.unwrap().checkpoint;
        let mut committed = Vec::new();
        let mut id = 0;
        for _ in 0..60 {
            let rows = *[1, 5, 60, 400, 1_500].choose(&mut random).unwrap();
            let insert = |from: i32, rows: i32| {
                let to = from + rows - 1;
                format!("insert into notes (id, body) select i, repeat('x', 150) from generate_series({from}, {to}) i")
            };
            let (kept, dropped) = (insert(id, rows), insert(id + rows, rows));
            stage.run(&format!("begin; {kept}; savepoint a; {dropped}; rollback to a; commit")).await;
            committed.extend(id..id + rows);
            id += 2 * rows;
        }
        let mut taken: Vec<i32> = Vec::new();
        let mut connections = 0;
        while taken.len() < committed.len() {
            let reset_after_bytes = Some(random.random_range(20_000..2_000_000));
            let slice_bytes_max = Some(random.random_range(1..10_000));
            proxy.set(Direction::Down, Faults { reset_after_bytes, slice_bytes_max, ..Faults::default() });
            let Ok(mut reader) = Reader::connect(&source, checkpoint.clone()).await else { continue };
            connections += 1;
            loop {
                let before = reader.checkpoint.clone();
                let Ok(captured) = reader.next().await else { break };
                let Captured::Transactions(transactions) = captured else { continue };
                for transaction in &transactions {
                    for (index, change) in transaction.changes.iter().enumerate() {
                        if !before.covers(transaction.commit_lsn, transaction.first_ordinal + index as u64) {
                            let one = Transaction { changes: vec![change.clone()], ..transaction.clone() };
                            taken.push(column(&[one], 0)[0].parse().unwrap());
                        }
                    }
                }
                if taken.len() >= committed.len() {
                    break;
                }
            }
            checkpoint = reader.checkpoint.clone();
        }
        assert!(connections > 3, "{connections} connections: nothing broke");
        assert!(taken == committed, "seed {seed}: {} rows came of {}", taken.len(), committed.len());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_good_order_is_survived_op_09() {
    let Some(pg) = Pg::private(PgVersion::V18, &[]).await else { return };
    let stage = Stage::set(&pg, "restart").await;
    let source = stage.source();
    let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
    stage.run("insert into notes (id) values (1)").await;
    reader.changes(1).await;
    let checkpoint = reader.checkpoint.clone();
    pg.halt(StopMode::Fast).await;
    assert_eq!(reader.end().await.code(), Code::SourceUnreachable);
    pg.restart().await;
    let mut reader = Reader::connect(&source, checkpoint).await.unwrap();
    let client = stage.db.connect().await;
    client.batch_execute("insert into notes (id) values (2)").await.unwrap();
    assert_eq!(column(&reader.changes(1).await, 0), ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_capture_frees_its_slot_at_once() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "freed").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("insert into notes (id) values (1)").await;
        assert!(matches!(reader.next().await, Ok(Captured::Transactions(_) | Captured::Progress { .. })));
        let checkpoint = reader.checkpoint.clone();
        drop(reader);
        let slot = stage.db.slot();
        until(&stage.client, &format!("select not active from pg_replication_slots where slot_name = '{slot}'")).await;
        assert!(Reader::connect(&source, checkpoint).await.is_ok());
    })
    .await;
}
