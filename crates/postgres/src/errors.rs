//! What an error of the server, of the socket or of TLS means: the one place where SQLSTATE becomes a `Fault`.
//!
//! SQLSTATE decides; the server's text, which may be in any language, is only a second criterion, and then by words that
//! are not translated where there are such words (names of settings, internal errors).
//! Law: details hold no SQL, host or secret; the server's own text is quoted only where it cannot hold one, and else
//! travels as the fault's source, which goes to the log only.

use std::{error::Error as StdError, fmt, io};

use antiphon_engine::Fault;
use antiphon_model::Code;

/// What was asked of the server when it answered with an error; the same SQLSTATE means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// The connection itself.
    Connect,
    /// An ordinary statement.
    Sql,
    /// Something about a replication slot.
    Slot,
    /// The stream, after it began.
    Stream,
}

/// An error that the server reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    /// The five characters of SQLSTATE.
    pub sqlstate: String,
    /// The short text, in the server's language.
    pub message: String,
    /// The long text.
    pub detail: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server reported {}: {}", self.sqlstate, self.message)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

impl StdError for ServerError {}

/// Makes a fault of a client's error in an ordinary statement.
pub fn sql(error: tokio_postgres::Error) -> Fault {
    client(error, Context::Sql)
}

/// Makes a fault of a client's error.
pub fn client(error: tokio_postgres::Error, context: Context) -> Fault {
    if let Some(reported) = error.as_db_error() {
        let reported = ServerError {
            sqlstate: reported.code().code().to_owned(),
            message: reported.message().to_owned(),
            detail: reported.detail().unwrap_or_default().to_owned(),
        };
        return server(reported, context);
    }
    if let Some(fault) = tls_cause(&error) {
        return fault.with_source(error);
    }
    // The client tells its kinds apart by these fixed texts only.
    let kind = error.to_string();
    if kind.starts_with("error performing TLS handshake") {
        let refused = error.source().is_some_and(|cause| cause.to_string().contains("does not support TLS"));
        let detail = if refused { "the server does not offer TLS" } else { "the TLS handshake broke off" };
        return Fault::new(Code::TlsFailed, detail).with_source(error);
    }
    if kind.starts_with("authentication error") || kind.starts_with("invalid configuration") {
        return Fault::new(Code::AuthFailed, authentication_detail(&error)).with_source(error);
    }
    let ours = ["error serializing", "error deserializing", "invalid column", "query returned", "expected "];
    if ours.iter().any(|start| kind.starts_with(start)) {
        return Fault::new(Code::Internal, kind).with_source(error);
    }
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    let detail = match cause {
        Some(cause) if is_unresolved(cause) => UNRESOLVED,
        Some(cause) => io_detail(cause),
        None => "the connection ended",
    };
    Fault::new(Code::SourceUnreachable, detail).with_source(error)
}

/// What is said of a host's name that nobody knows: another thing than a host that does not answer (OP-11).
pub(crate) const UNRESOLVED: &str = "the host's name cannot be resolved";

/// Looking a name up fails with an error of no kind, by the standard library's fixed words.
fn is_unresolved(error: &io::Error) -> bool {
    let text = error.to_string();
    text.starts_with("failed to lookup address information") || text.starts_with("could not resolve any addresses")
}

/// Makes a fault of an error of a pool of connections.
pub fn pool(error: deadpool_postgres::PoolError) -> Fault {
    match error {
        deadpool_postgres::PoolError::Backend(error) => client(error, Context::Connect),
        // Waiting for a free connection took too long: the caller may try again.
        deadpool_postgres::PoolError::Timeout(kind) => {
            let code = match kind {
                deadpool_postgres::TimeoutType::Wait => Code::TryAgain,
                _ => Code::SourceUnreachable,
            };
            Fault::new(code, "no connection to the database was free in time")
        }
        error => Fault::new(Code::SourceUnreachable, "no connection to the database").with_source(error),
    }
}

