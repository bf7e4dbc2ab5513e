//! The initial copies of tables, for operators: how far each is, and having one begun anew.
//!
//! One that is complete is not made again: its table streams, and every reader would be shown each row once more, while
//! rows that are gone would stay (CAP-20).
//! Law: a copy begins anew only with a new tenure, because its writer holds the progress in memory; so the present
//! writer is fenced. It, or another server, takes over at once from the stored checkpoint, and no change is lost.

use antiphon_engine::{Fault, ports::SnapshotProgress};

use crate::{Store, errors, lease};

impl Store {
    /// Lists the copies by entity type.
    pub async fn copies(&self) -> Result<Vec<SnapshotProgress>, Fault> {
        let client = self.client().await?;
        lease::snapshots(&client).await
    }

    /// Forgets the place of a copy, so that the next tenure of the source begins it anew.
    pub async fn copy_anew(&self, source: &str, entity_type: &str) -> Result<(), Fault> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(errors::sql)?;
        transaction.batch_execute("set local synchronous_commit = on").await.map_err(errors::sql)?;
        // The same order of locks as an append: the checkpoint first.
        let fenced = "update log.checkpoints set fence = fence + 1, holder = '', expires_at = '-infinity'
                      where source = $1";
        transaction.execute(fenced, &[&source]).await.map_err(errors::sql)?;
        let forgotten = "delete from log.snapshots where type = $1";
        transaction.execute(forgotten, &[&entity_type]).await.map_err(errors::sql)?;
        transaction.commit().await.map_err(errors::sql)
    }
}
