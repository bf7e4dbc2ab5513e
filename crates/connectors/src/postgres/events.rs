//! What happens to a mirror, as log lines and metrics in one place.
//!
//! Labels are a mirror's name, of which the configuration holds few, and closed sets of words.

use antiphon_engine::Fault;

use super::MirrorState;

/// It does something else now.
pub(super) fn entered(name: &str, state: MirrorState) {
    tracing::info!(mirror.name = name, state = state.as_str(), "the mirror {name} is {}", state.as_str());
}

/// It failed; `news`: with another reason than before.
pub(super) fn failed(name: &str, state: MirrorState, fault: &Fault, news: bool) {
    let code = fault.code().as_str();
    metrics::counter!("antiphon_mirror_failures_total", "mirror" => name.to_owned(), "code" => code).increment(1);
    match (state, news) {
        (MirrorState::Blocked, true) => tracing::error!(
            mirror.name = name, code, error = %fault.chain(),
            "the mirror {name} has stopped: {fault}; {}", fault.code().hint()
        ),
        (MirrorState::StandingBy, true) => tracing::info!(mirror.name = name, "the mirror {name} stands by: {fault}"),
        (_, true) => {
            tracing::warn!(mirror.name = name, code, error = %fault.chain(), "the mirror {name} failed and is tried again");
        }
        (_, false) => {
            tracing::debug!(mirror.name = name, code, error = %fault.chain(), "the mirror {name} failed again")
        }
    }
}

/// It began anew.
pub(super) fn began_anew(name: &str, why: &str) {
    metrics::counter!("antiphon_mirror_beginnings_total", "mirror" => name.to_owned()).increment(1);
    tracing::warn!(mirror.name = name, "the mirror {name} begins anew: {why}; its rows are listed again");
}

/// A table's initial rows are in place.
pub(super) fn listed(name: &str, entity_type: &str, rows: u64) {
    tracing::info!(mirror.name = name, entity_type, rows, "the mirror {name} has the rows of {entity_type}");
}

/// Rows were written and deleted.
pub(super) fn rows(name: &str, written: u64, deleted: u64) {
    for (kind, rows) in [("written", written), ("deleted", deleted)] {
        metrics::counter!("antiphon_mirror_rows_total", "mirror" => name.to_owned(), "kind" => kind).increment(rows);
    }
}

/// A transaction of the target was committed.
pub(super) fn committed(name: &str, activities: u64) {
    metrics::counter!("antiphon_mirror_commits_total", "mirror" => name.to_owned()).increment(1);
    metrics::counter!("antiphon_mirror_activities_total", "mirror" => name.to_owned()).increment(activities);
}
