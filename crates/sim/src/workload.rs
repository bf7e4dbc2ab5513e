//! Who uses the world: plain SQL, clients that write, and readers; scripted, by dice.

mod author;
mod reader;
mod sql;
mod view;
mod writer;

use crate::{Database, Network, People, Recorder, Server, Simulation, coverage};

pub(crate) use self::{author::Author, reader::Reading, writer::Writing};

/// The organisations of every run.
pub(crate) const ORGS: &[&str] = &["acme", "globex"];
/// The people of every run, each with a place in some organisation.
pub(crate) const SUBJECTS: &[&str] = &["alice", "bob", "carol", "dave"];

/// What everybody at work is handed.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) simulation: Simulation,
    pub(crate) database: Database,
    pub(crate) people: People,
    pub(crate) servers: Vec<Server>,
    pub(crate) network: Network,
    pub(crate) recorder: Recorder,
    /// Becomes true when everybody is to come to an end.
    pub(crate) over: tokio_util::sync::CancellationToken,
    /// The law that clients break; a mutant's switch.
    pub(crate) law: Option<antiphon_sync::client::Law>,
    /// The dice of those who type; none where nobody does.
    pub(crate) typing: Option<crate::Dice>,
}

impl Stage {
    /// Picks a server.
    pub(crate) fn server(&self) -> &Server {
        let at = self.simulation.dice().below(self.servers.len() as u64) as usize;
        &self.servers[at]
    }

    /// Notes what a server's capture says of itself.
    pub(crate) fn look(&self, server: &Server) {
        let Some(status) = server.status() else { return };
        self.recorder.reached(coverage::of_capture(&status));
        if coverage::impossible(&status) {
            self.recorder.note(|history| history.complaints.push(format!("{status:?}")));
        }
    }

    /// Waits, but not beyond the end; `false` at the end.
    pub(crate) async fn rest(&self, ms: u64) -> bool {
        tokio::select! {
            biased;
            () = self.over.cancelled() => false,
            () = self.simulation.clock().sleep_ms(ms) => true,
        }
    }

    /// Draws somebody and an organisation in which there is a place.
    pub(crate) fn somebody(&self) -> Option<(&'static str, &'static str)> {
        let dice = self.simulation.dice();
        let (subject, org) = (dice.pick(SUBJECTS)?, dice.pick(ORGS)?);
        self.people.role(org, subject).map(|_| (*subject, *org))
    }
}

/// Writes by plain SQL until the end.
pub(crate) async fn write_sql(stage: Stage) {
    sql::run(stage).await;
}

/// The id of a row that many write: few, so that they meet.
pub(crate) fn shared_id(stage: &Stage, entity_type: &str) -> String {
    format!("{entity_type}-{}", stage.simulation.dice().below(6))
}
