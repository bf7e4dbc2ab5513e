//! The client against a small server in memory: one device, one person at a time, everything by hand.
//!
//! What is random, and many clients at once, is the simulator's. Here each claim of the requirements has its example.

mod anything;
mod bad_input;
mod browser;
mod converge;
mod forms;
mod keeping;
mod long;
mod parts_model;
mod plug;
mod server;
mod sight;
mod subsets;
mod tabs;
mod typing;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::client::words::Strategy;
use server::Server;

/// A client with its store, and the server behind a switch.
struct Device {
    client: Client,
    store: BTreeMap<Record, String>,
    now: Now,
    stream: Option<(u64, u64)>,
    online: bool,
    told: Vec<Told>,
    /// Whether the next answers to mutations are lost.
    lose_answers: bool,
    /// Whether saving fails.
    full: bool,
}

impl Device {
    fn new(source: &str) -> Device {
        Device::with(source, BTreeMap::new())
    }

    fn with(source: &str, store: BTreeMap<Record, String>) -> Device {
        let records = store.iter().map(|(record, text)| (record.clone(), text.clone())).collect();
        let config = Config { source: source.into(), seed: 7, delete_asks: true, subsets_bytes_max: 1 << 20 };
        let now = Now { wall_ms: 1_769_860_800_000, tick_ms: 0 };
        let mut client = Client::new(config, Loaded { records }).unwrap();
        client.handle(now, Input::Lead { fence: 1 });
        Device { client, store, now, stream: None, online: true, told: Vec::new(), lose_answers: false, full: false }
    }

    /// Ends without warning, and starts again from its store.
    fn restart(self, source: &str) -> Device {
        let mut next = Device::with(source, self.store);
        next.now = self.now;
        next.online = self.online;
        next
    }

    fn pass(&mut self, ms: u64) {
        self.now.wall_ms += ms;
        self.now.tick_ms += ms;
        self.client.handle(self.now, Input::Tick);
    }

    /// Goes on until nothing is left to be done at this moment.
    fn settle(&mut self, server: &mut Server) {
        for _ in 0..500 {
            let mut quiet = true;
            while let Some(output) = self.client.poll() {
                quiet = false;
                self.perform(server, output);
            }
            if let Some((stream, offset)) = self.stream.filter(|_| self.online) {
                let (frames, upto) = server.frames(offset, "alice");
                if upto > offset {
                    quiet = false;
                    self.stream = Some((stream, upto));
                    for (event, data) in frames {
                        self.client.handle(self.now, Input::Frame { stream, event: &event, data: &data.to_string() });
                    }
                }
            }
            if quiet {
                return;
            }
        }
        panic!("it never came to rest");
    }

    /// Lets time pass until everything that waits has had its turn.
    fn run(&mut self, server: &mut Server) {
        for _ in 0..40 {
            self.settle(server);
            self.pass(1_000);
        }
        self.settle(server);
    }

    fn perform(&mut self, server: &mut Server, output: Output) {
        match output {
            Output::Request { id, request } => {
                if !self.online {
                    return self.client.handle(self.now, Input::NoAnswer { id });
                }
                let is_write = matches!(request, Request::Mutations { .. });
                let (status, body) = server.answer(&request);
                match is_write && self.lose_answers {
                    true => self.client.handle(self.now, Input::NoAnswer { id }),
                    false => self.client.handle(
                        self.now,
                        Input::Answer { id, status, retry_after_ms: None, server_ms: None, body: &body.to_string() },
                    ),
                }
            }
            Output::Cancel { .. } => {}
            Output::Open { stream, offset, epoch, access } => {
                if !self.online {
                    let ended = Input::Ended { stream, status: None, retry_after_ms: None };
                    return self.client.handle(self.now, ended);
                }
                if server.outsider {
                    let ended = Input::Ended { stream, status: Some(403), retry_after_ms: None };
                    return self.client.handle(self.now, ended);
                }
                if epoch != server.epoch || access != "a" {
                    let reset = json!({ "code": "EPOCH_CHANGED", "epoch": server.epoch }).to_string();
                    return self.client.handle(self.now, Input::Frame { stream, event: "reset", data: &reset });
                }
                self.stream = Some((stream, offset));
                self.client.handle(self.now, Input::Heard { stream });
            }
            Output::Close { .. } => self.stream = None,
            Output::Save { token, writes, .. } => {
                if self.full {
                    return self.client.handle(self.now, Input::NotSaved { token, reason: "full" });
                }
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
                self.client.handle(self.now, Input::Saved { token });
            }
            Output::Claim { .. } | Output::Read { .. } | Output::Share { .. } => {}
            Output::Tell(told) => self.told.push(*told),
        }
    }

