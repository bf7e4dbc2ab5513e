//! What ends a stream from outside: the right to read, and the server's own stop.
//!
//! Law: whoever may no longer read is shown nothing more, within two seconds, on every server (STR-05).

use std::{sync::Arc, time::Duration};

use antiphon_engine::{Feed, ports::Principal};
use antiphon_sync as sync;
use tokio::time::{Interval, MissedTickBehavior};

use crate::app::{App, Caller, Standing};

/// How often the right to read is looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// Readers come back spread over this time when the server stops, in milliseconds.
const DRAIN_SPREAD_MS: std::ops::Range<u64> = 500..5_000;

/// Watches over one caller's streams.
pub(super) struct Guard {
    app: Arc<App>,
    caller: Caller,
    check: Interval,
}

/// What happened to a caller.
#[derive(Clone, Debug)]
pub(super) enum Watched {
    /// The right to read changed.
    Standing(sync::Standing),
    /// The server stops; come back after so many milliseconds.
    Drain(u64),
}

impl Guard {
    pub(super) fn new(app: Arc<App>, caller: Caller) -> Guard {
        let mut check = tokio::time::interval(CHECK_INTERVAL);
        // A check that was missed is not made up for.
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Guard { app, caller, check }
    }

    /// Waits until there is reason to `look`; cancel safe.
    pub(super) async fn due(&mut self) {
        tokio::select! {
            biased;
            () = self.app.drain.cancelled() => {}
            _ = self.check.tick() => {}
        }
    }

    /// Looks what has become of the caller; `None` where nothing has changed.
    pub(super) async fn look(&self) -> Option<Watched> {
        if self.app.drain.is_cancelled() {
            return Some(Guard::drained());
        }
        Some(Watched::Standing(match self.app.standing(&self.caller).await {
            Ok(Standing::Same) => return None,
            Ok(Standing::TokenEnded) => sync::Standing::TokenEnded,
            Ok(Standing::PlaceLost) => sync::Standing::PlaceLost,
            Ok(Standing::Changed) => sync::Standing::Changed(Vec::new()),
            // The same database holds the log: while it is away nothing new is delivered either.
            Err(fault) => {
                tracing::debug!(error = %fault.chain(), "the right to read could not be looked at");
                return None;
            }
        }))
    }

    /// Returns what a server that stops tells.
    pub(super) fn drained() -> Watched {
        Watched::Drain(rand::random_range(DRAIN_SPREAD_MS))
    }

    /// Goes on under a new token of the same person.
    pub(super) fn renew(&mut self, principal: Principal, token: String) {
        self.caller.principal = principal;
        self.caller.token = token;
    }

    /// Returns the access under which the caller reads.
    pub(super) fn access(&self) -> &str {
        self.caller.access.as_str()
    }
}

/// Tells a feed what happened to its reader.
pub(super) fn tell(feed: &mut Feed, watched: &Watched) {
    match watched {
        Watched::Standing(standing) => feed.standing(standing.clone()),
        Watched::Drain(retry_after_ms) => feed.drain(*retry_after_ms),
    }
}
