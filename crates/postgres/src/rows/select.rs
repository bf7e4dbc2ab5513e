//! One statement that reads rows together with what its snapshot saw.
//!
//! The first row that comes back is the header: the snapshot, whether the server is in recovery, and a stamp of the
//! table's columns; it is there even where no row is. The rows follow in their order, each column as Postgres prints it
//! to the stream, which `cast(column as text)` does not do for every type.
//! Law: header and rows are read under one snapshot, because they are one statement.

use antiphon_engine::Fault;
use antiphon_model::{Cell, Code, Visibility};
use tokio_postgres::{
    Client, Row,
    types::{FromSql, ToSql, Type},
};

use crate::{
    catalogue::{ColumnInfo, TableInfo},
    errors, quote,
};

/// Names and values that the statement takes, all of them as text.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    given: Vec<Parameter>,
}

#[derive(Debug)]
struct Parameter {
    /// What the caller knows it by.
    name: String,
    /// What Postgres reads it as.
    type_sql: String,
    value: String,
}

impl Parameters {
    /// Adds a value that is read as a column's type, and returns the SQL that stands for it.
    pub(crate) fn push(&mut self, name: impl Into<String>, column: &ColumnInfo, value: &str) -> String {
        self.push_typed(name, &column.type_sql, value)
    }

    /// Returns the values as they are sent.
    pub(crate) fn values(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.given
            .iter()
            .map(|parameter| {
                let value: &(dyn ToSql + Sync) = &parameter.value;
                (value, Type::TEXT)
            })
            .collect()
    }

    /// Returns each value with its name and what it is read as.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let given = self.given.iter();
        given.map(|one| (one.name.as_str(), one.type_sql.as_str(), one.value.as_str()))
    }

    /// Adds a value that is read as the given type.
    pub(crate) fn push_typed(&mut self, name: impl Into<String>, type_sql: &str, value: &str) -> String {
        self.given.push(Parameter { name: name.into(), type_sql: type_sql.to_owned(), value: value.to_owned() });
        format!("${}::{type_sql}", self.given.len())
    }
}

/// A statement that reads rows of one table.
#[derive(Debug, Default)]
pub(crate) struct Select {
    /// Each value to read, as SQL of type text.
    pub(crate) columns: Vec<String>,
    /// Conditions, all of which must hold.
    pub(crate) conditions: Vec<String>,
    /// The order, as SQL.
    pub(crate) order: String,
    /// At most so many rows.
    pub(crate) limit: Option<usize>,
    /// The values.
    pub(crate) parameters: Parameters,
}

/// What a statement brought.
pub(crate) struct Answer {
    /// The rows, without the header.
    pub(crate) rows: Vec<Row>,
    /// What the snapshot saw.
    pub(crate) visibility: Visibility,
}

/// Why a statement brought nothing.
pub(crate) enum Refused {
    /// The table's columns are not those that the statement was made for.
    Stale,
    /// A value cannot be read as its type; the parameter's name.
    Value(String),
    /// Two values cannot be compared.
    Comparison,
    /// Something else.
    Fault(Fault),
}

/// The columns of the header, and so the least that a statement has.
const HEADER_COLUMNS: usize = 4;

impl Select {
    /// Runs the statement on a table that was described before.
    pub(crate) async fn run(&self, client: &Client, table: &TableInfo) -> Result<Answer, Refused> {
        let sql = self.sql(table).map_err(Refused::Fault)?;
        let values = self.parameters.values();
        match client.query_typed(&sql, &values).await {
            Ok(rows) => self.answer(rows, table),
            Err(error) => Err(self.refusal(client, error).await),
        }
    }

    fn sql(&self, table: &TableInfo) -> Result<String, Fault> {
        let name = quote::qualified(&table.name)?;
        let padding = HEADER_COLUMNS.saturating_sub(1 + self.columns.len());
        let width = 1 + self.columns.len() + padding;
        let mut sql = format!(
            "select '' as h, pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_is_in_recovery()::text, {stamp}{nulls} \
             union all (select null",
            stamp = stamp_sql(&quote::literal(&name)?),
            nulls = ", null".repeat(width - HEADER_COLUMNS),
        );
        for column in &self.columns {
            sql.push_str(", ");
            sql.push_str(column);
        }
        sql.push_str(&", null".repeat(padding));
        sql.push_str(" from ");
        sql.push_str(&name);
        sql.push_str(" t");
        for (index, condition) in self.conditions.iter().enumerate() {
            sql.push_str(if index == 0 { " where (" } else { " and (" });
            sql.push_str(condition);
            sql.push(')');
        }
        if !self.order.is_empty() {
            sql.push_str(" order by ");
            sql.push_str(&self.order);
        }
        if let Some(limit) = self.limit {
            sql.push_str(&format!(" limit {limit}"));
        }
        sql.push(')');
        Ok(sql)
    }