    fn offline(&mut self) {
        self.online = false;
        if let Some((stream, _)) = self.stream.take() {
            self.client.handle(self.now, Input::Ended { stream, status: None, retry_after_ms: None });
        }
    }

    fn edit(&mut self, edit: Edit) -> Option<EntryKey> {
        self.client.edit(self.now, edit).unwrap().group
    }

    fn set(&mut self, id: &str, field: &str, value: impl Into<crate::json::Value>) -> Option<EntryKey> {
        let fields = [(field, value.into())].into();
        self.edit(Edit::Set { entity: note(id), fields })
    }

    fn shows(&self, id: &str, field: &str) -> Value {
        self.client.view(&note(id)).map_or(Value::Null, |row| row[field].clone().into())
    }

    fn states(&self) -> Vec<State> {
        self.client.outbox().iter().map(|entry| entry.state).collect()
    }
}

fn note(id: &str) -> EntityKey {
    EntityKey::new("note", id)
}

fn object(value: Value) -> Object {
    value.as_object().unwrap().clone().into()
}

fn put(into: &mut crate::json::Value, name: &str, value: String) {
    let crate::json::Value::Object(members) = into else { panic!("{into} is no object") };
    members.insert(name.to_owned(), value.into());
}

/// A device that has listed one note.
fn listed() -> (Server, Device) {
    let mut server = Server::new();
    server.sql("1", json!({ "id": "1", "title": "t", "body": "one two three", "rank": 1, "votes": 0, "labels": [] }));
    let mut device = Device::new("a");
    device.settle(&mut server);
    assert_eq!(device.shows("1", "title"), "t");
    (server, device)
}

#[test]
fn an_edit_is_shown_at_once_sent_and_confirmed_by_its_echo_core_10() {
    let (mut server, mut device) = listed();
    device.set("1", "title", "mine");
    assert_eq!((device.shows("1", "title"), device.states()), ("mine".into(), vec![State::Sent]));
    assert_eq!(server.applied, 0, "it is saved before it is handed over");
    device.run(&mut server);
    assert_eq!((server.value("1", "title"), device.shows("1", "title")), ("mine".into(), "mine".into()));
    assert!(device.client.outbox().is_empty(), "{:?}", device.states());
}

