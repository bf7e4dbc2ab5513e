//! Types that are kept in parts: what enters, stays and leaves, and how a subset joins a stream that runs (CORE-12).

use super::*;

/// A device in front of a server whose notes are kept in parts; nothing is wanted yet.
pub(super) fn parts(rows: usize) -> (Server, Device) {
    let mut server = Server::new();
    server.sync = "on_demand";
    for number in 0..rows {
        let title = if number % 2 == 0 { "even" } else { "odd" };
        let id = format!("{number:03}");
        server.sql(&id, json!({ "id": id, "title": title, "body": "b", "rank": number, "votes": 0, "labels": [] }));
    }
    let mut device = Device::new("a");
    device.settle(&mut server);
    (server, device)
}

pub(super) fn titled(title: &str) -> Subset {
    let filter = Filter { field: "title".into(), test: Test::Eq, value: Some(title.into()) };
    Subset { entity_type: "note".into(), filters: vec![filter], ..Subset::default() }
}

pub(super) fn best(rows: usize) -> Subset {
    let order = vec![Level { field: "rank".into(), descending: true }];
    Subset { entity_type: "note".into(), order, window_rows: Some(rows), ..Subset::default() }
}

impl Device {
    pub(super) fn want(&mut self, subset: Subset) -> u64 {
        self.client.subscribe(self.now, subset).unwrap()
    }

    pub(super) fn release(&mut self, subscription: u64) {
        self.client.release(self.now, subscription);
    }

    pub(super) fn shown(&self, subscription: u64) -> (bool, Vec<String>) {
        let query = self.client.query(subscription).unwrap();
        assert_eq!(query.refused, None);
        (query.complete, query.ids)
    }

    /// The ids of the rows that are on the device.
    pub(super) fn kept(&self) -> Vec<String> {
        let kept: Vec<String> = self.client.confirmed_rows("note").map(|(id, _)| id.clone()).collect();
        let stored = self.store.keys().filter(|record| matches!(record, Record::Row { .. })).count();
        assert_eq!(stored, kept.len(), "the store holds what the machine holds");
        kept
    }
}

/// What somebody shows who carries out changes: the rows in order, and whether they are all.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Carried {
    pub(super) rows: Vec<(String, Object)>,
    pub(super) complete: bool,
}

impl Carried {
    /// Carries out what is different since it asked last; returns how many rows came.
    pub(super) fn carry(&mut self, device: &mut Device, subscription: u64) -> usize {
        let changes = device.client.changes(subscription).unwrap();
        if changes.anew {
            self.rows.clear();
        }
        for at in &changes.gone {
            self.rows.remove(*at);
        }
        let came = changes.come.len();
        for (at, (id, row)) in changes.come {
            self.rows.insert(at, (id, row.into_owned()));
        }
        self.rows.truncate(changes.rows);
        assert_eq!(self.rows.len(), changes.rows);
        self.complete = changes.complete;
        came
    }

    /// What is shown to somebody who asks for all of it.
    pub(super) fn afresh(device: &Device, subscription: u64) -> Carried {
        let query = device.client.query(subscription).unwrap();
        let row = |id: String| (id.clone(), device.client.view(&note(&id)).unwrap());
        Carried { rows: query.ids.into_iter().map(row).collect(), complete: query.complete }
    }
}

pub(super) fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[test]
fn nothing_is_kept_of_what_nobody_wants_core_12() {
    let (mut server, mut device) = parts(10);
    assert_eq!((device.kept(), device.client.is_complete("note")), (ids(&[]), false));
    server.sql("001", json!({ "title": "new" }));
    server.sql("999", json!({ "id": "999", "title": "new", "rank": 5 }));
    device.settle(&mut server);
    assert_eq!(device.kept(), ids(&[]));
    assert_eq!(device.client.presence(&note("001")), Presence::Elsewhere);
    assert_eq!(device.client.status().network, Network::Online, "the stream runs all the same");
}

