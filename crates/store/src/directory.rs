//! Organisations, users and memberships; and the engine's questions about them.
//!
//! Law: not being a member and there being no such organisation give the same answer, by the same query.

use antiphon_engine::{
    Fault,
    ports::{Directory, Member, Membership, OrgNames, Principal, Shown},
};
use antiphon_model::{Code, Micros, Role};
use async_trait::async_trait;
use tokio::sync::watch;
use tokio_postgres::Row;

use crate::{Store, cache::Cache, errors, tokens};

/// Remembered answers.
#[derive(Default)]
pub(crate) struct Caches {
    principals: Cache<[u8; 32], Shown>,
    /// Apart, so that whoever guesses pushes no good token out.
    strangers: Cache<[u8; 32], ()>,
    memberships: Cache<(String, String), Option<Membership>>,
    names: Cache<String, Option<OrgNames>>,
    administrators: Cache<String, bool>,
    pub(crate) holders: Cache<[u8; 32], Principal>,
}

impl Caches {
    pub(crate) fn clear(&self) {
        self.principals.clear();
        self.strangers.clear();
        self.memberships.clear();
        self.names.clear();
        self.administrators.clear();
        self.holders.clear();
    }
}

/// An organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organisation {
    /// Its id: what the organisation column of rows holds.
    pub id: String,
    /// Its short name in addresses.
    pub slug: String,
    /// Its name.
    pub name: String,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The `sub` of tokens.
    pub id: String,
    /// The name to show.
    pub name: String,
    /// The picture's address.
    pub avatar_url: Option<String>,
    /// Whether the user administers the whole system.
    pub system_admin: bool,
}

#[async_trait]
impl Directory for Store {
    async fn authenticate(&self, token: &str) -> Result<Shown, Fault> {
        let Some(hash) = tokens::hash(token) else { return Ok(Shown::Unknown) };
        let era = match self.cache.principals.find(&hash) {
            // The database looked at the clock when it was asked; it may be later now.
            Ok(Shown::Accepted(known)) if expired(&known) => return Ok(Shown::Expired),
            Ok(known) => return Ok(known),
            Err(era) => era,
        };
        let strange = match self.cache.strangers.find(&hash) {
            Ok(()) => return Ok(Shown::Unknown),
            Err(era) => era,
        };
        metrics::counter!("antiphon_directory_lookups_total", "of" => "token").increment(1);
        let client = self.client().await?;
        let sql = format!(
            "select u.id, u.system_admin, t.last_used_at is null or t.last_used_at < now() - interval '1 minute',
                    {}, t.scopes, coalesce(t.expires_at <= now(), false)
             from antiphon.tokens t join antiphon.users u on u.id = t.\"user\"
             where t.hash = $1 and t.revoked_at is null",
            tokens::micros("t.expires_at")
        );
        let statement = client.prepare_cached(&sql).await.map_err(errors::sql)?;
        let Some(row) = client.query_opt(&statement, &[&&hash[..]]).await.map_err(errors::sql)? else {
            self.cache.strangers.keep(strange, hash, ());
            return Ok(Shown::Unknown);
        };
        if row.get(5) {
            self.cache.principals.keep(era, hash, Shown::Expired);
            return Ok(Shown::Expired);
        }
        if row.get(2) {
            // Good to know, and no reason to turn anybody away: a full disk must not lock operators out.
            let sql = "update antiphon.tokens set last_used_at = now() where hash = $1";
            if let Err(error) = client.execute(sql, &[&&hash[..]]).await {
                tracing::debug!(%error, "the use of a token was not noted");
            }
        }
        let shown = Shown::Accepted(principal(&row)?);
        self.cache.principals.keep(era, hash, shown.clone());
        Ok(shown)
    }

    async fn membership(&self, org: &str, subject: &str) -> Result<Option<Membership>, Fault> {
        let key = (org.to_owned(), subject.to_owned());
        let era = match self.cache.memberships.find(&key) {
            Ok(known) => return Ok(known),
            Err(era) => era,
        };
        metrics::counter!("antiphon_directory_lookups_total", "of" => "membership").increment(1);
        let client = self.client().await?;
        let sql = "select o.id, m.role from antiphon.organisations o join antiphon.memberships m on m.org = o.id
                   where (o.id = $1 or o.slug = $1) and m.\"user\" = $2 order by o.id = $1 desc limit 1";
        let statement = client.prepare_cached(sql).await.map_err(errors::sql)?;
        let row = client.query_opt(&statement, &[&org, &subject]).await.map_err(errors::sql)?;
        let membership =
            row.map(|row| Ok::<_, Fault>(Membership { org: row.get(0), role: role(&row, 1)? })).transpose()?;
        self.cache.memberships.keep(era, key, membership.clone());
        Ok(membership)
    }

    async fn org_names(&self, org: &str) -> Result<Option<OrgNames>, Fault> {
        let key = org.to_owned();
        let era = match self.cache.names.find(&key) {
            Ok(known) => return Ok(known),
            Err(era) => era,
        };
        metrics::counter!("antiphon_directory_lookups_total", "of" => "organisation").increment(1);
        let client = self.client().await?;
        let sql =
            "select id, slug from antiphon.organisations where id = $1 or slug = $1 order by id = $1 desc limit 1";
        let row = client.query_opt(sql, &[&org]).await.map_err(errors::sql)?;
        let names = row.map(|row| OrgNames { id: row.get(0), slug: row.get(1) });
        self.cache.names.keep(era, key, names.clone());
        Ok(names)
    }

