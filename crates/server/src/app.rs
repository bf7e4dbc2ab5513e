//! What every request is handed: the declared types, their shapes, the ports, and the places for streams.
//!
//! Who may make a request is `auth`'s business.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use antiphon_connectors::postgres::MirrorHandle;
use antiphon_engine::{
    Bus, CaptureHandle, Door,
    ports::{Catalogue, Directory, Rows, Schemas, Shape},
};
use antiphon_model::{Code, EntityType};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use crate::auth::{Caller, Standing};
use crate::{
    auth::{Auth, Gate},
    line::StreamBytes,
    live::Streams,
    mutations::MutationLimits,
    operations::SlotView,
    problem::Problem,
    source_watch::SourceWatch,
};

/// A shape is looked up again after this time: a change of a table shows in lists at once and in the schema soon, or at
/// once where a list or a change told of it.
const SHAPE_FRESH: Duration = Duration::from_secs(2);

/// Everything that requests need.
pub(crate) struct App {
    pub(crate) entities: BTreeMap<String, Arc<EntityType>>,
    pub(crate) bus: Bus,
    pub(crate) capture: CaptureHandle,
    pub(crate) slot: SlotView,
    pub(crate) watch: SourceWatch,
    pub(crate) rows: Arc<dyn Rows>,
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) schemas: Arc<dyn Schemas>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) auth: Auth,
    pub(crate) gate: Gate,
    /// Streams of one organisation at once; `None`: no limit.
    pub(crate) streams_max: Option<usize>,
    /// What one connection is sent of streams.
    pub(crate) websocket_bytes: StreamBytes,
    pub(crate) stream_bytes: StreamBytes,
    pub(crate) streams: Streams,
    /// Requests and streams end after this.
    pub(crate) drain: CancellationToken,
    pub(crate) shapes: Shapes,
    pub(crate) door: Door,
    pub(crate) mutation_limits: MutationLimits,
    pub(crate) mirrors: Vec<MirrorHandle>,
    pub(crate) metrics: metrics_exporter_prometheus::PrometheusHandle,
}

impl App {
    /// Returns a declared type.
    pub(crate) fn entity(&self, name: &str) -> Result<&Arc<EntityType>, Problem> {
        self.entities.get(name).ok_or_else(|| Problem::new(Code::EntityTypeUnknown, "this type is not declared"))
    }

    /// Returns a type's present shape and its number.
    pub(crate) async fn shape(&self, entity: &EntityType) -> Result<(Arc<Shape>, u32), Problem> {
        if let Some(known) = self.shapes.find(&entity.name) {
            return Ok(known);
        }
        let shape = Arc::new(self.catalogue.shape(entity).await?);
        let number = self.schemas.number(&entity.name, &shape.fingerprint()).await?;
        self.shapes.keep(&entity.name, Arc::clone(&shape), number);
        Ok((shape, number))
    }

    /// Forgets shapes that are not the newest any more: who was told of a new number asks at once, and must not be shown
    /// the shape of before (PG-72).
    pub(crate) async fn forget_old_shapes(&self) -> Result<(), Problem> {
        let newest = self.schemas.newest().await?;
        self.shapes.forget_below(&newest);
        Ok(())
    }

    /// Returns the number of the shape that rows were read with.
    pub(crate) async fn schema_of(&self, entity: &EntityType, fingerprint: &str) -> Result<u32, Problem> {
        match self.shapes.find(&entity.name) {
            Some((shape, number)) if shape.fingerprint() == fingerprint => Ok(number),
            _ => Ok(self.schemas.number(&entity.name, fingerprint).await?),
        }
    }
}

/// Shapes looked up a moment ago.
#[derive(Default)]
pub(crate) struct Shapes {
    known: Mutex<HashMap<String, KnownShape>>,
}

/// When it was looked up, the shape, its number.
type KnownShape = (Instant, Arc<Shape>, u32);

impl Shapes {
    fn find(&self, name: &str) -> Option<(Arc<Shape>, u32)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, shape, number) = known.get(name).filter(|(at, ..)| at.elapsed() < SHAPE_FRESH)?;
        Some((Arc::clone(shape), *number))
    }

    fn forget_below(&self, newest: &BTreeMap<String, u32>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|name, (.., number)| newest.get(name).is_none_or(|newest| newest <= number));
    }

    fn keep(&self, name: &str, shape: Arc<Shape>, number: u32) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), (Instant::now(), shape, number));
    }
}
