//! Cuts a text into characters as people see them (extended grapheme clusters, Unicode annex 29, version 17).
//!
//! The crate that the tests compare with has the same in tables of 25 kB, which a page would load. Law: every text is
//! cut where `unicode-segmentation` cuts it, since devices must merge alike; `table.rs` is what its answers about each
//! character say, and a test writes it anew where they change.

mod table;

use std::ops::Range;

use self::table::RUNS;

/// What a character is to its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Class {
    Other,
    Control,
    /// It hangs on the character before, and between consonants of an Indic conjunct it may not stand.
    Extend,
    /// It hangs on the character before, also within a conjunct.
    ConjunctExtend,
    /// It joins the consonants of a conjunct.
    Linker,
    Consonant,
    SpacingMark,
    Prepend,
    Regional,
    Pictograph,
    LeadingJamo,
    VowelJamo,
    TrailingJamo,
    Joiner,
    /// A Hangul syllable without a trailing consonant, and one with it.
    OpenSyllable,
    ClosedSyllable,
}

use Class::{
    ClosedSyllable, ConjunctExtend, Consonant, Control, Extend, Joiner, LeadingJamo, Linker, OpenSyllable, Other,
    Pictograph, Prepend, Regional, SpacingMark, TrailingJamo, VowelJamo,
};

/// The classes that the table names, by its numbers.
const CLASSES: [Class; 14] = [
    Other,
    Control,
    Extend,
    ConjunctExtend,
    Linker,
    Consonant,
    SpacingMark,
    Prepend,
    Regional,
    Pictograph,
    LeadingJamo,
    VowelJamo,
    TrailingJamo,
    Joiner,
];

/// The table, read out: where each run begins, and its class.
pub(super) struct Graphemes(Vec<(u32, Class)>);

impl Graphemes {
    pub(super) fn new() -> Graphemes {
        let mut runs = vec![(0, Other)];
        let (mut start, mut length) = (0u32, 0u32);
        // Each run is its length in sevens of bits, the last with the highest bit set, and its class.
        let mut bytes = RUNS.iter();
        while let Some(byte) = bytes.next() {
            length = length << 7 | u32::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                let class = bytes.next().and_then(|class| CLASSES.get(usize::from(*class))).copied().unwrap_or(Other);
                runs.push((start, class));
                (start, length) = (start + length, 0);
            }
        }
        runs.push((start, Other));
        Graphemes(runs)
    }

    fn class(&self, character: char) -> Class {
        let code = u32::from(character);
        match code.checked_sub(0xac00).filter(|syllable| *syllable < 11_172) {
            Some(syllable) if syllable % 28 == 0 => OpenSyllable,
            Some(_) => ClosedSyllable,
            None => self.0[self.0.partition_point(|(start, _)| *start <= code) - 1].1,
        }
    }

    /// Returns where each character stands, in order and without a gap.
    pub(super) fn ranges(&self, text: &str) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let mut before = Before::default();
        for (start, character) in text.char_indices() {
            let joins = before.joins(character, self.class(character));
            let end = start + character.len_utf8();
            match ranges.last_mut() {
                Some(last) if joins => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        ranges
    }
}

/// What stands before a character, as far as it says whether that one joins it.
#[derive(Default)]
struct Before {
    last: Option<(char, Class)>,
    /// A pictograph and what hangs on it.
    pictograph: bool,
    /// A consonant and what hangs on it; and whether there is a linker among it.
    consonant: bool,
    linked: bool,
    /// An odd number of regional indicators.
    odd: bool,
}

impl Before {
    /// Tells whether a character joins what is before it, and takes it in.
    fn joins(&mut self, character: char, class: Class) -> bool {
        let Some((last, before)) = self.last.replace((character, class)) else {
            self.take(class, false);
            return false;
        };
        let joins = match (before, class) {
            (Control, _) | (_, Control) => last == '\r' && character == '\n',
            (LeadingJamo, LeadingJamo | VowelJamo | OpenSyllable | ClosedSyllable)
            | (OpenSyllable | VowelJamo, VowelJamo | TrailingJamo)
            | (ClosedSyllable | TrailingJamo, TrailingJamo)
            | (_, Extend | ConjunctExtend | Linker | Joiner | SpacingMark)
            | (Prepend, _) => true,
            (_, Consonant) => self.linked,
            (Joiner, Pictograph) => self.pictograph,
            (Regional, Regional) => self.odd,
            _ => false,
        };
        self.take(class, before == Joiner);
        joins
    }

