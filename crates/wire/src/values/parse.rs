//! JSON values that clients write, as the text that Postgres reads: the way back of protocol 2.
//!
//! Law: what is accepted reads back as the same value; what does not fit its type is refused with what was wanted, and
//! never guessed. Whether a text is a value of a type like `date` or `inet` is Postgres's to say.

use antiphon_model::{Type, TypeKind};
use serde_json::Value;

/// Arrays and composites nested deeper than this are refused.
const NESTING_MAX: usize = 32;
/// The greatest integer that every JSON reader keeps exactly.
const SAFE_INTEGER: u64 = (1 << 53) - 1;
/// Types of text that take a JSON number too.
const NUMERIC: &[&str] = &["bigint", "numeric", "money", "oid", "xid8"];

/// A value does not fit its type; the text says what was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Something else was wanted.
    #[error("{0} is wanted")]
    Wanted(&'static str),
    /// An enumerated type has no such label.
    #[error("one of the type's labels is wanted")]
    Label,
    /// A composite has no attribute of such a name.
    #[error("an attribute of the type is wanted")]
    Attribute,
    /// A text holds the character 0.
    #[error("no value of the database holds the character 0")]
    Nul,
    /// Arrays of one level differ in length.
    #[error("arrays of one level must be of one length")]
    Ragged,
    /// Too many levels.
    #[error("the value is nested too deep")]
    Nesting,
}

/// Returns the text that Postgres reads as the value; `None` is SQL NULL.
///
/// JSON null of a document is SQL NULL, unless `json_null` says that the document itself is meant.
pub fn parse_value(ty: &Type, value: &Value, json_null: bool) -> Result<Option<String>, ValueError> {
    if value.is_null() {
        let document = matches!(ty.kind, TypeKind::Json | TypeKind::Jsonb);
        return Ok((json_null && document).then(|| "null".to_owned()));
    }
    write(ty, value, NESTING_MAX).map(Some)
}

fn write(ty: &Type, value: &Value, nesting_left: usize) -> Result<String, ValueError> {
    let text = match (&ty.kind, value) {
        (TypeKind::Bool, Value::Bool(yes)) => yes.to_string(),
        (TypeKind::Bool, _) => return Err(ValueError::Wanted("true or false")),
        (TypeKind::Integer, Value::Number(number)) if number.is_i64() => number.to_string(),
        (TypeKind::Integer, _) => return Err(ValueError::Wanted("a whole number")),
        (TypeKind::Float, Value::Number(number)) => number.to_string(),
        (TypeKind::Float, Value::String(text)) if ["NaN", "Infinity", "-Infinity"].contains(&text.as_str()) => {
            text.clone()
        }
        (TypeKind::Float, _) => return Err(ValueError::Wanted("a number")),
        (TypeKind::Json | TypeKind::Jsonb, document) => document.to_string(),
        (TypeKind::Bytea, Value::String(text)) => bytea(text).ok_or(ValueError::Wanted("base64"))?,
        (TypeKind::Bytea, _) => return Err(ValueError::Wanted("base64")),
        (TypeKind::Enum(labels), Value::String(text)) => match labels.contains(text) {
            true => text.clone(),
            false => return Err(ValueError::Label),
        },
        (TypeKind::Enum(_), _) => return Err(ValueError::Label),
        (TypeKind::Array(element, delimiter), Value::Array(elements)) => {
            let mut out = String::new();
            array(element, *delimiter, elements, &mut out, nesting_left)?;
            out
        }
        (TypeKind::Array(..), _) => return Err(ValueError::Wanted("an array")),
        (TypeKind::Composite(attributes), Value::Object(members)) => {
            if members.keys().any(|name| !attributes.iter().any(|(known, _)| known == name)) {
                return Err(ValueError::Attribute);
            }
            composite(attributes, members, nesting_left)?
        }
        (TypeKind::Composite(_), _) => return Err(ValueError::Wanted("an object")),
        (TypeKind::Text | TypeKind::Timestamptz, Value::String(text)) => text.clone(),
        (TypeKind::Text, Value::Number(number)) if NUMERIC.contains(&ty.name.as_str()) => match exact(number) {
            true => number.to_string(),
            false => return Err(ValueError::Wanted("a string, because the number may not be kept exactly,")),
        },
        (TypeKind::Text | TypeKind::Timestamptz, _) => return Err(ValueError::Wanted("a string")),
    };
    if text.contains('\0') { Err(ValueError::Nul) } else { Ok(text) }
}

