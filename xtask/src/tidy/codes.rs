//! Error codes and their pages: each code has a page, each page a code, and each page answers four questions.
//!
//! Whoever meets a code at night reads one page; a missing answer there is a defect like a missing branch.

use std::collections::BTreeMap;

use antiphon_model::Code;

use super::markdown;
use crate::finding::Finding;

/// The questions that every page answers, in this order.
const QUESTIONS: [&str; 4] = ["What happened", "Is data safe", "What Antiphon does by itself", "What you can do"];
const FOLDER: &str = "docs/errors/";
const TABLE: &str = "crates/model/src/codes.rs";

/// Checks the codes against their pages.
pub(super) fn check(texts: &BTreeMap<&str, String>) -> Vec<Finding> {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    check_codes(&codes, texts)
}

fn check_codes(codes: &[&str], texts: &BTreeMap<&str, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for code in codes {
        let path = format!("{FOLDER}{code}.md");
        match texts.get(path.as_str()) {
            Some(text) => findings.extend(check_page(&path, code, text)),
            None => {
                let line =
                    texts.get(TABLE).and_then(|table| table.lines().position(|l| l.contains(&format!("\"{code}\""))));
                let advice = format!("{code} has no page: write {path}");
                findings.push(Finding::new(TABLE, line.map_or(1, |index| index + 1), "codes", advice).about(code));
            }
        }
    }
    for path in texts.keys().filter(|path| path.starts_with(FOLDER)) {
        let name = path[FOLDER.len()..].trim_end_matches(".md");
        if !codes.contains(&name) {
            findings.push(Finding::new(path, 1, "codes", format!("no code is named {name}: remove the page")));
        }
    }
    findings
}

fn check_page(path: &str, code: &str, text: &str) -> Option<Finding> {
    let headings: Vec<(usize, &str)> = markdown::headings(text).map(|(_, level, title)| (level, title)).collect();
    let expected: Vec<(usize, &str)> =
        std::iter::once((1, code)).chain(QUESTIONS.iter().map(|&question| (2, question))).collect();
    if headings != expected {
        let advice = format!("the headings are `# {code}`, then `## {}`", QUESTIONS.join("`, `## "));
        return Some(Finding::new(path, 1, "codes", advice));
    }
    let empty = text.split("\n#").skip(1).find(|part| part.lines().skip(1).all(|line| line.trim().is_empty()));
    empty.map(|part| {
        let heading = part.lines().next().unwrap_or_default().trim_start_matches('#').trim();
        Finding::new(path, 1, "codes", format!("`{heading}` has no answer yet"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A_CODE\n\n## What happened\n\na\n\n## Is data safe\n\nb\n\n## What Antiphon does by itself\n\nc\n\n## What you can do\n\nd\n";

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let texts = files.iter().map(|&(path, text)| (path, text.to_owned())).collect();
        check_codes(&["A_CODE"], &texts).into_iter().map(|finding| finding.advice).collect()
    }

    #[test]
    fn a_code_has_a_page_and_a_page_has_a_code() {
        assert!(found(&[("docs/errors/A_CODE.md", PAGE)]).is_empty());
        assert_eq!(found(&[]), ["A_CODE has no page: write docs/errors/A_CODE.md"]);
        let both = [("docs/errors/A_CODE.md", PAGE), ("docs/errors/B_CODE.md", PAGE)];
        assert_eq!(found(&both), ["no code is named B_CODE: remove the page"]);
    }

    #[test]
    fn a_page_answers_every_question() {
        let short = PAGE.replace("## Is data safe\n", "");
        assert_eq!(found(&[("docs/errors/A_CODE.md", &short)]).len(), 1);
        let empty = PAGE.replace("\nc\n", "\n\n");
        assert_eq!(found(&[("docs/errors/A_CODE.md", &empty)]), ["`What Antiphon does by itself` has no answer yet"]);
    }
}
