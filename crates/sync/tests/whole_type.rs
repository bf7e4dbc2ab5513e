//! The tested limit of a type that every device keeps whole: 100,000 rows are listed, changed, saved and loaded within
//! bounds of time and memory (CORE-12).
//!
//! Bounds are generous, since tests run unoptimised on busy machines. What they would find is a step that looks at every
//! row: the cost of a change must not grow with the number of rows.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use antiphon_sync::client::{Client, Config, EntityKey, Input, Loaded, Now, Output, Record, Request, Write};
use serde_json::{Value, json};

/// Rows of the tested limit.
const ROWS: usize = 100_000;
/// Memory that such a row may take, in bytes, with its record in the store of this test: about 5,000 were measured.
const ROW_BYTES_MAX: u64 = 10_000;
/// All rows come, are kept and loaded within so long: a step that looks at every row would take hours.
const LIST_MAX: Duration = Duration::from_secs(600);
/// Changes of which the time is taken.
const CHANGES: usize = 500;

const NOW: Now = Now { wall_ms: 1_769_860_800_000, tick_ms: 0 };

/// A client with its store, and what it has asked.
struct Device {
    client: Client,
    store: BTreeMap<Record, String>,
    stream: Option<u64>,
}

impl Device {
    fn new(store: BTreeMap<Record, String>) -> Device {
        let config = Config { source: "a".into(), seed: 7, delete_asks: true, subsets_bytes_max: 0 };
        let records = store.iter().map(|(record, text)| (record.clone(), text.clone())).collect();
        let mut client = Client::new(config, Loaded { records }).unwrap();
        client.handle(NOW, Input::Lead { fence: 1 });
        Device { client, store, stream: None }
    }

    /// Lists so many rows and opens the stream.
    fn listed(rows: usize) -> Device {
        let mut device = Device::new(BTreeMap::new());
        device.settle(rows);
        assert!(device.client.is_complete("task"));
        assert_eq!(device.client.confirmed_rows("task").count(), rows);
        device
    }

    fn settle(&mut self, rows: usize) {
        while let Some(output) = self.client.poll() {
            match output {
                Output::Request { id, request } => {
                    let body = answer(&request, rows).to_string();
                    let answer = Input::Answer { id, status: 200, retry_after_ms: None, server_ms: None, body: &body };
                    self.client.handle(NOW, answer);
                }
                Output::Save { token, writes, .. } => {
                    for write in writes {
                        match write {
                            Write::Put(record, text) => drop(self.store.insert(record, text)),
                            Write::Remove(record) => drop(self.store.remove(&record)),
                            Write::Clear { .. } => {}
                        }
                    }
                    self.client.handle(NOW, Input::Saved { token });
                }
                Output::Open { stream, .. } => {
                    self.stream = Some(stream);
                    self.client.handle(NOW, Input::Heard { stream });
                }
                _ => {}
            }
        }
    }

    /// Applies a change to each of so many rows, each saved by itself; returns how long that took.
    fn change(&mut self, rows: usize, changes: usize) -> Duration {
        let stream = self.stream.unwrap();
        let started = Instant::now();
        for number in 0..changes {
            let activity = activity(number * 7_919 % rows, number);
            self.client.handle(NOW, Input::Frame { stream, event: "change", data: &activity.to_string() });
            self.settle(rows);
        }
        started.elapsed()
    }
}

fn id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn row(number: usize) -> Value {
    json!({ "id": id(number), "organization_id": "acme", "page_id": id(number / 50), "title": format!("task {number}"),
        "status": "todo", "assignee": null, "priority": 2, "due_on": "2026-02-01", "labels": ["a", "b"], "votes": "0",
        "position": format!("a{number:08}"), "created_at": "2026-01-31T12:00:00.000000Z",
        "updated_at": "2026-01-31T12:00:00.000000Z" })
}

