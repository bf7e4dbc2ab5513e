//! Whose replica a store is: one application, one server, one user and one organisation (CORE-18).
//!
//! Law: a store is never used for another place than the one that it was made for, so one user's outbox is never sent
//! under another's token. The name is in the store, and a digest of it in the file's name.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
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

/// Returns what a token says of its user: the `sub` of a JWT; a digest of any other, which says nothing of the user but
/// keeps what was typed under one token from being sent under another.
pub fn user_of(token: &str) -> String {
    let payload = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims = payload.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    match claims.as_ref().and_then(|claims| claims.get("sub")?.as_str()) {
        Some(user) => user.to_owned(),
        None => {
            format!("token-{}", Sha256::digest(token).iter().take(4).map(|b| format!("{b:02x}")).collect::<String>())
        }
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
    fn a_token_leads_to_its_user_or_to_itself_core_18() {
        // {"alg":"none"}.{"sub":"alice"}
        assert_eq!(user_of("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.x"), "alice");
        let users = ["ant_a", "ant_b", "a.b.c", ""].map(user_of);
        assert!(users.iter().all(|user| user.starts_with("token-") && user.len() == 14), "{users:?}");
        assert_eq!(users.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
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
