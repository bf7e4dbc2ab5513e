//! What the database's own catalogue says of types and tables, and whether a table fits its declaration.
//!
//! Law: a type is called the same whoever asks. Names do not depend on the session's `search_path`, so the shape read
//! here and the shape that the stream describes have one fingerprint. Generated columns are no part of a shape: the
//! stream does not carry them (PG-71).
//! It reads only; nothing here is cached.

mod default;
mod table;
mod types;

use antiphon_engine::{
    Fault,
    ports::{Catalogue, Field, Shape},
};
use antiphon_model::{Code, Columns, EntityType, TypeKind};
use async_trait::async_trait;
use deadpool_postgres::Pool;

pub use self::{
    table::{ColumnInfo, ForeignKey, Identity, IndexInfo, Leaf, TableInfo, TableKind, describe, find_table},
    types::resolve_types,
};
use crate::errors;

/// Reads shapes from the live database.
#[derive(Clone)]
pub struct LiveCatalogue {
    pool: Pool,
}

impl LiveCatalogue {
    /// Makes a catalogue over a pool of connections to the source.
    pub fn new(pool: Pool) -> LiveCatalogue {
        LiveCatalogue { pool }
    }
}

#[async_trait]
impl Catalogue for LiveCatalogue {
    async fn shape(&self, entity: &EntityType) -> Result<Shape, Fault> {
        let client = self.pool.get().await.map_err(errors::pool)?;
        let table = describe(&client, entity).await?;
        fits(&table, entity)?;
        Ok(shape(&table, entity))
    }
}

/// Makes the shape of an entity type from its table.
pub(crate) fn shape(table: &TableInfo, entity: &EntityType) -> Shape {
    let fields = table.columns.iter().filter(|column| !column.generated && entity.shows(&column.name));
    let fields = fields.map(|column| Field {
        name: column.name.clone(),
        ty: column.ty.clone(),
        nullable: !column.not_null,
        default: default::read(column),
        length_max: column.length_max,
    });
    Shape { fields: fields.collect() }
}

/// Checks that a table is what its declaration says, naming what is not.
pub(crate) fn fits(table: &TableInfo, entity: &EntityType) -> Result<(), Fault> {
    let unfit = |why: String| Err(Fault::new(Code::TableUnfit, format!("table {}: {why}", entity.table)));
    if let Some(why) = table.refusal() {
        return unfit(why.to_owned());
    }
    if entity.key.is_empty() {
        return unfit("the declaration names no key".to_owned());
    }
    let org = entity.org_column();
    for name in named_columns(entity) {
        let Some(column) = table.column(name) else {
            return unfit(format!("there is no column `{name}`"));
        };
        let judged = entity.policy_columns().contains(name);
        if column.generated && (judged || Some(name) == org || entity.key.iter().any(|key| key == name)) {
            return unfit(format!("the column `{name}` is generated: the stream does not carry it"));
        }
    }
    if let Some(column) = table.column(&entity.tx)
        && column.ty.kind != TypeKind::Jsonb
    {
        return unfit(format!("the metadata column `{}` is {} and must be jsonb", entity.tx, column.ty.name));
    }
    for key in &entity.key {
        if table.column(key).is_some_and(|column| !column.not_null) {
            return unfit(format!("the key column `{key}` may be null"));
        }
    }
    let beyond = judged_beyond_key(entity);
    // What is polled is told whole, and what was told of a row is kept.
    let polled = entity.polling.cursor.is_some();
    let whole = table.audited
        || polled
        || table.identity == Identity::Full && table.partitions.iter().all(|leaf| leaf.identity == Identity::Full);
    if let (Some(column), false) = (beyond.first(), whole) {
        return unfit(format!(
            "its rules read the column `{column}`, which old rows do not hold; `antiphon entities add` has them logged \
             whole"
        ));
    }
    if let Some(org) = org {
        org_fits(table, entity, org)?;
    }
    if !table.unique_within(&entity.key, org) {
        let key = entity.key.join(", ");
        return unfit(format!("nothing keeps its key ({key}) unique: a unique index or a primary key is missing"));
    }
    Ok(())
}

/// Checks the type of the organisation's column: its text must be equal exactly where its values are.
fn org_fits(table: &TableInfo, entity: &EntityType, org: &str) -> Result<(), Fault> {
    let unfit = |why: String| Err(Fault::new(Code::TableUnfit, format!("table {}: {why}", entity.table)));
    let Some(column) = table.column(org) else {
        return unfit(format!("there is no column `{org}`"));
    };
    if !column.text_equality {
        let name = &column.ty.name;
        return unfit(format!(
            "the organisation column `{org}` is {name}, which has equal values of different text; text, varchar, \
             uuid, integers and enums serve"
        ));
    }
    let told = table.audited || entity.polling.cursor.is_some();
    if !column.not_null && table.identity != Identity::Full && !told {
        return unfit(format!("the organisation column `{org}` may be null; `antiphon entities add` prepares it"));
    }
    Ok(())
}

/// The columns that rules read and that an index over key and organisation does not have: whether an old row was seen
/// is judged by them, so old rows must be logged whole (ADR 0011).
pub(crate) fn judged_beyond_key(entity: &EntityType) -> Vec<&str> {
    let known = |name: &&str| entity.key.iter().any(|key| key == name) || entity.org_column() == Some(*name);
    entity.policy_columns().into_iter().filter(|name| !known(name)).collect()
}

/// Every column that a declaration needs, apart from the metadata column, which may come later.
fn named_columns(entity: &EntityType) -> impl Iterator<Item = &str> {
    let named = entity.key.iter().chain(&entity.filter).chain(&entity.hidden);
    let named = named.chain(&entity.polling.soft_delete);
    let named = named.chain(entity.together.iter().flatten()).chain(entity.refs.keys()).chain(entity.fields.keys());
    let granted = entity.rules.iter().flat_map(|rule| [&rule.read, &rule.write]).flat_map(|columns| match columns {
        Columns::All => Vec::new(),
        Columns::Some(names) => names.iter().map(String::as_str).collect(),
    });
    named.map(String::as_str).chain(entity.org_column()).chain(entity.policy_columns()).chain(granted)
}