#[test]
fn edits_made_offline_survive_a_restart_and_go_out_once_core_02_sy_59() {
    let (mut server, mut device) = listed();
    device.offline();
    device.set("1", "rank", 5);
    device.edit(Edit::Create { entity: note("2"), data: object(json!({ "id": "2", "title": "new" })) });
    device.set("2", "body", "text");
    device.run(&mut server);
    let mut device = device.restart("b");
    assert_eq!((device.shows("1", "rank"), device.shows("2", "body")), (5.into(), "text".into()));
    device.run(&mut server);
    assert_eq!(device.client.outbox().len(), 2, "the edit of what never left is part of its create");
    device.online = true;
    device.run(&mut server);
    assert!(device.client.outbox().is_empty());
    assert_eq!((server.value("1", "rank"), server.value("2", "body"), server.applied), (5.into(), "text".into(), 2));
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_and_nothing_is_applied_twice_sy_29() {
    let (mut server, mut device) = listed();
    device.lose_answers = true;
    device.edit(Edit::Add { entity: note("1"), field: "votes".into(), by: 3.into() });
    device.settle(&mut server);
    // The echo proves it, whatever became of the answer.
    assert_eq!((device.shows("1", "votes"), device.client.outbox().len()), (3.into(), 0));
    device.pass(5_000);
    device.settle(&mut server);
    server.mute = true;
    device.edit(Edit::Add { entity: note("1"), field: "votes".into(), by: 1.into() });
    device.settle(&mut server);
    assert_eq!((device.states(), device.shows("1", "votes"), server.applied), (vec![State::Sent], 4.into(), 2));
    (device.lose_answers, server.mute) = (false, false);
    device.run(&mut server);
    assert_eq!((server.value("1", "votes"), server.applied), (4.into(), 2));
    assert!(device.client.outbox().is_empty());
}

#[test]
fn a_newer_edit_takes_the_place_of_one_that_never_left_and_stands_behind_one_that_did_core_03() {
    let (mut server, mut device) = listed();
    device.offline();
    device.set("1", "title", "a");
    device.set("1", "title", "b");
    assert_eq!(device.client.outbox().len(), 1);
    (device.online, device.lose_answers, server.mute) = (true, true, true);
    device.pass(40_000);
    device.settle(&mut server);
    assert_eq!(device.states(), [State::Sent]);
    device.set("1", "title", "c");
    let outbox = device.client.outbox();
    let entries: Vec<&Entry> = outbox.iter().collect();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1].expected.as_deref(), Some(entries[0].id.as_str()));
    assert_eq!(entries[1].base, Some("b".into()));
    (device.lose_answers, server.mute) = (false, false);
    device.run(&mut server);
    assert_eq!((server.value("1", "title"), device.client.outbox().len()), ("c".into(), 0));
}

#[test]
fn the_later_edit_stands_and_the_earlier_gives_way_with_a_line_in_the_journal_core_07_core_14() {
    let (mut server, mut device) = listed();
    device.offline();
    device.set("1", "rank", 5);
    server.sql("1", json!({ "rank": 9 }));
    server.clock_ms += 1_000_000;
    device.pass(1_000);
    device.online = true;
    device.run(&mut server);
    // What the server wrote has the server's time, which is earlier than this device's edit or not.
    let later = device.client.journal().next().expect("a line").clone();
    let expected = if later.rule == Rule::MineWins { 5 } else { 9 };
    assert_eq!((device.shows("1", "rank"), server.value("1", "rank")), (expected.into(), expected.into()));
    assert!(device.client.outbox().is_empty());
}

fn conflict() -> (Server, Device, EntryKey) {
    let (mut server, mut device) = listed();
    device.offline();
    let key = device.set("1", "title", "mine").unwrap();
    server.sql("1", json!({ "title": "theirs" }));
    device.online = true;
    device.run(&mut server);
    assert_eq!(device.states(), [State::Conflicted]);
    assert_eq!(device.shows("1", "title"), "mine", "what was typed stays on screen");
    (server, device, key)
}

fn theirs(device: &Device, key: &str) -> Theirs {
    device.client.outbox().find(key).and_then(|entry| entry.theirs.clone()).expect("another side")
}

#[test]
fn a_person_decides_and_the_decision_names_what_was_on_screen_core_08() {
    for (decision, result) in
        [(Decision::KeepMine, "mine"), (Decision::KeepTheirs, "theirs"), (Decision::Merge("both".into()), "both")]
    {
        let (mut server, mut device, key) = conflict();
        let other = theirs(&device, &key);
        assert_eq!(other.value, "theirs");
        assert_eq!(device.client.decide(device.now, &key, Some("x"), decision.clone()), Err(Undecided::Newer));
        device.client.decide(device.now, &key, other.id.as_deref(), decision).unwrap();
        device.run(&mut server);
        assert_eq!((device.shows("1", "title"), server.value("1", "title")), (result.into(), result.into()));
        assert!(device.client.outbox().is_empty());
    }
}

#[test]
fn a_conflict_moves_with_the_server_and_ends_by_itself_core_08() {
    let (mut server, mut device, key) = conflict();
    let seen = theirs(&device, &key).id;
    server.sql("1", json!({ "title": "newer" }));
    device.run(&mut server);
    assert_eq!(theirs(&device, &key).value, "newer");
    let late = device.client.decide(device.now, &key, seen.as_deref(), Decision::KeepMine);
    assert_eq!(late, Err(Undecided::Newer), "a decision about an older version is not taken");
    device.set("1", "title", "typed on");
    assert_eq!((device.states(), device.shows("1", "title")), (vec![State::Conflicted], "typed on".into()));
    server.sql("1", json!({ "title": "typed on" }));
    device.run(&mut server);
    assert!(device.client.outbox().is_empty());
    assert_eq!(device.client.journal().last().map(|line| line.rule), Some(Rule::Same));
}

