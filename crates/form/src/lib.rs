//! `#[derive(Form)]` and `#[derive(Written)]`: read and write a type as JSON, by the attributes that serde has for it.
//!
//! serde writes a reader for each type and each place that it may be read from, and for tagged and flattened types a
//! second one that reads from a copy. In a page that is most of what is loaded. This writes one: every member is taken
//! out of the document, or appended to the text, by a call. It is for `antiphon_sync` alone, whose `form` module it calls.
//! Law: what is read and written is what serde does by the same attributes; one that it does not know is refused.

mod attributes;
mod reader;
mod writer;

use proc_macro::TokenStream;
use syn::{DeriveInput, Error, parse_macro_input};

/// Reads a type from a JSON document, as `serde::Deserialize` would.
#[proc_macro_derive(Form, attributes(serde, form))]
pub fn form(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    reader::reader(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// Writes a type as JSON, as `serde::Serialize` would.
#[proc_macro_derive(Written, attributes(serde, form))]
pub fn written(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    writer::writer(&input).unwrap_or_else(Error::into_compile_error).into()
}
