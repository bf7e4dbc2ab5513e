//! Mirrors in other databases: connected to the log, run beside capture, and shown to operators.
//!
//! Whoever serves also tries to mirror; the target lets one runner write, and the others stand by.

use std::sync::Arc;

use antiphon_connectors::postgres::{
    Connect, MirrorConfig, MirrorHandle, MirrorService, MirrorState, MirrorStatus, connect_fault,
};
use antiphon_engine::{Bus, Fault, ports::Source, spawn};
use antiphon_model::{EntityType, Micros, write_time};
use antiphon_postgres::{ConnectionInfo, LiveCatalogue, connect_sql, pool};
use antiphon_store::Store;
use async_trait::async_trait;
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    Config,
    app::App,
    compose::{self, Ends},
    operations::document,
    problem::Problem,
    query::Query,
};

/// Mirrors ask for the columns of a table now and then, over so many connections to the source.
const CATALOGUE_POOL_MAX: usize = 1;

struct Target {
    info: ConnectionInfo,
    application_name: String,
}

#[async_trait]
impl Connect for Target {
    async fn connect(&self) -> Result<tokio_postgres::Client, Fault> {
        connect_sql(&self.info, &self.application_name).await.map_err(connect_fault)
    }
}

/// The mirrors of the configuration.
pub(crate) struct Mirrors {
    services: Vec<MirrorService>,
    /// Tell how each is.
    pub(crate) handles: Vec<MirrorHandle>,
}

impl Mirrors {
    /// Makes the mirrors; nothing is connected yet.
    pub(crate) async fn prepare(
        config: &Config,
        store: &Store,
        (bus, source): (&Bus, &Arc<dyn Source>),
        entities: &[Arc<EntityType>],
    ) -> Result<Mirrors, Fault> {
        if config.mirrors.is_empty() {
            return Ok(Mirrors { services: Vec::new(), handles: Vec::new() });
        }
        let log_identity = store.installation_name().await?;
        let pool = pool(&config.source, "antiphon mirror columns", CATALOGUE_POOL_MAX)?;
        let catalogue = Arc::new(LiveCatalogue::new(pool));
        let mirrors = config.mirrors.iter().map(|(name, info)| {
            let application_name = format!("antiphon mirror {name}");
            MirrorService::new(MirrorConfig {
                name: name.clone(),
                target: Arc::new(Target { info: info.clone(), application_name }),
                bus: bus.clone(),
                source: Arc::clone(source),
                catalogue: Arc::clone(&catalogue) as _,
                entities: entities.to_vec(),
                log_identity: log_identity.clone(),
                clock: Arc::new(compose::now),
            })
        });
        let (services, handles) = mirrors.unzip();
        Ok(Mirrors { services, handles })
    }

    /// Starts them; each reports its end.
    pub(crate) fn start(self, report: impl Fn() -> Ends, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
        let start = |mirror: MirrorService| spawn("mirror", report().after(mirror.run(stop.clone())));
        self.services.into_iter().map(start).collect()
    }
}

/// Shows the mirrors to system administrators.
pub(crate) async fn show(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    app.administrator(&headers, &uri).await?;
    Query::parse(uri.query(), &[], &[])?;
    let as_of = app.bus.as_of();
    let items: Vec<Value> = app.mirrors.iter().map(|mirror| describe(&mirror.status(), as_of)).collect();
    Ok(document(StatusCode::OK, &json!({ "items": items })))
}

fn describe(status: &MirrorStatus, as_of: Option<Micros>) -> Value {
    let time = |at| {
        let mut text = String::new();
        write_time(&mut text, at);
        text
    };
    let listing = status
        .listing
        .as_ref()
        .map(|listing| json!({ "entityType": listing.entity_type, "rows": listing.rows, "waiting": listing.waiting }));
    json!({
        "name": status.name,
        "state": status.state.as_str(),
        "reason": status.reason,
        "title": status.reason.map(antiphon_model::Code::title),
        "hint": status.reason.map(antiphon_model::Code::hint),
        "detail": status.detail,
        "since": time(status.since),
        "nextAttemptAt": status.next_attempt_at.map(time),
        "offset": status.offset,
        "behind": status.behind,
        "lagMs": status.lag_ms(as_of),
        "settling": status.settling,
        "begunAnew": status.begun_anew,
        "rowsWritten": status.rows_written,
        "rowsDeleted": status.rows_deleted,
        "listing": listing,
    })
}

/// Sets the gauges.
pub(crate) fn measure(app: &App) {
    for mirror in &app.mirrors {
        let status = mirror.status();
        for state in MirrorState::ALL {
            let here = f64::from(u8::from(state == status.state));
            metrics::gauge!("antiphon_mirror_state", "mirror" => status.name.clone(), "state" => state.as_str())
                .set(here);
        }
        metrics::gauge!("antiphon_mirror_behind_activities", "mirror" => status.name.clone()).set(status.behind as f64);
        if let Some(lag_ms) = status.lag_ms(app.bus.as_of()) {
            let seconds = lag_ms as f64 / 1_000.0;
            metrics::gauge!("antiphon_mirror_lag_seconds", "mirror" => status.name.clone()).set(seconds);
        }
    }
}
