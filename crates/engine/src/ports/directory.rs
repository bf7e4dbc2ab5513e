//! Who is asking, and where they belong.
//!
//! A principal is someone whose token was accepted, with what the token says about its own bounds: when it ends, what
//! it is good for, and, where an identity provider says so, the places of its holder. Law: a token never widens what
//! the directory grants its user; it only narrows it.

use std::collections::BTreeMap;

use antiphon_model::{Micros, Role};
use async_trait::async_trait;
use tokio::sync::watch;

use crate::Fault;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenScope {
    /// Lists, streams, schemas and members.
    Read,
    /// Mutations; whoever writes may read too.
    Write,
    /// Administration, for users who administer the system.
    Admin,
}

impl TokenScope {
    /// Every scope.
    pub const ALL: [TokenScope; 3] = [TokenScope::Read, TokenScope::Write, TokenScope::Admin];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            TokenScope::Read => "read",
            TokenScope::Write => "write",
            TokenScope::Admin => "admin",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<TokenScope> {
        TokenScope::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// The scopes of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenScopes {
    read: bool,
    write: bool,
    admin: bool,
}

impl TokenScopes {
    /// Everything that its user may do.
    pub const ALL: TokenScopes = TokenScopes { read: true, write: true, admin: true };

    /// Makes a set; writing brings reading along.
    pub fn of(scopes: &[TokenScope]) -> TokenScopes {
        let has = |scope| scopes.contains(&scope);
        TokenScopes {
            read: has(TokenScope::Read) || has(TokenScope::Write),
            write: has(TokenScope::Write),
            admin: has(TokenScope::Admin),
        }
    }

    /// Tells whether a scope is among them.
    pub const fn allow(self, scope: TokenScope) -> bool {
        match scope {
            TokenScope::Read => self.read,
            TokenScope::Write => self.write,
            TokenScope::Admin => self.admin,
        }
    }

    /// Returns them in order.
    pub fn list(self) -> Vec<TokenScope> {
        TokenScope::ALL.into_iter().filter(|scope| self.allow(*scope)).collect()
    }
}

/// Someone whose token was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user's id: the `sub` of a token.
    pub subject: String,
    /// Whether the user administers the whole system.
    pub system_admin: bool,
    /// When the token ends; `None` where only a revocation ends it.
    pub expires_at: Option<Micros>,
    /// What the token is good for.
    pub scopes: TokenScopes,
    /// Roles by organisation's id or slug, where the token itself says them; `None`: the directory does.
    pub memberships: Option<BTreeMap<String, Role>>,
    /// The one organisation that it is good for; `None`: every one that the user has a place in.
    pub only_org: Option<String>,
}

/// What a token that was shown turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It is good.
    Accepted(Principal),
    /// It was good once, and its time is over.
    Expired,
    /// Nobody was ever given it, or it was revoked.
    Unknown,
}

impl Shown {
    /// Returns whose token it is, where it is good.
    pub fn accepted(self) -> Option<Principal> {
        match self {
            Shown::Accepted(principal) => Some(principal),
            Shown::Expired | Shown::Unknown => None,
        }
    }
}

/// A place in an organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The organisation's id.
    pub org: String,
    /// The role in it.
    pub role: Role,
}

/// An organisation's two names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrgNames {
    /// Its id.
    pub id: String,
    /// Its name in addresses.
    pub slug: String,
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
/// Durability: answers reflect what is committed, at most a second old, on every server; after a failure to follow the
/// changes nothing is answered from memory. Concurrency: any; answers are remembered, so asking again is cheap.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Tells whose personal access token it is.
    async fn authenticate(&self, token: &str) -> Result<Shown, Fault>;

    /// Returns the caller's place in an organisation named by id or slug; `None` if there is none or no such
    /// organisation, so that both look alike.
    async fn membership(&self, org: &str, subject: &str) -> Result<Option<Membership>, Fault>;

    /// Returns both names of an organisation named by either; an id goes before another one's slug.
    async fn org_names(&self, org: &str) -> Result<Option<OrgNames>, Fault>;

    /// Tells whether a user administers the whole system; an unknown one does not.
    async fn administers(&self, subject: &str) -> Result<bool, Fault>;

    /// Returns the members of an organisation by name.
    async fn members(&self, org: &str) -> Result<Vec<Member>, Fault>;

    /// Returns a number that moves whenever answers may be others than before, within a second on every server.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Forgets every remembered answer and moves the number of `changes` on this server.
    fn forget(&self);
}
