//! The beginning of an epoch: nothing falls between the slot and the first snapshot.

use antiphon_engine::{Fault, ports::Source};
use antiphon_model::{Checkpoint, Code, Xid};
use antiphon_testkit::{Pg, PgVersion};
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::stage::{Stage, column, reader_of, until, within};

/// What is told once capture has begun.
const BEGAN: &str = "began";

/// Begins a transaction that has a number, and returns it.
async fn open(client: &Client) -> Xid {
    client.batch_execute("begin").await.unwrap();
    let row = client.query_one("select pg_current_xact_id()::text", &[]).await.unwrap();
    Xid::new(row.get::<_, String>(0).parse().unwrap())
}

/// Waits until the creation of a slot waits for this transaction.
async fn slot_waits_for(stage: &Stage, xid: Xid) {
    let waits = format!("select exists (select from pg_locks where not granted and transactionid = '{xid}'::xid)");
    until(&stage.client, &waits).await;
}

/// A server whose commits wait for a standby that never comes, where a session asks for it.
async fn without_standby(version: PgVersion) -> Option<Pg> {
    let settings = [("synchronous_standby_names", "nobody"), ("synchronous_commit", "local")];
    Pg::private(version, &settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_the_slot_leaves_out_is_visible_before_capture_begins_cap_20() {
    for version in PgVersion::tested() {
        let Some(pg) = without_standby(version).await else { continue };
        let stage = Stage::set(&pg, "between").await;
        let (first, second, between) = (stage.db.connect().await, stage.db.connect().await, stage.db.connect().await);
        let source = stage.source();
        let first_xid = open(&first).await;
        let (tell, mut told) = watch::channel(String::new());
        let waits = |fault: Fault| {
            assert_eq!(fault.code(), Code::SlotWaits);
            tell.send_replace(fault.detail().to_owned());
        };
        // The creation of a slot waits in two steps. Whoever begins in the second is not waited for, is left out where
        // it commits before the end, and may stay invisible for long after that.
        let scene = async {
            slot_waits_for(&stage, first_xid).await;
            let second_xid = open(&second).await;
            first.batch_execute("rollback").await.unwrap();
            slot_waits_for(&stage, second_xid).await;
            let xid = open(&between).await;
            let pid: i32 = between.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
            let insert = "set local synchronous_commit = on; insert into notes (id) values (1)";
            between.batch_execute(insert).await.unwrap();
            let release = async {
                let waits = format!(
                    "select exists (select from pg_stat_activity where pid = {pid} and wait_event = 'SyncRep')"
                );
                until(&stage.client, &waits).await;
                second.batch_execute("rollback").await.unwrap();
                let named = format!("process {pid} ");
                within(told.wait_for(|whom| whom.contains(&named) || whom == BEGAN)).await.unwrap();
                let admin = pg.admin().await;
                admin.batch_execute("alter system set synchronous_standby_names = ''").await.unwrap();
                admin.batch_execute("select pg_reload_conf()").await.unwrap();
            };
            let (committed, ()) = tokio::join!(between.batch_execute("commit"), release);
            committed.unwrap();
            xid
        };
        let begin = async {
            let capture = within(source.connect(&Checkpoint::start(), &waits)).await.unwrap();
            let seen = within(source.visibility()).await.unwrap();
            // A capture that waits for nobody must not keep the scene waiting.
            tell.send_replace(BEGAN.to_owned());
            (capture, seen)
        };
        let ((capture, seen), xid) = tokio::join!(begin, scene);
        assert!(seen.sees(xid), "a snapshot at the beginning of capture misses {xid}");
        // Which is what it takes, because the stream does not bring it.
        let mut reader = reader_of(capture, Checkpoint::start());
        stage.run("insert into notes (id) values (2)").await;
        assert_eq!(column(&reader.changes(1).await, 0), ["2"]);
    }
}
