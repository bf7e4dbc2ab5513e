//! What every request is handed, and who may make it.
//!
//! Order of refusals: no valid token (401), then no place in the organisation (403, the same for an unknown one), then
//! everything else; so that nobody learns from a 400 or 404 that an organisation exists.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use antiphon_engine::{
    Bus, CaptureHandle, Door, Fault,
    ports::{Catalogue, Directory, Membership, Principal, Rows, Schemas, Shape},
};
use antiphon_model::{Access, Code, EntityType, Reader};
use axum::http::{HeaderMap, Uri, header};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{mutations::MutationLimits, operations::SlotView, problem::Problem};

/// A shape is looked up again after this time: a change of a table shows in lists at once and in the schema soon.
const SHAPE_FRESH: Duration = Duration::from_secs(2);

/// Everything that requests need.
pub(crate) struct App {
    pub(crate) entities: BTreeMap<String, Arc<EntityType>>,
    pub(crate) bus: Bus,
    pub(crate) capture: CaptureHandle,
    pub(crate) slot: SlotView,
    pub(crate) rows: Arc<dyn Rows>,
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) schemas: Arc<dyn Schemas>,
    pub(crate) directory: Arc<dyn Directory>,
    /// Streams of one organisation at once; `None`: no limit.
    pub(crate) streams_max: Option<usize>,
    pub(crate) streams: Streams,
    /// Requests and streams end after this.
    pub(crate) drain: CancellationToken,
    pub(crate) shapes: Shapes,
    pub(crate) door: Door,
    pub(crate) mutation_limits: MutationLimits,
    pub(crate) metrics: metrics_exporter_prometheus::PrometheusHandle,
}

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
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    pub(crate) membership: Membership,
    pub(crate) access: Access,
    pub(crate) token: String,
}

impl App {
    /// Finds out who is asking.
    pub(crate) async fn principal(&self, headers: &HeaderMap, uri: &Uri) -> Result<(Principal, String), Problem> {
        let Some(token) = bearer(headers) else {
            let in_url = uri
                .query()
                .unwrap_or("")
                .split('&')
                .any(|pair| matches!(pair.split('=').next(), Some("token" | "access_token")));
            return Err(match in_url {
                true => Problem::new(Code::TokenInUrl, "the URL holds a token"),
                false => Problem::new(Code::Unauthenticated, "the header `Authorization: Bearer` is missing"),
            });
        };
        match self.directory.authenticate(token).await? {
            Some(principal) => Ok((principal, token.to_owned())),
            None => {
                metrics::counter!("antiphon_auth_refusals_total").increment(1);
                Err(Problem::new(Code::Unauthenticated, "the token is unknown, expired or revoked"))
            }
        }
    }

    /// Finds out who is asking and what place they have in an organisation.
    pub(crate) async fn caller(&self, headers: &HeaderMap, uri: &Uri, org: &str) -> Result<Caller, Problem> {
        let (principal, token) = self.principal(headers, uri).await?;
        self.caller_of(principal, token, org).await
    }

    /// Finds out what place somebody has in an organisation.
    pub(crate) async fn caller_of(&self, principal: Principal, token: String, org: &str) -> Result<Caller, Problem> {
        // No name holds this character, and the database would refuse the question instead of answering it.
        let found = match org.contains('\0') {
            true => None,
            false => self.directory.membership(org, &principal.subject).await?,
        };
        match found {
            Some(membership) => {
                let access = self.access(&principal.subject, &membership);
                Ok(Caller { principal, membership, access, token })
            }
            None => {
                metrics::counter!("antiphon_membership_refusals_total").increment(1);
                Err(Problem::new(Code::NotAMember, ""))
            }
        }
    }

    fn access(&self, subject: &str, place: &Membership) -> Access {
        let reader = Reader { subject: subject.to_owned(), role: place.role };
        Access::of(&reader, &place.org, self.entities.values().map(|entity| &**entity))
    }

