//! Groups the changes of both sides into stretches and judges each.
//!
//! Two changes belong to one stretch where no unchanged word of the base stands between them; spaces, marks and line
//! breaks do not count. That is the one word of context: what a side sees on the left and on the right of its change
//! is a word that the other side left as it was.

use std::ops::Range;

use super::{changes::Change, part, tokens::has_word};

/// The three texts that a merge is about.
pub(super) struct Texts<'a> {
    pub(super) base: &'a str,
    pub(super) mine: &'a str,
    pub(super) theirs: &'a str,
}

/// What becomes of a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Mine is taken: only I changed it, or both alike.
    Mine,
    /// Only the others changed it.
    Theirs,
    /// Both changed it, differently.
    Overlap,
}

/// A stretch of the base, in bytes, and what each side made of it.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub(super) base: Range<usize>,
    pub(super) mine: Range<usize>,
    pub(super) theirs: Range<usize>,
    pub(super) verdict: Verdict,
}

impl<'a> Texts<'a> {
    /// What stood there before.
    pub(super) fn base_of(&self, stretch: &Stretch) -> &'a str {
        part(self.base, stretch.base.clone())
    }

    /// What I made of it.
    pub(super) fn mine_of(&self, stretch: &Stretch) -> &'a str {
        part(self.mine, stretch.mine.clone())
    }

    /// What the others made of it.
    pub(super) fn theirs_of(&self, stretch: &Stretch) -> &'a str {
        part(self.theirs, stretch.theirs.clone())
    }

    /// The stretch with its verdict, from what the three texts are there.
    fn judged(&self, base: Range<usize>, mine: Range<usize>, theirs: Range<usize>) -> Stretch {
        let (before, ours, others) =
            (part(self.base, base.clone()), part(self.mine, mine.clone()), part(self.theirs, theirs.clone()));
        let verdict = if ours == others || others == before {
            Verdict::Mine
        } else if ours == before {
            Verdict::Theirs
        } else {
            Verdict::Overlap
        };
        Stretch { base, mine, theirs, verdict }
    }
}

/// One side's changes, read in order.
struct Side<'a> {
    changes: std::iter::Peekable<std::slice::Iter<'a, Change>>,
    /// Where the base and the side stand after the last change that was read.
    aligned: (usize, usize),
}

impl<'a> Side<'a> {
    fn new(changes: &'a [Change]) -> Self {
        Self { changes: changes.iter().peekable(), aligned: (0, 0) }
    }

    /// Where the next change begins in the base.
    fn next_start(&mut self) -> Option<usize> {
        self.changes.peek().map(|change| change.base.start)
    }

    /// Reads the next change; where it ends in the base.
    fn take(&mut self) -> usize {
        if let Some(change) = self.changes.next() {
            self.aligned = (change.base.end, change.side.end);
        }
        self.aligned.0
    }

    /// Where the side stands at a position of the base that lies in unchanged text after the last change.
    fn at(&self, base: usize) -> usize {
        self.aligned.1 + (base - self.aligned.0)
    }
}

/// The stretches that were changed, in order and apart.
pub(super) fn stretches(texts: &Texts<'_>, mine: &[Change], theirs: &[Change]) -> Vec<Stretch> {
    let (mut mine, mut theirs) = (Side::new(mine), Side::new(theirs));
    let mut stretches = Vec::new();
    while let Some(start) = first(&mut mine, &mut theirs) {
        let (mine_start, theirs_start) = (mine.at(start), theirs.at(start));
        let mut end = start;
        while let Some(next) = first(&mut mine, &mut theirs) {
            if next > end && has_word(part(texts.base, end..next)) {
                break;
            }
            let side = if mine.next_start() == Some(next) { &mut mine } else { &mut theirs };
            end = end.max(side.take());
        }
        stretches.push(texts.judged(start..end, mine_start..mine.at(end), theirs_start..theirs.at(end)));
    }
    stretches
}

/// Where the next change of either side begins.
fn first(mine: &mut Side<'_>, theirs: &mut Side<'_>) -> Option<usize> {
    match (mine.next_start(), theirs.next_start()) {
        (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
        (mine, theirs) => mine.or(theirs),
    }
}

/// Makes one stretch of those from the first to the last of each span; spans come in order of their starts.
pub(super) fn unite(texts: &Texts<'_>, stretches: Vec<Stretch>, spans: &[Range<usize>]) -> Vec<Stretch> {
    let mut united: Vec<Stretch> = Vec::new();
    let mut spans = spans.iter().peekable();
    let mut end = None;
    for (index, stretch) in stretches.into_iter().enumerate() {
        let inside = end.is_some_and(|end| index <= end);
        while let Some(span) = spans.next_if(|span| span.start <= index) {
            end = end.max(Some(span.end));
        }
        match united.last_mut() {
            Some(last) if inside => {
                last.base.end = stretch.base.end;
                last.mine.end = stretch.mine.end;
                last.theirs.end = stretch.theirs.end;
            }
            _ => united.push(stretch),
        }
    }
    united.into_iter().map(|stretch| texts.judged(stretch.base, stretch.mine, stretch.theirs)).collect()
}
