//! What an error of a write means to whoever asked for it: a refusal, a reason to try again, or a fault (protocol 5).
//!
//! Errors name indexes and constraints; which field they are about is looked up afterwards, on the same connection, when
//! nothing can be written any more. Laws: the texts of the server itself are never shown, because they quote values and
//! statements; what the application's own triggers say is, because it is meant for its users.

use antiphon_engine::{
    Fault,
    ports::{Refusal, WriteError},
};
use antiphon_model::{Code, EntityType};
use tokio_postgres::{
    Client,
    error::DbError,
    types::{ToSql, Type},
};

use crate::{catalogue::TableInfo, errors, rows::select::Parameters};

/// What a trigger says is shown up to this length.
const MESSAGE_CHARS_MAX: usize = 300;

/// The columns of a constraint, or of an index without one.
const COLUMNS: &str = "
    select array(select a.attname::text from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attnum = any (coalesce(k.conkey, x.indkey::pg_catalog.int2[]))),
        exists(select from pg_catalog.pg_index u where u.indexrelid = coalesce(nullif(k.conindid, 0), x.indexrelid)
            and u.indisunique and u.indrelid = c.oid) and coalesce(k.contype, 'u') in ('p', 'u')
    from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        left join pg_catalog.pg_constraint k on k.conrelid = c.oid and k.conname = $3
        left join pg_catalog.pg_class i on i.relname = $3 and i.relnamespace = c.relnamespace
        left join pg_catalog.pg_index x on x.indexrelid = i.oid and x.indrelid = c.oid
    where n.nspname = $1 and c.relname = $2 and (k.oid is not null or x.indexrelid is not null)";

/// A statement that writes a row.
pub(super) struct Tried<'a> {
    pub(super) table: &'a TableInfo,
    pub(super) entity: &'a EntityType,
    /// What it was given.
    pub(super) parameters: &'a Parameters,
    /// The one field that it writes, where there is one.
    pub(super) field: Option<&'a str>,
}

/// Makes the error of a statement that concerns no row of the application.
pub(super) fn refused(error: tokio_postgres::Error) -> WriteError {
    match error.code().map(|code| code.code()) {
        // Deadlocks and serialization failures: the whole transaction is tried again (house 17).
        Some("40001" | "40P01") => WriteError::Again(errors::sql(error)),
        Some("55P03" | "57014" | "25P03") => {
            let detail = "a row is locked by somebody else for too long";
            WriteError::Fault(Fault::new(Code::TryAgain, detail).with_source(error))
        }
        _ => WriteError::Fault(errors::sql(error)),
    }
}

/// Makes the error of checks that were put off to the end.
pub(super) fn refused_commit(error: tokio_postgres::Error) -> WriteError {
    match error.as_db_error() {
        Some(reported) if class(reported) == "23" => constraint(reported).into(),
        Some(reported) if class(reported) == "P0" => raised(reported).into(),
        _ => refused(error),
    }
}

