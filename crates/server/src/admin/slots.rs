//! Replication slots and epochs for operators.
//!
//! A slot in use is dropped only by force. A new epoch drops slot and checkpoint together, whatever state they are in:
//! it is the remedy of every reason for which capture cannot go on.

use antiphon_engine::Fault;
use antiphon_model::{Code, Lsn};
use antiphon_postgres::{connect_sql, publication, slots};
use serde::Serialize;

use super::{APPLICATION, Admin};

/// A replication slot as a document.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// The output plugin; none for a physical slot.
    pub plugin: Option<String>,
    /// The database; none for a physical slot.
    pub database: Option<String>,
    /// The process that reads it.
    pub active_pid: Option<i32>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
    /// Why the server gave it up.
    pub invalidation: Option<String>,
    /// From where log is kept.
    pub restart: Option<String>,
    /// Up to where its reader has confirmed.
    pub confirmed: Option<String>,
    /// How much log is kept for it.
    pub retained_bytes: Option<i64>,
    /// How much log was written since what its reader confirmed.
    pub lag_bytes: Option<i64>,
    /// How much more may be written before it is in danger; none where there is no limit.
    pub safe_wal_bytes: Option<i64>,
    /// How old the transaction is that its view of the catalogue holds.
    pub catalog_xmin_age: Option<i32>,
    /// Whether it is the configured one.
    pub ours: bool,
}

impl Admin {
    /// Lists the server's slots.
    pub async fn slots(&self) -> Result<Vec<Slot>, Fault> {
        let client = connect_sql(&self.source, APPLICATION).await?;
        let found = slots::list(&client).await?;
        Ok(found.into_iter().map(|slot| self.document(slot)).collect())
    }

    /// Creates the configured publication and slot, in this order; those that are there stay.
    pub async fn create_slot(&self, waiting: &(dyn Fn(String) + Send + Sync)) -> Result<Slot, Fault> {
        let client = connect_sql(&self.source, APPLICATION).await?;
        publication::create_if_missing(&client, &self.config.publication).await?;
        let present = slots::find(&client, &self.config.slot).await?;
        if present.is_none_or(|slot| slot.plugin.as_deref() != Some(slots::PLUGIN)) {
            let tell = |blockers: &[slots::Blocker]| {
                for blocker in blockers {
                    let seconds = blocker.open_seconds;
                    waiting(format!("waiting for an open transaction: {blocker}, open for {seconds} s"));
                }
            };
            let created = slots::create(&self.source, &self.config.slot, &tell).await;
            let found = slots::find(&client, &self.config.slot).await?;
            // A capturing server may have made it at the same time.
            if found.is_none_or(|slot| slot.plugin.as_deref() != Some(slots::PLUGIN)) {
                created?;
            }
        }
        let slot = slots::find(&client, &self.config.slot).await?;
        slot.map(|slot| self.document(slot)).ok_or_else(|| Fault::new(Code::SlotMissing, self.config.slot.clone()))
    }

    /// Drops a slot; one in use only with `force`, which ends its reader.
    pub async fn drop_slot(&self, name: &str, force: bool) -> Result<(), Fault> {
        let client = connect_sql(&self.source, APPLICATION).await?;
        slots::drop(&client, name, force).await
    }

    /// Moves a slot forward; changes in between are given up.
    pub async fn advance_slot(&self, name: &str, to: Lsn) -> Result<Lsn, Fault> {
        let client = connect_sql(&self.source, APPLICATION).await?;
        slots::advance(&client, name, to).await
    }

    /// Begins a new epoch: the old slot goes, every table is copied anew, every client lists again.
    pub async fn new_epoch(&self) -> Result<u32, Fault> {
        let store = self.store().await?;
        let client = connect_sql(&self.source, APPLICATION).await?;
        // The slot goes before the checkpoint: a server that meets the old checkpoint without a slot waits, one that met
        // a new checkpoint with the old slot would lose it again a moment later.
        match slots::drop(&client, &self.config.slot, true).await {
            Ok(()) => {}
            Err(fault) if fault.code() == Code::SlotMissing => {}
            Err(fault) => return Err(fault),
        }
        let epoch = store.new_epoch(super::SOURCE).await?;
        Ok(epoch.as_u32())
    }

    fn document(&self, slot: slots::Slot) -> Slot {
        let text = |lsn: Option<Lsn>| lsn.map(|lsn| lsn.to_string());
        Slot {
            ours: slot.name == self.config.slot,
            name: slot.name,
            plugin: slot.plugin,
            database: slot.database,
            active_pid: slot.active_pid,
            wal_status: slot.wal_status,
            invalidation: slot.invalidation,
            restart: text(slot.restart),
            confirmed: text(slot.confirmed),
            retained_bytes: slot.retained_bytes,
            lag_bytes: slot.lag_bytes,
            safe_wal_bytes: slot.safe_wal_bytes,
            catalog_xmin_age: slot.catalog_xmin_age,
        }
    }
}
