//! Stores and servers that are not as they should be: recognised, told, and the outbox kept and exportable (issue 4).
//!
//! Each kind of damage has its example; what is random is in `anything.rs`.

use serde_json::{Value, json};

use super::{
    super::{store::Dirty, *},
    Device, Server, listed, note, object, put,
};

fn alice() -> Owner {
    Owner { user: "alice".into(), organization: "acme".into() }
}

fn config(source: &str) -> Config {
    Config { source: source.into(), seed: 3, delete_asks: true, subsets_bytes_max: 10_000 }
}

/// A device that is offline with an edit of each kind in its outbox.
fn edited() -> (Server, Device) {
    let (mut server, mut device) = listed();
    device.offline();
    device.set("1", "title", "mine");
    device.edit(Edit::Add { entity: note("1"), field: "votes".into(), by: 2.into() });
    device.edit(Edit::Create { entity: note("2"), data: object(json!({ "id": "2", "title": "new" })) });
    device.run(&mut server);
    assert_eq!(device.client.outbox().len(), 3);
    (server, device)
}

fn records(device: &Device) -> Vec<(Record, String)> {
    device.store.clone().into_iter().collect()
}

#[test]
fn any_record_may_be_half_written_and_every_other_edit_goes_out_core_17_sy_61() {
    let count = edited().1.store.len();
    assert!(count >= 5, "a position, a row and three edits: {count}");
    for broken in 0..count {
        let (mut server, mut device) = edited();
        let (record, text) = device.store.iter_mut().nth(broken).unwrap();
        let (record, is_entry) = (record.clone(), matches!(record, Record::Entry(_)));
        text.truncate(text.len() / 2);
        let mut device = device.restart("b");
        assert_eq!(device.client.unreadable().map(|(record, _)| record).collect::<Vec<_>>(), [&record]);
        assert_eq!(device.client.outbox().len(), 3 - usize::from(is_entry));
        assert_eq!(device.client.export(&alice()).entries.len(), 3, "what cannot be read is exported as it is");
        device.online = true;
        device.run(&mut server);
        assert!(device.client.outbox().is_empty(), "{record:?}: {:?}", device.states());
        assert_eq!(server.applied, 3 - usize::from(is_entry));
        assert_eq!(device.shows("1", "body"), "one two three", "rows are listed again where theirs are lost");
        let again = device.restart("c");
        assert_eq!(again.shows("1", "body"), "one two three", "and are on the device then");
    }
}

#[test]
fn an_outbox_of_a_newer_format_is_exported_whole_and_its_readable_part_imported_core_17_sy_60() {
    let (_, device) = edited();
    let mut records = records(&device);
    for (record, text) in &mut records {
        match record {
            Record::Meta => *text = text.replace("\"format\":1", "\"format\":2"),
            // An edit that this version does not know, and members that it does not know.
            Record::Entry(_) if text.contains("\"add\"") => *text = text.replace("\"add\"", "\"multiply\""),
            Record::Entry(_) => *text = text.replacen('{', "{\"mood\":\"new\",", 1),
            _ => {}
        }
    }
    let loaded = Loaded { records };
    match Client::new(config("b"), loaded.clone()) {
        Err(Corrupt::Newer { format: 2, entries, .. }) => assert_eq!(entries.len(), 2),
        other => panic!("{other:?}"),
    }
    let export = serde_json::to_string(&store_outbox(&alice(), &loaded)).unwrap();
    assert!(export.contains("multiply"), "what is not understood is kept");
    let mut fresh = Device::new("c");
    let imported = fresh.client.import(fresh.now, &alice(), &export).unwrap();
    assert_eq!(imported, Imported { taken: 2, known: 0, unreadable: 1 });
}

