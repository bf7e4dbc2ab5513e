//! Reads and writes a number with a fraction, for code that a page loads.
//!
//! The standard library's reader and serde_json's writer bring ten kilobytes of tables that do not compress. Here what
//! is usual is computed as it stands, and the rest with numbers of any size. Laws: it reads what `str::parse` reads, to
//! the last bit; it writes what serde_json writes: the fewest digits that are read as the same number.

mod large;

use std::cmp::Ordering;

use self::large::Large;
use crate::form::Written;

/// Digits of a text beyond so many only say that there is something beyond.
const DIGITS_MAX: usize = 800;

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
    let power =
        power.bytes().fold(0i32, |power, digit| power.saturating_mul(10).saturating_add(i32::from(digit - b'0')));
    Some(decimal(whole.bytes().chain(part.bytes()), part.len(), if exponent.starts_with('-') { -power } else { power }))
}

/// Returns the number that is nearest to digits, so many of them behind the point, and times a power of ten.
fn decimal(digits: impl Iterator<Item = u8>, behind: usize, power: i32) -> f64 {
    let mut digits: Vec<u8> = digits.map(|digit| digit - b'0').skip_while(|digit| *digit == 0).collect();
    let mut power = i64::from(power) - behind as i64;
    while digits.last() == Some(&0) {
        digits.pop();
        power += 1;
    }
    let places = digits.len() as i64 + power;
    if digits.is_empty() || places < -330 {
        return 0.0;
    }
    if places > 310 {
        return f64::INFINITY;
    }
    if digits.len() > DIGITS_MAX {
        power += (digits.len() - DIGITS_MAX - 1) as i64;
        digits.truncate(DIGITS_MAX);
        digits.push(1);
    }
    let power = power as i32;
    if digits.len() <= 15 && power.abs() <= 22 {
        // Both are held exactly, and so one step is all that is rounded.
        let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(*digit)) as f64;
        let ten = (0..power.abs()).fold(1.0, |ten, _| ten * 10.0);
        return if power < 0 { number / ten } else { number * ten };
    }
    let (mut above, mut below) = (Large::of(0), Large::of(1));
    digits.iter().for_each(|digit| above.times(10, u32::from(*digit)));
    above.times_ten(power);
    below.times_ten(-power);
    nearest(above, below)
}

/// Returns the number that is nearest to a fraction; of two, the even one.
fn nearest(mut above: Large, mut below: Large) -> f64 {
    // The quotient has 53 binary digits, or 54; fewer where the number is as small as there is one.
    let mut scale = (above.bits() - below.bits() - 53).max(-1074);
    above.double((-scale).max(0));
    below.double(scale.max(0) + 54);
    let mut quotient = 0u64;
    for _ in 0..=54 {
        quotient <<= 1;
        if above.compare(&below).is_ge() {
            above.subtract(&below);
            quotient |= 1;
        }
        above.double(1);
    }
    let mut rest = above.compare(&below);
    if quotient >> 53 != 0 {
        let is_rest = above != Large::of(0);
        rest = match quotient & 1 {
            0 => Ordering::Less,
            _ if is_rest => Ordering::Greater,
            _ => Ordering::Equal,
        };
        quotient >>= 1;
        scale += 1;
    }
    let up = rest.is_gt() || (rest.is_eq() && quotient & 1 == 1);
    // The first digit is counted among the exponent's, so that rounding up carries into it.
    let bits = (((scale + 1074) as u64) << 52) + quotient + u64::from(up);
    f64::from_bits(bits.min(f64::INFINITY.to_bits()))
}

/// Appends a number as serde_json writes it.
pub(crate) fn write(number: f64, out: &mut String) {
    if number.is_sign_negative() {
        out.push('-');
    }
    if number == 0.0 {
        return out.push_str("0.0");
    }
    let (digits, point) = shortest(number.abs());
    let zeros = |out: &mut String, times: i32| (0..times).for_each(|_| out.push('0'));
    let count = digits.len() as i32;
    if (1..=16).contains(&point) {
        for (at, digit) in (0..).zip(&digits) {
            out.push_str(if at == point { "." } else { "" });
            out.push(char::from(b'0' + digit));
        }
        zeros(out, point - count);
        return out.push_str(if count <= point { ".0" } else { "" });
    }
    if (-4..=0).contains(&point) {
        out.push_str("0.");
        zeros(out, -point);
    }
    for (at, digit) in digits.iter().enumerate() {
        out.push_str(if at == 1 && !(-4..=0).contains(&point) { "." } else { "" });
        out.push(char::from(b'0' + digit));
    }
    if !(-4..=0).contains(&point) {
        out.push_str(if point > 0 { "e+" } else { "e" });
        Written::write(&i64::from(point - 1), out);
    }
}

