//! Tickets: what a client that cannot set headers shows in an address instead of its token (protocol 1).
//!
//! A ticket opens one stream within a short time; who resumes that stream may show it again for as long as the token
//! behind it is good. Law: a ticket never outlives the token that it was issued for, nor does more.

use antiphon_model::Micros;
use async_trait::async_trait;

use super::Principal;
use crate::Fault;

/// A ticket as it is given out, this once.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Its text.
    pub text: String,
    /// It must open its stream before this.
    pub open_before: Micros,
}

/// Issues and accepts tickets.
///
/// Durability: a ticket that was issued is known to every server. Repetition: of several attempts to open the same
/// ticket at once, on whatever servers, one succeeds. Concurrency: any.
#[async_trait]
pub trait Tickets: Send + Sync {
    /// Issues a ticket for whoever showed a token; `token` is that text.
    async fn issue(&self, principal: &Principal, token: &str) -> Result<Ticket, Fault>;

    /// Accepts a ticket for a stream of an organisation (by id; `None`: of any), the first time, or again where the
    /// stream is `resumed`; `None` for one that is unknown, used, or ended with the token behind it.
    async fn open(&self, ticket: &str, org: Option<&str>, resumed: bool) -> Result<Option<Principal>, Fault>;

    /// Returns whose opened ticket it is, while the token behind it is good.
    async fn holder(&self, ticket: &str) -> Result<Option<Principal>, Fault>;
}
