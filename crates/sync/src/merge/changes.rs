//! What one side changed of the base: lines first, then the words of the lines that differ.
//!
//! In either step what holds a word is paired first, and spaces, marks and empty lines only between those pairs. Lines
//! that hold more than `TOKENS_MAX` tokens are not compared by words: they count as replaced. A pure insertion or
//! deletion that could as well stand further down is moved there, so that the same change of both sides lies at the
//! same place whatever else a side changed. The bound of each comparison stands in `myers`.

use std::ops::Range;

use super::{
    myers::unmatched,
    part,
    tokens::{has_word, lines, text_tokens},
};
use crate::ordered::sort_by;

/// Differing lines of both texts with more tokens than this together are not compared by words.
const TOKENS_MAX: usize = 1 << 18;

/// A stretch of the base, in bytes, and what a side made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) base: Range<usize>,
    pub(super) side: Range<usize>,
}

/// What a side changed, in order; each begins and ends at a token of its text.
pub(super) fn changes(base: &str, side: &str) -> Vec<Change> {
    let mut changes = Vec::new();
    for outer in compare(&lines(base), &lines(side)) {
        let (before, after) = (part(base, outer.base.clone()), part(side, outer.side.clone()));
        if before.is_empty() || after.is_empty() {
            changes.push(outer);
            continue;
        }
        let (before, after) = (text_tokens(before), text_tokens(after));
        if before.len() + after.len() > TOKENS_MAX {
            changes.push(outer);
            continue;
        }
        let (base_start, side_start) = (outer.base.start, outer.side.start);
        changes.extend(compare(&before, &after).into_iter().map(|inner| Change {
            base: base_start + inner.base.start..base_start + inner.base.end,
            side: side_start + inner.side.start..side_start + inner.side.end,
        }));
    }
    changes
}

/// Compares two texts by the parts they are cut into.
fn compare(before: &[&str], after: &[&str]) -> Vec<Change> {
    let (removed, added) = partnerless(before, after);
    let mut changes = runs(&removed, &added);
    // From the last to the first, since each may move up to where the next one has come to stand.
    let (mut base_end, mut side_end) = (before.len(), after.len());
    for change in changes.iter_mut().rev() {
        move_down(change, &before[..base_end], &after[..side_end]);
        (base_end, side_end) = (change.base.start, change.side.start);
    }
    let (base_starts, side_starts) = (starts(before), starts(after));
    for change in &mut changes {
        change.base = base_starts[change.base.start]..base_starts[change.base.end];
        change.side = side_starts[change.side.start]..side_starts[change.side.end];
    }
    changes
}

/// Which parts have no partner in the other text: words are paired first, then what stands between their pairs.
///
/// Spaces and marks are many and alike: compared together with the words, they would outweigh one.
fn partnerless(before: &[&str], after: &[&str]) -> (Vec<bool>, Vec<bool>) {
    let [old, new] =
        [before, after].map(|parts| (0..parts.len()).filter(|at| has_word(parts[*at])).collect::<Vec<_>>());
    let (old_alone, new_alone) = numbered(old.iter().map(|at| before[*at]), new.iter().map(|at| after[*at]));
    let paired = |places: Vec<usize>, alone: Vec<bool>, end: usize| {
        let paired = places.into_iter().zip(alone).filter(|(_, alone)| !alone).map(|(place, _)| place);
        paired.chain([end]).collect::<Vec<_>>()
    };
    let pairs = paired(old, old_alone, before.len()).into_iter().zip(paired(new, new_alone, after.len()));
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    for (base, side) in pairs {
        let (gone, come) = (&before[removed.len()..base], &after[added.len()..side]);
        if gone == come {
            removed.resize(base, false);
            added.resize(side, false);
        } else {
            let (gone, come) = numbered(gone.iter().copied(), come.iter().copied());
            removed.extend(gone);
            added.extend(come);
        }
        // The pair itself; behind the last one the texts end.
        removed.resize(before.len().min(base + 1), false);
        added.resize(after.len().min(side + 1), false);
    }
    (removed, added)
}

/// Compares parts by a number for each.
fn numbered<'a>(before: impl Iterator<Item = &'a str>, after: impl Iterator<Item = &'a str>) -> (Vec<bool>, Vec<bool>) {
    let parts: Vec<&str> = before.collect();
    let first = parts.len();
    let parts: Vec<&str> = parts.into_iter().chain(after).collect();
    // Those that are the same stand together in order, and the first of them names them all.
    let mut sorted: Vec<u32> = (0..parts.len() as u32).collect();
    sort_by(&mut sorted, |one, other| parts[*one as usize] < parts[*other as usize]);
    let mut numbers = vec![0; parts.len()];
    let mut number = 0;
    for (at, place) in sorted.iter().enumerate() {
        if at == 0 || parts[sorted[at - 1] as usize] != parts[*place as usize] {
            number = at as u32;
        }
        numbers[*place as usize] = number;
    }
    let (before, after) = numbers.split_at(first);
    unmatched(before, after)
}

/// The stretches without a partner, in places of each sequence.
fn runs(removed: &[bool], added: &[bool]) -> Vec<Change> {
    let run = |flags: &[bool], start: usize| flags[start..].iter().take_while(|flag| **flag).count();
    let mut runs = Vec::new();
    let (mut base, mut side) = (0, 0);
    while base < removed.len() || side < added.len() {
        let (gone, come) = (run(removed, base), run(added, side));
        if gone + come > 0 {
            runs.push(Change { base: base..base + gone, side: side..side + come });
        }
        // What follows on both sides is one pair.
        (base, side) = (base + gone + 1, side + come + 1);
    }
    runs
}

/// Moves a pure insertion or deletion down while the text that results is the same.
fn move_down(change: &mut Change, base: &[&str], side: &[&str]) {
    let (moving, parts) = match (change.base.is_empty(), change.side.is_empty()) {
        (true, false) => (&change.side, side),
        (false, true) => (&change.base, base),
        _ => return,
    };
    let steps = parts[moving.end..].iter().zip(&parts[moving.start..]).take_while(|(below, first)| below == first);
    let steps = steps.count();
    change.base = change.base.start + steps..change.base.end + steps;
    change.side = change.side.start + steps..change.side.end + steps;
}

/// Where each part begins, in bytes, and where the last one ends.
fn starts(parts: &[&str]) -> Vec<usize> {
    let mut start = 0;
    let mut starts = vec![start];
    starts.extend(parts.iter().map(|part| {
        start += part.len();
        start
    }));
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_could_stand_further_down_does() {
        for (base, side, at) in
            [("w x w x e", "w x w x w x e", 8), ("e w x w x w x", "e w x w x", 9), ("a a", "a a a", 3)]
        {
            let found = changes(base, side);
            assert_eq!((found.len(), found[0].base.start), (1, at), "{base:?} to {side:?}: {found:?}");
        }
    }

    #[test]
    fn changes_lead_from_the_base_to_the_side() {
        for (base, side) in [("", "a"), ("a b\nc\n", "a x\nc"), ("a b c d", "d c b a"), ("x\r\ny", "x\ny\n"), ("a", "")]
        {
            let mut text = String::new();
            let mut position = 0;
            for change in changes(base, side) {
                text.push_str(&base[position..change.base.start]);
                text.push_str(&side[change.side]);
                position = change.base.end;
            }
            text.push_str(&base[position..]);
            assert_eq!(text, side);
        }
    }
}