impl Tried<'_> {
    /// Makes the error of the statement; the transaction is over afterwards.
    pub(super) async fn refused(&self, client: &Client, error: tokio_postgres::Error) -> WriteError {
        let Some(reported) = error.as_db_error() else { return refused(error) };
        let about_values = matches!(reported.code().code(), "42804" | "42846" | "42883" | "42725");
        match class(reported) {
            "23" | "22" => {}
            "P0" => return raised(reported).into(),
            _ if about_values => {}
            _ => return refused(error),
        }
        if let Err(error) = client.batch_execute("rollback").await {
            return refused(error);
        }
        if class(reported) == "23" {
            return self.constraint(client, reported).await.unwrap_or_else(refused);
        }
        let refusal = Refusal::new(Code::FieldType, "the value does not fit the field's type");
        match self.field {
            Some(field) => refusal.with("field", field).into(),
            None => refusal.with("field", self.misfit(client).await).into(),
        }
    }

    /// The violation of a constraint, by its name and by the field that it is about.
    async fn constraint(&self, client: &Client, reported: &DbError) -> Result<WriteError, tokio_postgres::Error> {
        let refusal = constraint(reported);
        if !self.here(reported) {
            return Ok(refusal.into());
        }
        let shown = |column: &str| self.entity.shows(column);
        if let Some(column) = reported.column().filter(|column| shown(column)) {
            return Ok(refusal.with("field", column).into());
        }
        let (columns, unique) = match (reported.schema(), reported.table(), reported.constraint()) {
            (Some(schema), Some(table), Some(name)) => {
                let row = client.query_opt(COLUMNS, &[&schema, &table, &name]).await?;
                row.map_or((Vec::new(), false), |row| (row.get::<_, Vec<String>>(0), row.get(1)))
            }
            _ => (Vec::new(), false),
        };
        let of_key = |column: &String| self.entity.key.contains(column);
        let org = self.entity.org_column();
        if unique
            && columns.iter().any(of_key)
            && columns.iter().all(|column| of_key(column) || Some(column.as_str()) == org)
        {
            // Whose row has the key is not said: a key is unique over all organisations, and this answer is the same.
            return Ok(Refusal::new(Code::AlreadyExists, "an entity of this key exists").into());
        }
        let mut named = columns.iter().filter(|column| shown(column) && Some(column.as_str()) != org);
        let field = match (named.next(), named.next()) {
            (Some(only), None) => Some(only.as_str()),
            _ => self.field.or_else(|| self.domain()),
        };
        Ok(refusal.with("field", field).into())
    }

    /// Tells whether an error is about a row of this table.
    fn here(&self, reported: &DbError) -> bool {
        let Some((schema, table)) = reported.schema().zip(reported.table()) else {
            // A domain's check names no table.
            return reported.datatype().is_some();
        };
        let names = std::iter::once(&self.table.name).chain(self.table.partitions.iter().map(|leaf| &leaf.name));
        names.into_iter().any(|name| name.schema == schema && name.name == table)
    }

    /// The only field of a domain that was given.
    fn domain(&self) -> Option<&str> {
        let given = self.parameters.iter().map(|(name, ..)| name);
        let mut domains = given.filter(|name| self.table.column(name).is_some_and(|column| column.domain));
        domains.next().filter(|_| domains.next().is_none())
    }

    /// Finds the field whose value its column does not take, by trying one after the other.
    async fn misfit(&self, client: &Client) -> Option<String> {
        for (name, type_sql, value) in self.parameters.iter() {
            let Some(column) = self.table.column(name).filter(|column| self.entity.shows(&column.name)) else {
                continue;
            };
            if column.length_max.is_some_and(|most| value.trim_end().chars().count() > most as usize) {
                return Some(name.to_owned());
            }
            // Only numbers are refused by their column's modifier and not by their type.
            let type_sql = match (type_sql, column.type_modifier) {
                ("pg_catalog.\"numeric\"" | "pg_catalog.numeric", modifier @ 4..) => {
                    let (precision, scale) = ((modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF);
                    format!("pg_catalog.numeric({precision},{})", (scale ^ 1024) - 1024)
                }
                (plain, _) => plain.to_owned(),
            };
            let sql = format!("select $1::{type_sql} is null");
            let given: &(dyn ToSql + Sync) = &value;
            let tried = client.query_typed(&sql, &[(given, Type::TEXT)]).await;
            if tried.is_err_and(|error| error.as_db_error().is_some()) {
                return Some(name.to_owned());
            }
        }
        None
    }
}

/// The violation of a constraint, by its name.
fn constraint(reported: &DbError) -> Refusal {
    Refusal::new(Code::Constraint, "the database refuses the row").with("name", reported.constraint())
}

/// What the application's own triggers say.
fn raised(reported: &DbError) -> Refusal {
    let message: String = reported.message().chars().take(MESSAGE_CHARS_MAX).collect();
    Refusal::new(Code::Constraint, message).with("name", reported.constraint())
}

fn class(reported: &DbError) -> &str {
    reported.code().code().get(..2).unwrap_or_default()
}
