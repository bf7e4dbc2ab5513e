//! Comparing values of the wire as Postgres compares them: numbers by value, texts by bytes, moments by time.
//!
//! Law: what it says of two values is what `=` and `<` of the database say, for the types that it knows; of all others it
//! says that it does not know them. Texts are believed to have a deterministic collation, as Postgres makes them.

use std::cmp::Ordering;

use crate::client::{keys, words::TypeShape};

use crate::{float::float, form, json::Value};

/// How values of a type are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// By value; `NaN` is the greatest.
    Number,
    /// By bytes.
    Text,
    /// False before true.
    Truth,
    /// By time; `infinity` is the latest.
    Moment,
    /// By bytes, of its text in small letters.
    Uuid,
    /// Only whether two are the same.
    Label,
}

impl Kind {
    /// Returns how a field is compared; `None` where that is not known here.
    pub(super) fn of(shape: &TypeShape, field: &str) -> Option<Kind> {
        let field = shape.fields.get(field)?;
        Some(match field.ty.as_str() {
            ty if keys::is_number(ty) => Kind::Number,
            "text" | "character varying" | "varchar" | "name" => Kind::Text,
            "boolean" | "bool" => Kind::Truth,
            "date" | "timestamp without time zone" | "timestamp with time zone" | "timestamp" | "timestamptz" => {
                Kind::Moment
            }
            "uuid" => Kind::Uuid,
            _ if !field.labels.is_empty() => Kind::Label,
            _ => return None,
        })
    }

    /// Tells whether it knows which of two is the smaller.
    pub(super) fn has_order(self) -> bool {
        self != Kind::Label
    }

    /// Returns a value if it is written as the wire writes it.
    pub(super) fn read(self, text: &str) -> Option<&str> {
        let fits = match self {
            Kind::Number => Number::read(text).is_some(),
            Kind::Text | Kind::Label => true,
            Kind::Truth => matches!(text, "true" | "false"),
            Kind::Moment => moment(text).is_some(),
            Kind::Uuid => {
                let dashes = [8, 13, 18, 23];
                let fits = |(at, byte): (usize, u8)| match dashes.contains(&at) {
                    true => byte == b'-',
                    false => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
                };
                text.len() == 36 && text.bytes().enumerate().all(fits)
            }
        };
        fits.then_some(text)
    }

    /// Compares two values that are written as the wire writes them.
    pub(super) fn compare(self, one: &str, other: &str) -> Ordering {
        match self {
            Kind::Number => match (Number::read(one), Number::read(other)) {
                (Some(one), Some(other)) => one.compare(&other),
                _ => one.cmp(other),
            },
            Kind::Moment => match (moment(one), moment(other)) {
                (Some(one), Some(other)) => one.cmp(&other),
                _ => one.cmp(other),
            },
            Kind::Text | Kind::Truth | Kind::Uuid | Kind::Label => one.cmp(other),
        }
    }
}

/// Returns a value of the wire as text; `None` for null, and for what has no order.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(form::text(number)),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A number of any length, as it is written.
#[derive(Debug)]
enum Number<'a> {
    /// Sign, digits before the point without leading zeros, digits behind it without trailing zeros.
    Decimal(bool, &'a str, &'a str),
    /// Written with an exponent, or no number at all.
    Float(f64),
}

