//! Callers: who asks, from which place in which organisation, and what became of it since.
//!
//! Order of refusals: no valid token (401), then no place in the organisation (403, the same for an unknown one), then
//! everything else; so that nobody learns from a 400 or 404 that an organisation exists.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use antiphon_engine::{
    Fault,
    ports::{Membership, Principal, TokenScope},
};
use antiphon_model::{Access, Code, Micros, Reader};
use axum::http::{HeaderMap, Uri, header};
use tokio::sync::watch;

use super::Refusal;
use crate::{app::App, compose::now, problem::Problem};

/// A number of changes that none has: nothing was looked at yet.
const NEVER: u64 = u64::MAX;

/// What became of a caller's right to read since the request began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is what it was.
    Same,
    /// The token has expired or was revoked.
    TokenEnded,
    /// The place in the organisation is lost.
    PlaceLost,
    /// Something else may be seen now.
    Changed,
}

/// A caller in an organisation.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    pub(crate) membership: Membership,
    pub(crate) access: Access,
    /// The token or ticket that was shown.
    pub(crate) token: String,
    /// The number of changes of the directory at the last look.
    seen: Arc<AtomicU64>,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Caller { principal, membership, access, .. } = self;
        f.debug_struct("Caller")
            .field("principal", principal)
            .field("membership", membership)
            .field("access", access)
            .finish_non_exhaustive()
    }
}

impl Caller {
    /// Returns when the token ends; `None` where only a revocation ends it.
    pub(crate) fn expires_at(&self) -> Option<Micros> {
        self.principal.expires_at
    }

    /// Goes on under a new token of the same person; what it is good for is looked at next time, whatever was seen.
    pub(crate) fn renew(&mut self, principal: Principal, token: String) {
        self.principal = principal;
        self.token = token;
        // Not the number that clones share: they go on under the old token.
        self.seen = Arc::new(AtomicU64::new(NEVER));
    }

    /// Returns who reads, as policies know them.
    pub(crate) fn reader(&self) -> Reader {
        Reader { subject: self.principal.subject.clone(), role: self.membership.role }
    }

    /// Refuses where a token is not good for something.
    pub(crate) fn demand(principal: &Principal, scope: TokenScope) -> Result<(), Problem> {
        match principal.scopes.allow(scope) {
            true => Ok(()),
            false => {
                Refusal::Scope.count();
                Err(Problem::new(Code::ScopeMissing, format!("the scope `{}` is missing", scope.as_str())))
            }
        }
    }
}

impl App {
    /// Finds out who is asking.
    pub(crate) async fn principal(&self, headers: &HeaderMap, uri: &Uri) -> Result<(Principal, String), Problem> {
        let Some(token) = bearer(headers) else {
            let mut names = uri.query().unwrap_or("").split('&').map(|pair| pair.split('=').next());
            let in_url = names.any(|name| matches!(name, Some("token" | "access_token")));
            return Err(if in_url { Refusal::InUrl } else { Refusal::Missing }.problem());
        };
        match self.auth.bearer(token).await? {
            Ok(principal) => Ok((principal, token.to_owned())),
            Err(refusal) => Err(refusal.problem()),
        }
    }

    /// Finds out whose token it is, wherever it was shown.
    pub(crate) async fn authenticate(&self, token: &str) -> Result<Result<Principal, Refusal>, Fault> {
        Ok(self.auth.bearer(token).await?.inspect_err(|refusal| refusal.count()))
    }

    /// Finds out who is asking and what place they have in an organisation.
    pub(crate) async fn caller(&self, headers: &HeaderMap, uri: &Uri, org: &str) -> Result<Caller, Problem> {
        let (principal, token) = self.principal(headers, uri).await?;
        self.caller_of(principal, token, org).await
    }

    /// Finds out who is asking to write.
    pub(crate) async fn writer(&self, headers: &HeaderMap, uri: &Uri, org: &str) -> Result<Caller, Problem> {
        let (principal, token) = self.principal(headers, uri).await?;
        Caller::demand(&principal, TokenScope::Write)?;
        self.caller_of(principal, token, org).await
    }

    /// Finds out what place somebody has in an organisation.
    pub(crate) async fn caller_of(&self, principal: Principal, token: String, org: &str) -> Result<Caller, Problem> {
        Caller::demand(&principal, TokenScope::Read)?;
        match self.auth.place(&principal, org).await? {
            Some(membership) => {
                let access = self.access(&principal.subject, &membership);
                Ok(Caller { principal, membership, access, token, seen: Arc::new(AtomicU64::new(NEVER)) })
            }
            None => {
                metrics::counter!("antiphon_membership_refusals_total").increment(1);
                Err(Problem::new(Code::NotAMember, ""))
            }
        }
    }

    /// Finds out anew who shows a token or an opened ticket on a connection that is open already.
    pub(crate) async fn caller_again(&self, token: &str, org: &str) -> Result<Caller, Problem> {
        match self.auth.again(token).await? {
            Some(principal) => self.caller_of(principal, token.to_owned(), org).await,
            None => Err(Refusal::Expired.problem()),
        }
    }

    fn access(&self, subject: &str, place: &Membership) -> Access {
        let reader = Reader { subject: subject.to_owned(), role: place.role };
        Access::of(&reader, &place.org, self.entities.values().map(|entity| &**entity))
    }

    /// Looks again whether a caller may still read: by the clock always, by the directory only after it has changed.
    pub(crate) async fn standing(&self, caller: &Caller) -> Result<Standing, Fault> {
        if caller.expires_at().is_some_and(|at| at <= now()) {
            return Ok(Standing::TokenEnded);
        }
        // Read before the questions are asked: what changes meanwhile is looked at the next time.
        let changes = *self.auth.changes.borrow();
        if caller.seen.load(Ordering::Acquire) == changes {
            return Ok(Standing::Same);
        }
        let known = self.auth.again(&caller.token).await?;
        let Some(principal) = known.filter(|principal| principal.scopes.allow(TokenScope::Read)) else {
            return Ok(Standing::TokenEnded);
        };
        Ok(match self.auth.place(&principal, &caller.membership.org).await? {
            None => Standing::PlaceLost,
            Some(place) if self.access(&principal.subject, &place) != caller.access => Standing::Changed,
            Some(_) => {
                caller.seen.store(changes, Ordering::Release);
                Standing::Same
            }
        })
    }

    /// Returns a number that moves whenever a `standing` may have changed, but for tokens whose time is over.
    pub(crate) fn directory_changes(&self) -> watch::Receiver<u64> {
        self.auth.changes.clone()
    }

    /// Tells whether a page may open a WebSocket; programs name no origin.
    pub(crate) fn origin_allowed(&self, headers: &HeaderMap) -> bool {
        self.auth.origins.allow_handshake(headers)
    }

    /// Lets only system administrators pass.
    pub(crate) async fn administrator(&self, headers: &HeaderMap, uri: &Uri) -> Result<Principal, Problem> {
        let (principal, _) = self.principal(headers, uri).await?;
        Caller::demand(&principal, TokenScope::Admin)?;
        match principal.system_admin {
            true => Ok(principal),
            false => Err(Problem::new(Code::Forbidden, "only system administrators may do this")),
        }
    }
}

/// Returns the token in the header `Authorization`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
