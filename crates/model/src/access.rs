//! What a reader may see at present, named by a hash.
//!
//! Every frame position carries it; a resume under another hash is answered by `reset` with `ACCESS_CHANGED`.
//! It covers subject, organisation, role, and the rules of each declared type.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{EntityType, Reader};

/// Bytes of the part for subject, organisation and role.
const BASE_BYTES: usize = 8;
/// Bytes that name a type.
const NAME_BYTES: usize = 3;
/// Bytes that name its rules.
const RULES_BYTES: usize = 4;

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

/// The text that names what a reader may see; opaque to readers.
///
/// It is made of parts: one for subject, organisation and role, and one for each declared type, so that a type that is
/// added or removed changes nothing for the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Access(String);

/// What became of the access that a reader's rows were read under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessChange {
    /// Nothing that matters to the rows.
    None,
    /// Who reads is another one, or in another role: everything is to be listed again.
    Everything,
    /// The rules of these types changed.
    Types(Vec<String>),
}

impl Access {
    /// Computes the access of a reader to an organisation with these declared types.
    pub fn of<'a>(reader: &Reader, org: &str, entities: impl IntoIterator<Item = &'a EntityType>) -> Access {
        let mut text = digest(&["access 2", &reader.subject, org, reader.role.as_str()], BASE_BYTES);
        for entity in entities {
            text.push_str(&digest(&[&entity.name], NAME_BYTES));
            text.push_str(&digest(&[&rules_text(entity, reader.role)], RULES_BYTES));
        }
        Access(text)
    }

    /// Compares the access that a reader brings with the present one.
    pub fn change<'a>(&self, brought: &str, entities: impl IntoIterator<Item = &'a EntityType>) -> AccessChange {
        if self.0 == brought {
            return AccessChange::None;
        }
        let Some((_, parts)) = brought.split_at_checked(BASE_BYTES * 2).filter(|(base, _)| self.0.starts_with(base))
        else {
            return AccessChange::Everything;
        };
        let (name, part) = (NAME_BYTES * 2, (NAME_BYTES + RULES_BYTES) * 2);
        let rules_of = |parts: &str, wanted: &str| -> Option<String> {
            let mut at = 0;
            while let Some(found) = parts.get(at..at + part) {
                if found.starts_with(wanted) {
                    return Some(found[name..].to_owned());
                }
                at += part;
            }
            None
        };
        let mut changed = Vec::new();
        for entity in entities {
            let wanted = digest(&[&entity.name], NAME_BYTES);
            let (was, is) = (rules_of(parts, &wanted), rules_of(&self.0[BASE_BYTES * 2..], &wanted));
            if was.is_some() && was != is {
                changed.push(entity.name.clone());
            }
        }
        if changed.is_empty() { AccessChange::None } else { AccessChange::Types(changed) }
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

/// What the rules of a type grant a role, as a text that is equal where they are.
fn rules_text(entity: &EntityType, role: Role) -> String {
    match entity.rules.is_empty() {
        true => format!("{:?}", entity.rights_at_most(role)),
        false => {
            format!("{:?}", entity.rules_of(role).map(|rule| (&rule.when, &rule.read, &rule.write)).collect::<Vec<_>>())
        }
    }
}

fn digest(parts: &[&str], bytes: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize()[..bytes].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Columns, RelationName, Rule, Tenancy};

    fn entity(name: &str, rules: Vec<Rule>) -> EntityType {
        EntityType {
            name: name.into(),
            table: RelationName { schema: "public".into(), name: name.into() },
            org: Tenancy::Column("org".into()),
            key: vec!["id".into()],
            tx: "tx".into(),
            hidden: Vec::new(),
            sync: crate::Sync::All,
            filter: Vec::new(),
            together: Vec::new(),
            refs: Default::default(),
            fields: Default::default(),
            rules,
            polling: Default::default(),
        }
    }

    fn reader(subject: &str, role: Role) -> Reader {
        Reader { subject: subject.into(), role }
    }

    #[test]
    fn another_subject_organisation_or_role_is_another_access_str_05() {
        let types = [entity("page", Vec::new())];
        let own = Access::of(&reader("alice", Role::Owner), "acme", &types);
        assert_eq!(own.change(own.as_str(), &types), AccessChange::None);
        for other in [
            Access::of(&reader("bob", Role::Owner), "acme", &types),
            Access::of(&reader("alice", Role::Owner), "globex", &types),
            Access::of(&reader("alice", Role::Member), "acme", &types),
            Access::of(&reader("alicea", Role::Owner), "cme", &types),
        ] {
            assert_eq!(own.change(other.as_str(), &types), AccessChange::Everything);
        }
        for forged in ["", "x", "ö", &"0".repeat(500)] {
            assert_eq!(own.change(forged, &types), AccessChange::Everything, "{forged}");
        }
    }

    #[test]
    fn a_type_that_is_added_removed_or_ruled_anew_changes_nothing_for_the_others_str_05() {
        let alice = reader("alice", Role::Member);
        let (page, task) = (entity("page", Vec::new()), entity("task", Vec::new()));
        let ruled = entity("page", vec![Rule { read: Columns::of(["title"]), ..Rule::default() }]);
        let one = Access::of(&alice, "acme", [&page]);
        let both = Access::of(&alice, "acme", [&page, &task]);
        let changed = Access::of(&alice, "acme", [&ruled, &task]);
        assert_eq!(both.change(one.as_str(), [&page, &task]), AccessChange::None);
        assert_eq!(one.change(both.as_str(), [&page]), AccessChange::None);
        assert_eq!(changed.change(both.as_str(), [&ruled, &task]), AccessChange::Types(vec!["page".into()]));
    }
}
