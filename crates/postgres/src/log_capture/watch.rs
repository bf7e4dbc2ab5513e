//! Looks at what the stream does not tell: the publication, the slot and the standbys, every ten seconds or minute.
//!
//! Postgres 18 leaves changes out without a word where the publication is gone (PG-53), and the log that a slot holds
//! fills the server's disk long before the stream notices (CAP-14). A look that fails is repeated; only what was really
//! seen ends the capture.

use std::{sync::Arc, time::Duration};

use antiphon_engine::{Fault, spawn};
use antiphon_model::Code;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_postgres::Client;

use super::SourceConfig;
use crate::{
    connect::connect_sql,
    errors,
    events::{FailoverMeasured, Level, SlotMeasured},
    failover,
    publication::Baseline,
    slots,
};

/// A look takes at most this long; then a new connection is made for the next one.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Several standbys may each take their time.
const STANDBYS_TIMEOUT: Duration = Duration::from_secs(30);
/// Standbys are looked at once in so many looks: their settings change by people's hands, and each costs a connection.
const LOOKS_PER_STANDBYS: u32 = 6;

/// A running watch; dropping it ends it.
pub(super) struct Watch {
    task: JoinHandle<()>,
    found: mpsc::Receiver<Fault>,
}

impl Watch {
    pub(super) fn start(config: Arc<SourceConfig>, baseline: Baseline) -> Watch {
        let (tell, found) = mpsc::channel(1);
        let task = spawn("slot watch", async move {
            let fault = watch(&config, &baseline).await;
            if tell.send(fault).await.is_err() {
                tracing::debug!("a capture ended before it heard of its publication");
            }
        });
        Watch { task, found }
    }

    /// Waits for a reason to end the capture. Cancelling loses nothing.
    pub(super) async fn fault(&mut self) -> Fault {
        match self.found.recv().await {
            Some(fault) => fault,
            None => Fault::new(Code::Internal, "the watch over slot and publication ended"),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(config: &SourceConfig, baseline: &Baseline) -> Fault {
    let mut client = None;
    let mut level = Level::Quiet;
    let (mut looks, mut word) = (0_u32, "");
    loop {
        match tokio::time::timeout(LOOK_TIMEOUT, look(config, baseline, &mut client, &mut level)).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) if matches!(fault.code(), Code::PublicationChanged | Code::StandbyWaits) => return fault,
            Ok(Err(fault)) => {
                client = None;
                tracing::debug!(error = %fault.chain(), "slot and publication could not be looked at");
            }
            Err(_) => client = None,
        }
        if looks.is_multiple_of(LOOKS_PER_STANDBYS) {
            word = standbys(config, word).await;
        }
        looks = looks.wrapping_add(1);
        tokio::time::sleep(config.watch_interval).await;
    }
}

async fn look(
    config: &SourceConfig,
    baseline: &Baseline,
    client: &mut Option<Client>,
    level: &mut Level,
) -> Result<(), Fault> {
    let client = match client {
        Some(client) => client,
        None => client.insert(connect_sql(&config.info, "antiphon slot watch").await?),
    };
    baseline.check(client).await?;
    let Some(slot) = slots::find(client, &config.slot).await? else { return Ok(()) };
    if slot.failover {
        failover::check_standbys(client).await?;
    }
    // The setting is in megabytes, and -1 where there is no limit.
    let statement = "select setting::bigint from pg_catalog.pg_settings where name = 'max_slot_wal_keep_size'";
    let megabytes: i64 = client.query_one(statement, &[]).await.map_err(errors::sql)?.get(0);
    let keep_bytes_max = (megabytes >= 0).then(|| megabytes.saturating_mul(1 << 20));
    *level = SlotMeasured { slot: &slot, keep_bytes_max }.emit(*level);
    Ok(())
}

async fn standbys(config: &SourceConfig, word: &'static str) -> &'static str {
    let examined = failover::examine(&config.info, config.standby.as_ref(), &config.slot);
    match tokio::time::timeout(STANDBYS_TIMEOUT, examined).await {
        Ok(Ok(readiness)) => FailoverMeasured { readiness: &readiness }.emit(word),
        Ok(Err(fault)) => {
            tracing::debug!(error = %fault.chain(), "readiness for a failover could not be looked at");
            word
        }
        Err(_) => word,
    }
}
