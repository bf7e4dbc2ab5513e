//! Arrays and composites: Postgres's text of them to JSON arrays and objects.
//!
//! Array: `{1,NULL,"a \"b\""}`, nested for several dimensions, with lower bounds in front (`[0:1]={..}`), which JSON has
//! no place for. Composite: `(1,"a ""b""",)`, an empty field is null. Whatever does not fit is refused as a whole.

use std::{borrow::Cow, sync::Arc};

use antiphon_model::{Type, write_string};

use super::{Encoded, write_value};

/// Walks one text.
struct Walk<'a> {
    text: &'a [u8],
    at: usize,
}

/// Writes an array; `false` where the text is none.
pub(super) fn write_array(
    element: &Type,
    delimiter: u8,
    text: &[u8],
    out: &mut String,
    nesting_left: usize,
    encoded: &mut Encoded,
) -> bool {
    let Some(start) = bounds_end(text) else { return false };
    let mut walk = Walk { text, at: start };
    let mut write = ArrayWriter { element, delimiter, out, encoded };
    write.dimension(&mut walk, nesting_left) && walk.at == text.len()
}

/// Returns where the braces start: behind the lower bounds, where there are any.
fn bounds_end(text: &[u8]) -> Option<usize> {
    if text.first() != Some(&b'[') {
        return Some(0);
    }
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let bound = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'[' | b']' | b':' | b'-' | b'+');
    text[..equals].iter().all(bound).then_some(equals + 1)
}

struct ArrayWriter<'a> {
    element: &'a Type,
    delimiter: u8,
    out: &'a mut String,
    encoded: &'a mut Encoded,
}

impl ArrayWriter<'_> {
    fn dimension(&mut self, walk: &mut Walk<'_>, nesting_left: usize) -> bool {
        if nesting_left == 0 || walk.next() != Some(b'{') {
            return false;
        }
        self.out.push('[');
        if walk.peek() == Some(b'}') {
            walk.at += 1;
            self.out.push(']');
            return true;
        }
        loop {
            let item = match walk.peek() {
                Some(b'{') => self.dimension(walk, nesting_left - 1),
                Some(b'"') => self.quoted(walk, nesting_left - 1),
                _ => self.bare(walk, nesting_left - 1),
            };
            if !item {
                return false;
            }
            match walk.next() {
                Some(b'}') => {
                    self.out.push(']');
                    return true;
                }
                Some(byte) if byte == self.delimiter => self.out.push(','),
                _ => return false,
            }
        }
    }

    fn quoted(&mut self, walk: &mut Walk<'_>, nesting_left: usize) -> bool {
        let Some(item) = walk.quoted(false) else { return false };
        write_value(self.element, &item, self.out, nesting_left, self.encoded);
        true
    }

    fn bare(&mut self, walk: &mut Walk<'_>, nesting_left: usize) -> bool {
        let item = walk.until(|byte| byte == self.delimiter || byte == b'}');
        // Postgres quotes each element that holds one of these.
        if item.is_empty() || item.iter().any(|byte| matches!(byte, b'{' | b'"' | b'\\')) {
            return false;
        }
        if item.eq_ignore_ascii_case(b"null") {
            self.out.push_str("null");
        } else {
            write_value(self.element, item, self.out, nesting_left, self.encoded);
        }
        true
    }
}

/// Writes a composite as an object; `false` where the text is none or has another number of fields.
pub(super) fn write_composite(
    attributes: &[(String, Arc<Type>)],
    text: &[u8],
    out: &mut String,
    nesting_left: usize,
    encoded: &mut Encoded,
) -> bool {
    let mut walk = Walk { text, at: 0 };
    if nesting_left == 0 || walk.next() != Some(b'(') {
        return false;
    }
    out.push('{');
    for (index, (name, ty)) in attributes.iter().enumerate() {
        if index > 0 {
            if walk.next() != Some(b',') {
                return false;
            }
            out.push(',');
        }
        write_string(out, name);
        out.push(':');
        match walk.peek() {
            Some(b',' | b')') => out.push_str("null"),
            Some(b'"') => {
                let Some(field) = walk.quoted(true) else { return false };
                write_value(ty, &field, out, nesting_left - 1, encoded);
            }
            _ => {
                let field = walk.until(|byte| matches!(byte, b',' | b')' | b'"' | b'\\'));
                write_value(ty, field, out, nesting_left - 1, encoded);
            }
        }
    }
    out.push('}');
    walk.next() == Some(b')') && walk.at == text.len()
}

impl<'a> Walk<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Takes bytes up to the first that `ends`, or to the end of the text.
    fn until(&mut self, ends: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|byte| ends(*byte)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Takes a quoted item; a doubled quote stands for one in composites (`doubling`).
    fn quoted(&mut self, doubling: bool) -> Option<Cow<'a, [u8]>> {
        self.at += 1;
        let plain = self.until(|byte| matches!(byte, b'"' | b'\\'));
        let mut item = Cow::Borrowed(plain);
        loop {
            match self.next()? {
                b'\\' => item.to_mut().push(self.next()?),
                _ if doubling && self.peek() == Some(b'"') => {
                    self.at += 1;
                    item.to_mut().push(b'"');
                }
                _ => return Some(item),
            }
            let plain = self.until(|byte| matches!(byte, b'"' | b'\\'));
            item.to_mut().extend_from_slice(plain);
        }
    }
}