/// Returns the fewest digits that are read as a number above zero, and how many of them are before the point.
fn shortest(number: f64) -> (Vec<u8>, i32) {
    let bits = number.to_bits();
    let (fraction, exponent) = (bits & ((1 << 52) - 1), (bits >> 52) as i32);
    let (whole, exponent) = if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) };
    // Below a power of two the next number is half as far as above it.
    let is_uneven = fraction == 0 && exponent > -1074;
    let of = |number: u64, double: i32| {
        let mut large = Large::of(number);
        large.double(double.max(0));
        large
    };
    let finer = 1 + i32::from(is_uneven);
    let mut above = of(whole, exponent.max(0) + finer);
    let mut below = of(1, (-exponent).max(0) + finer);
    // How far it is half way to the next number, and to the one before.
    let (mut up, mut down) = (of(1, exponent.max(0) + finer - 1), of(1, exponent));
    let bits = 64 - whole.leading_zeros() as i32 + exponent - 1;
    let mut point = (f64::from(bits) * std::f64::consts::LOG10_2 - 1e-10).ceil() as i32;
    below.times_ten(point);
    [&mut above, &mut up, &mut down].into_iter().for_each(|large| large.times_ten(-point));
    // A number half way is read as the even one.
    let is_even = whole & 1 == 0;
    let reaches = |above: &Large, up: &Large, below: &Large| {
        let mut sum = above.clone();
        sum.add(up);
        let ordering = sum.compare(below);
        ordering.is_gt() || (is_even && ordering.is_eq())
    };
    if reaches(&above, &up, &below) {
        below.times(10, 0);
        point += 1;
    }
    let mut digits = Vec::new();
    loop {
        [&mut above, &mut up, &mut down].into_iter().for_each(|large| large.times(10, 0));
        let mut digit = 0;
        while above.compare(&below).is_ge() {
            above.subtract(&below);
            digit += 1;
        }
        let ordering = above.compare(&down);
        let is_low = ordering.is_lt() || (is_even && ordering.is_eq());
        let is_high = reaches(&above, &up, &below);
        if is_low || is_high {
            above.times(2, 0);
            let half = above.compare(&below);
            let is_nearer = half.is_gt() || (half.is_eq() && digit & 1 == 1);
            digits.push(digit + u8::from(is_high && (!is_low || is_nearer)));
            return (digits, point);
        }
        digits.push(digit);
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

    #[track_caller]
    fn is_written_as_serde_does(number: f64) {
        let mut own = String::new();
        super::write(number, &mut own);
        assert_eq!(own, serde_json::to_string(&number).unwrap());
        assert_eq!(float(&own).map(f64::to_bits), Some(number.to_bits()), "{own}");
    }

    #[test]
    fn powers_and_their_neighbours_are_written_as_serde_does_core_12() {
        for exponent in 0..0x7ff_u64 {
            for bits in [exponent << 52, (exponent << 52) + 1, (exponent << 52).wrapping_sub(1) & i64::MAX as u64] {
                let number = f64::from_bits(bits);
                if number.is_finite() {
                    is_written_as_serde_does(number);
                    is_written_as_serde_does(-number);
                }
            }
        }
        for power in -330..310 {
            for digits in ["1", "123456789"] {
                let number: f64 = format!("{digits}e{power}").parse().unwrap();
                is_written_as_serde_does(if number.is_finite() { number } else { 0.0 });
            }
        }
        for number in
            [0.1, 0.1 + 0.2, 1.5, 12.0, 99.99, 1e15, 1e16, 1e17, 123456789012345680.0, 0.00001, 0.000012, 5e-324]
        {
            is_written_as_serde_does(number);
        }
    }

    proptest! {
        #[test]
        fn any_number_is_written_as_serde_does_core_12(bits: u64, cents in -1_000_000_000..1_000_000_000i64) {
            prop_assume!(f64::from_bits(bits).is_finite());
            is_written_as_serde_does(f64::from_bits(bits));
            is_written_as_serde_does(cents as f64 / 100.0);
        }

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
