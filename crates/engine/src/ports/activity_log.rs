//! Reading the activity log; any server may, at any time.

use antiphon_model::{Activity, ActivityId, Epoch, Visibility};
use async_trait::async_trait;

use crate::Fault;

/// The log's marks.
///
/// Always `floor <= visible`, `visible <= durable <= last` while the epoch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The generation.
    pub epoch: Epoch,
    /// The last activity appended; it may not be durable yet and is shown to nobody.
    pub last: ActivityId,
    /// The last activity that is durable: readers see up to here.
    pub durable: ActivityId,
    /// Every transaction up to here was visible to an earlier list; it only rises within an epoch.
    pub visible: ActivityId,
    /// The oldest offset from which reading on misses nothing.
    pub floor: ActivityId,
}

/// Whose activities are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of one organisation.
    Org(String),
    /// All.
    Everything,
}

/// Reads the activity log.
///
/// Durability: `read` returns only what is at or below `up_to`, which the caller takes from `Head::durable`.
/// Order: rising ids, no gaps that matter. Repetition: reading is free of effects. Concurrency: any.
#[async_trait]
pub trait ActivityLog: Send + Sync {
    /// Returns the log's marks.
    async fn head(&self) -> Result<Head, Fault>;

    /// Returns the activities with `after < id <= up_to` in rising order, at most `limit`, marks included.
    async fn read(
        &self,
        scope: &Scope,
        after: ActivityId,
        up_to: ActivityId,
        limit: usize,
    ) -> Result<Vec<Activity>, Fault>;

    /// Returns the first activity with `after < id <= up_to` whose transaction the snapshot does not see.
    async fn first_invisible(
        &self,
        after: ActivityId,
        up_to: ActivityId,
        visibility: &Visibility,
    ) -> Result<Option<ActivityId>, Fault>;

    /// Raises `Head::visible` to at least `to` if the epoch still stands; never lowers it.
    async fn raise_visible(&self, epoch: Epoch, to: ActivityId) -> Result<(), Fault>;
}
