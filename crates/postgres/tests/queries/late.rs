//! Rows that commit late, whoever commits when: none is missed, and the highest value never goes back.

use antiphon_model::{Checkpoint, Transaction};
use antiphon_testkit::for_each_postgres;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio_postgres::Client;

use crate::stage::{Folded, Reader, Stage, brief, entity, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_commits_behind_the_highest_value_is_read_again_pl_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "behind").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        let late = stage.db.connect().await;
        // Its time is that of its beginning, and it takes its number at the end.
        late.batch_execute("begin; select now()").await.unwrap();
        let mut told = 0;
        while age(&late).await < 3.0 {
            told += 1;
            stage.run(&format!("insert into notes (id, body) values ({told}, 'early')")).await;
            reader.changes(1).await;
        }
        late.batch_execute("insert into notes (id, body) values (0, 'late'); commit").await.unwrap();
        let taken = reader.changes(1).await;
        assert_eq!(brief(&taken), ["insert 0,acme,late"]);
        // The same over a restart: where it begins again is kept.
        late.batch_execute("begin; update notes set body = 'later', at = now() where id = 0").await.unwrap();
        stage.run("insert into notes (id) values (1000)").await;
        reader.changes(1).await;
        until(&stage.client, "select clock_timestamp() > max(xact_start) + interval '2500 ms' from pg_stat_activity where state = 'idle in transaction' and datname = current_database()").await;
        let checkpoint = reader.checkpoint.clone();
        drop(reader);
        let mut reader = Reader::connect(&stage.source(), checkpoint).await.unwrap();
        stage.run("insert into notes (id) values (1001)").await;
        reader.changes(1).await;
        late.batch_execute("commit").await.unwrap();
        assert_eq!(brief(&reader.changes(1).await), ["update 0,acme,later"]);
    })
    .await;
}

/// For how long a session's transaction has been open, in seconds.
async fn age(session: &Client) -> f64 {
    let age = "select extract(epoch from clock_timestamp() - now())::float8";
    session.query_one(age, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_keeps_the_window_open_pl_04() {
    for version in antiphon_testkit::PgVersion::tested() {
        let settings = [("max_prepared_transactions", "4")];
        let Some(pg) = antiphon_testkit::Pg::private(version, &settings).await else { continue };
        let stage = Stage::set(&pg, "prepared").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        stage.run("begin; insert into notes (id, body) values (0, 'prepared'); prepare transaction 'late'").await;
        let began: f64 = stage.client.query_one("select extract(epoch from now())::float8", &[]).await.unwrap().get(0);
        let mut told = 0;
        loop {
            told += 1;
            stage.run(&format!("insert into notes (id) values ({told})")).await;
            reader.changes(1).await;
            let now: f64 =
                stage.client.query_one("select extract(epoch from now())::float8", &[]).await.unwrap().get(0);
            if now - began > 3.0 {
                break;
            }
        }
        stage.run("commit prepared 'late'").await;
        assert_eq!(brief(&reader.changes(1).await), ["insert 0,acme,prepared"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_ahead_never_hides_what_is_written_after_it_pl_06() {
    for_each_postgres(|pg| async move {
        let stage = Stage::set(&pg, "ahead").await;
        let mut reader = Reader::connect(&stage.source(), Checkpoint::start()).await.unwrap();
        // As a server writes whose clock is set back by an hour right after.
        stage.run("insert into notes (id, at) values (1, now() + interval '1 hour')").await;
        reader.changes(1).await;
        stage.run("insert into notes (id) values (2)").await;
        assert_eq!(brief(&reader.changes(1).await), ["insert 2,acme,-"]);
        let kept =
            "select watermark::timestamptz > now() + interval '50 min' and to_timestamp(from_moment / 1e6) <= now()
            from antiphon.poll_tables";
        until(&stage.client, kept).await;
    })
    .await;
}

/// Sessions that write for as long as they like, by the row's own clock or by a sequence; what is read is all there is.
async fn random_writers(pg: antiphon_testkit::Pg, by_sequence: bool) {
    let seed: u64 =
        std::env::var("ANTIPHON_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| rand::rng().random());
    let mut dice = StdRng::seed_from_u64(seed);
    let stage = Stage::set(&pg, "writers").await;
    stage.run("create sequence versions; create table ranked (id int primary key, org text not null default 'acme', body text, at int8 default nextval('versions'), gone timestamptz); create index on ranked (at, id)").await;
    let (table, next, config) = match by_sequence {
        true => ("ranked", "nextval('versions')", {
            let entities = vec![entity("note", "ranked", "at", None)];
            antiphon_postgres::QueryConfig { entities, ..stage.config() }
        }),
        false => ("notes", "now()", stage.config()),
    };
    let mut reader =
        Reader::connect(&antiphon_postgres::QuerySource::new(config).unwrap(), Checkpoint::start()).await.unwrap();
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push((stage.db.connect().await, false));
    }
    let (mut id, mut folded) = (0, Folded::default());
    for _ in 0..400 {
        let (session, open) = &mut sessions[dice.random_range(0..5)];
        if !*open {
            session.batch_execute("begin; select now(); set local lock_timeout = '1ms'").await.unwrap();
            *open = true;
        }
        let sql = match dice.random_range(0..10) {
            0 | 1 => {
                *open = false;
                "commit".to_owned()
            }
            2 => {
                *open = false;
                "rollback".to_owned()
            }
            3..=5 => {
                id += 1;
                format!("insert into {table} (id, body, at) values ({id}, '{}', {next})", dice.random_range(0..100))
            }
            _ => {
                let which = dice.random_range(0..=id);
                format!("update {table} set body = '{}', at = {next} where id = {which}", dice.random_range(0..100))
            }
        };
        // Whoever waits for another gives up; what came of it does not matter.
        if session.batch_execute(&sql).await.is_err() {
            session.batch_execute("rollback").await.unwrap();
            *open = false;
        }
        if dice.random_bool(0.2) {
            take(&mut reader, &mut folded, dice.random_range(0..3)).await;
        }
    }
    for (session, _) in &sessions {
        session.batch_execute("commit").await.unwrap();
    }
    // A mark behind everything: what is read before it is all there is.
    stage.run(&format!("insert into {table} (id, body) values (1000000, 'end')")).await;
    while !folded.rows.contains_key("1000000") {
        take(&mut reader, &mut folded, 1).await;
    }
    take(&mut reader, &mut folded, 3).await;
    stage.run("set timezone = 'UTC'").await;
    let sql = format!(
        "select id::text, concat_ws(',', id::text, org, coalesce(body, '-'), coalesce(at::text, '-'), '-') from {table}"
    );
    let rows = stage.client.query(&sql, &[]).await.unwrap();
    let rows: std::collections::BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(folded.rows, rows, "seed {seed}");
}

/// Takes so many parcels, and what comes with them.
async fn take(reader: &mut Reader, folded: &mut Folded, parcels: usize) {
    for _ in 0..parcels {
        if let antiphon_engine::ports::Captured::Transactions(taken) = reader.next().await.unwrap() {
            let taken: Vec<Transaction> = taken;
            folded.apply(&taken);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_commits_when_the_log_folds_to_the_table_pl_03_pl_04() {
    for_each_postgres(|pg| random_writers(pg, false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_a_sequence_that_commit_late_are_read_too_pl_04() {
    for_each_postgres(|pg| random_writers(pg, true)).await;
}