fn tx(number: usize) -> Value {
    let id = format!("{:013}.0000.sql-700", 1_769_860_000_000_usize + number);
    json!({ "transactionId": id, "sourceId": "sql", "actor": null, "changedField": null, "fields": { "*": id } })
}

fn answer(request: &Request, rows: usize) -> Value {
    match request {
        Request::List { after, limit, .. } => {
            let from: usize = after.as_deref().map_or(0, |after| after.parse().unwrap());
            let upto = (from + limit).min(rows);
            let items: Vec<Value> = (from..upto).map(|at| json!({ "data": row(at), "tx": tx(at) })).collect();
            let next = (upto < rows).then(|| upto.to_string());
            // Each page sees a little more, as on a busy server.
            let snapshot = format!("{0}:{0}:", 1_000 + from);
            json!({ "items": items, "next": next, "offset": 10, "epoch": 1, "snapshot": snapshot, "access": "a",
                "schema": 1 })
        }
        _ => {
            let shape = row(0);
            let fields: BTreeMap<&String, Value> = shape
                .as_object()
                .unwrap()
                .keys()
                .map(|name| (name, json!({ "type": "text", "merge": "lww" })))
                .collect();
            json!({ "types": { "task": { "schema": 1, "key": ["id"], "sync": "all", "fields": fields } }, "access": "a" })
        }
    }
}

fn activity(at: usize, number: usize) -> Value {
    let mut data = row(at);
    data["title"] = format!("changed {number}").into();
    let id = format!("{:013}.0000.b", 1_769_870_000_000_usize + number);
    let tx = json!({ "transactionId": id, "sourceId": "b", "actor": "bob", "changedField": "title" });
    json!({ "activityId": 11 + number, "entityType": "task", "entityId": data["id"], "action": "update", "data": data,
        "changedKeys": ["title"], "tx": tx, "commit": { "xid": (1_000_000 + number).to_string(), "last": true } })
}

/// What the process has in memory; `None` where the system does not say.
fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    pages.split_whitespace().nth(1)?.parse::<u64>().ok().map(|pages| pages * 4_096)
}

#[test]
fn a_hundred_thousand_rows_are_listed_changed_and_loaded_core_12() {
    let few = Device::listed(1_000).change(1_000, CHANGES);
    let before = resident_bytes();
    let started = Instant::now();
    let mut device = Device::listed(ROWS);
    let listed = started.elapsed();
    let used = resident_bytes().zip(before).map(|(after, before)| after.saturating_sub(before) / ROWS as u64);
    assert!(listed < LIST_MAX, "listing took {listed:?}");
    let many = device.change(ROWS, CHANGES);
    let last = EntityKey::new("task", id((CHANGES - 1) * 7_919 % ROWS));
    assert_eq!(device.client.view(&last).unwrap()["title"], *format!("changed {}", CHANGES - 1));
    let stored_bytes: usize = device.store.values().map(String::len).sum();
    let started = Instant::now();
    let loaded = Device::new(std::mem::take(&mut device.store));
    let load = started.elapsed();
    eprintln!(
        "{ROWS} rows: listed in {listed:?}, about {} bytes of memory a row, {stored_bytes} bytes stored, loaded in {load:?}; \
         {CHANGES} changes: {few:?} among 1,000 rows, {many:?} among {ROWS}",
        used.unwrap_or_default()
    );
    assert_eq!(loaded.client.view(&last).unwrap()["title"], *format!("changed {}", CHANGES - 1));
    assert_eq!(loaded.client.confirmed_rows("task").count(), ROWS);
    assert!(load < LIST_MAX, "loading took {load:?}");
    // A step that looks at every row would make it a hundred times as much; other processes may take their time.
    assert!(many < few * 10 + Duration::from_secs(5), "{few:?} among 1,000 rows, {many:?} among {ROWS}");
    assert!(used.is_none_or(|used| used < ROW_BYTES_MAX), "{used:?} bytes a row");
}
