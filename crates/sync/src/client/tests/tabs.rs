//! Several tabs over one store (CORE-16): each claim by hand; the simulator draws the rest.

use std::collections::BTreeSet;

use serde_json::json;

use super::{super::*, browser::Browser, note, object};

#[test]
fn a_tab_that_follows_shows_the_same_rows_and_its_edits_go_out_by_the_leader_core_16() {
    let mut browser = Browser::two();
    assert_eq!(browser.roles(), [Role::Leader, Role::Follower]);
    assert_eq!(browser.shows(1, "title"), "t");
    browser.set(1, "title", "mine");
    assert_eq!(browser.shows(1, "title"), "mine", "it is shown at once");
    browser.settle();
    assert_eq!((browser.server.value("1", "title"), browser.server.applied), ("mine".into(), 1));
    assert_eq!((browser.shows(0, "title"), browser.shows(1, "title")), ("mine".into(), "mine".into()));
    assert!(browser.outbox(0).is_empty() && browser.outbox(1).is_empty());
    browser.server.sql("1", json!({ "rank": 9 }));
    browser.settle();
    assert_eq!(browser.shows(1, "rank"), 9);
    assert_eq!(browser.tabs[0].client.position(), browser.tabs[1].client.position(), "it knows its own offset");
    assert!(browser.saved.iter().all(|(_, tab)| *tab == 0), "only the leader saves under the fence");
}

#[test]
fn what_can_be_seen_takes_over_after_five_seconds_of_silence_and_what_cannot_does_not_core_16_sy_55() {
    let mut browser = Browser::two();
    browser.open("c");
    browser.handle(2, Input::Visible { visible: false });
    browser.settle();
    browser.kill(0);
    browser.set(1, "title", "mine");
    browser.run(4);
    assert_eq!(browser.roles()[1..], [Role::Follower, Role::Follower]);
    browser.run(4);
    assert_eq!(browser.roles()[1..], [Role::Leader, Role::Follower]);
    assert_eq!((browser.server.value("1", "title"), browser.shows(2, "title")), ("mine".into(), "mine".into()));
    browser.kill(1);
    browser.run(60);
    assert_eq!(browser.roles()[2], Role::Follower);
    browser.handle(2, Input::Visible { visible: true });
    browser.run(6);
    assert_eq!(browser.roles()[2], Role::Leader);
}

#[test]
fn a_leader_that_answers_is_not_taken_over_from_however_rarely_it_acts_sy_55() {
    let mut browser = Browser::two();
    browser.handle(0, Input::Visible { visible: false });
    browser.run(60);
    assert_eq!((browser.roles(), browser.fence), (vec![Role::Leader, Role::Follower], 1));
    let alone = Browser::new();
    let said = alone.said.len();
    assert_eq!(said, 1, "whoever is alone says once that it leads: {:?}", alone.said);
}

#[test]
fn a_tab_that_slept_asks_before_it_takes_over_sy_55() {
    let mut browser = Browser::two();
    browser.tabs[1].frozen = true;
    browser.server.sql("1", json!({ "rank": 9 }));
    browser.run(20);
    browser.tabs[1].frozen = false;
    browser.pass(1);
    browser.run(6);
    assert_eq!((browser.roles(), browser.fence), (vec![Role::Leader, Role::Follower], 1));
    assert_eq!((browser.shows(1, "rank"), browser.tabs[1].reads), (9.into(), 1), "what it missed it read");
}

#[test]
fn a_stale_leader_is_fenced_and_follows_without_losing_an_edit_core_16_sy_56() {
    let mut browser = Browser::two();
    browser.offline();
    browser.set(0, "title", "first");
    browser.edit(0, Edit::Add { entity: note("1"), field: "votes".into(), by: 1.into() });
    browser.settle();
    // It wakes after another took over, and a person goes on in it at once.
    browser.tabs[0].frozen = true;
    browser.run(8);
    assert_eq!(browser.roles(), [Role::Leader, Role::Leader], "it does not know yet");
    browser.tabs[0].frozen = false;
    browser.set(0, "title", "second");
    browser.edit(0, Edit::Add { entity: note("1"), field: "votes".into(), by: 10.into() });
    browser.edit(0, Edit::Create { entity: note("2"), data: object(json!({ "id": "2", "title": "new" })) });
    browser.run(20);
    assert_eq!(browser.roles(), [Role::Follower, Role::Leader]);
    assert_eq!((browser.shows(0, "title"), browser.shows(0, "votes")), ("second".into(), 11.into()));
    browser.online = true;
    browser.run(40);
    assert_eq!((browser.server.value("1", "title"), browser.server.value("1", "votes")), ("second".into(), 11.into()));
    assert_eq!(browser.server.value("2", "title"), "new");
    for tab in 0..2 {
        assert!(browser.outbox(tab).is_empty(), "{:?}", browser.outbox(tab));
    }
    let fences: BTreeSet<(u64, usize)> = browser.saved.iter().copied().collect();
    assert_eq!(fences.into_iter().collect::<Vec<_>>(), [(1, 0), (2, 1)], "one tab per fence");
}

