//! A declared table: the entity type and how its rows take part in sync (protocol 3).
//!
//! This is the resolved declaration; where it comes from (`antiphon.toml`) is the command line's business, and
//! whether the table really looks like that is checked by `postgres`.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::Rule;

/// A table's full name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelationName {
    /// The schema.
    pub schema: String,
    /// The table.
    pub name: String,
}

impl RelationName {
    /// Reads `schema.table`, or `table` in schema `public`; names are taken as they stand, without folding.
    pub fn parse(text: &str) -> Option<RelationName> {
        let (schema, name) = text.split_once('.').unwrap_or(("public", text));
        let filled = !schema.is_empty() && !name.is_empty();
        filled.then(|| RelationName { schema: schema.into(), name: name.into() })
    }
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// Whose rows a table holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tenancy {
    /// The named column holds the organisation's id.
    Column(String),
    /// The row belongs to the organisation of the row that it refers to; our own column `antiphon_org` holds it.
    Via {
        /// The referring column.
        column: String,
        /// The table referred to.
        table: RelationName,
    },
    /// Everyone reads it, and only plain SQL writes it.
    Everyone,
}

/// The column that we keep where the organisation comes from another row.
pub const ORG_COLUMN: &str = "antiphon_org";
/// The organisation under which the log stores what everyone reads; no organisation may have this id.
pub const EVERYONE: &str = "*";

/// How two edits of one field are settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Merge {
    /// The later edit stands.
    #[default]
    Lww,
    /// A person decides.
    Manual,
    /// Texts are merged by words.
    Text,
    /// Additions are added up.
    Counter,
    /// Elements are added and removed.
    Set,
}

/// How much of a type a client keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sync {
    /// Every row.
    #[default]
    All,
    /// The subsets that it asks for.
    OnDemand,
}

/// How changed rows are found where the database is polled; nothing where it is captured otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polling {
    /// The column that every write raises, by which changed rows are found.
    pub cursor: Option<String>,
    /// The column that marks a row as deleted: a flag that is set, or whatever else is not null.
    pub soft_delete: Option<String>,
}

/// A declared entity type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityType {
    /// The type's name on the wire (`page`).
    pub name: String,
    /// The table.
    pub table: RelationName,
    /// Whose rows it holds.
    pub org: Tenancy,
    /// The key columns in order.
    pub key: Vec<String>,
    /// The metadata column.
    pub tx: String,
    /// Columns that never leave the server.
    pub hidden: Vec<String>,
    /// How much of it a client keeps.
    pub sync: Sync,
    /// Indexed columns that lists may filter and order by.
    pub filter: Vec<String>,
    /// Fields that are edited as one.
    pub together: Vec<Vec<String>>,
    /// Reference columns and the entity types that they name.
    pub refs: BTreeMap<String, String>,
    /// Merge strategies of fields that are not `lww`.
    pub fields: BTreeMap<String, Merge>,
    /// Who may see and write what; empty: the plain rules (see `rights`).
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// How its changed rows are found where the database is polled.
    #[serde(default)]
    pub polling: Polling,
}

impl EntityType {
    /// Tells whether a column may leave the server as a field: the metadata, ours and the hidden ones may not.
    pub fn shows(&self, column: &str) -> bool {
        let ours = matches!(self.org, Tenancy::Via { .. }) && column == ORG_COLUMN;
        column != self.tx && !ours && !self.hidden.iter().any(|hidden| hidden == column)
    }

    /// Returns the column that holds the organisation's id; `None` where everyone reads the type.
    pub fn org_column(&self) -> Option<&str> {
        match &self.org {
            Tenancy::Column(column) => Some(column),
            Tenancy::Via { .. } => Some(ORG_COLUMN),
            Tenancy::Everyone => None,
        }
    }

    /// Writes the entity id of a key: its text for one column, else a JSON array of texts.
    pub fn entity_id<'a>(values: impl ExactSizeIterator<Item = &'a str>) -> String {
        let single = values.len() == 1;
        let mut id = String::new();
        for (index, value) in values.enumerate() {
            if single {
                return value.to_owned();
            }
            id.push(if index == 0 { '[' } else { ',' });
            crate::write_string(&mut id, value);
        }
        id.push(']');
        id
    }

    /// Reads the key values back from an entity id; `None` where it does not fit this type's key.
    pub fn key_values(&self, entity_id: &str) -> Option<Vec<String>> {
        if self.key.len() == 1 {
            return Some(vec![entity_id.to_owned()]);
        }
        let values: Vec<String> = serde_json::from_str(entity_id).ok()?;
        (values.len() == self.key.len()).then_some(values)
    }
}
