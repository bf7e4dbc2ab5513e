//! The activity log: reading it, and the marks that say how far it goes.
//!
//! Three one-row tables hold the marks, so that appender, flusher and list readers never wait for one another.
//! Law: `durable` is raised by a commit that is on disk before anyone can see it (see `flush`), so a mark that was read
//! never comes back.

mod append;
mod flush;
mod read;

use antiphon_engine::{
    Fault,
    ports::{ActivityLog, Head, Scope},
};
use antiphon_model::{Activity, ActivityId, Epoch, Visibility};
use async_trait::async_trait;
use tokio_postgres::GenericClient;

pub(crate) use append::{Appender, Start};
pub(crate) use flush::Flusher;

use crate::{Store, errors};

/// So many activities are tested against a snapshot at a time.
const VISIBILITY_PAGE: usize = 10_000;

#[async_trait]
impl ActivityLog for Store {
    async fn head(&self) -> Result<Head, Fault> {
        let client = self.client().await?;
        head(&**client).await
    }

    async fn read(
        &self,
        scope: &Scope,
        after: ActivityId,
        up_to: ActivityId,
        limit: usize,
    ) -> Result<Vec<Activity>, Fault> {
        let client = self.client().await?;
        read::activities(&client, scope, after, up_to, limit).await
    }

    async fn first_invisible(
        &self,
        after: ActivityId,
        up_to: ActivityId,
        visibility: &Visibility,
    ) -> Result<Option<ActivityId>, Fault> {
        let client = self.client().await?;
        let mut after = after;
        while after < up_to {
            let page = read::xids(&client, after, up_to, VISIBILITY_PAGE).await?;
            if let Some((id, _)) = page.iter().find(|(_, xid)| !visibility.sees(*xid)) {
                return Ok(Some(*id));
            }
            match page.last() {
                Some((last, _)) if page.len() == VISIBILITY_PAGE => after = *last,
                _ => break,
            }
        }
        Ok(None)
    }

    async fn raise_visible(&self, epoch: Epoch, to: ActivityId) -> Result<(), Fault> {
        let client = self.client().await?;
        let sql = "update log.visible set visible = $2 where epoch = $1 and visible < $2";
        let statement = client.prepare_cached(sql).await.map_err(errors::sql)?;
        client.execute(&statement, &[&epoch_number(epoch), &id_number(to)]).await.map_err(errors::sql)?;
        Ok(())
    }
}

/// Reads the marks.
pub(crate) async fn head(client: &impl GenericClient) -> Result<Head, Fault> {
    let sql = "select h.epoch, h.last, h.floor, d.durable, v.visible
               from log.head h, log.durable d, log.visible v where d.epoch = h.epoch and v.epoch = h.epoch";
    let row = client.query_opt(sql, &[]).await.map_err(errors::sql)?;
    let row = row.ok_or_else(|| errors::corrupt("the log's marks belong to different epochs"))?;
    let id = |index: usize| ActivityId::new(row.get::<_, i64>(index).unsigned_abs());
    Ok(Head {
        epoch: Epoch::new(row.get::<_, i32>(0).unsigned_abs()),
        last: id(1),
        floor: id(2),
        durable: id(3),
        visible: id(4),
    })
}

/// An id as Postgres stores it; ids are below 2^53.
pub(crate) fn id_number(id: ActivityId) -> i64 {
    id.as_u64() as i64
}

/// An epoch as Postgres stores it.
pub(crate) fn epoch_number(epoch: Epoch) -> i32 {
    epoch.as_u32() as i32
}
