//! From a fault to what a person at a terminal needs: an exit code and three parts of text.
//!
//! One table, exhaustive over the codes, so that a new code does not compile until somebody decided how a script
//! learns of it. The three parts are: what happened, whether data is safe and what to do, and the code.
//! Sources of a fault (which may hold hosts or SQL) are printed only with `ANTIPHON_LOG=debug`.

use std::io;

use antiphon_model::Code;
use antiphon_server::admin::Fault;
use serde_json::json;

/// Why a command ends before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Something went wrong; it is still to be told.
    Fault(Fault),
    /// Whoever reads our output went away; that is success.
    BrokenPipe,
    /// Everything was told already; this is the exit code.
    Told(u8),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Stop::BrokenPipe,
            io::ErrorKind::StorageFull => Stop::Fault(Fault::new(Code::DiskFull, "").with_source(error)),
            _ => Stop::Fault(Fault::new(Code::Internal, error.to_string())),
        }
    }
}

impl From<serde_json::Error> for Stop {
    fn from(error: serde_json::Error) -> Stop {
        Stop::Fault(Fault::new(Code::Internal, "a document could not be written").with_source(error))
    }
}

/// Makes the fault of a command line that cannot be understood.
pub(crate) fn usage(detail: impl Into<String>) -> Stop {
    Stop::Fault(Fault::new(Code::Usage, detail.into()))
}

/// Makes the fault of something that a person named and that does not exist.
pub(crate) fn not_found(detail: impl Into<String>) -> Stop {
    Stop::Fault(Fault::new(Code::NotFound, detail.into()))
}

/// Returns the exit code: 1 failed, 2 usage, 3 configuration, 4 not permitted, 5 not found, 6 conflict,
/// 7 unavailable, 130 interrupted.
pub(crate) fn exit_code(code: Code) -> u8 {
    match code {
        Code::Usage | Code::ParameterUnknown | Code::ParameterInvalid | Code::BodyInvalid | Code::BodyTooLarge => 2,
        Code::MethodNotAllowed => 2,
        Code::ConfigMissing | Code::ConfigInvalid | Code::ConfigUnknownKey | Code::WalLevel | Code::TlsFailed => 3,
        Code::InRecovery | Code::PoolerRefused | Code::TableWithoutIdentity | Code::TableUnfit => 3,
        Code::LogNewer | Code::LogOlder => 3,
        Code::AuthFailed | Code::Permission | Code::Unauthenticated | Code::TokenInUrl => 4,
        Code::NotAMember | Code::Forbidden => 4,
        Code::SlotMissing | Code::SlotMissingAfterFailover => 5,
        Code::NotFound | Code::EntityTypeUnknown | Code::PostgresNotFound => 5,
        Code::SlotInUse | Code::SlotForeign | Code::SlotAdvanced | Code::PublicationChanged => 6,
        Code::SourceReplaced | Code::SourceForked | Code::SourceRestored => 6,
        Code::Fenced | Code::LeaseHeld | Code::PortInUse => 6,
        Code::AccessChanged | Code::SchemaChanged | Code::EpochChanged => 6,
        Code::OffsetExpired | Code::OffsetInvalid => 6,
        Code::SourceUnreachable | Code::LogUnreachable | Code::SlotsExhausted | Code::SlotWaits | Code::TryAgain => 7,
        Code::StandbyWaits | Code::Shutdown | Code::RateLimited => 7,
        Code::SlotLost | Code::PoisonWal | Code::DiskFull | Code::SpoolFull | Code::DecodeFailed => 1,
        Code::LogCorrupt | Code::Internal | Code::PostgresStart => 1,
        Code::OriginRefused | Code::ScopeMissing | Code::FieldForbidden | Code::TicketInvalid => 4,
        Code::EntityGone => 5,
        Code::FieldConflict | Code::StreamBehind | Code::AlreadyExists | Code::Aborted | Code::IdempotencyMismatch => 6,
        Code::Constraint
        | Code::FieldUnknown
        | Code::FieldType
        | Code::Suppressed
        | Code::TooOldToProve
        | Code::ClockAhead
        | Code::ClockBehind => 1,
        Code::MirrorUnreachable => 7,
        Code::MirrorPermission => 4,
        Code::MirrorInUse | Code::MirrorForeign => 6,
        Code::MirrorDiskFull | Code::MirrorConstraint | Code::MirrorValue | Code::MirrorTableUnfit => 1,
        Code::OutboxFileInvalid => 2,
        Code::ReplicaNewer => 3,
        Code::ReplicaEmpty => 5,
        Code::ReplicaInUse | Code::ReplicaForeign | Code::ReplicaCopied => 6,
        Code::ServerUnreachable => 7,
        Code::ReplicaDamaged | Code::OutboxFull => 1,
        Code::Interrupted => 130,
    }
}

/// Returns the fault as the one JSON line that `--json` writes to stderr.
pub(crate) fn as_json(fault: &Fault) -> String {
    let code = fault.code();
    let error = json!({"code": code.as_str(), "title": code.title(), "detail": fault.detail(), "hint": code.hint()});
    json!({ "error": error }).to_string()
}

/// Returns the fault's three parts for people.
pub(crate) fn as_text(fault: &Fault) -> String {
    let code = fault.code();
    let mut text = format!("error: {}", code.title());
    if !fault.detail().is_empty() {
        text.push_str(": ");
        text.push_str(fault.detail());
    }
    text.push_str(&format!("\n  {}\n  code {code} (`antiphon explain {code}` tells more)", code.hint()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_of_the_documented_exit_codes() {
        for &code in Code::ALL {
            assert!([1, 2, 3, 4, 5, 6, 7, 130].contains(&exit_code(code)), "{code}");
        }
    }

    #[test]
    fn a_fault_is_told_in_three_parts_and_never_with_its_sources() {
        let fault = Fault::new(Code::PortInUse, "port 7411").with_source("secret-host refused");
        let text = as_text(&fault);
        assert!(text.starts_with("error: the port is taken: port 7411\n  Nothing was changed."), "{text}");
        assert!(text.ends_with("code PORT_IN_USE (`antiphon explain PORT_IN_USE` tells more)"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&as_json(&fault)).expect("one JSON document");
        assert_eq!(json["error"]["code"], "PORT_IN_USE");
        assert_eq!(json["error"]["detail"], "port 7411");
        assert!(!text.contains("secret-host") && !json.to_string().contains("secret-host"));
    }
}