#[test]
fn an_import_keeps_ids_and_twice_is_once_sdk_06() {
    let (mut server, device) = edited();
    let export = serde_json::to_string(&device.client.export(&alice())).unwrap();
    let ids: Vec<String> = device.client.outbox().iter().map(|entry| entry.id.to_string()).collect();
    let mut other = Device::new("b");
    other.settle(&mut server);
    other.offline();
    let imported = other.client.import(other.now, &alice(), &export).unwrap();
    assert_eq!(imported, Imported { taken: 3, known: 0, unreadable: 0 });
    assert_eq!(other.client.outbox().iter().map(|entry| entry.id.to_string()).collect::<Vec<_>>(), ids);
    assert_eq!(other.shows("1", "title"), "mine");
    assert_eq!(other.client.import(other.now, &alice(), &export).unwrap().known, 3);
    other.online = true;
    other.run(&mut server);
    assert_eq!((server.applied, server.value("1", "votes")), (3, 2.into()));
    assert_eq!(other.client.import(other.now, &alice(), &export).unwrap().taken, 0, "they are done");
    // The device that it came from goes on as well: nothing is counted twice.
    let mut device = device;
    device.online = true;
    device.run(&mut server);
    assert_eq!((server.applied, server.value("1", "votes"), device.client.outbox().len()), (3, 2.into(), 0));
}

#[test]
fn an_edit_upon_an_imported_one_does_not_make_it_count_twice_sdk_06_core_03() {
    let (mut server, mut device) = edited();
    let export = serde_json::to_string(&device.client.export(&alice())).unwrap();
    let mut other = Device::new("b");
    other.settle(&mut server);
    other.offline();
    device.online = true;
    device.run(&mut server);
    other.client.import(other.now, &alice(), &export).unwrap();
    other.online = true;
    other.edit(Edit::Add { entity: note("1"), field: "votes".into(), by: 5.into() });
    other.run(&mut server);
    assert_eq!((server.value("1", "votes"), other.client.outbox().len()), (7.into(), 0));
}

#[test]
fn what_is_no_export_or_not_yours_is_refused_whole_core_18() {
    let (_, device) = edited();
    let export = device.client.export(&alice());
    let text = serde_json::to_string(&export).unwrap();
    let mut other = Device::new("b");
    let bob = Owner { user: "bob".into(), ..alice() };
    let elsewhere = Owner { organization: "globex".into(), ..alice() };
    for (owner, text, refused) in [
        (bob, text.as_str(), ImportRefused::NotYours),
        (elsewhere, &text, ImportRefused::NotYours),
        (alice(), "", ImportRefused::NotAnExport),
        (alice(), "[]", ImportRefused::NotAnExport),
        (alice(), &text[..text.len() / 2], ImportRefused::NotAnExport),
    ] {
        assert_eq!(other.client.import(other.now, &owner, text), Err(refused));
    }
    assert!(other.client.outbox().is_empty());
    let many = |number: usize| {
        let mut entry = export.entries[0].clone();
        put(&mut entry, "key", format!("{number:012}-x"));
        put(&mut entry, "id", format!("1769860800000.{:04}.x{}", number % 10_000, number / 10_000));
        entry
    };
    let full = Export { entries: (0..=ENTRIES_MAX).map(many).collect(), ..export };
    let text = serde_json::to_string(&full).unwrap();
    assert_eq!(other.client.import(other.now, &alice(), &text), Err(ImportRefused::OutboxFull));
    assert!(other.client.outbox().is_empty());
}

#[test]
fn a_copied_store_gets_ids_of_its_own_and_says_so_once_core_01() {
    let (mut server, device) = edited();
    // The twin carries the same outbox and, as a copied machine does, the same name.
    let mut twin = Device::with("a", device.store.clone());
    let mut device = device;
    device.online = true;
    device.run(&mut server);
    // What it does now it does under ids that the other has used for other edits.
    (twin.now, twin.online) = (device.now, false);
    twin.run(&mut server);
    for entry in twin.client.outbox().iter() {
        server.mismatched.insert(entry.id.to_string());
    }
    twin.online = true;
    twin.told.clear();
    twin.run(&mut server);
    assert_eq!(twin.told.iter().filter(|told| **told == Told::NewIdentity).count(), 1);
    assert_eq!(server.value("1", "votes"), 4, "they were other edits, and both count");
    assert_eq!(twin.states(), [State::Failed], "the row that both made is there already");
}

