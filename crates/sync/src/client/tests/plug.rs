//! Where whoever drives the client says that there is no network.

use super::*;

#[test]
fn without_a_network_nothing_is_asked_and_edits_stay_changeable_core_03_core_15() {
    let (mut server, mut device) = listed();
    device.client.handle(device.now, Input::Network { usable: false });
    device.stream = None;
    assert_eq!(device.client.status().network, Network::Offline);
    device.set("1", "title", "one");
    device.set("1", "title", "two");
    for _ in 0..5 {
        device.settle(&mut server);
        device.pass(60_000);
    }
    assert_eq!(server.value("1", "title"), "t");
    assert!(device.client.outbox().iter().all(Entry::is_untouched));
    assert_eq!(device.client.wake_at_ms(device.now), None);
    device.client.handle(device.now, Input::Network { usable: true });
    device.run(&mut server);
    assert_eq!((server.value("1", "title"), device.client.outbox().len()), ("two".into(), 0));
}

#[test]
fn what_was_on_its_way_when_the_network_went_is_sent_again_under_its_id_sy_29() {
    let (mut server, mut device) = listed();
    device.set("1", "title", "new");
    // The request is out, and nobody looks for the answer.
    let mut out = 0;
    while let Some(output) = device.client.poll() {
        match output {
            Output::Request { request, .. } => {
                server.answer(&request);
                out += 1;
            }
            Output::Save { token, .. } => device.client.handle(device.now, Input::Saved { token }),
            _ => {}
        }
    }
    assert_eq!((out, server.value("1", "title")), (1, "new".into()));
    device.client.handle(device.now, Input::Network { usable: false });
    assert_eq!(device.states(), [State::Sent]);
    let applied = server.applied;
    device.client.handle(device.now, Input::Network { usable: true });
    device.run(&mut server);
    assert_eq!((device.client.outbox().len(), server.applied), (0, applied));
}

#[test]
fn what_can_be_undone_may_be_kept_for_the_next_instance_core_13() {
    let (mut server, mut device) = listed();
    device.set("1", "title", "mine");
    device.run(&mut server);
    let kept = device.client.take_undo().unwrap();
    assert_eq!(device.client.take_undo(), None, "only what changed is kept anew");
    let mut device = device.restart("b");
    device.client.resume_undo(&kept);
    device.run(&mut server);
    assert!(device.client.undo(device.now));
    device.run(&mut server);
    assert_eq!(server.value("1", "title"), "t");
    assert!(device.client.redo(device.now));
    device.run(&mut server);
    assert_eq!((server.value("1", "title"), device.client.outbox().len()), ("mine".into(), 0));
}

#[test]
fn what_others_changed_since_is_not_undone_sy_47() {
    let (mut server, mut device) = listed();
    device.set("1", "title", "mine");
    device.run(&mut server);
    server.sql("1", json!({ "title": "theirs" }));
    device.run(&mut server);
    assert_eq!(device.shows("1", "title"), "theirs");
    assert!(!device.client.undo(device.now));
    device.run(&mut server);
    assert_eq!(server.value("1", "title"), "theirs");
}
