//! A new epoch: the log begins anew because it can no longer vouch for older offsets (LOG-04).
//!
//! Usually the source is captured anew, too. Where only the log lost its end, the checkpoint that it has left is right,
//! and capture goes on from it under numbers that nobody has seen.

use antiphon_engine::{Fault, ports::Head};
use antiphon_model::{Code, Epoch};
use deadpool_postgres::Transaction;

use crate::{Store, activity_log, errors};

impl Store {
    /// Returns the present epoch.
    pub async fn present_epoch(&self) -> Result<Epoch, Fault> {
        Ok(activity_log::head(&*self.client().await?).await?.epoch)
    }

    /// Begins a new epoch of the log for a source: every older offset becomes invalid, the checkpoint is cleared, the
    /// present writer is fenced, and tables are copied again. Returns the new epoch.
    ///
    /// Activities of former epochs are out of every reader's reach at once; `maintain` drops them.
    pub async fn new_epoch(&self, source: &str) -> Result<Epoch, Fault> {
        let mut client = self.client().await?;
        let head = activity_log::head(&client).await?;
        let next = head.epoch.next();
        let (number, base) = (activity_log::epoch_number(next), activity_log::id_number(next.base()));
        let transaction = client.transaction().await.map_err(errors::sql)?;
        transaction.batch_execute("set local synchronous_commit = on").await.map_err(errors::sql)?;
        // The same order of locks as an append: the checkpoint first, then the head.
        let sql =
            "update log.checkpoints set fence = fence + 1, holder = '', expires_at = '-infinity', acknowledged = 0,
                     lsn = 0, ordinal = 0, complete = true, xid = 0, identity = null where source = $1";
        transaction.execute(sql, &[&source]).await.map_err(errors::sql)?;
        begin(&transaction, number, base).await?;
        transaction
            .batch_execute("delete from log.organisations; delete from log.snapshots")
            .await
            .map_err(errors::sql)?;
        transaction.commit().await.map_err(errors::sql)?;
        Ok(next)
    }

    /// Begins a new epoch with the checkpoint and the copies that there are; for whoever holds the lease.
    pub(crate) async fn go_on_in_next_epoch(&self, head: Head) -> Result<Head, Fault> {
        let next = head.epoch.next();
        tracing::warn!(
            epoch = next.as_u32(),
            "the log's database was promoted and may lack the log's end: epoch {} begins, and clients list again",
            next.as_u32()
        );
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(errors::sql)?;
        transaction.batch_execute("set local synchronous_commit = on").await.map_err(errors::sql)?;
        begin(&transaction, activity_log::epoch_number(next), activity_log::id_number(next.base())).await?;
        transaction.commit().await.map_err(errors::sql)?;
        activity_log::head(&client).await
    }
}

async fn begin(transaction: &Transaction<'_>, number: i32, base: i64) -> Result<(), Fault> {
    let sql = "update log.head set epoch = $1, last = $2, floor = $2 where epoch = $1 - 1";
    if transaction.execute(sql, &[&number, &base]).await.map_err(errors::sql)? == 0 {
        return Err(Fault::new(Code::TryAgain, "another new epoch began at the same time"));
    }
    let sql = "update log.durable set epoch = $1, durable = $2";
    transaction.execute(sql, &[&number, &base]).await.map_err(errors::sql)?;
    let sql = "update log.visible set epoch = $1, visible = $2";
    transaction.execute(sql, &[&number, &base]).await.map_err(errors::sql)?;
    Ok(())
}
