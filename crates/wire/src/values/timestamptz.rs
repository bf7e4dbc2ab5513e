//! `timestamp with time zone`: RFC 3339 in UTC with microseconds for the years 0001 to 9999.
//!
//! Sessions that decode pin UTC, so the common case moves digits and computes nothing; another offset is converted.
//! `infinity`, BC and years above 9999 stay as Postgres prints them.

/// Writes the time as a JSON string; `false` where the text is no time.
pub(super) fn write(text: &[u8], out: &mut String) -> bool {
    let Ok(printed) = std::str::from_utf8(text) else { return false };
    let time = parse(text);
    if time.as_ref().is_some_and(|time| time.offset_seconds == 0) {
        move_digits(printed, out);
        return true;
    }
    if let Some(utc) = time.and_then(|time| time.to_utc()) {
        utc.write(out);
        return true;
    }
    if !outside_rfc_3339(text) {
        return false;
    }
    out.push('"');
    out.push_str(printed);
    out.push('"');
    true
}

/// Writes a time that is in UTC already; `parse` has found every digit in its place.
fn move_digits(printed: &str, out: &mut String) {
    let fraction = printed[19..].strip_prefix('.').unwrap_or_default();
    let digits = fraction.find(['+', '-']).unwrap_or_default();
    out.push('"');
    out.push_str(&printed[..10]);
    out.push('T');
    out.push_str(&printed[11..19]);
    out.push('.');
    out.push_str(&fraction[..digits]);
    out.push_str(&"000000"[digits..]);
    out.push_str("Z\"");
}

/// Tells whether Postgres prints such a text for a time that RFC 3339 cannot hold.
fn outside_rfc_3339(text: &[u8]) -> bool {
    let year_digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let harmless = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b':' | b'.' | b'+' | b' ' | b'B' | b'C');
    let dated = year_digits >= 4 && text.get(year_digits) == Some(&b'-') && text.iter().all(harmless);
    matches!(text, b"infinity" | b"-infinity") || dated
}

struct Time {
    year: i64,
    month: i64,
    day: i64,
    seconds_of_day: i64,
    micros: i64,
    offset_seconds: i64,
}

/// Reads `2024-01-01 12:00:00.5+05:30`; four digits of year.
fn parse(text: &[u8]) -> Option<Time> {
    let two = |at: usize| -> Option<i64> {
        let (tens, ones) = (*text.get(at)?, *text.get(at + 1)?);
        (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
    };
    let mark = |at: usize, byte: u8| (text.get(at) == Some(&byte)).then_some(());
    let year = two(0)? * 100 + two(2)?;
    mark(4, b'-')?;
    let month = two(5)?;
    mark(7, b'-')?;
    let day = two(8)?;
    mark(10, b' ')?;
    let hour = two(11)?;
    mark(13, b':')?;
    let minute = two(14)?;
    mark(16, b':')?;
    let second = two(17)?;
    let in_range = year >= 1 && (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24;
    if !in_range || minute > 59 || second > 59 {
        return None;
    }
    let (micros, at) = fraction(text, 19)?;
    let sign = match text.get(at)? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let mut offset_seconds = two(at + 1)? * 3600;
    let mut at = at + 3;
    for unit in [60, 1] {
        if text.get(at) == Some(&b':') {
            offset_seconds += two(at + 1)? * unit;
            at += 3;
        }
    }
    let time = Time {
        year,
        month,
        day,
        seconds_of_day: hour * 3600 + minute * 60 + second,
        micros,
        offset_seconds: sign * offset_seconds,
    };
    (at == text.len()).then_some(time)
}

/// Reads the fraction of a second, at most six digits, and returns it in microseconds with where it ends.
fn fraction(text: &[u8], at: usize) -> Option<(i64, usize)> {
    if text.get(at) != Some(&b'.') {
        return Some((0, at));
    }
    let digits = text[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > 6 {
        return None;
    }
    let value = text[at + 1..at + 1 + digits].iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some((value * 10_i64.pow(6 - digits as u32), at + 1 + digits))
}

impl Time {
    /// Moves the time to UTC; `None` where its year leaves RFC 3339.
    fn to_utc(&self) -> Option<Time> {
        let days = days_from_civil(self.year, self.month, self.day);
        let seconds = days * 86_400 + self.seconds_of_day - self.offset_seconds;
        let (year, month, day) = if self.offset_seconds == 0 {
            (self.year, self.month, self.day)
        } else {
            civil_from_days(seconds.div_euclid(86_400))
        };
        let seconds_of_day = seconds.rem_euclid(86_400);
        (1..=9999).contains(&year).then_some(Time {
            year,
            month,
            day,
            seconds_of_day,
            micros: self.micros,
            offset_seconds: 0,
        })
    }

    fn write(&self, out: &mut String) {
        let seconds = self.seconds_of_day;
        let parts = [
            (self.year, 4, '-'),
            (self.month, 2, '-'),
            (self.day, 2, 'T'),
            (seconds / 3600, 2, ':'),
            (seconds / 60 % 60, 2, ':'),
            (seconds % 60, 2, '.'),
            (self.micros, 6, 'Z'),
        ];
        out.push('"');
        for (value, digits, mark) in parts {
            for place in (0..digits).rev() {
                out.push(char::from(b'0' + (value / 10_i64.pow(place) % 10) as u8));
            }
            out.push(mark);
        }
        out.push('"');
    }
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * month_index + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_day_numbers_convert_both_ways_from_year_1_to_9999() {
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(civil_from_days(-719_162), (1, 1, 1));
        assert_eq!(civil_from_days(2_932_896), (9999, 12, 31));
        for days in (-719_162..=2_932_896).step_by(13) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }
}
