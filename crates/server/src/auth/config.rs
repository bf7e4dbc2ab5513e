//! Whose tokens are accepted besides our own.
//!
//! Law: algorithm, issuer and audience are pinned, or the server does not start: a token that is meant for somebody else
//! must not open anything here, however well it is signed.

use std::fmt;

use antiphon_engine::Fault;
use antiphon_model::Code;
use jsonwebtoken::Algorithm;

/// A shared secret is at least as long as the digest that it keys.
const SECRET_BYTES_MIN: usize = 32;
const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("HS256", Algorithm::HS256),
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
];

/// Tokens of an identity provider; empty: only our own personal access tokens are accepted.
#[derive(Clone, Default)]
pub struct AuthConfig {
    /// The provider's public keys: an address (`https://...`) or a file.
    pub jwks: Option<String>,
    /// A secret shared with the provider, in place of keys.
    pub secret: Option<String>,
    /// The accepted algorithms; empty: HS256 with a secret, else RS256, ES256 and EdDSA.
    pub algorithms: Vec<String>,
    /// The `iss` of its tokens.
    pub issuer: Option<String>,
    /// The `aud` that its tokens for us name.
    pub audience: Option<String>,
    /// The claim that says the places of the holder; `None`: our tables do.
    pub orgs_claim: Option<String>,
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AuthConfig { jwks, algorithms, issuer, audience, orgs_claim, .. } = self;
        // The secret is told to nobody.
        f.debug_struct("AuthConfig")
            .field("jwks", jwks)
            .field("algorithms", algorithms)
            .field("issuer", issuer)
            .field("audience", audience)
            .field("orgs_claim", orgs_claim)
            .finish_non_exhaustive()
    }
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyPlace {
    /// A shared secret.
    Secret(String),
    /// An address.
    Url(String),
    /// A file.
    File(String),
}

/// The configuration, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pinned {
    pub(super) keys: KeyPlace,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) orgs_claim: Option<String>,
}

impl AuthConfig {
    /// Checks it; `None` where no provider is configured.
    pub(super) fn check(&self) -> Result<Option<Pinned>, Fault> {
        let keys = match (&self.jwks, &self.secret) {
            (None, None) if self.is_empty() => return Ok(None),
            (None, None) => return Err(refused("jwks", "or `secret` is missing: there is nothing to judge tokens by")),
            (Some(_), Some(_)) => {
                return Err(refused("secret", "goes not with `jwks`: a key is shared or it is public"));
            }
            (Some(place), None) => key_place(place)?,
            (None, Some(secret)) if secret.len() < SECRET_BYTES_MIN => {
                return Err(refused("secret", &format!("has at least {SECRET_BYTES_MIN} bytes")));
            }
            (None, Some(secret)) => KeyPlace::Secret(secret.clone()),
        };
        let pinned = |name, value: &Option<String>| {
            let value = value.clone().filter(|value| !value.is_empty());
            value.ok_or_else(|| refused(name, "is missing: whose tokens are accepted, and for whom, must be said"))
        };
        Ok(Some(Pinned {
            algorithms: self.algorithms(matches!(keys, KeyPlace::Secret(_)))?,
            keys,
            issuer: pinned("issuer", &self.issuer)?,
            audience: pinned("audience", &self.audience)?,
            orgs_claim: self.orgs_claim.clone(),
        }))
    }

    fn is_empty(&self) -> bool {
        let texts = [&self.issuer, &self.audience, &self.orgs_claim];
        self.algorithms.is_empty() && texts.into_iter().all(Option::is_none)
    }

