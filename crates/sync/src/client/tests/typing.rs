//! People who type: drafts upon older texts, undo and redo beside what others write (CORE-03, CORE-07, CORE-13).

use super::{browser::Browser, *};

fn body(text: &str) -> Edit {
    Edit::Set { entity: note("1"), fields: object(json!({ "body": text })) }
}

impl Device {
    fn type_upon(&mut self, seen: &str, text: &str) {
        self.client.edit_upon(self.now, body(text), Some(seen)).unwrap();
    }
}

/// My edit is on its way, and is merged with what others wrote.
fn merged() -> (Server, Device) {
    let (mut server, mut device) = listed();
    device.set("1", "body", "one two three four");
    server.sql("1", json!({ "body": "zero one two three" }));
    device.run(&mut server);
    assert_eq!(server.value("1", "body"), "zero one two three four");
    (server, device)
}

#[test]
fn a_draft_upon_my_own_text_takes_no_words_out_that_were_merged_into_it_core_07() {
    let (mut server, mut device) = merged();
    device.type_upon("one two three four", "one two three four five");
    device.run(&mut server);
    assert_eq!(server.value("1", "body"), "zero one two three four five");
    assert!(device.client.journal().any(|line| line.rule == journal::Rule::Merged && line.theirs.is_some()));
}

#[test]
fn a_draft_that_is_put_in_the_place_of_my_own_edit_loses_none_of_its_words_core_03_core_07() {
    let (mut server, mut device) = listed();
    device.offline();
    device.set("1", "body", "one two three four");
    // Where nothing has left yet the draft takes the edit's place, and may have been begun before it.
    device.type_upon("one two three", "zero one two three");
    assert_eq!(device.shows("1", "body"), "zero one two three four");
    device.online = true;
    device.run(&mut server);
    assert_eq!(server.value("1", "body"), "zero one two three four");
}

#[test]
fn a_draft_that_changes_words_which_were_merged_into_my_own_text_asks_core_07() {
    let (mut server, mut device) = merged();
    device.type_upon("one two three four", "ONE two three four");
    device.run(&mut server);
    assert_eq!(device.states(), [State::Conflicted]);
    assert_eq!(server.value("1", "body"), "zero one two three four");
}

#[test]
fn redo_takes_no_words_out_that_others_wrote_since_core_13() {
    let (mut server, mut device) = listed();
    device.set("1", "body", "one two three four");
    device.run(&mut server);
    assert!(device.client.undo(device.now));
    device.run(&mut server);
    server.sql("1", json!({ "body": "zero one two three" }));
    device.run(&mut server);
    assert!(!device.client.redo(device.now));
    device.run(&mut server);
    assert_eq!(server.value("1", "body"), "zero one two three");
}

#[test]
fn what_two_tabs_type_about_one_conflict_is_merged_core_08_core_16() {
    let mut browser = Browser::two();
    browser.offline();
    browser.set(1, "body", "one two MINE");
    browser.settle();
    browser.server.sql("1", json!({ "body": "one two THEIRS" }));
    browser.online = true;
    browser.run(40);
    assert_eq!(browser.outbox(0)[0].state, State::Conflicted);
    // Neither hears the other.
    (browser.tabs[0].deaf, browser.tabs[1].deaf) = (true, true);
    browser.set(0, "body", "zero one two MINE");
    browser.set(1, "body", "one two MINE four");
    browser.settle();
    (browser.tabs[0].deaf, browser.tabs[1].deaf) = (false, false);
    browser.run(5);
    for tab in 0..2 {
        assert_eq!((browser.shows(tab, "body"), browser.outbox(tab).len()), ("zero one two MINE four".into(), 1));
    }
}

#[test]
fn what_a_tab_types_in_one_go_keeps_what_another_tab_typed_before_core_16() {
    let mut browser = Browser::two();
    browser.offline();
    (browser.tabs[0].deaf, browser.tabs[1].deaf) = (true, true);
    browser.set(0, "body", "zero one two three");
    for text in ["one two three four", "one two three four five", "one two three four five six"] {
        browser.set(1, "body", text);
    }
    browser.settle();
    (browser.tabs[0].deaf, browser.tabs[1].deaf) = (false, false);
    browser.run(3);
    browser.online = true;
    browser.run(40);
    assert_eq!(browser.server.value("1", "body"), "zero one two three four five six");
    assert!(browser.outbox(0).is_empty() && browser.outbox(1).is_empty());
}

