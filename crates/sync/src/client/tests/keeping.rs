//! Types that are kept in parts: what is kept besides subsets, for how long, and across restarts and resets (CORE-12).

use super::{
    subsets::{best, ids, parts, titled},
    *,
};

#[test]
fn an_open_row_is_here_until_it_is_closed_core_12() {
    let (mut server, mut device) = parts(4);
    device.client.open(device.now, &note("003")).unwrap();
    assert_eq!(device.client.presence(&note("003")), Presence::Coming);
    device.settle(&mut server);
    assert_eq!((device.shows("003", "rank"), device.client.presence(&note("003"))), (3.into(), Presence::Here));
    server.sql("003", json!({ "rank": 30 }));
    device.settle(&mut server);
    assert_eq!(device.shows("003", "rank"), 30);
    server.sql_delete("003");
    device.settle(&mut server);
    assert_eq!(device.client.presence(&note("003")), Presence::Nowhere);
    server.sql("003", json!({ "id": "003", "title": "again", "rank": 31 }));
    device.settle(&mut server);
    assert_eq!(device.shows("003", "rank"), 31);
    device.client.close(device.now, &note("003"));
    device.settle(&mut server);
    assert_eq!((device.kept(), device.client.presence(&note("003"))), (ids(&[]), Presence::Elsewhere));
}

#[test]
fn a_row_that_does_not_exist_is_not_said_to_be_elsewhere_core_12() {
    let (mut server, mut device) = parts(1);
    device.client.open(device.now, &note("none")).unwrap();
    device.settle(&mut server);
    assert_eq!(device.client.presence(&note("none")), Presence::Nowhere);
}

#[test]
fn a_row_with_edits_stays_until_they_are_confirmed_core_12() {
    let (mut server, mut device) = parts(4);
    let even = device.want(titled("even"));
    device.settle(&mut server);
    device.offline();
    device.set("002", "title", "odd");
    device.edit(Edit::Create { entity: note("900"), data: object(json!({ "id": "900", "title": "odd" })) });
    assert_eq!(device.shown(even), (true, ids(&["000"])), "it leaves as soon as it is edited");
    device.release(even);
    device.run(&mut server);
    assert_eq!(device.shows("002", "title"), "odd");
    device.online = true;
    device.run(&mut server);
    assert!(device.client.outbox().is_empty(), "{:?}", device.states());
    assert_eq!((server.value("002", "title"), server.value("900", "title")), ("odd".into(), "odd".into()));
    assert_eq!(device.kept(), ids(&["000"]), "the released subset is all that is left");
}

#[test]
fn a_released_subset_is_there_at_once_when_it_is_wanted_again_core_12() {
    let (mut server, mut device) = parts(4);
    let even = device.want(titled("even"));
    device.settle(&mut server);
    device.release(even);
    server.sql("001", json!({ "title": "even" }));
    device.settle(&mut server);
    let asked = server.asked.len();
    let even = device.want(titled("even"));
    assert_eq!(device.shown(even), (true, ids(&["000", "001", "002"])), "it has followed the stream meanwhile");
    device.settle(&mut server);
    assert_eq!(server.asked.len(), asked);
}

#[test]
fn released_subsets_go_by_last_use_within_the_budget_core_12() {
    let (mut server, mut device) = parts(0);
    for number in 0..40 {
        let id = format!("{number:03}");
        let title = format!("t{}", number / 10);
        server.sql(&id, json!({ "id": id, "title": title, "body": "x".repeat(10_000), "rank": number }));
    }
    let wanted: Vec<u64> = (0..4).map(|number| device.want(titled(&format!("t{number}")))).collect();
    device.settle(&mut server);
    assert_eq!(device.kept().len(), 40, "what is wanted has no budget");
    // Ten rows take a little more than 100 kB: two subsets fit.
    device.client.config.subsets_bytes_max = 250_000;
    for number in [1, 0, 3, 2] {
        device.release(wanted[number]);
    }
    device.settle(&mut server);
    let kept = device.kept();
    assert_eq!((kept.len(), kept[0].as_str()), (20, "020"), "the two that were used last are kept");
    // What the stream brings into released subsets counts as well.
    for number in 100..120 {
        let id = number.to_string();
        server.sql(&id, json!({ "id": id, "title": "t2", "body": "x".repeat(10_000), "rank": number }));
    }
    device.settle(&mut server);
    assert_eq!(device.kept(), ids(&[]), "one of thirty rows is too much by itself");
}

#[test]
fn a_subset_released_before_it_is_whole_goes_core_12() {
    let (mut server, mut device) = parts(4);
    device.offline();
    let even = device.want(titled("even"));
    device.settle(&mut server);
    device.release(even);
    device.online = true;
    device.run(&mut server);
    assert_eq!(device.kept(), ids(&[]));
    assert!(!server.asked.iter().any(|request| matches!(request, Request::Subset { .. })));
}

