//! What a reader may see at present, named by a hash.
//!
//! Every frame position carries it; a resume under another hash is answered by `reset` with `ACCESS_CHANGED`.
//! It covers subject, organisation and role; column sets and rules of policies join it with the policy module.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A member's role in an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads and writes.
    Member,
    /// Manages members.
    Admin,
    /// Owns the organisation.
    Owner,
}

impl Role {
    /// Returns the word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Member => "member",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Role> {
        [Role::Viewer, Role::Member, Role::Admin, Role::Owner].into_iter().find(|role| role.as_str() == text)
    }

    /// Tells whether the role may create, update and delete.
    pub const fn writes(self) -> bool {
        !matches!(self, Role::Viewer)
    }
}

/// The hash that names what a reader may see; opaque text of 16 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Access(String);

impl Access {
    /// Computes the hash of a subject in an organisation under a role.
    pub fn of(subject: &str, org: &str, role: Role) -> Access {
        let mut hash = Sha256::new();
        for part in ["access 1", subject, org, role.as_str()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let text = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Access(text)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_subject_organisation_or_role_is_another_access() {
        let own = Access::of("alice", "acme", Role::Owner);
        assert_eq!(own, Access::of("alice", "acme", Role::Owner));
        for other in [
            Access::of("bob", "acme", Role::Owner),
            Access::of("alice", "globex", Role::Owner),
            Access::of("alice", "acme", Role::Member),
            Access::of("alicea", "cme", Role::Owner),
        ] {
            assert_ne!(own, other);
        }
    }
}
