//! Decisions in `docs/adr`: numbered without gaps, with a status, short enough to be read, and found from ARCHITECTURE.md.
//!
//! Accepted decisions are not edited but superseded, so a superseded one names its successor, which exists.
//! `0000-template.md` is the form; it is held to the same shape.

use std::collections::BTreeMap;

use super::{config::Config, markdown};
use crate::finding::Finding;

const FOLDER: &str = "docs/adr/";
const STATUS: &str = "Status: ";
/// Lists every decision.
const OVERVIEW: &str = "ARCHITECTURE.md";

/// Checks every decision.
pub(super) fn check(texts: &BTreeMap<&str, String>, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut numbers: Vec<u32> = Vec::new();
    let pages = texts.iter().filter(|(path, _)| path.starts_with(FOLDER) && path.ends_with(".md"));
    for (path, text) in pages.filter(|(path, _)| !path.ends_with("/README.md")) {
        let Some((digits, number)) = number(&path[FOLDER.len()..]) else {
            findings.push(Finding::new(path, 1, "decisions", "name it NNNN-title.md"));
            continue;
        };
        let next = numbers.last().map_or(number, |last| last + 1);
        if number != next {
            findings.push(Finding::new(path, 1, "decisions", format!("its number is {number:04}, expected {next:04}")));
        }
        numbers.push(number);
        let title = markdown::headings(text).find(|&(_, level, _)| level == 1).map_or("", |(_, _, title)| title);
        if !title.starts_with(&format!("{digits}. ")) {
            findings.push(Finding::new(path, 1, "decisions", format!("its title is `# {digits}. What was decided`")));
        }
        let lines = text.lines().count();
        if lines > config.size.decision_lines_max {
            let advice = format!("{lines} lines, at most {}: a decision is read whole", config.size.decision_lines_max);
            findings.push(Finding::new(path, lines, "decisions", advice));
        }
        findings.extend(check_status(path, text, texts));
        if number > 0 && texts.get(OVERVIEW).is_some_and(|overview| !overview.contains(*path)) {
            findings.push(Finding::new(OVERVIEW, 1, "decisions", format!("does not name {path}")));
        }
    }
    findings
}

fn number(name: &str) -> Option<(&str, u32)> {
    let (digits, _) = name.split_once('-')?;
    (digits.len() == 4).then(|| digits.parse().ok().map(|number| (digits, number)))?
}

fn check_status(path: &str, text: &str, texts: &BTreeMap<&str, String>) -> Option<Finding> {
    let line = text.lines().find_map(|line| line.strip_prefix(STATUS));
    let known = line.is_some_and(|status| match status.trim().trim_end_matches('.').split_once(" by ") {
        Some(("superseded", by)) => texts.keys().any(|other| other.starts_with(&format!("{FOLDER}{by}-"))),
        Some(_) => false,
        None => matches!(status.split([',', ' ']).next(), Some("proposed" | "accepted" | "rejected")),
    });
    (!known).then(|| {
        let advice = "needs a line `Status: accepted`, `proposed`, `rejected` or `superseded by NNNN` (which exists)";
        Finding::new(path, 1, "decisions", advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::config::Size;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let texts = files.iter().map(|&(path, text)| (path, text.to_owned())).collect();
        let config = Config { size: Size { decision_lines_max: 5, ..Size::default() }, ..Config::default() };
        check(&texts, &config).into_iter().map(|finding| finding.advice).collect()
    }

    #[test]
    fn decisions_are_numbered_without_gaps() {
        let first = ("docs/adr/0001-a.md", "# 0001. A\n\nStatus: accepted\n");
        assert!(found(&[first, ("docs/adr/0002-b.md", "# 0002. B\n\nStatus: accepted, 2026-01-01\n")]).is_empty());
        assert_eq!(
            found(&[first, ("docs/adr/0003-c.md", "# 0003. C\n\nStatus: proposed\n")]),
            ["its number is 0003, expected 0002"]
        );
    }

    #[test]
    fn a_decision_has_a_status_and_its_successor_exists() {
        assert_eq!(found(&[("docs/adr/0001-a.md", "# 0001. A\n")]).len(), 1);
        assert_eq!(found(&[("docs/adr/0001-a.md", "# 0001. A\n\nStatus: superseded by 0002\n")]).len(), 1);
        let both = [
            ("docs/adr/0001-a.md", "# 0001. A\n\nStatus: superseded by 0002\n"),
            ("docs/adr/0002-b.md", "# 0002. B\n\nStatus: accepted\n"),
        ];
        assert!(found(&both).is_empty());
    }

    #[test]
    fn a_decision_is_found_from_the_overview() {
        let decision = ("docs/adr/0001-a.md", "# 0001. A\n\nStatus: accepted\n");
        assert!(found(&[decision, ("ARCHITECTURE.md", "1. [a](docs/adr/0001-a.md)\n")]).is_empty());
        assert_eq!(found(&[decision, ("ARCHITECTURE.md", "# All\n")]), ["does not name docs/adr/0001-a.md"]);
    }

    #[test]
    fn a_decision_is_short() {
        let long = format!("# 0001. A\n\nStatus: accepted\n{}", "a\n".repeat(3));
        assert_eq!(found(&[("docs/adr/0001-a.md", &long)]), ["6 lines, at most 5: a decision is read whole"]);
    }
}
