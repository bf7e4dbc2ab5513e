//! The metrics of the process: one recorder, and what each name means.
//!
//! Names of other rooms are described here too, so that `/metrics` explains all that it shows.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Bounds of the histogram of capture lag, in milliseconds.
const LAG_MS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 5_000.0, 30_000.0, 300_000.0];
/// Bounds of the histogram of flushes, in seconds.
const FLUSH_SECONDS: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Bounds of the histogram of the send path, in seconds; the goal is a p99 of 0.25.
const SEND_SECONDS: &[f64] = &[0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 10.0];
/// Bounds of the histogram of delivery lag, in seconds.
const DELIVERY_SECONDS: &[f64] = &[0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];
/// Bounds of the histogram of streams that one batch wakes.
const FANOUT_STREAMS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0, 10_000.0];
/// Bounds for the poll of a table: an index's few pages, or a whole table.
const POLL_SECONDS: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];
/// Every histogram with its bounds and its meaning.
const HISTOGRAMS: &[(&str, &[f64], &str)] = &[
    ("antiphon_capture_lag_ms", LAG_MS, "Milliseconds from commit in the source to durable in the log"),
    ("antiphon_log_flush_seconds", FLUSH_SECONDS, "Seconds that a flush of the log took"),
    ("antiphon_send_path_seconds", SEND_SECONDS, "Seconds from frames that are ready to bytes that the socket took"),
    ("antiphon_delivery_lag_seconds", DELIVERY_SECONDS, "Seconds from commit in the source to the frame of a stream"),
    ("antiphon_capture_query_poll_seconds", POLL_SECONDS, "Seconds that the poll of a table took, by table"),
    ("antiphon_fanout_streams", FANOUT_STREAMS, "Streams of an organisation that a batch of activities wakes"),
];

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
    ("antiphon_notices_published_total", "Hints of new activities that were told to other servers"),
    ("antiphon_notices_failed_total", "Hints of new activities that could not be told; readers elsewhere wait longer"),
    ("antiphon_notices_heard_total", "Hints of new activities that were heard, this server's own among them"),
    ("antiphon_notices_refused_total", "Notifications on our channel that are no hints"),
    ("antiphon_notices_listens_total", "Times that listening for hints began"),
    ("antiphon_auth_refusals_total", "Tokens and tickets that were refused, by reason"),
    ("antiphon_auth_throttled_total", "Refused tokens that were answered 429: too many came from their address"),
    ("antiphon_auth_key_fetches_total", "Times that the identity provider's keys were fetched"),
    ("antiphon_membership_refusals_total", "Requests for an organisation that the caller is no member of"),
    ("antiphon_streams_refused_total", "Streams refused because the organisation has too many"),
    ("antiphon_stream_changes_total", "Activities delivered on streams"),
    ("antiphon_stream_bytes_total", "Bytes delivered on streams"),
    ("antiphon_stream_stalled_total", "Streams dropped because their socket took nothing"),
    ("antiphon_stream_notices_total", "Streams ended with a notice, by reason"),
    ("antiphon_stream_throttled_total", "Waits of streams for credit or for their byte rate"),
    ("antiphon_ws_messages_in_total", "Messages that came over WebSockets"),
    ("antiphon_ws_messages_out_total", "Messages sent over WebSockets"),
    ("antiphon_ws_messages_dropped_total", "Messages dropped because they came too fast"),
    ("antiphon_ws_bytes_in_total", "Bytes of messages that came over WebSockets"),
    ("antiphon_ws_bytes_out_total", "Bytes of messages sent over WebSockets"),
    ("antiphon_idle_disconnects_total", "WebSockets closed because nothing came"),
    ("antiphon_half_open_disconnects_total", "WebSockets closed because pings were not answered"),
    ("antiphon_origin_refusals_total", "WebSockets closed because of the page's origin"),
    ("antiphon_mutations_total", "Edits, by outcome"),
    ("antiphon_mutations_refused_total", "Edits that were refused, by code"),
    ("antiphon_capture_messages_refused_total", "Messages with our prefix that this installation did not write"),
    ("antiphon_capture_query_rows_read_total", "Rows that polls have read, by table"),
    ("antiphon_capture_query_late_rows_total", "Polled rows that committed behind the highest value read, by table"),
    ("antiphon_capture_query_missed_deletes_total", "Deletes that only a reconciliation found, by table"),
    ("antiphon_capture_query_missed_updates_total", "Other changes that only a reconciliation found, by table"),
    ("antiphon_capture_query_clock_steps_total", "Times that the clock of a polled source stepped back"),
    ("antiphon_capture_resent_transactions_total", "Transactions that the source sent again"),
    ("antiphon_capture_reconnects_total", "Times that the connection to the source was made again"),
    ("antiphon_directory_lookups_total", "Questions to the directory that no cache answered, by what is asked"),
    ("antiphon_http_requests_total", "Requests answered, by status class"),
];

