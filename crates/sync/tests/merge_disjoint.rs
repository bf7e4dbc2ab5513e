//! Edits that lie apart survive exactly, and edits with less than one word between them overlap (CORE-07).
//!
//! Texts are made of words that occur once, so that what must result is known without a comparison.

use antiphon_sync::{Piece, clean, merge_text};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// What happens to a word of the base.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Keep,
    Mine(Edit),
    Theirs(Edit),
    Both(Edit),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Edit {
    Replace,
    Delete,
    Before,
    After,
}

fn steps() -> impl Strategy<Value = Vec<(Step, &'static str)>> {
    let edit = || select(vec![Edit::Replace, Edit::Delete, Edit::Before, Edit::After]);
    let step = prop_oneof![
        3 => Just(Step::Keep),
        2 => edit().prop_map(Step::Mine),
        2 => edit().prop_map(Step::Theirs),
        1 => edit().prop_map(Step::Both),
    ];
    vec((step, select(vec![" ", "\n", ", ", "\r\n", " 👩‍👩‍👧 "])), 1..30)
}

/// Keeps a word wherever one side's edit would stand right after another's.
fn apart(steps: &mut [(Step, &'static str)]) {
    for at in 1..steps.len() {
        let (before, after) = (steps[at - 1].0, steps[at].0);
        let same_side = matches!(
            (before, after),
            (Step::Mine(_), Step::Mine(_)) | (Step::Theirs(_), Step::Theirs(_)) | (Step::Both(_), Step::Both(_))
        );
        if before != Step::Keep && !same_side {
            steps[at].0 = Step::Keep;
        }
    }
}

/// The text with those edits that are `taken`.
fn written(steps: &[(Step, &'static str)], taken: impl Fn(Step) -> Option<Edit>) -> String {
    let mut text = String::new();
    for (at, (step, gap)) in steps.iter().enumerate() {
        match taken(*step) {
            None => text.push_str(&format!("w{at}e\u{301}{gap}")),
            Some(Edit::Replace) => text.push_str(&format!("r{at}é{gap}")),
            Some(Edit::Delete) => {}
            Some(Edit::Before) => text.push_str(&format!("new{at} w{at}e\u{301}{gap}")),
            Some(Edit::After) => text.push_str(&format!("w{at}e\u{301} new{at}{gap}")),
        }
    }
    text
}

fn of(mine: bool, theirs: bool) -> impl Fn(Step) -> Option<Edit> {
    move |step| match step {
        Step::Mine(edit) if mine => Some(edit),
        Step::Theirs(edit) if theirs => Some(edit),
        Step::Both(edit) if mine || theirs => Some(edit),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn edits_with_a_word_between_them_survive_and_alike_ones_are_taken_once_core_07(mut steps in steps()) {
        apart(&mut steps);
        let base = written(&steps, of(false, false));
        let (mine, theirs) = (written(&steps, of(true, false)), written(&steps, of(false, true)));
        let both = written(&steps, of(true, true));
        let merged = clean(&merge_text(&base, &mine, &theirs));
        prop_assert_eq!(merged.as_ref(), Some(&both));
        // The same frame once more, over the base of before.
        let again = clean(&merge_text(&base, &both, &theirs));
        prop_assert_eq!(again.as_ref(), Some(&both));
    }

    #[test]
    fn edits_of_neighbouring_words_overlap_and_what_lies_apart_is_merged_core_07(mut steps in steps(), at in any::<prop::sample::Index>()) {
        apart(&mut steps);
        prop_assume!(steps.len() > 3);
        let at = 1 + at.index(steps.len() - 3);
        steps[at - 1].0 = Step::Keep;
        steps[at].0 = Step::Mine(Edit::Replace);
        steps[at + 1].0 = Step::Theirs(Edit::Replace);
        steps[at + 2].0 = Step::Keep;
        let base = written(&steps, of(false, false));
        let (mine, theirs) = (written(&steps, of(true, false)), written(&steps, of(false, true)));
        let pieces = merge_text(&base, &mine, &theirs);
        let overlaps: Vec<_> = pieces.iter().filter(|piece| matches!(piece, Piece::Overlap { .. })).collect();
        prop_assert_eq!(overlaps.len(), 1, "{:?}", pieces);
        let Piece::Overlap { mine, theirs, .. } = overlaps[0] else { unreachable!() };
        let (changed, other) = (format!("r{at}é"), format!("r{}é", at + 1));
        prop_assert!(mine.starts_with(&changed) && theirs.ends_with(&other), "{mine:?} {theirs:?}");
    }
}

#[test]
fn a_sentence_that_both_moved_elsewhere_is_not_written_twice_core_07() {
    let base = "Moved along. one two three four five six seven eight nine ten eleven";
    let mine = "one two three Moved along. four five six seven eight nine ten eleven";
    let theirs = "one two three four five six seven eight nine Moved along. ten eleven";
    let pieces = merge_text(base, mine, theirs);
    assert_eq!(clean(&pieces), None);
    let taken = |piece: &Piece| match piece.clone() {
        Piece::Merged(text) | Piece::Overlap { mine: text, .. } => text,
    };
    assert_eq!(pieces.iter().map(taken).collect::<String>(), mine);
}
