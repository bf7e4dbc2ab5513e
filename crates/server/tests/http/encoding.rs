//! One encoding everywhere: list, single entity, field and stream give the same bytes for the same value (protocol 2).

use antiphon_testkit::for_each_postgres;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::stage::{SOON, Stage, next};

/// Values at the edges of every type; the column's name comes first.
const EDGES: &[(&str, &[&str])] = &[
    ("b", &["true", "false"]),
    ("i2", &["-32768", "32767"]),
    ("i4", &["-2147483648", "0"]),
    ("i8", &["9223372036854775807", "-9007199254740993"]),
    ("f4", &["'NaN'", "'-Infinity'", "0.1", "1e-40", "3.4028235e38", "16777217"]),
    ("f8", &["'NaN'", "'Infinity'", "0.1::float8 + 0.2::float8", "5e-324", "1.7976931348623157e308", "'-0'"]),
    ("num", &["'NaN'", "'Infinity'", "1.10", "123456789012345678901234567890123456789012.000000001"]),
    ("cash", &["'-1234567.89'"]),
    ("o", &["4294967295"]),
    ("x8", &["'18446744073709551615'"]),
    ("t", &["''", r#"E'\x01\t\r\n\\ \" \x7f \u2028 \U0001F600'"#, "'{\"a\":1}'"]),
    ("v", &["' blank '"]),
    ("c", &["'ab'"]),
    ("nm", &["'a name'"]),
    ("e", &["'ok'"]),
    ("u", &["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"]),
    ("x", &["'<a href=\"x\">&amp;</a>'"]),
    ("ip", &["'10.1.2.3/8'", "'::ffff:1.2.3.4'"]),
    ("net", &["'10.0.0.0/8'"]),
    ("mac", &["'08:00:2b:01:02:03'"]),
    ("bits", &["B'101'"]),
    ("vb", &["B'10101'"]),
    ("ts", &["'a:1A fat:2B,4C'"]),
    ("r", &["'[1,5]'", "'empty'"]),
    ("pt", &["'(1.5,-2e-10)'"]),
    ("j", &[r#"E'{"a" : 1,\n "a":[ ],"n":1.0e5}'"#, "'null'"]),
    ("jb", &[r#"'{"b": 1, "a": [1.10, null, "x"]}'"#, "'null'"]),
    ("by", &["''", r"'\x00ff80'"]),
    ("d", &["'infinity'", "'0044-03-15 BC'", "'2026-02-03'"]),
    ("tm", &["'24:00:00'", "'01:02:03.000004'"]),
    ("tz", &["'01:02:03.5+05:30'"]),
    ("stamp", &["'2026-02-03 04:05:06.7'", "'-infinity'", "'0001-01-01 BC'"]),
    ("stz", &["'2026-07-03 04:05:06.7+02'", "'infinity'", "'10000-01-01 00:00:00+00'", "'0001-01-01 00:00:00 BC'"]),
    ("iv", &["'1 year 2 mons -3 days 04:05:06.7'", "'0'"]),
    ("ia", &["'{{1,2},{3,NULL}}'", "'{}'", "'[2:3]={7,8}'"]),
    ("ta", &[r#"'{"a,b","NULL",NULL,"\"q\"","back\\slash",""}'"#]),
    ("ja", &[r#"array['{"a": [1, 2]}', 'null', null]::jsonb[]"#]),
    ("ba", &[r"array['\x00ff'::bytea, null]"]),
    ("za", &["array['2026-07-03 04:05:06.7+02'::timestamptz, 'infinity']"]),
    ("p", &["row(1, 'a \"b\", (c)')", "row(null, '')"]),
    ("pa", &["array[row(1, 'x,y')::pair, row(null, null)::pair, null]"]),
    ("dom", &["1.50"]),
    ("em", &["'{sad,ok}'"]),
];

/// Cuts the value of a member out of a JSON text, byte for byte.
fn member<'a>(text: &'a str, name: &str) -> &'a str {
    let marker = format!("\"{name}\":");
    let start = text.find(&marker).map(|at| at + marker.len()).unwrap_or_else(|| panic!("no {name} in {text}"));
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<IgnoredAny>();
    values.next().expect("a value").expect("JSON");
    &text[start..start + values.byte_offset()]
}

#[tokio::test]
async fn every_type_is_the_same_bytes_in_stream_list_entity_and_field_whatever_the_settings_wire_01() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=-1&entityTypes=kind", None).await;
        stage.run("insert into kinds (id, org) values ('nulls', 'acme')").await;
        let mut rows = vec![("nulls".to_owned(), String::new())];
        for (column, values) in EDGES {
            for (index, value) in values.iter().enumerate() {
                let id = format!("{column}{index}");
                let sql = format!("insert into kinds (id, org, {column}) values ('{id}', 'acme', {value})");
                // A server built without libxml has no values of this type.
                if let Err(error) = stage.client.batch_execute(&sql).await {
                    assert!(*column == "x" && format!("{error:?}").contains("libxml"), "{sql}: {error:?}");
                    continue;
                }
                rows.push((id, (*column).to_owned()));
            }
        }
        for (id, column) in &rows {
            let change = loop {
                let event = stream.next(SOON).await.expect("an event").expect("an open stream");
                if event.event == "change" {
                    break event.data;
                }
            };
            assert_eq!(member(&change, "entityId"), format!("\"{id}\""));
            let streamed = member(&change, "data");
            let one = stage.get(&format!("/v1/orgs/acme/entities/kind/{id}")).await.text();
            let list = stage.get(&format!("/v1/orgs/acme/entities/kind?ids={id}")).await.text();
            assert_eq!((member(&one, "data"), member(&list, "data")), (streamed, streamed), "{id}");
            if !column.is_empty() {
                let field = stage.get(&format!("/v1/orgs/acme/entities/kind/{id}/fields/{column}")).await.text();
                assert_eq!(member(&field, "value"), member(streamed, column), "{id}");
            }
            if *id == "j1" || *id == "jb1" {
                assert_eq!(
                    (member(&change, "jsonNulls"), member(&one, "jsonNulls")),
                    (&*format!("[\"{column}\"]"), &*format!("[\"{column}\"]"))
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn values_read_as_the_contract_says_and_no_large_number_is_rounded_wire_01_pg_80() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        stage
            .run(
                r"insert into kinds (id, org, i4, i8, f8, num, by, d, stz, iv, p, ia, stamp) values ('1', 'acme', 7,
                9007199254740993, 0.1, 123456789012345678901234567890123456789.10, '\x00ff', '2026-02-03', '2026-07-03 04:05:06.7+02', '1 day', row(1, 'b'),
                '{{1},{2}}', '2026-02-03 04:05:06')",
            )
            .await;
        let one = stage.json("/v1/orgs/acme/entities/kind/1").await;
        for (field, value) in [
            ("i4", json!(7)),
            ("i8", json!("9007199254740993")),
            ("f8", json!(0.1)),
            ("num", json!("123456789012345678901234567890123456789.10")),
            ("by", json!("AP8=")),
            ("d", json!("2026-02-03")),
            ("stz", json!("2026-07-03T02:05:06.700000Z")),
            ("iv", json!("P1D")),
            ("p", json!({"a": 1, "b": "b"})),
            ("ia", json!([[1], [2]])),
            ("t", Value::Null),
        ] {
            assert_eq!(one["data"][field], value, "{field}");
        }
        assert!(one["data"]["stamp"].as_str().is_some_and(|text| text.starts_with("2026-02-03")), "{one}");
    })
    .await;
}

#[tokio::test]
async fn a_carriage_return_inside_a_json_document_breaks_no_frame_sy_08() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=-1", None).await;
        stage.run(r#"insert into notes (id, org, doc) values ('1', 'acme', E'{"a":\r1,\r\n"b":\n2}')"#).await;
        stage.run("insert into notes (id, org) values ('2', 'acme')").await;
        let (_, change) = next(&mut stream, "change").await;
        assert_eq!((&change["entityId"], &change["data"]["doc"]), (&json!("1"), &json!({"a": 1, "b": 2})));
        assert_eq!(next(&mut stream, "change").await.1["entityId"], "2");
    })
    .await;
}

#[tokio::test]
async fn values_above_the_limit_agree_in_list_stream_and_field_sy_12_pg_83() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open(&pg).await;
        let mut stream = stage.stream("offset=-1", None).await;
        // The limit counts the encoded value: 262,142 letters and two quotes are not above it, one more is.
        stage.run("insert into notes (id, org, body) values ('at', 'acme', repeat('x', 262142))").await;
        stage.run("insert into notes (id, org, body) values ('above', 'acme', repeat('x', 262143))").await;
        stage.run("insert into notes (id, org, body) values ('quotes', 'acme', repeat('\"', 140000))").await;
        let list = stage.json("/v1/orgs/acme/entities/note?ids=at,above,quotes").await;
        for (id, omitted) in [("at", false), ("above", true), ("quotes", true)] {
            let (_, change) = next(&mut stream, "change").await;
            let item = list["items"].as_array().expect("items").iter().find(|item| item["data"]["id"] == id);
            let item = item.expect("the row");
            let field = stage.json(&format!("/v1/orgs/acme/entities/note/{id}/fields/body")).await;
            assert_eq!(change["entityId"], id);
            assert_eq!(item["data"].get("body").is_none(), omitted, "{id}");
            assert_eq!(change["data"].get("body").is_none(), omitted, "{id}");
            if omitted {
                let named = json!({"body": {"bytes": field["bytes"], "checksum": field["checksum"]}});
                assert_eq!((&item["omitted"], &change["omitted"]), (&named, &named), "{id}");
            }
        }
    })
    .await;
}
