//! Writers that never stop while tables are copied: inserts, updates, keys that move, deletes, truncates, rollbacks.
//!
//! Keys move behind the copy's place and before it; values out of line stay unchanged, so that the stream alone has rows
//! with holes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use antiphon_testkit::TestDb;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

/// The tables, with their rows; `{rows}` is how many each has.
pub const TABLES: &str = "
create table plain (id int primary key, org text not null, v text);
create unique index plain_identity on plain (id, org);
alter table plain replica identity using index plain_identity;
insert into plain select n, case n % 3 when 0 then 'globex' else 'acme' end, 'row ' || n from generate_series(1, {rows}) n;
create table wide (id text primary key, org text not null, v text, big text);
alter table wide alter big set storage external;
create unique index wide_identity on wide (id, org);
alter table wide replica identity using index wide_identity;
insert into wide select 'k' || n, 'acme', 'row ' || n, case when n % 4 = 0 then repeat(md5(n::text), 100) end
  from generate_series(1, {rows}) n;
create table pairs (list int, n int, org text not null, v text, primary key (list, n));
create unique index pairs_identity on pairs (list, n, org);
alter table pairs replica identity using index pairs_identity;
insert into pairs select n % 10, n / 10, 'acme', 'row ' || n from generate_series(1, {rows}) n;
";

/// What the writers share.
#[derive(Default)]
pub struct Load {
    stop: AtomicBool,
}

impl Load {
    /// Starts some writers over tables of `rows` rows.
    pub async fn start(self: &Arc<Load>, db: &TestDb, rows: i32, seed: u64) -> JoinSet<u64> {
        let mut writers = JoinSet::new();
        for session in 0..3 {
            let (load, client) = (Arc::clone(self), db.connect().await);
            let mut random = StdRng::seed_from_u64(seed.wrapping_mul(97).wrapping_add(session));
            writers.spawn(async move {
                let mut commits = 0;
                while !load.stop.load(Ordering::Relaxed) {
                    let sql = transaction(&mut random, rows);
                    // A deadlock or a key that is taken takes the transaction back: as in any application.
                    match client.batch_execute(&sql).await {
                        Ok(()) => commits += 1,
                        Err(_) => client.batch_execute("rollback").await.expect("a rollback"),
                    }
                    tokio::time::sleep(Duration::from_millis(random.random_range(1..8))).await;
                }
                commits
            });
        }
        writers
    }

    /// Ends them after their present transaction.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn transaction(random: &mut StdRng, rows: i32) -> String {
    let mut sql = String::from("begin; ");
    for _ in 0..random.random_range(1..5) {
        sql.push_str(&statement(random, rows));
        sql.push_str("; ");
    }
    match random.random_range(0..10) {
        0 => sql.push_str("rollback"),
        1 => sql.push_str("savepoint s; update plain set v = 'phantom'; rollback to s; commit"),
        _ => sql.push_str("commit"),
    }
    sql
}

fn statement(random: &mut StdRng, rows: i32) -> String {
    let (id, other) = (random.random_range(1..=rows), random.random_range(1..=rows));
    let v = random.random_range(0..u32::MAX);
    let (list, n) = (id % 10, other / 10);
    match random.random_range(0..100) {
        0..15 => format!("update plain set v = 'v{v}' where id between {id} and {id} + 3"),
        // Forth and back over the place where the copy stands, and to where it never comes again.
        15..25 => format!(
            "update plain set id = {other} where id = {id} and not exists (select from plain where id = {other})"
        ),
        25..29 => format!("update plain set id = -id where id = {id}"),
        29..35 => format!("delete from plain where id = {id}"),
        35..45 => format!("insert into plain values ({id}, 'acme', 'new {v}') on conflict do nothing"),
        45..58 => format!("update wide set v = 'v{v}' where id = 'k{id}'"),
        58..63 => format!("update wide set big = repeat(md5('{v}'), 90) where id = 'k{id}'"),
        63..66 => format!("update wide set id = 'm{v}' where id = 'k{id}'"),
        66..70 => format!("delete from wide where id = 'k{id}'"),
        70..75 => {
            format!("insert into wide values ('k{id}', 'acme', 'new {v}', repeat('x', 3000)) on conflict do nothing")
        }
        75..85 => format!("update pairs set v = 'v{v}' where list = {list} and n = {n}"),
        85..90 => format!("delete from pairs where list = {list} and n = {n}"),
        90..94 => format!("update pairs set n = n + {rows} where list = {list} and n = {n}"),
        94..99 => format!("insert into pairs values ({list}, {n}, 'acme', 'new {v}') on conflict do nothing"),
        // Rows come back under the same keys, so that the copy has something to read again.
        _ if id % 4 == 0 => format!(
            "create temporary table kept on commit drop as select * from pairs; truncate pairs;
             insert into pairs select list, n, org, 'again {v}' from kept where n % 7 <> 0"
        ),
        _ => format!("update pairs set v = 'all {v}' where list = {list}"),
    }
}
