//! When a reader must list again, and when it must stop.

use antiphon_model::Role;
use antiphon_testkit::for_each_postgres;

use crate::stage::{SOON, Stage, next};

#[tokio::test]
async fn an_offset_that_the_log_cannot_vouch_for_is_a_reset_in_every_form_sy_02_sy_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.run("insert into notes (id, org) values ('1', 'acme')").await;
        let mut stream = stage.stream("offset=-1", None).await;
        next(&mut stream, "change").await;
        stage.db.connect_log().await.batch_execute("update log.head set floor = 1").await.expect("the floor rises");
        let deadline = tokio::time::Instant::now() + crate::stage::SOON;
        while stage.get("/v1/orgs/acme/live?offset=0").await.status != 410 {
            assert!(tokio::time::Instant::now() < deadline, "the server never heard of the floor");
        }
        for (parameters, code) in [
            ("offset=0", "OFFSET_EXPIRED"),
            ("offset=999999", "OFFSET_INVALID"),
            ("offset=1099511627776", "EPOCH_CHANGED"),
            ("offset=1&epoch=2", "EPOCH_CHANGED"),
            ("offset=1&access=0123456789abcdef", "ACCESS_CHANGED"),
        ] {
            for form in ["", "&live=poll"] {
                let response = stage.get(&format!("/v1/orgs/acme/live?{parameters}{form}")).await;
                let body = response.json().expect("JSON");
                assert_eq!((response.status, body["code"].as_str()), (410, Some(code)), "{parameters}{form}: {body}");
                assert_eq!(body["epoch"], 1, "{body}");
            }
            let mut stream = stage.stream(parameters, None).await;
            let (id, reset) = next(&mut stream, "reset").await;
            assert_eq!((id.as_deref(), reset["code"].as_str()), (Some("end"), Some(code)), "{parameters}");
            assert!(stream.next(crate::stage::SOON).await.expect("the end").is_none());
        }
    })
    .await;
}

#[tokio::test]
async fn another_role_resets_an_open_stream_and_a_lost_place_ends_it_str_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=now", None).await;
        next(&mut stream, "offset").await;
        stage.people.join("acme", "alice", Role::Viewer).await.expect("another role");
        assert_eq!(next(&mut stream, "reset").await.1["code"], "ACCESS_CHANGED");
        let can = &stage.json("/v1/orgs/acme/schema").await["types"]["note"]["can"];
        assert_eq!((&can["create"], can["update"].as_array().map(Vec::len)), (&false.into(), Some(0)));
        let mut stream = stage.stream("offset=now", None).await;
        next(&mut stream, "offset").await;
        stage.people.leave("acme", "alice").await.expect("gone");
        assert_eq!(next(&mut stream, "notice").await.1["reason"], "access_revoked");
    })
    .await;
}

#[tokio::test]
async fn a_new_epoch_resets_open_streams_waiting_polls_and_old_offsets_and_lists_go_on_sy_03_log_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.run("insert into notes (id, org) values ('1', 'acme')").await;
        let mut stream = stage.stream("offset=-1", None).await;
        let (old, _) = next(&mut stream, "change").await;
        let old = old.expect("an id");
        let (poll, epoch) =
            tokio::join!(stage.get("/v1/orgs/acme/live?live=poll&timeout=60"), stage.operator.new_epoch());
        assert_eq!(epoch.expect("a new epoch"), 2);
        let (id, reset) = next(&mut stream, "reset").await;
        assert_eq!(id.as_deref(), Some("end"));
        assert_eq!((reset["code"].as_str(), reset["epoch"].as_u64()), (Some("EPOCH_CHANGED"), Some(2)));
        assert!(stream.next(SOON).await.expect("the end").is_none());
        let body = poll.json().expect("JSON");
        assert_eq!((poll.status, body["code"].as_str(), body["epoch"].as_u64()), (410, Some("EPOCH_CHANGED"), Some(2)));
        for parameters in [format!("offset={old}"), format!("offset={old}&epoch=1"), "offset=now&epoch=1".to_owned()] {
            let page = stage.get(&format!("/v1/orgs/acme/live?{parameters}")).await;
            assert_eq!((page.status, page.json().expect("JSON")["code"].as_str()), (410, Some("EPOCH_CHANGED")));
            let mut stream = stage.stream(&parameters, None).await;
            assert_eq!(next(&mut stream, "reset").await.1["code"], "EPOCH_CHANGED", "{parameters}");
        }
        // The base of an epoch belongs to the epoch that it begins, and what is there is copied anew.
        let base = 1_u64 << 40;
        let mut stream = stage.stream(&format!("offset={base}&epoch=2"), None).await;
        let (id, change) = next(&mut stream, "change").await;
        assert_eq!((&change["entityId"], &change["action"]), (&"1".into(), &"create".into()));
        assert!(id.and_then(|id| id.parse::<u64>().ok()).is_some_and(|id| id > base));
        let list = stage.json("/v1/orgs/acme/entities/note").await;
        assert_eq!((list["epoch"].as_u64(), list["offset"].as_u64() >= Some(base)), (Some(2), true), "{list}");
    })
    .await;
}

#[tokio::test]
async fn a_floor_that_rises_over_an_open_stream_resets_it_and_only_what_lies_below_log_02() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        for id in 1..=5 {
            stage.run(&format!("insert into notes (id, org) values ('{id}', 'acme')")).await;
        }
        let mut stream = stage.stream("offset=-1", None).await;
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(next(&mut stream, "change").await.0.expect("an id"));
        }
        let raise = format!("update log.head set floor = {}", ids[2]);
        stage.db.connect_log().await.batch_execute(&raise).await.expect("the floor rises");
        let below = format!("/v1/orgs/acme/live?offset={}", ids[1]);
        stage.until(&stage.alice, &below, |answer| answer.status == 410).await;
        // A reader above the floor goes on, one at the floor too, and the beginning is the floor.
        stage.run("insert into notes (id, org) values ('6', 'acme')").await;
        assert_eq!(next(&mut stream, "change").await.1["entityId"], "6");
        for offset in [ids[2].as_str(), "-1"] {
            let page = stage.json(&format!("/v1/orgs/acme/live?offset={offset}")).await;
            assert_eq!(page["activities"][0]["entityId"], "4", "{offset}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_access_that_no_longer_holds_is_a_reset_and_the_present_one_is_none_sy_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let page = stage.json("/v1/orgs/acme/live").await;
        let (offset, access) = (&page["offset"], page["access"].as_str().expect("an access"));
        let resume = format!("/v1/orgs/acme/live?offset={offset}&epoch=1&access={access}");
        assert_eq!(stage.get(&resume).await.status, 200);
        let list = stage.json("/v1/orgs/acme/entities/note").await;
        assert_eq!(list["access"], access);
        stage.people.join("acme", "alice", Role::Member).await.expect("another role");
        let reset = stage.until(&stage.alice, &resume, |answer| answer.status != 200).await;
        assert_eq!((reset.status, reset.json().expect("JSON")["code"].as_str()), (410, Some("ACCESS_CHANGED")));
        let mut stream = stage.stream(&format!("offset={offset}&epoch=1&access={access}"), None).await;
        assert_eq!(next(&mut stream, "reset").await.1["code"], "ACCESS_CHANGED");
    })
    .await;
}
