//! Cuts a text into the tokens by which it is merged.
//!
//! A word is what stands between two spaces, from its first letter or digit to its last, so that `don't`, `1,000.50`
//! and `2026-11-21` are one each; marks before and after it stand alone. Scripts that write without spaces between
//! words have no such bounds: each Chinese or Japanese character is a word. Spaces in a row are one token, and so is
//! each line break. No token begins or ends inside a character as people see it (grapheme cluster), and the tokens
//! written one after the other are the text.

use std::ops::Range;

use super::{graphemes::Graphemes, part};

/// What a character is to a merge.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Ideograph,
    Mark,
    Space,
    Break,
}

/// The tokens by which texts are merged: words, marks, spaces and line breaks, in order and without a gap.
pub fn text_tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut spaces: Option<Range<usize>> = None;
    let mut run: Vec<(Range<usize>, Kind)> = Vec::new();
    for range in Graphemes::new().ranges(text) {
        let character = part(text, range.clone());
        let kind = kind(character);
        if kind != Kind::Space {
            tokens.extend(spaces.take().map(|spaces| part(text, spaces)));
        }
        if matches!(kind, Kind::Letter | Kind::Mark) {
            run.push((range, kind));
            continue;
        }
        cut_run(text, &mut run, &mut tokens);
        match &mut spaces {
            _ if kind != Kind::Space => tokens.push(character),
            Some(spaces) => spaces.end = range.end,
            None => spaces = Some(range),
        }
    }
    cut_run(text, &mut run, &mut tokens);
    tokens.extend(spaces.map(|spaces| part(text, spaces)));
    tokens
}

/// The lines of a text with their ends; what follows the last end is a line too.
pub(super) fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Whether a part of a text, cut at tokens, holds a word.
pub(super) fn has_word(part: &str) -> bool {
    part.chars().any(is_letter)
}

/// Cuts what stands between two spaces: marks, one word, marks.
fn cut_run<'a>(text: &'a str, run: &mut Vec<(Range<usize>, Kind)>, tokens: &mut Vec<&'a str>) {
    let first = run.iter().position(|(_, kind)| *kind == Kind::Letter);
    let last = run.iter().rposition(|(_, kind)| *kind == Kind::Letter);
    for (index, (range, _)) in run.drain(..).enumerate() {
        match (first, last, tokens.last_mut()) {
            (Some(first), Some(last), Some(word)) if index > first && index <= last => {
                *word = part(text, range.start - word.len()..range.end);
            }
            _ => tokens.push(part(text, range)),
        }
    }
}

fn kind(character: &str) -> Kind {
    let mut chars = character.chars();
    match chars.next() {
        Some('\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}') => Kind::Break,
        Some(first) if first.is_whitespace() && chars.clone().next().is_none() => Kind::Space,
        Some(first) if is_ideograph(first) => Kind::Ideograph,
        _ if character.chars().any(is_letter) => Kind::Letter,
        _ => Kind::Mark,
    }
}

fn is_letter(character: char) -> bool {
    character.is_alphanumeric()
}

/// Chinese characters and kana, of which each counts as a word.
fn is_ideograph(character: char) -> bool {
    matches!(character,
        '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{3096}' | '\u{309d}'..='\u{309f}'
        | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' | '\u{1b000}'..='\u{1b16f}'
        | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> String {
        text_tokens(text).join("|")
    }

    #[test]
    fn words_reach_from_their_first_letter_or_digit_to_their_last_core_07() {
        for (text, tokens) in [
            ("", ""),
            ("one two", "one| |two"),
            ("a  \t b ", "a|  \t |b| "),
            ("don't, 1,000.50 (2026-11-21)!", "don't|,| |1,000.50| |(|2026-11-21|)|!"),
            ("**bold** _x_ see https://a.example/b?c", "*|*|bold|*|*| |_|x|_| |see| |https://a.example/b?c"),
            ("-- \"…\"", "-|-| |\"|…|\""),
            ("a\r\nb\n\nc\r", "a|\r\n|b|\n|\n|c|\r"),
            ("今日は、晴れ", "今|日|は|、|晴|れ"),
            ("ok今go", "ok|今|go"),
            ("สวัสดีครับ น้ำ", "สวัสดีครับ| |น้ำ"),
            ("שלום, עולם", "שלום|,| |עולם"),
        ] {
            assert_eq!(cut(text), tokens, "{text:?}");
        }
    }

    #[test]
    fn no_character_as_people_see_it_is_cut_sy_39() {
        for (text, tokens) in [
            ("e\u{301}e\u{301} \u{e9}", "e\u{301}e\u{301}| |\u{e9}"),
            ("👩‍👩‍👧🇩🇪🇫🇷👍🏽", "👩‍👩‍👧|🇩🇪|🇫🇷|👍🏽"),
            ("क्षि ക്ഷ", "क्षि| |ക്ഷ"),
            (" \u{301}x", " \u{301}|x"),
            ("1\u{fe0f}\u{20e3}", "1\u{fe0f}\u{20e3}"),
            ("\u{1d11e}\u{20bb7}", "\u{1d11e}|\u{20bb7}"),
        ] {
            assert_eq!(cut(text), tokens, "{text:?}");
        }
    }
}
