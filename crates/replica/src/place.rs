//! Whose replica a store is: one application, one server, one user and one organisation (CORE-18).
//!
//! Law: a store is never used for another place than the one that it was made for, so one user's outbox is never sent
//! under another's token. The name is in the store, and a digest of it in the file's name.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Names a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Which application keeps it.
    pub application: String,
    /// Where the server is: scheme, host and port, without a slash at the end.
    pub server: String,
    /// The `sub` of the tokens that it is used with.
    pub user: String,
    /// The organisation.
    pub org: String,
}

impl Place {
    /// Returns the name of the file that holds it: readable in front, and exact by its digest.
    pub fn file_name(&self) -> String {
        let mut sum = Sha256::new();
        for part in [&self.application, &self.server, &self.user, &self.org] {
            // The length keeps the parts apart.
            sum.update(part.len().to_le_bytes());
            sum.update(part.as_bytes());
        }
        let digest: String = sum.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let word = |text: &str| -> String {
            let plain = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
            plain.take(24).collect()
        };
        format!("{}-{}-{}-{digest}.replica", word(&self.application), word(&self.org), word(&self.user))
    }

    /// Returns it in words.
    pub fn describe(&self) -> String {
        format!("{} of {} in {} at {}", self.application, self.user, self.org, self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(application: &str, server: &str, user: &str, org: &str) -> Place {
        let [application, server, user, org] = [application, server, user, org].map(str::to_owned);
        Place { application, server, user, org }
    }

    #[test]
    fn each_part_of_the_name_leads_to_a_file_of_its_own_core_18() {
        let places = [
            place("sync", "http://a", "alice", "acme"),
            place("other", "http://a", "alice", "acme"),
            place("sync", "http://b", "alice", "acme"),
            place("sync", "http://a", "bob", "acme"),
            place("sync", "http://a", "alice", "globex"),
            place("sync", "http://a", "alic", "eacme"),
            place("sync", "http://a", "ALICE", "acme"),
        ];
        let names: std::collections::BTreeSet<String> = places.iter().map(Place::file_name).collect();
        assert_eq!(names.len(), places.len());
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))));
    }
}
