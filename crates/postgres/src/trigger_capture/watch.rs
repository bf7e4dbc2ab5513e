//! Looks after what reading does not touch: triggers that changed, tables that changed, partitions of days, and what is
//! consumed (TG-05, TG-09, TG-10).
//!
//! A function that became stale is made anew and loses nothing meanwhile; a trigger that was dropped or disabled has
//! lost changes, and ends the capture. A look that fails is repeated; only what was really seen ends the capture.

use std::{sync::Arc, time::Duration};

use antiphon_engine::{Fault, spawn};
use antiphon_model::Code;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_postgres::Client;

use super::{
    TriggerConfig,
    driver::Consumed,
    install::{self, Baseline},
    objects,
};
use crate::{connect::connect_sql, entities};

/// A look takes at most this long; then a new connection is made for the next one.
const LOOK_TIMEOUT: Duration = Duration::from_secs(180);

/// A running watch; dropping it ends it.
pub(super) struct Watch {
    task: JoinHandle<()>,
    found: mpsc::Receiver<Fault>,
}

impl Watch {
    /// Starts it; `at_once` has it look before its time.
    pub(super) fn start(
        config: Arc<TriggerConfig>,
        baseline: Baseline,
        consumed: Consumed,
        at_once: Arc<Notify>,
    ) -> Watch {
        let (tell, found) = mpsc::channel(1);
        let task = spawn("trigger watch", async move {
            let fault = watch(&config, &baseline, &consumed, &at_once).await;
            if tell.send(fault).await.is_err() {
                tracing::debug!("a capture ended before it heard of its triggers");
            }
        });
        Watch { task, found }
    }

    /// Waits for a reason to end the capture. Cancelling loses nothing.
    pub(super) async fn fault(&mut self) -> Fault {
        match self.found.recv().await {
            Some(fault) => fault,
            None => Fault::new(Code::Internal, "the watch over triggers ended"),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(config: &TriggerConfig, baseline: &Baseline, consumed: &Consumed, at_once: &Notify) -> Fault {
    let mut client = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(config.watch_interval) => {}
            () = at_once.notified() => {}
        }
        match tokio::time::timeout(LOOK_TIMEOUT, look(config, baseline, consumed, &mut client)).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) if fault.code() == Code::PublicationChanged => return fault,
            Ok(Err(fault)) => {
                client = None;
                tracing::debug!(error = %fault.chain(), "triggers and audit table could not be looked at");
            }
            Err(_) => client = None,
        }
    }
}

async fn look(
    config: &TriggerConfig,
    baseline: &Baseline,
    consumed: &Consumed,
    client: &mut Option<Client>,
) -> Result<(), Fault> {
    let client = match client {
        Some(client) => client,
        None => client.insert(connect_sql(&config.info, "antiphon trigger watch").await?),
    };
    let audit = objects::find(client).await?;
    for entity in &config.entities {
        // A table that is gone, or that was never fit, has its own way of being told.
        let Ok(table) = install::describe(client, entity).await else { continue };
        Baseline::check(client, baseline.mark(), audit, &table).await?;
        if !baseline.mark().tables.contains_key(&table.name.to_string()) {
            continue;
        }
        let plan = install::plan(client, &table, entity).await?;
        if !plan.done() {
            tracing::info!(table = %table.name, "the table has changed: its recording is made anew");
            entities::apply(client, &plan, &mut |_| {}).await?;
        }
    }
    objects::ensure_days(client).await?;
    let durable = *consumed.borrow();
    let dropped = objects::reap(client, durable).await?;
    if dropped > 0 {
        tracing::info!(dropped, "days of recorded rows that were consumed are dropped");
    }
    Ok(())
}