    fn algorithms(&self, shared: bool) -> Result<Vec<Algorithm>, Fault> {
        if self.algorithms.is_empty() {
            let fit = ALGORITHMS.iter().filter(|(_, algorithm)| (*algorithm == Algorithm::HS256) == shared);
            return Ok(fit.map(|(_, algorithm)| *algorithm).collect());
        }
        let read = self.algorithms.iter().map(|name| {
            let known = ALGORITHMS.iter().find(|(known, _)| known == name);
            let (_, algorithm) = known.ok_or_else(|| refused("algorithms", "are HS256, RS256, ES256 and EdDSA"))?;
            // A public key taken for a shared secret would let everybody sign.
            match (*algorithm == Algorithm::HS256) == shared {
                true => Ok(*algorithm),
                false => Err(refused("algorithms", "hold HS256 with `secret` only, and the others with `jwks` only")),
            }
        });
        read.collect()
    }
}

fn key_place(place: &str) -> Result<KeyPlace, Fault> {
    let Some((scheme, rest)) = place.split_once("://") else { return Ok(KeyPlace::File(place.to_owned())) };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if host.contains('@') {
        return Err(refused("jwks", "holds a password; public keys need none"));
    }
    match scheme {
        "https" => Ok(KeyPlace::Url(place.to_owned())),
        "http" if matches!(name, "localhost" | "127.0.0.1" | "[::1]") => Ok(KeyPlace::Url(place.to_owned())),
        _ => Err(refused("jwks", "is an https:// address (http:// on this machine only) or the path of a file")),
    }
}

fn refused(key: &str, why: &str) -> Fault {
    Fault::new(Code::ConfigInvalid, format!("auth.{key} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(jwks: Option<&str>, secret: Option<&str>, algorithms: &[&str]) -> AuthConfig {
        AuthConfig {
            jwks: jwks.map(str::to_owned),
            secret: secret.map(str::to_owned),
            algorithms: algorithms.iter().map(|name| (*name).to_owned()).collect(),
            issuer: Some("issuer".into()),
            audience: Some("audience".into()),
            orgs_claim: None,
        }
    }

    #[test]
    fn what_would_accept_tokens_of_others_is_refused_at_the_start_sec_02() {
        let secret = "s".repeat(32);
        let (url, secret) = (Some("https://id.example/jwks"), Some(secret.as_str()));
        for (wrong, key) in [
            (config(url, secret, &[]), "auth.secret"),
            (config(None, Some("short"), &[]), "auth.secret"),
            (config(None, None, &[]), "auth.jwks"),
            (config(Some("http://id.example/jwks"), None, &[]), "auth.jwks"),
            (config(Some("https://user:pass@id.example/jwks"), None, &[]), "auth.jwks"),
            (config(Some("ftp://id.example/jwks"), None, &[]), "auth.jwks"),
            (config(Some("http://localhost.example/jwks"), None, &[]), "auth.jwks"),
            (config(url, None, &["none"]), "auth.algorithms"),
            (config(url, None, &["HS256"]), "auth.algorithms"),
            (config(None, secret, &["RS256"]), "auth.algorithms"),
            (AuthConfig { issuer: None, ..config(url, None, &[]) }, "auth.issuer"),
            (AuthConfig { audience: Some(String::new()), ..config(url, None, &[]) }, "auth.audience"),
        ] {
            let fault = wrong.check().unwrap_err();
            assert_eq!(fault.code(), Code::ConfigInvalid, "{wrong:?}");
            assert!(fault.detail().starts_with(key), "{wrong:?}: {}", fault.detail());
            assert!(!format!("{wrong:?}").contains("ssss"), "the secret is shown");
        }
    }

    #[test]
    fn nothing_configured_accepts_our_own_tokens_only() {
        assert_eq!(AuthConfig::default().check().unwrap(), None);
        let shared = config(None, Some(&"s".repeat(32)), &[]).check().unwrap().unwrap();
        assert_eq!(shared.algorithms, [Algorithm::HS256]);
        let file = config(Some("keys.json"), None, &["EdDSA"]).check().unwrap().unwrap();
        assert_eq!((file.keys, file.algorithms), (KeyPlace::File("keys.json".into()), vec![Algorithm::EdDSA]));
    }
}
