//! Subsets of a type: the database and the device decide alike which rows are of one, and in which order (CORE-12).
//!
//! A device applies changes of the stream to subsets that lists have brought. Where it compared otherwise than Postgres,
//! a row would enter or leave wrongly, and nobody would say so.

use std::collections::BTreeMap;

use antiphon_model::{Columns, Condition, EntityType, Role, Rule, Sync};
use antiphon_sync::client::{Filter, Level, Object, Subset, Test, words::TypeShape};
use antiphon_testkit::{Pg, for_each_postgres};
use serde_json::{Value, json};

use crate::stage::{Setup, Stage, entity};

const TABLES: &str = "
create type size as enum ('small', 'large', 'huge');
create table cards (id text primary key, org text not null, flag bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8,
  num numeric, title text, word varchar(20), label name, wide size, u uuid, day date, stamp timestamp, at timestamptz,
  fixed char(4), net inet);
create unique index cards_identity on cards (id, org);
alter table cards replica identity using index cards_identity;";

const ROWS: &str = "
insert into cards values
  ('1', 'acme', true, -3, 10, 9007199254740993, 0.1, 1e20, 'NaN', 'a', 'A', 'z', 'large',
   'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'infinity', '2026-01-31 12:00', '2026-01-31 12:00+00', 'x', '10.0.0.1'),
  ('2', 'acme', false, 0, 9, 10, 'NaN', '-Infinity', 1.00, 'A', 'b', 'Z', 'small',
   '00000000-0000-0000-0000-000000000000', '0044-03-15 BC', '2026-01-31 12:00:00.5', '2026-01-31 12:00:00.5+02', 'y', '10.0.0.2'),
  ('3', 'acme', null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null),
  ('4', 'acme', true, 3, -10, -9007199254740993, -0.0, 0, 1, 'ä', '', 'z', 'huge',
   'ffffffff-ffff-ffff-ffff-ffffffffffff', '2026-01-31', '-infinity', '0001-01-01 00:00:00+00', 'x', '10.0.0.1'),
  ('5', 'acme', false, 100, 100, 100, 1e-3, 1.5, -99999999999999999999.5, ' a', 'B', 'é', 'small',
   'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12', '10000-01-01', '10000-01-01 00:00', 'infinity', 'z', '10.0.0.10'),
  ('6', 'acme', true, 3, 10, 11, 0, 1.25, 99999999999999999999.25, 'a', 'A', '', 'large', null, '-infinity',
   '2026-01-31 12:00:00.25', '1999-12-31 23:59:59.999999+00', 'xx', '::1')";

/// Columns that a device compares; the value of the others is not known to it.
const COMPARED: &[&str] =
    &["flag", "i2", "i4", "i8", "f4", "f8", "num", "title", "word", "label", "u", "day", "stamp", "at"];

fn card() -> EntityType {
    let filter = COMPARED.iter().chain(&["wide", "fixed", "net"]).map(|field| (*field).to_owned()).collect();
    EntityType { sync: Sync::OnDemand, filter, ..entity(&("card", "cards", &["id"])) }
}

async fn stage(pg: &Pg) -> Stage {
    let stage = Stage::open_with(pg, Setup { tables: TABLES, types: vec![card()], ..Setup::default() }).await;
    stage.run(ROWS).await;
    stage
}

/// What a device knows: the type as the schema describes it, and every row.
async fn known(stage: &Stage) -> (TypeShape, BTreeMap<String, Object>) {
    let schema = stage.json("/v1/orgs/acme/schema").await;
    assert_eq!(schema["types"]["card"]["sync"], "on_demand");
    let shape: TypeShape = serde_json::from_value(schema["types"]["card"].clone()).expect("a shape");
    let list = stage.json("/v1/orgs/acme/entities/card").await;
    let items = list["items"].as_array().expect("items");
    let rows = items.iter().filter_map(|item| item["data"].as_object().cloned().map(Object::from));
    (shape.clone(), rows.map(|row| (shape.id_of(&row).expect("an id"), row)).collect())
}

/// Reads a subset as a device does, in small pages.
async fn read(stage: &Stage, subset: &Subset) -> Vec<String> {
    let mut query = url::Query::default();
    for (name, value) in subset.parameters() {
        query.push(&name, &value);
    }
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let page = stage.json(&format!("/v1/orgs/acme/entities/card?limit=2{}{after}", query.text)).await;
        assert!(page["items"].is_array(), "{subset:?}: {page}");
        let items = page["items"].as_array().into_iter().flatten();
        ids.extend(items.filter_map(|item| item["data"]["id"].as_str().map(str::to_owned)));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return ids,
        }
    }
}

mod url {
    //! Names and values as a query holds them.

    #[derive(Default)]
    pub struct Query {
        pub text: String,
    }

    impl Query {
        pub fn push(&mut self, name: &str, value: &str) {
            let encoded = |text: &str| {
                let byte = |byte: u8| match byte.is_ascii_alphanumeric() {
                    true => char::from(byte).to_string(),
                    false => format!("%{byte:02X}"),
                };
                text.bytes().map(byte).collect::<String>()
            };
            self.text.push_str(&format!("&{}={}", encoded(name), encoded(value)));
        }
    }
}

