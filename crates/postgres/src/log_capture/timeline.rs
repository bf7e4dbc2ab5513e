//! Which positions of an older timeline are part of the present one (PG-28, PG-29).
//!
//! A promoted standby begins a timeline and keeps the history up to a switch point; what the old primary wrote after
//! that point never existed there. Positions of different timelines are compared by way of this history only.

use antiphon_model::Lsn;

/// Reads a timeline's history file and returns up to where it contains a former timeline; `None` where it does not.
pub(super) fn contained_until(history: &str, timeline: u32) -> Option<Lsn> {
    history.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let found: u32 = words.next()?.parse().ok()?;
        let until: Lsn = words.next()?.parse().ok()?;
        (found == timeline).then_some(until)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_says_up_to_where_it_contains_a_former_timeline_pg_29() {
        let history =
            "1\t0/16B3748\tno recovery target specified\n\n# a comment\n3\t0/3000028\tat restore point \"x\"\n";
        assert_eq!(contained_until(history, 1), Some(Lsn::new(0x16B_3748)));
        assert_eq!(contained_until(history, 3), Some(Lsn::new(0x300_0028)));
        assert_eq!(contained_until(history, 2), None);
        assert_eq!(contained_until("", 1), None);
    }
}
