//! The window of a table's copy: what changed between reading a chunk and its high watermark (CAP-20).
//!
//! Law: a copied row enters the log at the high watermark only if no change that its snapshot does not see touched it;
//! such a change is in the stream already and newer. Where that change lacked unchanged values, the row is read again,
//! so that no row is ever dropped in favour of a partial one (hazard 6 of TOAST).

use std::collections::{HashMap, HashSet};

use antiphon_model::{Visibility, Xid};

/// A window notes so many changes at most; with more it is of no use, and the chunk is read again.
const TOUCHES_MAX: usize = 200_000;

/// What touched the rows of one table since the reading of a chunk began.
#[derive(Debug, Default)]
pub(crate) struct Window {
    touched: HashMap<String, Vec<(Xid, bool)>>,
    truncated: Vec<Xid>,
    /// The rows of the chunk, once they are known.
    chunk: Option<HashSet<String>>,
    touches: usize,
}

/// What becomes of a copied row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is the newest there is.
    Fresh,
    /// The stream has a newer, whole one (or its deletion).
    Stale,
    /// The stream has a newer one that lacks unchanged values.
    ReadAgain,
}

impl Window {
    /// Notes that a transaction changed a row; `whole` tells whether the change carries every value (or deletes it).
    pub(crate) fn touch(&mut self, entity_id: String, xid: Xid, whole: bool) {
        if self.overflowed() || self.chunk.as_ref().is_some_and(|chunk| !chunk.contains(&entity_id)) {
            return;
        }
        self.touches += 1;
        if self.overflowed() {
            self.touched = HashMap::new();
        } else {
            self.touched.entry(entity_id).or_default().push((xid, whole));
        }
    }

    /// Tells whether more happened than could be noted: then nothing can be said of any row.
    pub(crate) fn overflowed(&self) -> bool {
        self.touches > TOUCHES_MAX
    }

    /// Tells whether the chunk's rows are known.
    pub(crate) fn narrowed(&self) -> bool {
        self.chunk.is_some()
    }

    /// Notes from now on only what touches these rows, and forgets the others.
    pub(crate) fn narrow(&mut self, chunk: HashSet<String>) {
        self.touched.retain(|id, _| chunk.contains(id));
        self.touches = if self.overflowed() { self.touches } else { self.touched.values().map(Vec::len).sum() };
        self.chunk = Some(chunk);
    }

    /// Notes that a transaction emptied the table.
    pub(crate) fn truncate(&mut self, xid: Xid) {
        self.truncated.push(xid);
    }

    /// Decides about a row read under `visibility`.
    pub(crate) fn settle(&self, entity_id: &str, visibility: &Visibility) -> Settled {
        if self.truncated.iter().any(|xid| !visibility.sees(*xid)) {
            return Settled::Stale;
        }
        let newer = self.touched.get(entity_id).into_iter().flatten().filter(|(xid, _)| !visibility.sees(*xid));
        // One partial change suffices: a later whole one makes reading again superfluous, not wrong.
        match newer.map(|(_, whole)| *whole).reduce(|all, whole| all && whole) {
            None => Settled::Fresh,
            Some(true) => Settled::Stale,
            Some(false) => Settled::ReadAgain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_that_the_snapshot_does_not_see_outdate_a_copied_row_cap_20() {
        let visibility: Visibility = "10:20:12".parse().unwrap();
        let mut window = Window::default();
        window.touch("seen".into(), Xid::new(11), true);
        window.touch("running".into(), Xid::new(12), true);
        window.touch("later".into(), Xid::new(20), true);
        window.touch("partial".into(), Xid::new(21), false);
        window.touch("partial".into(), Xid::new(11), true);
        for (id, settled) in [
            ("untouched", Settled::Fresh),
            ("seen", Settled::Fresh),
            ("running", Settled::Stale),
            ("later", Settled::Stale),
            ("partial", Settled::ReadAgain),
        ] {
            assert_eq!(window.settle(id, &visibility), settled, "{id}");
        }
        window.truncate(Xid::new(30));
        assert_eq!(window.settle("untouched", &visibility), Settled::Stale);
    }

    #[test]
    fn a_window_notes_no_more_than_the_chunk_needs_and_says_where_it_was_too_much_cap_17() {
        let visibility: Visibility = "10:20:".parse().unwrap();
        let mut window = Window::default();
        for n in 0..1_000 {
            window.touch(format!("{n}"), Xid::new(21), true);
        }
        window.narrow(["5".to_owned(), "2000".to_owned()].into());
        assert_eq!((window.touched.len(), window.narrowed(), window.overflowed()), (1, true, false));
        for n in 0..2 * TOUCHES_MAX {
            window.touch(format!("{n}"), Xid::new(22), true);
        }
        assert_eq!((window.touched.len(), window.overflowed()), (2, false));
        assert_eq!(window.settle("2000", &visibility), Settled::Stale);
        let mut flooded = Window::default();
        for n in 0..=TOUCHES_MAX {
            flooded.touch(format!("{n}"), Xid::new(22), true);
        }
        assert!(flooded.overflowed() && flooded.touched.is_empty());
        flooded.narrow(HashSet::new());
        assert!(flooded.overflowed(), "it is not forgotten");
    }
}
