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
