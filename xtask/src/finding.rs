//! One thing that a check found: where, by which rule, and what to do instead.
//!
//! It prints as `path:line: rule: advice`, so that editors jump to it.

use std::fmt;

/// A breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the repository's root.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The rule's name, as `tidy.toml` knows it.
    pub rule: &'static str,
    /// What of the file it is about (a function, a word), for exceptions; may be empty.
    pub item: String,
    /// What to do instead.
    pub advice: String,
}

impl Finding {
    /// Makes a finding about a place in a file.
    pub fn new(path: &str, line: usize, rule: &'static str, advice: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, rule, item: String::new(), advice: advice.into() }
    }

    /// Names what in the file it is about, so that an exception can be that narrow.
    #[must_use]
    pub fn about(mut self, item: &str) -> Finding {
        item.clone_into(&mut self.item);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.advice)
    }
}
