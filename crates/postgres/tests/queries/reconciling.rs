//! What polling cannot see, and how a reconciliation finds it.

use std::time::Duration;

use antiphon_engine::ports::{SnapshotProgress, Source};
use antiphon_model::Checkpoint;
use antiphon_postgres::{QueryConfig, QuerySource, ask_reconcile};
use antiphon_testkit::for_each_postgres;

use crate::stage::{Folded, Reader, Stage, brief, cells, entity, until};

#[tokio::test(flavor = "multi_thread")]
async fn deletes_and_updates_that_leave_the_cursor_alone_are_found_when_asked_for_pl_01_pl_08_cap_41() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "asked").await;
        stage.run("insert into notes (id, body) select n, 'a' from generate_series(1, 2500) n").await;
        let rows = stage.rows().await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        let mut folded = Folded::of(rows);
        stage.run("update notes set at = at - interval '1 day'; update notes set body = 'quiet' where id % 500 = 0; delete from notes where id % 500 = 1").await;
        // Until somebody asks, only what the cursor shows is told.
        stage.run("insert into notes (id) values (9999)").await;
        folded.apply(&reader.changes(1).await);
        assert_ne!(folded.rows, stage.rows().await);
        assert_eq!(ask_reconcile(&stage.info(), &[]).await.unwrap(), 1);
        folded.apply(&reader.changes(2_500).await);
        assert_eq!(folded.rows, stage.rows().await);
        assert_eq!((folded.creates, folded.updates, folded.deletes), (1, 2_495, 5));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_while_one_is_under_way_is_answered_by_the_next_one_cap_41() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "again").await;
        stage.run("insert into notes (id, body, at) values (1, 'a', '2020-01-01'), (2, 'a', now())").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        stage
            .run(
                "create table ends (n int); create function ended() returns trigger language plpgsql as
                   'begin insert into ends values (1); return null; end';
                 create trigger ended after update of reconciled on antiphon.poll_tables
                   for each row execute function ended()",
            )
            .await;
        // No poll looks at this row. The reconciliation does, and waits for whoever holds what was noted of it.
        let locker = stage.db.connect().await;
        locker.batch_execute("begin; select from antiphon.poll_told where key = '{1}' for update").await.unwrap();
        stage.run("update notes set body = 'quiet' where id = 1").await;
        ask_reconcile(&stage.info(), &[]).await.unwrap();
        until(&stage.client, "select exists(select from pg_locks where not granted)").await;
        ask_reconcile(&stage.info(), &[]).await.unwrap();
        locker.batch_execute("commit").await.unwrap();
        assert_eq!(brief(&reader.changes(1).await), ["update 1,acme,quiet"]);
        until(&stage.client, "select bool_and(asked is null) from antiphon.poll_tables").await;
        assert_eq!(stage.client.query_one("select count(*) from ends", &[]).await.unwrap().get::<_, i64>(0), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_tells_no_row_whose_end_nobody_would_find_pl_01_cap_41() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "copied").await;
        stage.run("insert into notes (id, body) values (1, 'a'), (2, 'a')").await;
        let source = stage.source();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        // What was there is noted. No poll sees this row, as none sees one that goes before the next poll.
        stage.run("insert into notes (id, body, at) values (3, 'b', null)").await;
        let mut table = source.snapshot_table("note").await.unwrap();
        let chunk = table.chunk(&SnapshotProgress::fresh("note"), 10).await.unwrap();
        let copied: Vec<String> = chunk.rows.iter().map(cells).collect();
        assert_eq!(copied.len(), 2, "{copied:?}");
        // A reconciliation tells it, and then its end.
        ask_reconcile(&stage.info(), &[]).await.unwrap();
        assert_eq!(brief(&reader.changes(1).await), ["insert 3,acme,b"]);
        stage.run("delete from notes where id = 3").await;
        ask_reconcile(&stage.info(), &[]).await.unwrap();
        assert_eq!(brief(&reader.changes(1).await), ["delete 3,acme,-"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_keeps_the_rows_reconciled_pl_01_pl_12_cap_41() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "interval").await;
        stage.run("insert into notes (id, body) values (1, 'a'), (2, 'a'), (3, 'a')").await;
        let reconcile_interval = Some(Duration::from_millis(50));
        let source = QuerySource::new(QueryConfig { reconcile_interval, ..stage.config() }).unwrap();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage.run("delete from notes where id = 1").await;
        assert_eq!(brief(&reader.changes(1).await), ["delete 1,acme,-"]);
        // A row without a value cannot be polled, and is found all the same.
        stage.run("insert into notes (id, body, at) values (4, 'never', null)").await;
        assert_eq!(brief(&reader.changes(1).await), ["insert 4,acme,never"]);
        stage.run("truncate notes").await;
        let mut gone = brief(&reader.changes(3).await);
        gone.sort();
        assert_eq!(gone, ["delete 2,acme,-", "delete 3,acme,-", "delete 4,acme,-"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_several_columns_and_within_an_organisation_are_told_apart_cap_41_pl_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "keys").await;
        stage
            .run(
                "create table parts (id text, org text not null, n numeric(6, 2), at timestamptz not null default now(),
                 primary key (org, id)); insert into parts values ('a,\"b', 'acme', 1), ('a,\"b', 'globex', 2)",
            )
            .await;
        let config = QueryConfig { entities: vec![entity("part", "parts", "at", None)], ..stage.config() };
        let source = QuerySource::new(config).unwrap();
        let mut reader = Reader::connect(&source, Checkpoint::start()).await.unwrap();
        stage
            .run("update parts set n = 3, at = now() where org = 'globex'; delete from parts where org = 'acme'")
            .await;
        assert_eq!(brief(&reader.changes(1).await)[0].matches("globex").count(), 1);
        assert_eq!(ask_reconcile(&stage.info(), &[]).await.unwrap(), 1);
        let deleted = crate::stage::told(&reader.changes(1).await);
        assert_eq!(deleted, ["delete a,\"b,acme,-,-"]);
    })
    .await;
}
