//! Transactions that do not fit: streamed while in progress, spooled, and read back in parts.

use antiphon_model::{Checkpoint, Code};
use antiphon_postgres::LogSource;
use antiphon_testkit::for_each_postgres;

use crate::stage::{Reader, Stage, column, within};

#[tokio::test(flavor = "multi_thread")]
async fn rolled_back_parts_of_a_streamed_transaction_are_cut_off_505_of_505_pg_38() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "subaborts").await;
        let mut config = stage.config();
        // The least that Postgres takes, so that everything is streamed.
        config.decoding_work_memory = "64kB".into();
        let source = LogSource::new(config).unwrap();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage
            .run(
                "begin; insert into notes (id, body) select i, repeat('k', 1000) from generate_series(1, 200) i;
                 savepoint a; insert into notes (id, body) select i, repeat('g', 1000) from generate_series(1001, 1300) i;
                 savepoint b; insert into notes (id, body) select i, repeat('g', 1000) from generate_series(2001, 2186) i;
                 rollback to a;
                 insert into notes (id, body) select i, repeat('k', 1000) from generate_series(201, 500) i;
                 savepoint c; insert into notes (id, body) values (501, 'k'), (502, 'k'); release c;
                 insert into notes (id, body) values (503, 'k'), (504, 'k'), (505, 'k'); commit",
            )
            .await;
        stage.run("insert into notes (id, body) values (506, 'after')").await;
        let taken = reader.changes(506).await;
        let ids: Vec<i64> = column(&taken, 0).iter().map(|id| id.parse().unwrap()).collect();
        assert_eq!(ids, (1..=506).collect::<Vec<_>>());
        assert!(column(&taken, 2).iter().all(|body| !body.starts_with('g')));
        assert_eq!(stage.count("select count(*) from notes").await, 506);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interleaved_large_transactions_come_out_in_commit_order_pg_41() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "interleaved").await;
        let mut config = stage.config();
        config.decoding_work_memory = "64kB".into();
        let source = LogSource::new(config).unwrap();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let (first, second, third) = (stage.db.connect().await, stage.db.connect().await, stage.db.connect().await);
        for client in [&first, &second, &third] {
            client.batch_execute("begin").await.unwrap();
        }
        for round in 0..5 {
            for (offset, client) in [(0, &first), (10_000, &second), (20_000, &third)] {
                let (from, to) = (offset + round * 400, offset + round * 400 + 399);
                let insert = format!(
                    "insert into notes (id, body) select i, repeat('x', 500) from generate_series({from}, {to}) i"
                );
                client.batch_execute(&insert).await.unwrap();
            }
        }
        second.batch_execute("commit").await.unwrap();
        third.batch_execute("rollback").await.unwrap();
        first.batch_execute("commit").await.unwrap();
        let taken = reader.changes(4_000).await;
        let ids: Vec<i64> = column(&taken, 0).iter().map(|id| id.parse().unwrap()).collect();
        let wanted: Vec<i64> = (10_000..12_000).chain(0..2_000).collect();
        assert_eq!(ids, wanted);
        for pair in taken.windows(2).filter(|pair| pair[0].commit_lsn == pair[1].commit_lsn) {
            assert_eq!(pair[1].first_ordinal, pair[0].first_ordinal + pair[0].changes.len() as u64);
            assert!(!pair[0].last);
        }
        // The last part is yielded before its file goes.
        let gone = async {
            while files(stage.spool.path()) > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        within(gone).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_above_its_quota_stops_capture_and_loses_nothing() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "quota").await;
        let mut config = stage.config();
        config.decoding_work_memory = "64kB".into();
        let mut small = config.clone();
        small.spool_bytes_max = 100_000;
        let source = LogSource::new(small).unwrap();
        let reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let checkpoint = reader.checkpoint.clone();
        stage.run("insert into notes (id, body) select i, repeat('x', 1000) from generate_series(1, 500) i").await;
        assert_eq!(reader.end().await.code(), Code::SpoolFull);
        assert_eq!(std::fs::read_dir(stage.spool.path()).unwrap().count(), 0, "the spool was left behind");
        let source = LogSource::new(config).unwrap();
        let mut reader = loop {
            match Reader::connect(&source, checkpoint.clone()).await {
                Ok(reader) => break reader,
                Err(fault) => assert_eq!(fault.code(), Code::SlotInUse),
            }
        };
        assert_eq!(reader.changes(500).await.iter().map(|part| part.changes.len()).sum::<usize>(), 500);
    })
    .await;
}

/// How many files lie in the folders of a folder.
fn files(path: &std::path::Path) -> usize {
    let folders = std::fs::read_dir(path).into_iter().flatten().flatten();
    folders.map(|folder| std::fs::read_dir(folder.path()).map_or(0, Iterator::count)).sum()
}
