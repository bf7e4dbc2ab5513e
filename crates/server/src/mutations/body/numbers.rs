//! Numbers that would not be kept: those with more digits than a float of 64 bits holds.
//!
//! Bodies are read into values whose numbers are such floats, or whole numbers of 64 bits. Law: no digit is lost in
//! silence; who needs more sends a string, as every type with more digits is written anyway (protocol 2).

/// Returns the first number outside of texts that would be another one after reading.
pub(super) fn inexact(bytes: &[u8]) -> Option<&str> {
    let (mut at, mut text) = (0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if text => at += 1,
            b'"' => text = !text,
            b'-' | b'0'..=b'9' if !text => {
                let part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let length = bytes[at..].iter().take_while(part).count();
                let number = std::str::from_utf8(&bytes[at..at + length]).unwrap_or_default();
                if !kept(number) {
                    return Some(&number[..number.len().min(40)]);
                }
                at += length - 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Tells whether a number is the same after reading; what is no number is refused by the reader.
fn kept(number: &str) -> bool {
    if number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok() {
        return true;
    }
    match number.parse::<f64>() {
        Ok(read) if read.is_finite() => digits(number) == digits(&format!("{read:e}")),
        Ok(_) => false,
        Err(_) => true,
    }
}

/// Returns the significant digits of a decimal number and the power of ten of the last one.
fn digits(number: &str) -> Option<(String, i64)> {
    let number = number.trim_start_matches('-');
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    let significant = all.trim_start_matches('0');
    let kept = significant.trim_end_matches('0');
    if kept.is_empty() {
        return Some((String::new(), 0));
    }
    let dropped = significant.len() - kept.len();
    let exponent: i64 = exponent.parse().ok()?;
    Some((kept.to_owned(), exponent - fraction.len() as i64 + dropped as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_lose_digits_are_found_sy_40() {
        for kept in [
            "0",
            "-0",
            "-0.0",
            "1.10",
            "0.1",
            "1e2",
            "1E+2",
            "123456789012345678",
            "18446744073709551615",
            "0.30000000000000004",
            "1.7976931348623157e308",
            "5e-324",
            "100000000000000000000",
            r#""1.23456789012345678901""#,
            r#""\"1.23456789012345678901""#,
        ] {
            assert_eq!(inexact(format!("{{\"a\":[{kept}]}}").as_bytes()), None, "{kept}");
        }
        for lost in ["1.23456789012345678901", "18446744073709551616", "-9223372036854775809", "1e400", "1e-400"] {
            assert_eq!(inexact(format!("{{\"a\":[{lost}, 1]}}").as_bytes()), Some(lost), "{lost}");
        }
    }
}
