//! Carrying a plan out: each statement alone, with short waits for locks, tried again and told.
//!
//! A statement that waits for a lock makes everyone behind it wait too; so it gives up after two seconds and lets them
//! pass. Building an index locks nobody out and may wait for old transactions.

use std::time::Duration;

use antiphon_engine::Fault;
use antiphon_model::{Class, Code};
use tokio_postgres::{Client, error::SqlState};

use super::{Plan, Step};
use crate::errors;

/// Tried so many times in all, about two minutes of waiting apart from the locks themselves.
const ATTEMPTS_MAX: u32 = 20;
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(8);

/// What happens to a step.
#[derive(Clone, Debug)]
pub enum Progress<'a> {
    /// It starts.
    Started {
        /// Its place in the plan.
        index: usize,
        /// The step.
        step: &'a Step,
    },
    /// A lock was not free; it is tried again.
    Retrying {
        /// Its place in the plan.
        index: usize,
        /// How often it was tried so far.
        attempt: u32,
        /// How long until the next try, in milliseconds.
        wait_ms: u64,
    },
    /// It is done.
    Done {
        /// Its place in the plan.
        index: usize,
    },
    /// Its effect was there already.
    Skipped {
        /// Its place in the plan.
        index: usize,
    },
}

/// Carries out the steps that are needed.
///
/// # Errors
/// Fails at the first step that cannot be done; those before it stay done, and a new plan goes on from there.
pub async fn apply(client: &Client, plan: &Plan, report: &mut (dyn FnMut(Progress<'_>) + Send)) -> Result<(), Fault> {
    for (index, step) in plan.steps.iter().enumerate() {
        if !step.needed {
            report(Progress::Skipped { index });
            continue;
        }
        report(Progress::Started { index, step });
        run(client, index, step, report).await?;
        report(Progress::Done { index });
    }
    client.batch_execute("reset lock_timeout; reset statement_timeout").await.map_err(errors::sql)
}

async fn run(
    client: &Client,
    index: usize,
    step: &Step,
    report: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<(), Fault> {
    let settings = if step.patient() { PATIENT } else { IMPATIENT };
    let mut wait = BACKOFF_FIRST;
    for attempt in 1..=ATTEMPTS_MAX {
        client.batch_execute(settings).await.map_err(errors::sql)?;
        let Err(error) = client.batch_execute(&step.sql).await else { return Ok(()) };
        let again = error.code().is_some_and(passing);
        if let Some(clean_up) = &step.clean_up
            && error.as_db_error().is_some()
            && let Err(error) = client.batch_execute(clean_up).await
        {
            tracing::warn!(%error, "what a failed statement left behind could not be removed yet");
        }
        if !again {
            return Err(refused(error, step));
        }
        if attempt == ATTEMPTS_MAX {
            let detail = format!("{} was not free in {ATTEMPTS_MAX} tries; what was done so far is kept", step.lock);
            return Err(Fault::new(Code::TryAgain, detail).with_source(error));
        }
        report(Progress::Retrying { index, attempt, wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) });
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(BACKOFF_MAX);
    }
    Ok(())
}

const IMPATIENT: &str = "set lock_timeout = '2s'; set statement_timeout = 0";
/// A statement that locks nobody out may wait for transactions that are older than it, but not for ever.
const PATIENT: &str = "set lock_timeout = '10min'; set statement_timeout = 0";

/// Errors that pass by themselves.
fn passing(code: &SqlState) -> bool {
    [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::OBJECT_IN_USE,
    ]
    .contains(code)
}

/// Says what an error means here, where the table's own names may be told.
fn refused(error: tokio_postgres::Error, step: &Step) -> Fault {
    let message = error.as_db_error().map(|error| error.message().to_owned());
    let fault = errors::sql(error);
    match (fault.class(), message) {
        // Names of tables and constraints only: the server never puts values in this part.
        (Class::Bug, Some(message)) => {
            Fault::new(Code::TableUnfit, format!("{message}, while: {}", step.why)).with_source(fault)
        }
        _ => fault,
    }
}