    fn answer(&self, mut rows: Vec<Row>, table: &TableInfo) -> Result<Answer, Refused> {
        // The header is the only row whose first column is not null; a union promises no order between its parts.
        let is_header = |row: &Row| cell(row, 0) != Cell::Null;
        let Some(at) = rows.iter().position(is_header) else {
            return Err(Refused::Fault(Fault::new(Code::Internal, "an answer came without its snapshot")));
        };
        let header = rows.remove(at);
        let text = |column| header.try_get::<_, Option<String>>(column).map_err(errors::sql).map_err(Refused::Fault);
        if text(2)?.as_deref() != Some("false") {
            return Err(Refused::Fault(Fault::new(Code::InRecovery, "rows are read from the primary only")));
        }
        if text(3)?.as_deref() != Some(&table.stamp) {
            return Err(Refused::Stale);
        }
        let visibility = text(1)?.unwrap_or_default().parse::<Visibility>();
        let visibility = visibility.map_err(|error| {
            Refused::Fault(Fault::new(Code::Internal, "the server's snapshot cannot be read").with_source(error))
        })?;
        Ok(Answer { rows, visibility })
    }

    /// Finds out what an error is about; the values are tried one by one only here.
    async fn refusal(&self, client: &Client, error: tokio_postgres::Error) -> Refused {
        let sqlstate = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
        match sqlstate.as_str() {
            "42P01" | "42703" | "3F000" | "42704" | "0A000" => return Refused::Stale,
            "42883" | "42804" | "42725" | "42P22" => return Refused::Comparison,
            _ => {}
        }
        // Domains and composites may refuse with a constraint's violation.
        if !["22", "23"].contains(&sqlstate.get(..2).unwrap_or_default()) {
            return Refused::Fault(errors::sql(error));
        }
        for parameter in &self.parameters.given {
            let sql = format!("select $1::{} is null", parameter.type_sql);
            let value: &(dyn ToSql + Sync) = &parameter.value;
            let tried = client.query_typed(&sql, &[(value, Type::TEXT)]).await;
            if tried.is_err_and(|error| error.as_db_error().is_some()) {
                return Refused::Value(parameter.name.clone());
            }
        }
        Refused::Fault(errors::sql(error))
    }
}

/// Writes the SQL of what changes with every change of a table's columns; `literal` is its quoted name as a literal.
pub(crate) fn stamp_sql(literal: &str) -> String {
    format!(
        "(select pg_catalog.to_regclass({literal})::pg_catalog.oid::text || '/' || \
         coalesce(pg_catalog.string_agg(a.attnum || ':' || a.xmin::text, ',' order by a.attnum), '') from \
         pg_catalog.pg_attribute a where a.attrelid = pg_catalog.to_regclass({literal}) and a.attnum > 0)"
    )
}

/// Writes the SQL that prints a column exactly as the stream does.
pub(crate) fn printed(column: &ColumnInfo) -> Result<String, Fault> {
    let name = quote::ident(&column.name)?;
    let value = if column.domain { format!("(t.{name})::{}", column.type_sql) } else { format!("t.{name}") };
    Ok(match &column.output_sql {
        Some(function) => format!("pg_catalog.textin({function}({value}))"),
        None => format!("case when t.{name} is null then null else pg_catalog.format('%s', {value}) end"),
    })
}

/// Returns a value of a row as it arrived, whatever its encoding.
pub(crate) fn cell(row: &Row, column: usize) -> Cell<'_> {
    match row.try_get::<_, Option<Bytes<'_>>>(column) {
        Ok(Some(Bytes(bytes))) => Cell::Text(bytes),
        Ok(None) | Err(_) => Cell::Null,
    }
}

/// Returns the bytes of a value; `None` for null.
pub(crate) fn bytes(row: &Row, column: usize) -> Option<&[u8]> {
    match cell(row, column) {
        Cell::Text(bytes) => Some(bytes),
        _ => None,
    }
}

/// Returns a value of a row as text.
pub(crate) fn text(row: &Row, column: usize) -> Option<String> {
    match cell(row, column) {
        Cell::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

/// The bytes of any value: a database in SQL_ASCII may send text that is not UTF-8 (PG-84).
struct Bytes<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Bytes<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Bytes(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
