//! JSON that a client writes to the text that Postgres reads as a type: the encoding of values, backwards.
//!
//! The text is meant for a session under our settings (ISO dates, UTC, ISO 8601 intervals). What only the server can
//! judge passes as a string: dates, ranges, a `bigint` given as a string, lengths and checks.
//! Law: no value is changed silently. A number that is no whole one, an array that is not rectangular, an attribute
//! that is missing or unknown, and a string that Postgres cannot hold are refused; errors never repeat the value.
//! SQL NULL is `None`; inside arrays and composites every JSON null is SQL NULL.

mod nested;
mod number;

use antiphon_model::{Type, TypeKind};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, value::RawValue};

use super::{HEX_DIGITS, NESTING_MAX};

/// Why a JSON value was not taken for a type: what was wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A boolean is `true` or `false`.
    #[error("true or false is wanted")]
    Boolean,
    /// An integer is a whole number within the type's bounds.
    #[error("a whole number from {min} to {max} is wanted")]
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A 64-bit integer is a string, or a whole number that every JSON reader holds exactly.
    #[error("a string, or a whole number from {min} to {max}, is wanted")]
    WideInteger {
        /// The least that is taken as a number.
        min: i64,
        /// The greatest that is taken as a number.
        max: i64,
    },
    /// A decimal number is a string or a number.
    #[error("a string or a number is wanted")]
    Numeric,
    /// A floating-point number is a number or one of three words.
    #[error("a number, \"NaN\", \"Infinity\" or \"-Infinity\" is wanted")]
    Float,
    /// Everything that is written as a string.
    #[error("a string is wanted")]
    Text,
    /// No text of Postgres holds the character with number zero.
    #[error("a string without the zero character is wanted")]
    ZeroCharacter,
    /// Bytes are base64 with its padding.
    #[error("a string of padded base64 is wanted")]
    Base64,
    /// An enumerated type takes its labels only.
    #[error("one of the type's labels is wanted")]
    Label,
    /// An array is a JSON array.
    #[error("an array is wanted")]
    Array,
    /// An array of several dimensions has items of equal length, and as many dimensions as Postgres allows.
    #[error("a rectangular array of at most {dimensions_max} dimensions, none of them empty, is wanted")]
    Rectangular {
        /// How many dimensions Postgres allows.
        dimensions_max: usize,
    },
    /// A composite is an object.
    #[error("an object is wanted")]
    Composite,
    /// An attribute of a composite is absent; null must be written.
    #[error("an object with the attribute {name:?} is wanted")]
    AttributeMissing {
        /// The attribute that the type has.
        name: String,
    },
    /// An object holds more than the composite's attributes.
    #[error("an object with the type's attributes only is wanted")]
    AttributeUnknown,
    /// Types nested too deep, or quotes of quotes that grow beyond reason.
    #[error("a smaller value is wanted: at most {bytes_max} bytes and {levels_max} levels when written for Postgres")]
    TooLarge {
        /// How long a nested value may become.
        bytes_max: usize,
        /// How deep types may nest.
        levels_max: usize,
    },
}

/// Returns the text that Postgres reads as the type; `None` is SQL NULL.
///
/// JSON null is SQL NULL, but for `json` and `jsonb` it is the document `null` where `json_null` says so. A `Value` has
/// lost how its numbers were written and which keys came twice: where the request's own text is at hand, use
/// [`parse_raw_value`].
pub fn parse_value(ty: &Type, value: &Value, json_null: bool) -> Result<Option<String>, ValueError> {
    match value {
        Value::String(string) if !matches!(ty.kind, TypeKind::Json | TypeKind::Jsonb) => {
            string_of(ty, string).map(Some)
        }
        _ => parse_document(ty, &value.to_string(), json_null),
    }
}

/// Does what [`parse_value`] does with JSON as it was written: digits and documents stay what they are.
pub fn parse_raw_value(ty: &Type, value: &RawValue, json_null: bool) -> Result<Option<String>, ValueError> {
    parse_document(ty, value.get(), json_null)
}

fn parse_document(ty: &Type, json: &str, json_null: bool) -> Result<Option<String>, ValueError> {
    if json == "null" && json_null && matches!(ty.kind, TypeKind::Json | TypeKind::Jsonb) {
        return Ok(Some(json.to_owned()));
    }
    parse(ty, json, NESTING_MAX)
}

/// Parses one valid JSON value without white space around it.
fn parse(ty: &Type, json: &str, levels_left: usize) -> Result<Option<String>, ValueError> {
    if json == "null" {
        return Ok(None);
    }
    if levels_left == 0 {
        return Err(nested::TOO_LARGE);
    }
    let text = match &ty.kind {
        TypeKind::Json => json.to_owned(),
        TypeKind::Jsonb if holds_zero(json) => return Err(ValueError::ZeroCharacter),
        TypeKind::Jsonb => json.to_owned(),
        TypeKind::Array(element, delimiter) => nested::parse_array(element, *delimiter, json, levels_left)?,
        TypeKind::Composite(attributes) => nested::parse_composite(attributes, json, levels_left)?,
        _ if json.starts_with('"') => {
            // Half of a surrogate pair is valid JSON and no string.
            let string: String = serde_json::from_str(json).map_err(|_| ValueError::Text)?;
            return string_of(ty, &string).map(Some);
        }
        TypeKind::Bool if matches!(json, "true" | "false") => json.to_owned(),
        TypeKind::Bool => return Err(ValueError::Boolean),
        TypeKind::Integer => number::parse_integer(ty, json)?,
        TypeKind::Float if number::is_number(json) => json.to_owned(),
        TypeKind::Float => return Err(ValueError::Float),
        TypeKind::Text => number::parse_number_of_text(ty, json)?,
        TypeKind::Timestamptz | TypeKind::Enum(_) => return Err(ValueError::Text),
        TypeKind::Bytea => return Err(ValueError::Base64),
    };
    Ok(Some(text))
}

/// Returns the text of a JSON string for a type that is neither a document nor nested.
fn string_of(ty: &Type, string: &str) -> Result<String, ValueError> {
    match &ty.kind {
        TypeKind::Bool => return Err(ValueError::Boolean),
        TypeKind::Integer => return Err(number::out_of_bounds(ty)),
        TypeKind::Float if !matches!(string, "NaN" | "Infinity" | "-Infinity") => return Err(ValueError::Float),
        TypeKind::Bytea => return parse_bytea(string),
        TypeKind::Array(..) => return Err(ValueError::Array),
        TypeKind::Composite(_) => return Err(ValueError::Composite),
        TypeKind::Enum(labels) if !labels.iter().any(|label| label == string) => return Err(ValueError::Label),
        _ => {}
    }
    if string.contains('\0') { Err(ValueError::ZeroCharacter) } else { Ok(string.to_owned()) }
}

fn parse_bytea(base64: &str) -> Result<String, ValueError> {
    let bytes = STANDARD.decode(base64).map_err(|_| ValueError::Base64)?;
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        text.push(char::from(HEX_DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(HEX_DIGITS[usize::from(byte & 15)]));
    }
    Ok(text)
}

/// Tells whether a document's strings hold the zero character, which `json` keeps as an escape and `jsonb` cannot.
fn holds_zero(json: &str) -> bool {
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        if rest[at + 1..].starts_with("u0000") {
            return true;
        }
        // The escaped character may be a backslash itself; it is always one byte.
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests;