#[test]
fn a_subset_says_when_it_is_complete_and_follows_the_stream_core_12() {
    let (mut server, mut device) = parts(6);
    let even = device.want(titled("even"));
    assert_eq!(device.shown(even), (false, ids(&[])));
    device.settle(&mut server);
    assert_eq!(device.shown(even), (true, ids(&["000", "002", "004"])));
    assert!(device.told.contains(&Told::Subsets(vec![even])));
    // One moves in, one moves out, one comes, one goes.
    server.sql("001", json!({ "title": "even" }));
    server.sql("002", json!({ "title": "odd" }));
    server.sql("007", json!({ "id": "007", "title": "even", "rank": 7 }));
    server.sql_delete("004");
    device.settle(&mut server);
    assert_eq!(device.shown(even), (true, ids(&["000", "001", "007"])));
    assert_eq!(device.kept(), ids(&["000", "001", "007"]), "what moved out is not on the device any more");
}

#[test]
fn rows_are_shared_by_subsets_that_overlap_core_12() {
    let (mut server, mut device) = parts(6);
    let (even, best) = (device.want(titled("even")), device.want(best(3)));
    device.settle(&mut server);
    assert_eq!(device.shown(best), (true, ids(&["005", "004", "003"])));
    assert_eq!(device.kept(), ids(&["000", "002", "003", "004", "005"]));
    server.sql("004", json!({ "title": "odd" }));
    device.settle(&mut server);
    assert_eq!(device.shown(even), (true, ids(&["000", "002"])));
    assert_eq!(device.shown(best), (true, ids(&["005", "004", "003"])), "the other one keeps it");
}

#[test]
fn a_window_that_lost_rows_reads_on_and_one_that_grew_is_cut_core_12() {
    let (mut server, mut device) = parts(8);
    let best = device.want(best(3));
    device.settle(&mut server);
    server.sql_delete("006");
    server.sql("005", json!({ "rank": -1 }));
    device.settle(&mut server);
    assert_eq!(device.shown(best), (true, ids(&["007", "004", "003"])));
    for number in 100..140 {
        let id = number.to_string();
        server.sql(&id, json!({ "id": id, "title": "new", "rank": number }));
    }
    device.settle(&mut server);
    assert_eq!(device.shown(best), (true, ids(&["139", "138", "137"])));
    assert!(device.kept().len() <= 14, "{:?}", device.kept());
    for number in 110..140 {
        server.sql_delete(&number.to_string());
    }
    device.settle(&mut server);
    assert_eq!(device.shown(best), (true, ids(&["109", "108", "107"])));
}

#[test]
fn a_subset_that_is_read_behind_the_stream_joins_it_without_a_gap_core_12() {
    let (mut server, mut device) = parts(6);
    server.sql("001", json!({ "title": "even" }));
    server.sql("002", json!({ "title": "odd" }));
    server.sql_delete("004");
    device.settle(&mut server);
    // The stream has told all of that; lists do not see it yet.
    server.lag = 3;
    let even = device.want(titled("even"));
    device.settle(&mut server);
    assert_eq!(device.shown(even), (true, ids(&["000", "001"])));
    server.lag = 0;
    device.settle(&mut server);
    assert_eq!(device.shown(even), (true, ids(&["000", "001"])));
}

#[test]
fn a_page_of_a_later_moment_is_not_taken_back_by_the_stream_core_12() {
    let (mut server, mut device) = parts(4);
    let even = device.want(titled("even"));
    device.settle(&mut server);
    // The stream is silent while rows change, and a second subset is read meanwhile.
    server.mute = true;
    server.sql("001", json!({ "title": "even", "rank": 50 }));
    server.sql("001", json!({ "title": "odd", "rank": 60 }));
    let best = device.want(best(1));
    device.settle(&mut server);
    assert_eq!(device.shown(best), (true, ids(&["001"])));
    server.mute = false;
    let (stream, mut offset) = device.stream.unwrap();
    let (frames, upto) = server.frames(offset, "alice");
    for (event, data) in frames {
        device.client.handle(device.now, Input::Frame { stream, event: &event, data: &data.to_string() });
        assert_eq!(device.shows("001", "rank"), 60, "after {data}");
        assert_eq!(device.shown(even), (true, ids(&["000", "002"])));
        offset = upto;
    }
    device.stream = Some((stream, offset));
}

