//! Reading rows of the source as lists and single entities, with what the snapshot saw (protocol 4, the join).
//!
//! Rows are encoded exactly as the stream encodes them, so that a client can mix both.
//! Never read from a server in recovery: its snapshot names no running transactions.

use std::{collections::BTreeMap, sync::Arc};

use antiphon_model::{EntityType, Reader, Visibility};
use async_trait::async_trait;

use crate::Fault;

/// How a field is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal; the value `None` means SQL NULL.
    Equal,
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterOrEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessOrEqual,
}

/// One condition of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The field; declared in `filter` or part of the key.
    pub field: String,
    /// How it is compared.
    pub comparison: Comparison,
    /// The value as Postgres reads it; `None` is null.
    pub value: Option<String>,
}

/// One level of a list's order; nulls come last, texts by bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The field.
    pub field: String,
    /// Whether larger values come first.
    pub descending: bool,
}

/// A list of one type in one organisation.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// The type.
    pub entity: Arc<EntityType>,
    /// The organisation's id.
    pub org: String,
    /// Who asks: rows of which the rules show this reader nothing are left out; `None`: none are.
    pub reader: Option<Reader>,
    /// Only these rows (key values of each), where not empty; then `order`, `after` and `limit` do not apply.
    pub ids: Vec<Vec<String>>,
    /// Conditions, all of which must hold.
    pub filters: Vec<Filter>,
    /// Order before the key.
    pub order: Vec<Order>,
    /// Where the page begins: the opaque `next` of the page before.
    pub after: Option<String>,
    /// At most so many rows.
    pub limit: usize,
}

/// A row encoded for the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowImage {
    /// The JSON object of the fields that may leave the server, whoever asks.
    pub image: String,
    /// `omitted`, `jsonNulls` as the inside of an object, where not empty.
    pub details: Option<String>,
    /// The row's whole metadata as JSON text; `None` where it was never stamped.
    pub tx: Option<String>,
    /// The texts of the columns that the type's rules read.
    pub policy: BTreeMap<String, Option<String>>,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct RowPage {
    /// The rows in order.
    pub rows: Vec<RowImage>,
    /// Opaque text that continues the list; `None` at its end.
    pub next: Option<String>,
    /// What the query's snapshot saw.
    pub visibility: Visibility,
    /// The text that names the shape of the rows (see `Shape::fingerprint`).
    pub fingerprint: String,
}

/// One value of one row in one organisation.
#[derive(Clone, Debug)]
pub struct FieldQuery {
    /// The type.
    pub entity: Arc<EntityType>,
    /// The organisation's id.
    pub org: String,
    /// Who asks; `None`: somebody who may see everything.
    pub reader: Option<Reader>,
    /// The key's values.
    pub key: Vec<String>,
    /// The field.
    pub field: String,
}

/// The value.
#[derive(Clone, Debug)]
pub struct FieldValue {
    /// The encoded JSON value.
    pub value: String,
    /// What the query's snapshot saw.
    pub visibility: Visibility,
}

/// Reads rows of the source.
///
/// Durability: the server that the slot decodes, never one in recovery. Order: as asked. Concurrency: any, bounded
/// by a pool; when the pool is used up the call waits, then fails with `TRY_AGAIN`.
#[async_trait]
pub trait Rows: Send + Sync {
    /// Reads a page; a bad cursor or value fails with `PARAMETER_INVALID` naming the parameter.
    async fn list(&self, query: &ListQuery) -> Result<RowPage, Fault>;

    /// Reads one value whole, however large; `None` where the row is not there or the rules do not show the field in it.
    async fn field(&self, query: &FieldQuery) -> Result<Option<FieldValue>, Fault>;
}
