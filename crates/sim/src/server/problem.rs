//! Refusals as answers: the members and statuses of protocol 1, as far as a simulated server gives them.
//!
//! Law: what a fault tells a caller is its code; particulars are shown where the caller can do something about them.

use std::collections::BTreeMap;

use antiphon_engine::{Fault, ports::Refusal};
use antiphon_model::{Class, Code};
use serde_json::{Map, Value, json};

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) detail: String,
    pub(crate) more: Map<String, Value>,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem { code, detail: detail.into(), more: Map::new() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Returns the HTTP status.
    pub(crate) fn status(&self) -> u16 {
        match self.code {
            Code::OffsetExpired
            | Code::EpochChanged
            | Code::OffsetInvalid
            | Code::AccessChanged
            | Code::SchemaChanged => 410,
            Code::Unauthenticated => 401,
            Code::NotAMember | Code::Forbidden => 403,
            Code::NotFound | Code::EntityTypeUnknown | Code::EntityGone => 404,
            Code::FieldConflict | Code::StreamBehind | Code::AlreadyExists | Code::Aborted => 409,
            Code::Constraint
            | Code::FieldUnknown
            | Code::FieldForbidden
            | Code::FieldType
            | Code::Suppressed
            | Code::TooOldToProve
            | Code::ClockAhead
            | Code::ClockBehind
            | Code::IdempotencyMismatch => 422,
            Code::ParameterUnknown | Code::ParameterInvalid | Code::BodyInvalid => 400,
            Code::RateLimited => 429,
            Code::DecodeFailed | Code::LogCorrupt | Code::Internal => 500,
            _ => 503,
        }
    }

    pub(crate) fn retry_after_ms(&self) -> Option<u64> {
        (self.status() == 503).then_some(1_000)
    }

    pub(crate) fn body(&self) -> Value {
        let mut body = json!({
            "type": format!("urn:antiphon:error:{}", self.code),
            "title": self.code.title(),
            "status": self.status(),
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
        let detail = if fault.class() == Class::Caller { fault.detail().to_owned() } else { String::new() };
        Problem::new(fault.code(), detail)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let more: BTreeMap<&str, Value> = refusal.more;
        let more = more.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Problem { code: refusal.code, detail: refusal.detail, more }
    }
}
