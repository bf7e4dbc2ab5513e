//! Who may come in: tokens, tickets, origins, places in organisations (protocol 1).
//!
//! Our own personal access tokens and tickets are looked up in the directory, tokens of an identity provider are judged
//! by its keys. Laws: what a caller learns of a refusal is the same for every unknown token; each refusal is counted by
//! its reason; neither tokens nor tickets stand in logs, metrics or answers, but for the one answer that gives one out.

mod callers;
mod config;
mod gate;
mod guesses;
mod judge;
mod keys;
mod origins;
mod peers;
mod provider;
mod strict_json;
mod tickets;

use std::sync::Arc;

use antiphon_engine::{
    Fault,
    ports::{Directory, Membership, Principal, Shown, Tickets, TokenScopes},
};
use antiphon_model::Code;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::config::AuthConfig;
use self::judge::Judge;
pub(crate) use self::{
    callers::{Caller, Standing},
    gate::{Gate, Guessed, gate},
    origins::Origins,
    peers::Peer,
    tickets::issue,
};
use crate::{compose::now, problem::Problem};

/// An organisation's id or slug has at most so many bytes.
pub(crate) const ORG_BYTES_MAX: usize = 200;
/// What tickets begin with; they are good for streams only.
const TICKET_PREFIX: &str = "tkt_";

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing was shown.
    Missing,
    /// It was shown in a URL.
    InUrl,
    /// A personal access token that is unknown or revoked.
    Unknown,
    /// Not of the form of a token.
    Form,
    /// An algorithm that is not accepted.
    Algorithm,
    /// A key that is not known.
    Key,
    /// A signature that is not right.
    Signature,
    /// Claims that are missing, malformed, or meant for somebody else.
    Claims,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// A ticket that is unknown, used or ended.
    Ticket,
    /// The token's scopes do not allow it.
    Scope,
}

impl Refusal {
    const fn reason(self) -> &'static str {
        match self {
            Refusal::Missing => "missing",
            Refusal::InUrl => "in_url",
            Refusal::Unknown => "unknown",
            Refusal::Form => "form",
            Refusal::Algorithm => "algorithm",
            Refusal::Key => "key",
            Refusal::Signature => "signature",
            Refusal::Claims => "claims",
            Refusal::Expired => "expired",
            Refusal::NotYet => "not_yet",
            Refusal::Ticket => "ticket",
            Refusal::Scope => "scope",
        }
    }

    /// Counts the refusal and makes the answer; attackers and operators learn the same but for the count.
    pub(crate) fn problem(self) -> Problem {
        self.count();
        let (code, detail) = match self {
            Refusal::Missing => (Code::Unauthenticated, "the header `Authorization: Bearer` is missing"),
            Refusal::InUrl => (Code::TokenInUrl, "the URL holds a token"),
            Refusal::Expired => (Code::Unauthenticated, "the token has expired"),
            Refusal::Ticket => (Code::TicketInvalid, ""),
            Refusal::Scope => (Code::ScopeMissing, ""),
            _ => (Code::Unauthenticated, "the token is unknown, expired or revoked"),
        };
        let problem = Problem::new(code, detail);
        if self.guess() { problem.guessed() } else { problem }
    }

    /// Tells whether somebody may have guessed: nobody who was once let in with this comes here.
    pub(crate) const fn guess(self) -> bool {
        match self {
            Refusal::Unknown
            | Refusal::Form
            | Refusal::Algorithm
            | Refusal::Key
            | Refusal::Signature
            | Refusal::Ticket => true,
            Refusal::Missing
            | Refusal::InUrl
            | Refusal::Claims
            | Refusal::Expired
            | Refusal::NotYet
            | Refusal::Scope => false,
        }
    }

    fn count(self) {
        metrics::counter!("antiphon_auth_refusals_total", "reason" => self.reason()).increment(1);
    }
}

/// Lets people in.
pub(crate) struct Auth {
    directory: Arc<dyn Directory>,
    tickets: Arc<dyn Tickets>,
    judge: Option<Judge>,
    origins: Origins,
    changes: watch::Receiver<u64>,
}

