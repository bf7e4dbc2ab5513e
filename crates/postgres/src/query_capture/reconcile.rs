//! The reconciliation of a table: every row against what was told of it, and everything told against the rows (CAP-41).
//!
//! It finds what polling cannot see: hard deletes, and updates that leave the cursor alone (PL-01, PL-08). It goes by
//! the key, a page at a time between polls, so that changes are never kept waiting for long, and holds nothing but its
//! place. Law: it records what differs as a poll does, so whichever finds a change first tells it alone.

use std::time::{Duration, Instant};

use antiphon_engine::Fault;
use antiphon_model::RelationName;
use tokio_postgres::Client;

use super::{
    events::TableReconciled,
    page::{self, Candidates, Found, Refused},
    table::Polled,
};
use crate::errors;

/// At least so long between two polls.
const TURN: Duration = Duration::from_millis(100);

/// How far a reconciliation is.
#[derive(Debug)]
pub(super) struct Reconcile {
    step: Step,
    began: Instant,
    /// The same by the database's clock, once it has looked at something.
    began_at: Option<String>,
    sum: Found,
}

#[derive(Debug)]
enum Step {
    /// Rows in the order of the key.
    Rows(Option<Vec<String>>),
    /// What was told, in the order of its keys.
    Told(Option<Vec<String>>),
}

impl Reconcile {
    /// Begins one.
    pub(super) fn new() -> Reconcile {
        Reconcile { step: Step::Rows(None), began: Instant::now(), began_at: None, sum: Found::default() }
    }

    /// Goes on for a short while, and not for less than polling took; returns how many changes were recorded, and whether
    /// it has come to its end.
    pub(super) async fn go_on(
        &mut self,
        client: &mut Client,
        polled: &Polled,
        polling: Duration,
    ) -> Result<(u64, bool), Refused> {
        let (turn, mut recorded) = (Instant::now(), 0);
        if self.began_at.is_none() {
            let row = client.query_one("select pg_catalog.clock_timestamp()::text", &[]).await.map_err(errors::sql)?;
            self.began_at = Some(row.get(0));
        }
        loop {
            let candidates = match &self.step {
                Step::Rows(after) => Candidates::ByKey(after.clone()),
                Step::Told(after) => Candidates::Told(after.clone()),
            };
            let found = page::read(client, polled, &candidates, None).await?;
            recorded += found.changes();
            self.take(&found, &polled.table.name);
            let after = found.place.as_ref().filter(|_| found.full()).map(|place| place.key.clone());
            self.step = match (&self.step, after) {
                (Step::Rows(_), None) => Step::Told(None),
                (Step::Rows(_), after) => Step::Rows(after),
                (Step::Told(_), None) => {
                    self.end(client, polled).await?;
                    return Ok((recorded, true));
                }
                (Step::Told(_), after) => Step::Told(after),
            };
            if turn.elapsed() >= TURN.max(polling) {
                return Ok((recorded, false));
            }
        }
    }

    fn take(&mut self, found: &Found, table: &RelationName) {
        if matches!(self.step, Step::Rows(_)) {
            self.sum.rows += found.rows;
        }
        self.sum.creates += found.creates;
        self.sum.updates += found.updates;
        self.sum.deletes += found.deletes;
        let (deletes, updates) = (found.deletes, found.creates + found.updates);
        TableReconciled { table, deletes, updates, rows_per_second: self.rate(), ended: None }.emit();
    }

    fn rate(&self) -> u64 {
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        (self.sum.rows as f64 / seconds) as u64
    }

    async fn end(&self, client: &Client, polled: &Polled) -> Result<(), Fault> {
        // Who asked after it began is answered by the next one: some rows were looked at before.
        let done = "update antiphon.poll_tables set reconciled = pg_catalog.clock_timestamp(),
                asked = case when asked > $2::pg_catalog.text::pg_catalog.timestamptz then asked end
            where relation = $1";
        client.execute(done, &[&polled.table.oid, &self.began_at]).await.map_err(errors::sql)?;
        let ended = Some((self.sum.deletes, self.sum.creates + self.sum.updates));
        let table = &polled.table.name;
        TableReconciled { table, deletes: 0, updates: 0, rows_per_second: self.rate(), ended }.emit();
        Ok(())
    }
}
