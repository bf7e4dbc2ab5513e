//! Writing: what `#[derive(Written)]` calls, and how plain values are written.
//!
//! Laws: what is written is what `serde_json` writes, to the byte, since texts are keys in stores; nothing that is
//! written can fail to be.

use std::{borrow::Cow, collections::VecDeque, fmt::Write};

use antiphon_model::{TransactionId, Visibility, Xid};
use serde_json::Number;

use crate::json::{Object, Value};
use crate::ordered::{OrderedMap, OrderedSet};

/// What can be written as JSON.
pub(crate) trait Written {
    /// Appends it.
    fn write(&self, out: &mut String);
}

/// What is written as members of an object, which may have others.
pub(crate) trait Parts {
    /// Appends the members.
    fn parts(&self, out: &mut String);
}

pub(crate) fn write_object(value: &(impl Parts + ?Sized), out: &mut String) {
    out.push('{');
    value.parts(out);
    out.push('}');
}

pub(crate) fn write_member(out: &mut String, name: &str, value: &(impl Written + ?Sized)) {
    write_name(out, name);
    value.write(out);
}

/// Appends a member's name, behind a comma unless it is the first.
pub(crate) fn write_name(out: &mut String, name: &str) {
    between(out);
    name.write(out);
    out.push(':');
}

/// Appends a comma, unless a list or an object has just begun.
fn between(out: &mut String) {
    if !out.ends_with(['{', '[']) {
        out.push(',');
    }
}

fn write_items<'a, T: Written + ?Sized + 'a>(items: impl IntoIterator<Item = &'a T>, out: &mut String) {
    out.push('[');
    for item in items {
        between(out);
        item.write(out);
    }
    out.push(']');
}

impl Written for str {
    // The model's writer escapes other bytes: ids and hashes stand in stores as it writes them. This one writes as serde.
    fn write(&self, out: &mut String) {
        out.push('"');
        let mut copied = 0;
        for (index, byte) in self.bytes().enumerate() {
            let short = match byte {
                b'"' => "\\\"",
                b'\\' => "\\\\",
                b'\n' => "\\n",
                b'\r' => "\\r",
                b'\t' => "\\t",
                0x08 => "\\b",
                0x0C => "\\f",
                0..=0x1F => "",
                _ => continue,
            };
            out.push_str(self.get(copied..index).unwrap_or_default());
            out.push_str(short);
            if short.is_empty() {
                out.push_str("\\u00");
                for half in [byte >> 4, byte & 15] {
                    out.push(char::from(if half < 10 { b'0' + half } else { b'a' + half - 10 }));
                }
            }
            copied = index + 1;
        }
        out.push_str(self.get(copied..).unwrap_or_default());
        out.push('"');
    }
}

impl Written for String {
    fn write(&self, out: &mut String) {
        self.as_str().write(out);
    }
}

impl Written for TransactionId {
    fn write(&self, out: &mut String) {
        self.as_str().write(out);
    }
}

impl Written for bool {
    fn write(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

/// What its `Display` writes is JSON, in quotes or without.
macro_rules! displayed {
    ($form:literal: $($word:ident)*) => {$(
        impl Written for $word {
            fn write(&self, out: &mut String) {
                // A text takes whatever is appended to it.
                write!(out, $form, self).unwrap_or_default();
            }
        }
    )*};
}

displayed!("{}": u16 u32 u64 usize i64);
displayed!("\"{}\"": Visibility Xid);

impl Written for Number {
    fn write(&self, out: &mut String) {
        match (self.as_u64(), self.as_i64(), self.as_f64()) {
            (Some(natural), _, _) => natural.write(out),
            (None, Some(integer), _) => integer.write(out),
            (None, None, float) => crate::float::write(float.unwrap_or_default(), out),
        }
    }
}

impl Written for Value {
    fn write(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(truth) => truth.write(out),
            Value::Number(number) => number.write(out),
            Value::String(text) => text.write(out),
            Value::Array(items) => write_items(items, out),
            Value::Object(members) => members.write(out),
        }
    }
}

impl Written for Object {
    fn write(&self, out: &mut String) {
        out.push('{');
        for (name, value) in self {
            write_member(out, name, value);
        }
        out.push('}');
    }
}

impl<T: Written + ?Sized> Written for &T {
    fn write(&self, out: &mut String) {
        (**self).write(out);
    }
}

impl<T: Written + ?Sized> Written for Box<T> {
    fn write(&self, out: &mut String) {
        (**self).write(out);
    }
}

impl<T: Parts + ?Sized> Parts for Box<T> {
    fn parts(&self, out: &mut String) {
        (**self).parts(out);
    }
}

impl<T: Written + Clone> Written for Cow<'_, T> {
    fn write(&self, out: &mut String) {
        (**self).write(out);
    }
}

impl<T: Written> Written for Option<T> {
    fn write(&self, out: &mut String) {
        match self {
            Some(value) => value.write(out),
            None => out.push_str("null"),
        }
    }
}

impl<T: Written> Written for [T] {
    fn write(&self, out: &mut String) {
        write_items(self, out);
    }
}

impl<T: Written> Written for Vec<T> {
    fn write(&self, out: &mut String) {
        write_items(self, out);
    }
}

impl<T: Written> Written for VecDeque<T> {
    fn write(&self, out: &mut String) {
        write_items(self, out);
    }
}

impl<T: Written> Written for OrderedSet<T> {
    fn write(&self, out: &mut String) {
        write_items(self, out);
    }
}

impl<T: Written> Written for OrderedMap<String, T> {
    fn write(&self, out: &mut String) {
        out.push('{');
        for (name, value) in self {
            write_member(out, name, value);
        }
        out.push('}');
    }
}

impl<A: Written, B: Written> Written for (A, B) {
    fn write(&self, out: &mut String) {
        out.push('[');
        self.0.write(out);
        out.push(',');
        self.1.write(out);
        out.push(']');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_written_as_by_serde_core_12(text in ".*", control in "[\\x00-\\x7f]*") {
            for text in [text, control] {
                prop_assert_eq!(crate::form::text(&text), serde_json::to_string(&text).unwrap());
            }
        }

        #[test]
        fn any_number_is_written_as_by_serde_core_12(float: f64, integer: i64, natural: u64) {
            for value in [Value::from(float), Value::from(integer), Value::from(natural)] {
                prop_assert_eq!(crate::form::text(&value), serde_json::to_string(&value).unwrap());
            }
        }
    }
}
