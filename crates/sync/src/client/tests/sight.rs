//! What a person may not read any more: the end of a membership, and rows that leave sight (SY-13, SY-15, CORE-06).

use super::{browser::Browser, *};

/// A device with everything that holds words of others: a row, a conflict, a deleted row, a line of the journal.
fn with_secrets() -> (Server, Device) {
    let (mut server, mut device) = listed();
    server.sql("2", json!({ "id": "2", "title": "secret", "rank": 1 }));
    server.sql("3", json!({ "id": "3", "title": "t", "rank": 1 }));
    device.settle(&mut server);
    device.offline();
    device.set("1", "title", "typed title");
    device.set("3", "body", "typed body");
    server.sql("1", json!({ "title": "secret" }));
    server.sql("3", json!({ "body": "secret" }));
    device.online = true;
    device.run(&mut server);
    let key = device.client.outbox().iter().find(|entry| entry.entity == note("3")).unwrap().key.clone();
    device.client.decide(device.now, &key, theirs(&device, &key).id.as_deref(), Decision::KeepTheirs).unwrap();
    device.run(&mut server);
    device.offline();
    device.edit(Edit::Delete { entity: note("2") });
    device.set("3", "rank", 7);
    device.run(&mut server);
    assert_eq!(device.states(), [State::Conflicted, State::Pending, State::Pending]);
    assert_eq!(device.store.values().filter(|text| text.contains("secret")).count(), 6, "{:#?}", device.store);
    (server, device)
}

#[test]
fn whoever_is_removed_keeps_what_they_typed_and_nothing_that_others_wrote_sy_15() {
    let (mut server, mut device) = with_secrets();
    (server.outsider, device.online) = (true, true);
    device.run(&mut server);
    device.run(&mut server);
    assert_eq!(device.client.status().network, Network::Refused(403));
    assert_eq!((device.client.view(&note("1")), device.client.view(&note("3"))), (None, None));
    assert_eq!(device.client.ids("note").len(), 0);
    for text in device.store.values() {
        assert!(!text.contains("secret"), "{text}");
    }
    assert!(!device.store.keys().any(|record| matches!(record, Record::Row { .. })), "{:?}", device.store.keys());
    let typed = form::text(&device.client.export(&Owner { user: "alice".into(), organization: "acme".into() }));
    assert!(typed.contains("typed title") && typed.contains("rank"), "{typed}");
    let outbox: Vec<(State, Option<&str>)> =
        device.client.outbox().iter().map(|e| (e.state, e.refused.as_ref().map(|r| r.code.as_str()))).collect();
    assert_eq!(outbox[0], (State::Failed, Some("ROW_LEFT")));
    assert!(outbox[1..].iter().all(|(state, _)| matches!(state, State::Pending | State::Sent)), "{outbox:?}");
    // It holds over a restart, without the network too.
    device.offline();
    let device = device.restart("b");
    assert_eq!((device.client.ids("note").len(), device.client.outbox().len()), (0, 3));
}

#[test]
fn whoever_comes_back_has_everything_again_and_the_outbox_goes_on_core_06() {
    let (mut server, mut device) = with_secrets();
    (server.outsider, device.online) = (true, true);
    device.run(&mut server);
    device.run(&mut server);
    server.outsider = false;
    device.run(&mut server);
    assert_eq!((device.shows("3", "rank"), server.value("3", "rank")), (7.into(), 7.into()));
    assert_eq!((device.client.view(&note("2")), server.rows.contains_key("2")), (None, false));
    assert_eq!((device.states(), server.value("1", "title")), (vec![State::Failed], "secret".into()));
    let key = device.client.outbox().iter().next().unwrap().key.clone();
    assert!(device.client.retry(device.now, &key));
    device.run(&mut server);
    assert_eq!((device.states(), device.shows("1", "title")), (vec![State::Conflicted], "typed title".into()));
}

#[test]
fn another_refusal_takes_nothing_away_sy_15() {
    let (mut server, mut device) = listed();
    device.offline();
    device.run(&mut server);
    for body in ["{\"code\":\"FORBIDDEN\"}", "<html>", ""] {
        let answer = |id| Input::Answer { id, status: 403, retry_after_ms: None, server_ms: None, body };
        for id in 0..64 {
            device.client.handle(device.now, answer(id));
        }
        device.client.handle(device.now, Input::Network { usable: true });
        while let Some(output) = device.client.poll() {
            if let Output::Request { id, .. } = output {
                device.client.handle(device.now, answer(id));
            }
        }
    }
    assert_eq!(device.shows("1", "title"), "t");
}

#[test]
fn every_tab_lets_go_of_what_may_not_be_read_any_more_sy_15() {
    let mut browser = Browser::two();
    for at in [0, 1] {
        browser.set(at, "rank", 7 + at as u64);
        browser.run(20);
        assert!(browser.tabs[at].client.take_undo().is_some());
    }
    browser.server.outsider = true;
    browser.offline();
    browser.online = true;
    browser.run(40);
    assert_eq!((browser.shows(0, "title"), browser.shows(1, "title")), (Value::Null, Value::Null));
    for tab in &mut browser.tabs {
        let status = tab.client.status();
        assert_eq!((status.network, status.expelled), (Network::Refused(403), true));
        // What undo would bring back is not for this user any more, and is taken out of where it is kept.
        assert_eq!(tab.client.take_undo().as_deref(), Some(r#"{"done":[],"undone":[]}"#));
    }
    browser.server.outsider = false;
    browser.run(40);
    assert_eq!((browser.shows(0, "title"), browser.shows(1, "title")), ("t".into(), "t".into()));
}

#[test]
fn an_edit_in_doubt_whose_row_left_sight_meanwhile_fails_and_asks_nobody_sy_13() {
    let (mut server, mut device) = listed();
    (server.down, server.mute) = (true, true);
    let key = device.set("1", "title", "mine").unwrap();
    device.lose_answers = true;
    server.always = Some(json!({ "status": "lost" }));
    device.settle(&mut server);
    assert_eq!(device.states(), [State::Sent]);
    server.hide("1");
    (server.down, server.mute, server.always, device.lose_answers) = (false, false, None, false);
    device.settle(&mut server);
    assert_eq!(device.states(), [State::Sent], "its answer is still to come");
    let mut device = device.restart("b");
    device.run(&mut server);
    let entry = device.client.outbox().find(&key).cloned().unwrap();
    assert_eq!((entry.state, entry.refused.map(|refused| refused.code)), (State::Failed, Some("ROW_LEFT".into())));
    assert_eq!((entry.theirs, entry.change.field()), (None, Some("title")));
}

#[test]
fn a_row_that_came_back_into_sight_and_was_deleted_then_is_asked_about_core_09() {
    let (mut server, mut device) = listed();
    (device.lose_answers, server.mute) = (true, true);
    server.always = Some(json!({ "status": "lost" }));
    let key = device.set("1", "title", "mine").unwrap();
    device.settle(&mut server);
    server.hide("1");
    server.sql("1", json!({ "id": "1", "title": "t" }));
    server.sql_delete("1");
    (server.mute, server.always, device.lose_answers) = (false, None, false);
    device.run(&mut server);
    let entry = device.client.outbox().find(&key).cloned().unwrap();
    assert_eq!((entry.state, entry.refused), (State::Conflicted, None));
}