/// Makes a fault of an error of a socket.
pub fn socket(error: io::Error) -> Fault {
    if let Some(fault) = tls_cause(&error) {
        return fault.with_source(error);
    }
    Fault::new(Code::SourceUnreachable, io_detail(&error)).with_source(error)
}

/// Makes a fault of what the server reported.
pub fn server(error: ServerError, context: Context) -> Fault {
    let (code, detail) = classify(&error, context);
    Fault::new(code, detail).with_source(error)
}

fn classify(error: &ServerError, context: Context) -> (Code, String) {
    let text = |code: Code, text: &str| (code, text.to_owned());
    let message = || error.message.clone();
    let class = error.sqlstate.get(..2).unwrap_or_default();
    match (error.sqlstate.as_str(), class) {
        ("28P01", _) => text(Code::AuthFailed, "the server refused the password"),
        ("28000", _) => (Code::AuthFailed, authorisation_detail(&error.message)),
        // A pooler that lets a replication connection pass hands its commands to an ordinary session.
        ("42601", _) if context == Context::Slot => {
            text(Code::PoolerRefused, "replication commands are not understood")
        }
        ("42501", _) => (Code::Permission, message()),
        ("55006", _) if context != Context::Sql => (Code::SlotInUse, in_use_detail(&error.message)),
        ("42704", _) => undefined_object(error, context),
        ("42P01" | "42703" | "3F000" | "42P02", _) => (Code::TableUnfit, message()),
        ("3D000", _) => text(Code::ConfigInvalid, "the database of the connection URL does not exist"),
        ("55000", _) if context != Context::Sql => prerequisite(error),
        ("58P01", _) if context != Context::Sql => (Code::SlotLost, message()),
        ("53100", _) => text(Code::DiskFull, "on the database's server"),
        ("53400", _) => (Code::SlotsExhausted, message()),
        ("53300", _) if error.message.contains("max_wal_senders") => (Code::SlotsExhausted, message()),
        ("53300", _) => text(Code::SourceUnreachable, "the server has no free connection"),
        ("57P01" | "57P02" | "57P04" | "57P05", _) => text(Code::SourceUnreachable, "the server ended the connection"),
        ("57P03", _) => text(Code::SourceUnreachable, "the server is starting or stopping"),
        ("57014", _) => text(Code::TryAgain, "the statement was cancelled or took too long"),
        ("55P03", _) => text(Code::TryAgain, "a lock was not free in time"),
        (_, "40") => text(Code::TryAgain, "the transaction met another one"),
        (_, "08") if pooler(&error.message) => (Code::PoolerRefused, message()),
        (_, "08") => text(Code::SourceUnreachable, "the connection was refused"),
        ("XX000" | "54000" | "XX001" | "XX002", _) if context == Context::Stream => undecodable(error),
        // A value that the server cannot convert or print comes again with every attempt.
        (_, "22") if context == Context::Stream => (Code::PoisonWal, message()),
        (_, "53") => text(Code::SourceUnreachable, "the server lacks resources"),
        (_, "58") if error.message.contains("No space left") => text(Code::DiskFull, "on the database's server"),
        (_, "58") => text(Code::SourceUnreachable, "the server reports a system error"),
        (sqlstate, _) if context == Context::Stream => (Code::SourceUnreachable, format!("SQLSTATE {sqlstate}")),
        (sqlstate, _) => (Code::Internal, format!("SQLSTATE {sqlstate}")),
    }
}

