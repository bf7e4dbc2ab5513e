//! Following the changes of the directory: one number in the database, raised by every transaction that changes people.
//!
//! Each server looks at it twice a second over a connection of its own and forgets what it remembers when it has moved,
//! so that whoever lost a right has lost it on every server within two seconds (STR-05).
//! Law: a server that cannot look remembers nothing either.

use std::time::Duration;

use antiphon_engine::Fault;
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::{Store, errors};

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(500);
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells who waits for it that the directory may have changed.
pub(crate) struct Changes {
    moved: watch::Sender<u64>,
}

impl Default for Changes {
    fn default() -> Self {
        Changes { moved: watch::Sender::new(0) }
    }
}

impl Changes {
    pub(crate) fn tell(&self) {
        self.moved.send_modify(|number| *number += 1);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }
}

impl Store {
    /// Forgets remembered answers whenever another server has changed the directory; runs until it is stopped.
    pub async fn follow_changes(&self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut client, mut known): (Option<Client>, Option<i64>) = (None, None);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => return,
            }
            match tokio::time::timeout(PATIENCE, self.version(&mut client)).await {
                Ok(Ok(version)) if known == Some(version) => {}
                Ok(Ok(version)) => {
                    known = Some(version);
                    self.forget_all();
                }
                Ok(Err(fault)) => {
                    tracing::debug!(error = %fault.chain(), "changes of the directory cannot be followed");
                    client = None;
                    self.forget_answers();
                }
                Err(_) => {
                    client = None;
                    self.forget_answers();
                }
            }
        }
    }

    async fn version(&self, client: &mut Option<Client>) -> Result<i64, Fault> {
        let client = match client {
            Some(client) => client,
            None => client.insert(self.connect.connect().await?),
        };
        let row = client.query_one("select version from antiphon.directory", &[]).await.map_err(errors::sql)?;
        Ok(row.get(0))
    }

    /// Forgets every answer and tells whoever waits for changes.
    pub(crate) fn forget_all(&self) {
        self.forget_answers();
        self.changes.tell();
    }

    fn forget_answers(&self) {
        self.cache.clear();
    }
}
