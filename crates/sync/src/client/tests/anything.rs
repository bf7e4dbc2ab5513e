//! Whatever happens, in whatever order: answers that are late, doubled or nonsense, saves that fail, clocks that jump.
//!
//! Laws, after every single input: no panic; polling ends; what is sent was saved as sent; an entry leaves only where the
//! server spoke of it, a person took it back or the journal says why; and the same calls give the same answers through
//! the JSON face. The server here lies freely, so nothing is said about rows: `converge.rs` has an honest one.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{super::*, Server, object, put};

/// A step: what, and two numbers that choose among whatever is there.
type Deed = (u8, u16, u64);

struct World {
    client: Client,
    face: Face,
    server: Server,
    store: BTreeMap<Record, String>,
    saves: BTreeMap<u64, Vec<Write>>,
    asked: Vec<(u64, Request)>,
    streams: u64,
    tokens: u64,
    fences: u64,
    /// Readings of the store that wait, and whether all is wanted.
    reads: Vec<(u64, bool)>,
    now: Now,
    /// Every id that the server or another instance ever spoke of.
    spoken: String,
    /// Entries that the journal spoke of, or that were broken on the disk.
    settled: BTreeSet<EntryKey>,
    restarts: u64,
    /// What it said to other instances.
    shares: Vec<String>,
}

fn config(restarts: u64) -> Config {
    Config {
        source: format!("s{restarts}"),
        seed: restarts,
        delete_asks: restarts.is_multiple_of(2),
        subsets_bytes_max: 10_000,
    }
}

impl World {
    fn new() -> World {
        let mut server = Server::new();
        server.sql("1", json!({ "id": "1", "title": "t", "body": "one two", "rank": 1, "votes": 0, "labels": [] }));
        let mut world = World {
            client: Client::new(config(0), Loaded::default()).unwrap(),
            face: Face::default(),
            server,
            store: BTreeMap::new(),
            saves: BTreeMap::new(),
            asked: Vec::new(),
            streams: 0,
            tokens: 0,
            fences: 0,
            reads: Vec::new(),
            now: Now { wall_ms: 1_769_860_800_000, tick_ms: 0 },
            spoken: String::new(),
            settled: BTreeSet::new(),
            restarts: 0,
            shares: Vec::new(),
        };
        let start = Verb::Start { config: config(0), records: Vec::new() };
        world.face.answer(Call { now: None, verb: start });
        world
    }

    /// Lets the client and its twin behind JSON do the same, and looks at what they want.
    fn say(&mut self, verb: Verb) {
        let call = Call { now: Some(self.now), verb };
        let text = serde_json::to_string(&call).unwrap();
        if !matches!(call.verb, Verb::Edit { .. } | Verb::Import { .. }) {
            self.spoken.push_str(&text);
        }
        let before: Vec<Entry> = self.client.outbox().iter().cloned().collect();
        let by_person = matches!(
            call.verb,
            Verb::Edit { .. } | Verb::Decide { .. } | Verb::Discard { .. } | Verb::Undo | Verb::Redo
        );
        let mut plain = face::Face::of(std::mem::replace(&mut self.client, empty()), self.now);
        let given: Value = serde_json::from_str(&plain.answer(call)).unwrap();
        self.client = plain.into_client().unwrap();
        let twin: Value = serde_json::from_str(&self.face.call(&text)).unwrap();
        assert_eq!(given, twin, "the same call gives the same answer");
        assert!(given.get("error").is_none(), "{text} gives {given}");
        self.look(&given);
        if !by_person {
            self.nothing_is_lost(&before);
        }
    }

    fn look(&mut self, given: &Value) {
        let outputs = given["outputs"].as_array().unwrap();
        assert!(outputs.len() < 1_000, "polling ends: {}", outputs.len());
        for output in outputs {
            match output["want"].as_str().unwrap() {
                "request" => self.asks(output),
                "cancel" => self.asked.retain(|(id, _)| output["id"] != *id),
                "open" => self.streams = output["stream"].as_u64().unwrap(),
                "save" => {
                    self.tokens = output["token"].as_u64().unwrap();
                    let writes = serde_json::from_value(output["writes"].clone()).unwrap();
                    self.saves.insert(self.tokens, writes);
                }
                "read" => self.reads.push((output["token"].as_u64().unwrap(), output["all"] == true)),
                "share" => self.shares.push(output["message"].as_str().unwrap().to_owned()),
                "tell" if output["told"] == "decided" => {
                    self.settled.insert(output["about"]["entry"].as_str().unwrap().to_owned());
                }
                _ => {}
            }
        }
    }