    /// Finds out who is asking to write.
    pub(crate) async fn writer(&self, headers: &HeaderMap, uri: &Uri, org: &str) -> Result<Caller, Problem> {
        self.caller(headers, uri, org).await
    }

    /// Looks again whether a caller may still read; cheap, because the directory remembers answers for a moment.
    pub(crate) async fn standing(&self, caller: &Caller) -> Result<Standing, Fault> {
        if self.directory.authenticate(&caller.token).await?.is_none() {
            return Ok(Standing::TokenEnded);
        }
        let subject = &caller.principal.subject;
        Ok(match self.directory.membership(&caller.membership.org, subject).await? {
            None => Standing::PlaceLost,
            Some(place) if self.access(subject, &place) != caller.access => Standing::Changed,
            Some(_) => Standing::Same,
        })
    }

    /// Lets only system administrators pass.
    pub(crate) async fn administrator(&self, headers: &HeaderMap, uri: &Uri) -> Result<Principal, Problem> {
        let (principal, _) = self.principal(headers, uri).await?;
        match principal.system_admin {
            true => Ok(principal),
            false => Err(Problem::new(Code::Forbidden, "only system administrators may do this")),
        }
    }

    /// Returns a declared type.
    pub(crate) fn entity(&self, name: &str) -> Result<&Arc<EntityType>, Problem> {
        self.entities.get(name).ok_or_else(|| Problem::new(Code::EntityTypeUnknown, "this type is not declared"))
    }

    /// Returns a type's present shape and its number.
    pub(crate) async fn shape(&self, entity: &EntityType) -> Result<(Arc<Shape>, u32), Problem> {
        if let Some(known) = self.shapes.find(&entity.name) {
            return Ok(known);
        }
        let shape = Arc::new(self.catalogue.shape(entity).await?);
        let number = self.schemas.number(&entity.name, &shape.fingerprint()).await?;
        self.shapes.keep(&entity.name, Arc::clone(&shape), number);
        Ok((shape, number))
    }

    /// Returns the number of the shape that rows were read with.
    pub(crate) async fn schema_of(&self, entity: &EntityType, fingerprint: &str) -> Result<u32, Problem> {
        match self.shapes.find(&entity.name) {
            Some((shape, number)) if shape.fingerprint() == fingerprint => Ok(number),
            _ => Ok(self.schemas.number(&entity.name, fingerprint).await?),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Shapes looked up a moment ago.
#[derive(Default)]
pub(crate) struct Shapes {
    known: Mutex<HashMap<String, KnownShape>>,
}

/// When it was looked up, the shape, its number.
type KnownShape = (Instant, Arc<Shape>, u32);

impl Shapes {
    fn find(&self, name: &str) -> Option<(Arc<Shape>, u32)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, shape, number) = known.get(name).filter(|(at, ..)| at.elapsed() < SHAPE_FRESH)?;
        Some((Arc::clone(shape), *number))
    }

    fn keep(&self, name: &str, shape: Arc<Shape>, number: u32) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), (Instant::now(), shape, number));
    }
}

/// Open streams, counted by organisation.
#[derive(Default, Clone)]
pub(crate) struct Streams {
    open: Arc<Mutex<HashMap<String, usize>>>,
}

/// A stream's place; given back when dropped.
pub(crate) struct Place {
    streams: Streams,
    org: String,
}

impl Streams {
    /// Takes a place, or refuses where the organisation has too many.
    pub(crate) fn enter(&self, org: &str, most: Option<usize>) -> Result<Place, Problem> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(org.to_owned()).or_default();
        if most.is_some_and(|most| *count >= most) {
            metrics::counter!("antiphon_streams_refused_total").increment(1);
            return Err(Problem::new(Code::RateLimited, "this organisation has too many open streams").retry_after(5));
        }
        *count += 1;
        metrics::gauge!("antiphon_streams_open").increment(1.0);
        Ok(Place { streams: self.clone(), org: org.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.org) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.org);
            }
        }
        metrics::gauge!("antiphon_streams_open").decrement(1.0);
    }
}
