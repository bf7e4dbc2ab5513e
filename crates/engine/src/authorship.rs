//! The logical message that says who wrote what follows it in a transaction (house 12).
//!
//! The mutation service writes one before each statement; intake reads it back from the write-ahead log, so that
//! deletes and cascades have an author too. Laws: content is 64 hexadecimal digits, an HMAC-SHA256 under the
//! installation's key of the transaction's number and the body, then the body in JSON; a message that does not carry
//! the right digits is nobody's and counts for nothing. The number is part of it, so a copied message is worthless.

use antiphon_model::{Tx, Xid};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// The prefix of our logical messages.
pub const MESSAGE_PREFIX: &str = "antiphon";

const MAC_DIGITS: usize = 64;

/// The installation's key.
#[derive(Clone)]
pub struct SealKey(Vec<u8>);

impl SealKey {
    /// Takes the bytes of the key.
    pub fn new(bytes: Vec<u8>) -> SealKey {
        SealKey(bytes)
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(..)")
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorship {
    /// The organisation in which the mutation was made.
    pub org: String,
    /// Who wrote, and by which mutation; `fields` only where one statement carries several.
    pub tx: Tx,
}

/// Writes a message for a transaction; `None` ends the reign of the one before.
pub fn seal(key: &SealKey, xid: Xid, authorship: Option<&Authorship>) -> Vec<u8> {
    // A struct of texts cannot fail to be written.
    let body = authorship.map_or_else(|| "{}".to_owned(), |said| serde_json::to_string(said).unwrap_or_default());
    let digest = mac(key, xid, body.as_bytes()).finalize().into_bytes();
    let mut content: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    content.push_str(&body);
    content.into_bytes()
}

/// Reads a message of a transaction; `Err` where it is not ours or was not made for this transaction.
///
/// # Errors
/// Fails with [`Unsealed`] for anything that `seal` did not write under this key for this transaction.
pub fn open(key: &SealKey, xid: Xid, content: &[u8]) -> Result<Option<Authorship>, Unsealed> {
    let (digits, body) = content.split_at_checked(MAC_DIGITS).ok_or(Unsealed)?;
    let digest = unhex(digits).ok_or(Unsealed)?;
    mac(key, xid, body).verify_slice(&digest).map_err(|_| Unsealed)?;
    if body == b"{}" {
        return Ok(None);
    }
    serde_json::from_slice(body).map(Some).map_err(|_| Unsealed)
}

/// The message was not written by this installation for this transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsealed;

fn mac(key: &SealKey, xid: Xid, body: &[u8]) -> Hmac<Sha256> {
    // INVARIANT: HMAC takes keys of every length.
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&key.0).unwrap_or_else(|_| unreachable!());
    mac.update(&xid.as_u64().to_be_bytes());
    mac.update(body);
    mac
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.is_ascii())?;
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_message_of_this_transaction_is_believed_house_12() {
        let (key, other) = (SealKey::new(vec![7; 32]), SealKey::new(vec![8; 32]));
        let tx = Tx { transaction_id: "t".into(), source_id: "s".into(), ..Tx::default() };
        let said = Authorship { org: "acme".into(), tx };
        let content = seal(&key, Xid::new(752), Some(&said));
        assert_eq!(open(&key, Xid::new(752), &content), Ok(Some(said)));
        assert_eq!(open(&key, Xid::new(752), &seal(&key, Xid::new(752), None)), Ok(None));
        assert_eq!(open(&key, Xid::new(753), &content), Err(Unsealed));
        assert_eq!(open(&other, Xid::new(752), &content), Err(Unsealed));
        let mut forged = content.clone();
        *forged.last_mut().unwrap() = b' ';
        for bad in [&forged[..], b"", b"{}", &content[..64], "ö".repeat(64).as_bytes()] {
            assert_eq!(open(&key, Xid::new(752), bad), Err(Unsealed));
        }
    }
}
