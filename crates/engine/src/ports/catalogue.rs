//! The live shape of declared tables, and the numbers given to shapes.
//!
//! A shape is read from the catalogue and numbered in our own database, so that a change, a list and the schema which a
//! client asks for can say of which shape they speak. Nothing here guesses that one column is another under a new name.

use std::{collections::BTreeMap, sync::Arc};

use antiphon_model::{EntityType, Type};
use async_trait::async_trait;

use crate::Fault;

/// What a column holds when nothing is given, as far as a client can know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldDefault {
    /// A literal, encoded as JSON.
    Literal(String),
    /// The time of the insert.
    Now,
    /// Something that only the database can make (a sequence, a function).
    Database,
}

/// One field of an entity type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The column's name.
    pub name: String,
    /// Its type.
    pub ty: Arc<Type>,
    /// Whether it may be null.
    pub nullable: bool,
    /// Its default.
    pub default: Option<FieldDefault>,
    /// The greatest length of a varchar or bpchar.
    pub length_max: Option<u32>,
}

/// The shape of an entity type: the columns that may leave the server, without generated ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The fields in the table's order.
    pub fields: Vec<Field>,
}

impl Shape {
    /// Names the shape by its fields and their types; equal text, equal shape.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.fields.iter().map(|field| (field.name.as_str(), &*field.ty)))
    }
}

/// Names a shape by its fields and their types, in order.
pub(crate) fn fingerprint<'a>(fields: impl Iterator<Item = (&'a str, &'a Type)>) -> String {
    let mut text = String::new();
    for (name, ty) in fields {
        antiphon_model::write_string(&mut text, name);
        text.push(':');
        text.push_str(&ty.name);
        text.push(';');
    }
    text
}

/// Reads the live shape of tables.
#[async_trait]
pub trait Catalogue: Send + Sync {
    /// Returns the present shape; a table that does not fit its declaration fails with `TABLE_UNFIT`.
    async fn shape(&self, entity: &EntityType) -> Result<Shape, Fault>;
}

/// Gives numbers to shapes: one series for each entity type, rising by one with each new shape.
///
/// Durability: a number is committed before it is returned. Repetition: the newest shape's number is returned again;
/// a shape that comes back after another one gets a new number. Concurrency: any.
#[async_trait]
pub trait Schemas: Send + Sync {
    /// Returns the number of a shape.
    async fn number(&self, entity_type: &str, fingerprint: &str) -> Result<u32, Fault>;

    /// Returns the newest number of each type that has one: a shape kept in memory under a lower number is no longer the
    /// present one.
    async fn newest(&self) -> Result<BTreeMap<String, u32>, Fault>;
}
