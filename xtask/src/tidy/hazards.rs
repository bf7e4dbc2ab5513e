//! The page of hazards of capture: a line for each, and each test that it names is in the tree.
//!
//! A hazard is `proved` by tests that carry its number in their names, or the line says why there is none. The page must
//! keep up in both directions: a test that carries a number stands on that number's line.
//! Law: no number is left out, so that a hazard nobody looked at shows as `open` instead of not at all.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{finding::Finding, rust_text::RustText};

/// The page.
pub(super) const PAGE: &str = "docs/reference/hazards.md";
/// The groups: letters and the last number.
const GROUPS: [(&str, usize); 4] = [("PG", 102), ("TG", 14), ("PL", 12), ("OP", 19)];
const STATES: [&str; 4] = ["proved", "not applicable", "not runnable", "open"];

/// A line of the page.
struct Line<'a> {
    number: usize,
    id: &'a str,
    state: &'a str,
    reason: &'a str,
}

impl<'a> Line<'a> {
    /// Returns the names of functions that it mentions.
    fn tests(&self) -> impl Iterator<Item = &'a str> {
        let quoted = self.reason.split('`').skip(1).step_by(2);
        quoted.filter(|name| {
            name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
        })
    }
}

/// Checks the page against the tests; a tree without the page has nothing to check.
pub(super) fn check(texts: &BTreeMap<&str, String>) -> Vec<Finding> {
    let Some(page) = texts.get(PAGE) else { return vec![Finding::new(PAGE, 1, "hazards", "the page is missing")] };
    let lines: Vec<Line<'_>> = lines(page).collect();
    let functions = functions(texts);
    let mut findings = check_order(&lines);
    for line in &lines {
        let finding = |advice: String| Finding::new(PAGE, line.number, "hazards", advice).about(line.id);
        if !STATES.contains(&line.state) {
            findings.push(finding(format!("`{}` is none of: {}", line.state, STATES.join(", "))));
        }
        if line.reason.is_empty() || (line.state == "proved" && line.tests().next().is_none()) {
            findings.push(finding(format!("{} names its test, or says why there is none", line.id)));
        }
        for test in line.tests() {
            if !functions.contains_key(test) {
                findings.push(finding(format!("there is no test `{test}`")));
            } else if line.state == "proved" && !carries(test, line.id) {
                findings.push(finding(format!("`{test}` does not end in the number of {}", line.id)));
            }
        }
        for (test, path) in functions.iter().filter(|(test, _)| carries(test, line.id)) {
            if !line.tests().any(|named| named == test.as_str()) {
                findings.push(finding(format!("`{test}` of {path} carries {} and is not named", line.id)));
            }
        }
    }
    findings
}

/// Writes the page as a terminal shows it, with a line of sums.
pub fn summary(page: &str) -> String {
    let mut text = String::new();
    let mut counts = [0_usize; STATES.len()];
    for line in lines(page) {
        let reason = line.reason.replace('`', "");
        // Writing to a string cannot fail.
        writeln!(text, "{:<6} {:<14} {reason}", line.id, line.state).ok();
        if let Some(index) = STATES.iter().position(|state| *state == line.state) {
            counts[index] += 1;
        }
    }
    let sums: Vec<String> = STATES.iter().zip(counts).map(|(state, count)| format!("{count} {state}")).collect();
    writeln!(text, "\nhazards: {}", sums.join(", ")).ok();
    text
}

fn lines(page: &str) -> impl Iterator<Item = Line<'_>> {
    page.lines().enumerate().filter_map(|(index, text)| {
        let mut cells = text.trim().strip_prefix('|')?.trim_end_matches('|').splitn(3, '|').map(str::trim);
        let (id, state, reason) = (cells.next()?, cells.next()?, cells.next()?);
        let of_group = GROUPS.iter().any(|(group, _)| id.strip_prefix(group).is_some_and(|rest| rest.starts_with('-')));
        of_group.then_some(Line { number: index + 1, id, state, reason })
    })
}

fn check_order(lines: &[Line<'_>]) -> Vec<Finding> {
    let wanted: Vec<String> =
        GROUPS.iter().flat_map(|(group, last)| (1..=*last).map(move |n| format!("{group}-{n:02}"))).collect();
    let mut findings = Vec::new();
    for id in &wanted {
        let count = lines.iter().filter(|line| line.id == id).count();
        if count != 1 {
            findings.push(Finding::new(PAGE, 1, "hazards", format!("{id} has {count} lines, and needs one")).about(id));
        }
    }
    for line in lines.iter().filter(|line| !wanted.iter().any(|id| id == line.id)) {
        findings.push(Finding::new(PAGE, line.number, "hazards", format!("{} is no hazard of the list", line.id)));
    }
    findings
}

/// Lists every test function with its file.
fn functions<'a>(texts: &BTreeMap<&'a str, String>) -> BTreeMap<String, &'a str> {
    let mut found = BTreeMap::new();
    for (&path, text) in texts.iter().filter(|(path, _)| path.starts_with("crates/") && path.ends_with(".rs")) {
        let rust = RustText::new(text);
        let whole = path.contains("/tests/") || path.ends_with("/tests.rs");
        for function in rust.functions() {
            if whole || rust.tests_at(function.line) {
                found.insert(function.name, path);
            }
        }
    }
    found
}

/// Tells whether a test's name carries a hazard's number as words of its own: `..._pg_10`, but not `..._pg_101`.
fn carries(test: &str, id: &str) -> bool {
    let wanted = id.to_ascii_lowercase().replace('-', "_");
    let words: Vec<&str> = test.split('_').collect();
    words.windows(2).any(|pair| pair.join("_") == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(first: &str, tests: &str) -> Vec<String> {
        let mut page = format!("| PG-01 | {first} |\n");
        for (group, last) in GROUPS {
            for number in 1..=last {
                if (group, number) != ("PG", 1) {
                    writeln!(page, "| {group}-{number:02} | open | nobody looked |").unwrap();
                }
            }
        }
        let texts = BTreeMap::from([(PAGE, page), ("crates/a/tests/a.rs", tests.to_owned())]);
        check(&texts).into_iter().map(|finding| finding.advice).collect()
    }

    #[test]
    fn a_proved_hazard_names_a_test_of_its_number_that_is_there() {
        let test = "fn it_holds_pg_01() {}";
        assert!(found("proved | `it_holds_pg_01`", test).is_empty());
        assert_eq!(found("proved | `it_held_pg_01`", test).len(), 2);
        assert_eq!(found("proved | by looking", "").len(), 1);
        assert_eq!(found("proved | `it_holds`", "fn it_holds() {}").len(), 1);
        assert_eq!(found("hoped | for", "").len(), 1);
    }

    #[test]
    fn a_test_that_carries_a_number_stands_on_its_line() {
        assert_eq!(found("open | later", "fn it_holds_pg_01() {}").len(), 1);
        assert!(found("open | half: `it_holds_pg_01`", "fn it_holds_pg_01() {}").is_empty());
        assert!(found("open | later", "fn it_holds_pg_010() {}").is_empty());
    }

    #[test]
    fn no_hazard_is_left_out_and_none_is_made_up() {
        let texts = BTreeMap::from([(PAGE, "| PG-01 | open | later |\n| PG-900 | open | later |\n".to_owned())]);
        assert_eq!(check(&texts).len(), 102 + 14 + 12 + 19 - 1 + 1);
    }
}
