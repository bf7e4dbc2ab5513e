//! Random rows, changes, subscriptions, delays and restarts against a model that knows only the database (CORE-12).
//!
//! The model filters the database's rows by itself. Laws: what is shown of a row never goes back; at rest each complete
//! subset is what the database says, and nothing is on the device that nothing keeps.

use std::collections::BTreeMap;

use proptest::{
    collection,
    prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest},
};

use super::{
    subsets::{Carried, best, titled},
    *,
};

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    /// A row is written: id, title, rank.
    Write(u8, u8, i8),
    Delete(u8),
    Truncate,
    Subscribe(Wish),
    Release(usize),
    Open(u8),
    Close(u8),
    /// The person edits a row that is here: id, title.
    Edit(u8, u8),
    /// Lists are so many transactions behind the stream.
    Lag(u8),
    /// The stream tells the next few of what it has.
    Hear(u8),
    /// So many of the client's wishes are fulfilled.
    Serve(u8),
    /// The connection is lost.
    Cut,
    /// The log begins anew.
    Epoch,
    Restart,
}

/// What may be wanted.
#[derive(Clone, Debug, PartialEq)]
enum Wish {
    Titled(u8),
    Best(usize),
    Least(i8),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0..12u8;
    let wish =
        prop_oneof![(0..3u8).prop_map(Wish::Titled), (1..5usize).prop_map(Wish::Best), (-3..3i8).prop_map(Wish::Least)];
    prop_oneof![
        8 => (id.clone(), 0..3u8, -5..5i8).prop_map(|(id, title, rank)| Step::Write(id, title, rank)),
        2 => id.clone().prop_map(Step::Delete),
        1 => Just(Step::Truncate),
        3 => wish.prop_map(Step::Subscribe),
        2 => (0..6usize).prop_map(Step::Release),
        1 => id.clone().prop_map(Step::Open),
        1 => id.clone().prop_map(Step::Close),
        2 => (id, 0..3u8).prop_map(|(id, title)| Step::Edit(id, title)),
        2 => (0..6u8).prop_map(Step::Lag),
        4 => (1..4u8).prop_map(Step::Hear),
        6 => (1..8u8).prop_map(Step::Serve),
        1 => Just(Step::Cut),
        1 => Just(Step::Epoch),
        1 => Just(Step::Restart),
    ]
}

fn subset(wish: &Wish) -> Subset {
    match wish {
        Wish::Titled(title) => titled(&format!("t{title}")),
        Wish::Best(rows) => best(*rows),
        Wish::Least(rank) => {
            let filter = Filter { field: "rank".into(), test: Test::Gte, value: Some(rank.to_string()) };
            Subset { entity_type: "note".into(), filters: vec![filter], ..Subset::default() }
        }
    }
}

/// What the database says of a wish.
fn truth(server: &Server, wish: &Wish) -> Vec<String> {
    let rank = |row: &serde_json::Map<String, Value>| row["rank"].as_i64().unwrap();
    let mut rows: Vec<(&String, &serde_json::Map<String, Value>)> =
        server.rows.iter().map(|(id, (row, _))| (id, row)).collect();
    match wish {
        Wish::Titled(title) => rows.retain(|(_, row)| row["title"] == format!("t{title}")),
        Wish::Least(least) => rows.retain(|(_, row)| rank(row) >= i64::from(*least)),
        Wish::Best(many) => {
            rows.sort_by_key(|(id, row)| (-rank(row), (*id).clone()));
            rows.truncate(*many);
        }
    }
    rows.into_iter().map(|(id, _)| id.clone()).collect()
}

struct World {
    server: Server,
    device: Device,
    wanted: Vec<(u64, Wish)>,
    open: Vec<EntityKey>,
    lives: usize,
    /// The revision of each row as it was last shown; revisions only rise.
    seen: BTreeMap<String, i64>,
    /// What those who carry out changes show, by subscription.
    carried: BTreeMap<u64, Carried>,
    steps: u64,
}

impl World {
    fn new() -> World {
        let mut server = Server::new();
        server.sync = "on_demand";
        World {
            server,
            device: Device::new("a"),
            wanted: Vec::new(),
            open: Vec::new(),
            lives: 0,
            seen: BTreeMap::new(),
            carried: BTreeMap::new(),
            steps: 0,
        }
    }