    fn asks(&mut self, output: &Value) {
        let request = &output["request"];
        let text = |name: &str| request[name].as_str().map(str::to_owned);
        let request = match request["ask"].as_str().unwrap() {
            "schema" => Request::Schema,
            "list" => Request::List { entity_type: text("entityType").unwrap(), after: text("after"), limit: 1_000 },
            "ids" => Request::Ids {
                entity_type: text("entityType").unwrap(),
                ids: serde_json::from_value(request["ids"].clone()).unwrap(),
            },
            "mutations" => {
                let body = text("body").unwrap();
                self.was_saved(&body);
                Request::Mutations { body }
            }
            other => panic!("{other}"),
        };
        self.asked.push((output["id"].as_u64().unwrap(), request));
    }

    /// What goes out is on the device as sent, or it was said that nothing can be saved.
    fn was_saved(&self, body: &str) {
        if self.client.status().not_saving.is_some() {
            return;
        }
        let body: Value = serde_json::from_str(body).unwrap();
        for mutation in body["mutations"].as_array().unwrap() {
            let id = mutation["tx"]["transactionId"].as_str().unwrap();
            let saved = self.store.iter().filter(|(record, _)| matches!(record, Record::Entry(_)));
            let mut saved = saved.filter_map(|(_, text)| serde_json::from_str::<Entry>(text).ok());
            assert!(
                saved.any(|entry| entry.id.as_str() == id && entry.state == State::Sent),
                "{id} is saved before it is sent"
            );
        }
    }

    fn nothing_is_lost(&self, before: &[Entry]) {
        for entry in before {
            let went_on = |other: &Entry| other.entity == entry.entity && other.change == entry.change;
            let excused = self.client.outbox().find(&entry.key).is_some()
                || self.settled.contains(&entry.key)
                || self.spoken.contains(entry.id.as_str())
                || self.client.outbox().iter().any(went_on);
            assert!(excused, "{entry:?} is gone, and nobody spoke of it");
        }
    }

    fn restart(&mut self, number: u64) {
        self.restarts += 1;
        let mut records: Vec<(Record, String)> = self.store.clone().into_iter().collect();
        let broken = usize::try_from(number / 2).unwrap_or(0) % (records.len() + 1);
        if let Some((record, text)) = records.get_mut(broken).filter(|_| number % 2 == 1) {
            // Half of it reached the disk.
            *text = text.chars().take(text.len() / 2).collect();
            if let Record::Entry(key) = record {
                self.settled.insert(key.clone());
            }
        }
        self.client = Client::new(config(self.restarts), Loaded { records: records.clone() }).unwrap();
        let unreadable = self.client.unreadable().count();
        assert_eq!(unreadable + self.client.outbox().len() > 0, unreadable > 0 || !self.client.outbox().is_empty());
        let start = Verb::Start { config: config(self.restarts), records };
        self.face.answer(Call { now: Some(self.now), verb: start });
        self.asked.clear();
        self.saves.clear();
        self.reads.clear();
        self.lead();
    }

