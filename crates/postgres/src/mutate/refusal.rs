//! What an error of a write means to whoever asked for it: a refusal, a reason to try again, or a fault (protocol 5).

use antiphon_engine::{
    Fault,
    ports::{Refusal, WriteError},
};
use antiphon_model::{Code, EntityType};

use crate::{catalogue::TableInfo, errors};

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

/// Makes the error of a statement that writes a row; `field` is the one field that it writes, where there is one.
pub(super) fn refused_row(
    error: tokio_postgres::Error,
    table: &TableInfo,
    entity: &EntityType,
    field: Option<&str>,
) -> WriteError {
    let Some(reported) = error.as_db_error() else { return refused(error) };
    let state = reported.code().code().to_owned();
    let class = &state[..2];
    let constraint = reported.constraint().map(str::to_owned);
    let column = reported.column().or(field).filter(|column| entity.shows(column)).map(str::to_owned);
    match (state.as_str(), class) {
        ("23505", _) if constraint.as_deref().is_some_and(|name| is_key(table, entity, name)) => {
            Refusal::new(Code::AlreadyExists, "an entity of this key exists").into()
        }
        (_, "23") => {
            let refusal = Refusal::new(Code::Constraint, "the database refuses the row");
            refusal.with("name", constraint).with("field", column).into()
        }
        (_, "22") | ("42804" | "42846" | "42883" | "42725", _) => {
            Refusal::new(Code::FieldType, "the value does not fit the field's type").with("field", column).into()
        }
        // What the application's own triggers say is meant for its users.
        (_, "P0") => {
            let message: String = reported.message().chars().take(300).collect();
            Refusal::new(Code::Constraint, message).with("name", constraint).with("field", column).into()
        }
        _ => refused(error),
    }
}

/// Tells whether a unique index is about the key (with or without the organisation).
fn is_key(table: &TableInfo, entity: &EntityType, name: &str) -> bool {
    let org = entity.org_column();
    table.indexes.iter().filter(|index| index.name == name).any(|index| {
        let columns: Vec<&str> = index.columns.iter().flatten().map(String::as_str).collect();
        let about = |column: &&str| entity.key.iter().any(|key| key == column) || Some(*column) == org;
        columns.iter().all(about) && columns.iter().any(|column| entity.key.iter().any(|key| key == column))
    })
}