#[test]
fn texts_are_merged_where_the_edits_do_not_touch_core_07() {
    let (mut server, mut device) = listed();
    device.offline();
    device.set("1", "body", "ONE two three");
    server.sql("1", json!({ "body": "one two THREE" }));
    device.online = true;
    device.run(&mut server);
    assert_eq!(
        (server.value("1", "body"), device.shows("1", "body")),
        ("ONE two THREE".into(), "ONE two THREE".into())
    );
    assert!(device.client.outbox().is_empty());
}

#[test]
fn what_was_typed_on_behind_a_text_on_its_way_is_merged_too_core_03_core_07() {
    let (mut server, mut device) = listed();
    device.lose_answers = true;
    device.online = false;
    device.set("1", "body", "one two three four");
    device.settle(&mut server);
    server.sql("1", json!({ "body": "zero one two three" }));
    device.set("1", "body", "one two three four five");
    assert_eq!(device.states(), [State::Sent, State::Pending]);
    (device.lose_answers, device.online) = (false, true);
    device.run(&mut server);
    let both = Value::from("zero one two three four five");
    assert_eq!((server.value("1", "body"), device.shows("1", "body")), (both.clone(), both));
    assert!(device.client.outbox().is_empty());
}

#[test]
fn a_row_deleted_by_others_stays_visible_with_its_edit_and_may_be_restored_core_09() {
    let (mut server, mut device) = listed();
    device.offline();
    let key = device.set("1", "title", "mine").unwrap();
    server.sql_delete("1");
    device.online = true;
    device.run(&mut server);
    assert_eq!((device.states(), device.shows("1", "title")), (vec![State::Conflicted], "mine".into()));
    assert!(theirs(&device, &key).gone);
    let seen = theirs(&device, &key).id;
    device.client.decide(device.now, &key, seen.as_deref(), Decision::Restore).unwrap();
    device.run(&mut server);
    assert_eq!((server.value("1", "title"), server.value("1", "body")), ("mine".into(), "one two three".into()));
    assert!(device.client.outbox().is_empty());
}

#[test]
fn a_delete_asks_where_others_changed_the_row_core_09() {
    let (mut server, mut device) = listed();
    device.offline();
    let key = device.edit(Edit::Delete { entity: note("1") }).unwrap();
    assert_eq!(device.client.view(&note("1")), None);
    server.sql("1", json!({ "rank": 9 }));
    device.online = true;
    device.run(&mut server);
    assert_eq!(device.states(), [State::Conflicted]);
    let seen = theirs(&device, &key).id;
    device.client.decide(device.now, &key, seen.as_deref(), Decision::KeepMine).unwrap();
    device.run(&mut server);
    assert!(server.rows.is_empty() && device.client.outbox().is_empty());
}

#[test]
fn a_delete_of_a_row_that_others_made_meanwhile_deletes_theirs_core_03() {
    let (mut server, mut device) = listed();
    device.offline();
    device.edit(Edit::Create { entity: note("1"), data: object(json!({ "id": "1", "title": "mine" })) });
    device.edit(Edit::Delete { entity: note("1") });
    assert_eq!(device.client.view(&note("1")), None);
    device.online = true;
    device.run(&mut server);
    assert!(server.rows.is_empty() && device.client.outbox().is_empty());
}

#[test]
fn what_is_refused_is_kept_and_the_rest_flows_sy_41() {
    let (mut server, mut device) = listed();
    device.set("1", "rank", -1);
    device.set("1", "title", "fine");
    device.run(&mut server);
    assert_eq!((device.states(), server.value("1", "title")), (vec![State::Failed], "fine".into()));
    assert_eq!(device.shows("1", "rank"), -1, "it is kept and shown");
    let failed = device.client.outbox().iter().next().unwrap();
    assert_eq!(failed.refused.as_ref().map(|refused| refused.code.as_str()), Some("CONSTRAINT"));
    device.set("1", "rank", 2);
    device.run(&mut server);
    assert_eq!((device.client.outbox().len(), server.value("1", "rank")), (0, 2.into()));
}

