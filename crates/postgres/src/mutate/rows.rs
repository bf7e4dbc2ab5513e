//! The SQL of one row: what is read of it, by which key, and what is written into it.
//!
//! Law: names come from the catalogue, values are parameters.

use std::collections::BTreeMap;

use antiphon_engine::{
    Fault, ImageWriter,
    ports::{FieldWrite, HeldRow, Refusal, WriteError},
};
use antiphon_model::{Code, EntityType, Mutation, Tx};
use serde_json::Value;
use tokio_postgres::Row;

use crate::{
    catalogue::{ColumnInfo, TableInfo},
    quote,
    rows::{self, select, select::Parameters},
};

/// What is read of a row, in this order: the shown columns, the key, what policies read, the metadata, the organisation.
pub(super) struct Reading<'a> {
    pub(super) table: &'a TableInfo,
    pub(super) entity: &'a EntityType,
    shown: Vec<&'a ColumnInfo>,
    policy: Vec<&'a str>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(table: &'a TableInfo, entity: &'a EntityType) -> Reading<'a> {
        let policy = entity.policy_columns().into_iter().collect();
        Reading { table, entity, shown: rows::shown(table, entity), policy }
    }

    /// Writes the list of columns.
    pub(super) fn columns(&self) -> Result<String, Fault> {
        let mut columns = Vec::new();
        for column in &self.shown {
            columns.push(select::printed(column)?);
        }
        for name in self.entity.key.iter().map(String::as_str).chain(self.policy.iter().copied()) {
            columns.push(select::printed(rows::column(self.table, name)?)?);
        }
        columns.push(rows::metadata(self.table, self.entity)?);
        columns.push(match self.entity.org_column() {
            Some(name) => select::printed(rows::column(self.table, name)?)?,
            None => "null::pg_catalog.text".to_owned(),
        });
        Ok(columns.join(", "))
    }

    /// Reads a row; the second value is its organisation.
    pub(super) fn held(&self, row: &Row) -> (HeldRow, Option<String>) {
        let mut image = ImageWriter::default();
        let names: Vec<String> = self.shown.iter().map(|column| rows::json_name(&column.name)).collect();
        let image = rows::encode(&mut image, &names, &self.shown, row, 0);
        let mut at = self.shown.len();
        let mut next = || {
            at += 1;
            select::text(row, at - 1)
        };
        let key: Vec<String> = self.entity.key.iter().map(|_| next().unwrap_or_default()).collect();
        let policy: BTreeMap<String, Option<String>> =
            self.policy.iter().map(|name| ((*name).to_owned(), next())).collect();
        let (tx_text, org) = (next(), next());
        let tx = tx_text.as_deref().and_then(Tx::parse);
        let entity_id = EntityType::entity_id(key.iter().map(String::as_str));
        (HeldRow { entity_id, row: image, tx_text, tx, policy }, org)
    }

    /// Writes the condition that a row is this one; `None` where no row can be. What is given here is no field's value,
    /// so it has no name.
    pub(super) fn is(&self, org: &str, entity_id: &str, into: &mut Parameters) -> Result<Option<String>, Fault> {
        let Some(key) = self.entity.key_values(entity_id) else { return Ok(None) };
        if org.contains('\0') || key.iter().any(|part| part.contains('\0')) {
            return Ok(None);
        }
        let mut parts = Vec::new();
        for (name, value) in self.entity.key.iter().zip(&key) {
            let column = rows::column(self.table, name)?;
            parts.push(format!("t.{} = {}", quote::ident(name)?, into.push("", column, value)));
        }
        if let Some(name) = self.entity.org_column() {
            let column = rows::column(self.table, name)?;
            parts.push(format!("t.{} = {}", quote::ident(name)?, into.push("", column, org)));
            let text = into.push_typed("", "pg_catalog.text", org);
            parts.push(format!("{} = {text} collate \"C\"", select::printed(column)?));
        }
        parts.extend(rows::alive(self.table, self.entity)?);
        Ok(Some(parts.join(" and ")))
    }

    /// Finds a field that an edit may name.
    pub(super) fn field(&self, name: &str) -> Result<&'a ColumnInfo, WriteError> {
        let found = self.table.column(name).filter(|_| self.entity.shows(name));
        let Some(column) = found else {
            let refusal = Refusal::new(Code::FieldUnknown, "the type has no such field");
            return Err(refusal.with("field", name.chars().take(64).collect::<String>()).into());
        };
        if column.generated {
            let refusal = Refusal::new(Code::FieldForbidden, "the field is computed by the database");
            return Err(refusal.with("field", name).into());
        }
        Ok(column)
    }

    /// Writes a value as SQL.
    pub(super) fn value(
        &self,
        column: &ColumnInfo,
        value: &Value,
        json_null: bool,
        into: &mut Parameters,
    ) -> Result<String, WriteError> {
        match antiphon_wire::parse_value(&column.ty, value, json_null) {
            Ok(Some(text)) => Ok(into.push(&column.name, column, &text)),
            Ok(None) => Ok("null".to_owned()),
            Err(error) => {
                Err(Refusal::new(Code::FieldType, error.to_string()).with("field", column.name.clone()).into())
            }
        }
    }

    /// Writes the assignments of an update.
    pub(super) fn assignments(&self, writes: &[FieldWrite<'_>], into: &mut Parameters) -> Result<String, WriteError> {
        let mut parts = Vec::with_capacity(writes.len());
        for write in writes {
            let column = self.field(write.field())?;
            let name = quote::ident(&column.name)?;
            parts.push(match write {
                FieldWrite::Set { value, json_null, .. } => {
                    format!("{name} = {}", self.value(column, value, *json_null, into)?)
                }
                FieldWrite::Add { value, .. } => {
                    let value = self.value(column, value, false, into)?;
                    if value == "null" {
                        let refusal = Refusal::new(Code::FieldType, "a number is wanted");
                        return Err(refusal.with("field", column.name.clone()).into());
                    }
                    format!("{name} = coalesce(t.{name}, 0) + {value}")
                }
            });
        }
        Ok(parts.join(", "))
    }

    /// Returns the key that a new row will have, where the caller gives all of it; empty where the database makes it.
    pub(super) fn given_key(&self, mutation: &Mutation) -> Vec<String> {
        if let Some(id) = &mutation.entity_id {
            return self.entity.key_values(id).unwrap_or_default();
        }
        let given = |name: &String| match mutation.data.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        self.entity.key.iter().map(given).collect::<Option<Vec<_>>>().unwrap_or_default()
    }

    /// Writes names and values of an insert.
    pub(super) fn inserted(
        &self,
        org: &str,
        mutation: &Mutation,
        into: &mut Parameters,
    ) -> Result<(String, String), WriteError> {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        let key = match &mutation.entity_id {
            Some(id) => self.entity.key_values(id).ok_or_else(|| {
                WriteError::from(Refusal::new(Code::BodyInvalid, "`entityId` does not fit the type's key"))
            })?,
            None => Vec::new(),
        };
        for (name, value) in self.entity.key.iter().zip(&key) {
            let column = rows::column(self.table, name)?;
            if value.contains('\0') {
                return Err(Refusal::new(Code::FieldType, "no value holds a NUL").with("field", name.clone()).into());
            }
            names.push(quote::ident(name)?);
            values.push(into.push(name, column, value));
        }
        // A column that a trigger of ours fills from another row is not given.
        let given = match &self.entity.org {
            antiphon_model::Tenancy::Column(name) => Some(name),
            _ => None,
        };
        if let Some(name) = given {
            names.push(quote::ident(name)?);
            values.push(into.push("", rows::column(self.table, name)?, org));
        }
        for (name, value) in &mutation.data {
            if given == Some(name) {
                if value.as_str() != Some(org) {
                    let refusal = Refusal::new(Code::FieldForbidden, "the organisation is that of the address");
                    return Err(refusal.with("field", name.clone()).into());
                }
                continue;
            }
            if !key.is_empty() && self.entity.key.contains(name) {
                self.agrees(name, value, &key)?;
                continue;
            }
            let column = self.field(name)?;
            names.push(quote::ident(name)?);
            values.push(self.value(column, value, mutation.json_null, into)?);
        }
        Ok((names.join(", "), values.join(", ")))
    }

    /// A key that stands in `data` too is the one of `entityId`.
    fn agrees(&self, name: &str, value: &Value, key: &[String]) -> Result<(), WriteError> {
        let wanted = self.entity.key.iter().position(|part| part == name).and_then(|at| key.get(at));
        let same = match value {
            Value::String(text) => Some(text) == wanted,
            plain => Some(&plain.to_string()) == wanted,
        };
        if same {
            return Ok(());
        }
        Err(Refusal::new(Code::BodyInvalid, format!("`{name}` in `data` is not that of `entityId`")).into())
    }
}
