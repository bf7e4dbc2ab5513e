//! The metrics of the process: one recorder, and what each name means.
//!
//! Names of other rooms are described here too, so that `/metrics` explains all that it shows.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Bounds of the histogram of capture lag, in milliseconds.
const LAG_MS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 5_000.0, 30_000.0, 300_000.0];
/// Bounds of the histogram of flushes, in seconds.
const FLUSH_SECONDS: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Every counter with its meaning.
const COUNTERS: &[(&str, &str)] = &[
    ("antiphon_capture_transactions_total", "Transactions of the source that were mapped"),
    ("antiphon_capture_changes_total", "Changes of the source that were mapped"),
    ("antiphon_capture_resent_changes_total", "Changes that the source sent again and that were recognised"),
    ("antiphon_capture_connects_total", "Times that capture began to stream"),
    ("antiphon_capture_bytes_total", "Bytes received from the source"),
    ("antiphon_capture_decode_errors_total", "Messages of the source that could not be understood"),
    ("antiphon_capture_snapshot_rows_total", "Rows that initial copies brought into the log"),
    ("antiphon_capture_snapshot_failures_total", "Chunks of initial copies that failed"),
    ("antiphon_log_activities_total", "Activities made durable"),
    ("antiphon_log_bytes_total", "Bytes of activities made durable"),
    ("antiphon_log_flushes_total", "Flushes of the activity log"),
    ("antiphon_auth_refusals_total", "Tokens and tickets that were refused, by reason"),
    ("antiphon_auth_key_fetches_total", "Times that the identity provider's keys were fetched"),
    ("antiphon_membership_refusals_total", "Requests for an organisation that the caller is no member of"),
    ("antiphon_streams_refused_total", "Streams refused because the organisation has too many"),
    ("antiphon_stream_changes_total", "Activities delivered on streams"),
    ("antiphon_stream_bytes_total", "Bytes delivered on streams"),
    ("antiphon_stream_stalled_total", "Streams dropped because their socket took nothing"),
    ("antiphon_stream_notices_total", "Streams ended with a notice, by reason"),
    ("antiphon_http_requests_total", "Requests answered, by status class"),
];

/// Every gauge with its meaning.
const GAUGES: &[(&str, &str)] = &[
    ("antiphon_capture_streaming", "1 while the source is streamed with nothing waiting"),
    ("antiphon_capture_slot_lag_bytes", "Log of the source behind what the slot has confirmed"),
    ("antiphon_streams_open", "Open streams"),
    ("antiphon_ring_activities", "Activities held in memory for readers"),
    ("antiphon_ring_bytes", "Bytes held in memory for readers"),
    ("antiphon_log_durable_activity", "The last activity that readers may see"),
];

/// Installs the recorder once for the process and returns how to read it; `None` where another one is installed.
pub(crate) fn install() -> Option<PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE.get_or_init(make).clone()
}

fn make() -> Option<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("antiphon_capture_lag_ms".into()), LAG_MS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Full("antiphon_log_flush_seconds".into()), FLUSH_SECONDS)
        });
    let handle = builder.ok()?.install_recorder().ok()?;
    for (name, meaning) in COUNTERS {
        metrics::describe_counter!(*name, *meaning);
    }
    for (name, meaning) in GAUGES {
        metrics::describe_gauge!(*name, *meaning);
    }
    metrics::describe_histogram!(
        "antiphon_capture_lag_ms",
        "Milliseconds from commit in the source to durable in the log"
    );
    metrics::describe_histogram!("antiphon_log_flush_seconds", "Seconds that a flush of the log took");
    Some(handle)
}