    fn take(&mut self, class: Class, behind_joiner: bool) {
        let hangs = matches!(class, Extend | ConjunctExtend | Linker | Joiner);
        self.pictograph = class == Pictograph || (self.pictograph && hangs && !behind_joiner);
        self.consonant = class == Consonant || (self.consonant && hangs && class != Extend);
        self.linked = self.consonant && class != Consonant && (self.linked || class == Linker);
        self.odd = class == Regional && !self.odd;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_segmentation::UnicodeSegmentation;

    use super::*;

    fn is_one(text: &str) -> bool {
        text.graphemes(true).count() == 1
    }

    /// What the answers of `unicode-segmentation` say of a character.
    fn class(character: char) -> usize {
        let is_one = |before: &str, behind: &str| is_one(&format!("{before}{character}{behind}"));
        let class = if !is_one("", "\u{308}") {
            Control
        } else if is_one("a", "") {
            match () {
                () if is_one("\u{1f600}", "\u{1f600}") => Joiner,
                () if !is_one("\u{1f600}", "\u{200d}\u{1f600}") => SpacingMark,
                () if is_one("\u{915}", "\u{915}") => Linker,
                () if is_one("\u{915}\u{94d}", "\u{915}") => ConjunctExtend,
                () => Extend,
            }
        } else {
            match () {
                () if is_one("", "a") => Prepend,
                () if is_one("\u{1f1e6}", "") => Regional,
                () if is_one("\u{1f600}\u{200d}", "") => Pictograph,
                () if is_one("\u{915}\u{94d}", "") => Consonant,
                () if is_one("\u{1100}", "") && is_one("", "\u{1160}") && !is_one("", "\u{11a8}") => LeadingJamo,
                () if is_one("", "\u{1160}") && is_one("\u{1160}", "") => VowelJamo,
                () if is_one("", "\u{11a8}") && is_one("\u{11a8}", "") => TrailingJamo,
                () => Other,
            }
        };
        class as usize
    }

    #[test]
    fn the_table_says_of_each_character_what_unicode_segmentation_says_core_08() {
        let mut runs: Vec<(u32, usize)> = Vec::new();
        for code in 0..0x11_0000 {
            // Half pairs are no characters, and syllables are counted out.
            let class = match char::from_u32(code).filter(|_| !(0xac00..0xd7a4).contains(&code)) {
                Some(character) => class(character),
                None => 0,
            };
            match runs.last_mut() {
                Some((length, last)) if *last == class => *length += 1,
                _ => runs.push((1, class)),
            }
        }
        let mut bytes = Vec::new();
        for (length, class) in runs {
            let sevens = (0..4).rev().map(|seven| (length >> (7 * seven) & 0x7f) as u8).skip_while(|seven| *seven == 0);
            bytes.extend(sevens);
            *bytes.last_mut().unwrap() |= 0x80;
            bytes.push(class as u8);
        }
        assert!(bytes == RUNS, "the table is to be: {bytes:?}");
    }

    fn of_every_kind() -> impl Strategy<Value = String> {
        let odd = "[a \r\n\u{308}\u{200d}\u{200c}\u{915}\u{94d}\u{93c}\u{903}\u{600}\u{1f1e6}\u{1f1e7}\u{1f600}\u{2764}\u{fe0f}\
            \u{1100}\u{1160}\u{11a8}\u{ac00}\u{ac01}\u{e01}\u{1f3fd}\u{a9c0}\u{1b05}\u{1b44}]{0,12}";
        prop_oneof![odd, ".{0,12}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_cut_as_unicode_segmentation_cuts_it_core_08(text in of_every_kind()) {
            let own: Vec<&str> = Graphemes::new().ranges(&text).into_iter().map(|range| &text[range]).collect();
            prop_assert_eq!(own, text.graphemes(true).collect::<Vec<_>>());
        }
    }
}
