//! Whether an edit may be applied to a row as it stands: one function for server and clients (house 1, 3).
//!
//! Laws: an edit is compared with the newest id of its field (a delete with the row's) under the row's lock; null passes
//! only where there is no id; operations on counters and sets never conflict. No strategy lives here: a mismatch is a
//! conflict, and who resolves it is the client's business.

use antiphon_model::TransactionId;

/// An id may lie so far ahead of the server's clock, in milliseconds.
pub const AHEAD_MAX_MS: u64 = 5 * 60 * 1_000;
/// An id may be so old, in milliseconds: as long as records are kept.
pub const OLD_MAX_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// What is to be done with an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be applied.
    Apply,
    /// The field, or the row, has another id than expected; `None` where it has none.
    Conflict {
        /// The newest id.
        newest: Option<String>,
    },
    /// The edit's id is not above the one that it expects.
    ClockBehind,
    /// The edit's id lies too far in the future.
    ClockAhead,
    /// The edit is older than the records that would show whether it was applied.
    TooOld,
}

/// Judges an edit's id by the clock and by what it expects, before anything is read.
pub fn judge_clock(id: &TransactionId, expected: Option<&str>, now_ms: u64) -> Verdict {
    if id.wall_ms() > now_ms.saturating_add(AHEAD_MAX_MS) {
        return Verdict::ClockAhead;
    }
    if id.wall_ms() < now_ms.saturating_sub(OLD_MAX_MS) {
        return Verdict::TooOld;
    }
    match expected {
        Some(expected) if id.as_str() <= expected => Verdict::ClockBehind,
        _ => Verdict::Apply,
    }
}

/// Compares what an edit expects with the newest id.
pub fn judge(expected: Option<&str>, newest: Option<&str>) -> Verdict {
    if expected == newest {
        return Verdict::Apply;
    }
    Verdict::Conflict { newest: newest.map(str::to_owned) }
}

/// Adds elements to a set and removes others; the order of those that stay is kept, and each is there once.
pub fn elements<T: Clone + PartialEq>(present: &[T], add: &[T], remove: &[T]) -> Vec<T> {
    let mut result: Vec<T> = Vec::new();
    for element in present.iter().filter(|element| !remove.contains(element)).chain(add) {
        if !result.contains(element) {
            result.push(element.clone());
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_769_860_800_000;

    fn id(wall_ms: u64) -> TransactionId {
        TransactionId::new(wall_ms, 0, "n").unwrap()
    }

    #[test]
    fn clocks_are_bounded_on_both_sides_sy_23_mut_06() {
        for (wall, expected, verdict) in [
            (NOW, None, Verdict::Apply),
            (NOW + AHEAD_MAX_MS, None, Verdict::Apply),
            (NOW + AHEAD_MAX_MS + 1, None, Verdict::ClockAhead),
            (NOW - OLD_MAX_MS, None, Verdict::Apply),
            (NOW - OLD_MAX_MS - 1, None, Verdict::TooOld),
            (NOW, Some(NOW - 1), Verdict::Apply),
            (NOW, Some(NOW), Verdict::ClockBehind),
            (NOW, Some(NOW + 1), Verdict::ClockBehind),
        ] {
            let expected = expected.map(id);
            let expected = expected.as_ref().map(TransactionId::as_str);
            assert_eq!(judge_clock(&id(wall), expected, NOW), verdict, "{wall}");
        }
    }

    #[test]
    fn null_passes_only_where_there_is_no_id_mut_03() {
        assert_eq!(judge(None, None), Verdict::Apply);
        assert_eq!(judge(Some("1"), Some("1")), Verdict::Apply);
        assert_eq!(judge(None, Some("1")), Verdict::Conflict { newest: Some("1".into()) });
        assert_eq!(judge(Some("1"), None), Verdict::Conflict { newest: None });
        assert_eq!(judge(Some("1"), Some("2")), Verdict::Conflict { newest: Some("2".into()) });
    }

    #[test]
    fn elements_are_in_once_and_in_order() {
        let present = [json!("a"), json!("b"), json!("c")];
        let result = elements(&present, &[json!("d"), json!("a")], &[json!("b")]);
        assert_eq!(result, [json!("a"), json!("c"), json!("d")]);
        assert_eq!(elements(&[json!("x")], &[json!("x")], &[json!("x")]), [json!("x")]);
    }
}
