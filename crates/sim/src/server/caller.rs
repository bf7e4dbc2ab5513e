//! Who asks, and what became of the right to.

use antiphon_engine::{Fault, ports::Membership};
use antiphon_model::{Access, Code, Reader};
use antiphon_sync::Standing;

use super::{App, problem::Problem};

/// A caller in an organisation.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) subject: String,
    pub(crate) place: Membership,
    pub(crate) access: Access,
    token: String,
}

impl Caller {
    pub(crate) fn reader(&self) -> Reader {
        Reader { subject: self.subject.clone(), role: self.place.role }
    }
}

impl App {
    /// Finds out who asks.
    pub(crate) async fn caller(&self, token: &str, org: &str) -> Result<Caller, Problem> {
        let principal = self.directory.authenticate(token).await?;
        let principal = principal.accepted().ok_or_else(|| Problem::new(Code::Unauthenticated, ""))?;
        let place = self.directory.membership(org, &principal.subject).await?;
        let place = place.ok_or_else(|| Problem::new(Code::NotAMember, ""))?;
        let access = self.access(&principal.subject, &place);
        Ok(Caller { subject: principal.subject, place, access, token: token.to_owned() })
    }

    /// Looks again whether a caller may still read.
    pub(crate) async fn standing(&self, caller: &Caller) -> Result<Standing, Fault> {
        if self.directory.authenticate(&caller.token).await?.accepted().is_none() {
            return Ok(Standing::TokenEnded);
        }
        Ok(match self.directory.membership(&caller.place.org, &caller.subject).await? {
            None => Standing::PlaceLost,
            Some(place) if self.access(&caller.subject, &place) != caller.access => Standing::Changed(Vec::new()),
            Some(_) => Standing::Same,
        })
    }

    fn access(&self, subject: &str, place: &Membership) -> Access {
        let reader = Reader { subject: subject.to_owned(), role: place.role };
        Access::of(&reader, &place.org, self.entities.values().map(|entity| &**entity))
    }
}