#[test]
fn a_stale_leader_shows_what_it_knew_until_the_other_has_come_as_far_core_10() {
    let mut browser = Browser::two();
    browser.handle(0, Input::Visible { visible: false });
    browser.fence = 2;
    browser.server.sql("1", json!({ "rank": 9 }));
    browser.settle();
    assert_eq!((browser.roles()[0], browser.shows(0, "rank")), (Role::Fenced, 9.into()));
    browser.server.mute = true;
    browser.run(18);
    assert_eq!((browser.roles()[1], browser.shows(0, "rank")), (Role::Leader, 9.into()), "it does not go back");
    browser.server.mute = false;
    browser.run(5);
    assert_eq!((browser.roles()[0], browser.shows(0, "rank")), (Role::Follower, 9.into()));
}

#[test]
fn whoever_closes_hands_over_at_once_core_16() {
    let mut browser = Browser::two();
    browser.offline();
    browser.set(0, "title", "mine");
    browser.settle();
    browser.handle(0, Input::Follow);
    browser.settle();
    assert_eq!(browser.roles()[1], Role::Leader);
    browser.kill(0);
    browser.online = true;
    browser.run(40);
    assert_eq!((browser.server.value("1", "title"), browser.server.applied), ("mine".into(), 1));
}

#[test]
fn a_tab_that_missed_something_reads_the_store_again_core_16() {
    let mut browser = Browser::two();
    browser.tabs[1].deaf = true;
    browser.server.sql("1", json!({ "rank": 9 }));
    browser.settle();
    browser.tabs[1].deaf = false;
    assert_eq!(browser.shows(1, "rank"), 1);
    browser.server.sql("1", json!({ "votes": 3 }));
    browser.settle();
    assert_eq!((browser.shows(1, "rank"), browser.shows(1, "votes"), browser.tabs[1].reads), (9.into(), 3.into(), 1));
}

#[test]
fn what_is_said_late_or_twice_changes_nothing_core_16() {
    let mut browser = Browser::two();
    browser.set(1, "title", "mine");
    browser.set(0, "rank", 3);
    browser.settle();
    browser.server.sql("1", json!({ "title": "theirs" }));
    browser.settle();
    let said = browser.said.clone();
    for message in said.iter().rev().chain(&said) {
        for tab in 0..2 {
            browser.handle(tab, Input::Shared { message });
            browser.settle();
        }
    }
    browser.run(10);
    for tab in 0..2 {
        assert_eq!((browser.shows(tab, "title"), browser.shows(tab, "rank")), ("theirs".into(), 3.into()));
        assert!(browser.outbox(tab).is_empty(), "{:?}", browser.outbox(tab));
    }
    assert_eq!((browser.roles(), browser.server.applied), (vec![Role::Leader, Role::Follower], 2));
}

#[test]
fn two_tabs_that_write_one_field_end_with_what_was_typed_last_and_texts_with_both_core_16_sy_44() {
    let mut browser = Browser::two();
    browser.offline();
    // Neither hears the other.
    (browser.tabs[0].deaf, browser.tabs[1].deaf) = (true, true);
    browser.set(0, "title", "one");
    browser.set(0, "body", "ONE two three");
    browser.set(1, "title", "two");
    browser.set(1, "body", "one two THREE");
    browser.settle();
    (browser.tabs[0].deaf, browser.tabs[1].deaf) = (false, false);
    browser.run(3);
    browser.online = true;
    browser.run(40);
    for tab in 0..2 {
        assert_eq!((browser.shows(tab, "title"), browser.shows(tab, "body")), ("two".into(), "ONE two THREE".into()));
        assert!(browser.outbox(tab).is_empty(), "{:?}", browser.outbox(tab));
        let rules: Vec<Rule> = browser.tabs[tab].client.journal().map(|line| line.rule).collect();
        assert!(rules.contains(&Rule::MineWins), "what gave way is told: {rules:?}");
    }
    assert_eq!(browser.server.value("1", "title"), "two");
}

