//! Keys of a provider, one of each kind, made when they are first asked for.

use std::sync::OnceLock;

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use serde_json::json;

/// What stands before the key itself in PKCS #8, for RSA of 2,048 bits.
const PKCS8_HEAD_BYTES: usize = 26;

/// The algorithm's name, the key's name, the algorithm, the private key.
pub(super) type Pair = (&'static str, &'static str, Algorithm, EncodingKey);

/// Returns every pair, that of ES256 first.
pub(super) fn all() -> Vec<Pair> {
    static PAIRS: OnceLock<Vec<Pair>> = OnceLock::new();
    let made = || {
        let random = SystemRandom::new();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ed = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).unwrap();
        let rsa = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let rsa = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
        vec![
            ("ES256", "ec", Algorithm::ES256, EncodingKey::from_ec_der(ec.as_ref())),
            ("EdDSA", "ed", Algorithm::EdDSA, EncodingKey::from_ed_der(ed.as_ref())),
            ("RS256", "rsa", Algorithm::RS256, EncodingKey::from_rsa_der(&rsa.as_ref()[PKCS8_HEAD_BYTES..])),
        ]
    };
    PAIRS.get_or_init(made).clone()
}

/// Returns the public keys of these names as a document.
pub(super) fn only(names: &[&str]) -> String {
    let wanted = all().into_iter().filter(|(_, kid, ..)| names.contains(kid));
    let keys = wanted.map(|(_, kid, algorithm, key)| {
        let mut jwk = Jwk::from_encoding_key(&key, algorithm).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        jwk
    });
    json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
}
