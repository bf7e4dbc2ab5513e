//! `[[mirrors]]` of the configuration: other databases that are kept like the source.
//!
//! A URL stands in the file or in a variable that the file names; which of the two is said, never guessed. A password is
//! never shown.

use antiphon_server::admin::Fault;

use super::{
    file::{Document, Value, invalid},
    keys::MIRROR_KEYS,
    secret::Secret,
};
use crate::environment::Environment;

const NAME_BYTES_MAX: usize = 63;

/// A declared mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// Its name.
    pub(crate) name: String,
    url: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Url(Secret),
    Variable(String),
}

impl Mirror {
    /// Returns its name and its connection URL.
    pub(crate) fn resolve(&self, environment: &Environment) -> Result<(String, String), Fault> {
        let url = match &self.url {
            Place::Url(url) => url.expose(),
            Place::Variable(variable) => environment.var(variable).ok_or_else(|| {
                invalid(format!("mirrors: {} takes its url from {variable}, which is not set", self.name))
            })?,
        };
        Ok((self.name.clone(), url.to_owned()))
    }

    /// Returns where it is, as it may be shown.
    pub(crate) fn shown(&self) -> String {
        match &self.url {
            Place::Url(url) => url.to_string(),
            Place::Variable(variable) => format!("${variable}"),
        }
    }
}

/// Reads the list of mirrors.
pub(super) fn read(document: &Document<'_>, value: &Value<'_>) -> Result<Vec<Mirror>, Fault> {
    let mut mirrors: Vec<Mirror> = Vec::new();
    for item in document.list(value, "mirrors")? {
        let mirror = one(document, item)?;
        if mirrors.iter().any(|other| other.name == mirror.name) {
            return Err(document.refuse(item, "mirrors.name", &format!("{} stands twice", mirror.name)));
        }
        mirrors.push(mirror);
    }
    Ok(mirrors)
}

fn one(document: &Document<'_>, item: &Value<'_>) -> Result<Mirror, Fault> {
    let table = document.table(item, "mirrors")?;
    document.refuse_unknown(table, "mirrors", &MIRROR_KEYS.map(|(name, _)| name))?;
    let name = table.get("name").ok_or_else(|| document.refuse(item, "mirrors.name", "is missing"))?;
    let text = document.text(name, "mirrors.name")?;
    let fits = text.len() <= NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !fits {
        let why = "must begin with a letter and hold only letters, digits, _ and - (at most 63)";
        return Err(document.refuse(name, "mirrors.name", why));
    }
    let filled = |value: &Value<'_>, name: &str| {
        let text = document.text(value, name)?;
        if text.trim().is_empty() { Err(document.refuse(value, name, "is empty")) } else { Ok(text) }
    };
    let url = match (table.get("url"), table.get("url_env")) {
        (Some(url), None) => Place::Url(Secret::new(filled(url, "mirrors.url")?)),
        (None, Some(variable)) => Place::Variable(filled(variable, "mirrors.url_env")?),
        _ => return Err(document.refuse(item, "mirrors", "needs one of both: url, or url_env")),
    };
    Ok(Mirror { name: text, url })
}
