//! What a stream delivers and how: pages, filters, positions, heartbeats.

use antiphon_testkit::{Event, Sse, for_each_postgres, get};
use serde_json::Value;

use crate::stage::{SOON, Stage, next};

async fn event(stream: &mut Sse) -> Event {
    stream.next(SOON).await.expect("an event").expect("an open stream")
}

fn ids(page: &Value) -> Vec<String> {
    let activities = page["activities"].as_array().expect("activities");
    activities.iter().map(|activity| activity["entityId"].as_str().unwrap_or("-").to_owned()).collect()
}

#[tokio::test]
async fn a_catch_up_over_many_pages_goes_on_live_in_every_form_without_gap_or_double_str_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        // One transaction longer than several reads of the log, then small ones.
        stage.run("insert into notes (id, org, rank) select n::text, 'acme', n from generate_series(1, 450) n").await;
        for n in 451..=460 {
            stage.run(&format!("insert into notes (id, org, rank) values ('{n}', 'acme', {n})")).await;
        }
        let mut stream = stage.stream("offset=-1", None).await;
        let mut last = 0;
        for n in 1..=470 {
            if n > 460 {
                stage.run(&format!("insert into notes (id, org, rank) values ('{n}', 'acme', {n})")).await;
            }
            let (id, change) = next(&mut stream, "change").await;
            assert_eq!(change["entityId"], n.to_string());
            assert_eq!(id, Some(change["activityId"].to_string()));
            let number = change["activityId"].as_u64().expect("a number");
            assert!(number > last, "ids rise");
            last = number;
        }
        for limit in [1, 7, 1000] {
            let (mut offset, mut seen) = (Value::from(-1), Vec::new());
            loop {
                let page = stage.json(&format!("/v1/orgs/acme/live?offset={offset}&limit={limit}")).await;
                let found = ids(&page);
                assert!(found.len() <= limit);
                let done = page["upToDate"] == true;
                assert!(done || !found.is_empty(), "a page brought nothing and says that there is more: {page}");
                seen.extend(found);
                offset = page["offset"].clone();
                if done {
                    break;
                }
            }
            assert!(
                seen.iter().map(String::as_str).eq((1..=470).map(|n| n.to_string()).collect::<Vec<_>>().iter()),
                "limit {limit}: {seen:?}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn after_the_catch_up_comes_an_offset_at_once_though_others_came_before_str_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.run("insert into tasks (list, n, org) values ('a', 1, 'acme')").await;
        stage.run("insert into notes (id, org) values ('1', 'acme')").await;
        stage.until(&stage.alice, "/v1/orgs/acme/live?offset=-1", |answer| answer.text().contains("\"note\"")).await;
        let mut stream = stage.stream("offset=-1&entityTypes=note", None).await;
        let first = event(&mut stream).await;
        assert_eq!(first.event, "offset", "the filtered transaction is told as an offset");
        assert_eq!(event(&mut stream).await.event, "change");
        let asked = tokio::time::Instant::now();
        let (id, offset) = next(&mut stream, "offset").await;
        // Far below the fifteen seconds at which an idle stream repeats its offset.
        assert!(asked.elapsed().as_secs() < 8, "the reader was told only by the heartbeat that it is up to date");
        assert_eq!(id, Some(offset["offset"].to_string()));
        assert!(offset["offset"].as_u64() > first.id.and_then(|id| id.parse().ok()));
        assert!(offset["asOf"].is_string(), "{offset}");
    })
    .await;
}

