//! What operators and their machines ask: health, readiness, metrics, the state of the source (protocol 6).
//!
//! Health and metrics are open, because load balancers and scrapers have no users; what they show names no data.
//! Everything that changes something needs a system administrator and is logged with who did it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use antiphon_model::{SourceState, SourceStatus, write_time};
use antiphon_postgres::{ConnectionInfo, connect_sql, failover, slots};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{Config, app::App, auth::Gate, copies, live, mirrors, problem::Problem, process, query::Query};

/// An operator who asks for the state while the source is away waits at most so long for what it would say.
const SLOT_WAIT: Duration = Duration::from_secs(2);
/// Standbys that do not answer may take longer; those that do take milliseconds.
const FAILOVER_WAIT: Duration = Duration::from_secs(6);

/// Where the slot of the source is looked at.
pub(crate) struct SlotView {
    /// The source.
    pub(crate) source: ConnectionInfo,
    /// Where its standbys are, beyond the hosts of `source`.
    pub(crate) standby: Option<ConnectionInfo>,
    /// The slot's name.
    pub(crate) name: String,
}

impl SlotView {
    pub(crate) fn of(config: &Config) -> SlotView {
        let (source, standby) = (config.source.clone(), config.standby.clone());
        SlotView { source, standby, name: config.slot.clone() }
    }

    /// Describes the slot; null where it is not there or the source does not answer.
    async fn describe(&self) -> Value {
        let look = async {
            let client = connect_sql(&self.source, "antiphon status").await?;
            slots::find(&client, &self.name).await
        };
        match tokio::time::timeout(SLOT_WAIT, look).await {
            Ok(Ok(Some(slot))) => json!({
                "name": slot.name,
                "active": slot.active_pid.is_some(),
                "walStatus": slot.wal_status,
                "invalidation": slot.invalidation,
                "confirmed": slot.confirmed.map(|lsn| lsn.to_string()),
                "lagBytes": slot.lag_bytes,
                "retainedBytes": slot.retained_bytes,
                "safeWalBytes": slot.safe_wal_bytes,
                "failover": slot.failover,
            }),
            Ok(Ok(None)) | Err(_) => Value::Null,
            Ok(Err(fault)) => {
                tracing::debug!(error = %fault.chain(), "the slot could not be looked at");
                Value::Null
            }
        }
    }
}

impl SlotView {
    /// Describes how ready the source is for a failover; null where it does not answer.
    async fn failover(&self) -> Value {
        let look = failover::examine(&self.source, self.standby.as_ref(), &self.name);
        let readiness = match tokio::time::timeout(FAILOVER_WAIT, look).await {
            Ok(Ok(readiness)) => readiness,
            Ok(Err(fault)) => {
                tracing::debug!(error = %fault.chain(), "readiness for a failover could not be looked at");
                return Value::Null;
            }
            Err(_) => return Value::Null,
        };
        let lack = |found: &failover::Found| {
            json!({
                "lack": found.lack.as_str(),
                "hinders": found.lack.hinders(),
                "standby": found.standby,
                "detail": found.detail,
                "remedy": found.remedy,
            })
        };
        json!({
            "state": readiness.word(),
            "ready": readiness.ready(),
            "standbys": readiness.standbys,
            "lacks": readiness.lacks.iter().map(lack).collect::<Vec<_>>(),
        })
    }
}

/// The process answers.
pub(crate) async fn healthz() -> Response {
    document(StatusCode::OK, &json!({ "status": "ok" }))
}

/// The server can serve: our own database answers, and the source is captured or on its way.
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Response {
    let status = app.capture.status();
    let log = app.bus.log().head().await;
    let source_ready = !matches!(status.state, SourceState::Initialising | SourceState::Blocked | SourceState::Failed);
    let ready = log.is_ok() && source_ready && !app.drain.is_cancelled();
    let log = match log {
        Ok(head) => json!({ "ready": true, "epoch": head.epoch, "durable": head.durable, "last": head.last }),
        Err(fault) => json!({ "ready": false, "code": fault.code(), "title": fault.code().title() }),
    };
    let source = json!({
        "ready": source_ready,
        "state": status.state.as_str(),
        "status": status.state.status().to_string(),
        "reason": status.reason,
    });
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut needs = app.watch.needs();
    if let (Some(list), Some(need)) = (needs.as_array_mut(), copies::need(&app.capture.copies())) {
        list.push(need);
    }
    let body = json!({
        "ready": ready, "draining": app.drain.is_cancelled(), "log": log, "source": source, "needs": needs,
    });
    document(code, &body)
}

