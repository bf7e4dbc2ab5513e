//! Faults and refusals as HTTP answers: RFC 9457 bodies with a stable code (protocol 1).
//!
//! The one table from codes to statuses. Bodies say what happened, the particulars, and what to do; they never hold SQL,
//! hosts or secrets: a fault's chain of causes goes to the log and nowhere else.

use antiphon_engine::Fault;
use antiphon_model::{Class, Code};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use crate::auth::Guessed;

/// Whoever cannot be served just now is to come back after so many seconds.
const RETRY_SECONDS: std::ops::RangeInclusive<u32> = 1..=5;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    more: Map<String, Value>,
    retry_after_seconds: Option<u32>,
    status: Option<StatusCode>,
    guessed: bool,
}

impl Problem {
    /// Makes a problem with its particulars.
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem {
            code,
            detail: detail.into(),
            more: Map::new(),
            retry_after_seconds: None,
            status: None,
            guessed: false,
        }
    }

    /// Adds a member to the body.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Problem {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// Tells when to come back.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Problem {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Marks it as the answer to what may have been a guess at a token.
    #[must_use]
    pub(crate) fn guessed(mut self) -> Problem {
        self.guessed = true;
        self
    }

    /// Returns in how many seconds to come back, where it says so.
    pub(crate) fn retry_after_seconds(&self) -> Option<u32> {
        self.retry_after_seconds
    }

    /// Returns the stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns the particulars.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Answers with another status than the code's own.
    #[must_use]
    pub fn status_of(mut self, status: StatusCode) -> Problem {
        self.status = Some(status);
        self
    }

    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| status(self.code))
    }

    /// Returns the body as JSON, for answers that carry several.
    pub fn into_body(self) -> Value {
        self.body()
    }

    fn body(&self) -> Value {
        let mut body = json!({
            "type": format!("urn:antiphon:error:{}", self.code),
            "title": self.code.title(),
            "status": self.status().as_u16(),
            "code": self.code,
            "detail": self.detail,
            "hint": self.code.hint(),
        });
        if let Value::Object(members) = &mut body {
            members.extend(self.more.clone());
        }
        body
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Problem {
        match fault.class() {
            Class::Caller => tracing::debug!(error = %fault.chain(), "a request was refused"),
            Class::Transient => tracing::warn!(error = %fault.chain(), "a request could not be served just now"),
            Class::Operator | Class::Bug => tracing::error!(error = %fault.chain(), "a request failed"),
        }
        // What an operator must mend is shown to operators; a caller learns that it is not the caller's doing.
        let detail = if fault.class() == Class::Caller { fault.detail().to_owned() } else { String::new() };
        let problem = Problem::new(fault.code(), detail);
        // Whoever was turned away together does not come back together (SY-06).
        let spread = || rand::random_range(RETRY_SECONDS);
        if problem.status() == StatusCode::SERVICE_UNAVAILABLE { problem.retry_after(spread()) } else { problem }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.body().to_string()).into_response();
        if self.guessed {
            response.extensions_mut().insert(Guessed);
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        if self.code == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The status of a code.
fn status(code: Code) -> StatusCode {
    match code {
        Code::OffsetExpired | Code::EpochChanged | Code::OffsetInvalid | Code::AccessChanged | Code::SchemaChanged => {
            StatusCode::GONE
        }
        Code::Unauthenticated | Code::TicketInvalid => StatusCode::UNAUTHORIZED,
        Code::NotAMember | Code::Forbidden | Code::OriginRefused | Code::ScopeMissing => StatusCode::FORBIDDEN,
        Code::NotFound | Code::EntityTypeUnknown | Code::EntityGone | Code::ReplicaEmpty => StatusCode::NOT_FOUND,
        Code::FieldConflict | Code::StreamBehind | Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::Constraint
        | Code::FieldUnknown
        | Code::FieldForbidden
        | Code::FieldType
        | Code::Suppressed
        | Code::TooOldToProve
        | Code::ClockAhead
        | Code::ClockBehind
        | Code::IdempotencyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
        Code::TokenInUrl | Code::ParameterUnknown | Code::ParameterInvalid | Code::BodyInvalid | Code::Usage => {
            StatusCode::BAD_REQUEST
        }
        Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::RateLimited | Code::OutboxFull => StatusCode::TOO_MANY_REQUESTS,
        Code::DecodeFailed | Code::LogCorrupt | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::SlotMissing | Code::SlotMissingAfterFailover | Code::SlotLost => StatusCode::SERVICE_UNAVAILABLE,
        Code::SlotInUse | Code::SlotWaits | Code::SlotForeign => StatusCode::SERVICE_UNAVAILABLE,
        Code::SlotAdvanced | Code::SlotsExhausted | Code::PublicationChanged => StatusCode::SERVICE_UNAVAILABLE,
        Code::MirrorUnreachable | Code::MirrorInUse | Code::MirrorForeign => StatusCode::SERVICE_UNAVAILABLE,
        Code::MirrorPermission | Code::MirrorDiskFull | Code::MirrorTableUnfit => StatusCode::SERVICE_UNAVAILABLE,
        Code::MirrorConstraint | Code::MirrorValue => StatusCode::SERVICE_UNAVAILABLE,
        Code::SourceForked | Code::SourceRestored | Code::StandbyWaits => StatusCode::SERVICE_UNAVAILABLE,
        Code::SourceUnreachable
        | Code::AuthFailed
        | Code::TlsFailed
        | Code::WalLevel
        | Code::Permission
        | Code::SourceReplaced
        | Code::InRecovery
        | Code::PoisonWal
        | Code::PoolerRefused
        | Code::DiskFull
        | Code::SpoolFull
        | Code::TableWithoutIdentity
        | Code::TableUnfit
        | Code::Fenced
        | Code::LeaseHeld
        | Code::LogUnreachable
        | Code::LogNewer
        | Code::LogOlder
        | Code::Shutdown
        | Code::TryAgain
        | Code::ConfigMissing
        | Code::ConfigInvalid
        | Code::ConfigUnknownKey
        | Code::PortInUse
        | Code::PostgresNotFound
        | Code::PostgresStart
        | Code::ReplicaInUse
        | Code::ReplicaDamaged
        | Code::ReplicaNewer
        | Code::ReplicaForeign
        | Code::ReplicaCopied
        | Code::OutboxFileInvalid
        | Code::ServerUnreachable
        | Code::Interrupted => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operators_fault_tells_a_caller_no_particulars() {
        let problem = Problem::from(Fault::new(Code::Permission, "role secret_role may not read"));
        let body = problem.body().to_string();
        assert!(!body.contains("secret_role"), "{body}");
        assert!(body.contains("\"code\":\"PERMISSION\"") && body.contains("\"status\":503"), "{body}");
    }
}
