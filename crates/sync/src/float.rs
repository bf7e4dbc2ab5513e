//! Reads a number with a fraction, for code that a page loads.
//!
//! The standard library's reader brings ten kilobytes of tables that do not compress, and that of JSON is there
//! already: this brings what PostgreSQL and people write into JSON's form. Law: it reads what `str::parse` reads, to the
//! last bit.

use serde_json::Value;

/// Reads a number; `None` where it is none.
pub(crate) fn float(text: &str) -> Option<f64> {
    let (minus, size) = match text.strip_prefix(['-', '+']) {
        Some(size) => (text.starts_with('-'), size),
        None => (false, text),
    };
    let size = unsigned(size)?;
    Some(if minus { -size } else { size })
}

fn unsigned(text: &str) -> Option<f64> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if is("nan") {
        return Some(f64::NAN);
    }
    if is("inf") || is("infinity") {
        return Some(f64::INFINITY);
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let power = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    if !plain(whole) || !plain(part) || (whole.len() + part.len() == 0) || power.is_empty() || !plain(power) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    // JSON wants a digit on each side of the point, and none before the first but a lone zero.
    let whole = if whole.is_empty() { "0" } else { whole };
    match serde_json::from_str::<Value>(&format!("{whole}.{part}0e{exponent}")) {
        Ok(number) => number.as_f64(),
        // JSON has no number of this size.
        Err(_) => Some(f64::INFINITY),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::float;

    #[track_caller]
    fn is_read_as_the_standard_library_does(text: &str) {
        let (own, std) = (float(text), text.parse::<f64>().ok());
        assert_eq!(own.map(f64::to_bits), std.map(f64::to_bits), "{text}: {own:?} and not {std:?}");
    }

    #[test]
    fn what_is_written_oddly_is_read_as_the_standard_library_does_core_12() {
        for text in [
            "0",
            "-0",
            "007",
            "+1",
            ".5",
            "5.",
            "-.5e3",
            "1e400",
            "-1e400",
            "1e-400",
            "1E5",
            "1e+5",
            "inf",
            "-Infinity",
            "",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            "1 ",
            "1_0",
            "0x1",
            "--1",
            "1.2.3",
            "9007199254740993",
            "1e99999999999",
            "0e99999999999",
            "4.9e-324",
            "2.2250738585072011e-308",
            "17976931348623157e292",
        ] {
            is_read_as_the_standard_library_does(text);
        }
        assert!(float("NaN").is_some_and(f64::is_nan));
    }

    proptest! {
        #[test]
        fn any_number_is_read_as_the_standard_library_does_core_12(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assume!(!number.is_nan());
            is_read_as_the_standard_library_does(&number.to_string());
            is_read_as_the_standard_library_does(&format!("{number:e}"));
        }

        #[test]
        fn any_decimal_is_read_as_the_standard_library_does_core_12(text in "[+-]?[0-9]{0,30}(\\.[0-9]{0,30})?([eE][+-]?[0-9]{1,3})?") {
            is_read_as_the_standard_library_does(&text);
        }
    }
}