#[tokio::test]
async fn only_the_types_asked_for_come_and_the_others_move_the_offset_str_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=-1&entityTypes=task", None).await;
        stage.run("begin; insert into tasks values ('a', 1, 'acme'); insert into notes (id, org) values ('1', 'acme'); commit").await;
        stage.run("insert into notes (id, org) values ('2', 'acme')").await;
        stage.run("insert into tasks values ('a \"b\"', 2, 'acme')").await;
        let mut changes = Vec::new();
        let mut last: Option<u64> = None;
        while changes.len() < 2 {
            let event = event(&mut stream).await;
            let id = event.id.and_then(|id| id.parse().ok()).expect("every event names its position");
            assert!(last.is_none_or(|last| last <= id), "positions never go back");
            last = Some(id);
            if event.event == "change" {
                let change: Value = serde_json::from_str(&event.data).expect("JSON");
                assert_eq!(change["entityType"], "task");
                changes.push((change["entityId"].as_str().expect("an id").to_owned(), change["commit"]["last"].clone()));
            }
        }
        assert_eq!(changes, [(r#"["a","1"]"#.to_owned(), false.into()), (r#"["a \"b\"","2"]"#.to_owned(), true.into())]);
        let both = stage.json("/v1/orgs/acme/live?offset=-1&entityTypes=task,note").await;
        assert_eq!(ids(&both).len(), 4);
        let poll = stage.json("/v1/orgs/acme/live?offset=-1&entityTypes=kind&live=poll&timeout=1").await;
        assert_eq!((ids(&poll).len(), &poll["offset"]), (0, &both["offset"]), "what is filtered out moves the offset");
        let one = stage.json(&format!("/v1/orgs/acme/entities/task/{}", "%5B%22a%20%5C%22b%5C%22%22,%222%22%5D")).await;
        assert_eq!(one["data"]["n"], 2);
        let two = stage.json("/v1/orgs/acme/entities/task?ids=%5B%22a%22,%221%22%5D,%5B%22a%20%5C%22b%5C%22%22,%222%22%5D").await;
        assert_eq!(two["items"].as_array().map(Vec::len), Some(2));
    })
    .await;
}

#[tokio::test]
async fn an_idle_stream_says_that_it_lives_str_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=now", None).await;
        let (_, first) = next(&mut stream, "offset").await;
        let (_, second) = next(&mut stream, "offset").await;
        assert!(second["asOf"].as_str() >= first["asOf"].as_str(), "{first} {second}");
        assert!(stream.comments() > 0, "a comment comes along at least as often as an offset");
    })
    .await;
}

#[tokio::test]
async fn now_is_the_head_and_the_default_and_brings_nothing_old() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.run("insert into notes (id, org) values ('old', 'acme')").await;
        let old =
            stage.until(&stage.alice, "/v1/orgs/acme/live?offset=-1", |answer| answer.text().contains("old")).await;
        let head = old.json().expect("JSON")["offset"].clone();
        for path in ["/v1/orgs/acme/live", "/v1/orgs/acme/live?offset=now"] {
            let page = stage.json(path).await;
            assert_eq!((ids(&page).len(), &page["upToDate"]), (0, &true.into()), "{path}");
            assert!(page["offset"].as_u64() >= head.as_u64(), "{path}: {page}");
        }
        // `Last-Event-ID` stands in for the offset, also where one is given.
        let url = stage.url("/v1/orgs/acme/live?offset=now");
        let last = [("Last-Event-ID", "-1")];
        let page = get(&url, Some(&stage.alice), &last).await.expect("an answer").json().expect("JSON");
        assert_eq!(ids(&page), ["old"]);
    })
    .await;
}

#[tokio::test]
async fn deletes_carry_no_row_and_updates_name_their_fields_and_hidden_ones_never_sec_03() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=-1", None).await;
        stage.run("insert into notes (id, org, title, body) values ('1', 'acme', 'a', repeat('y', 100000))").await;
        stage.run("alter table notes alter body set storage external").await;
        stage.run("insert into notes (id, org, title, body) values ('2', 'acme', 'a', repeat('y', 100000))").await;
        stage.run("update notes set title = 'b' where id = '2'").await;
        stage.run("update notes set secret = 'psst' where id = '1'").await;
        stage.run("delete from notes where id = '2'").await;
        let mut seen = Vec::new();
        loop {
            let event = event(&mut stream).await;
            assert!(!event.data.contains("secret") && !event.data.contains("hush") && !event.data.contains("psst"));
            if event.event != "change" {
                continue;
            }
            let change: Value = serde_json::from_str(&event.data).expect("JSON");
            let end = change["action"] == "delete";
            seen.push(change);
            if end {
                break;
            }
        }
        let update = seen.iter().find(|change| change["entityId"] == "2" && change["action"] == "update").expect("one");
        assert_eq!(update["unchanged"], serde_json::json!(["body"]), "{update}");
        assert!(update["data"].get("body").is_none() && update["data"]["title"] == "b", "{update}");
        let delete = seen.last().expect("one");
        assert_eq!((&delete["data"], &delete["entityId"]), (&Value::Null, &"2".into()));
        for change in &seen {
            assert_eq!((&change["tx"]["sourceId"], &change["tx"]["actor"]), (&"sql".into(), &Value::Null), "{change}");
            assert!(change["createdAt"].as_str().is_some_and(|at| at.ends_with('Z')), "{change}");
            assert!(change["commit"]["lsn"].as_str().is_some_and(|lsn| lsn.contains('/')), "{change}");
        }
    })
    .await;
}