#[test]
fn what_another_tab_wrote_later_and_has_left_already_stands_core_16() {
    let mut browser = Browser::two();
    // Its tab has not heard of anything when it is made.
    browser.server.mute = true;
    (browser.tabs[0].deaf, browser.tabs[1].deaf) = (true, true);
    browser.set(1, "title", "earlier");
    browser.set(0, "rank", 3);
    browser.set(0, "title", "later");
    browser.settle();
    (browser.tabs[0].deaf, browser.tabs[1].deaf) = (false, false);
    browser.run(3);
    browser.server.mute = false;
    browser.run(20);
    for tab in 0..2 {
        assert_eq!(browser.shows(tab, "title"), "later");
        let line = browser.tabs[tab].client.journal().last().expect("a line");
        assert_eq!((line.rule, line.mine.clone()), (Rule::OtherTab, Some("earlier".into())));
        assert!(browser.outbox(tab).is_empty());
    }
    assert_eq!((browser.server.value("1", "title"), browser.server.applied), ("later".into(), 2));
}

#[test]
fn a_copied_tab_is_told_apart_by_its_name_core_16_sy_63() {
    let mut browser = Browser::new();
    browser.offline();
    let twin = browser.open("a");
    browser.settle();
    browser.set(0, "title", "one");
    browser.set(twin, "rank", 2);
    browser.settle();
    let sources: BTreeSet<String> = browser.outbox(0).iter().map(|entry| entry.source.clone()).collect();
    assert_eq!(sources.len(), 2, "{sources:?}");
    browser.online = true;
    browser.run(40);
    assert_eq!((browser.server.value("1", "title"), browser.server.value("1", "rank")), ("one".into(), 2.into()));
}

#[test]
fn an_edit_under_a_key_that_a_copy_has_used_gets_another_core_16() {
    let mut browser = Browser::two();
    browser.open("b");
    browser.offline();
    (1..3).for_each(|tab| browser.tabs[tab].deaf = true);
    browser.set(1, "title", "one");
    browser.now.wall_ms -= 1;
    browser.set(2, "rank", 2);
    (1..3).for_each(|tab| browser.tabs[tab].deaf = false);
    browser.settle();
    assert_eq!(browser.outbox(0).len(), 2);
    browser.online = true;
    browser.run(40);
    assert_eq!((browser.server.value("1", "title"), browser.server.value("1", "rank")), ("one".into(), 2.into()));
}

#[test]
fn what_a_copy_has_saved_under_a_key_is_seen_by_whoever_used_the_key_too_core_16() {
    let mut browser = Browser::two();
    browser.open("b");
    browser.offline();
    browser.tabs[2].full = true;
    browser.set(1, "title", "one");
    browser.now.wall_ms -= 1;
    browser.set(2, "rank", 2);
    browser.settle();
    assert_eq!((browser.shows(2, "title"), browser.shows(2, "rank")), ("one".into(), 2.into()));
    browser.tabs[2].full = false;
    browser.run(40);
    assert_eq!((browser.shows(2, "title"), browser.shows(2, "rank")), ("one".into(), 2.into()));
    let keys = |at| browser.outbox(at).iter().map(|entry| entry.key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(2), keys(0));
}

#[test]
fn undo_over_tabs_is_right_or_refused_core_13_sy_47() {
    let mut browser = Browser::two();
    browser.set(1, "title", "mine");
    browser.settle();
    let now = browser.now;
    assert!(browser.tabs[1].client.undo(now));
    browser.run(3);
    assert_eq!((browser.server.value("1", "title"), browser.shows(0, "title")), ("t".into(), "t".into()));
    browser.set(1, "title", "mine");
    browser.run(2);
    browser.set(0, "title", "from the other tab");
    browser.run(2);
    let now = browser.now;
    assert!(!browser.tabs[1].client.undo(now), "what was written since is not undone");
    browser.run(2);
    assert_eq!(browser.server.value("1", "title"), "from the other tab");
    // What was added offline is answered, not taken out under the leader's hands.
    browser.offline();
    browser.edit(1, Edit::Add { entity: note("1"), field: "votes".into(), by: 2.into() });
    browser.settle();
    let now = browser.now;
    assert!(browser.tabs[1].client.undo(now));
    browser.online = true;
    browser.run(40);
    assert_eq!((browser.server.value("1", "votes"), browser.shows(1, "votes")), (0.into(), 0.into()));
}