#[test]
fn subsets_outlive_a_restart_and_follow_from_where_they_were_core_12() {
    let (mut server, mut device) = parts(6);
    device.want(titled("even"));
    device.want(best(2));
    device.settle(&mut server);
    device.offline();
    server.sql("001", json!({ "title": "even" }));
    server.sql("004", json!({ "rank": 400 }));
    let mut device = device.restart("b");
    let (even, best) = (device.want(titled("even")), device.want(best(2)));
    device.settle(&mut server);
    assert_eq!(device.shown(even), (true, ids(&["000", "002", "004"])), "offline it shows what it has");
    let asked = server.asked.len();
    device.online = true;
    device.run(&mut server);
    assert_eq!(device.shown(even), (true, ids(&["000", "001", "002", "004"])));
    assert_eq!(device.shown(best), (true, ids(&["004", "005"])));
    assert_eq!(server.asked.len(), asked, "nothing is listed again");
}

#[test]
fn after_a_reset_what_is_wanted_is_read_anew_beside_what_is_shown_core_11_core_12() {
    let (mut server, mut device) = parts(6);
    let (even, odd) = (device.want(titled("even")), device.want(titled("odd")));
    device.client.open(device.now, &note("001")).unwrap();
    device.settle(&mut server);
    device.release(odd);
    device.set("003", "rank", 33);
    device.run(&mut server);
    let (stream, _) = device.stream.take().unwrap();
    device.client.handle(device.now, Input::Ended { stream, status: None, retry_after_ms: None });
    server.sql("001", json!({ "rank": 11 }));
    server.sql("002", json!({ "title": "odd" }));
    server.restore_without_log();
    device.pass(1_000);
    for _ in 0..40 {
        while let Some(output) = device.client.poll() {
            device.perform(&mut server, output);
            let (complete, shown) = device.shown(even);
            assert!(
                complete
                    && [&["000", "002", "004"][..], &["000", "004"]]
                        .contains(&&*shown.iter().map(String::as_str).collect::<Vec<_>>())
            );
            assert_eq!(device.client.presence(&note("001")), Presence::Here);
        }
        device.pass(1_000);
    }
    assert_eq!((device.shown(even), device.shows("001", "rank")), ((true, ids(&["000", "004"])), 11.into()));
    assert_eq!(device.kept(), ids(&["000", "001", "004"]), "what only a released subset held is not read again");
}

#[test]
fn an_edit_whose_echo_was_lost_with_the_log_is_confirmed_by_its_row_core_12() {
    let (mut server, mut device) = parts(4);
    let even = device.want(titled("even"));
    device.settle(&mut server);
    device.set("002", "title", "odd");
    let (stream, _) = device.stream.take().unwrap();
    while let Some(output) = device.client.poll() {
        device.perform(&mut server, output);
    }
    assert_eq!(device.states(), [State::Accepted]);
    device.client.handle(device.now, Input::Ended { stream, status: None, retry_after_ms: None });
    server.restore_without_log();
    device.run(&mut server);
    assert!(device.client.outbox().is_empty(), "{:?}", device.states());
    assert_eq!((device.shown(even), server.applied), ((true, ids(&["000"])), 1));
}

#[test]
fn what_cannot_be_compared_here_is_refused_before_it_is_asked_core_12() {
    let (mut server, mut device) = parts(1);
    let filter = Filter { field: "labels".into(), test: Test::Eq, value: Some("x".into()) };
    let subset = Subset { entity_type: "note".into(), filters: vec![filter], ..Subset::default() };
    let asked = server.asked.len();
    let refused = device.want(subset);
    device.settle(&mut server);
    assert_eq!(device.client.query(refused).unwrap().refused.as_deref(), Some("NOT_COMPARABLE"));
    assert_eq!(server.asked.len(), asked);
}

#[test]
fn a_list_of_a_type_that_the_server_does_not_have_ends_in_a_code_core_12() {
    let mut server = Server::new();
    let mut device = Device::new("a");
    let nobodys = device.want(Subset { entity_type: "nobody".into(), ..Subset::default() });
    assert_eq!(device.client.query(nobodys).unwrap().refused, None, "no schema, no word about it");
    device.run(&mut server);
    assert_eq!(device.client.query(nobodys).unwrap().refused.as_deref(), Some("ENTITY_TYPE_UNKNOWN"));
    assert!(device.told.contains(&Told::Subsets(vec![nobodys])), "{:?}", device.told);
    // A stored schema may be old: whoever starts with it asks first.
    let mut device = device.restart("b");
    let nobodys = device.want(Subset { entity_type: "nobody".into(), ..Subset::default() });
    assert_eq!(device.client.query(nobodys).unwrap().refused, None);
}