    fn deed(&mut self, (what, pick, number): Deed) {
        let entity = EntityKey::new("note", if pick.is_multiple_of(3) { "2" } else { "1" });
        let keys: Vec<EntryKey> = self.client.outbox().iter().map(|entry| entry.key.clone()).collect();
        let key = keys.get(usize::from(pick) % keys.len().max(1)).cloned().unwrap_or_default();
        match what % 28 {
            0 => self.pass(number % 40_000),
            1 => self.now.wall_ms = [0, u64::MAX, 1_769_860_800_000, number][usize::from(pick) % 4],
            2..=5 => self.answer(usize::from(pick), None),
            6 => self.answer(usize::from(pick), Some(number)),
            7 => self.say(Verb::NoAnswer { id: number % 40 }),
            8 => self.frame(pick, number),
            9 => self.frames(),
            10 => self.say(Verb::Heard { stream: self.streams - self.streams.min(u64::from(pick % 2)) }),
            11 => {
                let status = [None, Some(401), Some(503), Some(204)][usize::from(pick) % 4];
                self.say(Verb::Ended { stream: self.streams, status, retry_after_ms: Some(number) });
            }
            12..=14 => self.saved(self.tokens),
            15 => {
                let reason = ["full", "fenced", "gone"][usize::from(pick) % 3].to_owned();
                self.saves.remove(&self.tokens);
                self.say(Verb::NotSaved { token: self.tokens, reason });
            }
            16 => self.turn(pick),
            17 => self.restart(number),
            18 => self.say(Verb::Decide { key: key.clone(), seen: self.seen(&key), decision: decision(pick) }),
            19 => self.say([Verb::Retry { key: key.clone() }, Verb::Discard { key }][usize::from(pick) % 2].clone()),
            20 => self.say([Verb::Undo, Verb::Redo][usize::from(pick) % 2].clone()),
            22 => self.carry(number),
            23 => self.shared(pick),
            24 | 25 => self.read(pick),
            21 => self.server.sql("1", json!({ "title": number.to_string(), "rank": pick })),
            _ => self.say(Verb::Edit {
                edit: edit(entity, pick, number),
                upon: pick.is_multiple_of(3).then(|| "one two".to_owned()),
            }),
        }
    }

    /// Brings an outbox back: what was in it lately, bent now and then.
    fn carry(&mut self, number: u64) {
        let owner = Owner { user: "alice".into(), organization: "acme".into() };
        let mut export = self.client.export(&owner);
        if number.is_multiple_of(3) {
            let key = format!("{:012}-other", number % 1_000);
            // The first of a key is taken; what was told of it before was told under the key that it had.
            let first = export.entries.iter().find_map(|entry| entry["key"].as_str());
            if first.is_some_and(|first| self.settled.contains(first)) {
                self.settled.insert(key.clone());
            }
            for entry in export.entries.iter_mut().filter(|entry| entry.is_object()) {
                put(entry, "key", key.clone());
                put(entry, "id", format!("{:013}.0000.other", number % 10_000_000_000_000));
            }
        }
        let text = serde_json::to_string(&export).unwrap();
        self.say(Verb::Import { owner: owner.clone(), export: face::Text(text) });
        self.say(Verb::Export { owner });
    }

    /// Hears of what another instance saved: something that lies in the store, or what cannot be read.
    fn shared(&mut self, pick: u16) {
        let at = usize::from(pick) % self.store.len().max(1);
        let stored = self.store.iter().nth(at).map(|(record, text)| Write::Put(record.clone(), text.clone()));
        let writes: Vec<Write> = stored.into_iter().collect();
        let (fence, save) = (self.fences + u64::from(pick % 3), u64::from(pick % 11));
        let message = match pick % 7 {
            // Its own words, as a copy of it would say them.
            0 => self.shares.get(usize::from(pick / 7) % self.shares.len().max(1)).cloned().unwrap_or_default(),
            1 => NONSENSE[usize::from(pick / 7) % NONSENSE.len()].to_owned(),
            2 => json!({ "v": 1, "from": "o", "kind": "hello", "until": [1, pick] }).to_string(),
            3 => json!({ "v": 1, "from": "o", "kind": "bye", "fence": fence }).to_string(),
            4 => json!({ "v": 1, "from": "o", "kind": "added" }).to_string(),
            _ => json!({ "v": 1, "from": "o", "kind": "saved", "fence": fence, "save": save, "writes": writes })
                .to_string(),
        };
        self.say(Verb::Shared { message: face::Text(message) });
    }

    /// It leads, under a fence that nobody had.
    fn lead(&mut self) {
        self.fences += 4;
        self.say(Verb::Lead { fence: self.fences });
    }

    fn turn(&mut self, pick: u16) {
        match pick % 4 {
            0 => self.say(Verb::Follow),
            1 => self.say(Verb::Claimed { fence: self.fences, won: false }),
            2 => self.say(Verb::Visible { visible: pick % 8 == 2 }),
            _ => self.lead(),
        }
    }

