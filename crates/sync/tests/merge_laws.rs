//! The laws of the text merge as properties (CORE-07, SY-39).
//!
//! Texts are made of few parts on purpose: repeated words, loose marks, halves of flags and joined emoji make a
//! comparison ambiguous, and there a merge goes wrong first. A failure prints its smallest case and its seed.

use std::collections::BTreeMap;

use antiphon_sync::{Piece, clean, merge_text, text_tokens};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const PARTS: &[&str] = &[
    " ",
    " ",
    " ",
    " ",
    "a",
    "b",
    "c",
    "one",
    "two",
    "don't",
    "3.5",
    ",",
    ".",
    "(",
    "-",
    "\n",
    "\n",
    "\r\n",
    "\r",
    "  ",
    "é",
    "e\u{301}",
    "\u{301}",
    "👩‍👩‍👧",
    "\u{200d}",
    "👧",
    "🇩🇪",
    "🇩",
    "🇪",
    "שלום",
    "\u{200f}",
    "今",
    "日",
    "น้ำ",
    "क्षि",
    "𠮷",
];

/// An edit of a list of parts: where, how many go, and what comes.
type Edit = (prop::sample::Index, usize, Vec<&'static str>);

fn parts(count: usize) -> impl Strategy<Value = Vec<&'static str>> {
    vec(select(PARTS), 0..count)
}

fn edits(count: usize) -> impl Strategy<Value = Vec<Edit>> {
    vec((any::<prop::sample::Index>(), 0..4_usize, parts(4)), 0..count)
}

fn edited(base: &[&'static str], edits: &[Edit]) -> Vec<&'static str> {
    let mut text = base.to_vec();
    for (at, taken, put) in edits {
        let at = at.index(text.len() + 1);
        let end = text.len().min(at + taken);
        text.splice(at..end, put.iter().copied());
    }
    text
}

/// A base and two edits of it.
fn three() -> impl Strategy<Value = (String, String, String)> {
    (parts(40), edits(4), edits(4)).prop_map(|(base, mine, theirs)| {
        (base.concat(), edited(&base, &mine).concat(), edited(&base, &theirs).concat())
    })
}

fn words(text: &str) -> BTreeMap<&str, i64> {
    let mut words = BTreeMap::new();
    for token in text_tokens(text).into_iter().filter(|token| token.chars().any(char::is_alphanumeric)) {
        *words.entry(token).or_insert(0) += 1;
    }
    words
}

fn swapped(pieces: &[Piece]) -> Vec<Piece> {
    let swap = |piece: &Piece| match piece.clone() {
        Piece::Overlap { base, mine, theirs } => Piece::Overlap { base, mine: theirs, theirs: mine },
        merged => merged,
    };
    pieces.iter().map(swap).collect()
}

/// The text that results where every overlap is decided for mine.
fn mine_taken(pieces: &[Piece]) -> String {
    let part = |piece: &Piece| match piece.clone() {
        Piece::Merged(text) => text,
        Piece::Overlap { mine, .. } => mine,
    };
    pieces.iter().map(part).collect()
}

/// Neighbouring tokens, with the two ends of the text.
fn neighbours(text: &str) -> Vec<(&str, &str)> {
    let mut tokens = vec![""];
    tokens.extend(text_tokens(text));
    tokens.push("");
    tokens.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn tokens_are_the_text_and_cut_no_character_sy_39(text in parts(40)) {
        use unicode_segmentation::UnicodeSegmentation;
        let text = text.concat();
        let tokens = text_tokens(&text);
        prop_assert_eq!(tokens.concat(), text.clone());
        let bounds: Vec<usize> = text.grapheme_indices(true).map(|(at, _)| at).collect();
        let mut at = 0;
        for token in tokens {
            prop_assert!(!token.is_empty() && bounds.contains(&at), "{token:?} of {text:?}");
            at += token.len();
        }
    }

    #[test]
    fn equal_sides_and_an_unchanged_side_leave_nothing_to_merge_core_07((base, mine, _) in three()) {
        for (base, mine, theirs, result) in [
            (&base, &mine, &mine, &mine),
            (&base, &mine, &base, &mine),
            (&base, &base, &mine, &mine),
        ] {
            let text = clean(&merge_text(base, mine, theirs));
            prop_assert_eq!(text.as_ref(), Some(result));
        }
    }

    #[test]
    fn sides_may_be_swapped_core_07((base, mine, theirs) in three()) {
        prop_assert_eq!(merge_text(&base, &theirs, &mine), swapped(&merge_text(&base, &mine, &theirs)));
    }

    #[test]
    fn neighbours_in_a_merged_text_are_neighbours_in_a_side_core_07((base, mine, theirs) in three()) {
        // Stronger than "no token is invented": it also keeps words apart and characters whole.
        let Some(text) = clean(&merge_text(&base, &mine, &theirs)) else { return Ok(()) };
        let (mine, theirs) = (neighbours(&mine), neighbours(&theirs));
        for pair in neighbours(&text) {
            prop_assert!(mine.contains(&pair) || theirs.contains(&pair), "{pair:?} in {text:?}");
        }
    }

    #[test]
    fn no_word_is_doubled_that_neither_side_doubled_core_07((base, mine, theirs) in three()) {
        let Some(text) = clean(&merge_text(&base, &mine, &theirs)) else { return Ok(()) };
        let (base, mine, theirs) = (words(&base), words(&mine), words(&theirs));
        for (word, count) in words(&text) {
            let [base, mine, theirs] = [&base, &mine, &theirs].map(|words| words.get(word).copied().unwrap_or(0));
            prop_assert!(count <= base.max(mine).max(theirs).max(mine + theirs - base), "{word:?} in {text:?}");
        }
    }

    #[test]
    fn whoever_reads_the_pieces_has_every_new_word_of_both_sides_core_07((base, mine, theirs) in three()) {
        let old = words(&base);
        let pieces = merge_text(&base, &mine, &theirs);
        for (side, pieces) in [(&mine, pieces.clone()), (&theirs, swapped(&pieces))] {
            let taken = mine_taken(&pieces);
            let taken = words(&taken);
            for (word, count) in words(side).into_iter().filter(|(word, _)| !old.contains_key(word)) {
                prop_assert!(taken.get(word) >= Some(&count), "{word:?} of {side:?} in {pieces:?}");
            }
        }
    }

    #[test]
    fn pieces_are_neither_empty_nor_decided_core_07((base, mine, theirs) in three()) {
        let pieces = merge_text(&base, &mine, &theirs);
        for piece in &pieces {
            match piece {
                Piece::Merged(text) => prop_assert!(!text.is_empty()),
                Piece::Overlap { base, mine, theirs } => {
                    prop_assert!(mine != theirs && mine != base && theirs != base, "{piece:?}");
                }
            }
        }
        for pair in pieces.windows(2) {
            prop_assert!(pair.iter().any(|piece| matches!(piece, Piece::Overlap { .. })), "{pair:?}");
        }
    }

    #[test]
    fn a_merged_text_merged_again_stays_as_it_is_core_07((base, mine, theirs) in three()) {
        let Some(text) = clean(&merge_text(&base, &mine, &theirs)) else { return Ok(()) };
        // What was merged is mine from now on, and what the others sent is the new base.
        let again = clean(&merge_text(&theirs, &text, &theirs));
        prop_assert_eq!(again.as_ref(), Some(&text));
    }
}
