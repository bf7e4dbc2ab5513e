//! Myers' comparison of two sequences in linear space, with a bound: what it finds is an edit script, not always the
//! shortest one.
//!
//! Numbers that only one sequence holds are set aside first, so replaced words cost nothing. The search for the middle
//! of a script stops after `COST_MAX` steps and splits at the farthest point that either end reached; so a split costs
//! at most a fixed multiple of what it settles, and the whole grows with the length, never with its square.

use std::ops::Range;

/// The search for one middle ends after so many insertions and deletions from either end.
const COST_MAX: i64 = 256;

/// Which places of a sequence have no partner in the other: `(removed, added)`.
pub(super) fn unmatched(before: &[u32], after: &[u32]) -> (Vec<bool>, Vec<bool>) {
    let mut removed = vec![true; before.len()];
    let mut added = vec![true; after.len()];
    let (before_places, after_places) = (shared(before, after), shared(after, before));
    let a: Vec<u32> = before_places.iter().map(|&place| before[place]).collect();
    let b: Vec<u32> = after_places.iter().map(|&place| after[place]).collect();
    pairs(&a, &b, |x, y| {
        removed[before_places[x]] = false;
        added[after_places[y]] = false;
    });
    (removed, added)
}

/// The places whose number the other sequence holds, too.
fn shared(sequence: &[u32], other: &[u32]) -> Vec<usize> {
    let mut known = vec![false; other.iter().max().map_or(0, |max| *max as usize + 1)];
    other.iter().for_each(|number| known[*number as usize] = true);
    let is_known = |place: &usize| known.get(sequence[*place] as usize).copied().unwrap_or(false);
    (0..sequence.len()).filter(is_known).collect()
}

/// Reports each pair of places that belong together.
fn pairs(a: &[u32], b: &[u32], mut pair: impl FnMut(usize, usize)) {
    let mut search = Search::default();
    let mut boxes: Vec<(Range<usize>, Range<usize>)> = vec![(0..a.len(), 0..b.len())];
    while let Some((mut x, mut y)) = boxes.pop() {
        while !x.is_empty() && !y.is_empty() && a[x.start] == b[y.start] {
            pair(x.start, y.start);
            (x.start, y.start) = (x.start + 1, y.start + 1);
        }
        while !x.is_empty() && !y.is_empty() && a[x.end - 1] == b[y.end - 1] {
            (x.end, y.end) = (x.end - 1, y.end - 1);
            pair(x.end, y.end);
        }
        if x.is_empty() || y.is_empty() {
            continue;
        }
        let (across, down) = search.middle(&a[x.clone()], &b[y.clone()]);
        let (across, down) = (x.start + across, y.start + down);
        // A middle at a corner would be the same box again.
        if (across, down) != (x.start, y.start) && (across, down) != (x.end, y.end) {
            boxes.push((across..x.end, down..y.end));
            boxes.push((x.start..across, y.start..down));
        }
    }
}

/// How far a search from each end came, per diagonal; kept from one box to the next.
#[derive(Default)]
struct Search {
    forward: Vec<i64>,
    backward: Vec<i64>,
}

/// Where a diagonal is kept.
fn slot(diagonal: i64) -> usize {
    (diagonal + COST_MAX + 1) as usize
}

/// One step of a search: how far the diagonal reaches now.
fn reach(reached: &[i64], cost: i64, diagonal: i64, alike: impl Fn(i64, i64) -> bool) -> i64 {
    let (left, right) = (reached[slot(diagonal - 1)], reached[slot(diagonal + 1)]);
    let mut x = if diagonal == -cost || (diagonal != cost && left < right) { right } else { left + 1 };
    while alike(x, x - diagonal) {
        x += 1;
    }
    x
}

