//! More than people usually have: partitions and tables by the thousand, and a value too large to be sent.
//!
//! The small form runs always; with `ANTIPHON_LONG` set, as `script/matrix` does, the sizes are those of the hazard.

use std::time::{Duration, Instant};

use antiphon_engine::ports::Source;
use antiphon_model::{Checkpoint, Code, RelationName};
use antiphon_postgres::{
    ConnectionInfo, LogSource,
    health::{Health, HealthConfig},
};
use antiphon_testkit::{Pg, PgVersion};

use crate::stage::{Reader, Stage, capture_end, long, notes, reader_of, within};

/// A first connection to a large catalogue takes no longer.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// A look goes through every partition, and is made once a minute.
const LOOK_MAX: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_partitions_and_tables_hinder_neither_connecting_nor_the_watch_pg_59() {
    let (partitions, tables) = if long() { (10_000, 64_000) } else { (300, 300) };
    for version in PgVersion::tested() {
        // A statement about all of them takes a lock on each.
        let Some(pg) = Pg::private(version, &[("max_locks_per_transaction", "1000")]).await else { continue };
        let stage = Stage::set(&pg, "many").await;
        stage.run("create table p (id int, org text, primary key (id, org)) partition by list (id)").await;
        let mut made = 0;
        while made < partitions.max(tables) {
            let next = made + 500;
            let loop_of = |upto: i32, sql: &str| {
                format!(
                    "do $$ begin for i in {made}..{} loop execute format('{sql}', i); end loop; end $$",
                    next.min(upto) - 1
                )
            };
            if made < partitions {
                stage.run(&loop_of(partitions, "create table p_%1$s partition of p for values in (%1$s)")).await;
            }
            if made < tables {
                stage.run(&loop_of(tables, "create table t_%s (id int)")).await;
            }
            made = next;
        }
        let publication = stage.db.publication();
        let all = format!("create publication {publication} for all tables with (publish_via_partition_root = true)");
        stage.run(&format!("drop publication {publication}")).await;
        stage.run(&all).await;
        let mut part = (*notes()).clone();
        (part.name, part.table) = ("part".into(), RelationName { schema: "public".into(), name: "p".into() });
        let mut config = stage.config();
        config.entities.push(part.clone().into());
        let source = LogSource::new(config).unwrap();
        let began = Instant::now();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let connected = began.elapsed();
        stage.run(&format!("insert into p select i, 'o' from generate_series(0, {} - 1) i", partitions)).await;
        // Rows of every partition are rows of the one table that is declared; those of others come
        // too, as this publication is made, and mapping passes them over.
        stage.run("insert into t_0 values (1); insert into t_1 values (1)").await;
        let taken = reader.changes(usize::try_from(partitions).unwrap() + 2).await;
        let relations: std::collections::BTreeSet<u32> = taken
            .iter()
            .flat_map(|transaction| &transaction.changes)
            .filter_map(|change| match change {
                antiphon_model::Change::Insert(row) if row.relation.name == "p" => Some(row.relation.oid),
                _ => None,
            })
            .collect();
        assert_eq!(relations.len(), 1, "one description serves all partitions");
        let mut health = Health::new(HealthConfig {
            method: antiphon_postgres::CaptureMethod::Log,
            info: ConnectionInfo::parse(&stage.db.url()).unwrap(),
            slot: stage.db.slot(),
            publication,
            entities: vec![part],
        });
        let began = Instant::now();
        within(health.look()).await.unwrap();
        let looked = began.elapsed();
        eprintln!("{partitions} partitions and {tables} tables: connected in {connected:?}, looked in {looked:?}");
        assert!(connected < CONNECT_MAX, "connected in {connected:?}");
        assert!(looked < LOOK_MAX, "looked in {looked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_server_cannot_send_stops_capture_by_name_and_is_never_skipped_pg_82() {
    if !long() {
        // The words by which it is recognised have their own test; the value takes gigabytes of memory.
        return;
    }
    for version in PgVersion::tested() {
        let Some(pg) = Pg::private(version, &[]).await else { continue };
        let stage = Stage::set(&pg, "poison").await;
        stage.run("alter table notes add blob bytea").await;
        let source = stage.source();
        let reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let checkpoint = reader.checkpoint.clone();
        // As text it is twice as long, which is more than the server can hold in one piece.
        stage.run("insert into notes (id, blob) values (1, convert_to(repeat('x', 560000000), 'UTF8'))").await;
        let fault = tokio::time::timeout(Duration::from_secs(240), capture_end(reader)).await.expect("told in time");
        assert_eq!(fault.code(), Code::PoisonWal, "{fault}");
        assert!(
            fault.detail().contains("invalid memory alloc request size") || fault.detail().contains("string buffer"),
            "{fault}"
        );
        // Another connection meets it again.
        let again = loop {
            match source.connect(&checkpoint, &|_| {}).await {
                Ok(capture) => {
                    let reader = reader_of(capture, checkpoint.clone());
                    break tokio::time::timeout(Duration::from_secs(240), capture_end(reader)).await.expect("in time");
                }
                Err(fault) => assert_eq!(fault.code(), Code::SlotInUse, "{fault}"),
            }
        };
        assert_eq!(again.code(), Code::PoisonWal, "{again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_an_address_is_told_apart_from_a_host_that_refuses_op_11() {
    let refused = |host: &'static str| async move {
        // Nothing listens on the port of the second: it was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("postgres://postgres@{host}:{port}/postgres?sslmode=disable");
        let info = ConnectionInfo::parse(&url).unwrap();
        within(antiphon_postgres::connect_sql(&info, "antiphon test")).await.map(drop).expect_err("nobody is there")
    };
    let (unknown, absent) = (refused("nobody.invalid").await, refused("127.0.0.1").await);
    assert_eq!((unknown.code(), absent.code()), (Code::SourceUnreachable, Code::SourceUnreachable));
    assert!(unknown.detail().contains("the host's name cannot be resolved"), "{unknown}");
    assert!(absent.detail().contains("nothing listens at the port"), "{absent}");
}
