//! Reads JSON text into a document.
//!
//! serde_json's own reader weighs three times as much, and brings tables for fractions that do not compress. Laws: it
//! takes what serde_json takes and refuses what that refuses, to the last bit of a number; of members with one name the
//! last stands, in the first one's place. It refuses to go deeper than serde_json does, since it calls itself.

use serde_json::Number;

use super::Unread;
use crate::{float::float, json::Value};

/// Documents in one another: so many, and one less is read.
const DEPTH_MAX: usize = 128;

/// Reads a text; what cannot be read is said with its place.
pub(super) fn read(text: &str) -> Result<Value, Unread> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(DEPTH_MAX);
    reader.space();
    match value {
        Some(value) if reader.at == text.len() => Ok(value),
        _ => Err(Unread::of(format!("there is no JSON from byte {} on", reader.at))),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Goes on behind a byte, if it is the next one.
    fn goes_on(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.space();
        match self.peek()? {
            b'{' => self.object(depth - 1),
            b'[' => self.array(depth - 1),
            b'"' => self.string().map(Value::String),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        word.bytes().all(|byte| self.goes_on(byte)).then_some(value)
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        while self.another(depth, items.is_empty(), b']')? {
            items.push(self.value(depth)?);
        }
        Some(Value::Array(items))
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        let mut members = Vec::new();
        while self.another(depth, members.is_empty(), b'}')? {
            self.space();
            let name = self.string()?;
            self.space();
            if !self.goes_on(b':') {
                return None;
            }
            let value = self.value(depth)?;
            members.push((name, value));
        }
        Some(Value::Object(members.into_iter().collect()))
    }

    /// Goes behind the bracket or the comma before the next one; `false` behind the bracket that ends all.
    fn another(&mut self, depth: usize, is_first: bool, end: u8) -> Option<bool> {
        if depth == 0 {
            return None;
        }
        if is_first {
            self.at += 1;
        }
        self.space();
        if self.goes_on(end) {
            return Some(false);
        }
        (is_first || self.goes_on(b',')).then_some(true)
    }

    fn string(&mut self) -> Option<String> {
        if !self.goes_on(b'"') {
            return None;
        }
        let mut read = String::new();
        loop {
            let from = self.at;
            let rest = self.text.as_bytes().get(from..)?;
            self.at += rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\')?;
            read.push_str(self.text.get(from..self.at)?);
            if self.goes_on(b'"') {
                return Some(read);
            }
            if !self.goes_on(b'\\') {
                return None;
            }
            read.push(self.escaped()?);
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                // Half of a pair, and the other half behind it.
                let is_half = (0xd800..0xdc00).contains(&unit);
                if is_half && !(self.goes_on(b'\\') && self.goes_on(b'u')) {
                    return None;
                }
                let low = if is_half { self.unit()?.checked_sub(0xdc00).filter(|low| *low < 0x400)? } else { 0 };
                char::from_u32(if is_half { 0x10000 + ((unit - 0xd800) << 10) + low } else { unit })?
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit << 4 | char::from(self.peek()?).to_digit(16)?;
            self.at += 1;
        }
        Some(unit)
    }

    /// Goes behind digits; says whether there was one.
    fn digits(&mut self) -> bool {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at > from
    }

    fn number(&mut self) -> Option<Value> {
        let from = self.at;
        let negative = self.goes_on(b'-');
        let first = self.at;
        // A zero stands alone before the point.
        if !self.goes_on(b'0') && !self.digits() {
            return None;
        }
        let whole = self.text.get(first..self.at)?;
        let mut is_whole = true;
        if self.goes_on(b'.') {
            is_whole = false;
            self.digits().then_some(())?;
        }
        if self.goes_on(b'e') || self.goes_on(b'E') {
            is_whole = false;
            let _signed = self.goes_on(b'+') || self.goes_on(b'-');
            self.digits().then_some(())?;
        }
        let integer = whole.parse::<u64>().ok().filter(|_| is_whole);
        Some(Value::Number(match (integer, negative) {
            (Some(integer), false) => integer.into(),
            (Some(integer), true) if (1..=1 << 63).contains(&integer) => 0i64.wrapping_sub_unsigned(integer).into(),
            _ => Number::from_f64(float(self.text.get(from..self.at)?)?)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn is_read_as_by_serde(text: &str) {
        let own = read(text).ok().map(|value| value.to_string());
        let serdes: Option<serde_json::Value> = serde_json::from_str(text).ok();
        assert_eq!(own, serdes.map(|value| value.to_string()), "{text}");
    }

    #[test]
    fn what_is_odd_is_read_or_refused_as_by_serde_core_11() {
        for text in [
            "",
            " ",
            "nul",
            "nulll",
            "true false",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[",
            "]",
            "{",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1,\"b\":2,\"a\":3}",
            " { \"a\" : [ ] } ",
            "[\n\t1\r]",
            "\u{b}1",
            "-",
            "-0",
            "-0.0",
            "00",
            "01",
            "1.",
            ".1",
            "1e",
            "1e+",
            "1E+5",
            "1e999",
            "-1e999",
            "1e-999",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            "+1",
            "NaN",
            "\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"\\ud800\"",
            "\"\\ud800\\n\"",
            "\"\\ud800\\ud800\"",
            "\"\\udc00\"",
            "\"\\ud83d\\ude00\"",
            "\"\\u0000\"",
            "\"\t\"",
            "\"\u{7f}\u{e4}\"",
            "\"\\/\\b\\f\\n\\r\\t\"",
            "\u{feff}1",
        ] {
            is_read_as_by_serde(text);
        }
        for depth in [126, 127, 128, 100_000] {
            is_read_as_by_serde(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
            is_read_as_by_serde(&format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)));
        }
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let members = proptest::collection::vec((".{0,3}", inner.clone()), 0..6);
            prop_oneof![
                proptest::collection::vec(inner, 0..6).prop_map(Value::from),
                members.prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_document_is_read_as_by_serde_core_11(value in document(), cut in 0..200usize, put in "[\\[\\]{},:\"\\\\0-9eE.+u -]") {
            is_read_as_by_serde(&value.to_string());
            is_read_as_by_serde(&format!("{value:#}"));
            // And with a letter changed.
            let mut text: Vec<char> = value.to_string().chars().collect();
            if let Some(letter) = text.get_mut(cut) {
                *letter = put.chars().next().unwrap_or(' ');
            }
            is_read_as_by_serde(&text.into_iter().collect::<String>());
        }

        #[test]
        fn any_text_is_read_or_refused_as_by_serde_core_11(text in "[\\[\\]{},:\"\\\\0-9eE.+u -]{0,12}") {
            is_read_as_by_serde(&text);
        }
    }
}
