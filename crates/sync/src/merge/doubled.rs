//! Keeps a merge from doubling a word that both sides moved.
//!
//! Mine takes a sentence from here to there, theirs takes it from here to elsewhere: each change alone is clean, and
//! together they would write the sentence twice. So words are counted: where the merged stretches hold more of a word
//! than mine, than theirs, and than both changes together account for, everything from the first to the last stretch
//! that brings this word becomes one overlap.

use std::ops::Range;

use super::{
    stretch::{Stretch, Texts, Verdict, unite},
    tokens::{has_word, text_tokens},
};
use crate::ordered::sort_by;

/// One word of a stretch: the word, the stretch's place, and what it adds to mine and to theirs (or takes away).
type Entry<'a> = (&'a str, usize, i32, i32);

/// How often a word was added (or, below zero, taken away).
#[derive(Clone, Copy, Default)]
struct Balance {
    mine: i32,
    theirs: i32,
    /// In the merged text, where a person decides every overlap for the side with fewer of them.
    merged: i32,
}

/// Turns stretches that would double a word into one overlap.
pub(super) fn guard(texts: &Texts<'_>, stretches: Vec<Stretch>) -> Vec<Stretch> {
    // Only a stretch that both sides changed can hide from one that the other took the word away, too.
    if !stretches.iter().any(|stretch| both_changed(texts, stretch)) {
        return stretches;
    }
    // Sorted rather than mapped, since the maps of the standard library weigh more in WebAssembly than all this.
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for (index, stretch) in stretches.iter().enumerate() {
        let words = |text| text_tokens(text).into_iter().filter(|token| has_word(token));
        entries.extend(words(texts.base_of(stretch)).map(|word| (word, index, -1, -1)));
        entries.extend(words(texts.mine_of(stretch)).map(|word| (word, index, 1, 0)));
        entries.extend(words(texts.theirs_of(stretch)).map(|word| (word, index, 0, 1)));
    }
    sort_by(&mut entries, |one, other| one < other);
    let same_word = entries.chunk_by(|one, other| one.0 == other.0);
    let mut spans: Vec<_> = same_word.filter_map(|entries| doubled(&stretches, entries)).collect();
    sort_by(&mut spans, |one, other| one.start < other.start);
    unite(texts, stretches, &spans)
}

fn both_changed(texts: &Texts<'_>, stretch: &Stretch) -> bool {
    let base = texts.base_of(stretch);
    texts.mine_of(stretch) != base && texts.theirs_of(stretch) != base
}

/// From where to where one word is brought, if it would be doubled.
fn doubled(stretches: &[Stretch], entries: &[Entry<'_>]) -> Option<Range<usize>> {
    let mut total = Balance::default();
    let mut span: Option<Range<usize>> = None;
    for entries in entries.chunk_by(|one, other| one.1 == other.1) {
        let index = entries[0].1;
        let balance = balance(stretches[index].verdict, entries);
        total.mine += balance.mine;
        total.theirs += balance.theirs;
        total.merged += balance.merged;
        if balance.merged > 0 {
            span.get_or_insert(index..index).end = index;
        }
    }
    let accounted = 0.max(total.mine).max(total.theirs).max(total.mine + total.theirs);
    span.filter(|_| total.merged > accounted)
}

/// What one stretch adds of one word.
fn balance(verdict: Verdict, entries: &[Entry<'_>]) -> Balance {
    let mine: i32 = entries.iter().map(|entry| entry.2).sum();
    let theirs: i32 = entries.iter().map(|entry| entry.3).sum();
    let merged = match verdict {
        Verdict::Mine => mine,
        Verdict::Theirs => theirs,
        Verdict::Overlap => mine.min(theirs),
    };
    Balance { mine, theirs, merged }
}
