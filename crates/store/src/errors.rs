//! What a failure of our own database means.
//!
//! Details name what was done, never the statement or the host; the driver's error stays in the chain.

use antiphon_engine::Fault;
use antiphon_model::Code;
use deadpool_postgres::PoolError;
use tokio_postgres::{Error, error::SqlState};

/// The fence was lost: raised by `log.begin_append`.
const FENCED: &str = "AP001";
/// A crash took back what was not flushed.
const TAKEN_BACK: &str = "AP002";
/// The head is not where this writer left it.
const HEAD_MOVED: &str = "AP003";

/// Maps a failed statement.
pub(crate) fn sql(error: Error) -> Fault {
    let state = error.code().cloned();
    let text = state.as_ref().map_or("", SqlState::code);
    let (code, detail) = match text {
        FENCED => (Code::Fenced, "another server appends to the log"),
        TAKEN_BACK => (Code::LogUnreachable, "the log's database crashed and took back what was not flushed"),
        HEAD_MOVED => (Code::LogUnreachable, "the head of the log moved; the writer begins again"),
        "53100" => (Code::DiskFull, "the disk of the activity log's database is full"),
        "25006" => (Code::InRecovery, "the activity log's database is a standby or read-only"),
        "42501" => (Code::Permission, "a privilege on the activity log's database is missing"),
        "42P01" | "3F000" | "42703" | "42883" => (Code::LogOlder, "tables of the activity log's database are missing"),
        "" => (Code::LogUnreachable, "the connection to the activity log's database was lost"),
        text if text.starts_with("08") || text.starts_with("57P") || text.starts_with("53") => {
            (Code::LogUnreachable, "the activity log's database is not available")
        }
        // Serialisation, a lock, a time limit, a session that the server ended.
        text if text.starts_with("40") || matches!(text, "55P03" | "57014" | "25P02" | "25P03" | "58030") => {
            (Code::LogUnreachable, "the activity log's database gave up a statement")
        }
        _ => (Code::LogCorrupt, "the activity log's database refused a statement"),
    };
    Fault::new(code, detail).with_source(error)
}

/// Maps a failure to get a connection from the pool.
pub(crate) fn pool(error: PoolError) -> Fault {
    match error {
        PoolError::Backend(error) => sql(error),
        PoolError::Timeout(_) => {
            Fault::new(Code::TryAgain, "every connection to the activity log's database is in use").with_source(error)
        }
        error => Fault::new(Code::LogUnreachable, "no connection to the activity log's database").with_source(error),
    }
}

/// No answer came in time, or the connection is gone.
pub(crate) fn lost() -> Fault {
    Fault::new(Code::LogUnreachable, "the activity log's database does not answer")
}

/// A stored value that cannot be.
pub(crate) fn corrupt(what: &'static str) -> Fault {
    Fault::new(Code::LogCorrupt, what)
}
