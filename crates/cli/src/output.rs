//! Where a command's words go: data to stdout, talk to stderr, colours only where somebody sees them.
//!
//! Laws: with `--json` stdout holds one document, or one a line, and nothing else; a reader that goes away ends the
//! command with success; control characters in data never reach a terminal (SE-13); no meaning by colour alone.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use antiphon_server::admin::Fault;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use crate::{
    environment::Environment,
    fault::{self, Stop},
};

/// The printer of one run.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    json: bool,
    colours_out: bool,
    colours_talk: bool,
    talk_on_terminal: bool,
}

/// The few meanings that colour underlines.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    /// Went well.
    Good,
    /// Deserves a look.
    Warning,
    /// Went wrong.
    Bad,
    /// Less important.
    Quiet,
    /// A heading.
    Strong,
}

impl Output {
    /// Looks at the terminal and the environment once.
    pub(crate) fn new(json: bool, environment: &Environment) -> Output {
        let colours = environment.var("NO_COLOR").is_none_or(str::is_empty) && environment.var("TERM") != Some("dumb");
        let talk_on_terminal = io::stderr().is_terminal();
        Output {
            json,
            colours_out: colours && !json && io::stdout().is_terminal(),
            colours_talk: colours && talk_on_terminal,
            talk_on_terminal,
        }
    }

    /// Tells whether `--json` was given.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Writes one JSON document as one line of data.
    pub(crate) fn document(&self, document: &Value) -> Result<(), Stop> {
        self.raw(&document.to_string())
    }

    /// Writes a line of data as it is: JSON, SQL or a script of our own making.
    pub(crate) fn raw(&self, line: &str) -> Result<(), Stop> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(line.as_bytes())?;
        stdout.write_all(b"\n")?;
        stdout.flush()?;
        Ok(())
    }

    /// Writes a line of data for people; control characters are made visible.
    pub(crate) fn line(&self, line: &str) -> Result<(), Stop> {
        self.raw(&neutral(line))
    }

    /// Writes a line of data in a tone.
    pub(crate) fn toned(&self, tone: Tone, line: &str) -> Result<(), Stop> {
        self.raw(&paint(self.colours_out, tone, &neutral(line)))
    }

    /// Writes a table for people.
    pub(crate) fn table(&self, headings: &[&str], rows: Vec<Vec<String>>) -> Result<(), Stop> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
        for row in rows {
            table.add_row(row.iter().map(|cell| neutral(cell).into_owned()));
        }
        table.lines().try_for_each(|line| self.raw(line.strip_prefix(' ').unwrap_or(&line).trim_end()))
    }

    /// Returns text in a tone, if stdout shows colours.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        paint(self.colours_out, tone, text)
    }

    /// Says something to the person; never data.
    pub(crate) fn talk(&self, line: &str) {
        self.talk_toned(Tone::Quiet, line);
    }

    /// Says something in a tone.
    pub(crate) fn talk_toned(&self, tone: Tone, line: &str) {
        let line = paint(self.colours_talk, tone, &neutral(line));
        // Nobody is left to be told that stderr is gone.
        writeln!(io::stderr().lock(), "{line}").unwrap_or_default();
    }

    /// Tells a fault on stderr, as text or as one JSON line.
    pub(crate) fn fault(&self, fault: &Fault) {
        if self.json {
            writeln!(io::stderr().lock(), "{}", fault::as_json(fault)).unwrap_or_default();
        } else {
            self.talk_toned(Tone::Bad, &fault::as_text(fault));
        }
    }

    /// Begins to show a step of work: a spinner on a terminal, a plain line elsewhere, nothing with `--json`.
    pub(crate) fn step(&self, what: &str) -> Step {
        if self.json {
            return Step { bar: None };
        }
        if !self.talk_on_terminal {
            self.talk(what);
            return Step { bar: None };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(neutral(what).into_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Step { bar: Some(bar) }
    }
}

/// A step of work being shown; dropping it ends the show.
#[derive(Debug)]
pub(crate) struct Step {
    bar: Option<ProgressBar>,
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Makes control characters visible, so that data cannot steer the terminal (SE-13); line breaks and tabs stay.
pub(crate) fn neutral(text: &str) -> Cow<'_, str> {
    // Besides the controls: marks that reorder what stands on the line, and line separators.
    let steers = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if steers(c) {
            out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn paint(colours: bool, tone: Tone, text: &str) -> String {
    let code = match tone {
        Tone::Good => "32",
        Tone::Warning => "33",
        Tone::Bad => "31",
        Tone::Quiet => return text.to_owned(),
        Tone::Strong => "1",
    };
    if colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_in_data_are_shown_and_not_obeyed_se_13() {
        for (hostile, shown) in [
            ("a\u{1b}[31mred", "a\\u{1b}[31mred"),
            ("x\u{9b}2J", "x\\u{9b}2J"),
            ("over\rwrite", "over\\u{d}write"),
            ("bell\u{7}", "bell\\u{7}"),
            ("\u{202e}gnp.exe", "\\u{202e}gnp.exe"),
            ("grüße\t✓\n", "grüße\t✓\n"),
        ] {
            assert_eq!(neutral(hostile), shown);
        }
    }

    #[test]
    fn colours_are_left_out_unless_asked_for() {
        assert_eq!(paint(false, Tone::Bad, "x"), "x");
        assert_eq!(paint(true, Tone::Bad, "x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