#[test]
fn a_page_that_is_too_old_to_be_joined_is_asked_for_once_more_core_12() {
    let (mut server, mut device) = parts(4);
    // More than is held of the stream.
    for number in 0..300 {
        server.sql("001", json!({ "rank": number, "title": if number == 150 { "even" } else { "odd" } }));
    }
    server.sql("003", json!({ "title": "even" }));
    device.settle(&mut server);
    server.lag = 301;
    let even = device.want(titled("even"));
    device.settle(&mut server);
    assert_eq!(device.shown(even), (false, ids(&[])), "it is not said to be what it may not be");
    assert_eq!(device.client.wake_at_ms(device.now), Some(device.now.tick_ms + 250));
    server.lag = 100;
    device.pass(250);
    device.settle(&mut server);
    assert_eq!(device.shown(even), (true, ids(&["000", "002", "003"])));
}

#[test]
fn a_subset_that_could_not_be_read_is_read_later_while_the_stream_runs_core_12() {
    let (mut server, mut device) = parts(4);
    server.down = true;
    let even = device.want(titled("even"));
    device.settle(&mut server);
    assert_eq!(device.shown(even), (false, ids(&[])));
    let wake_ms = device.client.wake_at_ms(device.now).unwrap();
    assert!(wake_ms < device.now.tick_ms + 5_000, "{wake_ms}");
    server.down = false;
    device.pass(wake_ms - device.now.tick_ms);
    device.settle(&mut server);
    assert_eq!(device.shown(even), (true, ids(&["000", "002"])));
}

#[test]
fn a_type_that_is_listed_anew_while_the_stream_runs_loses_nothing_core_11() {
    let (mut server, mut device) = listed();
    // The stream tells of a change that lists do not see yet, and of another shape of the type.
    server.lag = 1;
    server.shape = 2;
    server.sql("1", json!({ "title": "new" }));
    device.settle(&mut server);
    let shape = device.client.schema().unwrap().types["note"].schema;
    assert_eq!((device.shows("1", "title"), shape), ("new".into(), 2));
}

#[test]
fn rows_of_before_get_a_new_default_as_soon_as_any_row_tells_of_the_new_shape_pg_72() {
    let (mut server, mut device) = listed();
    server.sql("2", json!({ "id": "2", "title": "t", "body": "", "rank": 1, "votes": 0, "labels": [] }));
    device.settle(&mut server);
    // A default is given to every row, and the database says nothing of any of them.
    server.shape = 2;
    for (row, _) in server.rows.values_mut() {
        row.insert("votes".into(), 7.into());
    }
    device.settle(&mut server);
    assert_eq!(device.shows("2", "votes"), 0, "who was not told cannot know");
    server.sql("1", json!({ "title": "new" }));
    device.settle(&mut server);
    assert_eq!((device.shows("1", "title"), device.shows("2", "votes")), ("new".into(), 7.into()));
}

#[test]
fn a_change_of_one_row_brings_one_row_and_a_great_one_all_of_them_desk_08() {
    let (mut server, mut device) = parts(300);
    let (all, first) = (device.want(best(1_000)), device.want(best(3)));
    device.settle(&mut server);
    let (mut list, mut window) = (Carried::default(), Carried::default());
    assert_eq!((list.carry(&mut device, all), window.carry(&mut device, first)), (300, 3));
    assert_eq!((list.carry(&mut device, all), window.carry(&mut device, first)), (0, 0), "nothing happened");
    // One row moves to the front, one leaves the window, one changes where it stands.
    for (id, fields) in
        [("007", json!({ "rank": 900 })), ("299", json!({ "rank": -1 })), ("298", json!({ "votes": 5 }))]
    {
        let entity = note(id);
        device.client.edit(device.now, Edit::Set { entity, fields: object(fields) }).unwrap();
    }
    assert_eq!((list.carry(&mut device, all), window.carry(&mut device, first)), (3, 2));
    assert_eq!(list, Carried::afresh(&device, all));
    assert_eq!(window, Carried::afresh(&device, first));
    assert_eq!(window.rows.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["007", "298", "297"]);
    for number in 0..100 {
        server.sql(&format!("{number:03}"), json!({ "votes": 9 }));
    }
    device.settle(&mut server);
    assert_eq!(list.carry(&mut device, all), 300, "it begins anew");
    assert_eq!(list, Carried::afresh(&device, all));
}
