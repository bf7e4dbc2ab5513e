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
        fn prop_every_string_reads_back_unchanged(text in any::<String>()) {
            let mut out = String::new();
            write_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