/// The rows that a device would find.
fn found(shape: &TypeShape, rows: &BTreeMap<String, Object>, subset: &Subset) -> Vec<String> {
    let matching = rows.iter().filter(|(_, row)| subset.matches(shape, row));
    let mut places: Vec<_> = matching.map(|(id, row)| (subset.place(id, row), id)).collect();
    places.sort_by(|(one, _), (other, _)| subset.order(shape, one, other));
    places.into_iter().map(|(_, id)| id.clone()).collect()
}

fn subset(filters: Vec<Filter>, order: Vec<Level>) -> Subset {
    Subset { entity_type: "card".into(), filters, order, window_rows: None }
}

#[tokio::test]
async fn a_filter_finds_the_same_rows_in_the_database_and_on_the_device_core_12() {
    for_each_postgres(|pg| async move {
        let stage = stage(&pg).await;
        let (shape, rows) = known(&stage).await;
        let mut compared = 0;
        for field in COMPARED {
            let mut values: Vec<Option<String>> = rows.values().map(|row| text(&row[field].clone().into())).collect();
            values.sort();
            values.dedup();
            for value in values {
                let tests: &[Test] = match value {
                    Some(_) => &[Test::Eq, Test::Gt, Test::Gte, Test::Lt, Test::Lte],
                    None => &[Test::Eq],
                };
                for test in tests {
                    let filter = Filter { field: (*field).into(), test: *test, value: value.clone() };
                    let subset = subset(vec![filter], Vec::new());
                    assert_eq!(subset.incomparable(&shape), None, "{subset:?}");
                    assert_eq!(read(&stage, &subset).await, found(&shape, &rows, &subset), "{subset:?}");
                    compared += 1;
                }
            }
        }
        assert!(compared > 200, "{compared}");
    })
    .await;
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[tokio::test]
async fn an_order_is_the_same_in_the_database_and_on_the_device_core_12() {
    for_each_postgres(|pg| async move {
        let stage = stage(&pg).await;
        let (shape, rows) = known(&stage).await;
        for field in COMPARED {
            for descending in [false, true] {
                let levels = vec![Level { field: (*field).into(), descending }];
                let subset = subset(Vec::new(), levels);
                assert_eq!(subset.incomparable(&shape), None, "{subset:?}");
                assert_eq!(read(&stage, &subset).await, found(&shape, &rows, &subset), "{subset:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn labels_are_compared_by_name_and_other_types_are_refused_by_the_device_core_12() {
    for_each_postgres(|pg| async move {
        let stage = stage(&pg).await;
        let (shape, rows) = known(&stage).await;
        let filter = |field: &str, test, value: &str| {
            subset(vec![Filter { field: field.into(), test, value: Some(value.into()) }], Vec::new())
        };
        let large = filter("wide", Test::Eq, "large");
        assert_eq!((large.incomparable(&shape), found(&shape, &rows, &large)), (None, read(&stage, &large).await));
        for refused in [
            filter("wide", Test::Gt, "small"),
            filter("fixed", Test::Eq, "x"),
            filter("net", Test::Eq, "10.0.0.1"),
            filter("at", Test::Eq, "yesterday"),
            filter("flag", Test::Eq, "yes"),
        ] {
            assert!(refused.incomparable(&shape).is_some(), "{refused:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn ids_and_a_filter_go_together_core_12() {
    for_each_postgres(|pg| async move {
        let stage = stage(&pg).await;
        let page = stage.json("/v1/orgs/acme/entities/card?ids=1,2,4&where[flag]=true").await;
        let ids: Vec<&Value> =
            page["items"].as_array().expect("items").iter().map(|item| &item["data"]["id"]).collect();
        assert_eq!(ids, ["1", "4"]);
    })
    .await;
}

#[tokio::test]
async fn a_field_that_is_hidden_in_some_rows_makes_no_subset_core_12_sec_01() {
    for_each_postgres(|pg| async move {
        let own = Rule {
            roles: vec![Role::Owner],
            when: Some(Condition::Owner { column: "word".into() }),
            read: Columns::All,
            ..Rule::default()
        };
        let all = Rule { read: Columns::of(["title", "flag"]), ..Rule::default() };
        let card = EntityType { rules: vec![own, all], ..card() };
        let stage = Stage::open_with(&pg, Setup { tables: TABLES, types: vec![card], ..Setup::default() }).await;
        stage.run(ROWS).await;
        for (query, status) in [
            ("where[title]=a", 200),
            ("order=title&where[flag]=true", 200),
            ("where[word]=A", 422),
            ("order=-word", 422),
            ("where[i4]=10&where[title]=a", 422),
        ] {
            let answer = stage.get(&format!("/v1/orgs/acme/entities/card?{query}")).await;
            assert_eq!(answer.status, status, "{query}: {}", answer.text());
            if status == 422 {
                let problem: Value = serde_json::from_str(&answer.text()).expect("JSON");
                assert_eq!(problem["code"], json!("FIELD_FORBIDDEN"), "the device tells it and does not ask again");
            }
        }
    })
    .await;
}
