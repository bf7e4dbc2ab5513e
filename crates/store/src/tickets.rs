//! Tickets for streams: issued for a token, stored as a hash, opened once (protocol 1).
//!
//! Laws: one statement decides who opens a ticket, so that of several servers one does; whether the token behind it is
//! still good is asked of the database each time, never copied. Forgotten tickets go when new ones are made.

use std::collections::BTreeMap;

use antiphon_engine::{
    Fault,
    ports::{Principal, Ticket, Tickets},
};
use antiphon_model::{Code, Micros, Role};
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    Store,
    directory::expired,
    errors,
    tokens::{self, micros, scopes_of, scopes_text},
};

/// What every ticket begins with.
const PREFIX: &str = "tkt_";
/// Characters behind the prefix: 244 random bits, as of a token.
const SECRET_CHARS: usize = 64;
/// A ticket opens its stream within this time.
const OPEN_WITHIN_SECONDS: f64 = 30.0;
/// A ticket that nobody showed for so many days is forgotten; no stream can be resumed after the log's retention.
const UNUSED_DAYS: f64 = 30.0;

fn hash(ticket: &str) -> Option<[u8; 32]> {
    let secret = ticket.strip_prefix(PREFIX)?;
    let fits = secret.len() == SECRET_CHARS && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| Sha256::digest(ticket.as_bytes()).into())
}

#[async_trait]
impl Tickets for Store {
    async fn issue(&self, principal: &Principal, token: &str) -> Result<Ticket, Fault> {
        let text = format!("{PREFIX}{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let hash = hash(&text).ok_or_else(|| errors::corrupt("a ticket of an unknown form"))?;
        let behind = tokens::hash(token);
        let own = behind.is_some();
        let memberships = principal.memberships.as_ref().map(|places| {
            let places: serde_json::Map<String, serde_json::Value> =
                places.iter().map(|(org, role)| (org.clone(), role.as_str().into())).collect();
            serde_json::Value::Object(places).to_string()
        });
        let expires_at = principal.expires_at.map(|at| at.0).filter(|_| !own);
        let scopes = scopes_text(principal.scopes).filter(|_| !own);
        let client = self.client().await?;
        let sql = "delete from antiphon.tickets where opened_at is null and open_before < now() - interval '1 minute'
                   or expires_at < now() or used_at < now() - $1 * interval '1 day'";
        client.execute(sql, &[&UNUSED_DAYS]).await.map_err(errors::sql)?;
        let sql =
            "insert into antiphon.tickets (hash, subject, token, expires_at, scopes, memberships, org, open_before)
                   select $1, $2, k.id, to_timestamp(0) + $4::int8 * interval '1 microsecond', $5, $6::text::jsonb, $7,
                     now() + $8 * interval '1 second'
                   from (select 1) one left join antiphon.tokens k on k.hash = $3 and k.revoked_at is null
                   where $3::bytea is null or k.id is not null
                   returning (extract(epoch from open_before) * 1000000)::int8";
        let behind = behind.as_ref().map(|hash| &hash[..]);
        let row = client
            .query_opt(
                sql,
                &[
                    &&hash[..],
                    &principal.subject,
                    &behind,
                    &expires_at,
                    &scopes,
                    &memberships,
                    &principal.only_org,
                    &OPEN_WITHIN_SECONDS,
                ],
            )
            .await
            .map_err(errors::sql)?;
        let row = row.ok_or_else(|| Fault::new(Code::Unauthenticated, "the token was revoked"))?;
        Ok(Ticket { text, open_before: Micros(row.get(0)) })
    }

    async fn open(&self, ticket: &str, org: Option<&str>, resumed: bool) -> Result<Option<Principal>, Fault> {
        let Some(hash) = hash(ticket) else { return Ok(None) };
        let client = self.client().await?;
        // Whoever comes second waits for the first one's lock and then finds the ticket opened.
        let sql = "update antiphon.tickets
                   set opened_at = coalesce(opened_at, now()), used_at = now(), org = coalesce(org, $2)
                   where hash = $1 and (org is null or $2::text is null or org = $2)
                     and (opened_at is null and open_before > now() or opened_at is not null and $3)";
        let opened = client.execute(sql, &[&&hash[..], &org, &resumed]).await.map_err(errors::sql)?;
        drop(client);
        if opened == 0 { Ok(None) } else { self.holder(ticket).await }
    }

    async fn holder(&self, ticket: &str) -> Result<Option<Principal>, Fault> {
        let Some(hash) = hash(ticket) else { return Ok(None) };
        let era = match self.cache.holders.find(&hash) {
            // The database looked at the clock when it was asked; it may be later now.
            Ok(known) => return Ok(Some(known).filter(|holder| !expired(holder))),
            Err(era) => era,
        };
        let client = self.client().await?;
        let sql = format!(
            "select t.subject, coalesce(u.system_admin, false), {}, case when t.token is null then t.scopes else k.scopes end,
                    t.memberships::text, t.org
             from antiphon.tickets t left join antiphon.tokens k on k.id = t.token
               left join antiphon.users u on u.id = t.subject
             where t.hash = $1 and t.opened_at is not null and (t.expires_at is null or t.expires_at > now())
               and (t.token is null or k.revoked_at is null and (k.expires_at is null or k.expires_at > now()))",
            micros("coalesce(t.expires_at, k.expires_at)")
        );
        let statement = client.prepare_cached(&sql).await.map_err(errors::sql)?;
        let row = client.query_opt(&statement, &[&&hash[..]]).await.map_err(errors::sql)?;
        let holder = row.map(|row| principal(&row)).transpose()?;
        if let Some(holder) = &holder {
            self.cache.holders.keep(era, hash, holder.clone());
        }
        Ok(holder)
    }
}

fn principal(row: &Row) -> Result<Principal, Fault> {
    let memberships: Option<String> = row.get(4);
    let memberships = memberships.map(|text| {
        let places: Option<BTreeMap<String, String>> = serde_json::from_str(&text).ok();
        let places = places.ok_or_else(|| errors::corrupt("a ticket's places cannot be read"))?;
        let places = places.into_iter().filter_map(|(org, role)| Some((org, Role::parse(&role)?)));
        Ok::<_, Fault>(places.collect())
    });
    Ok(Principal {
        subject: row.get(0),
        system_admin: row.get(1),
        expires_at: row.get::<_, Option<i64>>(2).map(Micros),
        scopes: scopes_of(row.get(3))?,
        memberships: memberships.transpose()?,
        only_org: row.get(5),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_no_ticket_sec_03() {
        let secret = "0af9".repeat(16);
        assert!(hash(&format!("tkt_{secret}")).is_some());
        for bad in [format!("ant_{secret}"), secret.clone(), format!("tkt_{secret}0"), "tkt_".into()] {
            assert!(hash(&bad).is_none(), "{bad}");
        }
    }
}
