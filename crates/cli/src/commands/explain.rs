//! `antiphon explain CODE`: what a code means, whether data is safe, what to do.
//!
//! It needs neither configuration nor database, so it helps also where nothing else works. Without a code it lists all;
//! a code that does not exist is refused with the nearest one that does.

use antiphon_model::{Class, Code};
use clap::Args;
use serde_json::json;

use crate::{
    context::Context,
    fault::{Stop, exit_code, not_found},
    nearest::nearest,
    output::Tone,
};

/// The arguments of `explain`.
#[derive(Debug, Args)]
#[command(before_help = "Examples:\n  antiphon explain SLOT_LOST\n  antiphon explain --json WAL_LEVEL")]
pub(crate) struct ExplainArgs {
    /// The code, such as SLOT_LOST; without one, all are listed
    code: Option<String>,
}

/// Prints the explanation.
pub(crate) fn run(context: &Context, args: ExplainArgs) -> Result<(), Stop> {
    let out = &context.out;
    let Some(name) = args.code else {
        if out.json() {
            let all: Vec<_> = Code::ALL.iter().map(|code| document(*code)).collect();
            return out.document(&json!({"version": 1, "codes": all}));
        }
        let rows = Code::ALL.iter().map(|code| vec![code.to_string(), code.title().to_owned()]).collect();
        return out.table(&["code", "meaning"], rows);
    };
    let wanted = name.trim().to_uppercase().replace('-', "_");
    let Some(code) = Code::ALL.iter().copied().find(|code| code.as_str() == wanted) else {
        let near = nearest(&wanted, Code::ALL.iter().map(|code| code.as_str()));
        let advice = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return Err(not_found(format!("there is no code {wanted}{advice}")));
    };
    if out.json() {
        let mut document = document(code);
        document["version"] = json!(1);
        return out.document(&document);
    }
    out.toned(Tone::Strong, &format!("{code}: {}", code.title()))?;
    out.line("")?;
    out.line(code.hint())?;
    out.line("")?;
    out.line(&format!("Who can mend it: {}. Commands that end with it exit with {}.", who(code), exit_code(code)))
}

fn document(code: Code) -> serde_json::Value {
    json!({
        "code": code.as_str(), "title": code.title(), "hint": code.hint(), "class": class(code),
        "exitCode": exit_code(code),
    })
}

fn class(code: Code) -> &'static str {
    match code.class() {
        Class::Transient => "transient",
        Class::Operator => "operator",
        Class::Caller => "caller",
        Class::Bug => "bug",
    }
}

fn who(code: Code) -> &'static str {
    match code.class() {
        Class::Transient => "it may pass by itself; Antiphon tries again",
        Class::Operator => "a person who runs the system",
        Class::Caller => "whoever asked",
        Class::Bug => "we; please report it",
    }
}
