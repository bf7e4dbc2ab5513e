//! Bringing our tables to this version.

use antiphon_model::Code;
use antiphon_testkit::for_each_postgres;

/// So many steps lead from an empty database to this version.
const ALL: usize = 4;

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
