//! Initial copies in key order, chunk by chunk (CAP-20, PG-91, PG-93).

use std::{collections::BTreeSet, sync::Arc};

use antiphon_engine::ports::{ChunkRows, SnapshotProgress, SnapshotTable};
use antiphon_model::{Cell, Code, EntityType, Tuple, Xid};
use antiphon_postgres::snapshot;
use antiphon_testkit::{TestDb, for_each_postgres};

use crate::fixture;

fn start(entity: &EntityType) -> SnapshotProgress {
    SnapshotProgress::fresh(entity.name.clone())
}

async fn open(db: &TestDb, entity: &EntityType) -> Box<dyn SnapshotTable> {
    snapshot::open(&fixture::info(db), Arc::new(entity.clone()), snapshot::Mark::Message, snapshot::Earlier::default())
        .await
        .expect("a table")
}

fn texts(chunk: &ChunkRows, column: &str) -> Vec<String> {
    let index = chunk.relation.columns.iter().position(|candidate| candidate.name == column).expect("a column");
    let text = |row: &Tuple| match row.cells().nth(index) {
        Some(Cell::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    };
    chunk.rows.iter().map(text).collect()
}

/// Copies a table in chunks, as another process after each of them, and returns the keys in the order they came.
async fn copy(db: &TestDb, entity: &EntityType, rows_max: usize) -> Vec<Vec<String>> {
    let mut progress = start(entity);
    let mut keys = Vec::new();
    while !progress.complete {
        let chunk = open(db, entity).await.chunk(&progress, rows_max).await.expect("a chunk");
        assert!(chunk.rows.len() <= rows_max);
        let columns: Vec<Vec<String>> = entity.key.iter().map(|key| texts(&chunk, key)).collect();
        keys.extend((0..chunk.rows.len()).map(|row| columns.iter().map(|column| column[row].clone()).collect()));
        progress = chunk.progress;
    }
    assert_eq!(progress.rows_done, keys.len() as u64);
    keys
}

#[tokio::test]
async fn nothing_is_held_between_two_chunks_pg_90() {
    for_each_postgres(|pg| async move {
        let db = pg.database("held").await;
        let client = db.connect().await;
        client.batch_execute("create table t (id int primary key, org text not null)").await.expect("a table");
        client.batch_execute("insert into t select n, 'o' from generate_series(1, 20) n").await.expect("rows");
        let entity = fixture::entity("thing", "t");
        let mut table = open(&db, &entity).await;
        let first = table.chunk(&start(&entity), 5).await.expect("a chunk");
        let held = "select count(*), count(backend_xmin), count(*) filter (where state <> 'idle'),
                        (select count(*) from pg_locks l where l.pid = any(array_agg(a.pid)) and l.locktype <> 'virtualxid')
                    from pg_stat_activity a where datname = current_database() and application_name = 'antiphon copy'";
        let held = client.query_one(held, &[]).await.expect("the activity");
        assert_eq!([0, 1, 2, 3].map(|column| held.get::<_, i64>(column)), [1, 0, 0, 0]);
        // Whoever changes the table meanwhile waits for nobody.
        client.batch_execute("set lock_timeout = '1s'; alter table t add v int").await.expect("a change");
        assert_eq!(texts(&table.chunk(&first.progress, 5).await.expect("a chunk"), "id").len(), 5);
    })
    .await;
}

#[tokio::test]
async fn every_row_is_copied_once_whatever_the_key_and_resumed_at_each_chunk_pg_91() {
    for_each_postgres(|pg| async move {
        let db = pg.database("copy").await;
        let client = db.connect().await;
        client
            .batch_execute(
                "create table ints (id int primary key, org text not null, n int generated always as (id * 2) stored);
                 insert into ints select n, 'o' from generate_series(-50, 50) n;
                 create table texts (id text primary key, org text not null);
                 insert into texts select chr(32 + n) || n, 'o' from generate_series(1, 90) n;
                 insert into texts values ('', 'o'), ('ä', 'o'), ('a\"b\\c', 'o'), ('漢', 'o');
                 create table uuids (id uuid primary key, org text not null);
                 insert into uuids select gen_random_uuid(), 'o' from generate_series(1, 99);
                 create table shared (id int, org text, primary key (org, id));
                 insert into shared select n % 10, 'o' || n / 10 from generate_series(0, 99) n;
                 create table parts (id int, day date, org text not null, primary key (id, day)) partition by list (day);
                 create table parts_a partition of parts for values in ('2020-01-01');
                 create table parts_b partition of parts default;
                 insert into parts select n, '2020-01-01'::date + n % 3, 'o' from generate_series(1, 100) n;
                 create table empty (id int primary key, org text not null)",
            )
            .await
            .expect("tables");
        for table in ["ints", "texts", "uuids", "shared", "parts", "empty"] {
            let mut entity = fixture::entity("thing", table);
            if table == "parts" {
                entity.key.push("day".to_owned());
            }
            let count: i64 = client.query_one(&format!("select count(*) from {table}"), &[]).await.unwrap().get(0);
            for rows_max in [1, 7, 1000] {
                if rows_max == 1 && table != "shared" {
                    continue;
                }
                let keys = copy(&db, &entity, rows_max).await;
                assert_eq!(keys.len() as i64, count, "{table} by {rows_max}");
                // Keys of one organisation occur again in another.
                if table != "shared" {
                    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len() as i64, count, "{table} by {rows_max}");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_chunk_tells_what_its_snapshot_saw_and_a_mark_comes_after_it() {
    for_each_postgres(|pg| async move {
        let db = pg.database("mark").await;
        let mut client = db.connect().await;
        client.batch_execute("create table t (id int primary key, org text not null, v text)").await.expect("a table");
        client.batch_execute("insert into t values (1, 'o', 'old'), (2, 'o', null)").await.expect("rows");
        let made = "select pg_create_logical_replication_slot($1, 'test_decoding')::text";
        client.query_one(made, &[&db.slot()]).await.expect("a slot");
        let entity = fixture::entity("thing", "t");
        let mut table = open(&db, &entity).await;
        // Only whoever writes before the copy begins is waited for.
        table.chunk(&start(&entity), 1).await.expect("a chunk");
        let running = client.transaction().await.expect("a transaction");
        let xid: String = running
            .query_one("update t set v = 'new' where id = 1 returning pg_current_xact_id()::text", &[])
            .await
            .unwrap()
            .get(0);
        let chunk = table.chunk(&start(&entity), 10).await.expect("a chunk");
        assert!(chunk.progress.complete && !chunk.visibility.sees(Xid::new(xid.parse().unwrap())));
        assert_eq!(texts(&chunk, "v"), ["old", "Some(Null)"]);
        running.commit().await.expect("a commit");
        table.mark("{\"watermark\":\"seed-1\"}").await.expect("a mark");
        let again = table.reread(&["1".to_owned(), "99".to_owned()], &chunk.progress).await.expect("rows");
        assert_eq!(texts(&again, "v"), ["new"]);
        assert_eq!(again.progress, chunk.progress);
        let sql = "select data from pg_logical_slot_get_changes($1, null, null) where data like 'message%'";
        let rows = client.query(sql, &[&db.slot()]).await.expect("a stream");
        let message: String = rows[0].get(0);
        assert!(message.contains("transactional: 1 prefix: antiphon") && message.contains("seed-1"), "{message}");
        // Nothing is held between chunks: no transaction, no lock (PG-96).
        let held = "select count(*) from pg_stat_activity where application_name = 'antiphon copy' and datname = $1
                    and (xact_start is not null or backend_xmin is not null)";
        assert_eq!(client.query_one(held, &[&db.name()]).await.unwrap().get::<_, i64>(0), 0);
    })
    .await;
}

#[tokio::test]
async fn a_table_changed_under_its_copy_is_described_anew_and_a_dropped_one_fails_alone_pg_93() {
    for_each_postgres(|pg| async move {
        let db = pg.database("changed").await;
        let client = db.connect().await;
        client.batch_execute("create table t (id int primary key, org text not null)").await.expect("a table");
        client.batch_execute("insert into t select n, 'o' from generate_series(1, 20) n").await.expect("rows");
        let entity = fixture::entity("thing", "t");
        let mut table = open(&db, &entity).await;
        let first = table.chunk(&start(&entity), 5).await.expect("a chunk");
        client.batch_execute("alter table t add column v int default 3").await.expect("a change");
        let second = table.chunk(&first.progress, 5).await.expect("a chunk");
        assert_eq!((first.relation.columns.len(), second.relation.columns.len()), (2, 3));
        assert_eq!(texts(&second, "id"), ["6", "7", "8", "9", "10"]);
        client.batch_execute("drop table t").await.expect("a drop");
        let fault = table.chunk(&second.progress, 5).await.expect_err("no table");
        assert_eq!((fault.code(), fault.detail()), (Code::TableUnfit, "there is no table public.t"));
    })
    .await;
}

#[tokio::test]
async fn a_lock_in_the_way_is_given_up_soon_pg_96() {
    for_each_postgres(|pg| async move {
        let db = pg.database("ddl").await;
        let (client, mut holder) = (db.connect().await, db.connect().await);
        client.batch_execute("create table t (id int primary key, org text not null)").await.expect("a table");
        client.batch_execute("insert into t values (1, 'o')").await.expect("a row");
        let entity = fixture::entity("thing", "t");
        let mut table = open(&db, &entity).await;
        let held = holder.transaction().await.expect("a transaction");
        held.batch_execute("lock table t in access exclusive mode").await.expect("a lock");
        let fault = table.chunk(&start(&entity), 5).await.expect_err("a lock");
        assert_eq!(fault.code(), Code::TryAgain);
        held.rollback().await.expect("released");
        assert_eq!(table.chunk(&start(&entity), 5).await.expect("a chunk").rows.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_copy_begins_when_whoever_wrote_before_has_ended_pg_54() {
    for_each_postgres(|pg| async move {
        let db = pg.database("writers").await;
        let (client, mut early, mut reader) = (db.connect().await, db.connect().await, db.connect().await);
        let tables = "create table t (id int primary key, org text not null) partition by range (id);
                      create table t_low partition of t for values from (0) to (100)";
        client.batch_execute(tables).await.expect("a table");
        let entity = fixture::entity("thing", "t");
        // Written before the table joins, committed after: the stream has the second row only.
        let writing = early.transaction().await.expect("a transaction");
        writing.batch_execute("insert into t_low values (1, 'o')").await.expect("a row");
        let joined = "create publication writers_pub for table t with (publish_via_partition_root = true)";
        client.batch_execute(joined).await.expect("a publication");
        writing.batch_execute("insert into t_low values (2, 'o')").await.expect("a row");
        // Who only reads is not waited for.
        let reading = reader.transaction().await.expect("a transaction");
        reading.batch_execute("select from t; select pg_current_xact_id()").await.expect("a read");
        let mut table = open(&db, &entity).await;
        let progress = start(&entity);
        let mut chunk = Box::pin(table.chunk(&progress, 10));
        let early = tokio::time::timeout(std::time::Duration::from_millis(300), &mut chunk).await;
        assert!(early.is_err(), "the copy began beside a writer: {early:?}");
        writing.commit().await.expect("a commit");
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(20), chunk).await.expect("in time");
        assert_eq!(texts(&chunk.expect("a chunk"), "id"), ["1", "2"]);
        reading.commit().await.expect("a commit");
    })
    .await;
}

#[tokio::test]
async fn rows_of_nobody_are_not_copied_and_row_security_is_an_error_pg_94() {
    for_each_postgres(|pg| async move {
        let db = pg.database("nobody").await;
        let client = db.connect().await;
        client
            .batch_execute(
                "create table t (id int primary key, org text); alter table t replica identity full;
                 insert into t select n, case when n % 2 = 0 then 'o' end from generate_series(1, 20) n",
            )
            .await
            .expect("a table");
        let keys = copy(&db, &fixture::entity("thing", "t"), 3).await;
        assert_eq!(keys.len(), 10);
        let role = format!("{}_role", db.name());
        let sql = format!(
            "create role {role} login; grant select on t to {role}; alter table t enable row level security;
             create policy part on t using (id = 1)"
        );
        client.batch_execute(&sql).await.expect("a policy");
        let url = db.url().replace("postgres@", &format!("{role}@"));
        let info = antiphon_postgres::ConnectionInfo::parse(&url).expect("a URL");
        let entity = fixture::entity("thing", "t");
        let mut table =
            snapshot::open(&info, Arc::new(entity.clone()), snapshot::Mark::Message, snapshot::Earlier::default())
                .await
                .expect("a table");
        let fault = table.chunk(&start(&entity), 5).await.expect_err("a policy in the way");
        assert_eq!(fault.code(), Code::Permission);
        drop(table);
        client.batch_execute(&format!("drop owned by {role}; drop role {role}")).await.expect("cleaned up");
    })
    .await;
}
