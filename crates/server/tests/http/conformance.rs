//! What holds for a stream whatever carries it (STR-08).

use antiphon_model::Role;
use antiphon_testkit::{Response, for_each_postgres};

use crate::{
    stage::Stage,
    transports::{ALL, Reader},
};

#[tokio::test]
async fn each_change_comes_once_in_order_from_any_offset_str_08_str_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage
            .run("insert into notes (id, org, title) select n::text, 'acme', 'a' from generate_series(1, 250) n")
            .await;
        for transport in ALL {
            let mut reader = Reader::open(&stage, transport, &stage.alice, "acme", "offset=-1").await;
            let mut last = 0;
            for n in 1..=250 {
                let change = reader.change().await;
                assert_eq!(change["entityId"], n.to_string(), "{transport:?}");
                let id = change["activityId"].as_u64().expect("an id");
                assert!(id > last, "{transport:?}");
                last = id;
            }
            let resumed = format!("offset={last}");
            let mut again = Reader::open(&stage, transport, &stage.alice, "acme", &resumed).await;
            let id = format!("new-{transport:?}");
            stage.run(&format!("insert into notes (id, org) values ('{id}', 'acme')")).await;
            // What the transports before have written lies above the first offset, too.
            while reader.change().await["entityId"] != id {}
            while again.change().await["entityId"] != id {}
            stage.run(&format!("delete from notes where id = '{id}'")).await;
        }
    })
    .await;
}

#[tokio::test]
async fn only_the_wanted_types_come_and_the_offset_moves_all_the_same_str_08() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        for transport in ALL {
            let mut reader = Reader::open(&stage, transport, &stage.alice, "acme", "offset=now&entityTypes=note").await;
            let from = reader.until("offset").await["offset"].as_u64().expect("an offset");
            stage.run("insert into tasks (list, n, org) values ('a', (random() * 1e9)::int, 'acme')").await;
            let mut moved = from;
            while moved <= from {
                let (kind, body) = reader.next().await.expect("open");
                assert_eq!(kind, "offset", "{transport:?}");
                moved = body["offset"].as_u64().expect("an offset");
            }
            stage.run(&format!("insert into notes (id, org) values ('{transport:?}', 'acme')")).await;
            assert_eq!(reader.change().await["entityId"], format!("{transport:?}"));
        }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_vouched_for_is_a_reset_str_08_sy_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let far = (2u64 << 40) + 5;
        for transport in ALL {
            for (parameters, code) in [
                (format!("offset={far}"), "EPOCH_CHANGED"),
                ("offset=900000".to_owned(), "OFFSET_INVALID"),
                ("offset=0&epoch=7".to_owned(), "EPOCH_CHANGED"),
                ("offset=0&epoch=1&access=forged".to_owned(), "ACCESS_CHANGED"),
            ] {
                let mut reader = Reader::open(&stage, transport, &stage.alice, "acme", &parameters).await;
                let reset = reader.until("reset").await;
                assert_eq!((reset["code"].as_str(), &reset["epoch"]), (Some(code), &1.into()), "{transport:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn another_role_is_a_reset_and_a_lost_place_an_end_str_08_str_05() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        for transport in ALL {
            let mut reader = Reader::open(&stage, transport, &stage.alice, "acme", "offset=now").await;
            let access = reader.until("offset").await["access"].clone();
            stage.people.join("acme", "alice", Role::Viewer).await.expect("another role");
            if transport != crate::transports::Transport::Poll {
                assert_eq!(reader.until("reset").await["code"], "ACCESS_CHANGED", "{transport:?}");
            }
            // What a server remembers of people is at most a second old.
            let viewer = |answer: &Response| answer.json().expect("JSON")["access"] != access;
            stage.until(&stage.alice, "/v1/orgs/acme/live", viewer).await;
            let mut reader = Reader::open(&stage, transport, &stage.alice, "acme", "offset=now").await;
            reader.until("offset").await;
            stage.people.leave("acme", "alice").await.expect("gone");
            while let Some((kind, body)) = reader.next().await {
                assert!(kind != "change", "{transport:?}: {body}");
                if kind == "notice" {
                    assert_eq!(body["reason"], "access_revoked", "{transport:?}");
                }
            }
            stage.people.join("acme", "alice", Role::Owner).await.expect("back");
            stage.until(&stage.alice, "/v1/orgs/acme/live", |answer| answer.status == 200).await;
        }
    })
    .await;
}