impl Number<'_> {
    fn read(text: &str) -> Option<Number<'_>> {
        match text {
            "NaN" => return Some(Number::Float(f64::NAN)),
            "Infinity" => return Some(Number::Float(f64::INFINITY)),
            "-Infinity" => return Some(Number::Float(f64::NEG_INFINITY)),
            _ => {}
        }
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !whole.is_empty() && plain(whole) && plain(part) {
            let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
            return Some(Number::Decimal(negative && !(whole.is_empty() && part.is_empty()), whole, part));
        }
        let exponent = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        exponent.then(|| float(text).map(Number::Float)).flatten()
    }

    fn compare(&self, other: &Number<'_>) -> Ordering {
        match (self, other) {
            (Number::Decimal(false, ..), Number::Decimal(true, ..)) => Ordering::Greater,
            (Number::Decimal(true, ..), Number::Decimal(false, ..)) => Ordering::Less,
            (Number::Decimal(negative, a, b), Number::Decimal(_, c, d)) => {
                let size = a.len().cmp(&c.len()).then_with(|| a.cmp(c)).then_with(|| b.cmp(d));
                if *negative { size.reverse() } else { size }
            }
            (one, other) => {
                let (one, other) = (one.float(), other.float());
                // Postgres holds NaN for equal to itself and greater than all else.
                one.partial_cmp(&other).unwrap_or_else(|| one.is_nan().cmp(&other.is_nan()))
            }
        }
    }

    fn float(&self) -> f64 {
        match self {
            Number::Float(float) => *float,
            Number::Decimal(negative, whole, part) => {
                let size = float(&format!("0{whole}.{part}0")).unwrap_or_default();
                if *negative { -size } else { size }
            }
        }
    }
}

/// A moment in the order of time: the year, with those before our era below zero, then the rest of its text.
fn moment(text: &str) -> Option<(i64, String)> {
    match text {
        "infinity" => return Some((i64::MAX, String::new())),
        "-infinity" => return Some((i64::MIN, String::new())),
        _ => {}
    }
    let (text, before) = text.strip_suffix(" BC").map_or((text, false), |rest| (rest, true));
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (year, rest) = text.split_at_checked(digits)?;
    let year: i64 = year.parse().ok()?;
    // Other forms name the same moment in other words: they are not what the wire writes.
    let mut rest = rest.trim_end_matches('Z');
    while let Some(local) = rest.strip_suffix("+00") {
        rest = local;
    }
    let rest = rest.replace(' ', "T");
    let plain = rest.bytes().all(|byte| byte.is_ascii_digit() || b"-T:.".contains(&byte));
    let day = rest.as_bytes();
    let shaped = day.len() >= 6 && day[0] == b'-' && day[3] == b'-' && (day.len() == 6 || day[6] == b'T');
    let rest = match rest.contains('.') {
        true => rest.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => rest,
    };
    (plain && shaped && digits >= 4).then_some((if before { -year } else { year }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_as_the_database_compares_them_core_12() {
        let ordered: &[(Kind, &[&str])] = &[
            (Kind::Number, &["-Infinity", "-10", "-9.5", "0", "0.25", "9", "10", "1e3", "Infinity", "NaN"]),
            (Kind::Number, &["99999999999999999999.1", "99999999999999999999.11", "100000000000000000000"]),
            (Kind::Text, &["", "A", "B", "a", "ä"]),
            (Kind::Truth, &["false", "true"]),
            (Kind::Moment, &["-infinity", "0044-03-15 BC", "0001-01-01", "2026-01-31", "2026-02-01", "infinity"]),
            (Kind::Moment, &["2026-01-31T12:00:00", "2026-01-31T12:00:00.25", "2026-01-31T12:00:00.5", "10000-01-01"]),
        ];
        for (kind, values) in ordered {
            for (at, one) in values.iter().enumerate() {
                assert_eq!(kind.read(one), Some(*one), "{kind:?}");
                for (other_at, other) in values.iter().enumerate() {
                    assert_eq!(kind.compare(one, other), at.cmp(&other_at), "{kind:?} {one} {other}");
                }
            }
        }
        for (kind, one, other) in [
            (Kind::Number, "1", "1.00"),
            (Kind::Number, "-0", "0"),
            (Kind::Number, "100", "1e2"),
            (Kind::Moment, "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000Z"),
        ] {
            assert_eq!(kind.compare(one, other), Ordering::Equal, "{one} {other}");
        }
    }

    #[test]
    fn what_is_not_written_as_the_wire_writes_it_is_not_compared() {
        for (kind, text) in [
            (Kind::Number, "one"),
            (Kind::Number, ""),
            (Kind::Number, "0x10"),
            (Kind::Truth, "yes"),
            (Kind::Moment, "31.1.2026"),
            (Kind::Moment, "2026-01-31T12:00:00+02"),
            (Kind::Moment, "now"),
            (Kind::Uuid, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
        ] {
            assert_eq!(kind.read(text), None, "{text}");
        }
    }
}