impl Auth {
    /// Checks the configuration and opens what it names.
    pub(crate) async fn open(
        config: &AuthConfig,
        origins: Origins,
        directory: Arc<dyn Directory>,
        tickets: Arc<dyn Tickets>,
    ) -> Result<Auth, Fault> {
        let judge = match config.check()? {
            None => None,
            Some(pinned) => {
                let told = Arc::clone(&directory);
                Some(Judge::open(pinned, Box::new(move || told.forget())).await?)
            }
        };
        let changes = directory.changes();
        Ok(Auth { directory, tickets, judge, origins, changes })
    }

    /// Keeps what it knows of the identity provider fresh, until it is stopped.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        match self.judge.as_ref().and_then(Judge::provider) {
            Some(provider) => provider.run(&stop).await,
            None => stop.cancelled().await,
        }
    }

    /// Finds out whose token it is.
    async fn bearer(&self, token: &str) -> Result<Result<Principal, Refusal>, Fault> {
        let Some(judge) = self.judge.as_ref().filter(|_| Judge::looks_like(token)) else {
            return Ok(match self.directory.authenticate(token).await? {
                Shown::Accepted(principal) => Ok(principal),
                Shown::Expired => Err(Refusal::Expired),
                Shown::Unknown => Err(Refusal::Unknown),
            });
        };
        let claims = match judge.judge(token, now()).await? {
            Ok(claims) => claims,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let system_admin = self.directory.administers(&claims.subject).await?;
        Ok(Ok(Principal {
            subject: claims.subject,
            system_admin,
            expires_at: Some(claims.expires_at),
            scopes: TokenScopes::ALL,
            memberships: claims.memberships,
            only_org: None,
        }))
    }

    /// Finds out whose token or opened ticket it is, for a stream that is open already.
    async fn again(&self, shown: &str) -> Result<Option<Principal>, Fault> {
        match shown.starts_with(TICKET_PREFIX) {
            true => self.tickets.holder(shown).await,
            false => Ok(self.bearer(shown).await?.ok()),
        }
    }

    /// Finds somebody's place in an organisation named by id or slug.
    async fn place(&self, principal: &Principal, org: &str) -> Result<Option<Membership>, Fault> {
        if !may_be_name(org) {
            return Ok(None);
        }
        let place = match &principal.memberships {
            None => self.directory.membership(org, &principal.subject).await?,
            Some(claimed) => {
                let id = self.org_id(org).await?;
                match claimed.get(&id) {
                    Some(role) => Some(Membership { org: id, role: *role }),
                    None => self.claimed_by_slug(claimed, &id).await?,
                }
            }
        };
        Ok(place.filter(|place| principal.only_org.as_ref().is_none_or(|only| *only == place.org)))
    }

    /// Returns the id of an organisation named by either name; one that our tables do not know is its own id.
    async fn org_id(&self, org: &str) -> Result<String, Fault> {
        if !may_be_name(org) {
            return Ok(String::new());
        }
        Ok(self.directory.org_names(org).await?.map_or_else(|| org.to_owned(), |names| names.id))
    }

    /// A claim may name an organisation by its slug, unless that is another one's id.
    async fn claimed_by_slug(
        &self,
        claimed: &std::collections::BTreeMap<String, antiphon_model::Role>,
        id: &str,
    ) -> Result<Option<Membership>, Fault> {
        let Some(names) = self.directory.org_names(id).await? else { return Ok(None) };
        let Some(role) = claimed.get(&names.slug) else { return Ok(None) };
        let meant = self.org_id(&names.slug).await? == names.id;
        Ok(meant.then_some(Membership { org: names.id, role: *role }))
    }
}

/// Tells whether an organisation may be called so. What cannot be is not looked up: answers are remembered, and the names
/// of addresses are as long as anybody likes, token or not.
fn may_be_name(org: &str) -> bool {
    // The database would refuse this character instead of answering.
    !org.is_empty() && org.len() <= ORG_BYTES_MAX && !org.contains('\0')
}
