//! What a failure of the target means.
//!
//! Details name the table, the constraint and the SQLSTATE, never a statement, a value or a host; the driver's error stays
//! in the chain. Law: whatever is not known to pass by itself needs a person.

use antiphon_engine::Fault;
use antiphon_model::Code;
use tokio_postgres::{Error, error::DbError};

/// Maps a failed statement; `doing` says what for, such as a table's name.
pub(super) fn sql(error: Error, doing: &str) -> Fault {
    let (code, detail) = match error.as_db_error() {
        Some(refusal) => (code_of(refusal.code().code()), particulars(refusal, doing)),
        None => (Code::MirrorUnreachable, format!("the connection was lost ({doing})")),
    };
    Fault::new(code, detail).with_source(error)
}

fn code_of(state: &str) -> Code {
    match state {
        "53100" => Code::MirrorDiskFull,
        "42501" | "25006" => Code::MirrorPermission,
        // Deadlock, serialisation, a lock, a limit, a session or server that was ended.
        _ if ["08", "57", "40", "53"].iter().any(|class| state.starts_with(class)) => Code::MirrorUnreachable,
        "55P03" | "25P02" | "25P03" | "58030" => Code::MirrorUnreachable,
        _ if state.starts_with("23") || state.starts_with("44") => Code::MirrorConstraint,
        _ if state.starts_with("22") => Code::MirrorValue,
        // Names, types, dependent objects; what a trigger or a rule of the target says; all else.
        _ => Code::MirrorTableUnfit,
    }
}

fn particulars(refusal: &DbError, doing: &str) -> String {
    let named = [("constraint", refusal.constraint()), ("column", refusal.column()), ("type", refusal.datatype())];
    let named: Vec<String> =
        named.iter().filter_map(|(what, name)| name.map(|name| format!("{what} {name}"))).collect();
    let named = if named.is_empty() { String::new() } else { format!(", {}", named.join(", ")) };
    format!("{doing}{named}: SQLSTATE {}", refusal.code().code())
}

/// Maps a failure to connect: what says that a source is away says here that a mirror's database is.
pub fn connect(fault: Fault) -> Fault {
    match fault.code() {
        Code::SourceUnreachable => Fault::new(Code::MirrorUnreachable, fault.detail().to_owned()).with_source(fault),
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_target_refuses_has_a_name_and_only_what_passes_is_tried_soon_pip_06() {
        for (state, code) in [
            ("23505", Code::MirrorConstraint),
            ("22P02", Code::MirrorValue),
            ("22003", Code::MirrorValue),
            ("42501", Code::MirrorPermission),
            ("25006", Code::MirrorPermission),
            ("53100", Code::MirrorDiskFull),
            ("53300", Code::MirrorUnreachable),
            ("57P01", Code::MirrorUnreachable),
            ("40P01", Code::MirrorUnreachable),
            ("42P01", Code::MirrorTableUnfit),
            ("P0001", Code::MirrorTableUnfit),
        ] {
            assert_eq!(code_of(state), code, "{state}");
        }
    }
}
