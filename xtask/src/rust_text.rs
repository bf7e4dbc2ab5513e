//! Rust source as text with its comments and literals blanked, so that a search finds code only.
//!
//! It is no parser: it knows comments, strings, characters and braces, which is enough to measure functions and to
//! find calls. Law: the blanked text has the same lines as the source. It never fails: odd text blanks oddly.

use std::ops::RangeInclusive;

/// One function of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of `fn`, from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace.
    pub lines: usize,
}

/// A Rust file, ready to be searched.
pub struct RustText {
    code: String,
    tests: Vec<RangeInclusive<usize>>,
}

impl RustText {
    /// Blanks comments and literals and finds the regions under `#[cfg(test)]`.
    pub fn new(source: &str) -> RustText {
        let code = blank(source);
        let tests = test_regions(&code);
        RustText { code, tests }
    }

    /// Returns whether a line (from 1) stands under `#[cfg(test)]`.
    pub fn tests_at(&self, line: usize) -> bool {
        self.tests.iter().any(|region| region.contains(&line))
    }

    /// Returns the lines on which a word or path stands as code.
    pub fn find(&self, pattern: &str) -> Vec<usize> {
        let mut lines = Vec::new();
        for (index, line) in self.code.lines().enumerate() {
            let hit = line.match_indices(pattern).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let after = line[at + pattern.len()..].chars().next();
                let starts = !pattern.starts_with(word) || !before.is_some_and(word);
                let ends = !pattern.ends_with(word) || !after.is_some_and(word);
                starts && ends
            });
            if hit {
                lines.push(index + 1);
            }
        }
        lines
    }

    /// Lists the functions that have a body.
    pub fn functions(&self) -> Vec<Function> {
        let bytes = self.code.as_bytes();
        let mut functions = Vec::new();
        for (at, _) in self.code.match_indices("fn ") {
            if at > 0 && word(char::from(bytes[at - 1])) {
                continue;
            }
            let name: String = self.code[at + 3..].chars().take_while(|&c| word(c)).collect();
            let Some(open) = body_start(bytes, at) else { continue };
            if name.is_empty() {
                continue;
            }
            let close = matching_brace(bytes, open);
            let line = line_of(bytes, at);
            functions.push(Function { name, line, lines: line_of(bytes, close) - line + 1 });
        }
        functions
    }
}

fn word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count()
}

/// Finds the brace that opens a body, or `None` where a `;` ends the item first.
fn body_start(bytes: &[u8], from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn matching_brace(bytes: &[u8], open: usize) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len() - 1
}

fn test_regions(code: &str) -> Vec<RangeInclusive<usize>> {
    let bytes = code.as_bytes();
    code.match_indices("#[cfg(test)]")
        .filter_map(|(at, mark)| {
            let open = body_start(bytes, at + mark.len())?;
            Some(line_of(bytes, at)..=line_of(bytes, matching_brace(bytes, open)))
        })
        .collect()
}

/// Replaces comments and literals by spaces and keeps every line break.
fn blank(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = opaque_end(source, at);
        if end > at {
            code.extend(source[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
            continue;
        }
        let c = source[at..].chars().next().unwrap_or(' ');
        code.push(c);
        at += c.len_utf8();
    }
    code
}

/// Returns where the comment or literal that begins at `at` ends, or `at` where none begins.
fn opaque_end(source: &str, at: usize) -> usize {
    let rest = &source[at..];
    let inside_word = source[..at].chars().next_back().is_some_and(word);
    if rest.starts_with("//") {
        return at + rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return at + block_comment_length(rest);
    }
    if rest.starts_with('"') {
        return at + string_length(rest);
    }
    if rest.starts_with('\'') {
        return at + character_length(rest);
    }
    if !inside_word && rest.starts_with(['r', 'b', 'c']) {
        return at + raw_string_length(rest);
    }
    at
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let tail = &rest.as_bytes()[at..];
        if tail.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A quote begins a character literal, or a lifetime, which stays (length 0).
fn character_length(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    let Some((_, first)) = chars.next() else { return 0 };
    if first == '\\' {
        let closing = chars.skip(1).find(|&(_, c)| c == '\'');
        return closing.map_or(rest.len(), |(at, _)| at + 1);
    }
    match chars.next() {
        Some((at, '\'')) => at + 1,
        _ => 0,
    }
}

/// `r"`, `r#"`, `br#"`, `b"`, `c"`: the length of the literal, or 0 where the letters begin a plain word.
fn raw_string_length(rest: &str) -> usize {
    let prefix = rest.find(|c: char| !matches!(c, 'r' | 'b' | 'c')).unwrap_or(rest.len());
    if prefix > 2 {
        return 0;
    }
    let raw = rest[..prefix].contains('r');
    let hashes = rest[prefix..].bytes().take_while(|&byte| byte == b'#').count();
    let body = prefix + hashes;
    if !rest[body..].starts_with('"') || (hashes > 0 && !raw) {
        return 0;
    }
    if !raw {
        return body + string_length(&rest[body..]);
    }
    let closing = format!("\"{}", "#".repeat(hashes));
    rest[body + 1..].find(&closing).map_or(rest.len(), |end| body + 1 + end + closing.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_not_code() {
        let text = RustText::new(
            "// todo!()\n/* a /* todo!() */ b */\nlet a = \"todo!() \\\" todo!()\";\nlet b = r#\"todo!()\"#;\nlet c = '\"'; todo!();\n",
        );
        assert_eq!(text.find("todo!"), [5]);
    }

    #[test]
    fn lifetimes_are_no_characters() {
        let text = RustText::new("fn a<'a>(b: &'a str) { let c = '\\''; let d = 'x'; todo!() }\n");
        assert_eq!(text.find("todo!"), [1]);
    }

    #[test]
    fn a_pattern_is_found_as_a_whole_word_only() {
        let text = RustText::new("my_env::var();\nenv::variable();\nstd::env::var();\n");
        assert_eq!(text.find("env::var"), [3]);
    }

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let text =
            RustText::new("trait A {\n    fn a();\n}\nfn b(x: [u8; 2]) -> u8 {\n    { 1 }\n}\nlet f: fn (u8);\n");
        assert_eq!(text.functions(), [Function { name: "b".into(), line: 4, lines: 3 }]);
    }

    #[test]
    fn tests_are_a_region() {
        let text = RustText::new("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n");
        assert_eq!((1..=6).filter(|&line| text.tests_at(line)).collect::<Vec<_>>(), [2, 3, 4, 5]);
    }

    #[test]
    fn lines_stay_where_they_were() {
        let source = "a\n\"b\nc\"\n/* d\n*/ e\n";
        assert_eq!(blank(source).lines().count(), source.lines().count());
    }
}
