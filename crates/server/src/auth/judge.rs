//! Judges the tokens of an identity provider: JSON Web Tokens (SEC-02, SE-05).
//!
//! Order: form, algorithm, key, signature, and only then what it says. Laws: nothing in the token chooses how it is
//! judged: the algorithm is one of those configured and the one of its key; `jku`, `x5u` and `jwk` are not read; what
//! claims critical extensions, says a thing twice, or names no end and no subject is refused.

use std::collections::BTreeMap;

use antiphon_engine::Fault;
use antiphon_model::{Code, Micros, Role};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde_json::{Map, Value};

use super::{
    Refusal,
    config::{KeyPlace, Pinned},
    keys::KID_BYTES_MAX,
    provider::Provider,
    strict_json,
};

/// A longer token is not looked at.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// An issuer's clock may be ahead by so much. An end is never stretched: nothing is shown after it.
const AHEAD_MAX_MICROS: i64 = 10_000_000;
/// The year 9999; a token that names a later end is not meant seriously.
const SECONDS_MAX: f64 = 253_402_300_799.0;
/// As our own users' ids.
const SUBJECT_BYTES_MAX: usize = 200;

/// What a token says, once it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) subject: String,
    pub(super) expires_at: Micros,
    pub(super) memberships: Option<BTreeMap<String, Role>>,
}

/// Judges tokens.
pub(super) struct Judge {
    keys: Keys,
    pinned: Pinned,
}

enum Keys {
    Shared(DecodingKey),
    Public(Provider),
}

impl Judge {
    /// Makes a judge; `withdrawn` is called when a key is gone.
    pub(super) async fn open(pinned: Pinned, withdrawn: Box<dyn Fn() + Send + Sync>) -> Result<Judge, Fault> {
        let keys = match pinned.keys.clone() {
            KeyPlace::Secret(secret) => Keys::Shared(DecodingKey::from_secret(secret.as_bytes())),
            place => Keys::Public(Provider::open(place, withdrawn).await?),
        };
        Ok(Judge { keys, pinned })
    }

    /// Returns the keeper of public keys.
    pub(super) fn provider(&self) -> Option<&Provider> {
        match &self.keys {
            Keys::Public(provider) => Some(provider),
            Keys::Shared(_) => None,
        }
    }

    /// Tells whether a text has the form of such a token.
    pub(super) fn looks_like(token: &str) -> bool {
        token.split('.').count() == 3
    }

    /// Judges a token; the outer error means that it could not be judged.
    pub(super) async fn judge(&self, token: &str, now: Micros) -> Result<Result<Claims, Refusal>, Fault> {
        let header = match Header::read(token, &self.pinned.algorithms) {
            Ok(header) => header,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let key = match &self.keys {
            Keys::Shared(key) => Some(key.clone()),
            Keys::Public(provider) => provider
                .key(header.algorithm, header.kid.as_deref())
                .await
                .map_err(|_| Fault::new(Code::TryAgain, "the identity provider's keys are not known yet"))?,
        };
        let Some(key) = key else { return Ok(Err(Refusal::Key)) };
        Ok(signed(token, &key, header.algorithm).and_then(|body| self.read(body, now)))
    }

    fn read(&self, body: &str, now: Micros) -> Result<Claims, Refusal> {
        let claims = part(body).ok_or(Refusal::Form)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let audience = match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(&self.pinned.audience)),
            Some(Value::String(one)) => *one == self.pinned.audience,
            _ => false,
        };
        if text("iss") != Some(&self.pinned.issuer) || !audience {
            return Err(Refusal::Claims);
        }
        let expires_at = time(&claims, "exp")?.ok_or(Refusal::Claims)?;
        if expires_at <= now {
            return Err(Refusal::Expired);
        }
        if time(&claims, "nbf")?.is_some_and(|from| from.0 > now.0.saturating_add(AHEAD_MAX_MICROS)) {
            return Err(Refusal::NotYet);
        }
        let subject = text("sub").filter(|sub| fits(sub)).ok_or(Refusal::Claims)?.to_owned();
        let memberships = match &self.pinned.orgs_claim {
            None => None,
            Some(claim) => Some(places(claims.get(claim))?),
        };
        Ok(Claims { subject, expires_at, memberships })
    }
}

struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
}

impl Header {
    fn read(token: &str, allowed: &[Algorithm]) -> Result<Header, Refusal> {
        let header = token.split('.').next().filter(|_| token.len() <= TOKEN_BYTES_MAX).and_then(part);
        let header = header.ok_or(Refusal::Form)?;
        // Whoever marks an extension as critical wants it refused by those who do not know it.
        if header.contains_key("crit") {
            return Err(Refusal::Form);
        }
        let named = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse::<Algorithm>().ok());
        let algorithm = named.filter(|named| allowed.contains(named)).ok_or(Refusal::Algorithm)?;
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= KID_BYTES_MAX => Some(kid.clone()),
            Some(_) => return Err(Refusal::Key),
        };
        Ok(Header { algorithm, kid })
    }
}

/// Returns the body of a token whose signature is right.
fn signed<'a>(token: &'a str, key: &DecodingKey, algorithm: Algorithm) -> Result<&'a str, Refusal> {
    let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Form)?;
    match crypto::verify(signature, message.as_bytes(), key, algorithm) {
        Ok(true) => message.split_once('.').map(|(_, body)| body).ok_or(Refusal::Form),
        Ok(false) | Err(_) => Err(Refusal::Signature),
    }
}

fn part(text: &str) -> Option<Map<String, Value>> {
    strict_json::object(&URL_SAFE_NO_PAD.decode(text).ok()?)
}

/// Reads a time in seconds, fractions allowed.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<Micros>, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds)).ok_or(Refusal::Claims)?;
    // In bounds, see above.
    Ok(Some(Micros((seconds * 1_000_000.0) as i64)))
}

fn fits(subject: &str) -> bool {
    !subject.is_empty() && subject.len() <= SUBJECT_BYTES_MAX && !subject.chars().any(char::is_control)
}

/// Reads roles by organisation. A role that we do not know is no place; `*` and the empty name are nobody's.
fn places(claim: Option<&Value>) -> Result<BTreeMap<String, Role>, Refusal> {
    let named = match claim {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(named)) => named,
        Some(_) => return Err(Refusal::Claims),
    };
    let known = named.iter().filter(|(org, _)| !matches!(org.as_str(), "" | antiphon_model::EVERYONE));
    let places = known.filter_map(|(org, role)| Some((org.clone(), Role::parse(role.as_str()?)?)));
    Ok(places.collect())
}

#[cfg(test)]
mod tests;
