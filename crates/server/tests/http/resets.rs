//! When a reader must list again, and when it must stop.

use antiphon_model::Role;
use antiphon_testkit::for_each_postgres;

use crate::stage::{Stage, next};

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
