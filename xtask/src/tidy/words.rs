//! Words that stand in no file, and SQL in lower case.
//!
//! The words are `tidy.toml`'s: paths of one machine, marks of unfinished work. SQL is read more than written, and
//! lower case tells our own statements from quotations of others'. It looks at text, not at meaning.

use super::{CONFIG, File, config::Config};
use crate::finding::Finding;

/// How a statement of SQL begins, here in lower case; replication commands have other words.
const SQL: [&str; 11] = [
    "select ",
    "insert into ",
    "update only ",
    "delete from ",
    "create table ",
    "create index ",
    "create function ",
    "create publication ",
    "alter table ",
    "drop table ",
    "drop publication ",
];

/// Checks for forbidden words.
pub(super) fn check(file: &File<'_>, config: &Config) -> Vec<Finding> {
    if file.path == CONFIG {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for word in &config.words {
            for text in word.texts.iter().filter(|text| line.contains(text.as_str())) {
                let advice = format!("`{text}`: {}", word.instead);
                findings.push(Finding::new(file.path, index + 1, "words", advice).about(text));
            }
        }
    }
    findings
}

/// Checks that SQL is in lower case: in a SQL file at a line's beginning, elsewhere after a quote.
pub(super) fn check_sql(file: &File<'_>) -> Vec<Finding> {
    let sql_file = file.path.ends_with(".sql");
    let starts = SQL.map(str::to_uppercase);
    let shouts = |line: &str| {
        starts.iter().any(|start| {
            if sql_file { line.trim_start().starts_with(start.as_str()) } else { line.contains(&format!("\"{start}")) }
        })
    };
    let lines = file.text.lines().enumerate().filter(|(_, line)| shouts(line));
    lines.map(|(index, _)| Finding::new(file.path, index + 1, "sql-case", "write SQL in lower case")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::config::Word;

    #[test]
    fn a_word_is_found_in_every_kind_of_file_but_the_list() {
        let word = Word { texts: vec!["/place/".into()], instead: "no".into() };
        let config = Config { words: vec![word], ..Config::default() };
        let lines = |path| check(&File { path, text: "a\n/place/me\n" }, &config).into_iter().map(|f| f.line);
        assert_eq!(lines("a.md").collect::<Vec<_>>(), [2]);
        assert_eq!(lines(CONFIG).count(), 0);
    }

    #[test]
    fn sql_in_upper_case_is_found() {
        let rust = format!("query(\"{} 1\");\nquery(\"select 1\");\n// {} 1\n", "SELECT", "SELECT");
        assert_eq!(check_sql(&File { path: "a.rs", text: &rust }).len(), 1);
        let sql = format!("  {} a set b = 1;\nupdate a;\n", "UPDATE ONLY");
        assert_eq!(check_sql(&File { path: "a.sql", text: &sql }).len(), 1);
    }
}