#[test]
fn a_new_epoch_voids_what_was_said_of_transactions_core_11() {
    let (mut server, mut device) = listed();
    device.set("1", "title", "mine");
    // The answer comes, the echo does not: the stream is cut before.
    let (stream, _) = device.stream.take().unwrap();
    while let Some(output) = device.client.poll() {
        device.perform(&mut server, output);
    }
    assert_eq!(device.states(), [State::Accepted]);
    device.client.handle(device.now, Input::Ended { stream, status: None, retry_after_ms: None });
    server.restore_without_log();
    device.run(&mut server);
    assert!(device.client.outbox().is_empty(), "{:?}", device.states());
    assert_eq!((server.value("1", "title"), server.applied), ("mine".into(), 1));
}

#[test]
fn a_number_of_another_cluster_confirms_nothing_by_an_old_list_core_11() {
    let (mut server, mut device) = listed();
    // The database was restored where numbers are lower, and the log does not know yet.
    server.xid = 5;
    server.mute = true;
    device.set("1", "title", "mine");
    device.settle(&mut server);
    assert_eq!((device.shows("1", "title"), device.states()), (json!("mine"), vec![State::Accepted]));
    server.mute = false;
    server.restore_without_log();
    let (stream, _) = device.stream.take().unwrap();
    device.client.handle(device.now, Input::Ended { stream, status: None, retry_after_ms: None });
    device.run(&mut server);
    assert_eq!((device.shows("1", "title"), device.states()), (json!("mine"), vec![]));
}

#[test]
fn an_answer_of_before_a_restore_that_comes_after_it_gives_no_number_core_11() {
    let (mut server, mut device) = listed();
    server.xid = 1_000;
    device.set("1", "title", "mine");
    let mut late = None;
    while let Some(output) = device.client.poll() {
        match output {
            Output::Request { id, request: request @ Request::Mutations { .. } } => {
                late = Some((id, server.answer(&request)));
            }
            output => device.perform(&mut server, output),
        }
    }
    // Others have written since, so the row says nothing of it; the database is restored where numbers are lower, and
    // is listed before the answer has come.
    server.sql("1", json!({ "title": "theirs" }));
    server.xid = 5;
    server.restore_without_log();
    let (stream, _) = device.stream.take().unwrap();
    device.client.handle(device.now, Input::Ended { stream, status: None, retry_after_ms: None });
    for _ in 0..10 {
        device.settle(&mut server);
        device.pass(1_000);
    }
    assert_eq!((device.client.position().0, device.states()), (2, vec![State::Sent]));
    let (id, (status, body)) = late.unwrap();
    let body = body.to_string();
    let answer = Input::Answer { id, status, retry_after_ms: None, server_ms: None, body: &body };
    device.client.handle(device.now, answer);
    device.run(&mut server);
    assert_eq!((device.shows("1", "title"), device.states(), server.applied), ("theirs".into(), vec![], 1));
}

#[test]
fn a_copy_of_a_table_takes_no_row_back_that_a_list_has_brought_protocol_4() {
    let (_, mut device) = listed();
    let (stream, offset) = device.stream.unwrap();
    let before = device.shows("1", "title");
    let own =
        json!({ "transactionId": "1769860000000.0000.sql-1", "sourceId": "sql", "actor": null, "changedField": null });
    // Its number is of a transaction that had ended before its chunk was read, so every later list sees it (ADR 8).
    let copied = json!({ "activityId": offset + 1, "entityType": "note", "entityId": "1", "action": "create",
        "data": { "id": "1", "title": "older" }, "changedKeys": ["id", "title"], "tx": own,
        "commit": { "xid": "700", "last": true } });
    device.client.handle(device.now, Input::Frame { stream, event: "change", data: &copied.to_string() });
    assert_ne!(before, json!("older"));
    assert_eq!((device.shows("1", "title"), device.client.position().1), (before, offset + 1));
}