#[test]
fn what_the_server_refuses_is_told_and_not_asked_again_core_12() {
    let (mut server, mut device) = parts(2);
    server.refuses = Some("title");
    let (odd, best) = (device.want(titled("odd")), device.want(best(1)));
    device.run(&mut server);
    assert_eq!(device.client.query(odd).unwrap().refused.as_deref(), Some("FIELD_FORBIDDEN"));
    assert_eq!(device.shown(best), (true, ids(&["001"])), "the others are read all the same");
    assert_eq!(server.asked.iter().filter(|request| matches!(request, Request::Subset { .. })).count(), 2);
}

#[test]
fn a_row_that_enters_without_a_large_value_is_completed_first_core_12() {
    let (mut server, mut device) = parts(2);
    let even = device.want(titled("even"));
    device.settle(&mut server);
    let (stream, offset) = device.stream.unwrap();
    server.sql("001", json!({ "title": "even" }));
    let (frames, upto) = server.frames(offset, "alice");
    let mut data = frames[0].1.clone();
    data["data"].as_object_mut().unwrap().remove("body");
    data["unchanged"] = json!(["body"]);
    device.client.handle(device.now, Input::Frame { stream, event: "change", data: &data.to_string() });
    assert_eq!(device.shown(even), (false, ids(&["000"])), "it says that it is not complete");
    device.stream = Some((stream, upto));
    device.settle(&mut server);
    assert_eq!((device.shown(even), device.shows("001", "body")), ((true, ids(&["000", "001"])), "b".into()));
}

#[test]
fn a_subset_of_a_type_that_is_kept_whole_is_only_a_query_core_12() {
    let (mut server, mut device) = listed();
    let asked = server.asked.len();
    let query = device.want(titled("t"));
    device.settle(&mut server);
    assert_eq!((device.shown(query), server.asked.len()), ((true, ids(&["1"])), asked));
}

/// Lets a client hear what it has not heard, without a value that did not come along.
fn hear_partly(device: &mut Device, server: &Server) {
    let (stream, offset) = device.stream.unwrap();
    let (frames, upto) = server.frames(offset, "alice");
    device.stream = Some((stream, upto));
    for (event, mut data) in frames {
        data["unchanged"] = json!(["body"]);
        data["data"].as_object_mut().unwrap().remove("body");
        device.client.handle(device.now, Input::Frame { stream, event: &event, data: &data.to_string() });
    }
}

/// Returns the next request for rows by their ids, without an answer to it.
fn asked_by_id(device: &mut Device, server: &mut Server) -> (u64, Request) {
    while let Some(output) = device.client.poll() {
        match output {
            Output::Request { id, request: request @ Request::Ids { .. } } => return (id, request),
            output => device.perform(server, output),
        }
    }
    panic!("no row was asked for by its id");
}

#[test]
fn a_row_that_was_being_fetched_is_fetched_after_a_restart_core_02_core_12() {
    let (mut server, mut device) = parts(6);
    device.want(titled("even"));
    device.settle(&mut server);
    server.sql("001", json!({ "title": "even" }));
    hear_partly(&mut device, &server);
    server.down = true;
    device.settle(&mut server);
    let mut device = device.restart("b");
    server.down = false;
    let even = device.want(titled("even"));
    assert!(!device.client.query(even).unwrap().complete);
    device.run(&mut server);
    assert_eq!(device.shown(even), (true, ids(&["000", "001", "002", "004"])), "the stream does not say it again");
}

#[test]
fn a_row_that_is_wanted_again_while_it_is_fetched_keeps_what_the_stream_tells_core_11() {
    let (mut server, mut device) = listed();
    server.sql("2", json!({ "title": "t" }));
    hear_partly(&mut device, &server);
    let (first, request) = asked_by_id(&mut device, &mut server);
    server.sql("2", json!({ "title": "u" }));
    hear_partly(&mut device, &server);
    let answer = |device: &mut Device, id: u64, (status, body): (u16, Value)| {
        let body = body.to_string();
        device
            .client
            .handle(device.now, Input::Answer { id, status, retry_after_ms: None, server_ms: None, body: &body });
    };
    let body = server.answer(&request);
    answer(&mut device, first, body);
    let (second, request) = asked_by_id(&mut device, &mut server);
    let before = server.answer(&request);
    server.sql("2", json!({ "title": "v" }));
    device.settle(&mut server);
    answer(&mut device, second, before);
    device.run(&mut server);
    assert_eq!(device.shows("2", "title"), "v");
}
