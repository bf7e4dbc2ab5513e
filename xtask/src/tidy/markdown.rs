//! Markdown: one title each, and the parts of a page that checks look at.
//!
//! Lines inside code fences are no prose: nothing in them is a title or a link.

use super::File;
use crate::finding::Finding;

/// Lists the lines of prose with their numbers, from 1.
pub(super) fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((index + 1, line))
    })
}

/// Lists the headings of a page: level and text.
pub(super) fn headings(text: &str) -> impl Iterator<Item = (usize, usize, &str)> {
    prose(text).filter_map(|(number, line)| {
        let level = line.bytes().take_while(|&byte| byte == b'#').count();
        let title = line[level..].strip_prefix(' ')?;
        (1..=6).contains(&level).then(|| (number, level, title.trim()))
    })
}

/// Checks that a page has exactly one title.
pub(super) fn check(file: &File<'_>) -> Vec<Finding> {
    let titles: Vec<usize> = headings(file.text).filter(|&(_, level, _)| level == 1).map(|(line, _, _)| line).collect();
    if titles.is_empty() {
        return vec![Finding::new(file.path, 1, "title", "begin the page with one `# Title`")];
    }
    titles[1..].iter().map(|&line| Finding::new(file.path, line, "title", "one `#` a page: use `##`")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_one_title_and_fences_hold_none() {
        let lines = |text| check(&File { path: "a.md", text }).into_iter().map(|f| f.line).collect::<Vec<_>>();
        assert!(lines("# A\n## B\n```\n# not\n```\n").is_empty());
        assert_eq!(lines("## B\n"), [1]);
        assert_eq!(lines("# A\n\n# B\n"), [3]);
    }
}