#[test]
fn a_row_that_comes_anew_with_other_fields_is_taken_whatever_its_id_str_05() {
    let (_, mut device) = listed();
    let (stream, offset) = device.stream.unwrap();
    // Whoever wrote it was long offline: the id is below that of the row's last writer.
    let tx = json!({ "transactionId": "1700000000000.0000.other", "sourceId": "other", "actor": "bob",
        "changedField": null });
    let anew = json!({ "activityId": offset + 1, "entityType": "note", "entityId": "1", "action": "create",
        "data": { "id": "1", "title": "t" }, "changedKeys": ["id", "title"], "tx": tx,
        "commit": { "xid": "900000", "last": true } });
    device.client.handle(device.now, Input::Frame { stream, event: "change", data: &anew.to_string() });
    let row = device.client.view(&super::EntityKey::new("note", "1")).unwrap();
    assert_eq!((row.get("body"), row.get("title")), (None, Some(&"t".into())));
}

#[test]
fn a_delete_takes_the_row_that_others_made_under_a_create_that_never_left_core_03() {
    let (mut server, mut device) = listed();
    device.edit(Edit::Delete { entity: note("1") });
    device.run(&mut server);
    device.offline();
    device.edit(Edit::Create { entity: note("1"), data: object(json!({ "id": "1", "title": "mine" })) });
    device.settle(&mut server);
    assert_eq!(device.states(), [State::Pending]);
    // Heard of by a list, before the create could go.
    let made = device.store.clone();
    let mut device = Device::with("later", made);
    device.online = false;
    device.settle(&mut server);
    server.sql("1", json!({ "id": "1", "title": "theirs" }));
    let activity = server.frames(0, "alice").0.pop().unwrap().1;
    let activity = serde_json::from_value(activity).unwrap();
    let shape = device.client.schema().unwrap().types["note"].clone();
    device.client.types.get_mut("note").unwrap().apply(&shape, &activity, &mut Default::default());
    assert_eq!(device.shows("1", "title"), json!("mine"));
    device.edit(Edit::Delete { entity: note("1") });
    assert_eq!(device.client.view(&note("1")), None);
}

#[test]
fn a_first_list_that_was_not_whole_belongs_to_its_epoch_too_core_11() {
    let (mut server, mut device) = listed();
    server.mute = true;
    device.set("1", "title", "mine");
    device.settle(&mut server);
    assert_eq!(device.states(), [State::Accepted]);
    server.xid = 5;
    server.restore_without_log();
    // As if its rows were lost, and its outbox kept.
    device.store.retain(|record, _| !matches!(record, Record::Row { .. }));
    let meta = device.store.get_mut(&Record::Meta).unwrap();
    let mut read: Value = serde_json::from_str(meta).unwrap();
    (read["epoch"], read["types"]) = (0.into(), json!({}));
    *meta = read.to_string();
    let store = device.store.clone();
    let mut without = store.clone();
    without.remove(&Record::Meta);
    for (store, name) in [(store, "again"), (without, "without-meta")] {
        let mut device = Device::with(name, store);
        device.run(&mut server);
        assert_eq!((device.states(), server.applied), (vec![], 1), "{name}");
    }
}

#[test]
fn an_accepted_operation_is_not_counted_again_by_the_list_of_a_new_epoch_core_11() {
    let (mut server, mut device) = listed();
    server.mute = true;
    device.edit(Edit::Add { entity: note("1"), field: "votes".into(), by: 1.into() });
    device.settle(&mut server);
    assert_eq!((device.shows("1", "votes"), device.states()), (json!(1), vec![State::Accepted]));
    server.restore_without_log();
    let (stream, _) = device.stream.take().unwrap();
    device.client.handle(device.now, Input::Ended { stream, status: None, retry_after_ms: None });
    for _ in 0..80 {
        while let Some(output) = device.client.poll() {
            device.perform(&mut server, output);
            assert_eq!(device.shows("1", "votes"), json!(1));
        }
        device.pass(500);
    }
    assert_eq!((device.states(), server.applied), (vec![], 1));
}