/// Tells whether every JSON reader keeps a number as it is.
fn exact(number: &serde_json::Number) -> bool {
    number.as_i64().is_some_and(|number| number.unsigned_abs() <= SAFE_INTEGER) || number.is_f64()
}

/// Writes an array literal; every element is quoted, which every type's input takes.
fn array(
    element: &Type,
    delimiter: u8,
    elements: &[Value],
    out: &mut String,
    nesting_left: usize,
) -> Result<(), ValueError> {
    let nesting_left = nesting_left.checked_sub(1).ok_or(ValueError::Nesting)?;
    // An array of documents has arrays as elements; any other one has further dimensions.
    let documents = matches!(element.kind, TypeKind::Json | TypeKind::Jsonb | TypeKind::Array(..));
    let deeper = !documents && elements.iter().any(Value::is_array);
    let length = |value: &Value| value.as_array().map(Vec::len);
    if deeper && elements.iter().any(|value| length(value).is_none() || length(value) != length(&elements[0])) {
        return Err(ValueError::Ragged);
    }
    out.push('{');
    for (index, value) in elements.iter().enumerate() {
        if index > 0 {
            out.push(char::from(delimiter));
        }
        match value {
            Value::Array(inner) if deeper => array(element, delimiter, inner, out, nesting_left)?,
            Value::Null => out.push_str("NULL"),
            value => quote(&write(element, value, nesting_left)?, out),
        }
    }
    out.push('}');
    Ok(())
}

