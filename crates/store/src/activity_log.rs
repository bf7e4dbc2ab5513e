//! The activity log: reading it, and the marks that say how far it goes.
//!
//! Three one-row tables hold the marks, so that appender, flusher and list readers never wait for one another.
//! Law: `durable` is raised by a commit that is on disk before anyone can see it (see `flush`), so a mark that was read
//! never comes back.

mod append;
mod flush;
mod look_up;
mod read;

use antiphon_engine::{
    Fault,
    ports::{ActivityLog, DeletedPage, EntityRef, Head, Scope, Span},
};
use antiphon_model::{Activity, ActivityId, Epoch, Visibility};
use async_trait::async_trait;
use tokio_postgres::{Client, Row};

pub(crate) use append::{Appender, Start};
pub(crate) use flush::Flusher;

use crate::{Store, errors};

/// Capture has begun once every source has proved itself: its identity is saved with its first position.
const MARKS: &str = "select h.epoch, h.last, h.floor, d.durable, v.visible,
    (select coalesce(bool_and(identity is not null), false) from log.checkpoints)
  from log.head h, log.durable d, log.visible v where d.epoch = h.epoch and v.epoch = h.epoch";

#[async_trait]
impl ActivityLog for Store {
    async fn head(&self) -> Result<Head, Fault> {
        let client = self.client().await?;
        let statement = client.prepare_cached(MARKS).await.map_err(errors::sql)?;
        marks(client.query_opt(&statement, &[]).await.map_err(errors::sql)?)
    }

    async fn read(
        &self,
        scope: &Scope,
        after: ActivityId,
        up_to: ActivityId,
        limit: usize,
    ) -> Result<Vec<Activity>, Fault> {
        let client = self.client().await?;
        read::activities(&client, scope, (after, up_to), limit, self.partition_ids).await
    }

    async fn first_invisible(
        &self,
        after: ActivityId,
        up_to: ActivityId,
        visibility: &Visibility,
    ) -> Result<Option<ActivityId>, Fault> {
        let client = self.client().await?;
        read::first_invisible(&client, (after, up_to), visibility).await
    }

    async fn of_entity(&self, entity: &EntityRef<'_>, span: Span, limit: usize) -> Result<Vec<Activity>, Fault> {
        let client = self.client().await?;
        look_up::of_entity(&client, entity, span, limit).await
    }

    async fn of_transaction(&self, orgs: &[&str], id: &str, span: Span, limit: usize) -> Result<Vec<Activity>, Fault> {
        let client = self.client().await?;
        look_up::of_transaction(&client, orgs, (id, span), limit).await
    }

    async fn newest_of(
        &self,
        org: &str,
        entity_type: &str,
        entity_ids: &[String],
        span: Span,
    ) -> Result<Vec<Activity>, Fault> {
        let client = self.client().await?;
        look_up::newest_of(&client, (org, entity_type), entity_ids, span).await
    }

    async fn deletes(&self, org: &str, entity_type: &str, span: Span, limit: usize) -> Result<DeletedPage, Fault> {
        let client = self.client().await?;
        look_up::deletes(&client, (org, entity_type), span, limit).await
    }

    async fn raise_visible(&self, epoch: Epoch, to: ActivityId) -> Result<(), Fault> {
        let client = self.client().await?;
        let sql = "update log.visible set visible = $2 where epoch = $1 and visible < $2";
        let statement = client.prepare_cached(sql).await.map_err(errors::sql)?;
        client.execute(&statement, &[&epoch_number(epoch), &id_number(to)]).await.map_err(errors::sql)?;
        Ok(())
    }
}

/// Reads the marks by a connection of one's own.
pub(crate) async fn head(client: &Client) -> Result<Head, Fault> {
    marks(client.query_opt(MARKS, &[]).await.map_err(errors::sql)?)
}

fn marks(row: Option<Row>) -> Result<Head, Fault> {
    let row = row.ok_or_else(|| errors::corrupt("the log's marks belong to different epochs"))?;
    Ok(Head {
        epoch: Epoch::new(row.get::<_, i32>(0).unsigned_abs()),
        last: number_id(row.get(1)),
        floor: number_id(row.get(2)),
        durable: number_id(row.get(3)),
        visible: number_id(row.get(4)),
        begun: row.get(5),
    })
}

/// An id as Postgres stores it; ids are below 2^53.
pub(crate) fn id_number(id: ActivityId) -> i64 {
    id.as_u64() as i64
}

/// An id as it was stored.
fn number_id(number: i64) -> ActivityId {
    ActivityId::new(number.unsigned_abs())
}

/// An epoch as Postgres stores it.
pub(crate) fn epoch_number(epoch: Epoch) -> i32 {
    epoch.as_u32() as i32
}
