//! Makes appends durable and visible with one commit (ADR 2).
//!
//! Raising `log.durable` under synchronous commit is both: Postgres lets others see a commit only after its record, and
//! with it every earlier one, is on disk. No reader can see the mark before the activities below it are safe.

use antiphon_engine::{Fault, ports::LogFlusher};
use antiphon_model::{ActivityId, Code, Epoch};
use async_trait::async_trait;
use tokio_postgres::{Client, Statement};

use super::{epoch_number, id_number};
use crate::errors;

/// The flusher of one tenure.
pub(crate) struct Flusher {
    client: Client,
    raise: Statement,
    epoch: Epoch,
    flushed: ActivityId,
}

impl Flusher {
    /// Prepares a connection for flushing; `durable` is the mark at the time.
    pub(crate) async fn new(client: Client, epoch: Epoch, durable: ActivityId) -> Result<Flusher, Fault> {
        // Whatever the role says: this commit must wait for the disk. A stronger setting of the role would be kept.
        let sql = "select set_config('synchronous_commit', 'on', false)
                   where current_setting('synchronous_commit') not in ('on', 'remote_apply')";
        client.execute(sql, &[]).await.map_err(errors::sql)?;
        let sql = "update log.durable set durable = $2 where epoch = $1 and durable < $2";
        let raise = client.prepare(sql).await.map_err(errors::sql)?;
        Ok(Flusher { client, raise, epoch, flushed: durable })
    }
}

#[async_trait]
impl LogFlusher for Flusher {
    async fn flush(&mut self, up_to: ActivityId) -> Result<(), Fault> {
        if up_to <= self.flushed {
            return Ok(());
        }
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&epoch_number(self.epoch), &id_number(up_to)];
        let raised = self.client.execute(&self.raise, &values).await.map_err(errors::sql)?;
        if raised == 0 {
            return Err(Fault::new(Code::Fenced, "the durable head of the log was raised by another server"));
        }
        self.flushed = up_to;
        Ok(())
    }
}
