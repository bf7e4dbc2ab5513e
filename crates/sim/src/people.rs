//! Who belongs where: the directory, as it truly is and as each server has heard of it.
//!
//! Law: a server's answers are at most a second old, and its number moves when they change (SEC-04). The history of
//! places is kept, so that a checker can tell whether a frame was sent to somebody who had lost the place by then.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use antiphon_engine::{
    Fault,
    ports::{Directory, Member, Membership, OrgNames, Principal, Shown, TokenScopes},
};
use antiphon_model::Role;
use async_trait::async_trait;
use tokio::sync::watch;

use crate::{ProcessId, Simulation};

/// A server hears of a change within this time.
const HEARD_MS_MAX: u64 = 1_000;
/// What tokens begin with; the rest is the subject.
const TOKEN_PREFIX: &str = "ant_";

/// Roles by organisation and subject.
type Places = BTreeMap<(String, String), Role>;

/// A change of somebody's place.
#[derive(Clone, Debug)]
pub struct PlaceChange {
    /// When, in true microseconds since the run began.
    pub at_us: u64,
    /// The organisation.
    pub org: String,
    /// Who.
    pub subject: String,
    /// The role from then on; `None`: no place.
    pub role: Option<Role>,
}

/// The directory; cheap to clone.
#[derive(Clone)]
pub struct People {
    simulation: Simulation,
    state: Arc<Mutex<State>>,
    moved: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    places: Places,
    history: Vec<PlaceChange>,
}

impl People {
    /// Makes a directory without people.
    pub fn new(simulation: &Simulation) -> People {
        People { simulation: simulation.clone(), state: Arc::default(), moved: watch::Sender::new(0) }
    }

    /// Gives somebody a place, or takes it.
    pub fn place(&self, org: &str, subject: &str, role: Option<Role>) {
        let at_us = self.simulation.clock().elapsed_us();
        let mut state = self.state();
        let key = (org.to_owned(), subject.to_owned());
        match role {
            Some(role) => drop(state.places.insert(key, role)),
            None => drop(state.places.remove(&key)),
        }
        state.history.push(PlaceChange { at_us, org: org.to_owned(), subject: subject.to_owned(), role });
        drop(state);
        self.moved.send_modify(|moved| *moved += 1);
    }

    /// Returns somebody's role.
    pub fn role(&self, org: &str, subject: &str) -> Option<Role> {
        self.state().places.get(&(org.to_owned(), subject.to_owned())).copied()
    }

    /// Returns every change of a place, in order.
    pub fn history(&self) -> Vec<PlaceChange> {
        self.state().history.clone()
    }

    /// Returns the token of a subject.
    pub fn token(subject: &str) -> String {
        format!("{TOKEN_PREFIX}{subject}")
    }

    /// Returns a server's view, which its process keeps fresh.
    pub(crate) fn heard_by(&self, process: ProcessId) -> Heard {
        let view = Heard { places: Arc::new(Mutex::new(self.state().places.clone())), changes: watch::Sender::new(1) };
        let (people, heard, mut moved) = (self.clone(), view.clone(), self.moved.subscribe());
        self.simulation.start(process, async move {
            while moved.changed().await.is_ok() {
                let ms = people.simulation.dice().below(HEARD_MS_MAX);
                people.simulation.clock().sleep_ms(ms).await;
                moved.borrow_and_update();
                *heard.lock() = people.state().places.clone();
                heard.changes.send_modify(|changes| *changes += 1);
            }
        });
        view
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic ends the run.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a server has heard of the directory.
#[derive(Clone)]
pub(crate) struct Heard {
    places: Arc<Mutex<Places>>,
    changes: watch::Sender<u64>,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Places> {
        // A panic ends the run.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Directory for Heard {
    async fn authenticate(&self, token: &str) -> Result<Shown, Fault> {
        let Some(subject) = token.strip_prefix(TOKEN_PREFIX) else { return Ok(Shown::Unknown) };
        Ok(Shown::Accepted(Principal {
            subject: subject.to_owned(),
            system_admin: false,
            expires_at: None,
            scopes: TokenScopes::ALL,
            memberships: None,
            only_org: None,
        }))
    }

    async fn membership(&self, org: &str, subject: &str) -> Result<Option<Membership>, Fault> {
        let role = self.lock().get(&(org.to_owned(), subject.to_owned())).copied();
        Ok(role.map(|role| Membership { org: org.to_owned(), role }))
    }

    async fn org_names(&self, org: &str) -> Result<Option<OrgNames>, Fault> {
        Ok(Some(OrgNames { id: org.to_owned(), slug: org.to_owned() }))
    }

    async fn administers(&self, _subject: &str) -> Result<bool, Fault> {
        Ok(false)
    }

    async fn members(&self, org: &str) -> Result<Vec<Member>, Fault> {
        let places = self.lock();
        let of_org = places.iter().filter(|((of, _), _)| of == org);
        let member = |((_, subject), role): (&(String, String), &Role)| Member {
            id: subject.clone(),
            name: subject.clone(),
            role: *role,
            avatar_url: None,
        };
        Ok(of_org.map(member).collect())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn forget(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }
}
