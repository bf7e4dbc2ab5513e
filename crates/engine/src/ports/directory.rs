//! Who is asking, and where they belong.

use antiphon_model::Role;
use async_trait::async_trait;

use crate::Fault;

/// Someone whose token was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user's id: the `sub` of a token.
    pub subject: String,
    /// Whether the user administers the whole system.
    pub system_admin: bool,
}

/// A place in an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The organisation's id.
    pub org: String,
    /// The role in it.
    pub role: Role,
}

/// A member as others of the organisation see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The user's id.
    pub id: String,
    /// The name to show.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The picture's address.
    pub avatar_url: Option<String>,
}

/// Looks up tokens and memberships.
///
/// Durability: answers reflect what is committed, at most a second old. Concurrency: any.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Returns whose token it is; `None` for an unknown, expired or revoked one.
    async fn authenticate(&self, token: &str) -> Result<Option<Principal>, Fault>;

    /// Returns the caller's place in an organisation named by id or slug; `None` if there is none or no such
    /// organisation, so that both look alike.
    async fn membership(&self, org: &str, subject: &str) -> Result<Option<Membership>, Fault>;

    /// Returns the members of an organisation by name.
    async fn members(&self, org: &str) -> Result<Vec<Member>, Fault>;
}
