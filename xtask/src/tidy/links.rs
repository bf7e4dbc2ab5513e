//! Links between pages: every file and heading that a page points to exists.
//!
//! Links to other hosts are not followed: a check that needs the network fails for reasons that are not ours.

use std::collections::{BTreeMap, BTreeSet};

use super::markdown;
use crate::finding::Finding;

/// Checks the links of every Markdown file; `paths` are all files, those that are no text as well.
pub(super) fn check<'a>(paths: impl Iterator<Item = &'a str>, texts: &BTreeMap<&str, String>) -> Vec<Finding> {
    let mut places: BTreeSet<String> = BTreeSet::new();
    for path in paths {
        places.extend(path.match_indices('/').map(|(at, _)| path[..at].to_owned()));
        places.insert(path.to_owned());
    }
    let mut findings = Vec::new();
    for (&path, text) in texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (line, target) in markdown::prose(text).flat_map(|(line, text)| targets(text).map(move |to| (line, to))) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let resolved = if file.is_empty() { path.to_owned() } else { resolve(path, file) };
            if !places.contains(&resolved) {
                findings.push(Finding::new(path, line, "links", format!("`{target}` leads nowhere")).about(target));
                continue;
            }
            let known =
                texts.get(resolved.as_str()).is_none_or(|text| heading.is_empty() || anchors(text).contains(heading));
            if !known && resolved.ends_with(".md") {
                let advice = format!("`{target}`: there is no such heading in {resolved}");
                findings.push(Finding::new(path, line, "links", advice).about(target));
            }
        }
    }
    findings
}

/// Lists what the links of a line point to; code spans hold no links.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(move |(at, _)| {
        let in_code = line[..at].matches('`').count() % 2 == 1;
        let rest = &line[at + 2..];
        let target = rest[..rest.find(')')?].split(' ').next()?;
        (!in_code && !target.is_empty()).then_some(target)
    })
}

fn resolve(from: &str, target: &str) -> String {
    if let Some(absolute) = target.strip_prefix('/') {
        return absolute.trim_end_matches('/').to_owned();
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Lists the anchors of a page, as its renderers make them.
fn anchors(text: &str) -> BTreeSet<String> {
    markdown::headings(text)
        .map(|(_, _, title)| {
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str) -> Vec<String> {
        let texts = [("docs/a.md", text.to_owned()), ("docs/adr/b.md", "# The `B` title\n".to_owned())];
        let paths = ["docs/a.md", "docs/adr/b.md", "docs/images/c.webp"].into_iter();
        check(paths, &BTreeMap::from(texts)).into_iter().map(|finding| finding.item).collect()
    }

    #[test]
    fn links_to_files_folders_and_headings_resolve() {
        let text = "# A\n[b](adr/b.md) [c](adr/) [d](../docs/a.md#a) [e](#a) [f](https://x.y) [g](adr/b.md#the-b-title) ![h](images/c.webp)\n";
        assert!(broken(text).is_empty(), "{:?}", broken(text));
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        assert_eq!(broken("# A\n[b](b.md) [c](#no) [d](adr/b.md#no)\n"), ["b.md", "#no", "adr/b.md#no"]);
    }

    #[test]
    fn code_is_no_link() {
        assert!(broken("# A\n`[b](b.md)`\n```\n[b](b.md)\n```\n").is_empty());
    }
}
