//! Arrays and composites as Postgres reads them: JSON arrays to `{..}`, objects to `(..)`.
//!
//! Quotes stand where Postgres itself would print them, so that what it prints comes back byte for byte (lower bounds
//! excepted, which JSON has no place for). An element that is itself an array (of a domain over one) or a document may
//! be written as a JSON array, so an array of these has one dimension here.

use std::{collections::HashMap, sync::Arc};

use antiphon_model::{Type, TypeKind};
use serde_json::value::RawValue;

use super::{NESTING_MAX, ValueError, parse};

/// Postgres's own bound.
const DIMENSIONS_MAX: usize = 6;

/// Each level of nesting doubles the quotes of those inside it, so that a short value can become a long text.
const BYTES_MAX: usize = 64 << 20;

pub(super) const TOO_LARGE: ValueError = ValueError::TooLarge { bytes_max: BYTES_MAX, levels_max: NESTING_MAX };
const RECTANGULAR: ValueError = ValueError::Rectangular { dimensions_max: DIMENSIONS_MAX };

/// Returns the array literal of a JSON array.
pub(super) fn parse_array(element: &Type, delimiter: u8, json: &str, levels_left: usize) -> Result<String, ValueError> {
    let mut array = ArrayText { element, delimiter, levels_left, lengths: Vec::new(), depth: None, out: String::new() };
    array.dimension(json, 0)?;
    Ok(array.out)
}

struct ArrayText<'a> {
    element: &'a Type,
    delimiter: u8,
    levels_left: usize,
    /// The length of each dimension seen so far.
    lengths: Vec<usize>,
    /// How many dimensions there are; known from the first element on.
    depth: Option<usize>,
    out: String,
}

impl ArrayText<'_> {
    fn dimension(&mut self, json: &str, above: usize) -> Result<(), ValueError> {
        if above == DIMENSIONS_MAX {
            return Err(RECTANGULAR);
        }
        let items: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| ValueError::Array)?;
        match self.lengths.get(above) {
            Some(length) if *length != items.len() => return Err(RECTANGULAR),
            Some(_) => {}
            None if items.is_empty() && above > 0 => return Err(RECTANGULAR),
            None => self.lengths.push(items.len()),
        }
        let single = matches!(self.element.kind, TypeKind::Array(..) | TypeKind::Json | TypeKind::Jsonb);
        self.out.push('{');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.push(char::from(self.delimiter));
            }
            let item = item.get();
            if !single && item.starts_with('[') {
                if self.depth == Some(above + 1) {
                    return Err(RECTANGULAR);
                }
                self.dimension(item, above + 1)?;
            } else {
                if *self.depth.get_or_insert(above + 1) != above + 1 {
                    return Err(RECTANGULAR);
                }
                self.item(item)?;
            }
        }
        self.out.push('}');
        Ok(())
    }

    fn item(&mut self, json: &str) -> Result<(), ValueError> {
        let Some(text) = parse(self.element, json, self.levels_left - 1)? else {
            self.out.push_str("NULL");
            return Ok(());
        };
        let special = |byte: u8| matches!(byte, b'{' | b'}') || byte == self.delimiter;
        if text.eq_ignore_ascii_case("null") || needs_quotes(&text, special) {
            push_quoted(&mut self.out, &text, "\\\"")
        } else {
            push_bounded(&mut self.out, &text)
        }
    }
}

/// Returns the row literal of a JSON object that has each attribute and no other.
pub(super) fn parse_composite(
    attributes: &[(String, Arc<Type>)],
    json: &str,
    levels_left: usize,
) -> Result<String, ValueError> {
    let mut fields: HashMap<String, &RawValue> = serde_json::from_str(json).map_err(|_| ValueError::Composite)?;
    let mut out = String::from("(");
    for (index, (name, ty)) in attributes.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        let field = fields.remove(name).ok_or_else(|| ValueError::AttributeMissing { name: name.clone() })?;
        match parse(ty, field.get(), levels_left - 1)? {
            None => {}
            Some(text) if needs_quotes(&text, |byte| matches!(byte, b'(' | b')' | b',')) => {
                push_quoted(&mut out, &text, "\"\"")?;
            }
            Some(text) => push_bounded(&mut out, &text)?,
        }
    }
    if !fields.is_empty() {
        return Err(ValueError::AttributeUnknown);
    }
    out.push(')');
    Ok(out)
}

fn needs_quotes(text: &str, special: impl Fn(u8) -> bool) -> bool {
    // The vertical tab is a space to Postgres.
    let marked = |byte: u8| matches!(byte, b'"' | b'\\' | b' ' | b'\t' | b'\n' | 0x0B | 0x0C | b'\r');
    text.is_empty() || text.bytes().any(|byte| marked(byte) || special(byte))
}

fn push_quoted(out: &mut String, text: &str, quote: &str) -> Result<(), ValueError> {
    out.push('"');
    for part in text.split_inclusive(['"', '\\']) {
        match part.as_bytes().last() {
            Some(b'"') => push_bounded(out, &part[..part.len() - 1]).map(|()| out.push_str(quote))?,
            Some(b'\\') => push_bounded(out, part).map(|()| out.push('\\'))?,
            _ => push_bounded(out, part)?,
        }
    }
    out.push('"');
    Ok(())
}

fn push_bounded(out: &mut String, text: &str) -> Result<(), ValueError> {
    if out.len() + text.len() > BYTES_MAX {
        return Err(TOO_LARGE);
    }
    out.push_str(text);
    Ok(())
}
