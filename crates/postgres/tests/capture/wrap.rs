//! Transaction numbers beyond 32 bits: a cluster whose counter wraps around while it is streamed (CAP-13).

use std::{
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::Command,
};

use antiphon_engine::ports::Source;
use antiphon_model::{Checkpoint, Xid};
use antiphon_postgres::{ConnectionInfo, connect_sql};
use antiphon_testkit::{Pg, PgVersion, StopMode, skipped};

use crate::stage::{Reader, Stage, within};

/// Close enough to the wrap that a few hundred transactions cross it.
const NEXT_XID: u64 = (1 << 32) - 400;
/// The file of transaction states in which that number lies, and its size.
const STATES_FILE: &str = "pg_xact/0FFF";
const STATES_BYTES: usize = 256 << 10;

/// Makes every row visible whatever the counter says; shared rows last, because the first statement writes one.
async fn freeze(pg: &Pg) {
    pg.admin().await.batch_execute("alter database template0 with allow_connections true").await.unwrap();
    for database in ["template0", "template1", "postgres"] {
        let info = ConnectionInfo::parse(&pg.url(database)).unwrap();
        connect_sql(&info, "test").await.unwrap().batch_execute("vacuum freeze").await.unwrap();
    }
}

/// Moves a stopped cluster to the second epoch, just before its end.
fn advance_counter(pg: &Pg, data: &Path) {
    let owner = std::fs::metadata(data).unwrap();
    let states = data.join(STATES_FILE);
    std::fs::write(&states, vec![0; STATES_BYTES]).unwrap();
    std::os::unix::fs::chown(&states, Some(owner.uid()), Some(owner.gid())).unwrap();
    let oldest = (NEXT_XID - 1_000).to_string();
    let mut command = Command::new(pg.program("pg_resetwal"));
    command.uid(owner.uid()).gid(owner.gid()).current_dir("/");
    command.args(["-f", "-e", "1", "-x", &NEXT_XID.to_string(), "-u", &oldest, "-D"]).arg(data);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_stay_whole_while_the_counter_wraps_cap_13() {
    for version in PgVersion::tested() {
        let Some(pg) = Pg::private(version, &[("autovacuum", "off")]).await else { continue };
        // The binaries of 16 and 17 that the scripts bring are the server alone.
        if !pg.program("pg_resetwal").exists() {
            skipped(&format!("pg_resetwal of {version}"));
            continue;
        }
        freeze(&pg).await;
        let admin = pg.admin().await;
        let data: String = admin.query_one("select current_setting('data_directory')", &[]).await.unwrap().get(0);
        drop(admin);
        pg.halt(StopMode::Fast).await;
        advance_counter(&pg, Path::new(&data));
        pg.restart().await;
        let stage = Stage::set(&pg, "wrap").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        let mut written = Vec::new();
        for id in 0..500 {
            let insert = format!("insert into notes (id) values ({id}) returning pg_current_xact_id()::text");
            let xid: String = stage.client.query_one(&insert, &[]).await.unwrap().get(0);
            written.push(Xid::new(xid.parse().unwrap()));
        }
        let wrap = Xid::new(2 << 32);
        assert!(written[0] < wrap && *written.last().unwrap() > wrap, "the counter did not wrap: {written:?}");
        let taken = reader.changes(500).await;
        let captured: Vec<_> = taken.iter().map(|transaction| transaction.xid).collect();
        assert_eq!(captured, written);
        let seen = within(source.visibility()).await.unwrap();
        assert!(captured.iter().all(|xid| seen.sees(*xid)) && !seen.sees(Xid::new(wrap.as_u64() + 1_000)));
        // A connection that begins after the wrap widens what was written before it.
        drop(reader);
        let mut reader = loop {
            match Reader::connect(&source, Checkpoint::start()).await {
                Ok(reader) => break reader,
                Err(fault) => assert_eq!(fault.code(), antiphon_model::Code::SlotInUse, "{fault:?}"),
            }
        };
        let again: Vec<_> = reader.changes(500).await.iter().map(|transaction| transaction.xid).collect();
        assert_eq!(again, written);
    }
}