fn conflict() -> (Browser, EntryKey, Option<String>) {
    let mut browser = Browser::two();
    browser.offline();
    let key = browser.set(1, "title", "mine").unwrap();
    browser.settle();
    browser.server.sql("1", json!({ "title": "theirs" }));
    browser.online = true;
    browser.run(40);
    for tab in 0..2 {
        assert_eq!(browser.outbox(tab)[0].state, State::Conflicted);
        assert!(browser.tabs[tab].told.contains(&Told::Conflict(key.clone())), "it is asked in every tab");
    }
    let seen = browser.outbox(1)[0].theirs.as_ref().and_then(|theirs| theirs.id.clone());
    (browser, key, seen)
}

#[test]
fn a_decision_in_a_tab_that_follows_is_done_by_the_leader_though_the_word_is_lost_core_08_core_16() {
    for lost in [false, true] {
        let (mut browser, key, seen) = conflict();
        browser.tabs[0].deaf = lost;
        let now = browser.now;
        let tab = &mut browser.tabs[1].client;
        assert_eq!(tab.decide(now, &key, Some("x"), Decision::KeepMine), Err(Undecided::Newer));
        tab.decide(now, &key, seen.as_deref(), Decision::KeepMine).unwrap();
        browser.settle();
        browser.tabs[0].deaf = false;
        browser.run(5);
        assert_eq!((browser.server.value("1", "title"), browser.shows(1, "title")), ("mine".into(), "mine".into()));
        assert!(browser.outbox(0).is_empty() && browser.outbox(1).is_empty());
    }
}

#[test]
fn typing_on_in_a_conflict_and_taking_back_work_in_every_tab_core_08() {
    let (mut browser, key, _) = conflict();
    browser.set(1, "title", "typed on");
    browser.settle();
    for tab in 0..2 {
        let entries = browser.outbox(tab);
        assert_eq!((entries.len(), entries[0].state, &entries[0].key), (1, State::Conflicted, &key));
        assert_eq!(browser.shows(tab, "title"), "typed on");
    }
    let now = browser.now;
    assert_eq!(browser.tabs[1].client.discard(now, &key), [key]);
    browser.settle();
    assert_eq!((browser.shows(0, "title"), browser.shows(1, "title")), ("theirs".into(), "theirs".into()));
    assert!(browser.outbox(0).is_empty() && browser.outbox(1).is_empty());
}

#[test]
fn a_row_made_and_removed_in_a_tab_that_follows_never_leaves_sy_42() {
    let mut browser = Browser::two();
    browser.offline();
    browser.edit(1, Edit::Create { entity: note("2"), data: object(json!({ "id": "2", "title": "new" })) });
    browser.edit(1, Edit::Delete { entity: note("2") });
    assert_eq!(browser.tabs[1].client.view(&note("2")), None);
    browser.settle();
    assert!(browser.outbox(0).is_empty() && browser.outbox(1).is_empty());
    browser.online = true;
    browser.run(40);
    assert_eq!(browser.server.applied, 0);
}

#[test]
fn whoever_takes_over_reads_what_the_former_leader_left_before_it_writes_core_11_core_16() {
    let mut browser = Browser::two();
    browser.tabs[1].deaf = true;
    browser.server.sql("1", json!({ "rank": 9 }));
    browser.offline();
    browser.set(0, "title", "mine");
    browser.settle();
    browser.kill(0);
    browser.tabs[1].deaf = false;
    browser.run(8);
    assert_eq!((browser.roles()[1], browser.shows(1, "title")), (Role::Leader, "mine".into()));
    browser.online = true;
    browser.run(40);
    assert_eq!((browser.server.value("1", "title"), browser.shows(1, "rank")), ("mine".into(), 9.into()));
    assert_eq!(browser.server.applied, 1);
}

#[test]
fn a_tab_that_follows_knows_which_opened_rows_are_nowhere_core_12_core_16() {
    let mut browser = Browser::keeping("on_demand");
    browser.open("b");
    browser.settle();
    let gone = note("gone");
    browser.tabs[1].client.open(browser.now, &gone).unwrap();
    assert_ne!(browser.tabs[1].client.presence(&gone), Presence::Nowhere, "nobody has looked for it yet");
    browser.tabs[1].told.clear();
    browser.run(5);
    assert_eq!(browser.tabs[1].client.presence(&gone), Presence::Nowhere);
    assert!(browser.tabs[1].told.contains(&Told::Rows(vec![gone.clone()])), "and whoever shows it is told");
    browser.server.sql("gone", json!({ "id": "gone", "title": "here" }));
    browser.run(2);
    assert_eq!(browser.tabs[1].client.presence(&gone), Presence::Here);
    browser.server.sql_delete("gone");
    browser.run(2);
    assert_eq!(browser.tabs[1].client.presence(&gone), Presence::Nowhere);
}