    fn take(&mut self, step: Step) {
        let World { server, device, .. } = self;
        match step {
            Step::Write(id, title, rank) => {
                let (id, xid) = (format!("{id:02}"), server.clock_ms);
                server.sql(&id, json!({ "id": id, "title": format!("t{title}"), "rank": rank, "votes": xid }));
            }
            Step::Delete(id) => {
                let id = format!("{id:02}");
                if server.rows.contains_key(&id) {
                    server.sql_delete(&id);
                }
            }
            Step::Truncate => server.truncate(),
            Step::Subscribe(wish) => self.wanted.push((device.want(subset(&wish)), wish)),
            Step::Release(at) if at < self.wanted.len() => {
                let (number, _) = self.wanted.remove(at);
                device.release(number);
            }
            Step::Open(id) => {
                let entity = note(&format!("{id:02}"));
                device.client.open(device.now, &entity).unwrap();
                self.open.push(entity);
            }
            Step::Close(id) => {
                let entity = note(&format!("{id:02}"));
                device.client.close(device.now, &entity);
                if let Some(at) = self.open.iter().position(|open| *open == entity) {
                    self.open.remove(at);
                }
            }
            Step::Edit(id, title) => {
                let entity = note(&format!("{id:02}"));
                let fields = object(json!({ "title": format!("t{title}") }));
                drop(device.client.edit(device.now, Edit::Set { entity, fields }));
            }
            Step::Release(_) => {}
            Step::Lag(lag) => server.lag = lag.into(),
            Step::Hear(frames) => device.hear(server, frames.into()),
            Step::Serve(outputs) => {
                for _ in 0..outputs {
                    if let Some(output) = device.client.poll() {
                        device.perform(server, output);
                    }
                }
                device.pass(100);
            }
            Step::Cut => device.cut(),
            Step::Epoch => {
                server.lag = 0;
                server.restore_without_log();
                device.cut();
            }
            Step::Restart => {
                self.lives += 1;
                let next = std::mem::replace(device, Device::new("x")).restart(&format!("a{}", self.lives));
                *device = next;
                for (number, wish) in &mut self.wanted {
                    *number = device.want(subset(wish));
                }
                for entity in &self.open {
                    device.client.open(device.now, entity).unwrap();
                }
                // What was never saved is gone: rows begin where the store stands.
                self.seen.clear();
                self.carried.clear();
            }
        }
    }

    /// What is on the device never goes back while it is there.
    fn look(&mut self) {
        let rows: BTreeMap<String, i64> = self
            .device
            .client
            .confirmed_rows("note")
            .map(|(id, row)| (id.clone(), row.data["votes"].as_i64().unwrap()))
            .collect();
        for (id, revision) in &rows {
            if let Some(before) = self.seen.get(id) {
                assert!(revision >= before, "{id} went back from {before} to {revision}");
            }
        }
        self.seen = rows;
        self.steps += 1;
        for (number, wish) in &self.wanted {
            // Some ask after each step, others let changes gather.
            if self.steps.is_multiple_of(1 + number % 4) {
                let carried = self.carried.entry(*number).or_default();
                carried.carry(&mut self.device, *number);
                assert_eq!(*carried, Carried::afresh(&self.device, *number), "{wish:?}");
            }
        }
    }

    fn rest(&mut self) {
        self.server.lag = 0;
        let World { server, device, .. } = self;
        for _ in 0..60 {
            device.settle(server);
            // People decide, so that nothing waits for them.
            let open: Vec<(EntryKey, Option<String>)> = device
                .client
                .outbox()
                .iter()
                .filter(|entry| entry.state == State::Conflicted)
                .map(|entry| (entry.key.clone(), entry.theirs.as_ref().and_then(|theirs| theirs.id.clone())))
                .collect();
            for (key, theirs) in open {
                device.client.decide(device.now, &key, theirs.as_deref(), Decision::KeepTheirs).unwrap();
            }
            device.pass(1_000);
        }
        let waiting: Vec<&Entry> = device.client.outbox().iter().collect();
        assert!(waiting.is_empty(), "{waiting:?}");
        for (number, wish) in &self.wanted {
            assert_eq!(device.shown(*number), (true, truth(server, wish)), "{wish:?}");
        }
        for entity in &self.open {
            let there = server.rows.contains_key(&entity.entity_id);
            let presence = if there { Presence::Here } else { Presence::Nowhere };
            assert_eq!(device.client.presence(entity), presence, "{entity:?}");
        }
        for (id, row) in device.client.confirmed_rows("note") {
            assert_eq!(row.data, server.rows[id].0, "{id}");
        }
        // With nothing wanted, and no room for what was, nothing is left.
        device.client.config.subsets_bytes_max = 0;
        self.wanted.push((device.want(best(1)), Wish::Best(1)));
        for (number, _) in std::mem::take(&mut self.wanted) {
            device.release(number);
        }
        for entity in std::mem::take(&mut self.open) {
            device.client.close(device.now, &entity);
        }
        device.settle(server);
        assert_eq!(device.kept(), Vec::<String>::new());
    }
}

impl Device {
    fn hear(&mut self, server: &Server, frames: usize) {
        let Some((stream, offset)) = self.stream else { return };
        for (event, data) in server.frames(offset, "alice").0.into_iter().take(frames) {
            self.client.handle(self.now, Input::Frame { stream, event: &event, data: &data.to_string() });
            // What was said may have closed it.
            if self.stream.is_some_and(|(present, _)| present == stream) {
                self.stream = Some((stream, data["activityId"].as_u64().unwrap()));
            }
        }
    }

    fn cut(&mut self) {
        if let Some((stream, _)) = self.stream.take() {
            self.client.handle(self.now, Input::Ended { stream, status: None, retry_after_ms: None });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn prop_subsets_equal_the_database_and_no_row_goes_back_core_12(steps in collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.look();
        }
        world.rest();
    }
}