/// Every gauge with its meaning.
const GAUGES: &[(&str, &str)] = &[
    ("antiphon_capture_streaming", "1 while the source is streamed with nothing waiting"),
    ("antiphon_capture_state", "1 for the state that the source is in, 0 for the others"),
    ("antiphon_capture_slot_lag_bytes", "Log of the source behind what the slot has confirmed"),
    ("antiphon_streams_open", "Open streams, by transport"),
    ("antiphon_websockets_open", "Open WebSockets"),
    ("antiphon_capture_waiting_bytes", "Bytes that capture holds until they are mapped"),
    ("antiphon_capture_spool_bytes", "Bytes of large transactions that wait for their commit"),
    ("antiphon_capture_horizon_held_seconds", "How long the oldest open transaction has held back capture by triggers"),
    ("antiphon_capture_horizon_held_transactions", "Transactions that began since that one did"),
    (
        "antiphon_capture_query_window_open_seconds",
        "How long the oldest open transaction has polls read the same rows again",
    ),
    ("antiphon_capture_query_unpollable_rows", "Rows without a value of the cursor, by table, up to 10000"),
    ("antiphon_capture_query_reconcile_rows_per_second", "How fast the newest reconciliation reads, by table"),
    ("antiphon_capture_unpublished_tables", "Declared tables that the publication lacks"),
    ("antiphon_capture_slot_safe_wal_bytes", "Log that may still be written before the slot is lost"),
    ("antiphon_capture_slot_retained_bytes", "Log that the slot keeps"),
    ("antiphon_capture_slot_catalog_xmin_age", "Transactions since the oldest row version that the slot keeps"),
    ("antiphon_failover_ready", "1 while a standby could take over and capture go on without a gap"),
    ("antiphon_failover_standbys", "Standbys that are known"),
    ("antiphon_failover_lack", "How often each step to a ready standby is missing"),
    ("antiphon_capture_snapshot_tables", "Tables whose copies are under way, by state, and those complete beside them"),
    ("antiphon_capture_snapshot_rows_done", "Rows that copies under way have brought"),
    ("antiphon_capture_snapshot_rows_estimated", "Rows that they will have brought, as far as is known now"),
    ("antiphon_capture_snapshot_seconds_left", "Seconds until the copies are complete; infinite where nobody can tell"),
    ("antiphon_mirror_state", "1 for the state that a mirror is in"),
    ("antiphon_mirror_behind_activities", "Activities that a mirror has not written"),
    ("antiphon_mirror_lag_seconds", "How long behind a mirror is, by the source's clock"),
    ("antiphon_mirror_rows_total", "Rows that a mirror wrote and deleted"),
    ("antiphon_mirror_commits_total", "Transactions that a mirror committed"),
    ("antiphon_mirror_activities_total", "Activities that a mirror wrote"),
    ("antiphon_mirror_failures_total", "Failures of a mirror, by code"),
    ("antiphon_mirror_beginnings_total", "How often a mirror listed its rows anew"),
    ("antiphon_source_concerns", "What needs somebody at the source, by the name of the state"),
    (
        "antiphon_source_seconds_until_loss",
        "Seconds until the slot is lost at the present rate of log; infinite without",
    ),
    ("antiphon_source_log_bytes_per_second", "How fast the source writes its log"),
    ("antiphon_source_oldest_transaction_seconds", "How long the oldest transaction of the source has been open"),
    ("antiphon_ring_activities", "Activities held in memory for readers"),
    ("antiphon_ring_bytes", "Bytes held in memory for readers"),
    ("antiphon_notices_listening", "1 while hints of other servers are heard"),
    ("antiphon_log_durable_activity", "The last activity that readers may see"),
    ("antiphon_log_size_bytes", "What the activity log takes on disk, with its indexes"),
    ("process_resident_memory_bytes", "Memory that the process holds"),
    ("process_cpu_seconds_total", "Processor time that the process has used"),
    ("process_open_fds", "Files and sockets that the process has open"),
    ("process_max_fds", "So many files and sockets the process may have open"),
];

/// Installs the recorder once for the process and returns how to read it; `None` where another one is installed.
pub(crate) fn install() -> Option<PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE.get_or_init(make).clone()
}

fn make() -> Option<PrometheusHandle> {
    let mut builder = PrometheusBuilder::new();
    for (name, bounds, _) in HISTOGRAMS {
        builder = builder.set_buckets_for_metric(Matcher::Full((*name).into()), bounds).ok()?;
    }
    let handle = builder.install_recorder().ok()?;
    for (name, meaning) in COUNTERS {
        metrics::describe_counter!(*name, *meaning);
    }
    for (name, meaning) in GAUGES {
        metrics::describe_gauge!(*name, *meaning);
    }
    for (name, _, meaning) in HISTOGRAMS {
        metrics::describe_histogram!(*name, *meaning);
    }
    Some(handle)
}

#[cfg(test)]
mod watched;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Finds the names of metrics in the sources of a folder.
    fn names(folder: &Path, into: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                names(&path, into);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let found = text.split("metrics::").skip(1).filter_map(|rest| {
                    let (kind, rest) = rest.split_once("!(\"")?;
                    let known = ["counter", "gauge", "histogram"].contains(&kind);
                    known.then(|| rest.split('"').next().unwrap_or_default().to_owned())
                });
                into.extend(found);
            }
        }
    }

    #[test]
    fn every_metric_is_described_str_07() {
        let mut used = Vec::new();
        for room in ["engine", "postgres", "store", "server"] {
            names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(room).join("src"), &mut used);
        }
        assert!(used.len() > 40, "{}", used.len());
        let described = COUNTERS.iter().chain(GAUGES).map(|(name, _)| *name);
        let described: Vec<&str> = described.chain(HISTOGRAMS.iter().map(|(name, ..)| *name)).collect();
        for name in used {
            assert!(described.contains(&name.as_str()), "{name} is not described");
        }
    }
}