    /// A reading that was asked for is answered, or fails.
    fn read(&mut self, pick: u16) {
        let Some((token, all)) = self.reads.pop() else { return };
        if pick.is_multiple_of(6) {
            return self.say(Verb::NotRead { token });
        }
        let held = self.store.iter().filter(|(record, _)| all || matches!(record, Record::Entry(_)));
        let records = held.map(|(record, text)| (record.clone(), text.clone())).collect();
        self.say(Verb::Read { token, records });
    }

    fn pass(&mut self, ms: u64) {
        self.now.tick_ms += ms;
        self.now.wall_ms = self.now.wall_ms.saturating_add(ms);
        self.say(Verb::Tick);
    }

    fn seen(&self, key: &str) -> Option<String> {
        self.client.outbox().find(key)?.theirs.as_ref()?.id.clone()
    }

    fn saved(&mut self, token: u64) {
        let Some(writes) = self.saves.remove(&token) else { return };
        for write in writes {
            match write {
                Write::Put(record, text) => drop(self.store.insert(record, text)),
                Write::Remove(record) => drop(self.store.remove(&record)),
                Write::Clear { entity_type, generation } => self.store.retain(|record, _| {
                    !matches!(record, Record::Row { generation: g, entity_type: t, .. }
                        if *g == generation && *t == entity_type)
                }),
            }
        }
        self.say(Verb::Saved { token });
    }

    /// Answers one of the open requests, as the server would, or with nonsense.
    fn answer(&mut self, pick: usize, nonsense: Option<u64>) {
        if self.asked.is_empty() {
            return;
        }
        let at = pick % self.asked.len();
        let (id, request) = self.asked[at].clone();
        // Now and then an answer comes twice.
        if !pick.is_multiple_of(5) {
            self.asked.remove(at);
        }
        let (status, body) = self.server.answer(&request);
        let (status, body) = match nonsense {
            None => (status, body.to_string()),
            Some(number) => twisted(status, body, pick, number),
        };
        let server_ms = nonsense.or(Some(self.now.wall_ms)).filter(|_| pick.is_multiple_of(3));
        self.say(Verb::Answer { id, status, retry_after_ms: None, server_ms, body: face::Text(body) });
    }

    /// Hands over what the server's stream holds.
    fn frames(&mut self) {
        let (_, after) = self.client.position();
        for (event, data) in self.server.frames(after, "alice").0.into_iter().take(20) {
            self.say(Verb::Frame { stream: self.streams, event, data: face::Text(data.to_string()) });
        }
    }

    fn frame(&mut self, pick: u16, number: u64) {
        let ids: Vec<String> = self.client.outbox().iter().map(|entry| entry.id.as_str().to_owned()).collect();
        let position = self.client.position().1;
        let action = ["create", "update", "delete", "truncate"][usize::from(pick) % 4];
        let activity = json!({ "activityId": position.saturating_add(number % 3), "entityType": "note", "entityId": "1",
            "action": action, "data": { "id": "1", "rank": number },
            "changedKeys": ["rank"], "commit": { "xid": number.to_string(), "last": pick.is_multiple_of(2) },
            "tx": { "transactionId": ids.first().cloned().unwrap_or("9999999999999.9999.x".into()), "sourceId": "x" } });
        let offset = json!({ "offset": number, "epoch": self.client.position().0, "access": "a", "asOf": null });
        let (event, data) = match pick % 9 {
            0 => ("change", activity.to_string()),
            1 => ("change", activity.to_string().replacen("\"1\"", "null", 1)),
            2 => ("offset", offset.to_string()),
            3 => ("confirm", json!({ "transactionIds": ids, "offset": number }).to_string()),
            4 => ("reset", json!({ "code": "ACCESS_CHANGED", "entityTypes": ["note", "none"] }).to_string()),
            5 => ("reset", json!({ "code": "EPOCH_CHANGED", "epoch": number }).to_string()),
            6 => ("notice", json!({ "reason": "auth_expired", "retryAfterMs": number }).to_string()),
            7 => ("change", NONSENSE[usize::from(pick / 9) % NONSENSE.len()].to_owned()),
            _ => ("surprise", "{".to_owned()),
        };
        let stream = if pick.is_multiple_of(7) { self.streams.wrapping_sub(1) } else { self.streams };
        self.say(Verb::Frame { stream, event: event.to_owned(), data: face::Text(data) });
    }
}