#[test]
fn a_text_meets_what_this_device_wrote_unseen_by_it_with_the_words_of_both_core_07() {
    let (mut server, mut device) = listed();
    // A copy of the device: their ids are of one maker.
    let mut copy = Device::new("a");
    copy.settle(&mut server);
    copy.offline();
    copy.pass(60_000);
    device.set("1", "body", "one two three four");
    device.run(&mut server);
    copy.set("1", "body", "zero one two three");
    copy.online = true;
    copy.run(&mut server);
    assert_eq!(server.value("1", "body"), "zero one two three four");
}

#[test]
fn what_is_typed_into_a_text_that_gave_way_is_all_that_meets_the_others_text_core_08() {
    let (mut server, mut device) = listed();
    server.mute = true;
    server.sql("1", json!({ "body": "one two THEIRS" }));
    device.set("1", "body", "one two MINE");
    device.settle(&mut server);
    let conflict = device.client.outbox().iter().next().unwrap();
    let (key, seen) = (conflict.key.clone(), conflict.theirs.clone().and_then(|theirs| theirs.id));
    device.client.decide(device.now, &key, seen.as_deref(), Decision::KeepTheirs).unwrap();
    // Their text is still to come, so mine is on screen.
    assert_eq!(device.shows("1", "body"), "one two MINE");
    device.set("1", "body", "zero one two MINE");
    server.mute = false;
    device.run(&mut server);
    assert_eq!((server.value("1", "body"), device.states()), ("zero one two THEIRS".into(), vec![]));
}

#[test]
fn what_was_typed_into_a_row_that_went_is_not_replaced_by_what_is_typed_into_a_new_one_core_03() {
    let (mut server, mut device) = listed();
    server.mute = true;
    server.sql("1", json!({ "body": "one two THEIRS" }));
    device.lose_answers = true;
    device.set("1", "body", "one two MINE");
    device.settle(&mut server);
    device.set("1", "body", "zero one two MINE");
    // Its person is no member any more: the row goes, and one is made in its place.
    (server.outsider, server.mute, device.lose_answers) = (true, false, false);
    device.pass(2_000);
    device.settle(&mut server);
    assert_eq!(device.client.view(&note("1")), None);
    device.edit(Edit::Create { entity: note("1"), data: object(json!({ "id": "1", "body": "new" })) });
    device.set("1", "body", "new words");
    server.outsider = false;
    device.run(&mut server);
    let texts: Vec<_> = device.client.outbox().iter().filter_map(Entry::mine).collect();
    assert!(texts.iter().any(|text| **text == "zero one two MINE"), "{texts:?}");
}

#[test]
fn an_edit_goes_into_the_newest_of_two_creates_which_is_shown_core_16() {
    let mut browser = Browser::two();
    browser.offline();
    (browser.tabs[0].deaf, browser.tabs[1].deaf) = (true, true);
    for (tab, text) in [(0, "of one tab"), (1, "of the other")] {
        browser.edit(tab, Edit::Create { entity: note("2"), data: object(json!({ "id": "2", "title": text })) });
    }
    browser.settle();
    (browser.tabs[0].deaf, browser.tabs[1].deaf) = (false, false);
    browser.run(5);
    for tab in 0..2 {
        let fields = object(json!({ "title": format!("typed by {tab}") }));
        browser.edit(tab, Edit::Set { entity: note("2"), fields });
        browser.run(5);
        for other in 0..2 {
            let row = browser.tabs[other].client.view(&note("2")).unwrap();
            assert_eq!(row["title"], *format!("typed by {tab}"), "in tab {other}");
        }
    }
}

#[test]
fn a_tab_that_was_copied_before_it_could_save_covers_nothing_that_the_copy_types_core_16_sy_63() {
    let mut browser = Browser::new();
    browser.offline();
    browser.tabs[0].full = true;
    browser.set(0, "rank", 2);
    browser.settle();
    let twin = browser.open("a");
    browser.set(twin, "body", "typed in the copy");
    browser.run(2);
    browser.tabs[0].full = false;
    browser.run(10);
    for tab in [0, twin] {
        assert_eq!((browser.shows(tab, "rank"), browser.shows(tab, "body")), (2.into(), "typed in the copy".into()));
    }
    browser.online = true;
    browser.run(40);
    assert_eq!(
        (browser.server.value("1", "rank"), browser.server.value("1", "body")),
        (2.into(), "typed in the copy".into())
    );
}

