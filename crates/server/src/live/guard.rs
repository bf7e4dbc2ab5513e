//! What ends a stream from outside: the right to read, and the server's own stop.
//!
//! Law: whoever may no longer read is shown nothing more, within two seconds, on every server (STR-05).

use std::{sync::Arc, time::Duration};

use antiphon_engine::{Feed, ports::Principal};
use antiphon_sync as sync;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    app::{App, Caller, Standing},
    compose::now,
};

/// A look that failed is repeated after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Readers come back spread over this time when the server stops, in milliseconds.
const DRAIN_SPREAD_MS: std::ops::Range<u64> = 500..5_000;

/// Watches over one caller's streams.
pub(super) struct Guard {
    app: Arc<App>,
    caller: Caller,
    changes: watch::Receiver<u64>,
    /// When to look although nothing has changed: the token's end, or after a look that failed.
    look_at: Option<Instant>,
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
        let mut changes = app.directory_changes();
        // What changed since the caller was looked up counts too.
        changes.mark_changed();
        let look_at = end(&caller);
        Guard { app, caller, changes, look_at }
    }

    /// Waits until there is reason to `look`; cancel safe.
    pub(super) async fn due(&mut self) {
        let look_at = self.look_at;
        let timer = async {
            match look_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.app.drain.cancelled() => {}
            () = timer => {}
            changed = self.changes.changed() => if changed.is_err() {
                // The directory's follower has ended, and the server with it.
                self.app.drain.cancelled().await;
            }
        }
    }

    /// Looks what has become of the caller; `None` where nothing has changed.
    pub(super) async fn look(&mut self) -> Option<Watched> {
        if self.app.drain.is_cancelled() {
            return Some(Guard::drained());
        }
        self.look_at = end(&self.caller);
        Some(Watched::Standing(match self.app.standing(&self.caller).await {
            Ok(Standing::Same) => return None,
            Ok(Standing::TokenEnded) => sync::Standing::TokenEnded,
            Ok(Standing::PlaceLost) => sync::Standing::PlaceLost,
            Ok(Standing::Changed) => sync::Standing::Changed(Vec::new()),
            // The same database holds the log: while it is away nothing new is delivered either.
            Err(fault) => {
                tracing::debug!(error = %fault.chain(), "the right to read could not be looked at");
                self.look_at = Some(Instant::now() + LOOK_AGAIN);
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
        self.caller.renew(principal, token);
        self.look_at = end(&self.caller);
        // The new token may be good for less.
        self.changes.mark_changed();
    }

    /// Returns the access under which the caller reads.
    pub(super) fn access(&self) -> &str {
        self.caller.access.as_str()
    }
}

/// Returns when a caller's token ends.
fn end(caller: &Caller) -> Option<Instant> {
    let left = caller.expires_at()?.0.saturating_sub(now().0);
    Some(Instant::now() + Duration::from_micros(left.max(0).unsigned_abs()))
}

/// Tells a feed what happened to its reader.
pub(super) fn tell(feed: &mut Feed, watched: &Watched) {
    match watched {
        Watched::Standing(standing) => feed.standing(standing.clone()),
        Watched::Drain(retry_after_ms) => feed.drain(*retry_after_ms),
    }
}