/// Slot or publication: before the stream it is the slot, in it the publication, whatever the language.
fn undefined_object(error: &ServerError, context: Context) -> (Code, String) {
    let text = &error.message;
    match context {
        Context::Stream if text.contains("replication slot") => (Code::SlotMissing, text.clone()),
        Context::Slot if text.contains("publication") => (Code::PublicationChanged, text.clone()),
        Context::Slot => (Code::SlotMissing, text.clone()),
        Context::Stream => (Code::PublicationChanged, text.clone()),
        Context::Connect => {
            let detail = "the server does not know a startup option: it must be Postgres 15 or newer, and `options` of \
                          the connection URL must name settings that exist";
            (Code::ConfigInvalid, detail.to_owned())
        }
        Context::Sql if text.contains("replication slot") => (Code::SlotMissing, text.clone()),
        Context::Sql if text.contains("publication") => (Code::PublicationChanged, text.clone()),
        Context::Sql => (Code::TableUnfit, text.clone()),
    }
}

/// Of the errors about a slot's state, a lost slot is the one that passes every check made before.
fn prerequisite(error: &ServerError) -> (Code, String) {
    if error.message.contains("wal_level") {
        return (Code::WalLevel, error.message.clone());
    }
    if error.message.contains("recovery") {
        return (Code::InRecovery, error.message.clone());
    }
    let reason = if error.detail.is_empty() { String::new() } else { format!(": {}", error.detail) };
    (Code::SlotLost, format!("{}{reason}", error.message))
}

fn undecodable(error: &ServerError) -> (Code, String) {
    // Internal errors are never translated.
    let too_large = error.message.contains("invalid memory alloc request size") || error.sqlstate == "54000";
    if too_large || error.sqlstate != "XX000" {
        return (Code::PoisonWal, error.message.clone());
    }
    (Code::SourceUnreachable, "the server met an internal error".to_owned())
}

fn pooler(message: &str) -> bool {
    let words = ["unsupported startup parameter", "pgbouncer", "pooler", "replication"];
    words.iter().any(|word| message.to_lowercase().contains(word))
}

/// Keeps the process id and drops what surrounds it, in whatever language.
fn in_use_detail(message: &str) -> String {
    let number = message.rsplit(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty());
    number.map_or_else(|| "held by another process".to_owned(), |pid| format!("held by the process {pid}"))
}

/// Says why a login failed without the host and address that the server's text names.
fn authorisation_detail(message: &str) -> String {
    let detail = if message.contains("pg_hba.conf") {
        "no entry of the server's pg_hba.conf admits this user, database and kind of connection"
    } else {
        "the server does not let this role log in"
    };
    detail.to_owned()
}

fn authentication_detail(error: &tokio_postgres::Error) -> String {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    let known = ["password missing", "channel binding", "unsupported authentication", "user missing"];
    if known.iter().any(|word| cause.contains(word)) { cause } else { "the login could not be completed".to_owned() }
}

fn io_detail(error: &io::Error) -> &'static str {
    // Whoever reads this would otherwise look for the fault at the other end (OP-08).
    let exhausted = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    if exhausted.contains(&error.raw_os_error()) {
        return "no descriptor is left to connect with: raise the limit of open files";
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens at the port",
        io::ErrorKind::TimedOut => "no answer in time",
        io::ErrorKind::NotFound => "there is no socket at the path",
        io::ErrorKind::PermissionDenied => "the socket may not be opened",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "there is no route to the host",
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            "the connection broke"
        }
        _ => "the connection failed",
    }
}

/// Finds a TLS library's error in a chain of causes.
fn tls_cause(error: &(dyn StdError + 'static)) -> Option<Fault> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(Fault::new(Code::TlsFailed, tls_detail(tls)));
        }
        // An IO error holds its cause inside and skips it in its chain.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(fault) = inner.and_then(|inner| tls_cause(inner)) {
            return Some(fault);
        }
        cause = error.source();
    }
    None
}

