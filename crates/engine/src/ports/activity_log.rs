//! Reading the activity log; any server may, at any time.
//!
//! In order for streams, and by entity for histories, deleted rows and edits of what is gone. Law: nothing above the
//! durable mark is asked for.

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
    /// Whether capture has begun in this epoch: what a snapshot of now does not see will be in the log.
    pub begun: bool,
}

/// Whose activities are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of one organisation.
    Org(String),
    /// All.
    Everything,
}

/// One entity of one organisation, as the log files it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityRef<'a> {
    /// The organisation; `*` for what everyone reads.
    pub org: &'a str,
    /// The entity type.
    pub entity_type: &'a str,
    /// The entity.
    pub entity_id: &'a str,
}

/// A part of the log: `after < id <= up_to`, `up_to` at or below the durable mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Below the first.
    pub after: ActivityId,
    /// The last.
    pub up_to: ActivityId,
}

/// An entity that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The delete, which is the newest activity of the entity.
    pub delete: Activity,
    /// The newest activity that held its row, where the log still has one.
    pub last: Option<Activity>,
}

/// Entities that are gone, the newest delete first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletedPage {
    /// Those that stayed gone.
    pub items: Vec<Deleted>,
    /// Everything above was looked at; `None`: the whole part of the log was.
    pub rest_below: Option<ActivityId>,
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

    /// Returns the activities of an entity, the newest first, at most `limit`; a truncate of its type is none of them.
    async fn of_entity(&self, entity: &EntityRef<'_>, span: Span, limit: usize) -> Result<Vec<Activity>, Fault>;

    /// Returns the newest activity of each of these entities of a type, where there is one, in no order.
    async fn newest_of(
        &self,
        org: &str,
        entity_type: &str,
        entity_ids: &[String],
        span: Span,
    ) -> Result<Vec<Activity>, Fault>;

    /// Looks at the newest `limit` deletes of a type and returns those whose entity did not come back.
    async fn deletes(&self, org: &str, entity_type: &str, span: Span, limit: usize) -> Result<DeletedPage, Fault>;

    /// Returns these organisations' activities of one transaction id, in rising order, at most `limit`.
    async fn of_transaction(&self, orgs: &[&str], id: &str, span: Span, limit: usize) -> Result<Vec<Activity>, Fault>;

    /// Raises `Head::visible` to at least `to` if the epoch still stands; never lowers it.
    async fn raise_visible(&self, epoch: Epoch, to: ActivityId) -> Result<(), Fault>;
}
