//! Bringing our tables to this version.

use antiphon_model::Code;
use antiphon_testkit::for_each_postgres;

#[tokio::test]
async fn two_servers_that_migrate_at_once_both_succeed_op_15() {
    for_each_postgres(|pg| async move {
        let db = pg.database("migrate").await;
        let (mut one, mut two) = (db.connect_log().await, db.connect_log().await);
        assert_eq!(antiphon_store::pending(&mut one).await.unwrap().len(), 1);
        let (a, b) = tokio::join!(antiphon_store::migrate(&mut one), antiphon_store::migrate(&mut two));
        assert_eq!(a.unwrap().len() + b.unwrap().len(), 1);
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
            "insert into antiphon_migrations select 99, 'later', applied_on, checksum from antiphon_migrations limit 1";
        client.execute(sql, &[]).await.unwrap();
        assert_eq!(antiphon_store::pending(&mut client).await.unwrap_err().code(), Code::LogNewer);
        assert_eq!(antiphon_store::migrate(&mut client).await.unwrap_err().code(), Code::LogNewer);
    })
    .await;
}
