//! The copies of tables for people and machines: how far, how fast, how long still, and what hinders one (CAP-21).
//!
//! One that fails is shown with its reason and remedy beside the others, which go on (CAP-22): the source itself is not
//! blocked by it. Figures are those of the server that captures; another server shows none.

use antiphon_engine::{CopyState, CopyStatus};
use serde_json::{Value, json};

/// Describes copies for administrators.
pub(crate) fn describe(copies: &[CopyStatus]) -> Value {
    copies.iter().map(one).collect()
}

fn one(copy: &CopyStatus) -> Value {
    let (progress, trouble) = (&copy.progress, copy.trouble.as_ref());
    let code = trouble.map(|trouble| trouble.code);
    json!({
        "entityType": progress.entity_type,
        "state": copy.state.as_str(),
        "rowsDone": progress.rows_done,
        "rowsEstimated": progress.rows_estimated,
        "rowsPerSecond": progress.rows_per_second,
        "secondsLeft": progress.seconds_left(),
        "failure": progress.failure,
        "reason": code,
        "title": code.map(antiphon_model::Code::title),
        "hint": code.map(antiphon_model::Code::hint),
        "detail": trouble.map(|trouble| trouble.detail.as_str()),
        "attempts": trouble.map_or(0, |trouble| trouble.attempts),
    })
}

/// Tells, without particulars, that somebody is needed; whoever asks for readiness has no name.
pub(crate) fn need(copies: &[CopyStatus]) -> Option<Value> {
    let failed = copies.iter().any(|copy| copy.state == CopyState::Failed);
    failed.then(|| json!({ "state": "copy_failed", "level": "warning", "title": "the copy of a table fails" }))
}

/// Sets the gauges.
pub(crate) fn measure(copies: &[CopyStatus]) {
    for state in CopyState::ALL {
        let tables = copies.iter().filter(|copy| copy.state == state).count();
        metrics::gauge!("antiphon_capture_snapshot_tables", "copy" => state.as_str()).set(tables as f64);
    }
    let sum = |figure: fn(&CopyStatus) -> u64| copies.iter().map(figure).sum::<u64>();
    let (done, estimated) = (sum(|copy| copy.progress.rows_done), sum(|copy| copy.progress.rows_estimated));
    metrics::gauge!("antiphon_capture_snapshot_rows_done").set(done as f64);
    metrics::gauge!("antiphon_capture_snapshot_rows_estimated").set(estimated as f64);
    metrics::gauge!("antiphon_capture_snapshot_seconds_left").set(seconds_left(copies));
}

/// Returns how long all that do not fail take together; infinite where nobody can tell.
fn seconds_left(copies: &[CopyStatus]) -> f64 {
    let open = || copies.iter().filter(|copy| !matches!(copy.state, CopyState::Complete | CopyState::Failed));
    if open().next().is_none() {
        return 0.0;
    }
    let rate: u64 = open().map(|copy| copy.progress.rows_per_second).sum();
    let left = |copy: &CopyStatus| copy.progress.rows_estimated.saturating_sub(copy.progress.rows_done);
    match (rate, open().map(left).sum::<u64>()) {
        (0, _) | (_, 0) => f64::INFINITY,
        (rate, rows) => rows.div_ceil(rate) as f64,
    }
}

#[cfg(test)]
mod tests {
    use antiphon_engine::{CopyTrouble, ports::SnapshotProgress};
    use antiphon_model::Code;

    use super::*;

    fn copy(state: CopyState, done: u64, estimated: u64, rate: u64) -> CopyStatus {
        let progress = SnapshotProgress {
            rows_done: done,
            rows_estimated: estimated,
            rows_per_second: rate,
            complete: state == CopyState::Complete,
            ..SnapshotProgress::fresh("task")
        };
        CopyStatus { progress, state, trouble: None }
    }

    #[test]
    fn time_left_is_that_of_all_copies_together_without_those_that_fail_cap_21() {
        assert_eq!(seconds_left(&[]), 0.0);
        let complete = copy(CopyState::Complete, 5, 5, 0);
        let failed = copy(CopyState::Failed, 0, 1_000_000, 0);
        assert_eq!(seconds_left(&[complete.clone(), failed.clone()]), 0.0);
        let (copying, queued) = (copy(CopyState::Copying, 100, 300, 10), copy(CopyState::Queued, 0, 50, 0));
        assert_eq!(seconds_left(&[complete, failed, copying, queued.clone()]), 25.0);
        assert_eq!(seconds_left(&[queued]), f64::INFINITY);
    }

    #[test]
    fn a_copy_that_fails_is_shown_with_reason_and_remedy_cap_22() {
        let mut failed = copy(CopyState::Failed, 7, 9, 0);
        failed.trouble = Some(CopyTrouble { code: Code::Permission, detail: "no select on t".into(), attempts: 3 });
        let shown = describe(&[failed.clone()]);
        assert_eq!(shown[0]["reason"], "PERMISSION");
        assert_eq!(shown[0]["detail"], "no select on t");
        assert_eq!(shown[0]["attempts"], 3);
        assert!(shown[0]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{shown}");
        assert!(need(&[failed]).is_some_and(|need| need["state"] == "copy_failed"));
        assert_eq!(need(&[copy(CopyState::Retrying, 7, 9, 0)]), None);
    }
}
