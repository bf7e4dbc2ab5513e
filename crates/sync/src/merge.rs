//! Merges two edits of one text: by words within lines, never inside a character, with one word of context (CORE-07).
//!
//! Each side is compared with the base. Changes that have no unchanged word of the base between them form one stretch,
//! whoever made them; a stretch that one side changed, or both changed alike, is merged, any other is an overlap for a
//! person. So every two neighbours of a merged text are neighbours in mine or in theirs, and nothing is invented.
//!
//! Laws: sides may be swapped; bytes are kept (NFC and NFD are different texts); a word that both sides move to
//! different places is not doubled; the cost is bounded (`TEXT_BYTES_MAX` here, `TOKENS_MAX` in `merge/changes.rs`).
//! Counters and sets need no merge: they are operations (`conflict::elements`).

mod changes;
mod doubled;
mod graphemes;
mod myers;
mod same;
mod stretch;
mod tokens;

use std::ops::Range;

use serde::Serialize;
use stretch::{Stretch, Verdict};
pub use tokens::text_tokens;

use crate::form::Written;

/// Above so many bytes in any of the three texts nothing is compared: the whole is one overlap.
pub const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One stretch of a merged text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Written)]
#[serde(rename_all = "camelCase")]
pub enum Piece {
    /// Text that is settled; never empty.
    Merged(String),
    /// Both sides changed it differently: one of the two, or another text, is to be chosen.
    Overlap {
        /// What stood there before.
        base: String,
        /// What I made of it.
        mine: String,
        /// What the others made of it.
        theirs: String,
    },
}

/// Merges two edits of one text: whoever reads the pieces in order has every word of both sides.
pub fn merge_text(base: &str, mine: &str, theirs: &str) -> Vec<Piece> {
    if mine == theirs || theirs == base {
        return merged(mine);
    }
    if mine == base {
        return merged(theirs);
    }
    if [base, mine, theirs].iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return vec![Piece::Overlap { base: base.to_owned(), mine: mine.to_owned(), theirs: theirs.to_owned() }];
    }
    let texts = stretch::Texts { base, mine, theirs };
    let stretches = stretch::stretches(&texts, &changes::changes(base, mine), &changes::changes(base, theirs));
    pieces(&texts, &doubled::guard(&texts, same::join(&texts, stretches)))
}

/// The text where nothing overlaps.
pub fn clean(pieces: &[Piece]) -> Option<String> {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Merged(part) => text.push_str(part),
            Piece::Overlap { .. } => return None,
        }
    }
    Some(text)
}

/// A stretch of a text that became another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Written)]
pub struct TextChange {
    /// Where it begins, in UTF-16 units of the text before.
    pub at: usize,
    /// How many units of it went.
    pub removed: usize,
    /// How many came in their place.
    pub added: usize,
}

/// Returns what leads from one text to another, in order, as an editor counts.
pub(crate) fn text_changes(before: &str, after: &str) -> Vec<TextChange> {
    let (mut at, mut position) = (0, 0);
    let mut changes = Vec::new();
    for change in changes::changes(before, after) {
        at += units(part(before, position..change.base.start));
        let removed = units(part(before, change.base.clone()));
        changes.push(TextChange { at, removed, added: units(part(after, change.side)) });
        (at, position) = (at + removed, change.base.end);
    }
    changes
}

/// A part of a text, which is cut between characters. Indexing would bring all that shows a text in a panic: 8 kB.
fn part(text: &str, range: Range<usize>) -> &str {
    debug_assert!(text.get(range.clone()).is_some(), "{range:?}");
    text.get(range).unwrap_or_default()
}

/// Counts as an editor does. Not inlined: a page loads each copy.
#[inline(never)]
fn units(text: &str) -> usize {
    // Four bytes are a surrogate pair, and what follows a first byte counts for nothing.
    text.bytes().map(|byte| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0)).sum()
}

fn merged(text: &str) -> Vec<Piece> {
    if text.is_empty() { Vec::new() } else { vec![Piece::Merged(text.to_owned())] }
}

/// Writes out the stretches and what lies unchanged between them.
fn pieces(texts: &stretch::Texts<'_>, stretches: &[Stretch]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut settled = String::new();
    let mut position = 0;
    for stretch in stretches {
        settled.push_str(part(texts.base, position..stretch.base.start));
        position = stretch.base.end;
        match stretch.verdict {
            Verdict::Mine => settled.push_str(texts.mine_of(stretch)),
            Verdict::Theirs => settled.push_str(texts.theirs_of(stretch)),
            Verdict::Overlap => {
                pieces.extend(merged(&std::mem::take(&mut settled)));
                pieces.push(Piece::Overlap {
                    base: texts.base_of(stretch).to_owned(),
                    mine: texts.mine_of(stretch).to_owned(),
                    theirs: texts.theirs_of(stretch).to_owned(),
                });
            }
        }
    }
    settled.push_str(part(texts.base, position..texts.base.len()));
    pieces.extend(merged(&settled));
    pieces
}
