//! Query strings, read strictly: what is unknown, repeated or malformed is refused by name (protocol, first paragraph).
//!
//! A parameter that is silently ignored is a filter that silently does not apply; so nothing is ignored.

use std::time::Duration;

use antiphon_model::Code;
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::problem::Problem;

/// A body comes as a whole within this time.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(60);

/// The parts of a path, percent-decoded; what is not UTF-8 is refused like everything else, as a problem.
pub(crate) struct Segments<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Segments<T>, Problem> {
        let refused = |_| Problem::new(Code::ParameterInvalid, "the path is not percent-encoded UTF-8");
        Path::from_request_parts(parts, state).await.map(|Path(parts)| Segments(parts)).map_err(refused)
    }
}

/// The body of a request, within the router's limit; what is larger is refused like everything else, as a problem.
pub(crate) struct Whole(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Whole, Problem> {
        // Whoever sends a letter now and then keeps nothing of ours waiting for ever.
        let Ok(read) = timeout(BODY_TIME, Bytes::from_request(request, state)).await else {
            return Err(Problem::new(Code::BodyInvalid, "the body did not come in time"));
        };
        read.map(Whole).map_err(|refused| match refused.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::BodyTooLarge, "a body may have 1 MiB"),
            _ => Problem::new(Code::BodyInvalid, "the body broke off"),
        })
    }
}

/// The parameters of a request, in order.
#[derive(Debug)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads a query string; `known` are the plain names, `families` those that take brackets (`where[...]`).
    pub(crate) fn parse(text: Option<&str>, known: &[&str], families: &[&str]) -> Result<Query, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in text.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            let family = name.split_once('[').map(|(family, _)| family);
            let fits = known.contains(&name.as_str()) || family.is_some_and(|family| families.contains(&family));
            if !fits {
                return Err(unknown(&name, known, families));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(invalid(&name, "it is given more than once"));
            }
            if value.contains('\0') {
                return Err(invalid(&name, "no value of the database holds the character 0"));
            }
            pairs.push((name, value));
        }
        Ok(Query { pairs })
    }

    /// Returns a parameter's value.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns a whole number within bounds, or the default.
    pub(crate) fn number(
        &self,
        name: &str,
        default: usize,
        bounds: std::ops::RangeInclusive<usize>,
    ) -> Result<usize, Problem> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.ok_or_else(|| {
            invalid(name, &format!("a whole number from {} to {} is wanted", bounds.start(), bounds.end()))
        })
    }

    /// Returns the non-empty parts of a comma-separated list.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let parts = self.text(name).unwrap_or("").split(',');
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// Returns the parameters of a family: what stands in the brackets, and the value.
    pub(crate) fn family(&self, family: &str) -> Result<Vec<(Vec<&str>, &str)>, Problem> {
        let mut found = Vec::new();
        for (name, value) in &self.pairs {
            let Some(rest) = name.strip_prefix(family).filter(|rest| rest.starts_with('[')) else { continue };
            let inner = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let inner = inner.ok_or_else(|| invalid(name, "its brackets do not fit together"))?;
            found.push((inner.split("][").collect(), value.as_str()));
        }
        Ok(found)
    }
}

/// A refusal that names the parameter.
pub(crate) fn invalid(name: &str, why: &str) -> Problem {
    Problem::new(Code::ParameterInvalid, format!("`{name}`: {why}")).with("parameter", name.into())
}

fn unknown(name: &str, known: &[&str], families: &[&str]) -> Problem {
    if matches!(name, "token" | "access_token" | "apikey" | "api_key") {
        return Problem::new(Code::TokenInUrl, format!("`{name}` is not taken from the URL"));
    }
    let names = known.iter().map(|name| (*name).to_owned()).chain(families.iter().map(|name| format!("{name}[field]")));
    let nearest = names.min_by_key(|candidate| distance(candidate, name));
    let hint = nearest.map(|nearest| format!("; the nearest known one is `{nearest}`")).unwrap_or_default();
    Problem::new(Code::ParameterUnknown, format!("`{name}` is not known here{hint}")).with("parameter", name.into())
}

/// How many letters must change to make one name of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let least = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], least);
        }
    }
    row[b.len()]
}

fn decode(text: &str) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                bytes.push(value.ok_or_else(|| malformed(text))?);
                rest = &rest[2..];
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| malformed(text))
}

fn malformed(text: &str) -> Problem {
    let shown: String = text.chars().take(40).collect();
    Problem::new(Code::ParameterInvalid, format!("`{shown}` is not percent-encoded UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Query, Problem> {
        Query::parse(Some(text), &["limit", "after"], &["where"])
    }

    #[test]
    fn what_is_unknown_or_repeated_is_refused_by_name() {
        for (text, code) in [
            ("limt=1", Code::ParameterUnknown),
            ("limit=1&limit=2", Code::ParameterInvalid),
            ("limit=%zz", Code::ParameterInvalid),
            ("limit=%ff", Code::ParameterInvalid),
            ("limit=%00", Code::ParameterInvalid),
            ("token=ant_x", Code::TokenInUrl),
            ("whre[a]=1", Code::ParameterUnknown),
        ] {
            assert_eq!(parse(text).unwrap_err().code(), code, "{text}");
        }
    }

    #[test]
    fn brackets_and_escapes_are_read() {
        let query = parse("limit=5&where%5Bstatus%5D=to+do&where[due][gte]=2026-01-01&after=").unwrap();
        assert_eq!(query.number("limit", 1, 1..=10).unwrap(), 5);
        assert_eq!(query.family("where").unwrap(), [(vec!["status"], "to do"), (vec!["due", "gte"], "2026-01-01")]);
        assert_eq!(query.text("after"), Some(""));
        assert!(parse("limit=0").unwrap().number("limit", 1, 1..=10).is_err());
        assert!(parse("where[a=1").unwrap().family("where").is_err());
    }
}
