//! Banned calls, each with what is called instead.
//!
//! The list is `tidy.toml`'s; floors F0 to F2 are held to more, because time, randomness and IO are their arguments.
//! Two shapes that no list can name are here too: globs in `pub use`, and names that begin with `get_`.

use super::{
    File,
    config::{Banned, Config},
};
use crate::{finding::Finding, rust_text::RustText};

/// Checks one Rust file.
pub(super) fn check(file: &File<'_>, rust: &RustText, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ban in config.banned.iter().filter(|ban| holds(ban, file.path)) {
        for call in &ban.calls {
            for line in rust.find(call) {
                if ban.tests || !(file.tests() || rust.tests_at(line)) {
                    let advice = format!("`{call}`: {}", ban.instead);
                    findings.push(Finding::new(file.path, line, "banned", advice).about(call));
                }
            }
        }
    }
    for line in rust.find("pub use") {
        if file.text.lines().nth(line - 1).is_some_and(|text| text.trim_end().ends_with("::*;")) {
            findings.push(Finding::new(file.path, line, "glob", "name what is exported: globs hide what is public"));
        }
    }
    for function in rust.functions().iter().filter(|function| function.name.starts_with("get_")) {
        let advice = format!("`{}`: name it by what it returns, without `get_`", function.name);
        findings.push(Finding::new(file.path, function.line, "names", advice).about(&function.name));
    }
    findings
}

fn holds(ban: &Banned, path: &str) -> bool {
    let under = |prefixes: &[String]| prefixes.iter().any(|prefix| path.starts_with(prefix.as_str()));
    under(&ban.within) && !under(&ban.except)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str, tests: bool) -> Vec<usize> {
        let ban = Banned {
            calls: vec!["Instant::now".into()],
            within: vec!["crates/".into()],
            except: vec!["crates/cli/".into()],
            tests,
            instead: "take the time".into(),
        };
        let config = Config { banned: vec![ban], ..Config::default() };
        let findings = check(&File { path, text }, &RustText::new(text), &config);
        findings.into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_banned_call_is_found_where_the_ban_holds() {
        let text = "fn a() { Instant::now() }\n// Instant::now\n";
        assert_eq!(found("crates/model/src/a.rs", text, false), [1]);
        assert!(found("crates/cli/src/a.rs", text, false).is_empty());
        assert!(found("xtask/src/a.rs", text, false).is_empty());
    }

    #[test]
    fn tests_are_held_to_it_only_if_it_says_so() {
        let text = "#[cfg(test)]\nmod tests {\n    fn a() { Instant::now() }\n}\n";
        assert!(found("crates/model/src/a.rs", text, false).is_empty());
        assert!(found("crates/model/tests/a.rs", "fn a() { Instant::now() }", false).is_empty());
        assert_eq!(found("crates/model/src/a.rs", text, true), [3]);
    }

    #[test]
    fn globs_and_get_names_are_found() {
        assert_eq!(found("crates/a.rs", "pub use a::*;\npub use b::C;\n", false), [1]);
        assert_eq!(found("crates/a.rs", "fn get_a() {}\nfn target() {}\n", false), [1]);
    }
}
