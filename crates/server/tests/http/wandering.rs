//! Readers that come and go at random under a writer that never stops (STR-01, STR-02, STR-08).
//!
//! The writer mixes plain SQL in transactions of random size, two sessions that hold transactions open so that commits
//! come out of their start order, and mutations over the door. Each reader connects, reads a while, drops the connection
//! in the middle of whatever it reads, and goes on where it was. `ANTIPHON_SEED` repeats a run.

use std::{collections::BTreeMap, sync::Arc};

use antiphon_model::{Visibility, Xid};
use antiphon_server::admin::ServeOptions;
use antiphon_testkit::{for_each_postgres, spawn};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::{
    mutations::{create, id},
    stage::{Setup, Stage},
    transports::{ALL, Reader, Transport},
};

/// How often each reader connects while the writer writes.
const LEGS: usize = 5;
/// Rows that are written again and again.
const ROWS: u32 = 8;

fn seed() -> u64 {
    let given = std::env::var("ANTIPHON_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    eprintln!("ANTIPHON_SEED={seed}");
    seed
}

/// Writes until told to stop, and closes what it held open.
async fn write(stage: Arc<Stage>, seed: u64, stop: watch::Receiver<bool>) {
    let mut random = StdRng::seed_from_u64(seed);
    let client = stage.db.connect().await;
    let holders = [stage.db.connect().await, stage.db.connect().await];
    let mut held = [false; 2];
    let mut version = 0;
    while !*stop.borrow() {
        client.batch_execute(&transaction(&mut random, &mut version)).await.expect("the writes");
        version += 1;
        let which = random.random_range(0..holders.len());
        held[which] = hold(&holders[which], which, held[which], version, &mut random).await;
        if random.random_range(0..3) == 0 {
            let answer = create(&stage, &id(), &format!("m{version}"), json!({ "title": "by hand" })).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
    }
    for (holder, held) in holders.iter().zip(held) {
        if held {
            holder.batch_execute("commit").await.expect("committed");
        }
    }
}

/// Begins a transaction on a session, or ends the one that is open there; returns whether one is open.
async fn hold(holder: &Client, which: usize, held: bool, version: i32, random: &mut StdRng) -> bool {
    let sql = match held {
        false => format!(
            "begin; insert into notes (id, org, rank) values ('h{which}', 'acme', {version})
             on conflict (id) do update set rank = excluded.rank"
        ),
        true if random.random_range(0..4) == 0 => "rollback".to_owned(),
        true => "commit".to_owned(),
    };
    holder.batch_execute(&sql).await.expect("held or ended");
    !held
}

/// Makes a transaction of random size; some of it is another organisation's.
fn transaction(random: &mut StdRng, version: &mut i32) -> String {
    let mut sql = String::from("begin;");
    for _ in 0..random.random_range(1..12) {
        *version += 1;
        let row = random.random_range(0..ROWS);
        sql.push_str(&match random.random_range(0..6) {
            0 => format!("delete from notes where id = 'r{row}';"),
            1 => format!("insert into notes (id, org, rank) values ('g{version}', 'globex', {version});"),
            _ => format!(
                "insert into notes (id, org, rank) values ('r{row}', 'acme', {version})
                 on conflict (id) do update set rank = excluded.rank;"
            ),
        });
    }
    sql.push_str(if random.random_range(0..8) == 0 { "rollback" } else { "commit" });
    sql
}

/// A reader that comes and goes, and the ids of what it was shown.
struct Wanderer {
    stage: Arc<Stage>,
    transport: Transport,
    random: StdRng,
    place: i64,
    seen: Vec<u64>,
}

impl Wanderer {
    async fn open(&self) -> Reader {
        let parameters = format!("offset={}&epoch=1", self.place);
        Reader::open(&self.stage, self.transport, &self.stage.alice, "acme", &parameters).await
    }

    /// Connects several times and drops each connection after a few frames, in whatever state it is.
    async fn wander(mut self) -> Wanderer {
        for _ in 0..LEGS {
            let mut reader = self.open().await;
            for _ in 0..self.random.random_range(0..40) {
                self.read(&mut reader).await;
            }
        }
        self
    }

    /// Connects once more and reads up to the last row.
    async fn settle(mut self) -> Vec<u64> {
        let mut reader = self.open().await;
        while !self.read(&mut reader).await {}
        self.seen
    }

    /// Reads one frame; tells whether it showed the last row.
    async fn read(&mut self, reader: &mut Reader) -> bool {
        let (kind, body) = reader.next().await.expect("an open stream");
        match kind.as_str() {
            "change" => {
                let id = body["activityId"].as_i64().expect("an id");
                assert!(id > self.place, "{:?}: {id} came after {}", self.transport, self.place);
                self.place = id;
                self.seen.push(id.unsigned_abs());
            }
            "offset" => {
                let offset = body["offset"].as_i64().expect("an offset");
                assert!(offset >= self.place, "{:?}: went back from {} to {offset}", self.transport, self.place);
                self.place = offset;
            }
            "confirm" => {}
            other => panic!("{:?}: {other} {body}", self.transport),
        }
        body["entityId"] == "zz"
    }
}

/// Rows as a reader knows them, and the newest version that it saw of each.
struct Mirror {
    rows: BTreeMap<String, Option<i64>>,
    newest: BTreeMap<String, i64>,
    /// What the list had seen already.
    saw: Visibility,
}

impl Mirror {
    /// Lists everything and says from where a stream goes on.
    async fn list(stage: &Stage) -> (Mirror, String) {
        let list = stage.json("/v1/orgs/acme/entities/note?limit=1000").await;
        assert!(list["next"].is_null(), "more rows than one page");
        let item = |item: &Value| (text(&item["data"]["id"]), item["data"]["rank"].as_i64());
        let rows: BTreeMap<_, _> = list["items"].as_array().expect("items").iter().map(item).collect();
        let newest = rows.iter().filter_map(|(id, rank)| Some((id.clone(), (*rank)?))).collect();
        let saw = text(&list["snapshot"]).parse().expect("a snapshot");
        (Mirror { rows, newest, saw }, format!("offset={}&epoch=1", list["offset"]))
    }

    fn apply(&mut self, change: &Value) {
        if self.saw.sees(Xid::new(text(&change["commit"]["xid"]).parse().expect("a number"))) {
            return;
        }
        let id = text(&change["entityId"]);
        if change["action"] == "delete" {
            assert!(self.rows.remove(&id).is_some(), "{id} is deleted twice: {change}");
            return;
        }
        let rank = change["data"]["rank"].as_i64();
        if let Some(rank) = rank {
            let before = self.newest.insert(id.clone(), rank);
            assert!(before.is_none_or(|before| before < rank), "{id} went back from {before:?} to {rank}");
        }
        self.rows.insert(id, rank);
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn unlimited(options: ServeOptions) -> ServeOptions {
    ServeOptions { mutations_per_second: 0, ..options }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_come_and_go_under_a_writer_miss_and_double_nothing_str_01_str_08() {
    for_each_postgres(|pg| async move {
        let seed = seed();
        let stage = Arc::new(Stage::open_with(&pg, Setup { serve: Some(unlimited), ..Setup::default() }).await);
        let stop = watch::Sender::new(false);
        let writer = spawn("writer", write(Arc::clone(&stage), seed, stop.subscribe()));
        let readers = ALL.iter().chain(&ALL).enumerate().map(|(n, transport)| Wanderer {
            stage: Arc::clone(&stage),
            transport: *transport,
            random: StdRng::seed_from_u64(seed ^ (n as u64 + 1)),
            place: -1,
            seen: Vec::new(),
        });
        let readers = futures::future::join_all(readers.map(Wanderer::wander)).await;
        stop.send_replace(true);
        writer.await.expect("the writer fails nowhere");
        stage.run("insert into notes (id, org) values ('zz', 'acme')").await;
        let mut reference = Vec::new();
        let (mut offset, mut whole) = (Value::from(-1), false);
        while !whole {
            let page = stage.json(&format!("/v1/orgs/acme/live?offset={offset}&limit=1000")).await;
            for change in page["activities"].as_array().expect("activities") {
                reference.push(change["activityId"].as_u64().expect("an id"));
                whole |= change["entityId"] == "zz";
            }
            offset = page["offset"].clone();
        }
        for reader in readers {
            let transport = reader.transport;
            assert_eq!(reader.settle().await, reference, "{transport:?}, seed {seed}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_and_its_stream_never_go_back_on_any_transport_though_commits_come_out_of_order_str_02() {
    for_each_postgres(|pg| async move {
        let seed = seed();
        let stage = Arc::new(Stage::open_with(&pg, Setup { serve: Some(unlimited), ..Setup::default() }).await);
        let stop = watch::Sender::new(false);
        let writer = spawn("writer", write(Arc::clone(&stage), seed, stop.subscribe()));
        let mut mirrors = Vec::new();
        for transport in ALL.iter().chain(&ALL) {
            let (mut mirror, parameters) = Mirror::list(&stage).await;
            let mut reader = Reader::open(&stage, *transport, &stage.alice, "acme", &parameters).await;
            mirror.apply(&reader.change().await);
            mirrors.push((*transport, mirror, reader));
        }
        stop.send_replace(true);
        writer.await.expect("the writer fails nowhere");
        stage.run("insert into notes (id, org) values ('zz', 'acme')").await;
        let rows = stage.client.query("select id, rank::int8 from notes where org = 'acme'", &[]).await;
        let table: BTreeMap<String, Option<i64>> =
            rows.expect("the table").iter().map(|row| (row.get(0), row.get(1))).collect();
        for (transport, mut mirror, mut reader) in mirrors {
            while !mirror.rows.contains_key("zz") {
                mirror.apply(&reader.change().await);
            }
            assert_eq!(mirror.rows, table, "{transport:?}, seed {seed}");
        }
    })
    .await;
}
