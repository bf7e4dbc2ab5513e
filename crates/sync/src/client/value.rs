//! Values as a client compares and computes them: what counts as the same, counters, sets (protocol 2, SY-39, SY-40).
//!
//! Texts are compared byte for byte. A number and its text are the same, because large integers travel as text. What
//! cannot be computed leaves the value as it is: the server will say why.

use serde_json::Number;

use crate::{elements, float::float, form, json::Value};

/// Tells whether two values say the same.
pub fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(number), Value::String(text)) | (Value::String(text), Value::Number(number)) => {
            form::text(number) == *text
        }
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => one.all_same(other, same),
        _ => one == other,
    }
}

/// Adds to a counter; null counts as nothing.
pub fn add(present: &Value, by: &Value) -> Value {
    let as_text = present.is_string();
    let integer = |value: &Value| match value {
        Value::Null => Some(0i128),
        Value::Number(number) => number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let float = |value: &Value| match value {
        Value::Null => Some(0.0),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => float(text),
        _ => None,
    };
    if let Some(sum) = integer(present).zip(integer(by)).and_then(|(one, other)| one.checked_add(other)) {
        return match i64::try_from(sum) {
            Ok(sum) if !as_text => Value::from(sum),
            _ => Value::String(sum.to_string()),
        };
    }
    match float(present).zip(float(by)).map(|(one, other)| one + other) {
        Some(sum) => {
            Number::from_f64(sum).map_or_else(|| present.clone(), |sum| if as_text { text(&sum) } else { sum.into() })
        }
        None => present.clone(),
    }
}

/// A number as text, as short as people write it.
fn text(number: &Number) -> Value {
    let text = form::text(number);
    Value::String(text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned))
}

/// Turns the sign of what is added.
pub fn negated(by: &Value) -> Value {
    match by {
        // Beyond what a number holds with a sign, its text does.
        Value::Number(number) if number.as_u64().is_some_and(|integer| i64::try_from(integer).is_err()) => {
            Value::String(format!("-{}", form::text(number)))
        }
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => {
                integer.checked_neg().map_or_else(|| Value::from(integer.unsigned_abs()), Value::from)
            }
            (None, Some(float)) => Number::from_f64(-float).map_or_else(|| by.clone(), Value::Number),
            (None, None) => by.clone(),
        },
        Value::String(text) => Value::String(match text.strip_prefix('-') {
            Some(positive) => positive.to_owned(),
            None => format!("-{text}"),
        }),
        other => other.clone(),
    }
}

/// Changes a set.
pub fn with_elements(present: &Value, add: &[Value], remove: &[Value]) -> Value {
    let empty = Vec::new();
    let held = match present {
        Value::Array(held) => held,
        Value::Null => &empty,
        _ => return present.clone(),
    };
    Value::Array(elements(held, add, remove))
}

#[cfg(test)]
mod tests {
    use crate::json::json;

    use super::*;

    #[test]
    fn a_number_is_its_text_and_texts_are_bytes_sy_39_sy_40() {
        assert!(same(&json!(5), &json!("5")));
        assert!(same(&json!({ "a": [1, null] }), &json!({ "a": ["1", null] })));
        assert!(same(&json!(1.0), &json!(1)));
        assert!(!same(&json!("é"), &json!("e\u{301}")), "composed and decomposed are different text");
        assert!(!same(&json!(null), &json!("")));
    }

    #[test]
    fn counters_keep_their_form_and_lose_no_digit() {
        assert_eq!(add(&json!("9007199254740993"), &json!(1)), json!("9007199254740994"));
        assert_eq!(add(&json!(null), &json!(3)), json!(3));
        assert_eq!(add(&json!(u64::MAX), &json!(u64::MAX)), json!("36893488147419103230"));
        assert_eq!(add(&json!(1.5), &json!(1)), json!(2.5));
        assert_eq!(add(&json!("x"), &json!(1)), json!("x"));
        assert_eq!(negated(&json!("5")), json!("-5"));
        assert_eq!(negated(&json!(-5)), json!(5));
        assert_eq!(negated(&json!(i64::MIN)), json!(1u64 << 63));
        assert_eq!(negated(&json!(u64::MAX)), json!("-18446744073709551615"));
        assert_eq!(with_elements(&json!(null), &[json!("a")], &[]), json!(["a"]));
    }
}