#[test]
fn what_a_device_wrote_and_forgot_is_told_where_it_is_covered_core_08() {
    let (mut server, mut device) = listed();
    device.settle(&mut server);
    let before = device.store.clone();
    device.set("1", "title", "first");
    device.run(&mut server);
    // Its disk goes back to what it held before, and its person types into what is shown.
    let mut device = Device { online: false, now: device.now, ..Device::with("a", before) };
    device.run(&mut server);
    device.set("1", "title", "second");
    device.online = true;
    device.run(&mut server);
    assert_eq!((server.value("1", "title"), device.states()), ("second".into(), vec![]));
    let line = device.client.journal().last().expect("a line");
    assert_eq!((line.rule, line.mine.clone()), (Rule::MineWins, Some("second".into())));
    assert_eq!(line.theirs.as_ref().map(|theirs| theirs.value.clone()), Some("first".into()));
}

#[test]
fn an_edit_of_a_type_that_is_gone_is_refused_kept_and_exportable() {
    let (mut server, mut device) = edited();
    server.forget_type();
    device.online = true;
    device.run(&mut server);
    assert_eq!(device.states(), [State::Failed; 3]);
    assert_eq!(device.client.export(&alice()).entries.len(), 3);
    assert_eq!(device.client.edit(device.now, Edit::Delete { entity: note("1") }), Err(EditRefused::NoSuchRow));
    let keys: Vec<EntryKey> = device.client.outbox().iter().map(|entry| entry.key.clone()).collect();
    keys.iter().for_each(|key| drop(device.client.discard(device.now, key)));
    assert!(device.client.outbox().is_empty(), "a person may let them go");
}

#[test]
fn a_server_that_always_refuses_for_now_is_not_asked_in_a_hot_loop_core_06() {
    let odd = "1769860800000.0000.nobody";
    for result in [
        json!({ "status": "aborted" }),
        json!({ "status": "applied", "transactionId": odd }),
        json!({ "status": "rejected", "problem": { "code": "CLOCK_BEHIND" } }),
        json!({ "status": "rejected", "problem": { "code": "CLOCK_AHEAD" } }),
        json!({ "status": "rejected", "problem": { "code": "IDEMPOTENCY_MISMATCH" } }),
        json!({ "status": "rejected", "problem": { "code": "TOO_OLD_TO_PROVE" } }),
        json!({ "status": "conflict", "problem": { "code": "FIELD_CONFLICT", "serverTransactionId": null, "serverValue": 1 } }),
    ] {
        let (mut server, mut device) = listed();
        server.always = Some(result.clone());
        device.set("1", "rank", 5);
        // Nothing that was typed goes, and a minute holds no more than the waits between attempts allow.
        for _ in 0..60 {
            device.settle(&mut server);
            device.pass(1_000);
        }
        assert_eq!(device.client.outbox().len(), 1, "{result}");
        assert!(server.sent <= 20, "{result}: {} requests in a minute", server.sent);
    }
}

#[test]
fn rows_that_come_after_their_generation_was_cleared_are_saved_core_11() {
    let mut dirty = Dirty::default();
    dirty.put(Record::row(1, "note", "old"));
    dirty.clear("note", 1);
    dirty.put(Record::row(1, "note", "new"));
    let writes = dirty.take(|record| (*record == Record::row(1, "note", "new")).then(|| "{}".to_owned()));
    let clear = Write::Clear { entity_type: "note".into(), generation: 1 };
    assert_eq!(writes, [clear, Write::Put(Record::row(1, "note", "new"), "{}".into())]);
    let mut failed = Dirty::default();
    failed.put(Record::row(1, "note", "newer"));
    failed.restore(&writes);
    assert_eq!(failed.take(|_| Some("{}".to_owned())).len(), 3, "what could not be saved undoes nothing newer");
}

