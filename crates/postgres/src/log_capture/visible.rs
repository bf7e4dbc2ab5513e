//! At the beginning of an epoch: waits until every snapshot sees what the slot will not bring (CAP-20, PG-20).
//!
//! A commit is in the log before it is visible, with a synchronous standby for as long as that takes. One that is in
//! the log before the slot's beginning is never decoded, and where its transaction began late enough the slot's
//! creation does not wait for it; a copy or a list that does not see it either would lack it for ever. So whoever was
//! open once the slot stood must have ended before the first row is read.
//! Law: the mark is set once; transactions that begin after it are decoded and are never waited for.

use std::time::Duration;

use antiphon_engine::{Fault, ports::Waits};
use antiphon_model::Code;
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::{
    errors,
    events::SlotWaits,
    slots::{self, Blocker},
};

/// Looks follow one another closely at first: most transactions take milliseconds.
const LOOK_MS_MIN: u64 = 5;
/// And less so when it takes long.
const LOOK_MS_MAX: u64 = 200;
/// Who is waited for is told this often.
const TELL_INTERVAL: Duration = Duration::from_secs(2);

/// Takes a number, because a snapshot does not tell of those that have one above the last that ended.
const NUMBER: &str = "select pg_catalog.pg_current_xact_id()::text";
const OPEN: &str = "select pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()) < $1::text::pg_catalog.xid8";

/// Waits until all that have a number now have ended.
pub(super) async fn wait(client: &Client, slot: &str, waits: &Waits<'_>) -> Result<(), Fault> {
    let number: String = client.query_one(NUMBER, &[]).await.map_err(errors::sql)?.get(0);
    let mut look = Duration::from_millis(LOOK_MS_MIN);
    let mut tell_at = Instant::now() + TELL_INTERVAL;
    while client.query_one(OPEN, &[&number]).await.map_err(errors::sql)?.get(0) {
        if Instant::now() >= tell_at {
            tell(slot, &slots::blockers(client, Some(&number)).await?, waits);
            tell_at = Instant::now() + TELL_INTERVAL;
        }
        tokio::time::sleep(look).await;
        look = (look * 2).min(Duration::from_millis(LOOK_MS_MAX));
    }
    Ok(())
}

/// Tells people and the log whom the beginning waits for.
pub(super) fn tell(slot: &str, blockers: &[Blocker], waits: &Waits<'_>) {
    SlotWaits { slot, blockers }.emit();
    if let Some(oldest) = blockers.first() {
        let others = match blockers.len() - 1 {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        waits(Fault::new(Code::SlotWaits, format!("the oldest is {oldest}{others}")));
    }
}
