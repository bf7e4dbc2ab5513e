//! Keeps a merge from doubling a word that both sides moved.
//!
//! Mine takes a sentence from here to there, theirs takes it from here to elsewhere: each change alone is clean, and
//! together they would write the sentence twice. So words are counted: where the merged stretches hold more of a word
//! than mine, than theirs, and than both changes together account for, everything from the first to the last stretch
//! that brings this word becomes one overlap.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{
    stretch::{Stretch, Texts, Verdict, unite},
    tokens::{has_word, text_tokens},
};

/// How often a word was added (or, below zero, taken away).
#[derive(Clone, Copy, Default)]
struct Balance {
    mine: i64,
    theirs: i64,
    /// In the merged text, where a person decides every overlap for the side with fewer of them.
    merged: i64,
}

/// Turns stretches that would double a word into one overlap.
pub(super) fn guard(texts: &Texts<'_>, stretches: Vec<Stretch>) -> Vec<Stretch> {
    // Only a stretch that both sides changed can hide from one that the other took the word away, too.
    if !stretches.iter().any(|stretch| both_changed(texts, stretch)) {
        return stretches;
    }
    let counts: Vec<_> = stretches.iter().map(|stretch| count(texts, stretch)).collect();
    let mut totals: BTreeMap<&str, Balance> = BTreeMap::new();
    for (word, balance) in counts.iter().flatten() {
        let total = totals.entry(word).or_default();
        total.mine += balance.mine;
        total.theirs += balance.theirs;
        total.merged += balance.merged;
    }
    totals.retain(|_, total| total.merged > 0.max(total.mine).max(total.theirs).max(total.mine + total.theirs));
    let mut spans: BTreeMap<&str, Range<usize>> = BTreeMap::new();
    for (index, counts) in counts.iter().enumerate() {
        for (word, balance) in counts.iter().filter(|(word, _)| totals.contains_key(*word)) {
            if balance.merged > 0 {
                spans.entry(word).or_insert(index..index).end = index;
            }
        }
    }
    let mut spans: Vec<_> = spans.into_values().collect();
    spans.sort_unstable_by_key(|span| span.start);
    unite(texts, stretches, &spans)
}

fn both_changed(texts: &Texts<'_>, stretch: &Stretch) -> bool {
    let base = texts.base_of(stretch);
    texts.mine_of(stretch) != base && texts.theirs_of(stretch) != base
}

/// What a stretch adds of each word.
fn count<'a>(texts: &Texts<'a>, stretch: &Stretch) -> BTreeMap<&'a str, Balance> {
    let mut counts: BTreeMap<&str, Balance> = BTreeMap::new();
    let words = |text: &'a str| text_tokens(text).into_iter().filter(|token| has_word(token));
    for word in words(texts.base_of(stretch)) {
        let balance = counts.entry(word).or_default();
        balance.mine -= 1;
        balance.theirs -= 1;
    }
    words(texts.mine_of(stretch)).for_each(|word| counts.entry(word).or_default().mine += 1);
    words(texts.theirs_of(stretch)).for_each(|word| counts.entry(word).or_default().theirs += 1);
    for balance in counts.values_mut() {
        balance.merged = match stretch.verdict {
            Verdict::Mine => balance.mine,
            Verdict::Theirs => balance.theirs,
            Verdict::Overlap => balance.mine.min(balance.theirs),
        };
    }
    counts
}
