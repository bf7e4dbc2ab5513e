//! Which frames, answers and states a batch of seeds has reached, and which it ought to reach (SIM-05).
//!
//! Law: looking changes nothing of a run; what ought to be reached and was not is printed, because a promise that is
//! never put to the test is not kept by passing.

use std::collections::BTreeMap;

use antiphon_model::{Code, SourceStatus};

/// How often each cell was reached.
pub type Reached = BTreeMap<String, u64>;

/// The cells that a batch of some hundred seeds reaches.
pub const EXPECTED: &[&str] = &[
    "capture catching_up",
    "capture retrying FENCED",
    "capture retrying LEASE_HELD",
    "capture retrying LOG_UNREACHABLE",
    "capture retrying SLOT_IN_USE",
    "capture retrying SOURCE_UNREACHABLE",
    "capture snapshotting",
    "capture streaming",
    "edit aborted",
    "edit applied",
    "edit conflict FIELD_CONFLICT",
    "edit duplicate",
    "edit rejected ALREADY_EXISTS",
    "edit rejected CLOCK_BEHIND",
    "edit rejected FIELD_FORBIDDEN",
    "edit rejected FORBIDDEN",
    "edit rejected NOT_FOUND",
    "frame change create",
    "frame change delete",
    "frame change update",
    "frame confirm",
    "frame notice access_revoked",
    "frame notice shutdown",
    "frame offset",
    "frame reset ACCESS_CHANGED",
    "frame reset EPOCH_CHANGED",
    "frame reset OFFSET_EXPIRED",
    "stream refused 403 NOT_A_MEMBER",
    "stream refused 410 ACCESS_CHANGED",
    "stream refused 410 EPOCH_CHANGED",
    "stream refused 410 OFFSET_EXPIRED",
];

/// Returns the cells that were expected and not reached.
pub fn missing(reached: &Reached) -> Vec<&'static str> {
    EXPECTED.iter().copied().filter(|cell| !reached.contains_key(*cell)).collect()
}

/// Names the state of a capture.
pub(crate) fn of_capture(status: &SourceStatus) -> String {
    match status.reason {
        Some(reason) => format!("capture {} {reason}", status.state.as_str()),
        None => format!("capture {}", status.state.as_str()),
    }
}

/// Tells whether a capture says something that no fault from outside can lead to.
pub(crate) fn impossible(status: &SourceStatus) -> bool {
    matches!(status.reason, Some(Code::SlotAdvanced | Code::DecodeFailed | Code::Internal | Code::LogCorrupt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_reached_is_named_sim_05() {
        let mut reached: Reached = EXPECTED.iter().map(|cell| ((*cell).to_owned(), 1)).collect();
        assert_eq!(missing(&reached), [""; 0]);
        reached.remove("frame confirm");
        assert_eq!(missing(&reached), ["frame confirm"]);
    }
}