impl Search {
    /// A point that a short script passes, or the farthest point of a search that was given up.
    fn middle(&mut self, a: &[u32], b: &[u32]) -> (usize, usize) {
        let (width, height) = (a.len() as i64, b.len() as i64);
        let inside = |x: i64, y: i64| (0..=width).contains(&x) && (0..=height).contains(&y);
        let within = |x: i64, y: i64| (0..width).contains(&x) && (0..height).contains(&y);
        let delta = width - height;
        for reached in [&mut self.forward, &mut self.backward] {
            reached.clear();
            reached.resize(slot(COST_MAX + 1) + 1, 0);
        }
        // The farthest point of each search, by how much of both sequences lies behind it.
        let (mut ahead, mut behind) = ((0, 0), (0, 0));
        for cost in 0..=COST_MAX {
            for diagonal in (-cost..=cost).step_by(2).filter(|diagonal| (-height..=width).contains(diagonal)) {
                let alike = |x, y| within(x, y) && a[x as usize] == b[y as usize];
                let x = reach(&self.forward, cost, diagonal, alike);
                self.forward[slot(diagonal)] = x;
                let (point, mirrored) = ((x, x - diagonal), delta - diagonal);
                if !inside(point.0, point.1) {
                    continue;
                }
                if delta % 2 != 0 && mirrored.abs() < cost && x + self.backward[slot(mirrored)] >= width {
                    return (point.0 as usize, point.1 as usize);
                }
                ahead = if point.0 + point.1 > ahead.0 + ahead.1 { point } else { ahead };
            }
            for diagonal in (-cost..=cost).step_by(2).filter(|diagonal| (-height..=width).contains(diagonal)) {
                let alike = |x, y| within(x, y) && a[(width - 1 - x) as usize] == b[(height - 1 - y) as usize];
                let x = reach(&self.backward, cost, diagonal, alike);
                self.backward[slot(diagonal)] = x;
                let (point, mirrored) = ((x, x - diagonal), delta - diagonal);
                if !inside(point.0, point.1) {
                    continue;
                }
                if delta % 2 == 0 && mirrored.abs() <= cost && x + self.forward[slot(mirrored)] >= width {
                    return ((width - point.0) as usize, (height - point.1) as usize);
                }
                behind = if point.0 + point.1 > behind.0 + behind.1 { point } else { behind };
            }
        }
        if ahead.0 + ahead.1 >= behind.0 + behind.1 {
            (ahead.0 as usize, ahead.1 as usize)
        } else {
            ((width - behind.0) as usize, (height - behind.1) as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The length of the longest common subsequence, by the table that everyone can check.
    fn longest(a: &[u32], b: &[u32]) -> usize {
        let mut row = vec![0; b.len() + 1];
        for x in a {
            let mut diagonal = 0;
            for (at, y) in b.iter().enumerate() {
                let above = row[at + 1];
                row[at + 1] = if x == y { diagonal + 1 } else { above.max(row[at]) };
                diagonal = above;
            }
        }
        row[b.len()]
    }

    fn kept(sequence: &[u32], unmatched: &[bool]) -> Vec<u32> {
        sequence.iter().zip(unmatched).filter(|(_, unmatched)| !**unmatched).map(|(number, _)| *number).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn what_stays_is_the_longest_common_part_of_small_texts(a in vec(0..6_u32, 0..40), b in vec(0..6_u32, 0..40)) {
            let (removed, added) = unmatched(&a, &b);
            let (left, right) = (kept(&a, &removed), kept(&b, &added));
            prop_assert_eq!(left.len(), longest(&a, &b));
            prop_assert_eq!(left, right);
        }
    }

    #[test]
    fn a_search_that_is_given_up_still_finds_a_script() {
        let mut seed = 9_u64;
        let mut number = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 60) as u32
        };
        let a: Vec<u32> = (0..5_000).map(|_| number()).collect();
        let b: Vec<u32> = (0..4_000).map(|_| number()).collect();
        let (removed, added) = unmatched(&a, &b);
        let left = kept(&a, &removed);
        assert_eq!(left, kept(&b, &added));
        assert!(left.len() > 1_000, "{} of 4,000 kept", left.len());
    }
}
