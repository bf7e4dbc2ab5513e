//! Bringing our tables to this version.

use antiphon_model::Code;
use antiphon_testkit::for_each_postgres;

/// So many steps lead from an empty database to this version.
const ALL: usize = 5;

#[tokio::test]
async fn two_servers_that_migrate_at_once_both_succeed_op_15() {
    for_each_postgres(|pg| async move {
        let db = pg.database("migrate").await;
        let (mut one, mut two) = (db.connect_log().await, db.connect_log().await);
        assert_eq!(antiphon_store::pending(&mut one).await.unwrap().len(), ALL);
        let (a, b) = tokio::join!(antiphon_store::migrate(&mut one), antiphon_store::migrate(&mut two));
        assert_eq!(a.unwrap().len() + b.unwrap().len(), ALL);
        assert!(antiphon_store::pending(&mut one).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_newer_database_is_refused_and_not_touched_op_15() {
    for_each_postgres(|pg| async move {
        let db = pg.database("newer").await;
        let mut client = db.connect_log().await;
        antiphon_store::migrate(&mut client).await.unwrap();
        let sql =
            "insert into antiphon.migrations select 99, 'later', applied_on, checksum from antiphon.migrations limit 1";
        client.execute(sql, &[]).await.unwrap();
        assert_eq!(antiphon_store::pending(&mut client).await.unwrap_err().code(), Code::LogNewer);
        assert_eq!(antiphon_store::migrate(&mut client).await.unwrap_err().code(), Code::LogNewer);
    })
    .await;
}

#[tokio::test]
async fn a_role_with_a_schema_of_its_own_name_migrates_twice_op_15() {
    for_each_postgres(|pg| async move {
        let db = pg.database("searchpath").await;
        // What a role called `antiphon` has by default.
        let client = db.connect_log().await;
        let sql =
            "do $$ begin execute format('alter database %I set search_path = antiphon, public', current_database());
                   end $$";
        client.batch_execute(sql).await.unwrap();
        for expected in [ALL, 0] {
            let mut client = db.connect_log().await;
            assert_eq!(antiphon_store::migrate(&mut client).await.unwrap().len(), expected);
        }
    })
    .await;
}

#[tokio::test]
async fn a_migration_that_broke_off_leaves_nothing_and_is_done_again_op_15() {
    for_each_postgres(|pg| async move {
        let db = pg.database("brokenoff").await;
        let mut client = db.connect_log().await;
        // Something of somebody else's is in the way of its last table.
        client.batch_execute("create schema antiphon; create table antiphon.tokens ()").await.unwrap();
        assert_eq!(antiphon_store::migrate(&mut client).await.unwrap_err().code(), Code::LogCorrupt);
        let left = "select to_regclass('log.activities') is null and to_regclass('antiphon.users') is null";
        assert!(client.query_one(left, &[]).await.unwrap().get::<_, bool>(0));
        client.batch_execute("drop table antiphon.tokens").await.unwrap();
        assert_eq!(antiphon_store::migrate(&mut client).await.unwrap().len(), ALL);
    })
    .await;
}

#[tokio::test]
async fn no_index_of_the_log_depends_on_the_collations_of_an_operating_system() {
    for_each_postgres(|pg| async move {
        let db = pg.database("bytes").await;
        let mut client = db.connect_log().await;
        antiphon_store::migrate(&mut client).await.unwrap();
        let by_language = "select array_agg(distinct x.indexrelid::regclass::text) from pg_index x
             join pg_class i on i.oid = x.indexrelid join pg_namespace n on n.oid = i.relnamespace
             cross join lateral unnest(x.indcollation) as used(oid)
             join pg_collation c on c.oid = used.oid
            where n.nspname = 'log' and c.collname <> 'C'";
        let found: Option<Vec<String>> = client.query_one(by_language, &[]).await.unwrap().get(0);
        assert_eq!(found, None);
    })
    .await;
}

#[tokio::test]
async fn what_was_logged_before_is_found_once_names_are_bytes_op_15() {
    for_each_postgres(|pg| async move {
        let db = pg.database("before").await;
        let mut client = db.connect_log().await;
        antiphon_store::migrate(&mut client).await.unwrap();
        client
            .batch_execute(
                "alter table log.activities alter column org type text collate \"default\";
                 create table log.activities_0 partition of log.activities for values from (0) to (100);
                 insert into log.activities (id, org, type, action, schema, lsn, seq, last, xid, committed_at)
                 select g, case when g % 2 = 0 then 'a-b' else 'aB' end, 'note', 1, 1, g, 0, true, 700, 0
                   from generate_series(1, 50) g;",
            )
            .await
            .unwrap();
        let names = include_str!("../../migrations/V5__names_are_bytes.sql");
        client.batch_execute(names).await.unwrap();
        let found = "set enable_seqscan = off; set enable_bitmapscan = off;";
        client.batch_execute(found).await.unwrap();
        let count = "select count(*) from log.activities where id > 0 and org = $1";
        for org in ["a-b", "aB"] {
            assert_eq!(client.query_one(count, &[&org]).await.unwrap().get::<_, i64>(0), 25);
        }
    })
    .await;
}