    async fn administers(&self, subject: &str) -> Result<bool, Fault> {
        let key = subject.to_owned();
        let era = match self.cache.administrators.find(&key) {
            Ok(known) => return Ok(known),
            Err(era) => era,
        };
        metrics::counter!("antiphon_directory_lookups_total", "of" => "administrator").increment(1);
        let client = self.client().await?;
        let sql = "select coalesce((select system_admin from antiphon.users where id = $1), false)";
        let administers = client.query_one(sql, &[&subject]).await.map_err(errors::sql)?.get(0);
        self.cache.administrators.keep(era, key, administers);
        Ok(administers)
    }

    async fn members(&self, org: &str) -> Result<Vec<Member>, Fault> {
        let client = self.client().await?;
        let sql = "select u.id, u.name, m.role, u.avatar_url from antiphon.memberships m
                   join antiphon.users u on u.id = m.\"user\" where m.org = $1 order by u.name, u.id";
        let rows = client.query(sql, &[&org]).await.map_err(errors::sql)?;
        let member =
            |row: &Row| Ok(Member { id: row.get(0), name: row.get(1), role: role(row, 2)?, avatar_url: row.get(3) });
        rows.iter().map(member).collect()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn forget(&self) {
        self.forget_all();
    }
}

fn principal(row: &Row) -> Result<Principal, Fault> {
    Ok(Principal {
        subject: row.get(0),
        system_admin: row.get(1),
        expires_at: row.get::<_, Option<i64>>(3).map(Micros),
        scopes: tokens::scopes_of(row.get(4))?,
        memberships: None,
        only_org: None,
    })
}

pub(crate) fn expired(principal: &Principal) -> bool {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    principal.expires_at.is_some_and(|at| at.0 <= now)
}

fn role(row: &Row, index: usize) -> Result<Role, Fault> {
    Role::parse(row.get(index)).ok_or_else(|| errors::corrupt("a membership has an unknown role"))
}

impl Store {
    /// Creates or renames an organisation.
    pub async fn save_organisation(&self, organisation: &Organisation) -> Result<(), Fault> {
        let Organisation { id, slug, name } = organisation;
        let sql = "insert into antiphon.organisations (id, slug, name) values ($1, $2, $3)
                   on conflict (id) do update set slug = excluded.slug, name = excluded.name";
        self.change(sql, &[id, slug, name]).await.map(drop)
    }

    /// Creates or changes a user.
    pub async fn save_user(&self, user: &User) -> Result<(), Fault> {
        let User { id, name, avatar_url, system_admin } = user;
        let sql = "insert into antiphon.users (id, name, avatar_url, system_admin) values ($1, $2, $3, $4)
                   on conflict (id) do update set name = excluded.name, avatar_url = excluded.avatar_url,
                     system_admin = excluded.system_admin";
        self.change(sql, &[id, name, avatar_url, system_admin]).await.map(drop)
    }

    /// Makes a user a member, or changes the role; fails with `NOT_FOUND` where user or organisation do not exist.
    pub async fn save_membership(&self, org: &str, user: &str, role: Role) -> Result<(), Fault> {
        let sql = "insert into antiphon.memberships (org, \"user\", role)
                   select o.id, u.id, $3 from antiphon.organisations o, antiphon.users u
                   where (o.id = $1 or o.slug = $1) and u.id = $2
                   on conflict (org, \"user\") do update set role = excluded.role";
        let role = role.as_str();
        match self.change(sql, &[&org, &user, &role]).await? {
            0 => Err(Fault::new(Code::NotFound, format!("there is no organisation `{org}` or no user `{user}`"))),
            _ => Ok(()),
        }
    }

    /// Ends a membership; tells whether there was one.
    pub async fn remove_membership(&self, org: &str, user: &str) -> Result<bool, Fault> {
        let sql = "delete from antiphon.memberships m using antiphon.organisations o
                   where o.id = m.org and (o.id = $1 or o.slug = $1) and m.\"user\" = $2";
        Ok(self.change(sql, &[&org, &user]).await? > 0)
    }

    /// Lists organisations by id.
    pub async fn organisations(&self) -> Result<Vec<Organisation>, Fault> {
        let client = self.client().await?;
        let sql = "select id, slug, name from antiphon.organisations order by id";
        let rows = client.query(sql, &[]).await.map_err(errors::sql)?;
        Ok(rows.iter().map(|row| Organisation { id: row.get(0), slug: row.get(1), name: row.get(2) }).collect())
    }

    /// Lists users by id.
    pub async fn users(&self) -> Result<Vec<User>, Fault> {
        let client = self.client().await?;
        let sql = "select id, name, avatar_url, system_admin from antiphon.users order by id";
        let rows = client.query(sql, &[]).await.map_err(errors::sql)?;
        let user =
            |row: &Row| User { id: row.get(0), name: row.get(1), avatar_url: row.get(2), system_admin: row.get(3) };
        Ok(rows.iter().map(user).collect())
    }

    /// Changes the directory, synchronously, and forgets what was remembered; triggers tell the other servers.
    pub(crate) async fn change(
        &self,
        sql: &str,
        values: &[&(dyn tokio_postgres::types::ToSql + std::marker::Sync)],
    ) -> Result<u64, Fault> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(errors::sql)?;
        // The truth about people is never committed asynchronously, whatever the role's settings say.
        transaction.batch_execute("set local synchronous_commit = on").await.map_err(errors::sql)?;
        let changed =
            transaction.execute(sql, values).await.map_err(|error| match error.code().map(|state| state.code()) {
                Some("23505") => {
                    Fault::new(Code::ParameterInvalid, "the name is taken by another one").with_source(error)
                }
                Some("23503") => Fault::new(Code::NotFound, "what it refers to does not exist").with_source(error),
                _ => errors::sql(error),
            })?;
        transaction.commit().await.map_err(errors::sql)?;
        self.forget_all();
        Ok(changed)
    }
}
