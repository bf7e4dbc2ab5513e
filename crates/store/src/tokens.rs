//! Personal access tokens: shown once, stored as a hash.
//!
//! The secret has 244 random bits, so a plain SHA-256 is enough: there is nothing to guess.

use antiphon_engine::{
    Fault,
    ports::{TokenScope, TokenScopes},
};
use sha2::{Digest, Sha256};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{Store, errors};

/// What every token begins with, so that scanners find leaked ones.
const PREFIX: &str = "ant_";
/// Characters behind the prefix.
const SECRET_CHARS: usize = 64;

/// What is known of a token besides its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// Its id.
    pub id: String,
    /// How it begins.
    pub prefix: String,
    /// Whose it is.
    pub user: String,
    /// What it is for.
    pub name: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// What it is good for.
    pub scopes: TokenScopes,
    /// When it expires, RFC 3339.
    pub expires_at: Option<String>,
    /// When it was last used, to the minute, RFC 3339.
    pub last_used_at: Option<String>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// Returns the hash under which a token is stored; `None` where the text cannot be one.
pub(crate) fn hash(token: &str) -> Option<[u8; 32]> {
    let secret = token.strip_prefix(PREFIX)?;
    let fits = secret.len() == SECRET_CHARS && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| Sha256::digest(token.as_bytes()).into())
}

/// SQL for a time in microseconds since 1970.
pub(crate) fn micros(column: &str) -> String {
    format!("(extract(epoch from {column}) * 1000000)::int8")
}

/// Reads stored scopes; none stored is all of them.
pub(crate) fn scopes_of(words: Option<Vec<String>>) -> Result<TokenScopes, Fault> {
    let Some(words) = words else { return Ok(TokenScopes::ALL) };
    let scopes: Option<Vec<TokenScope>> = words.iter().map(|word| TokenScope::parse(word)).collect();
    scopes.map(|scopes| TokenScopes::of(&scopes)).ok_or_else(|| errors::corrupt("a token has an unknown scope"))
}

/// Writes scopes to be stored.
pub(crate) fn scopes_text(scopes: TokenScopes) -> Option<Vec<&'static str>> {
    (scopes != TokenScopes::ALL).then(|| scopes.list().into_iter().map(TokenScope::as_str).collect())
}

/// What a new token is for.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'a> {
    /// Whose it is.
    pub user: &'a str,
    /// What people call it.
    pub name: &'a str,
    /// Days until it expires; `None`: never.
    pub days: Option<u32>,
    /// What it is good for.
    pub scopes: TokenScopes,
}

impl Store {
    /// Makes a token and returns its text; it cannot be read again.
    pub async fn create_token(&self, new: NewToken<'_>) -> Result<String, Fault> {
        let token = format!("{PREFIX}{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        self.save_token(&token, new).await?;
        Ok(token)
    }

    /// Stores a token whose text is known already; storing the same one again changes nothing.
    pub async fn save_token(&self, token: &str, new: NewToken<'_>) -> Result<(), Fault> {
        let hash = hash(token).ok_or_else(|| errors::corrupt("a token of an unknown form"))?;
        let prefix = &token[..PREFIX.len() + 6];
        let NewToken { user, name, days, scopes } = new;
        let (days, scopes) = (days.map(f64::from), scopes_text(scopes));
        let sql = "insert into antiphon.tokens (id, hash, prefix, \"user\", name, expires_at, scopes)
                   values ($1, $2, $3, $4, $5, now() + $6 * interval '1 day', $7) on conflict (hash) do nothing";
        self.change(sql, &[&Uuid::new_v4(), &&hash[..], &prefix, &user, &name, &days, &scopes]).await.map(drop)
    }

    /// Revokes a token by its id; tells whether there was one in force.
    pub async fn revoke_token(&self, id: &str) -> Result<bool, Fault> {
        let sql = "update antiphon.tokens set revoked_at = now() where id::text = $1 and revoked_at is null";
        Ok(self.change(sql, &[&id]).await? > 0)
    }

    /// Lists tokens, newest first.
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, Fault> {
        let client = self.client().await?;
        let at = |column: &str| format!("to_char({column} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
        let (created, expires, used) = (at("created_at"), at("expires_at"), at("last_used_at"));
        let sql = format!(
            "select id::text, prefix, \"user\", name, {created}, {expires}, {used}, revoked_at is not null, scopes
             from antiphon.tokens order by created_at desc, id"
        );
        let rows = client.query(&sql, &[]).await.map_err(errors::sql)?;
        let info = |row: &Row| {
            Ok(TokenInfo {
                id: row.get(0),
                prefix: row.get(1),
                user: row.get(2),
                name: row.get(3),
                created_at: row.get(4),
                expires_at: row.get(5),
                last_used_at: row.get(6),
                revoked: row.get(7),
                scopes: scopes_of(row.get(8))?,
            })
        };
        rows.iter().map(info).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_of_the_right_form_is_looked_up() {
        let good = format!("ant_{}", "0af9".repeat(16));
        assert!(hash(&good).is_some());
        for bad in ["", "ant_", "0af9", "ant_zz", &good[1..], &format!("{good}0"), "ant_' or true --"] {
            assert!(hash(bad).is_none(), "{bad}");
        }
    }
}
