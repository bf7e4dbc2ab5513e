//! Lists and single entities, and that they say what the stream says.

use antiphon_testkit::{for_each_postgres, get};
use serde_json::{Value, json};

use crate::stage::{Stage, next};

#[tokio::test]
async fn pages_follow_one_another_in_order_and_filters_hold() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage.run("insert into notes (id, org, title, rank) select n::text, 'acme', 't' || n, nullif(n % 4, 0) from generate_series(1, 9) n").await;
        stage.run("insert into notes (id, org, title) values ('x', 'globex', 'theirs')").await;
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = stage.json(&format!("/v1/orgs/acme/entities/note?limit=2&order=-rank&after={after}")).await;
            seen.extend(page["items"].as_array().expect("items").iter().map(|item| item["data"]["rank"].clone()));
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(seen, [json!(3), json!(3), json!(2), json!(2), json!(1), json!(1), json!(1), json!(null), json!(null)]);
        let some = stage.json("/v1/orgs/acme/entities/note?where[rank][gte]=2&where[title]=t2").await;
        assert_eq!(some["items"].as_array().map(Vec::len), Some(1));
        let none = stage.json("/v1/orgs/acme/entities/note?where[rank][is]=null").await;
        assert_eq!(none["items"].as_array().map(Vec::len), Some(2));
        let ids = stage.json("/v1/orgs/acme/entities/note?ids=3,1,x").await;
        assert_eq!(ids["items"].as_array().map(Vec::len), Some(2), "another organisation's row is not there");
    })
    .await;
}

#[tokio::test]
async fn list_entity_and_stream_say_the_same_of_the_same_row() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=-1", None).await;
        stage
            .run(
                "insert into notes values ('a b/c', 'acme', E'q\"uote\\n', 7, 'hush', 'b', E'{\"a\": 1,\\n \"a\": 2}',
                 '0044-03-15 12:00:00+00 BC', 'NaN', true, '{x,NULL,\"y,z\"}', '1 day 2 hours', 'ab', '10.0.0.1')",
            )
            .await;
        let (_, change) = next(&mut stream, "change").await;
        let list = stage.get("/v1/orgs/acme/entities/note").await.text();
        let one = stage.json("/v1/orgs/acme/entities/note/a%20b%2Fc").await;
        assert_eq!(change["data"], one["data"]);
        assert_eq!(change["entityId"], "a b/c");
        assert!(list.contains("\"doc\":{\"a\": 1,\n \"a\": 2}"), "json is kept byte for byte: {list}");
        let data = &one["data"];
        assert_eq!((&data["tags"], &data["span"]), (&json!(["x", null, "y,z"]), &json!("P1DT2H")));
        assert_eq!(
            (&data["amount"], &data["fixed"], &data["net"]),
            (&json!("NaN"), &json!("ab   "), &json!("10.0.0.1"))
        );
        assert!(data.get("secret").is_none() && !change.to_string().contains("hush") && !list.contains("hush"));
        let schema = stage.get("/v1/orgs/acme/schema").await;
        assert!(!schema.text().contains("secret"));
        let tag = schema.header("etag").expect("an ETag").to_owned();
        let again = get(&stage.url("/v1/orgs/acme/schema"), Some(&stage.alice), &[("If-None-Match", &tag)]).await;
        assert_eq!(again.expect("an answer").status, 304);
    })
    .await;
}

#[tokio::test]
async fn a_large_value_is_omitted_everywhere_and_fetched_apart_sy_12() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=-1", None).await;
        stage.run("insert into notes (id, org, body) values ('1', 'acme', repeat('x', 300000))").await;
        let (_, change) = next(&mut stream, "change").await;
        let one = stage.json("/v1/orgs/acme/entities/note/1").await;
        let field = stage.json("/v1/orgs/acme/entities/note/1/fields/body").await;
        for omitted in [&change["omitted"]["body"], &one["omitted"]["body"]] {
            assert_eq!((&omitted["bytes"], &omitted["checksum"]), (&field["bytes"], &field["checksum"]), "{omitted}");
        }
        assert!(one["data"].get("body").is_none() && change["data"].get("body").is_none());
        assert_eq!(field["value"].as_str().map(str::len), Some(300_000));
        assert!(change["changedKeys"].as_array().is_some_and(|keys| keys.contains(&json!("body"))));
    })
    .await;
}

#[tokio::test]
async fn list_plus_stream_misses_nothing_and_never_goes_back_str_02() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        // One transaction begins first and commits last: its number lies below those that lists see.
        let mut late = stage.db.connect().await;
        let late = late.transaction().await.expect("a transaction");
        late.batch_execute("insert into notes (id, org, rank) values ('late', 'acme', 1)").await.expect("inserted");
        stage.run("insert into notes (id, org, rank) select 'n' || n, 'acme', 0 from generate_series(1, 50) n").await;
        let mut lists = Vec::new();
        for round in 1..=20 {
            stage.run(&format!("update notes set rank = {round} where id like 'n%'")).await;
            lists.push(stage.json("/v1/orgs/acme/entities/note?limit=1000").await);
        }
        late.commit().await.expect("committed");
        stage.run("insert into notes (id, org, rank) values ('end', 'acme', 0)").await;
        for list in lists {
            let visibility: antiphon_model::Visibility =
                list["snapshot"].as_str().expect("text").parse().expect("a snapshot");
            let mut rows = std::collections::BTreeMap::new();
            for item in list["items"].as_array().expect("items") {
                rows.insert(item["data"]["id"].clone().to_string(), item["data"]["rank"].as_i64().expect("a rank"));
            }
            let mut stream = stage.stream(&format!("offset={}&epoch=1", list["offset"]), None).await;
            loop {
                let (_, change) = next(&mut stream, "change").await;
                let xid: u64 = change["commit"]["xid"].as_str().expect("text").parse().expect("a number");
                if visibility.sees(antiphon_model::Xid::new(xid)) {
                    continue;
                }
                let (id, rank) = (change["entityId"].to_string(), change["data"]["rank"].as_i64().expect("a rank"));
                let before: Value = rows.insert(id.clone(), rank).into();
                assert!(before.as_i64().is_none_or(|before| before < rank), "{id} went back from {before} to {rank}");
                if change["entityId"] == "end" {
                    break;
                }
            }
            assert_eq!(rows.len(), 52);
            assert!(rows.iter().all(|(id, rank)| !id.starts_with("\"n") || *rank == 20), "{rows:?}");
        }
    })
    .await;
}
