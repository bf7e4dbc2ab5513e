//! The join of lists and the stream under writers that never stop (STR-02).
//!
//! Several writers make transactions of random size over rows of their own, some rolled back, one of them open over
//! many lists; readers list page by page meanwhile and then follow the stream as the contract says.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use antiphon_model::{Visibility, Xid};
use antiphon_testkit::{for_each_postgres, spawn};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::stage::Stage;

const WRITERS: u64 = 4;
const ROWS_EACH: u64 = 6;
const LISTS: usize = 12;

/// Rows by id, with the version that each has.
type Rows = BTreeMap<String, i64>;

/// Writes until told to stop.
async fn write(client: Client, writer: u64, seed: u64, stop: watch::Receiver<bool>) {
    let mut random = StdRng::seed_from_u64(seed ^ writer);
    let mut version = 0;
    while !*stop.borrow() {
        let mut sql = String::from("begin;");
        for _ in 0..random.random_range(1..5) {
            version += 1;
            let id = format!("w{writer}-{}", random.random_range(0..ROWS_EACH));
            sql.push_str(&match random.random_range(0..5) {
                0 => format!("delete from notes where id = '{id}';"),
                1 => format!("savepoint s; update notes set rank = {version} where id = '{id}'; rollback to s;"),
                _ => format!(
                    "insert into notes (id, org, rank) values ('{id}', 'acme', {version})
                     on conflict (id) do update set rank = excluded.rank;"
                ),
            });
        }
        client.batch_execute(&sql).await.expect("the writes");
        let end = if random.random_range(0..6) == 0 { "rollback" } else { "commit" };
        client.batch_execute(end).await.expect("the end");
    }
}

/// What one reader knows: rows, and per page of its list where it ends, what it saw and its offset.
struct Listed {
    rows: Rows,
    pages: Vec<(Option<String>, Visibility)>,
    offset: u64,
}

impl Listed {
    async fn read(stage: &Stage, limit: usize) -> Listed {
        let mut listed = Listed { rows: Rows::new(), pages: Vec::new(), offset: u64::MAX };
        let mut after = String::new();
        loop {
            let page = stage.json(&format!("/v1/orgs/acme/entities/note?limit={limit}&after={after}")).await;
            let mut last = None;
            for item in page["items"].as_array().expect("items") {
                let id = item["data"]["id"].as_str().expect("an id").to_owned();
                listed.rows.insert(id.clone(), item["data"]["rank"].as_i64().expect("a version"));
                last = Some(id);
            }
            let next = page["next"].as_str();
            let saw = page["snapshot"].as_str().expect("a snapshot").parse().expect("a snapshot");
            listed.pages.push((next.and(last), saw));
            listed.offset = listed.offset.min(page["offset"].as_u64().expect("an offset"));
            match next {
                Some(next) => next.clone_into(&mut after),
                None => return listed,
            }
        }
    }

    fn saw(&self, id: &str, xid: Xid) -> bool {
        let page = self.pages.iter().find(|(end, _)| end.as_deref().is_none_or(|end| id <= end));
        page.expect("the last page has no end").1.sees(xid)
    }

    /// Follows the stream up to the row `zz`.
    async fn follow(mut self, stage: &Stage, limit: usize) -> Rows {
        let mut newest = self.rows.clone();
        let mut offset = self.offset;
        loop {
            let page = stage.json(&format!("/v1/orgs/acme/live?offset={offset}&epoch=1&limit={limit}")).await;
            for change in page["activities"].as_array().expect("activities") {
                self.apply(change, &mut newest);
                if change["entityId"] == "zz" {
                    return self.rows;
                }
            }
            offset = page["offset"].as_u64().expect("an offset");
        }
    }

    fn apply(&mut self, change: &Value, newest: &mut Rows) {
        let id = change["entityId"].as_str().expect("an id").to_owned();
        let xid = change["commit"]["xid"].as_str().expect("text").parse().expect("a number");
        if self.saw(&id, Xid::new(xid)) {
            return;
        }
        match change["data"]["rank"].as_i64() {
            Some(version) => {
                let before = newest.insert(id.clone(), version);
                assert!(before.is_none_or(|before| before < version), "{id} went back from {before:?} to {version}");
                self.rows.insert(id, version);
            }
            None => {
                assert!(self.rows.remove(&id).is_some(), "{id} is deleted twice: {change}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_under_writers_plus_the_stream_equal_the_table_and_never_go_back_str_02() {
    for_each_postgres(|pg| async move {
        let seed: u64 = rand::random();
        eprintln!("seed {seed}");
        let stage = Arc::new(Stage::open(&pg).await);
        let mut random = StdRng::seed_from_u64(seed);
        let stop = watch::Sender::new(false);
        let mut late = stage.db.connect().await;
        let late = late.transaction().await.expect("a transaction");
        late.batch_execute("insert into notes (id, org, rank) values ('late', 'acme', 1)").await.expect("inserted");
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let client = stage.db.connect().await;
            writers.push(spawn("writer", write(client, writer, seed, stop.subscribe())));
        }
        let mut lists = Vec::new();
        for round in 0..LISTS {
            if round == LISTS / 2 {
                late.batch_execute("update notes set rank = 2 where id = 'late'").await.expect("updated");
            }
            let limit = random.random_range(2..40);
            lists.push(Listed::read(&stage, limit).await);
        }
        late.commit().await.expect("committed");
        lists.push(Listed::read(&stage, 5).await);
        stop.send_replace(true);
        for writer in writers {
            tokio::time::timeout(Duration::from_secs(30), writer).await.expect("in time").expect("no panic");
        }
        stage.run("insert into notes (id, org, rank) values ('zz', 'acme', 1)").await;
        let rows = stage.client.query("select id, rank::int8 from notes", &[]).await.expect("the table");
        let table: Rows = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        for list in lists {
            assert_eq!(list.follow(&stage, random.random_range(1..50)).await, table, "seed {seed}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_snapshot_parameter_leaves_out_what_the_list_has_str_02() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut late = stage.db.connect().await;
        let late = late.transaction().await.expect("a transaction");
        late.batch_execute("insert into notes (id, org) values ('late', 'acme')").await.expect("inserted");
        stage.run("insert into notes (id, org) values ('listed', 'acme')").await;
        let list = stage.json("/v1/orgs/acme/entities/note").await;
        assert_eq!(list["items"][0]["data"]["id"], "listed");
        late.commit().await.expect("committed");
        stage.run("insert into notes (id, org) values ('end', 'acme')").await;
        let snapshot = list["snapshot"].as_str().expect("text");
        let mut stream = stage.stream(&format!("offset=-1&snapshot={snapshot}"), None).await;
        for id in ["late", "end"] {
            assert_eq!(crate::stage::next(&mut stream, "change").await.1["entityId"], id);
        }
        let page = stage.json(&format!("/v1/orgs/acme/live?offset=-1&snapshot={snapshot}")).await;
        let ids: Vec<_> = page["activities"].as_array().expect("some").iter().map(|a| a["entityId"].clone()).collect();
        assert_eq!(ids, ["late", "end"]);
    })
    .await;
}
