//! Claims about writes: what each type takes and refuses, and that parsing undoes the encoding.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{TypeTable, encode_text};

fn built_in(oid: u32) -> Arc<Type> {
    TypeTable::new().resolve(oid).unwrap()
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

/// Both entries agree.
#[track_caller]
fn parse_both(ty: &Type, json: &str) -> Result<Option<String>, ValueError> {
    let result = parse_raw_value(ty, &raw(json), false);
    let value = parse_value(ty, &serde_json::from_str(json).unwrap(), false);
    assert_eq!(result, value, "{} {json}", ty.name);
    result
}

#[track_caller]
fn check(ty: &Type, json: &str, text: &str) {
    assert_eq!(parse_both(ty, json).as_ref().map(Option::as_deref), Ok(Some(text)), "{} {json}", ty.name);
}

#[track_caller]
fn check_refused(ty: &Type, json: &str, error: ValueError) {
    assert_eq!(parse_both(ty, json), Err(error), "{} {json}", ty.name);
}

fn array(element: Type) -> Type {
    Type { name: format!("{}[]", element.name), kind: TypeKind::Array(Arc::new(element), b',') }
}

fn mood() -> Type {
    Type { name: "mood".into(), kind: TypeKind::Enum(["sad".to_owned(), "so so".to_owned()].into()) }
}

fn pair() -> Type {
    let attributes = [("a".to_owned(), built_in(23)), ("b \"q\"".to_owned(), built_in(25))];
    Type { name: "pair".into(), kind: TypeKind::Composite(attributes.into()) }
}

#[test]
fn scalars_become_the_text_that_postgres_reads() {
    for (oid, json, text) in [
        (16, "true", "true"),
        (16, "false", "false"),
        (21, "-32768", "-32768"),
        (23, "2147483647", "2147483647"),
        (23, "3.0", "3"),
        (23, "-0", "0"),
        (20, r#""9223372036854775807""#, "9223372036854775807"),
        (20, "-9007199254740991", "-9007199254740991"),
        (20, "9007199254740991", "9007199254740991"),
        (26, "4294967295", "4294967295"),
        (5069, r#""18446744073709551615""#, "18446744073709551615"),
        (790, "-5", "-5"),
        (790, r#""$1,000.00""#, "$1,000.00"),
        (1700, "12.5", "12.5"),
        (1700, "9007199254740993", "9007199254740993"),
        (1700, r#""NaN""#, "NaN"),
        (700, "1", "1"),
        (701, "-0.5", "-0.5"),
        (701, r#""NaN""#, "NaN"),
        (701, r#""Infinity""#, "Infinity"),
        (701, r#""-Infinity""#, "-Infinity"),
        (25, r#""a\"b\\c\n\u0001é""#, "a\"b\\c\n\u{1}é"),
        (25, r#""""#, ""),
        (25, r#""null""#, "null"),
        (1082, r#""0044-03-15 BC""#, "0044-03-15 BC"),
        (1184, r#""2024-01-01T12:00:00.000000Z""#, "2024-01-01T12:00:00.000000Z"),
        (1186, r#""P1DT2H""#, "P1DT2H"),
        (17, r#""""#, "\\x"),
        (17, r#""AA==""#, "\\x00"),
        (17, r#""3q2+""#, "\\xdeadbe"),
        (114, r#"{"a":[1,null]}"#, r#"{"a":[1,null]}"#),
        (114, r#""\u0000""#, r#""\u0000""#),
        (3802, r#""a\\u0000""#, r#""a\\u0000""#),
        (3802, "true", "true"),
        (3802, "[]", "[]"),
    ] {
        check(&built_in(oid), json, text);
    }
    check(&mood(), r#""so so""#, "so so");
}

#[test]
fn what_a_type_does_not_take_is_refused_with_what_was_wanted() {
    let safe = (1 << 53) - 1;
    let (int2, int4) = (
        ValueError::Integer { min: -32_768, max: 32_767 },
        ValueError::Integer { min: -2_147_483_648, max: 2_147_483_647 },
    );
    let (int8, unsigned) =
        (ValueError::WideInteger { min: -safe, max: safe }, ValueError::WideInteger { min: 0, max: safe });
    for (oid, json, error) in [
        (16, "1", ValueError::Boolean),
        (16, r#""true""#, ValueError::Boolean),
        (21, "32768", int2.clone()),
        (21, r#""1""#, int2),
        (23, "2147483648", int4.clone()),
        (23, "1.5", int4.clone()),
        (23, "1e300", int4.clone()),
        (23, "true", int4),
        (20, "9007199254740992", int8.clone()),
        (20, "0.5", int8.clone()),
        (20, "[]", int8.clone()),
        (790, "0.5", int8),
        (26, "-1", unsigned.clone()),
        (5069, "-1", unsigned),
        (1700, "true", ValueError::Numeric),
        (701, r#""inf""#, ValueError::Float),
        (701, r#""1""#, ValueError::Float),
        (701, "{}", ValueError::Float),
        (25, "1", ValueError::Text),
        (25, "[]", ValueError::Text),
        (1082, "20240101", ValueError::Text),
        (1184, "1704067200", ValueError::Text),
        (25, r#""a\u0000""#, ValueError::ZeroCharacter),
        (3802, r#"{"\u0000":1}"#, ValueError::ZeroCharacter),
        (3802, r#""\\\u0000""#, ValueError::ZeroCharacter),
        (17, r#""AA""#, ValueError::Base64),
        (17, r#""A A=""#, ValueError::Base64),
        (17, r#""\\x00""#, ValueError::Base64),
        (17, "1", ValueError::Base64),
        (1007, "1", ValueError::Array),
        (1007, r#""{1}""#, ValueError::Array),
        (1007, "{}", ValueError::Array),
        (1009, "[1]", ValueError::Text),
        (1009, r#"["\u0000"]"#, ValueError::ZeroCharacter),
    ] {
        check_refused(&built_in(oid), json, error);
    }
    check_refused(&mood(), r#""happy""#, ValueError::Label);
    check_refused(&mood(), "1", ValueError::Text);
}

#[test]
fn an_error_never_repeats_the_value_se_38() {
    for oid in TypeTable::built_in_oids() {
        for json in [r#""secret\u0000""#, r#"{"secret":1}"#] {
            if let Err(error) = parse_both(&built_in(oid), json) {
                assert!(!format!("{error} {error:?}").contains("secret"));
            }
        }
    }
}

#[test]
fn null_is_sql_null_unless_a_document_is_meant() {
    for oid in TypeTable::built_in_oids() {
        let ty = built_in(oid);
        assert_eq!(parse_both(&ty, "null"), Ok(None));
        let document = matches!(ty.kind, TypeKind::Json | TypeKind::Jsonb).then(|| "null".to_owned());
        assert_eq!(parse_value(&ty, &json!(null), true), Ok(document.clone()));
        assert_eq!(parse_raw_value(&ty, &raw("null"), true), Ok(document));
    }
    assert_eq!(parse_value(&built_in(3802), &json!("null"), true), Ok(Some("\"null\"".into())));
}

#[test]
fn raw_values_keep_their_digits_and_documents() {
    for (oid, json) in [
        (1700, "1.10"),
        (1700, "0.12345678901234567890123456789"),
        (1700, "1e400"),
        (701, "1e-05"),
        (114, r#"{"b" : 1,  "a":1.10, "a":"\u00e9"}"#),
        (3802, "123456789012345678901234567890"),
    ] {
        assert_eq!(parse_raw_value(&built_in(oid), &raw(json), false), Ok(Some(json.to_owned())));
    }
    assert_eq!(parse_raw_value(&built_in(25), &raw(r#""\ud800""#), false), Err(ValueError::Text));
}

#[test]
fn arrays_are_quoted_where_postgres_quotes() {
    for (oid, json, text) in [
        (1007, "[]", "{}"),
        (1007, "[1, null, -3]", "{1,NULL,-3}"),
        (1007, "[[1,2],[3,null]]", "{{1,2},{3,NULL}}"),
        (
            1009,
            r#"["a","b c","","NULL","q\"\\",null,"{","a,b","\u000b"]"#,
            "{a,\"b c\",\"\",\"NULL\",\"q\\\"\\\\\",NULL,\"{\",\"a,b\",\"\u{B}\"}",
        ),
        (1016, r#"["9007199254740993",1]"#, "{9007199254740993,1}"),
        (1022, r#"[1.5,"NaN"]"#, "{1.5,NaN}"),
        (1020, r#"["(1,1),(0,0)","(2,2),(1,1)"]"#, "{(1,1),(0,0);(2,2),(1,1)}"),
        (1001, r#"["AP8="]"#, r#"{"\\x00ff"}"#),
        (3807, r#"[{"a":null},[1],[],null]"#, r#"{"{\"a\":null}",[1],[],NULL}"#),
    ] {
        check(&built_in(oid), json, text);
    }
    // The array of a domain over an array: its elements are texts of arrays.
    check(&array((*built_in(1007)).clone()), "[[1,2],[3],[]]", r#"{"{1,2}","{3}","{}"}"#);
}

#[test]
fn arrays_that_are_not_rectangular_are_refused() {
    let rectangular = ValueError::Rectangular { dimensions_max: 6 };
    for json in [
        "[[1],[1,2]]",
        "[1,[2]]",
        "[[1],2]",
        "[null,[1]]",
        "[[1],null]",
        "[[]]",
        "[[],[]]",
        "[[[1]],[2]]",
        "[[[[[[[1]]]]]]]",
    ] {
        check_refused(&built_in(1007), json, rectangular.clone());
    }
    check(&built_in(1007), "[[[[[[1]]]]]]", "{{{{{{1}}}}}}");
}

#[test]
fn composites_are_objects_with_each_attribute_and_nest() {
    let pair = pair();
    for (json, text) in [
        (r#"{"a":1,"b \"q\"":"x"}"#, "(1,x)"),
        (r#"{"b \"q\"":null,"a":null}"#, "(,)"),
        (r#"{"a":1,"b \"q\"":"a, \"b\" \\ "}"#, r#"(1,"a, ""b"" \\ ")"#),
        (r#"{"a":1,"b \"q\"":""}"#, r#"(1,"")"#),
        (r#"{"a":1,"b \"q\"":"(x)"}"#, r#"(1,"(x)")"#),
    ] {
        check(&pair, json, text);
    }
    for (json, error) in [
        ("{}", ValueError::AttributeMissing { name: "a".into() }),
        (r#"{"a":1,"b \"q\"":"x","c":null}"#, ValueError::AttributeUnknown),
        (r#"{"a":"1","b \"q\"":"x"}"#, ValueError::Integer { min: i32::MIN.into(), max: i32::MAX.into() }),
        ("[1,2]", ValueError::Composite),
        (r#""(1,x)""#, ValueError::Composite),
    ] {
        check_refused(&pair, json, error);
    }
    let holder =
        Type { name: "h".into(), kind: TypeKind::Composite([("ps".to_owned(), Arc::new(array(pair)))].into()) };
    check(&holder, r#"{"ps":[{"a":1,"b \"q\"":"x y"},null]}"#, r#"("{""(1,\\""x y\\"")"",NULL}")"#);
}

#[test]
fn nesting_and_growth_are_bounded_se_38() {
    let mut ty = (*built_in(25)).clone();
    let mut json = format!("{:?}", "\\".repeat(1024));
    for level in 0..40 {
        ty = Type { name: "c".into(), kind: TypeKind::Composite([("a".to_owned(), Arc::new(ty))].into()) };
        json = format!("{{\"a\":{json}}}");
        let parsed = [3, 20, 39].contains(&level).then(|| parse_raw_value(&ty, &raw(&json), false));
        match parsed {
            Some(Ok(text)) => assert_eq!((level, text.map(|text| text.len() > 16 * 1024)), (3, Some(true))),
            Some(Err(error)) => assert!(level > 3 && error == nested::TOO_LARGE),
            None => {}
        }
    }
}

/// A type with a value of it, written as the encoder writes it.
type Sample = (Arc<Type>, String);

fn string_json(text: &str) -> String {
    let mut out = String::new();
    antiphon_model::write_string(&mut out, text);
    out
}

/// Text in which the marks of every grammar are frequent; Postgres has no zero character.
fn any_text() -> impl Strategy<Value = String> {
    let marks: Vec<char> = "{}[](),;\"\\' \t\n\u{B}nulNUL0é🎹".chars().collect();
    prop_oneof![
        prop::collection::vec(prop::sample::select(marks), 0..12).prop_map(String::from_iter),
        any::<String>().prop_map(|text| text.replace('\0', "")),
    ]
}

fn any_scalar() -> impl Strategy<Value = Sample> {
    prop_oneof![
        any::<bool>().prop_map(|value| (built_in(16), value.to_string())),
        any::<i16>().prop_map(|value| (built_in(21), value.to_string())),
        any::<i32>().prop_map(|value| (built_in(23), value.to_string())),
        any::<i64>().prop_map(|value| (built_in(20), format!("\"{value}\""))),
        any::<u64>().prop_map(|value| (built_in(5069), format!("\"{value}\""))),
        any::<i32>().prop_map(|value| (built_in(701), (f64::from(value) / 8.0).to_string())),
        Just((built_in(701), r#""-Infinity""#.to_owned())),
        any::<i64>().prop_map(|value| (built_in(1700), format!("\"{value}.10\""))),
        any_text().prop_map(|text| (built_in(25), string_json(&text))),
        any_text().prop_map(|text| (built_in(603), string_json(&text))),
        any_text().prop_map(|text| (built_in(3802), format!("{{\"k\": [{}, 1.10]}}", string_json(&text)))),
        prop::collection::vec(any::<u8>(), 0..9)
            .prop_map(|bytes| (built_in(17), format!("\"{}\"", STANDARD.encode(bytes)))),
        Just((Arc::new(mood()), "\"so so\"".to_owned())),
    ]
}

/// Arrays of one or two dimensions and composites, of each other too.
fn any_sample() -> impl Strategy<Value = Sample> {
    any_scalar().prop_recursive(3, 12, 3, |inner| {
        let array =
            (inner.clone(), 0..4_usize, any::<bool>(), any::<bool>()).prop_map(|((ty, item), count, null, two)| {
                let mut items = vec![item; count];
                if null {
                    items.push("null".into());
                }
                let mut json = format!("[{}]", items.join(","));
                let element_is_flat = !matches!(ty.kind, TypeKind::Array(..) | TypeKind::Json | TypeKind::Jsonb);
                if two && element_is_flat && !items.is_empty() {
                    json = format!("[{json},{json}]");
                }
                let delimiter = if ty.name == "box" { b';' } else { b',' };
                (Arc::new(Type { name: "a[]".into(), kind: TypeKind::Array(ty, delimiter) }), json)
            });
        let composite = prop::collection::vec((inner, any::<bool>()), 0..4).prop_map(|fields| {
            let part = |(at, ((_, json), null)): (usize, &(Sample, bool))| {
                format!("\"f{at}\":{}", if *null { "null" } else { json })
            };
            let json: Vec<String> = fields.iter().enumerate().map(part).collect();
            let attributes = fields.iter().enumerate().map(|(at, ((ty, _), _))| (format!("f{at}"), ty.clone()));
            let ty = Type { name: "c".into(), kind: TypeKind::Composite(attributes.collect()) };
            (Arc::new(ty), format!("{{{}}}", json.join(",")))
        });
        prop_oneof![array, composite]
    })
}

/// Random JSON that often has the right form.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(inner, 0..4).prop_map(|items| items
                .into_iter()
                .enumerate()
                .map(|(at, item)| (format!("f{at}"), item))
                .collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn prop_parsing_undoes_the_encoding((ty, json) in any_sample()) {
        let text = parse_raw_value(&ty, &raw(&json), false).unwrap().unwrap();
        let mut out = String::new();
        let encoded = encode_text(&ty, text.as_bytes(), &mut out);
        prop_assert!(!encoded.malformed && !encoded.lossy, "{text}");
        prop_assert_eq!(&out, &json, "{}", text);
        // And the encoding undoes the parsing: the text is the one that was encoded.
        prop_assert_eq!(parse_raw_value(&ty, &raw(&out), false).unwrap().unwrap(), text);
    }

    #[test]
    fn prop_whatever_is_taken_is_encoded_again_without_a_flag((ty, _) in any_sample(), value in any_json()) {
        let parsed = parse_value(&ty, &value, false);
        // Text types judged by the server are not looked into; the encoder does not either.
        if let Ok(Some(text)) = parsed {
            let mut out = String::new();
            let encoded = encode_text(&ty, text.as_bytes(), &mut out);
            prop_assert!(!encoded.malformed && !encoded.lossy, "{text}");
            prop_assert!(!text.contains('\0'));
        }
    }
}
