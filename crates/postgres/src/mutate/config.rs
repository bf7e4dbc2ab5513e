//! What an application's own triggers and policies are told of an edit, and under which role they see it (MUT-08).
//!
//! The actor and the organisation always stand in `antiphon.actor` and `antiphon.org`; an application that reads other
//! settings names them. With a role, edits are made under it, so that row security counts for them.

use antiphon_engine::Fault;
use antiphon_model::Code;

use crate::{CaptureMethod, quote};

/// What a setting of the session says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionValue {
    /// The `sub` of whoever edits.
    Actor,
    /// The organisation's id.
    Org,
}

/// How the application's tables are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteConfig {
    /// Settings of the session that are set for each edit, beside our own.
    pub session: Vec<(String, SessionValue)>,
    /// The role that edits are made under; row security counts for it.
    pub role: Option<String>,
    /// How the database is captured: who writes is said where the changes are read.
    pub method: CaptureMethod,
}

impl WriteConfig {
    /// Reads `name=actor` and `name=org`.
    ///
    /// # Errors
    /// Fails with `CONFIG_INVALID` where an entry is not of that form.
    pub fn read_session(entries: &[String]) -> Result<Vec<(String, SessionValue)>, Fault> {
        let read = |entry: &String| {
            let (name, value) = entry.split_once('=')?;
            let value = match value.trim() {
                "actor" => SessionValue::Actor,
                "org" => SessionValue::Org,
                _ => return None,
            };
            Some((name.trim().to_owned(), value)).filter(|(name, _)| is_setting(name))
        };
        let invalid = |entry: &String| {
            let detail =
                format!("session_variables: `{entry}` is not of the form `app.user=actor` or `app.tenant=org`");
            Fault::new(Code::ConfigInvalid, detail)
        };
        entries.iter().map(|entry| read(entry).ok_or_else(|| invalid(entry))).collect()
    }

    /// Writes the calls that set the session; `$1` is the actor and `$2` the organisation.
    pub(super) fn session_sql(&self) -> Result<String, Fault> {
        let mut sql = String::new();
        for (name, value) in &self.session {
            let value = match value {
                SessionValue::Actor => "$1",
                SessionValue::Org => "$2",
            };
            sql.push_str(&format!(", pg_catalog.set_config({}, {value}, true)", quote::literal(name)?));
        }
        Ok(sql)
    }
}

/// Tells whether a name is one that an application may use for itself: with a dot, and not ours.
fn is_setting(name: &str) -> bool {
    let word = |part: &str| {
        let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
        part.starts_with(letter) && part.chars().all(|c| letter(c) || c.is_ascii_digit())
    };
    let mut parts = name.split('.');
    name.contains('.') && parts.clone().all(word) && parts.next() != Some("antiphon")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_the_applications_own_mut_08() {
        let read = |entry: &str| WriteConfig::read_session(&[entry.to_owned()]);
        assert_eq!(read("app.user = actor").unwrap(), [("app.user".to_owned(), SessionValue::Actor)]);
        assert_eq!(read("a.b.c=org").unwrap(), [("a.b.c".to_owned(), SessionValue::Org)]);
        for bad in
            ["app.user", "app.user=name", "role=actor", "antiphon.tx=actor", "app.us er=actor", "=actor", "a.=org"]
        {
            assert_eq!(read(bad).unwrap_err().code(), Code::ConfigInvalid, "{bad}");
        }
    }
}
