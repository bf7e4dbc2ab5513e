//! Values as Postgres prints them to JSON: the protocol's one encoding of every type.
//!
//! Law: whatever the bytes are, what is appended is one valid JSON value, and nothing is lost silently: text that does
//! not fit its type becomes a JSON string and is flagged, bytes that are not UTF-8 are replaced and flagged.
//! Nesting is bounded. Domains do not exist here: whoever builds a `Type` resolves them to their base.

mod document;
mod nested;
mod parse;
mod timestamptz;

use antiphon_model::{Cell, Type, TypeKind, write_string};

pub use parse::{ValueError, parse_raw_value, parse_value};

/// Arrays and composites nested deeper than this become strings; Postgres allows six dimensions in one array.
const NESTING_MAX: usize = 32;

/// What was found while a value was encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The value is the JSON document `null`, not SQL NULL; it is named in `jsonNulls`.
    pub json_null: bool,
    /// The text did not fit its type and was written as a string.
    pub malformed: bool,
    /// Bytes that are not UTF-8 were replaced.
    pub lossy: bool,
}

/// Appends a column's value; SQL NULL is `null`.
///
/// An unchanged value is not at hand: the caller names it in `unchanged`; `null` with a flag stands for it here.
#[inline]
pub fn encode_cell(ty: &Type, cell: Cell<'_>, out: &mut String) -> Encoded {
    match cell {
        Cell::Text(text) => encode_text(ty, text, out),
        Cell::Binary(bytes) => encode_binary(ty, bytes, out),
        Cell::Null => {
            out.push_str("null");
            Encoded::default()
        }
        Cell::Unchanged => {
            out.push_str("null");
            Encoded { malformed: true, ..Encoded::default() }
        }
    }
}

/// Appends a value given as Postgres prints it.
#[inline]
pub fn encode_text(ty: &Type, text: &[u8], out: &mut String) -> Encoded {
    let mut encoded = Encoded::default();
    write_value(ty, text, out, NESTING_MAX, &mut encoded);
    if matches!(ty.kind, TypeKind::Json | TypeKind::Jsonb) {
        encoded.json_null = text.trim_ascii() == b"null";
    }
    encoded
}

/// Appends a value given in Postgres's binary form; only `bytea` has one here, others become flagged hex strings.
pub fn encode_binary(ty: &Type, bytes: &[u8], out: &mut String) -> Encoded {
    if ty.kind == TypeKind::Bytea {
        out.push('"');
        write_base64(bytes.iter().copied(), out);
        out.push('"');
        return Encoded::default();
    }
    out.push_str("\"\\\\x");
    for byte in bytes {
        out.push(char::from(HEX_DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(HEX_DIGITS[usize::from(byte & 15)]));
    }
    out.push('"');
    Encoded { malformed: true, ..Encoded::default() }
}

fn write_value(ty: &Type, text: &[u8], out: &mut String, nesting_left: usize, encoded: &mut Encoded) {
    let start = out.len();
    let fits = match &ty.kind {
        TypeKind::Text | TypeKind::Enum(_) => return write_text(text, out, encoded),
        TypeKind::Bool => write_bool(text, out),
        TypeKind::Integer => write_checked(text, out, is_integer),
        TypeKind::Float => write_float(text, out),
        TypeKind::Json | TypeKind::Jsonb => write_checked(text, out, document::is_json),
        TypeKind::Bytea => write_bytea(text, out),
        TypeKind::Timestamptz => timestamptz::write(text, out),
        TypeKind::Array(element, delimiter) => {
            nested::write_array(element, *delimiter, text, out, nesting_left, encoded)
        }
        TypeKind::Composite(attributes) => nested::write_composite(attributes, text, out, nesting_left, encoded),
    };
    if !fits {
        out.truncate(start);
        encoded.malformed = true;
        write_text(text, out, encoded);
    }
}

/// Appends bytes as a JSON string.
fn write_text(text: &[u8], out: &mut String, encoded: &mut Encoded) {
    match std::str::from_utf8(text) {
        Ok(valid) if plain(text) => {
            out.reserve(valid.len() + 2);
            out.push('"');
            out.push_str(valid);
            out.push('"');
        }
        Ok(valid) => write_string(out, valid),
        Err(_) => {
            encoded.lossy = true;
            write_string(out, &String::from_utf8_lossy(text));
        }
    }
}

/// Tells whether no byte needs an escape; without a branch per byte, so that the compiler makes vectors of it.
fn plain(text: &[u8]) -> bool {
    let special = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte == 0x7F);
    text.chunks(64).all(|chunk| !chunk.iter().fold(false, |found, byte| found | special(*byte)))
}

fn write_bool(text: &[u8], out: &mut String) -> bool {
    match text {
        b"t" | b"true" => out.push_str("true"),
        b"f" | b"false" => out.push_str("false"),
        _ => return false,
    }
    true
}

fn write_checked(text: &[u8], out: &mut String, check: fn(&[u8]) -> bool) -> bool {
    match std::str::from_utf8(text) {
        Ok(valid) if check(text) => {
            out.push_str(valid);
            true
        }
        _ => false,
    }
}

fn write_float(text: &[u8], out: &mut String) -> bool {
    match text {
        b"NaN" => out.push_str("\"NaN\""),
        b"Infinity" => out.push_str("\"Infinity\""),
        b"-Infinity" => out.push_str("\"-Infinity\""),
        _ => return write_checked(text, out, |text| document::number_end(text, 0) == Some(text.len())),
    }
    true
}

fn is_integer(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits[0] != b'0')
}

fn write_bytea(text: &[u8], out: &mut String) -> bool {
    let Some(hex) = text.strip_prefix(b"\\x") else { return false };
    if hex.len() % 2 != 0 || !hex.iter().all(u8::is_ascii_hexdigit) {
        return false;
    }
    let nibble = |digit: u8| if digit <= b'9' { digit - b'0' } else { (digit | 0x20) - b'a' + 10 };
    out.reserve(hex.len() / 6 * 4 + 6);
    out.push('"');
    write_base64(hex.chunks_exact(2).map(|pair| (nibble(pair[0]) << 4) | nibble(pair[1])), out);
    out.push('"');
    true
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";
const BASE64_DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn write_base64(mut bytes: impl Iterator<Item = u8>, out: &mut String) {
    while let Some(first) = bytes.next() {
        let (second, third) = (bytes.next(), bytes.next());
        let group = u32::from(first) << 16 | u32::from(second.unwrap_or(0)) << 8 | u32::from(third.unwrap_or(0));
        let digit = |shift: u32| char::from(BASE64_DIGITS[(group >> shift & 63) as usize]);
        out.push(digit(18));
        out.push(digit(12));
        out.push(if second.is_some() { digit(6) } else { '=' });
        out.push(if third.is_some() { digit(0) } else { '=' });
    }
}

#[cfg(test)]
mod tests;
