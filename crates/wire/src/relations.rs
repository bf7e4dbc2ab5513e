//! The tables that a connection has described, as they were when the rows that follow were written.
//!
//! Postgres describes a table before its first row and again after each change of its shape, so a row is decoded under
//! the description that precedes it (PG-46). Nothing can be fetched again, so nothing is evicted; the cache lives as
//! long as its connection and a new connection begins with an empty one.
//! A table whose types nobody knows is still decoded: such columns pass through as text.

use std::{collections::HashMap, sync::Arc};

use antiphon_model::{Column, Relation, Type};

use crate::{Error, RawRelation, TypeTable};

/// Descriptions of tables and names of types, by OID.
#[derive(Clone, Debug, Default)]
pub struct RelationCache {
    relations: HashMap<u32, Arc<Relation>>,
    type_names: HashMap<u32, String>,
    latest: Option<Arc<Relation>>,
}

impl RelationCache {
    /// Makes an empty cache.
    pub fn new() -> RelationCache {
        RelationCache::default()
    }

    /// Returns how many tables are described.
    pub fn len(&self) -> usize {
        self.relations.len()
    }

    /// Tells whether no table is described.
    pub fn is_empty(&self) -> bool {
        self.relations.is_empty()
    }

    /// Forgets everything; for a new connection.
    pub fn clear(&mut self) {
        *self = RelationCache::default();
    }

    /// Remembers what a type message called a type that is not built in.
    pub fn name_type(&mut self, oid: u32, schema: &str, name: &str) {
        let name = if schema == "pg_catalog" { name.to_owned() } else { format!("{schema}.{name}") };
        self.type_names.insert(oid, name);
    }

    /// Remembers a description, resolved against `types`, in place of an older one of the same table.
    pub fn insert(&mut self, raw: &RawRelation, types: &TypeTable) -> Arc<Relation> {
        let columns = raw.columns.iter().map(|column| Column {
            name: column.name.clone(),
            identity: column.identity,
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
            ty: types.resolve(column.type_oid).unwrap_or_else(|| Arc::new(self.fallback(column.type_oid))),
        });
        let relation = Arc::new(Relation {
            oid: raw.oid,
            schema: raw.schema.clone(),
            name: raw.name.clone(),
            identity: raw.identity,
            columns: columns.collect(),
        });
        self.relations.insert(raw.oid, relation.clone());
        self.latest = Some(relation.clone());
        relation
    }

    /// Finds the description of a table.
    ///
    /// # Errors
    /// Fails where the table was not described.
    pub fn find(&mut self, oid: u32) -> Result<&Arc<Relation>, Error> {
        // Rows come in runs of one table; comparing first saves a hash for nearly every row.
        if self.latest.as_ref().is_none_or(|latest| latest.oid != oid) {
            self.latest = Some(self.relations.get(&oid).ok_or(Error::UnknownRelation { oid })?.clone());
        }
        self.latest.as_ref().ok_or(Error::UnknownRelation { oid })
    }

    fn fallback(&self, oid: u32) -> Type {
        match self.type_names.get(&oid) {
            Some(name) => Type::text(name.clone()),
            None => Type::text(format!("type {oid}")),
        }
    }
}
