//! The two things about JSON text that the hot path does by hand: writing a string, and finding the keys of an
//! object that we wrote ourselves.
//!
//! Everything else about JSON is `serde_json`'s business.

/// Appends `text` as a JSON string.
pub fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1F | 0x7F => "",
            _ => continue,
        };
        out.push_str(&text[copied..index]);
        if short.is_empty() {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.push_str("\\u00");
            out.push(HEX[usize::from(byte >> 4)] as char);
            out.push(HEX[usize::from(byte & 15)] as char);
        } else {
            out.push_str(short);
        }
        copied = index + 1;
    }
    out.push_str(&text[copied..]);
    out.push('"');
}

/// Returns the raw (still escaped) top-level keys of a JSON object without insignificant white space around keys.
///
/// Only for text that this project wrote; anything else yields the keys found until it stops making sense.
pub fn top_level_keys(object: &str) -> Vec<&str> {
    let bytes = object.as_bytes();
    let mut keys = Vec::new();
    let (mut at, mut depth, mut expect_key) = (0, 0usize, false);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let start = at + 1;
                at = start;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                if depth == 1 && expect_key && at < bytes.len() {
                    keys.push(&object[start..at]);
                    expect_key = false;
                }
            }
            open @ (b'{' | b'[') => {
                depth += 1;
                expect_key = depth == 1 && open == b'{';
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => expect_key = true,
            _ => {}
        }
        at += 1;
    }
    keys
}

/// Appends an object that we wrote with only those members whose name is kept.
pub fn cut_object(out: &mut String, object: &str, keep: impl Fn(&str) -> bool) {
    out.push('{');
    let mut first = true;
    for member in members(object) {
        let (key, _) = member.split_at(end_of_string(member.as_bytes(), 0));
        if !unescape(&key[1..key.len() - 1]).is_some_and(|key| keep(&key)) {
            continue;
        }
        if !first {
            out.push(',');
        }
        out.push_str(member);
        first = false;
    }
    out.push('}');
}

/// Returns the text of a raw key of `top_level_keys`.
pub(crate) fn unescape(key: &str) -> Option<String> {
    match key.contains('\\') {
        true => serde_json::from_str(&format!("\"{key}\"")).ok(),
        false => Some(key.to_owned()),
    }
}

/// Splits an object that we wrote into its members, each `"key":value`.
fn members(object: &str) -> Vec<&str> {
    let bytes = object.as_bytes();
    let (mut members, mut at, mut depth, mut start) = (Vec::new(), 0, 0usize, 1);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at) - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => {
                members.push(&object[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    let last = object.get(start..object.len().saturating_sub(1)).unwrap_or("");
    if !last.is_empty() {
        members.push(last);
    }
    members
}

/// The place behind a string that begins at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_inside_values_are_not_keys() {
        let object =
            r#"{"id":"a","body":"{\"x\":1}, \"y\":","meta":{"k":[1,{"z":2}]},"list":["a","b"],"q\"uote":null}"#;
        assert_eq!(top_level_keys(object), ["id", "body", "meta", "list", "q\\\"uote"]);
        assert!(top_level_keys("{}").is_empty());
    }

    proptest! {
        #[test]
        fn prop_a_cut_object_is_what_a_parser_would_keep(map in proptest::collection::btree_map(any::<String>(), any::<Vec<String>>(), 0..6), keep in any::<u8>()) {
            let mut object = String::from("{");
            for (index, (key, value)) in map.iter().enumerate() {
                if index > 0 { object.push(','); }
                write_string(&mut object, key);
                object.push(':');
                object.push_str(&serde_json::to_string(&serde_json::json!({"v": value, "}": ["{", key]})).unwrap());
            }
            object.push('}');
            let kept: Vec<&String> = map.keys().enumerate().filter(|(index, _)| keep >> index & 1 == 1).map(|(_, key)| key).collect();
            let mut out = String::new();
            cut_object(&mut out, &object, |key| kept.iter().any(|kept| *kept == key));
            let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&out).unwrap();
            prop_assert_eq!(value.keys().collect::<Vec<_>>(), kept);
        }

        #[test]
        fn prop_every_string_reads_back_unchanged(text in any::<String>()) {
            let mut out = String::new();
            write_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
