//! Claims about the encoding: the protocol's table row by row, and that nothing breaks the JSON.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::TypeTable;

fn built_in(oid: u32) -> Arc<Type> {
    TypeTable::new().resolve(oid).unwrap()
}

fn encode(ty: &Type, text: &str) -> (String, Encoded) {
    let mut out = String::new();
    let encoded = encode_text(ty, text.as_bytes(), &mut out);
    (out, encoded)
}

#[track_caller]
fn check(ty: &Type, text: &str, json: &str) {
    let (out, encoded) = encode(ty, text);
    assert_eq!(out, json, "{} {text}", ty.name);
    assert!(!encoded.malformed && !encoded.lossy, "{} {text} is flagged", ty.name);
}

#[track_caller]
fn check_refused(ty: &Type, text: &str) {
    let (out, encoded) = encode(ty, text);
    assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    assert!(encoded.malformed, "{} {text} is not flagged", ty.name);
}

fn pair() -> Type {
    let attributes = [("a".to_owned(), built_in(23)), ("b \"q\"".to_owned(), built_in(25))];
    Type { name: "pair".into(), kind: TypeKind::Composite(attributes.into()) }
}

#[test]
fn scalars_are_written_as_the_table_of_values_says() {
    for (oid, text, json) in [
        (16, "t", "true"),
        (16, "false", "false"),
        (21, "-32768", "-32768"),
        (23, "0", "0"),
        (20, "9223372036854775807", r#""9223372036854775807""#),
        (700, "1e-05", "1e-05"),
        (701, "-0", "-0"),
        (701, "0.1", "0.1"),
        (701, "1e+20", "1e+20"),
        (701, "NaN", r#""NaN""#),
        (701, "-Infinity", r#""-Infinity""#),
        (1700, "1.10", r#""1.10""#),
        (1700, "NaN", r#""NaN""#),
        (790, "$1,000.00", r#""$1,000.00""#),
        (25, "a\"b\\c\n\u{1}é", r#""a\"b\\c\n\u0001é""#),
        (25, "", r#""""#),
        (1186, "P1DT2H", r#""P1DT2H""#),
        (1082, "0044-03-15 BC", r#""0044-03-15 BC""#),
        (3904, "[1,4)", r#""[1,4)""#),
        (17, "\\x", r#""""#),
        (17, "\\x00", r#""AA==""#),
        (17, "\\x00ff", r#""AP8=""#),
        (17, "\\xDEADBE", r#""3q2+""#),
        (114, " {\"a\" :1} ", " {\"a\" :1} "),
        (3802, r#"{"a": [1, 2.5e3, "\u00e9\"", null]}"#, r#"{"a": [1, 2.5e3, "\u00e9\"", null]}"#),
    ] {
        check(&built_in(oid), text, json);
    }
}

#[test]
fn times_with_zone_are_utc_with_six_digits_and_others_stay() {
    let ty = built_in(1184);
    for (text, json) in [
        ("2024-01-01 12:00:00+00", "2024-01-01T12:00:00.000000Z"),
        ("2024-01-01 12:00:00.5+00", "2024-01-01T12:00:00.500000Z"),
        ("2024-01-01 02:00:00.123456+05:30", "2023-12-31T20:30:00.123456Z"),
        ("2024-02-28 23:00:00-01", "2024-02-29T00:00:00.000000Z"),
        ("1890-01-01 00:00:00+00:19:32", "1889-12-31T23:40:28.000000Z"),
        ("0001-01-01 00:00:00+00", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31 23:59:59.999999+00", "9999-12-31T23:59:59.999999Z"),
        ("9999-12-31 23:59:59-01", "9999-12-31 23:59:59-01"),
        ("10000-01-01 00:00:00+00", "10000-01-01 00:00:00+00"),
        ("0044-03-15 12:00:00+00 BC", "0044-03-15 12:00:00+00 BC"),
        ("infinity", "infinity"),
        ("-infinity", "-infinity"),
    ] {
        check(&ty, text, &format!("\"{json}\""));
    }
}

#[test]
fn arrays_nest_and_lose_only_their_lower_bounds() {
    for (oid, text, json) in [
        (1007, "{}", "[]"),
        (1007, "{1,NULL,-3}", "[1,null,-3]"),
        (1007, "{{1,2},{3,4}}", "[[1,2],[3,4]]"),
        (1007, "[0:1]={7,8}", "[7,8]"),
        (1007, "[-1:0][2:3]={{1,2},{3,4}}", "[[1,2],[3,4]]"),
        (1009, r#"{a,"b c","","NULL","q\"\\"}"#, r#"["a","b c","","NULL","q\"\\"]"#),
        (1016, "{9007199254740993}", r#"["9007199254740993"]"#),
        (1022, "{1.5,NaN}", r#"[1.5,"NaN"]"#),
        (1000, "{t,f}", "[true,false]"),
        (1020, "{(1,1),(0,0);(2,2),(1,1)}", r#"["(1,1),(0,0)","(2,2),(1,1)"]"#),
        (1185, r#"{"2024-01-01 00:00:00+00"}"#, r#"["2024-01-01T00:00:00.000000Z"]"#),
        (3807, r#"{"{\"a\": null}",NULL}"#, r#"[{"a": null},null]"#),
        (1001, r#"{"\\x00ff"}"#, r#"["AP8="]"#),
    ] {
        check(&built_in(oid), text, json);
    }
}

#[test]
fn composites_are_objects_and_nest_in_arrays() {
    let pair = pair();
    for (text, json) in [
        ("(1,x)", r#"{"a":1,"b \"q\"":"x"}"#),
        ("(,)", r#"{"a":null,"b \"q\"":null}"#),
        (r#"(1,"a, ""b"" \\ ")"#, r#"{"a":1,"b \"q\"":"a, \"b\" \\ "}"#),
        (r#"(1,"")"#, r#"{"a":1,"b \"q\"":""}"#),
    ] {
        check(&pair, text, json);
    }
    let pairs = Type { name: "pair[]".into(), kind: TypeKind::Array(Arc::new(pair), b',') };
    check(&pairs, r#"{"(1,\"x y\")",NULL}"#, r#"[{"a":1,"b \"q\"":"x y"},null]"#);
    let holder = Type { name: "holder".into(), kind: TypeKind::Composite([("ps".to_owned(), Arc::new(pairs))].into()) };
    check(&holder, r#"("{""(1,x)""}")"#, r#"{"ps":[{"a":1,"b \"q\"":"x"}]}"#);
}

#[test]
fn text_that_does_not_fit_becomes_a_flagged_string_se_38() {
    for (oid, text) in [
        (16, "yes"),
        (23, "1e3"),
        (23, "007"),
        (23, "-"),
        (701, "1."),
        (701, ".5"),
        (701, "inf"),
        (17, "\\x0"),
        (17, "\\xzz"),
        (17, "abc"),
        (114, ""),
        (114, "{\"a\":1,}"),
        (114, "[1 2]"),
        (114, "nul"),
        (114, "{\"a\" 1}"),
        (3802, "[1]]"),
        (3802, "\"\u{1}\""),
        (1184, "yesterday"),
        (1184, "2024-13-01 00:00:00+00!"),
        (1007, "{1"),
        (1007, "{1}}"),
        (1007, "{1,}"),
        (1007, "[0:1]{1}"),
        (1009, "{\"a}"),
        (1009, "{a{b}"),
    ] {
        check_refused(&built_in(oid), text);
    }
    for text in ["", "(1)", "(1,2,3)", "(1,2", "(1,2)x", "1,2"] {
        check_refused(&pair(), text);
    }
}

#[test]
fn json_null_is_told_from_sql_null() {
    let jsonb = built_in(3802);
    assert!(encode(&jsonb, "null").1.json_null);
    assert!(encode(&built_in(114), " null\n").1.json_null);
    assert!(!encode(&jsonb, "\"null\"").1.json_null);
    let mut out = String::new();
    assert_eq!(encode_cell(&jsonb, Cell::Null, &mut out), Encoded::default());
    assert_eq!(out, "null");
}

#[test]
fn bytes_that_are_not_utf_8_are_replaced_and_flagged() {
    let mut out = String::new();
    let encoded = encode_text(&built_in(25), b"a\xffb", &mut out);
    assert_eq!((out.as_str(), encoded.lossy, encoded.malformed), ("\"a\u{FFFD}b\"", true, false));
    out.clear();
    assert!(encode_text(&built_in(114), b"\"\xff\"", &mut out).malformed);
    assert!(serde_json::from_str::<String>(&out).is_ok());
}

#[test]
fn binary_cells_are_base64_for_bytea_and_flagged_for_others() {
    let mut out = String::new();
    assert_eq!(encode_binary(&built_in(17), &[0, 255], &mut out), Encoded::default());
    assert!(encode_binary(&built_in(23), &[0, 255], &mut out).malformed);
    assert_eq!(out, r#""AP8=""\\x00ff""#);
}

#[test]
fn nesting_is_bounded_se_38() {
    let deep = format!("{}1{}", "{".repeat(100_000), "}".repeat(100_000));
    check_refused(&built_in(1007), &deep);
    let document = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    check(&built_in(114), &document, &document);
}

fn any_type() -> impl Strategy<Value = Arc<Type>> {
    let oids: Vec<u32> = TypeTable::built_in_oids().collect();
    let leaf = prop::sample::select(oids).prop_map(built_in);
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), prop_oneof![Just(b','), Just(b';')])
                .prop_map(|(ty, by)| Arc::new(Type { name: "a[]".into(), kind: TypeKind::Array(ty, by) })),
            prop::collection::vec(inner, 0..3).prop_map(|types| {
                let attributes = types.into_iter().enumerate().map(|(index, ty)| (format!("f{index}"), ty));
                Arc::new(Type { name: "c".into(), kind: TypeKind::Composite(attributes.collect()) })
            }),
        ]
    })
}

/// Bytes in which the marks of every grammar are frequent.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let mark = prop::sample::select(b"{}[](),;\"\\:=-+.eEtfnullNULL0123456789 x\n\x00\x7f\xff\xc3\xa9".to_vec());
    prop_oneof![prop::collection::vec(mark, 0..40), prop::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn prop_any_text_of_any_type_is_one_json_value(ty in any_type(), text in any_text()) {
        let mut out = String::from("kept");
        encode_text(&ty, &text, &mut out);
        prop_assert!(out.starts_with("kept"));
        let value = serde_json::from_str::<&serde_json::value::RawValue>(&out[4..]);
        prop_assert!(value.is_ok(), "{:?} of {:?}: {}", value, ty.kind, out);
    }

    #[test]
    fn prop_documents_are_recognised_as_serde_does(text in "[\\[\\]{}\",:0-9a-z.eE+\\- \\\\\n]{0,16}") {
        let known = serde_json::from_str::<&serde_json::value::RawValue>(text.trim_ascii()).is_ok();
        prop_assert_eq!(document::is_json(text.as_bytes()), known, "{}", text);
    }

    #[test]
    fn prop_text_survives(text in any::<String>()) {
        let (out, _) = encode(&built_in(25), &text);
        prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }

    #[test]
    fn prop_text_arrays_survive(items in prop::collection::vec(prop::option::of(any::<String>()), 0..5)) {
        let quote = |item: &String| format!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\""));
        let parts: Vec<String> = items.iter().map(|item| item.as_ref().map_or("NULL".into(), quote)).collect();
        let (out, encoded) = encode(&built_in(1009), &format!("{{{}}}", parts.join(",")));
        prop_assert!(!encoded.malformed);
        prop_assert_eq!(serde_json::from_str::<Vec<Option<String>>>(&out).unwrap(), items);
    }
}
