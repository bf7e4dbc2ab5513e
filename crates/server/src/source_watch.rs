//! Looks at the source every few seconds, whether it is captured or not, and keeps what was found for whoever asks.
//!
//! Each server looks for itself over one connection, so that a pause, or a standby server, shows what the slot costs. A
//! look that fails leaves what was found before, with its time. It changes nothing at the source.
//! States go to the metrics, to `/readyz` by their names alone, and with their particulars to administrators.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use antiphon_model::{Micros, write_time};
use antiphon_postgres::health::{Concern, ConcernKind, Health, HealthConfig, Level, Look};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::compose::now;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(10);
/// A look that takes longer is given up.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);

/// What the newest look found.
#[derive(Default)]
pub(crate) struct SourceWatch {
    last: Mutex<Option<(Micros, Look)>>,
}

impl SourceWatch {
    /// Looks until `stop`.
    pub(crate) async fn run(&self, config: HealthConfig, stop: CancellationToken) {
        let mut health = Health::new(config);
        let mut before = BTreeSet::new();
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => return,
            }
            match tokio::time::timeout(LOOK_TIMEOUT, health.look()).await {
                Ok(Ok(look)) => {
                    measure(&look);
                    tell(&look.concerns, &mut before);
                    *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((now(), look));
                }
                Ok(Err(fault)) => tracing::debug!(error = %fault.chain(), "the source could not be looked at"),
                Err(_) => tracing::debug!("a look at the source took too long"),
            }
        }
    }

    /// Returns the states that need somebody, without particulars: whoever asks for readiness has no name.
    pub(crate) fn needs(&self) -> Value {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let concerns = last.iter().flat_map(|(_, look)| &look.concerns).filter(|concern| concern.level > Level::Notice);
        let mut seen = BTreeSet::new();
        let fresh = concerns.filter(|concern| seen.insert(concern.state));
        let need = |concern: &Concern| json!({ "state": concern.state, "level": concern.level, "title": concern.state.title() });
        fresh.map(need).collect()
    }

    /// Describes the newest look; null before the first.
    pub(crate) fn describe(&self, schema: impl Fn(&str) -> Value) -> Value {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((at, look)) = &*last else { return Value::Null };
        let mut looked_at = String::new();
        write_time(&mut looked_at, *at);
        let watched = &look.watched;
        let holder = |holder: &antiphon_postgres::health::Holder| {
            json!({
                "pid": holder.pid, "database": holder.database, "name": holder.name,
                "openSeconds": holder.open_seconds, "transactionsSince": holder.age,
            })
        };
        let slot = |slot: &antiphon_postgres::slots::Slot| {
            json!({
                "name": slot.name, "database": slot.database, "active": slot.active_pid.is_some(),
                "walStatus": slot.wal_status, "retainedBytes": slot.retained_bytes,
            })
        };
        let table = |table: &antiphon_postgres::health::TableLook| {
            json!({
                "entityType": table.entity_type, "table": table.table.to_string(), "published": table.published,
                "identity": table.identity, "identityReady": table.identity_ready,
                "schema": schema(&table.entity_type), "problem": table.problem, "unseen": table.unseen,
            })
        };
        let publication = watched.publication.as_ref().map(|publication| {
            json!({
                "name": watched.publication_name, "unpublished": publication.unpublished,
                "viaRoot": publication.via_root,
            })
        });
        json!({
            "lookedAt": looked_at,
            "logBytesPerSecond": watched.log_bytes_per_second,
            "keepBytesMax": watched.keep_bytes_max,
            "secondsUntilLoss": look.seconds_until_loss,
            "idleTimeoutSeconds": watched.idle_timeout_seconds,
            "catalogXminAge": watched.slot.as_ref().and_then(|slot| slot.catalog_xmin_age),
            "publication": publication,
            "tables": watched.tables.iter().map(table).collect::<Vec<_>>(),
            "holders": watched.holders.iter().map(holder).collect::<Vec<_>>(),
            "otherSlots": watched.others.iter().map(slot).collect::<Vec<_>>(),
            "concerns": look.concerns,
        })
    }
}

fn measure(look: &Look) {
    for kind in ConcernKind::ALL {
        let count = look.concerns.iter().filter(|concern| concern.state == *kind).count();
        metrics::gauge!("antiphon_source_concerns", "concern" => kind.as_str()).set(count as f64);
    }
    let until = look.seconds_until_loss.map_or(f64::INFINITY, |seconds| seconds as f64);
    metrics::gauge!("antiphon_source_seconds_until_loss").set(until);
    metrics::gauge!("antiphon_source_log_bytes_per_second").set(look.watched.log_bytes_per_second.unwrap_or(0) as f64);
    let oldest = look.watched.holders.first().map_or(0, |holder| holder.open_seconds);
    metrics::gauge!("antiphon_source_oldest_transaction_seconds").set(oldest as f64);
}

/// Logs each state once when it begins and once when it is over.
fn tell(concerns: &[Concern], before: &mut BTreeSet<(ConcernKind, String)>) {
    let now: BTreeSet<(ConcernKind, String)> =
        concerns.iter().map(|concern| (concern.state, concern.subject.clone())).collect();
    for concern in concerns.iter().filter(|concern| !before.contains(&(concern.state, concern.subject.clone()))) {
        let (state, subject) = (concern.state.as_str(), &concern.subject);
        match concern.level {
            Level::Notice => tracing::info!(state, subject, "{state} {subject}: {}", concern.detail),
            Level::Warning | Level::Urgent => {
                tracing::warn!(state, subject, "{state} {subject}: {}; {}", concern.detail, concern.remedy);
            }
        }
    }
    for (state, subject) in before.difference(&now) {
        let state = state.as_str();
        tracing::info!(state, subject, "{state} {subject}: over");
    }
    *before = now;
}