fn empty() -> Client {
    Client::new(config(0), Loaded::default()).unwrap()
}

const NONSENSE: [&str; 8] = [
    "",
    "{",
    "null",
    "[]",
    "{\"types\":{\"note\":{\"schema\":99999999999,\"key\":[]}}}",
    "{\"results\":[{\"transactionId\":\"\",\"status\":\"applied\"}]}",
    "{\"items\":[],\"offset\":18446744073709551615,\"epoch\":18446744073709551615,\"snapshot\":\"5:5:\",\"access\":\"\",\"schema\":1}",
    "{\"activityId\":1e999}",
];

/// Bends an answer: other documents, other codes, numbers that are too great, ids of nobody.
fn twisted(status: u16, mut body: Value, pick: usize, number: u64) -> (u16, String) {
    let codes = [
        "CLOCK_AHEAD",
        "CLOCK_BEHIND",
        "IDEMPOTENCY_MISMATCH",
        "TOO_OLD_TO_PROVE",
        "FIELD_CONFLICT",
        "ENTITY_GONE",
        "TRY_AGAIN",
        "CONSTRAINT",
        "NO_SUCH_CODE",
    ];
    match number % 5 {
        0 => (status, NONSENSE[pick % NONSENSE.len()].to_owned()),
        1 => ([200, 204, 400, 401, 403, 404, 409, 422, 429, 500, 503][pick % 11], body.to_string()),
        2 => {
            let bodies = [json!({ "code": codes[pick % codes.len()], "detail": "no" }), json!("<html>")];
            ([400, 409, 422][pick % 3], bodies[pick % 2].to_string())
        }
        3 => {
            let ids = [json!(null), json!("0000000000001.0000.x"), json!("9999999999999.9999.x")];
            for result in body["results"].as_array_mut().into_iter().flatten() {
                result["status"] = ["conflict", "rejected", "aborted", "duplicate"][pick % 4].into();
                result["problem"] = json!({ "code": codes[pick % codes.len()], "serverValue": number,
                    "serverTransactionId": ids[pick % 3] });
            }
            (status, body.to_string())
        }
        _ => {
            for name in ["offset", "epoch", "schema"] {
                if body.get(name).is_some() {
                    body[name] = number.into();
                }
            }
            (status, body.to_string())
        }
    }
}

fn decision(pick: u16) -> Decision {
    match pick % 4 {
        0 => Decision::KeepMine,
        1 => Decision::KeepTheirs,
        2 => Decision::Merge("both".into()),
        _ => Decision::Restore,
    }
}

fn edit(entity: EntityKey, pick: u16, number: u64) -> Edit {
    let set = |fields: Value| Edit::Set { entity: entity.clone(), fields: object(fields) };
    match pick % 8 {
        0 => Edit::Create { entity, data: object(json!({ "id": "2", "title": number.to_string() })) },
        1 => Edit::Delete { entity },
        2 => Edit::Add { entity, field: "votes".into(), by: number.into() },
        3 => Edit::Elements { entity, field: "labels".into(), add: vec![number.into()], remove: vec!["a".into()] },
        4 => set(json!({ "title": number.to_string(), "rank": number })),
        5 => set(json!({ "body": format!("one {number}") })),
        6 => set(json!({ "rank": number })),
        _ => set(json!({ "title": number.to_string() })),
    }
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let number = prop_oneof![0u64..100, any::<u64>(), Just(u64::MAX), Just(1 << 53)];
    proptest::collection::vec((any::<u8>(), any::<u16>(), number), 0..120)
}

proptest! {
    #[test]
    fn prop_whatever_happens_nothing_typed_is_lost_core_02_core_11_sy_29_sy_52(deeds in deeds()) {
        let mut world = World::new();
        world.lead();
        for deed in deeds {
            world.deed(deed);
        }
    }
}
