//! Sizes: files, functions and the header that each module begins with.
//!
//! A long file or function is one that nobody reads whole; a header says what the file is, why, and what it refuses.
//! The first line of the header stands on the first line of the file.

use super::{File, config::Config};
use crate::{finding::Finding, rust_text::RustText};

/// Checks the length of source files, scripts and style sheets alike.
pub(super) fn check_file(file: &File<'_>, config: &Config) -> Option<Finding> {
    let code = [".rs", ".sh", ".sql", ".ts", ".tsx", ".js", ".css", ".html", ".py"];
    if !code.iter().any(|end| file.path.ends_with(end)) {
        return None;
    }
    let lines = file.text.lines().count();
    let most = if file.tests() { config.size.test_file_lines_max } else { config.size.file_lines_max };
    (lines > most).then(|| {
        let advice = format!("{lines} lines, at most {most}: give the second noun in it a file of its own");
        Finding::new(file.path, most + 1, "file-size", advice)
    })
}

/// Checks the length of each function.
pub(super) fn check_functions(file: &File<'_>, rust: &RustText, config: &Config) -> Vec<Finding> {
    let most = config.size.function_lines_max;
    let long = rust.functions().into_iter().filter(|function| function.lines > most);
    long.map(|function| {
        let advice = format!("`{}` has {} lines, at most {most}: name its steps", function.name, function.lines);
        Finding::new(file.path, function.line, "function-size", advice).about(&function.name)
    })
    .collect()
}

/// Checks that a module says what it is.
pub(super) fn check_header(file: &File<'_>, config: &Config) -> Option<Finding> {
    let lines = file.text.lines().take_while(|line| line.starts_with("//!")).count();
    let short = file.text.lines().count() <= config.size.header_short_file_lines;
    let least = if short || file.tests() { 1 } else { config.size.header_lines_min };
    let most = config.size.header_lines_max;
    let advice = match lines {
        0 => "begin the file with `//!`: what it is, why, its law, what it refuses".to_owned(),
        few if few < least => format!("{few} lines of header, at least {least}: say also why, and what it refuses"),
        many if many > most => format!("{many} lines of header, at most {most}: move the rest to docs"),
        _ => return None,
    };
    Some(Finding::new(file.path, 1, "header", advice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::config::Size;

    fn config() -> Config {
        let size = Size {
            file_lines_max: 4,
            test_file_lines_max: 6,
            function_lines_max: 2,
            header_lines_min: 2,
            header_short_file_lines: 2,
            header_lines_max: 3,
            decision_lines_max: 0,
        };
        Config { size, ..Config::default() }
    }

    fn file<'a>(path: &'a str, text: &'a str) -> File<'a> {
        File { path, text }
    }

    #[test]
    fn long_files_are_found_and_tests_may_be_longer() {
        let text = "a\n".repeat(5);
        assert_eq!(check_file(&file("a.rs", &text), &config()).map(|f| f.line), Some(5));
        assert_eq!(check_file(&file("a/tests.rs", &text), &config()), None);
        assert_eq!(check_file(&file("a.json", &text), &config()), None);
    }

    #[test]
    fn long_functions_are_found_by_name() {
        let text = "fn short() {}\nfn long() {\n\n}\n";
        let found = check_functions(&file("a.rs", text), &RustText::new(text), &config());
        assert_eq!(found.iter().map(|f| (f.item.as_str(), f.line)).collect::<Vec<_>>(), [("long", 2)]);
    }

    #[test]
    fn headers_are_neither_missing_nor_essays() {
        let long = "//!\n".repeat(4);
        let cases = [
            ("fn a() {}", true),
            ("//! a\n", false),
            ("//! a\n\n\n", true),
            ("//! a\n//! b\n\n", false),
            (&long, true),
        ];
        for (text, breach) in cases {
            assert_eq!(check_header(&file("a.rs", text), &config()).is_some(), breach, "{text}");
        }
    }
}