/// Everything that is counted, for Prometheus.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let (activities, bytes) = app.bus.ring_size();
    metrics::gauge!("antiphon_ring_activities").set(activities as f64);
    metrics::gauge!("antiphon_ring_bytes").set(bytes as f64);
    let head = app.bus.head();
    metrics::gauge!("antiphon_log_durable_activity").set(head.durable.as_u64() as f64);
    let state = app.capture.status().state;
    for each in SourceState::ALL {
        metrics::gauge!("antiphon_capture_state", "state" => each.as_str()).set(f64::from(u8::from(each == state)));
    }
    copies::measure(&app.capture.copies());
    mirrors::measure(&app);
    process::measure();
    app.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}

/// Shows the source to system administrators.
pub(crate) async fn source(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    app.administrator(&headers, &uri).await?;
    Query::parse(uri.query(), &[], &[])?;
    Ok(document(StatusCode::OK, &describe(&app).await))
}

/// Shows system administrators what tenants and connections may do.
pub(crate) async fn limits(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    app.administrator(&headers, &uri).await?;
    Query::parse(uri.query(), &[], &[])?;
    let rate = app.mutation_limits.rate();
    let (refusals, refusals_burst) = Gate::rate();
    let mut limits = json!({
        "streamsPerOrganisation": app.streams_max,
        "mutationsPerSecond": rate.map(|(rate, _)| rate),
        "mutationsBurst": rate.map(|(_, burst)| burst),
        "refusedTokensPerSecond": refusals,
        "refusedTokensBurst": refusals_burst,
    });
    for (transport, may) in live::limits(app.websocket_bytes, app.stream_bytes) {
        limits[transport] = may;
    }
    Ok(document(StatusCode::OK, &limits))
}

/// Shows system administrators the open streams.
pub(crate) async fn connections(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    app.administrator(&headers, &uri).await?;
    let query = Query::parse(uri.query(), &["after", "limit"], &[])?;
    let limit = query.number("limit", 100, 1..=1_000)?;
    let after = query.text("after").map(|_| query.number("after", 0, 0..=usize::MAX)).transpose()?;
    let (entries, total) = app.streams.list(after.map(|after| after as u64), limit);
    let durable = app.bus.head().durable.as_u64();
    let item = |entry: &live::Entry| {
        let mut since = String::new();
        write_time(&mut since, entry.since);
        let (bytes, offset) = entry.progress.read();
        json!({
            "id": entry.id, "transport": entry.transport.as_str(), "org": entry.org, "subject": entry.subject,
            "since": since, "bytesSent": bytes, "offset": offset, "behind": durable.saturating_sub(offset),
        })
    };
    let next = (entries.len() == limit).then(|| entries.last().map(|last| last.id)).flatten();
    let items: Vec<Value> = entries.iter().map(item).collect();
    Ok(document(StatusCode::OK, &json!({ "total": total, "next": next, "items": items })))
}

/// Pauses capture: the checkpoint holds, the slot stays, nothing is lost (CAP-51).
pub(crate) async fn pause(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    let administrator = app.administrator(&headers, &uri).await?;
    Query::parse(uri.query(), &[], &[])?;
    tracing::info!(user.id = administrator.subject, "capture is paused by {}", administrator.subject);
    app.capture.pause();
    Ok(document(StatusCode::ACCEPTED, &describe(&app).await))
}

/// Resumes capture from its checkpoint.
pub(crate) async fn resume(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    let administrator = app.administrator(&headers, &uri).await?;
    Query::parse(uri.query(), &[], &[])?;
    tracing::info!(user.id = administrator.subject, "capture is resumed by {}", administrator.subject);
    app.capture.resume();
    Ok(document(StatusCode::ACCEPTED, &describe(&app).await))
}

async fn describe(app: &App) -> Value {
    let SourceStatus { state, reason, detail, since, next_attempt_at } = app.capture.status();
    let time = |at| {
        let mut text = String::new();
        write_time(&mut text, at);
        text
    };
    let mut shapes = BTreeMap::new();
    for entity in app.entities.values() {
        // A table that cannot be described says so in its problem.
        let number = app.shape(entity).await.map(|(_, number)| number).ok();
        shapes.insert(entity.name.as_str(), number);
    }
    let watch = app.watch.describe(|entity_type| json!(shapes.get(entity_type)));
    json!({
        "state": state.as_str(),
        "status": state.status().to_string(),
        "reason": reason,
        "title": reason.map(antiphon_model::Code::title),
        "hint": reason.map(antiphon_model::Code::hint),
        "detail": detail,
        "since": time(since),
        "nextAttemptAt": next_attempt_at.map(time),
        "asOf": app.bus.as_of().map(time),
        "slot": app.slot.describe().await,
        "watch": watch,
        "failover": app.slot.failover().await,
        "copies": copies::describe(&app.capture.copies()),
    })
}

pub(crate) fn document(status: StatusCode, body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body.to_string()).into_response()
}
