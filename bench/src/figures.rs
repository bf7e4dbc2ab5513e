//! Figures of `streams` and `limits`: ours, the reference's where there is one, and the aim beside them.
//!
//! As a table on stderr and as JSON on stdout. A missed aim is said, never hidden, and fails nothing: the machine may be
//! shared.

use anyhow::Result;
use serde::Serialize;

/// What a figure is held against.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Aim {
    /// The figure is at most this.
    AtMost(f64),
    /// The figure is at most so many times the reference.
    TimesReference(f64),
    /// The figure is within this share of the reference, either way.
    Within(f64),
    /// Nothing.
    None,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    what: String,
    unit: &'static str,
    ours: f64,
    reference: Option<f64>,
    ratio: Option<f64>,
    aim: Aim,
    reached: Option<bool>,
    note: String,
}

impl Figure {
    /// Makes a figure without a reference.
    pub(crate) fn new(what: impl Into<String>, ours: f64, unit: &'static str) -> Figure {
        let what = what.into();
        Figure { what, unit, ours, reference: None, ratio: None, aim: Aim::None, reached: None, note: String::new() }
    }

    /// Sets what stands beside it.
    pub(crate) fn beside(mut self, reference: f64) -> Figure {
        self.reference = Some(reference);
        self.ratio = (reference > 0.0).then(|| self.ours / reference);
        self
    }

    /// Says what is wanted; after the reference.
    pub(crate) fn aim(mut self, aim: Aim) -> Figure {
        self.aim = aim;
        self.reached = match (aim, self.ratio) {
            (Aim::AtMost(most), _) => Some(self.ours <= most),
            (Aim::TimesReference(times), Some(ratio)) => Some(ratio <= times),
            (Aim::Within(share), Some(ratio)) => Some((ratio - 1.0).abs() <= share),
            (Aim::None | Aim::TimesReference(_) | Aim::Within(_), _) => None,
        };
        self
    }

    /// Adds a note.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Figure {
        self.note = note.into();
        self
    }
}

/// Everything that one run found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    server: String,
    reference: &'static str,
    figures: Vec<Figure>,
}

impl Figures {
    /// Begins a table: the database server's version, and what stands beside.
    pub(crate) fn new(server: &str, reference: &'static str) -> Figures {
        Figures { server: server.to_owned(), reference, figures: Vec::new() }
    }

    /// Adds a figure, and says it at once: a run takes minutes.
    pub(crate) fn add(&mut self, figure: Figure) {
        eprintln!("{}", line(&figure));
        self.figures.push(figure);
    }

    /// Prints the table to stderr and the JSON to stdout.
    pub(crate) fn print(&self) -> Result<()> {
        let mut text = format!("\n{}\nreference: {}\n", self.server, self.reference);
        text.push_str(&format!(
            "{:<46} {:>12} {:<10} {:>12} {:>6}  {:<18} {}\n",
            "what", "ours", "", "reference", "ratio", "aim", "note"
        ));
        for figure in &self.figures {
            text.push_str(&line(figure));
            text.push('\n');
        }
        eprintln!("{text}");
        serde_json::to_writer_pretty(std::io::stdout(), self)?;
        Ok(())
    }
}

fn line(figure: &Figure) -> String {
    let optional = |value: Option<f64>| value.map_or("-".to_owned(), number);
    let ratio = figure.ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
    let aim = match figure.aim {
        Aim::AtMost(most) => format!("at most {}", number(most)),
        Aim::TimesReference(times) => format!("ratio {times}"),
        Aim::Within(share) => format!("within {:.0} %", share * 100.0),
        Aim::None => String::new(),
    };
    let aim = match figure.reached {
        Some(true) => format!("{aim}: yes"),
        Some(false) => format!("{aim}: NO"),
        None => aim,
    };
    format!(
        "{:<46} {:>12} {:<10} {:>12} {:>6}  {:<18} {}",
        figure.what,
        number(figure.ours),
        figure.unit,
        optional(figure.reference),
        ratio,
        aim,
        figure.note
    )
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