fn composite(
    attributes: &[(String, std::sync::Arc<Type>)],
    members: &serde_json::Map<String, Value>,
    nesting_left: usize,
) -> Result<String, ValueError> {
    let nesting_left = nesting_left.checked_sub(1).ok_or(ValueError::Nesting)?;
    let mut out = String::from("(");
    for (index, (name, ty)) in attributes.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match members.get(name) {
            None | Some(Value::Null) => {}
            Some(value) => quote(&write(ty, value, nesting_left)?, &mut out),
        }
    }
    out.push(')');
    Ok(out)
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// Reads base64 (with padding) and writes Postgres's hex form.
fn bytea(text: &str) -> Option<String> {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    if text.len() % 4 != 0 || padding > 2 {
        return None;
    }
    let mut out = String::from("\\x");
    let (mut bits, mut count) = (0u32, 0);
    for byte in body.bytes() {
        let digit = super::BASE64_DIGITS.iter().position(|digit| *digit == byte)?;
        bits = bits << 6 | u32::try_from(digit).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            let byte = bits >> count & 0xFF;
            out.push(char::from(super::HEX_DIGITS[(byte >> 4) as usize]));
            out.push(char::from(super::HEX_DIGITS[(byte & 15) as usize]));
        }
    }
    // What is left of the last group must be nothing.
    (bits & ((1 << count) - 1) == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use antiphon_model::Cell;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::encode_cell;

    fn ty(name: &str, kind: TypeKind) -> Type {
        Type { name: name.into(), kind }
    }

    fn array_of(element: Type) -> Type {
        ty("array", TypeKind::Array(Arc::new(element), b','))
    }

    #[test]
    fn values_are_written_as_postgres_reads_them_sy_40() {
        let pair = TypeKind::Composite(Arc::from([
            ("a".to_owned(), Arc::new(ty("integer", TypeKind::Integer))),
            ("b".to_owned(), Arc::new(Type::text("text"))),
        ]));
        let labels = TypeKind::Enum(Arc::from(["sad".to_owned()]));
        for (ty, value, text) in [
            (ty("boolean", TypeKind::Bool), json!(true), "true"),
            (ty("integer", TypeKind::Integer), json!(-7), "-7"),
            (ty("double precision", TypeKind::Float), json!(0.1), "0.1"),
            (ty("double precision", TypeKind::Float), json!("NaN"), "NaN"),
            (Type::text("bigint"), json!("9007199254740993"), "9007199254740993"),
            (Type::text("bigint"), json!(12), "12"),
            (ty("jsonb", TypeKind::Jsonb), json!({"a": [1]}), r#"{"a":[1]}"#),
            (ty("bytea", TypeKind::Bytea), json!("AP9h"), "\\x00ff61"),
            (ty("bytea", TypeKind::Bytea), json!("AA=="), "\\x00"),
            (ty("mood", labels), json!("sad"), "sad"),
            (array_of(Type::text("text")), json!(["a\"b", null, "\\", ""]), r#"{"a\"b",NULL,"\\",""}"#),
            (array_of(ty("integer", TypeKind::Integer)), json!([[1], [2]]), r#"{{"1"},{"2"}}"#),
            (array_of(ty("jsonb", TypeKind::Jsonb)), json!([[1], {"a": 2}]), r#"{"[1]","{\"a\":2}"}"#),
            (ty("pair", pair), json!({"b": "x,\")"}), r#"(,"x,\")")"#),
        ] {
            assert_eq!(parse_value(&ty, &value, false).unwrap().as_deref(), Some(text), "{value}");
        }
        assert_eq!(parse_value(&ty("jsonb", TypeKind::Jsonb), &json!(null), false), Ok(None));
        assert_eq!(parse_value(&ty("jsonb", TypeKind::Jsonb), &json!(null), true), Ok(Some("null".into())));
        assert_eq!(parse_value(&Type::text("text"), &json!(null), true), Ok(None));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (ty, value) in [
            (ty("boolean", TypeKind::Bool), json!("true")),
            (ty("integer", TypeKind::Integer), json!(1.5)),
            (ty("integer", TypeKind::Integer), json!("1")),
            (Type::text("bigint"), json!(9_007_199_254_740_993_u64)),
            (Type::text("text"), json!(1)),
            (Type::text("text"), json!("a\0b")),
            (Type::text("text"), json!({})),
            (ty("bytea", TypeKind::Bytea), json!("A")),
            (ty("bytea", TypeKind::Bytea), json!("AB==")),
            (ty("bytea", TypeKind::Bytea), json!("A===")),
            (array_of(Type::text("text")), json!("a")),
            (array_of(Type::text("text")), json!([["a"], ["b", "c"]])),
            (array_of(Type::text("text")), json!([["a"], "b"])),
        ] {
            assert!(parse_value(&ty, &value, false).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn prop_what_postgres_would_print_back_is_the_same_value(texts in proptest::collection::vec(proptest::option::of("[^\\x00]{0,12}"), 0..6)) {
            // Postgres prints what it reads of a quoted array literal in a form that the encoder takes alike.
            let ty = array_of(Type::text("text"));
            let value = json!(texts);
            let literal = parse_value(&ty, &value, false).unwrap().unwrap();
            let mut out = String::new();
            encode_cell(&ty, Cell::Text(literal.as_bytes()), &mut out);
            prop_assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), value);
        }

        #[test]
        fn prop_bytes_come_back(bytes in any::<Vec<u8>>()) {
            let ty = ty("bytea", TypeKind::Bytea);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let mut out = String::new();
            encode_cell(&ty, Cell::Text(format!("\\x{hex}").as_bytes()), &mut out);
            let value: Value = serde_json::from_str(&out).unwrap();
            prop_assert_eq!(parse_value(&ty, &value, false).unwrap().unwrap(), format!("\\x{hex}"));
        }
    }
}
