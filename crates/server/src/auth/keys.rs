//! The public keys of an identity provider: a JSON Web Key Set, read with suspicion.
//!
//! Laws: a key serves one algorithm, the one of its kind, so that no token chooses another (SE-05); keys that are not
//! for signatures, shared keys and weak ones are passed over; addresses of keys inside a token are never followed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde_json::Value;

/// A set may have so many keys.
const KEYS_MAX: usize = 100;
/// RSA keys have at least 2,048 bits, and at most 8,192, because checking takes time.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// The name of a key has at most so many bytes.
pub(super) const KID_BYTES_MAX: usize = 256;

/// A set of keys.
#[derive(Default)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    /// As it was read, to be compared.
    text: String,
}

impl KeySet {
    /// Reads a set; `None` where it is none or holds no key that serves.
    pub(super) fn parse(text: &[u8]) -> Option<KeySet> {
        let document: Value = serde_json::from_slice(text).ok()?;
        let listed = document.get("keys")?.as_array()?;
        let keys: Vec<Key> = listed.iter().take(KEYS_MAX).filter_map(Key::read).collect();
        (!keys.is_empty()).then_some(KeySet { keys })
    }

    /// Finds the key of a token: by name, or the only one of its algorithm where the token names none.
    pub(super) fn find(&self, algorithm: Algorithm, kid: Option<&str>) -> Option<&DecodingKey> {
        let mut fit = self.keys.iter().filter(|key| key.algorithm == algorithm);
        match kid {
            Some(kid) => fit.find(|key| key.kid.as_deref() == Some(kid)).map(|key| &key.key),
            None => fit.next().filter(|_| fit.next().is_none()).map(|key| &key.key),
        }
    }

    /// Tells whether a key of this set is missing in another.
    pub(super) fn loses(&self, other: &KeySet) -> bool {
        self.keys.iter().any(|key| !other.keys.iter().any(|kept| kept.text == key.text))
    }

    /// Tells whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl Key {
    fn read(value: &Value) -> Option<Key> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                let modulus = URL_SAFE_NO_PAD.decode(&rsa.n).ok()?;
                let bytes = modulus.iter().skip_while(|byte| **byte == 0).count();
                RSA_BYTES.contains(&bytes).then_some(Algorithm::RS256)?
            }
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
            _ => return None,
        };
        let common = &jwk.common;
        let signs = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let named = value.get("alg").and_then(Value::as_str);
        let same = named.is_none_or(|named| named.parse() == Ok(algorithm));
        let short = common.key_id.as_ref().is_none_or(|kid| kid.len() <= KID_BYTES_MAX);
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        (signs && same && short).then(|| Key { kid: common.key_id.clone(), algorithm, key, text: value.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn set(keys: &[&str]) -> Option<KeySet> {
        KeySet::parse(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes())
    }

    #[test]
    fn a_key_serves_its_own_algorithm_only_se_05() {
        let found = set(&[ED]).unwrap();
        assert!(found.find(Algorithm::EdDSA, Some("ed")).is_some());
        assert!(found.find(Algorithm::EdDSA, None).is_some(), "it is the only one");
        for (algorithm, kid) in [
            (Algorithm::HS256, Some("ed")),
            (Algorithm::RS256, Some("ed")),
            (Algorithm::EdDSA, Some("../ed")),
            (Algorithm::EdDSA, Some("' or true --")),
            (Algorithm::EdDSA, Some("")),
        ] {
            assert!(found.find(algorithm, kid).is_none(), "{algorithm:?} {kid:?}");
        }
        let two = set(&[ED, &ED.replace("\"ed\"", "\"other\"")]).unwrap();
        assert!(two.find(Algorithm::EdDSA, None).is_none(), "it could be either");
        assert!(two.loses(&found) && !found.loses(&two));
    }

    #[test]
    fn keys_that_do_not_serve_are_passed_over_sec_02() {
        for bad in [
            r#"{"kty":"oct","kid":"shared","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}"#,
            r#"{"kty":"RSA","kid":"weak","n":"AQAB","e":"AQAB"}"#,
            &ED.replace("\"kid\"", "\"use\":\"enc\",\"kid\""),
            &ED.replace("\"kid\"", "\"alg\":\"RS256\",\"kid\""),
            &ED.replace("Ed25519", "P-256"),
            "7",
        ] {
            assert!(set(&[bad]).is_none(), "{bad}");
            assert!(set(&[bad, ED]).is_some(), "one bad key spoils no others");
        }
        for text in ["", "[]", "{}", "{\"keys\":[]}", "{\"keys\":{}}", "<html>"] {
            assert!(KeySet::parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}
