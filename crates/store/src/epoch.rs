//! A new epoch: the log begins anew because it can no longer vouch for older offsets (LOG-04).

use antiphon_engine::Fault;
use antiphon_model::{Code, Epoch};

use crate::{Store, activity_log, errors};

impl Store {
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
        let sql = "update log.head set epoch = $1, last = $2, floor = $2 where epoch = $1 - 1";
        if transaction.execute(sql, &[&number, &base]).await.map_err(errors::sql)? == 0 {
            return Err(Fault::new(Code::TryAgain, "another new epoch began at the same time"));
        }
        let sql = "update log.durable set epoch = $1, durable = $2";
        transaction.execute(sql, &[&number, &base]).await.map_err(errors::sql)?;
        let sql = "update log.visible set epoch = $1, visible = $2";
        transaction.execute(sql, &[&number, &base]).await.map_err(errors::sql)?;
        transaction
            .batch_execute("delete from log.organisations; delete from log.snapshots")
            .await
            .map_err(errors::sql)?;
        transaction.commit().await.map_err(errors::sql)?;
        Ok(next)
    }
}
