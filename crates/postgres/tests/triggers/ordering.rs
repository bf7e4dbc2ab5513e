//! In which order changes come, and that none is missed, whoever commits when.

use antiphon_engine::ports::{Captured, Source};
use antiphon_model::{Checkpoint, Code, Lsn};
use antiphon_testkit::{Pg, PgVersion, for_each_postgres};
use rand::{Rng, SeedableRng};

use crate::stage::{Reader, Stage, told, within};

#[tokio::test(flavor = "multi_thread")]
async fn commits_arrive_whole_and_once_and_rollbacks_never_cap_31() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "commits").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("insert into notes (id, body) values (1, 'a')").await;
        stage.run("begin; insert into notes (id) values (2); rollback").await;
        stage.run("begin; insert into notes (id) values (3); update notes set body = 'b' where id = 1; commit").await;
        stage.run("begin; savepoint s; delete from notes; rollback to s; delete from notes where id = 3; commit").await;
        stage.run("update notes set id = 4").await;
        stage.run("truncate notes").await;
        let taken = reader.changes(6).await;
        let wanted = [
            "insert 1,acme,a",
            "insert 3,acme,-",
            "update 1,acme,b",
            "delete 3,acme,-",
            "update 1,acme,- -> 4,acme,b",
            "truncate notes",
        ];
        assert_eq!(told(&taken), wanted);
        assert_eq!(taken.len(), 5);
        assert!(taken.windows(2).all(|pair| pair[0].commit_lsn < pair[1].commit_lsn && pair[0].xid < pair[1].xid));
        assert!(taken.iter().all(|transaction| transaction.last && transaction.first_ordinal == 0));
        let seen = within(source.visibility()).await.unwrap();
        assert!(taken.iter().all(|transaction| seen.sees(transaction.xid)));
        // Who begins again at the checkpoint reads what comes after it.
        let checkpoint = reader.checkpoint.clone();
        drop(reader);
        stage.run("insert into notes (id) values (9)").await;
        let mut again = Reader::connect(&source, checkpoint).await.unwrap();
        assert_eq!(told(&again.changes(1).await), ["insert 9,acme,-"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_commits_late_is_never_skipped_tg_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "late").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        let seed: u64 = rand::rng().random();
        let mut dice = rand::rngs::StdRng::seed_from_u64(seed);
        let mut sessions = Vec::new();
        for _ in 0..6 {
            sessions.push((stage.db.connect().await, false));
        }
        let (mut id, mut committed) = (0, 0);
        for _ in 0..150 {
            let (session, open) = &mut sessions[dice.random_range(0..6)];
            if !*open {
                session.batch_execute("begin").await.unwrap();
                *open = true;
            } else if dice.random_bool(0.3) {
                session.batch_execute("commit").await.unwrap();
                *open = false;
                continue;
            }
            id += 1;
            session.batch_execute(&format!("insert into notes (id) values ({id})")).await.unwrap();
        }
        for (session, open) in &mut sessions {
            if std::mem::take(open) {
                session.batch_execute("commit").await.unwrap();
            }
        }
        let taken = reader.changes(id).await;
        for transaction in &taken {
            committed += transaction.changes.len();
        }
        let mut ids: Vec<usize> =
            told(&taken).iter().map(|one| one["insert ".len()..].split(',').next().unwrap().parse().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, (1..=id).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(committed, id);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waited_for_a_row_comes_after_whom_it_waited_for_cap_31() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "waited").await;
        stage.run("insert into notes (id) values (1), (2)").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        let (first, second) = (stage.db.connect().await, stage.db.connect().await);
        // The first has the lower number and writes the contested row last.
        first.batch_execute("begin; update notes set body = 'x' where id = 2").await.unwrap();
        second.batch_execute("begin; update notes set body = 'second' where id = 1").await.unwrap();
        let waiting = tokio::spawn(async move {
            first.batch_execute("update notes set body = 'first' where id = 1; commit").await.unwrap();
        });
        crate::stage::until(&stage.client, "select exists(select from pg_locks where not granted)").await;
        second.batch_execute("commit").await.unwrap();
        waiting.await.unwrap();
        let taken = reader.changes(3).await;
        assert_eq!(told(&taken), ["update 1,acme,second", "update 2,acme,x", "update 1,acme,first"]);
        assert!(taken[0].xid > taken[1].xid, "the order is not that of the numbers");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waited_comes_after_whom_it_waited_for_though_a_third_one_holds_that_back_cap_31_tg_02() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "third").await;
        stage.run("insert into notes (id) values (1), (2), (3)").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        let (first, third) = (stage.db.connect().await, stage.db.connect().await);
        // In the order of their numbers: one that will wait, one that stays open, one that is waited for.
        first.batch_execute("begin; update notes set body = 'x' where id = 2").await.unwrap();
        third.batch_execute("begin; update notes set body = 'third' where id = 3").await.unwrap();
        stage.run("update notes set body = 'second' where id = 1").await;
        first.batch_execute("update notes set body = 'first' where id = 1; commit").await.unwrap();
        // The first is below the one that is open, and must not come without the one that it waited for.
        let before = stage.count("select (extract(epoch from clock_timestamp()) * 1000000)::int8").await;
        while reader.capture.source_clock().0 < before + 600_000 {
            match reader.next().await.unwrap() {
                Captured::Transactions(transactions) => panic!("{transactions:?} came before whom it waited for"),
                Captured::Progress { at, .. } => assert!(at.0 <= before, "what is read up to was told too far"),
            }
        }
        third.batch_execute("commit").await.unwrap();
        let told = told(&reader.changes(4).await);
        let third = "update 3,acme,third".to_owned();
        assert!(told.contains(&third), "{told:?}");
        let others: Vec<&String> = told.iter().filter(|one| **one != third).collect();
        assert_eq!(others, ["update 1,acme,second", "update 2,acme,x", "update 1,acme,first"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_comes_in_parts_that_a_crash_does_not_lose_tg_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "parts").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("insert into notes (id, body) select n, 'body' from generate_series(1, 9500) n").await;
        let mut parts = Vec::new();
        while parts.is_empty() {
            if let Captured::Transactions(transactions) = reader.next().await.unwrap() {
                parts.extend(transactions);
            }
        }
        assert!(!parts[0].last && parts[0].first_ordinal == 0);
        // The log had stored the first part alone.
        let mut checkpoint = reader.checkpoint.clone();
        checkpoint.lsn = parts[0].commit_lsn;
        checkpoint.ordinal = parts[0].changes.len() as u64 - 1;
        checkpoint.complete = false;
        drop(reader);
        let mut again = Reader::connect(&source, Checkpoint { ..checkpoint.clone() }).await.unwrap();
        // What is covered comes again, as the stream of a slot would bring it, and is told apart by its ordinals.
        again.checkpoint = Checkpoint { lsn: Lsn::ZERO, complete: true, ..again.checkpoint };
        let taken = again.changes(9_500).await;
        assert!(taken.len() > 2 && taken.iter().rev().skip(1).all(|part| !part.last) && taken.last().unwrap().last);
        let mut ordinal = 0;
        for part in &taken {
            assert_eq!((part.first_ordinal, part.xid, part.commit_lsn), (ordinal, taken[0].xid, taken[0].commit_lsn));
            ordinal += part.changes.len() as u64;
        }
        let ids: Vec<String> = told(&taken);
        assert!(ids.iter().enumerate().all(|(index, one)| *one == format!("insert {},acme,body", index + 1)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_writer_holds_the_horizon_and_skips_nothing_and_one_elsewhere_holds_nothing_tg_02() {
    for version in PgVersion::tested() {
        // A cluster of its own: what a role may not see of others' transactions holds everybody back.
        let Some(pg) = Pg::private(version, &[]).await else { continue };
        let stage = Stage::set(&pg, "held").await;
        let elsewhere = pg.database("elsewhere").await;
        let (other, writer) = (elsewhere.connect().await, stage.db.connect().await);
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        other.batch_execute("begin; create table t (id int)").await.unwrap();
        stage.run("insert into notes (id) values (1)").await;
        assert_eq!(told(&reader.changes(1).await), ["insert 1,acme,-"]);
        writer.batch_execute("begin; create table t (id int)").await.unwrap();
        stage.run("insert into notes (id) values (2)").await;
        // Looks go on, and none of them reaches the row, nor says that it had.
        let before = stage.count("select (extract(epoch from clock_timestamp()) * 1000000)::int8").await;
        while reader.capture.source_clock().0 < before + 600_000 {
            match reader.next().await.unwrap() {
                Captured::Transactions(transactions) => panic!("{transactions:?} came before the horizon had passed"),
                Captured::Progress { at, .. } => assert!(at.0 <= before, "what is read up to was told too far"),
            }
        }
        writer.batch_execute("commit").await.unwrap();
        assert_eq!(told(&reader.changes(1).await), ["insert 2,acme,-"]);
        other.batch_execute("rollback").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_went_back_is_not_read_as_if_it_had_not_cap_13() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "back").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("insert into notes (id) values (1)").await;
        reader.changes(1).await;
        let checkpoint = reader.checkpoint.clone();
        drop(reader);
        // As a restore would have it: the same places, given to others.
        stage.run("update antiphon.audit_order set xid = '3'").await;
        let fault = Reader::connect(&source, checkpoint).await.err().unwrap();
        assert_eq!(fault.code(), Code::SourceRestored);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recording_costs_a_writer_no_more_than_its_budget_tg_08() {
    const BUDGET_MICROS: f64 = 100.0;
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "cost").await;
        stage.run("create table bare (like notes including all)").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        for table in ["notes", "bare"] {
            let fill = format!("insert into {table} select n, 'acme', 'some text' from generate_series(1, 5000) n");
            stage.run(&fill).await;
        }
        reader.changes(5_000).await;
        // The least of several runs: what a busy machine adds is not the triggers' cost.
        let mut least = [f64::MAX; 2];
        for round in 0..3 {
            for (index, table) in ["bare", "notes"].into_iter().enumerate() {
                let began = std::time::Instant::now();
                stage.run(&format!("update {table} set body = 'text {round}'")).await;
                least[index] = least[index].min(began.elapsed().as_secs_f64() * 1e6 / 5_000.0);
            }
        }
        let added = least[1] - least[0];
        println!("{}: {:.1} us a row without, {:.1} us more with", pg.version(), least[0], added);
        assert!(added < BUDGET_MICROS, "{added:.1} us a row");
        reader.changes(15_000).await;
    })
    .await;
}
