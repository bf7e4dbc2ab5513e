//! Organisations, users and tokens for operators.
//!
//! Laws: creating never overwrites; a token's text is returned once, at its creation; ids are short and visible, because
//! they stand in addresses and in rows.

use antiphon_engine::{
    Fault,
    ports::{Directory, TokenScope, TokenScopes},
};
use antiphon_model::{Code, Role};
use antiphon_store::{NewToken, Organisation, Store};
use serde::Serialize;

use super::Admin;

/// An organisation as a document.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Org {
    /// Its id: what the organisation column of rows holds.
    pub id: String,
    /// Its name in addresses.
    pub slug: String,
    /// Its name.
    pub name: String,
}

/// A user's place in an organisation.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The organisation's id.
    pub org: String,
    /// The role there.
    pub role: &'static str,
}

/// A user as a document.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The `sub` of the user's tokens.
    pub id: String,
    /// The name to show.
    pub name: String,
    /// Whether the user administers the whole system.
    pub system_admin: bool,
    /// The places in organisations.
    pub memberships: Vec<Place>,
}

/// What is known of a token besides its secret.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenInfo {
    /// Its id.
    pub id: String,
    /// How it begins.
    pub prefix: String,
    /// Whose it is.
    pub user: String,
    /// What it is for.
    pub name: String,
    /// What it is good for: `read`, `write`, `admin`.
    pub scopes: Vec<&'static str>,
    /// When it was made.
    pub created_at: String,
    /// When it expires.
    pub expires_at: Option<String>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// The directory, for changes.
pub struct People(Store);

impl Admin {
    /// Opens the directory.
    pub async fn people(&self) -> Result<People, Fault> {
        Ok(People(self.store().await?))
    }
}

impl People {
    /// Lists the organisations.
    pub async fn orgs(&self) -> Result<Vec<Org>, Fault> {
        let orgs = self.0.organisations().await?;
        Ok(orgs.into_iter().map(|org| Org { id: org.id, slug: org.slug, name: org.name }).collect())
    }

    /// Creates an organisation; one that is there already is never overwritten.
    pub async fn create_org(&self, id: &str, slug: &str, name: &str) -> Result<(), Fault> {
        fit("an organisation's id", id)?;
        fit("a slug", slug)?;
        if self.0.organisations().await?.iter().any(|org| org.id == id) {
            return Err(Fault::new(Code::ParameterInvalid, format!("the organisation {id} exists already")));
        }
        self.0.save_organisation(&Organisation { id: id.into(), slug: slug.into(), name: name.into() }).await
    }

    /// Lists the users with their places.
    pub async fn users(&self) -> Result<Vec<User>, Fault> {
        let mut users: Vec<User> = self.0.users().await?.into_iter().map(bare).collect();
        for org in self.0.organisations().await? {
            for member in self.0.members(&org.id).await? {
                if let Some(user) = users.iter_mut().find(|user| user.id == member.id) {
                    user.memberships.push(Place { org: org.id.clone(), role: member.role.as_str() });
                }
            }
        }
        Ok(users)
    }

    /// Creates a user; one that is there already is never overwritten.
    pub async fn create_user(&self, id: &str, name: &str, system_admin: bool) -> Result<(), Fault> {
        fit("a user's id", id)?;
        if self.0.users().await?.iter().any(|user| user.id == id) {
            return Err(Fault::new(Code::ParameterInvalid, format!("the user {id} exists already")));
        }
        let user = antiphon_store::User { id: id.into(), name: name.into(), avatar_url: None, system_admin };
        self.0.save_user(&user).await
    }

    /// Gives a user a place in an organisation, or another role there.
    pub async fn join(&self, org: &str, user: &str, role: Role) -> Result<(), Fault> {
        self.0.save_membership(org, user, role).await
    }

    /// Takes a user's place in an organisation away.
    pub async fn leave(&self, org: &str, user: &str) -> Result<(), Fault> {
        match self.0.remove_membership(org, user).await? {
            true => Ok(()),
            false => Err(Fault::new(Code::NotFound, format!("{user} has no place in {org}"))),
        }
    }

    /// Lists tokens, of one user where named.
    pub async fn tokens(&self, user: Option<&str>) -> Result<Vec<TokenInfo>, Fault> {
        let tokens = self.0.tokens().await?.into_iter();
        let wanted = tokens.filter(|token| user.is_none_or(|user| token.user == user));
        let info = wanted.map(|token| TokenInfo {
            id: token.id,
            prefix: token.prefix,
            user: token.user,
            name: token.name,
            scopes: token.scopes.list().into_iter().map(TokenScope::as_str).collect(),
            created_at: token.created_at,
            expires_at: token.expires_at,
            revoked: token.revoked,
        });
        Ok(info.collect())
    }

    /// Creates a token that is good for everything its user may do, and returns it, this once.
    pub async fn create_token(&self, user: &str, name: &str, days: Option<u32>) -> Result<String, Fault> {
        self.create(NewToken { user, name, days, scopes: TokenScopes::ALL }).await
    }

    /// Creates a token that is good for these scopes only, and returns it, this once.
    pub async fn create_scoped_token(
        &self,
        user: &str,
        name: &str,
        days: Option<u32>,
        scopes: &[String],
    ) -> Result<String, Fault> {
        let scope = |word: &String| {
            let unknown =
                || Fault::new(Code::ParameterInvalid, format!("scopes are read, write and admin, not {word}"));
            TokenScope::parse(word).ok_or_else(unknown)
        };
        let scopes = scopes.iter().map(scope).collect::<Result<Vec<_>, _>>()?;
        if scopes.is_empty() {
            return Err(Fault::new(Code::ParameterInvalid, "a token without scopes is good for nothing"));
        }
        self.create(NewToken { user, name, days, scopes: TokenScopes::of(&scopes) }).await
    }

    async fn create(&self, new: NewToken<'_>) -> Result<String, Fault> {
        let user = new.user;
        if !self.0.users().await?.iter().any(|known| known.id == user) {
            return Err(Fault::new(Code::NotFound, format!("there is no user {user}")));
        }
        self.0.create_token(new).await
    }

    /// Stores a token whose text is known already.
    pub(crate) async fn keep_token(&self, token: &str, user: &str, name: &str) -> Result<(), Fault> {
        self.0.save_token(token, NewToken { user, name, days: None, scopes: TokenScopes::ALL }).await
    }

    /// Revokes a token.
    pub async fn revoke_token(&self, id: &str) -> Result<(), Fault> {
        match self.0.revoke_token(id).await? {
            true => Ok(()),
            false => Err(Fault::new(Code::NotFound, format!("no token {id} is in force"))),
        }
    }
}

fn bare(user: antiphon_store::User) -> User {
    User { id: user.id, name: user.name, system_admin: user.system_admin, memberships: Vec::new() }
}

/// Ids stand in addresses and in rows: they are short and visible.
fn fit(what: &str, id: &str) -> Result<(), Fault> {
    let fits =
        !id.is_empty() && id.len() <= 200 && !id.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/');
    if fits {
        return Ok(());
    }
    let detail = format!("{what} has 1 to 200 bytes, without blanks, slashes and control characters");
    Err(Fault::new(Code::ParameterInvalid, detail))
}
