//! Values that are too long to come with their row: what shows them fetches them, and they stay (protocol 2, CORE-10).

use super::*;

/// A device with a note whose body is too long to come along, and its text.
fn with_long_body() -> (Server, Device, String) {
    let mut server = Server::new();
    server.long_above = 20;
    let body = "much too long to come along".to_owned();
    server.sql("1", json!({ "id": "1", "title": "t", "body": body, "rank": 1 }));
    let mut device = Device::new("a");
    device.run(&mut server);
    assert_eq!((device.shows("1", "body"), device.client.presence(&note("1"))), (Value::Null, Presence::Partly));
    (server, device, body)
}

fn asked(server: &Server) -> usize {
    server.asked.iter().filter(|request| matches!(request, Request::Ids { .. })).count()
}

#[test]
fn a_long_value_comes_once_its_row_is_opened_and_stays_on_the_device_core_12() {
    let (mut server, mut device, body) = with_long_body();
    assert_eq!(asked(&server), 0, "nobody looks at it");
    device.client.open(device.now, &note("1")).unwrap();
    device.client.open(device.now, &note("1")).unwrap();
    device.run(&mut server);
    assert_eq!((device.shows("1", "body"), device.client.presence(&note("1"))), (body.clone().into(), Presence::Here));
    server.sql("1", json!({ "title": "other" }));
    device.run(&mut server);
    assert_eq!((device.shows("1", "title"), device.shows("1", "body")), ("other".into(), body.clone().into()));
    assert_eq!(asked(&server), 1, "it is the same value still");
    device.offline();
    let device = device.restart("b");
    assert_eq!((device.shows("1", "body"), device.client.presence(&note("1"))), (body.into(), Presence::Here));
}

#[test]
fn a_long_value_that_changes_comes_again_while_it_is_shown_and_only_then_core_12() {
    let (mut server, mut device, _) = with_long_body();
    device.client.open(device.now, &note("1")).unwrap();
    device.run(&mut server);
    let (second, third) = ("another one, as long as the first", "a third one, of which nobody asks");
    server.sql("1", json!({ "body": second }));
    device.run(&mut server);
    assert_eq!((device.shows("1", "body"), asked(&server)), (second.into(), 2));
    device.client.close(device.now, &note("1"));
    server.sql("1", json!({ "body": third }));
    device.run(&mut server);
    assert_eq!((device.shows("1", "body"), asked(&server)), (Value::Null, 2), "what is old is not shown as new");
    device.client.open(device.now, &note("1")).unwrap();
    device.run(&mut server);
    assert_eq!(device.shows("1", "body"), third);
    server.sql("1", json!({ "body": "short" }));
    device.run(&mut server);
    assert_eq!((device.shows("1", "body"), device.client.presence(&note("1"))), ("short".into(), Presence::Here));
}

#[test]
fn rows_of_a_list_that_is_shown_have_their_long_values_as_well_core_12() {
    let (mut server, mut device, body) = with_long_body();
    let subset = |rank: &str| Subset {
        entity_type: "note".into(),
        filters: vec![Filter { field: "rank".into(), test: Test::Eq, value: Some(rank.into()) }],
        order: Vec::new(),
        window_rows: None,
    };
    device.client.subscribe(device.now, subset("9")).unwrap();
    device.run(&mut server);
    assert_eq!(asked(&server), 0, "the row is in no list that is shown");
    device.client.subscribe(device.now, subset("1")).unwrap();
    device.run(&mut server);
    assert_eq!((device.shows("1", "body"), asked(&server)), (body.into(), 1));
}

#[test]
fn a_long_value_that_cannot_be_had_is_not_asked_for_again_and_again_core_15() {
    let (mut server, mut device, _) = with_long_body();
    server.fills = false;
    device.client.open(device.now, &note("1")).unwrap();
    device.run(&mut server);
    device.run(&mut server);
    assert_eq!((device.shows("1", "body"), device.client.presence(&note("1"))), (Value::Null, Presence::Partly));
    assert_eq!(asked(&server), 1);
    device.offline();
    (device.online, server.fills) = (true, true);
    server.sql("1", json!({ "rank": 2 }));
    device.run(&mut server);
    assert_eq!((device.client.presence(&note("1")), asked(&server)), (Presence::Here, 2));
}

#[test]
fn an_edit_of_a_long_value_does_not_flicker_and_is_looked_at_once_core_10() {
    let (mut server, mut device, _) = with_long_body();
    device.client.open(device.now, &note("1")).unwrap();
    device.run(&mut server);
    let mine = "much too long to come along, by me";
    device.set("1", "body", mine);
    for _ in 0..20 {
        device.settle(&mut server);
        assert_eq!(device.shows("1", "body"), mine);
        device.pass(500);
    }
    assert!(device.client.outbox().is_empty(), "{:?}", device.states());
    assert_eq!((server.value("1", "body"), device.client.presence(&note("1"))), (mine.into(), Presence::Here));
    assert_eq!(asked(&server), 2);
    // Without anybody who looks it stays what was typed.
    device.client.close(device.now, &note("1"));
    device.set("1", "body", "much too long to come along, by me again");
    device.run(&mut server);
    assert_eq!((device.shows("1", "body"), asked(&server)), ("much too long to come along, by me again".into(), 2));
}

#[test]
fn an_edit_upon_a_long_value_meets_what_others_wrote_once_that_has_come_core_07() {
    for told_first in [true, false] {
        let (mut server, mut device, _) = with_long_body();
        device.client.open(device.now, &note("1")).unwrap();
        device.run(&mut server);
        device.client.close(device.now, &note("1"));
        if told_first {
            device.offline();
        }
        server.mute = !told_first;
        let before = "much too long to come along";
        server.sql("1", json!({ "body": format!("{before} with it") }));
        if !told_first {
            device.set("1", "body", format!("indeed {before}"));
            device.run(&mut server);
            assert!(!device.states().contains(&State::Conflicted), "nobody is asked about what is not here");
            server.mute = false;
        } else {
            device.set("1", "body", format!("indeed {before}"));
            device.online = true;
        }
        device.run(&mut server);
        device.run(&mut server);
        assert_eq!(server.value("1", "body"), format!("indeed {before} with it"));
        assert_eq!((device.shows("1", "body"), device.states()), (server.value("1", "body"), vec![]));
        assert_eq!(device.client.journal().last().map(|line| line.rule), Some(Rule::Merged));
    }
}
