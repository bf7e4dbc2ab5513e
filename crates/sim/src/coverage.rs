//! Which frames, answers and states a batch of seeds has reached, and which it ought to reach (SIM-05).
//!
//! Law: looking changes nothing of a run; what ought to be reached and was not is printed, because a promise that is
//! never put to the test is not kept by passing.

use std::collections::BTreeMap;

use antiphon_model::{Code, SourceStatus};
use antiphon_sync::client::{Client, Event, Network, State, Step, step};

use crate::{Counts, chaos};

/// How often each cell was reached.
pub type Reached = BTreeMap<String, u64>;

/// What goes wrong besides what is done on purpose.
const FAULTS: &[&str] = &[
    "answer lost",
    "device clock jumped",
    "device copied",
    "device died",
    "device full",
    "device of a newer format",
    "device offline",
    "device wiped",
    "edit of poison",
    "request doubled",
    "request lost",
    "slow link",
    "sql commit unanswered",
    "stream cut",
    "stream half open",
];

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

/// What comes to a client, by how its stream and its lists stand.
const CLIENT: &[(&str, &[&str])] = &[
    ("stream connecting", &["change", "ended", "ended 503", "offset", "reset"]),
    ("stream online", &["beat", "change", "confirm", "ended", "notice", "offset", "reset"]),
    ("stream offline", &["change", "ended", "ended 403", "ended 503", "offset", "reset"]),
    ("stream refused", &["change", "ended", "ended 403", "ended 503", "offset", "reset"]),
    ("lists first", &["answered 200", "answered 403", "answered 503", "not saved", "saved", "unanswered"]),
    ("lists again", &["answered 200", "answered 403", "answered 503", "not saved", "saved", "unanswered"]),
    ("lists whole", &["answered 200", "answered 400", "answered 403", "answered 500", "answered 503", "unanswered"]),
];

/// Cells that no run reaches, and why.
pub const EXPLAINED: &[(&str, &str)] = &[
    ("stream refused ended 403", "who is refused asks for the schema, which says why, before the stream"),
    ("entry pending Retried", "no verb retries what is pending: it goes by itself"),
    ("entry failed Rebased", "what failed is not on its way, so no answer speaks of it"),
    ("entry failed Disputed", "what failed is not on its way, so no answer speaks of it"),
    ("entry failed Refused", "what failed is not on its way, so no answer speaks of it"),
];

/// What a batch did not reach.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreached {
    /// Cells that ought to be reached.
    pub cells: Vec<String>,
    /// How many are expected.
    pub expected: usize,
    /// Cells that are not expected, and why.
    pub explained: Vec<(&'static str, &'static str)>,
}

/// Returns the cells and fault kinds that were expected and not reached.
pub fn missing(reached: &Reached, counts: &Counts) -> Unreached {
    let entries = State::ALL.into_iter().flat_map(|state| Event::ALL.into_iter().map(move |event| (state, event)));
    let entries = entries.filter(|(state, event)| step(*state, *event) != Step::Never);
    let kinds = chaos::KINDS.iter().map(|(kind, _)| *kind).chain(FAULTS.iter().copied());
    let mut cells: Vec<String> = EXPECTED.iter().map(|cell| (*cell).to_owned()).collect();
    cells.extend(CLIENT.iter().flat_map(|(state, events)| events.iter().map(move |event| format!("{state} {event}"))));
    cells.extend(entries.map(|(state, event)| of_entry(state, event)));
    cells.extend(kinds.clone().map(|kind| format!("fault {kind}")));
    let explained: Vec<(&str, &str)> =
        EXPLAINED.iter().copied().filter(|(cell, _)| !reached.contains_key(*cell)).collect();
    cells.retain(|cell| !EXPLAINED.iter().any(|(known, _)| known == cell));
    let expected = cells.len();
    cells.retain(|cell| match cell.strip_prefix("fault ") {
        Some(kind) => !counts.contains_key(kind),
        None => !reached.contains_key(cell),
    });
    Unreached { cells, expected, explained }
}

/// Names a cell of the client's table.
pub(crate) fn of_entry(state: State, event: Event) -> String {
    format!("entry {} {event:?}", state.as_str())
}

/// Names what came to a client, and how its stream and its lists stood.
pub(crate) fn of_client(client: &Client, came: &str) -> [String; 2] {
    let status = client.status();
    let stream = match status.network {
        Network::Connecting => "connecting",
        Network::Online => "online",
        Network::Offline => "offline",
        Network::Refused(_) => "refused",
    };
    let lists = match (status.listed, client.position().0) {
        (true, _) => "whole",
        (false, 0) => "first",
        (false, _) => "again",
    };
    [format!("stream {stream} {came}"), format!("lists {lists} {came}")]
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
        let none = missing(&Reached::new(), &Counts::new());
        let mut reached: Reached = none.cells.iter().map(|cell| (cell.clone(), 1)).collect();
        let faults = none.cells.iter().filter_map(|cell| cell.strip_prefix("fault "));
        let faults: Vec<&'static str> =
            faults.filter_map(|kind| FAULTS.iter().copied().find(|known| *known == kind)).collect();
        let mut counts: Counts = faults.into_iter().map(|kind| (kind, 1)).collect();
        counts.extend(chaos::KINDS.iter().map(|(kind, _)| (*kind, 1)));
        assert_eq!(missing(&reached, &counts).cells, [""; 0]);
        assert!(reached.contains_key("entry sent Applied") && !reached.contains_key("entry accepted Applied"));
        reached.remove("frame confirm");
        counts.remove("device died");
        assert_eq!(missing(&reached, &counts).cells, ["frame confirm", "fault device died"]);
    }
}