#[test]
fn a_number_is_kept_and_sent_as_the_very_number_that_came_core_10() {
    let (mut server, mut device) = listed();
    // Read carelessly, the first two become their neighbour; a float8 would change by being kept.
    for number in [23.308445025757262, 94.52706955539223, 0.1 + 0.2, 5e-324, f64::MAX, -9_007_199_254_740_993.5] {
        server.sql("1", json!({ "rank": number }));
        device.run(&mut server);
        assert_eq!(device.shows("1", "rank").as_f64(), Some(number));
        device.settle(&mut server);
        device = device.restart("b");
        assert_eq!(device.shows("1", "rank").as_f64(), Some(number));
        device.run(&mut server);
    }
}

/// Hands over answers by hand until a first page of notes is in, with more to come; returns what is on the device.
fn half_listed() -> (Device, u64) {
    let mut device = Device::new("a");
    let mut server = Server::new();
    while let Some(output) = device.client.poll() {
        match output {
            Output::Request { id, request: Request::List { after: Some(_), .. } } => return (device, id),
            Output::Request { id, request: Request::List { .. } } => {
                let item = json!({ "data": { "id": "1", "title": "t" }, "tx": null });
                let page = json!({ "items": [item], "next": "more", "offset": 1, "epoch": 1, "snapshot": "7:7:",
                    "access": "a", "schema": 1 });
                answer(&mut device, id, 200, &page);
            }
            output => device.perform(&mut server, output),
        }
    }
    panic!("no page was asked for");
}

fn answer(device: &mut Device, id: u64, status: u16, body: &Value) {
    let body = body.to_string();
    device.client.handle(device.now, Input::Answer { id, status, retry_after_ms: None, server_ms: None, body: &body });
}

#[test]
fn a_list_that_begins_anew_leaves_no_row_of_the_former_on_the_device_core_11() {
    let page =
        json!({ "items": [], "next": null, "offset": 2, "epoch": 1, "snapshot": "9:9:", "access": "a", "schema": 1 });
    for why in ["cursor", "schema"] {
        let (mut device, id) = half_listed();
        match why {
            "cursor" => answer(&mut device, id, 400, &json!({ "code": "PARAMETER_INVALID" })),
            _ => {
                answer(&mut device, id, 404, &json!({ "code": "ENTITY_TYPE_UNKNOWN" }));
                device.pass(5_000);
            }
        }
        let mut server = Server::new();
        for _ in 0..20 {
            device.pass(1_000);
            while let Some(output) = device.client.poll() {
                match output {
                    Output::Request { id, request: Request::Schema } => {
                        let (_, mut schema) = server.answer(&Request::Schema);
                        schema["types"]["note"]["fields"]["more"] = json!({ "type": "text" });
                        answer(&mut device, id, 200, &schema);
                    }
                    Output::Request { id, request: Request::List { .. } } => answer(&mut device, id, 200, &page),
                    output => device.perform(&mut server, output),
                }
            }
        }
        assert!(device.client.is_complete("note"), "{why}");
        let device = device.restart("b");
        assert_eq!(device.client.ids("note").len(), 0, "{why}: the row was deleted before the list began anew");
    }
}

#[test]
fn a_server_that_answers_nonsense_is_told_of_and_everything_goes_on_when_it_stops_core_06() {
    let nonsense = ["", "{", "null", "[]", "<html>", "{\"items\":[{}]}", "{\"results\":[{\"status\":\"fine\"}]}"];
    for body in nonsense {
        let (mut server, mut device) = listed();
        device.set("1", "title", "mine");
        for _ in 0..20 {
            while let Some(output) = device.client.poll() {
                match output {
                    Output::Request { id, .. } => {
                        let answer = Input::Answer { id, status: 200, retry_after_ms: None, server_ms: None, body };
                        device.client.handle(device.now, answer);
                    }
                    Output::Open { stream, .. } => {
                        device.client.handle(device.now, Input::Frame { stream, event: "change", data: body });
                    }
                    output => device.perform(&mut server, output),
                }
            }
            device.pass(2_000);
        }
        assert!(device.told.iter().any(|told| matches!(told, Told::Nonsense(_))), "{body}");
        assert_eq!((device.shows("1", "title"), device.client.outbox().len()), ("mine".into(), 1), "{body}");
        assert_eq!(device.client.export(&alice()).entries.len(), 1);
        device.run(&mut server);
        assert_eq!((server.value("1", "title"), device.client.outbox().len()), ("mine".into(), 0), "{body}");
    }
}

