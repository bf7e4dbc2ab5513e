//! What mutations need in the application's database: made once, whoever is faster, kept by the day (MUT-06).

use antiphon_model::Code;
use antiphon_postgres::{ensure_objects, maintain_objects};
use antiphon_testkit::{TestDb, for_each_postgres};
use tokio_postgres::Client;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
const NOW_MS: u64 = 20_000 * DAY_MS + 5_000;

async fn days(client: &Client) -> Vec<u64> {
    let sql = "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
               where i.inhparent = 'antiphon.mutations'::regclass";
    let rows = client.query(sql, &[]).await.expect("the partitions");
    let day = |name: String| name.trim_start_matches("mutations_").parse().expect("a day");
    let mut days: Vec<u64> = rows.iter().map(|row| day(row.get(0))).collect();
    days.sort_unstable();
    days
}

async fn record(client: &Client, ms: u64) -> Result<u64, tokio_postgres::Error> {
    let sql = "insert into antiphon.mutations values ('acme', $1, 'alice', 'h', 'page', '1', '700'::xid8)";
    client.execute(sql, &[&format!("{ms:013}.0000.a")]).await
}

/// Connects as a role that may do nothing in particular.
async fn stranger(db: &TestDb) -> Client {
    let role = format!("{}_stranger", db.name());
    db.connect().await.batch_execute(&format!("create role {role} login")).await.expect("a role");
    let mut config: tokio_postgres::Config = db.url().parse().expect("the test's URL");
    let (client, connection) = config.user(&role).connect(tokio_postgres::NoTls).await.expect("a session");
    antiphon_testkit::spawn("stranger", async move {
        connection.await.unwrap_or_default();
    });
    client
}

#[tokio::test]
async fn several_servers_make_the_objects_at_once_and_again_mut_02() {
    for_each_postgres(|pg| async move {
        let db = pg.database("objects").await;
        let servers = (0..6).map(|_| async {
            let mut client = db.connect().await;
            ensure_objects(&mut client, NOW_MS).await
        });
        for made in futures::future::join_all(servers).await {
            made.expect("made");
        }
        let client = db.connect().await;
        assert_eq!(days(&client).await, [19_999, 20_000, 20_001, 20_002, 20_003]);
        for ms in [NOW_MS, NOW_MS - DAY_MS, NOW_MS + 3 * DAY_MS] {
            assert_eq!(record(&client, ms).await.expect("a record"), 1);
        }
        assert!(record(&client, NOW_MS).await.is_err(), "an id is recorded once");
        client.batch_execute("update antiphon.objects set version = 99").await.expect("another version");
        let mut old = db.connect().await;
        assert_eq!(ensure_objects(&mut old, NOW_MS).await.map_err(|fault| fault.code()), Err(Code::LogNewer));
    })
    .await;
}

#[tokio::test]
async fn days_are_made_ahead_and_dropped_when_no_id_so_old_is_taken_mut_06() {
    for_each_postgres(|pg| async move {
        let db = pg.database("objects").await;
        let mut client = db.connect().await;
        ensure_objects(&mut client, NOW_MS).await.expect("made");
        record(&client, NOW_MS).await.expect("a record");
        // Thirty days later the id may still come again, a month and more later not.
        let later = NOW_MS + 30 * DAY_MS;
        assert_eq!(maintain_objects(&client, later).await.expect("kept"), 0);
        assert!(days(&client).await.ends_with(&[20_003, 20_030, 20_031, 20_032, 20_033]));
        let much_later = NOW_MS + 32 * DAY_MS;
        // Somebody writes: nobody waits for a drop, and the next time does it.
        let writer = db.connect().await;
        writer.batch_execute("begin; lock table antiphon.mutations_20000 in row exclusive mode").await.expect("a lock");
        assert_eq!(maintain_objects(&client, much_later).await.expect("kept"), 1);
        assert!(days(&client).await.starts_with(&[20_000, 20_001]));
        writer.batch_execute("commit").await.expect("the end");
        assert_eq!(maintain_objects(&client, much_later).await.expect("dropped"), 1);
        assert!(days(&client).await.starts_with(&[20_001]));
    })
    .await;
}

#[tokio::test]
async fn a_role_that_may_not_make_them_is_told_which_statement_is_missing() {
    for_each_postgres(|pg| async move {
        let db = pg.database("objects").await;
        let mut client = stranger(&db).await;
        let fault = ensure_objects(&mut client, NOW_MS).await.expect_err("no right");
        assert_eq!(fault.code(), Code::Permission);
        assert!(fault.detail().contains("create schema antiphon authorization"), "{}", fault.detail());
        let role = format!("{}_stranger", db.name());
        let owner = db.connect().await;
        owner.batch_execute(&format!("create schema antiphon authorization {role}")).await.expect("the statement");
        ensure_objects(&mut client, NOW_MS).await.expect("made");
        owner.batch_execute(&format!("drop schema antiphon cascade; drop role {role}")).await.expect("removed");
    })
    .await;
}
