//! How a Postgres type is written in JSON: the left column of the protocol's table of values, closed.
//!
//! Built-in types are known by their OID in `wire`; others are resolved from the catalogue once a connection.

use std::sync::Arc;

/// A Postgres type as far as its JSON encoding is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// The name as `format_type` prints it, e.g. `timestamp with time zone`, `text[]`, `mood`.
    pub name: String,
    /// Which rule of the protocol's table applies.
    pub kind: TypeKind,
}

/// The rules of the protocol's table of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeKind {
    /// `true` or `false`.
    Bool,
    /// A JSON number: int2, int4.
    Integer,
    /// A JSON number, or `"NaN"`, `"Infinity"`, `"-Infinity"`: float4, float8.
    Float,
    /// A string exactly as Postgres prints it; also every type that is not listed.
    Text,
    /// The document byte for byte.
    Json,
    /// The document.
    Jsonb,
    /// Base64 of the bytes.
    Bytea,
    /// RFC 3339 in UTC with microseconds.
    Timestamptz,
    /// A JSON array of the element's encoding; the character separates elements in Postgres's text (`,`, for box `;`).
    Array(Arc<Type>, u8),
    /// An object by attribute name.
    Composite(Arc<[(String, Arc<Type>)]>),
    /// An enumerated type, a string; its labels in order.
    Enum(Arc<[String]>),
}

impl Type {
    /// Makes a type that is passed through as Postgres prints it.
    pub fn text(name: impl Into<String>) -> Type {
        Type { name: name.into(), kind: TypeKind::Text }
    }

    /// Returns the JSON type that the schema endpoint shows: `boolean`, `number`, `string`, `array`, `object` or `json`.
    pub fn json_name(&self) -> &'static str {
        match self.kind {
            TypeKind::Bool => "boolean",
            TypeKind::Integer | TypeKind::Float => "number",
            TypeKind::Text | TypeKind::Bytea | TypeKind::Timestamptz | TypeKind::Enum(_) => "string",
            TypeKind::Json | TypeKind::Jsonb => "json",
            TypeKind::Array(..) => "array",
            TypeKind::Composite(_) => "object",
        }
    }
}
