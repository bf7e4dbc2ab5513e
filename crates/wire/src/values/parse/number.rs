//! Numbers that clients write: whole ones within bounds, told from others without rounding.
//!
//! JSON does not tell 3 from 3.0 or 30e-1, so all of them are whole; the digits decide, never a float that rounded them.
//! Refuses fractions, and whatever is above the type's bounds or above what every JSON reader holds exactly.

use antiphon_model::Type;

use super::ValueError;

/// The greatest integer that every JSON reader holds exactly.
const SAFE_MAX: i64 = (1 << 53) - 1;

/// Returns the text of a JSON value that `smallint` or `integer` takes.
pub(super) fn parse_integer(ty: &Type, json: &str) -> Result<String, ValueError> {
    let (min, max) = bounds(ty);
    match whole(json) {
        Some(whole) if (min..=max).contains(&whole) => Ok(whole.to_string()),
        _ => Err(out_of_bounds(ty)),
    }
}

pub(super) fn out_of_bounds(ty: &Type) -> ValueError {
    let (min, max) = bounds(ty);
    ValueError::Integer { min, max }
}

fn bounds(ty: &Type) -> (i64, i64) {
    if ty.name == "smallint" { (i16::MIN.into(), i16::MAX.into()) } else { (i32::MIN.into(), i32::MAX.into()) }
}

/// Returns the text of a JSON value that is no string, for the types that are written as strings and take numbers too.
pub(super) fn parse_number_of_text(ty: &Type, json: &str) -> Result<String, ValueError> {
    let min = match ty.name.as_str() {
        "numeric" if is_number(json) => return Ok(json.to_owned()),
        "numeric" => return Err(ValueError::Numeric),
        "bigint" | "money" => -SAFE_MAX,
        // Postgres would wrap a negative number around.
        "oid" | "xid8" => 0,
        _ => return Err(ValueError::Text),
    };
    match whole(json) {
        Some(whole) if (min..=SAFE_MAX).contains(&whole) => Ok(whole.to_string()),
        _ => Err(ValueError::WideInteger { min, max: SAFE_MAX }),
    }
}

/// Tells whether a valid JSON value is a number.
pub(super) fn is_number(json: &str) -> bool {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// Returns a JSON number that is whole and has at most 18 digits, however it is written: `3`, `3.0`, `30e-1`.
fn whole(json: &str) -> Option<i64> {
    if !is_number(json) {
        return None;
    }
    let (mantissa, exponent) = match json.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (json, 0),
    };
    let (sign, unsigned) = mantissa.strip_prefix('-').map_or((1, mantissa), |unsigned| (-1, unsigned));
    let (before, after) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = [before, after].concat();
    let significant = digits.trim_end_matches('0');
    let nonzero = significant.trim_start_matches('0');
    if nonzero.is_empty() {
        return Some(0);
    }
    let dropped = i64::try_from(digits.len() - significant.len()).ok()?;
    let zeros = usize::try_from(i64::from(exponent) - i64::try_from(after.len()).ok()? + dropped).ok()?;
    if nonzero.len().saturating_add(zeros) > 18 {
        return None;
    }
    let magnitude: i64 = [nonzero, &"0".repeat(zeros)].concat().parse().ok()?;
    Some(sign * magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_found_however_they_are_written_and_never_rounded() {
        for (json, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0.000e5", Some(0)),
            ("3", Some(3)),
            ("-3.0", Some(-3)),
            ("30e-1", Some(3)),
            ("1.5E+1", Some(15)),
            ("0.05e2", Some(5)),
            ("999999999999999999", Some(999_999_999_999_999_999)),
            ("1e17", Some(100_000_000_000_000_000)),
            ("1e18", None),
            ("1e2147483647", None),
            ("1e99999999999", None),
            ("1e-400", None),
            ("3.00000000000000000000000001", None),
            ("1.5", None),
            ("true", None),
            ("[1]", None),
        ] {
            assert_eq!(whole(json), expected, "{json}");
        }
    }
}