fn tls_detail(error: &rustls::Error) -> String {
    use rustls::CertificateError as Certificate;
    let detail = match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            Certificate::Expired | Certificate::ExpiredContext { .. } => "the server's certificate has expired",
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet"
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "the server's certificate names another host than the connection URL"
            }
            Certificate::UnknownIssuer => "the server's certificate was issued by an authority that is not trusted",
            Certificate::Revoked => "the server's certificate was revoked",
            other => return format!("the server's certificate cannot be used: {other:?}"),
        },
        rustls::Error::AlertReceived(alert) => return format!("the server refused the handshake: {alert:?}"),
        rustls::Error::PeerIncompatible(_) => "the server speaks no version or cipher of TLS that is safe",
        other => return format!("{other}"),
    };
    detail.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(sqlstate: &str, message: &str, context: Context) -> Code {
        let error = ServerError { sqlstate: sqlstate.into(), message: message.into(), detail: String::new() };
        classify(&error, context).0
    }

    #[test]
    fn sqlstates_become_the_reasons_of_a_source_cap_03() {
        let lost = "can no longer access replication slot \"a\"";
        let alloc = "invalid memory alloc request size 1120000003";
        for (sqlstate, message, context, expected) in [
            ("28P01", "", Context::Connect, Code::AuthFailed),
            ("28000", "", Context::Connect, Code::AuthFailed),
            ("42501", "permission denied", Context::Sql, Code::Permission),
            ("55006", "replication slot \"a\" is active for PID 7", Context::Slot, Code::SlotInUse),
            ("42704", "replication slot \"a\" does not exist", Context::Slot, Code::SlotMissing),
            ("42704", "Replikationsslot »a« existiert nicht", Context::Slot, Code::SlotMissing),
            ("42704", "publication \"a\" does not exist", Context::Stream, Code::PublicationChanged),
            ("42704", "Publikation »a« existiert nicht", Context::Stream, Code::PublicationChanged),
            ("55000", lost, Context::Slot, Code::SlotLost),
            ("55000", "can no longer get changes from replication slot \"a\"", Context::Stream, Code::SlotLost),
            ("55000", "logical decoding requires wal_level >= logical", Context::Slot, Code::WalLevel),
            ("58P01", "requested WAL segment has already been removed", Context::Stream, Code::SlotLost),
            ("53100", "", Context::Stream, Code::DiskFull),
            ("53400", "all replication slots are in use", Context::Slot, Code::SlotsExhausted),
            ("53300", "sorry, too many clients already", Context::Connect, Code::SourceUnreachable),
            ("53300", "requested standby connections exceeds max_wal_senders", Context::Connect, Code::SlotsExhausted),
            ("57P01", "", Context::Stream, Code::SourceUnreachable),
            ("57P03", "", Context::Connect, Code::SourceUnreachable),
            ("08006", "", Context::Connect, Code::SourceUnreachable),
            ("08P01", "unsupported startup parameter: replication", Context::Connect, Code::PoolerRefused),
            ("42601", "syntax error at or near \"IDENTIFY_SYSTEM\"", Context::Slot, Code::PoolerRefused),
            ("XX000", alloc, Context::Stream, Code::PoisonWal),
            ("22021", "invalid byte sequence for encoding", Context::Stream, Code::PoisonWal),
            ("57014", "", Context::Sql, Code::TryAgain),
            ("42601", "", Context::Sql, Code::Internal),
        ] {
            assert_eq!(code(sqlstate, message, context), expected, "{sqlstate} {message} {context:?}");
        }
    }

    #[test]
    fn details_hold_neither_hosts_nor_statements() {
        let refused = "no pg_hba.conf entry for host \"10.1.2.3\", user \"u\", database \"d\", no encryption";
        let error = ServerError { sqlstate: "28000".into(), message: refused.into(), detail: String::new() };
        assert!(!server(error, Context::Connect).to_string().contains("10.1.2.3"));
        assert_eq!(in_use_detail("replication slot \"a1\" is active for PID 4711"), "held by the process 4711");
    }

    #[test]
    fn a_tls_error_is_found_inside_an_io_error_pg_98() {
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let fault = socket(io::Error::new(io::ErrorKind::InvalidData, expired));
        assert_eq!((fault.code(), fault.detail()), (Code::TlsFailed, "the server's certificate has expired"));
    }
}