#[test]
fn what_is_typed_by_whoever_was_outdone_joins_what_it_could_not_save_core_16() {
    let mut browser = Browser::two();
    browser.offline();
    browser.set(0, "body", "one two three four");
    browser.settle();
    browser.tabs[0].full = true;
    browser.set(0, "body", "zero one two three four");
    browser.settle();
    browser.tabs[0].frozen = true;
    browser.run(60);
    assert_eq!(browser.roles()[1], Role::Leader);
    browser.set(1, "body", "one two three four five");
    browser.settle();
    // It hears that another leads, and its person types before it has read what that one made of it.
    browser.tabs[0].frozen = false;
    let beat = browser.said.iter().rfind(|said| said.contains("\"beat\"")).unwrap().clone();
    browser.handle(0, Input::Shared { message: &beat });
    browser.set(0, "body", "zero one two three four six");
    browser.tabs[0].full = false;
    browser.run(10);
    for tab in 0..2 {
        let text = browser.shows(tab, "body");
        let words: Vec<&str> = text.as_str().unwrap().split(' ').collect();
        for word in ["zero", "one", "two", "three", "four"] {
            assert!(words.contains(&word), "{word} is gone in tab {tab}: {text}");
        }
        assert!(words.contains(&"five") || words.contains(&"six"), "{text}");
    }
}

#[test]
fn a_draft_upon_a_text_of_mine_that_is_gone_expects_no_version_core_07() {
    let (mut server, mut device) = listed();
    device.set("1", "body", "mine");
    device.run(&mut server);
    device.type_upon("what i took back", "what i took back and more");
    let entry = device.client.outbox().iter().next().unwrap();
    assert_eq!(entry.state, State::Conflicted);
    // Sent again, after it was refused for another reason, it is asked about again: no text was seen of that version.
    assert_eq!((entry.expected.as_deref(), &entry.base), (None, &Some("what i took back".into())));
}

#[test]
fn what_is_restored_into_a_row_that_is_made_anew_takes_no_words_out_of_it_core_09() {
    let (mut server, mut device) = listed();
    device.offline();
    let key = device.set("1", "body", "zero one two three").unwrap();
    server.sql_delete("1");
    device.online = true;
    device.run(&mut server);
    assert_eq!(device.states(), [State::Conflicted]);
    device.offline();
    device.edit(Edit::Create {
        entity: note("1"),
        data: object(json!({ "id": "1", "title": "t", "body": "one two three" })),
    });
    device.set("1", "body", "one two three four");
    let seen = theirs(&device, &key).id;
    device.client.decide(device.now, &key, seen.as_deref(), Decision::Restore).unwrap();
    device.online = true;
    device.run(&mut server);
    assert_eq!(server.value("1", "body"), "zero one two three four");
    assert!(device.client.outbox().is_empty());
}

#[test]
fn a_refused_text_that_goes_with_its_row_is_in_the_journal_core_14() {
    let (mut server, mut device) = listed();
    server.always = Some(json!({ "status": "rejected", "problem": { "code": "FIELD_FORBIDDEN" } }));
    let key = device.set("1", "body", "refused").unwrap();
    device.run(&mut server);
    assert_eq!(device.states(), [State::Failed]);
    server.always = None;
    device.edit(Edit::Delete { entity: note("1") });
    device.run(&mut server);
    assert!(device.client.outbox().is_empty());
    let line = device.client.journal().find(|line| line.entry == key).unwrap();
    assert_eq!((&line.rule, &line.mine), (&journal::Rule::Deleted, &Some("refused".into())));
}

#[test]
fn a_draft_upon_a_text_of_a_row_that_is_being_made_loses_none_of_its_words_core_07_core_16() {
    let mut browser = Browser::two();
    browser.offline();
    browser.edit(0, Edit::Create { entity: note("2"), data: object(json!({ "id": "2", "body": "two three" })) });
    browser.settle();
    browser.edit(0, Edit::Set { entity: note("2"), fields: object(json!({ "body": "one two three" })) });
    browser.settle();
    // In the other tab somebody went on with the text of before.
    let edit = Edit::Set { entity: note("2"), fields: object(json!({ "body": "two three four" })) };
    browser.tabs[1].client.edit_upon(browser.now, edit, Some("two three")).unwrap();
    browser.settle();
    browser.online = true;
    browser.run(40);
    assert_eq!(browser.server.value("2", "body"), "one two three four");
}