#[test]
fn what_a_copy_of_the_store_has_sent_is_confirmed_where_others_have_written_since_sy_55() {
    let (mut server, mut device) = listed();
    device.offline();
    device.set("1", "rank", 1);
    device.settle(&mut server);
    let mut twin = Device::with("twin", device.store.clone());
    twin.run(&mut server);
    server.sql("1", json!({ "rank": 7 }));
    twin.run(&mut server);
    // The device lists again, and then sends what its copy has sent before.
    server.restore_without_log();
    device.online = true;
    device.run(&mut server);
    assert_eq!((device.shows("1", "rank"), device.states(), server.applied), (json!(7), vec![], 1));
}

#[test]
fn while_nothing_can_be_saved_edits_live_in_memory_and_that_is_said_sy_52() {
    let (mut server, mut device) = listed();
    device.full = true;
    device.told.clear();
    device.set("1", "title", "mine");
    device.run(&mut server);
    assert!(device.told.iter().any(|told| matches!(told, Told::NotSaved { reason } if reason == "full")));
    assert!(!device.told.iter().any(|told| matches!(told, Told::Saved(_))));
    assert_eq!(
        (server.value("1", "title"), device.client.status().not_saving.as_deref()),
        ("mine".into(), Some("full"))
    );
    device.full = false;
    device.run(&mut server);
    assert_eq!(device.client.status().not_saving, None);
}

#[test]
fn a_group_is_sent_judged_and_undone_as_one_core_13() {
    let (mut server, mut device) = listed();
    let fields = object(json!({ "title": "x", "rank": 7 }));
    device.edit(Edit::Set { entity: note("1"), fields: fields.clone() });
    device.run(&mut server);
    assert_eq!((server.value("1", "title"), server.value("1", "rank"), server.atomic), ("x".into(), 7.into(), 1));
    assert!(device.client.undo(device.now));
    device.run(&mut server);
    assert_eq!((server.value("1", "title"), server.value("1", "rank")), ("t".into(), 1.into()));
    assert!(device.client.redo(device.now));
    device.run(&mut server);
    assert_eq!((server.value("1", "title"), server.value("1", "rank")), ("x".into(), 7.into()));
    device.offline();
    device.edit(Edit::Set { entity: note("1"), fields: object(json!({ "title": "y", "rank": 8 })) });
    assert!(device.client.undo(device.now));
    assert!(device.client.outbox().is_empty(), "what never left is removed");
}

#[test]
fn a_store_of_a_newer_format_is_left_alone_and_its_outbox_can_be_read_core_17_sy_60() {
    let (mut server, mut device) = listed();
    device.offline();
    device.set("1", "title", "mine");
    device.run(&mut server);
    let mut records: Vec<(Record, String)> = device.store.clone().into_iter().collect();
    for (record, text) in &mut records {
        if *record == Record::Meta {
            *text = text.replace("\"format\":1", "\"format\":99");
        }
    }
    let config = Config { source: "b".into(), seed: 1, delete_asks: true, subsets_bytes_max: 1 << 20 };
    match Client::new(config, Loaded { records }) {
        Err(Corrupt::Newer { format: 99, entries }) => assert_eq!(entries.len(), 1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rows_that_cannot_be_read_are_listed_again_and_edits_are_kept_sy_61() {
    let (mut server, mut device) = listed();
    device.offline();
    device.set("1", "title", "mine");
    device.run(&mut server);
    for (record, text) in &mut device.store {
        if matches!(record, Record::Row { .. }) {
            *text = "{half".into();
        }
    }
    let mut device = device.restart("b");
    device.online = true;
    device.run(&mut server);
    assert_eq!((server.value("1", "title"), device.shows("1", "body")), ("mine".into(), "one two three".into()));
    assert!(device.client.outbox().is_empty());
}

#[test]
fn strategies_come_from_the_schema() {
    let (_, device) = listed();
    assert_eq!(device.client.schema().unwrap().strategy("note", "title"), Strategy::Manual);
    assert_eq!(device.client.schema().unwrap().strategy("note", "rank"), Strategy::Lww);
}