#[test]
fn an_edit_that_a_note_brings_back_while_its_tab_saves_it_is_one_edit_core_16_sy_62() {
    for leader_lives in [false, true] {
        let mut browser = Browser::two();
        browser.offline();
        let owner = crate::client::export::Owner { user: "alice".into(), organization: "acme".into() };
        browser.edit(0, Edit::Add { entity: note("1"), field: "rank".into(), by: 5.into() });
        // The tab notes what is not saved at this moment, and saves it all the same; the other one does not hear of it.
        let export = crate::form::text(&browser.tabs[0].client.export(&owner));
        browser.tabs[1].deaf = true;
        browser.settle();
        browser.tabs[1].deaf = false;
        browser.tabs[0].frozen = !leader_lives;
        let now = browser.now;
        let imported = browser.tabs[1].client.import(now, &owner, &export).unwrap();
        assert_eq!((imported.taken, imported.known), (1, 0));
        browser.run(20);
        assert_eq!(browser.roles()[1] == Role::Leader, !leader_lives);
        assert_eq!(browser.outbox(1).len(), 1);
        browser.online = true;
        browser.run(40);
        assert_eq!(browser.server.value("1", "rank"), 6);
        assert_eq!(browser.outbox(1).len(), 0);
    }
}

#[test]
fn what_another_tab_saved_goes_out_once_it_is_saved_as_sent_core_02_core_16() {
    let mut browser = Browser::two();
    browser.tabs[0].full = true;
    browser.set(0, "rank", 1);
    browser.settle();
    assert_eq!(browser.server.applied, 1, "what the store never had goes out though nothing can be saved");
    // This one the store holds as an edit that never left: who finds it there after a crash believes so.
    browser.set(1, "title", "mine");
    browser.settle();
    assert_eq!((browser.server.applied, browser.outbox(0).len()), (1, 1));
    browser.tabs[0].full = false;
    browser.run(6);
    assert_eq!((browser.server.applied, browser.server.value("1", "title")), (2, "mine".into()));
}

#[test]
fn what_was_accepted_before_a_restore_in_a_tab_that_could_not_save_it_is_asked_about_again_core_11_core_16() {
    let mut browser = Browser::two();
    browser.tabs[0].full = true;
    browser.server.mute = true;
    browser.set(0, "rank", 5);
    browser.settle();
    assert_eq!((browser.server.applied, browser.outbox(0)[0].state), (1, State::Accepted));
    // Another tab leads when the database goes on from a backup, in which numbers of transactions are lower.
    browser.tabs[0].frozen = true;
    browser.run(8);
    browser.server.xid = 100;
    browser.server.restore_without_log();
    browser.server.mute = false;
    browser.offline();
    browser.online = true;
    browser.run(8);
    assert_eq!((browser.roles()[1], browser.tabs[1].client.position().0), (Role::Leader, 2));
    // Only now that leader learns of the edit, and the number it was accepted with means nothing there.
    (browser.tabs[0].frozen, browser.tabs[0].full) = (false, false);
    browser.run(40);
    assert_eq!((browser.server.applied, browser.server.value("1", "rank")), (1, 5.into()), "nothing is done twice");
    for tab in 0..2 {
        assert!(browser.outbox(tab).is_empty(), "{:?}", browser.outbox(tab));
    }
}

#[test]
fn what_a_copy_has_saved_under_a_key_of_an_edit_that_left_unsaved_is_taken_in_core_16_sy_63() {
    let mut browser = Browser::new();
    browser.server.mute = true;
    browser.tabs[0].full = true;
    browser.set(0, "title", "one");
    browser.settle();
    assert_eq!(browser.outbox(0)[0].state, State::Accepted, "under a key that the store has not");
    let twin = browser.open("a");
    browser.set(twin, "rank", 2);
    browser.settle();
    browser.tabs[0].full = false;
    browser.run(5);
    browser.server.mute = false;
    browser.run(40);
    assert_eq!((browser.server.value("1", "title"), browser.server.value("1", "rank")), ("one".into(), 2.into()));
    assert!(browser.outbox(0).is_empty() && browser.outbox(twin).is_empty());
}