#[test]
fn a_wait_that_nobody_can_mean_is_cut_to_an_hour_core_06() {
    let (mut server, mut device) = listed();
    device.set("1", "title", "mine");
    while let Some(output) = device.client.poll() {
        match output {
            Output::Request { id, request: Request::Mutations { .. } } => {
                let retry_after_ms = Some(u64::MAX);
                let answer = Input::Answer { id, status: 503, retry_after_ms, server_ms: None, body: "" };
                device.client.handle(device.now, answer);
            }
            output => device.perform(&mut server, output),
        }
    }
    device.run(&mut server);
    assert_eq!(server.applied, 0);
    device.pass(60 * 60 * 1_000);
    device.run(&mut server);
    assert_eq!(server.applied, 1);
}

#[test]
fn a_clock_that_is_wrong_takes_nothing_out_of_the_journal_core_14() {
    let (mut server, mut device) = listed();
    let mut meet = |device: &mut Device, rank: u64| {
        device.offline();
        device.set("1", "rank", rank);
        server.sql("1", json!({ "rank": rank + 100 }));
        device.online = true;
        device.run(&mut server);
    };
    meet(&mut device, 1);
    assert_eq!(device.client.journal().count(), 1);
    // The device's clock jumps a year ahead; answers say what time it is.
    let server_ms = Some(device.now.wall_ms);
    device.now.wall_ms += 365 * 24 * 60 * 60 * 1_000;
    device.client.handle(device.now, Input::Answer { id: 0, status: 200, retry_after_ms: None, server_ms, body: "" });
    meet(&mut device, 2);
    assert_eq!(device.client.journal().count(), 2, "the line of a minute ago is still there");
}

#[test]
fn a_page_of_a_list_that_was_dropped_is_no_first_page_sy_15() {
    let (mut device, late) = half_listed();
    let mut server = Server::new();
    device.set("1", "title", "mine");
    let mut asked = Vec::new();
    let mut is_member = true;
    for _ in 0..3 {
        while let Some(output) = device.client.poll() {
            match output {
                Output::Request { id, request: Request::Mutations { .. } } if is_member => {
                    is_member = false;
                    answer(&mut device, id, 403, &json!({ "code": "NOT_A_MEMBER" }));
                    assert_eq!(device.client.ids("note").len(), 0);
                    // It was on its way, and ends the list that was begun before.
                    let page = json!({ "items": [], "next": null, "offset": 2, "epoch": 1, "snapshot": "9:9:",
                        "access": "a", "schema": 1 });
                    answer(&mut device, late, 200, &page);
                }
                Output::Request { request: Request::List { after, .. }, .. } => asked.push(after),
                output => device.perform(&mut server, output),
            }
        }
        device.pass(5_000);
    }
    assert!(!is_member && !device.client.is_complete("note"));
    assert_eq!(asked, [None], "the list begins with its first page");
}

#[test]
fn an_operation_that_no_record_tells_of_is_told_by_its_row_though_that_is_listed_anew_core_06_core_11() {
    let (mut server, mut device) = listed();
    (device.lose_answers, server.mute) = (true, true);
    device.edit(Edit::Add { entity: note("1"), field: "votes".into(), by: 1.into() });
    device.settle(&mut server);
    assert_eq!((server.applied, device.states()), (1, vec![State::Sent]));
    device.offline();
    (device.lose_answers, server.mute) = (false, false);
    server.restore_without_log();
    server.always = Some(json!({ "status": "rejected", "problem": { "code": "TOO_OLD_TO_PROVE" } }));
    device.online = true;
    device.run(&mut server);
    assert_eq!((device.shows("1", "votes"), device.client.outbox().len()), (1.into(), 0));
}
