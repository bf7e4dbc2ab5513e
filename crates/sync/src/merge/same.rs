//! Recognises one addition of both sides where it seems to stand at two places.
//!
//! Among repeated words a comparison has a choice: in `w x w x` the same new `w x` may count as the first, the second
//! or the third. So the sides are also compared with each other: where words of a stretch that I changed are aligned
//! with words of another stretch that the others changed, the two become one. Where the sides are alike there, it is
//! merged and stands once; else a person is asked. The comparison has a fixed order, since sides may be swapped.

use std::ops::Range;

use super::{
    changes::{Change, changes},
    part,
    stretch::{Stretch, Texts, unite},
    tokens::has_word,
};
use crate::ordered::sort_by;

/// Unites stretches that hold the same addition.
pub(super) fn join(texts: &Texts<'_>, stretches: Vec<Stretch>) -> Vec<Stretch> {
    let by_mine = stretches.iter().any(|stretch| texts.mine_of(stretch) != texts.base_of(stretch));
    let by_theirs = stretches.iter().any(|stretch| texts.theirs_of(stretch) != texts.base_of(stretch));
    if stretches.len() < 2 || !by_mine || !by_theirs {
        return stretches;
    }
    let mut spans = Vec::new();
    for (mine, theirs_start) in alike(texts.mine, texts.theirs) {
        let first = stretches.partition_point(|stretch| stretch.mine.end <= mine.start);
        for (index, stretch) in stretches.iter().enumerate().skip(first) {
            if stretch.mine.start >= mine.end {
                break;
            }
            if texts.mine_of(stretch) == texts.base_of(stretch) {
                continue;
            }
            let part = stretch.mine.start.max(mine.start)..stretch.mine.end.min(mine.end);
            let theirs = theirs_start + part.start - mine.start..theirs_start + part.end - mine.start;
            spans.extend(others(texts, &stretches, &theirs).map(|other| index.min(other)..index.max(other)));
        }
    }
    spans.retain(|span| !span.is_empty());
    sort_by(&mut spans, |one, other| one.start < other.start);
    unite(texts, stretches, &spans)
}

/// The stretches that the others changed and that have words within a part of their text.
fn others<'a>(texts: &'a Texts<'a>, all: &'a [Stretch], theirs: &Range<usize>) -> impl Iterator<Item = usize> + 'a {
    let theirs = theirs.clone();
    let first = all.partition_point(|stretch| stretch.theirs.end <= theirs.start);
    let within = all.iter().enumerate().skip(first).take_while({
        let end = theirs.end;
        move |(_, stretch)| stretch.theirs.start < end
    });
    within.filter_map(move |(index, stretch)| {
        let range = stretch.theirs.start.max(theirs.start)..stretch.theirs.end.min(theirs.end);
        let changed = texts.theirs_of(stretch) != texts.base_of(stretch);
        (changed && has_word(part(texts.theirs, range))).then_some(index)
    })
}

/// Where the sides are alike: a part of mine, and where it begins in theirs.
fn alike(mine: &str, theirs: &str) -> Vec<(Range<usize>, usize)> {
    let mut differing = if mine <= theirs { changes(mine, theirs) } else { swapped(changes(theirs, mine)) };
    differing.push(Change { base: mine.len()..mine.len(), side: theirs.len()..theirs.len() });
    let mut alike = Vec::new();
    let mut position = (0, 0);
    for change in differing {
        if position.0 < change.base.start {
            alike.push((position.0..change.base.start, position.1));
        }
        position = (change.base.end, change.side.end);
    }
    alike
}

fn swapped(changes: Vec<Change>) -> Vec<Change> {
    changes.into_iter().map(|Change { base, side }| Change { base: side, side: base }).collect()
}
