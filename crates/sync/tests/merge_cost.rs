//! A merge ends in bounded time and falls back to coarser parts where a text is too large (CORE-07).

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Instant;

use antiphon_sync::{Piece, TEXT_BYTES_MAX, clean, merge_text};

/// Generous, since these run unoptimised on busy machines: a quadratic step on such texts takes hours.
const SECONDS_MAX: u64 = 60;

/// A deterministic sequence of numbers.
fn numbers(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    }
}

/// A text of about 1 MB out of `vocabulary` words, with so many words on a line.
fn text(vocabulary: usize, words_per_line: usize) -> Vec<String> {
    let mut number = numbers(7);
    let word = |at: usize, number: usize| match (at + 1) % words_per_line {
        0 => format!("w{number}\n"),
        _ => format!("w{number} "),
    };
    let mut parts = Vec::new();
    let mut bytes = 0;
    while bytes < 1_000_000 {
        parts.push(word(parts.len(), number(vocabulary)));
        bytes += parts[parts.len() - 1].len();
    }
    parts
}

/// So many words replaced, each at a place that counts `part` modulo 4, so that two sides never meet.
fn edited(parts: &[String], edits: usize, part: usize) -> String {
    let mut number = numbers(11 + part as u64);
    let mut parts = parts.to_vec();
    for edit in 0..edits {
        let at = number(parts.len() / 4) * 4 + part;
        let end = if parts[at].ends_with('\n') { "\n" } else { " " };
        parts[at] = format!("edit{part}x{edit}{end}");
    }
    parts.concat()
}

fn timed(name: &str, base: &str, mine: &str, theirs: &str) -> Vec<Piece> {
    let started = Instant::now();
    let pieces = merge_text(base, mine, theirs);
    let took = started.elapsed();
    eprintln!("{name}: {} ms, {} pieces", took.as_millis(), pieces.len());
    assert!(took.as_secs() < SECONDS_MAX, "{name} took {took:?}");
    pieces
}

#[test]
fn a_megabyte_with_ten_thousand_edits_on_each_side_merges_in_bounded_time_core_07() {
    for (name, vocabulary, words_per_line) in
        [("many words", 100_000, 12), ("few words", 20, 12), ("short lines", 5, 2), ("one word", 1, 12)]
    {
        let parts = text(vocabulary, words_per_line);
        let (mine, theirs) = (edited(&parts, 10_000, 0), edited(&parts, 10_000, 2));
        let pieces = timed(name, &parts.concat(), &mine, &theirs);
        let mut read = String::new();
        for piece in &pieces {
            match piece {
                Piece::Merged(text) => read.push_str(text),
                Piece::Overlap { mine, theirs, .. } => {
                    write!(read, "{mine} {theirs}").unwrap();
                }
            }
        }
        let read: HashSet<&str> = read.split_whitespace().collect();
        for side in [&mine, &theirs] {
            let lost = side.split_whitespace().find(|word| word.starts_with("edit") && !read.contains(word));
            assert_eq!(lost, None, "{name}");
        }
    }
}

#[test]
fn lines_too_long_to_compare_by_words_count_as_replaced_core_07() {
    let parts = text(100_000, usize::MAX);
    let base = format!("title\n{}\nend of it", parts.concat());
    let mine = base.replace("w7 ", "mine ").replace("title", "my title");
    let theirs = base.replace("w8 ", "theirs ").replace("end of it", "end of it all");
    let pieces = timed("one line", &base, &mine, &theirs);
    assert!(matches!(&pieces[0], Piece::Overlap { base, .. } if base.len() > 1_000_000), "the long line as a whole");
    assert!(clean(&pieces).is_none());
}

#[test]
fn texts_above_the_bound_are_one_overlap_and_are_not_compared_core_07() {
    let base = "word ".repeat(TEXT_BYTES_MAX / 5 + 1);
    let (mine, theirs) = (format!("x {base}"), format!("{base} y"));
    let pieces = timed("above the bound", &base, &mine, &theirs);
    assert_eq!(pieces, [Piece::Overlap { base: base.clone(), mine: mine.clone(), theirs }]);
    assert_eq!(clean(&merge_text(&base, &mine, &base)).as_deref(), Some(mine.as_str()), "one side alone always merges");
}
