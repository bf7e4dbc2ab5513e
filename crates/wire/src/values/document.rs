//! Tells whether bytes are one JSON document, without recursion and without building it.
//!
//! Postgres guarantees it for `json` and `jsonb`; checking keeps a hostile server from breaking the frames that the
//! document is copied into (SE-38). Nesting costs one byte a level, so its depth needs no bound.

/// Tells whether `text` (valid UTF-8) is one JSON document, with white space around it allowed.
pub(super) fn is_json(text: &[u8]) -> bool {
    let mut open = Vec::new();
    let mut at = skip_space(text, 0);
    loop {
        let Some(after) = value_or_opening(text, at, &mut open) else { return false };
        match after {
            Step::Value(next) => at = next,
            Step::Done(next) => {
                let Some(next) = close(text, next, &mut open) else { return false };
                if open.is_empty() {
                    return next == text.len();
                }
                at = next;
            }
        }
    }
}

enum Step {
    /// A value starts here.
    Value(usize),
    /// A value ended here.
    Done(usize),
}

/// Reads a scalar, an empty container, or the opening of a container up to its first value.
fn value_or_opening(text: &[u8], at: usize, open: &mut Vec<u8>) -> Option<Step> {
    let end = match *text.get(at)? {
        bracket @ (b'{' | b'[') => {
            let inside = skip_space(text, at + 1);
            if *text.get(inside)? == closing(bracket) {
                return Some(Step::Done(inside + 1));
            }
            open.push(bracket);
            return item_start(text, inside, bracket).map(Step::Value);
        }
        b'"' => string_end(text, at)?,
        b't' => literal_end(text, at, b"true")?,
        b'f' => literal_end(text, at, b"false")?,
        b'n' => literal_end(text, at, b"null")?,
        _ => number_end(text, at)?,
    };
    Some(Step::Done(end))
}

/// After a value: closes containers that end here and returns where the next value starts, or the end of the text.
fn close(text: &[u8], mut at: usize, open: &mut Vec<u8>) -> Option<usize> {
    loop {
        at = skip_space(text, at);
        let Some(&bracket) = open.last() else { return Some(at) };
        match *text.get(at)? {
            b',' => return item_start(text, skip_space(text, at + 1), bracket),
            byte if byte == closing(bracket) => open.pop(),
            _ => return None,
        };
        at += 1;
    }
}

/// Returns where an item's value starts: behind the key in an object.
fn item_start(text: &[u8], at: usize, bracket: u8) -> Option<usize> {
    if bracket == b'[' {
        return Some(at);
    }
    let colon = skip_space(text, string_end(text, at)?);
    (*text.get(colon)? == b':').then(|| skip_space(text, colon + 1))
}

fn closing(bracket: u8) -> u8 {
    if bracket == b'{' { b'}' } else { b']' }
}

fn skip_space(text: &[u8], at: usize) -> usize {
    let space = text[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    at + space
}

fn literal_end(text: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    text[at..].starts_with(word).then_some(at + word.len())
}

fn string_end(text: &[u8], at: usize) -> Option<usize> {
    if *text.get(at)? != b'"' {
        return None;
    }
    let mut at = at + 1;
    loop {
        match *text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match *text.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' if text.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => at += 6,
                _ => return None,
            },
            0..=0x1F => return None,
            _ => at += 1,
        }
    }
}

/// Returns where the JSON number that starts at `at` ends.
pub(super) fn number_end(text: &[u8], at: usize) -> Option<usize> {
    let digits = |at: usize| {
        let count = text.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then_some(at + count)
    };
    let first = if *text.get(at)? == b'-' { at + 1 } else { at };
    let mut end = digits(first)?;
    if text[first] == b'0' && end > first + 1 {
        return None;
    }
    if text.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        end = digits(end + 1 + sign)?;
    }
    Some(end)
}
