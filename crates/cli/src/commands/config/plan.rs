//! `antiphon config plan`: what a configuration would change, before a server is started with it (OP-17).
//!
//! It exists for the moment in which a configuration is rolled back or forward: a table that it names may be gone by
//! now, or have been written to while nobody captured it. Law: it changes nothing, and an unsafe plan ends with the exit
//! code of its first reason.

use antiphon_model::Code;
use antiphon_server::admin::PlannedType;
use serde_json::json;

use crate::{
    context::Context,
    fault::{Stop, exit_code},
    output::Tone,
};

/// Shows the plan.
pub(super) async fn run(context: &Context) -> Result<(), Stop> {
    let (_, admin) = context.admin()?;
    let planned = admin.plan().await?;
    let worst = planned.iter().find(|line| !line.safe);
    if context.out.json() {
        context.out.document(&json!({"version": 1, "safe": worst.is_none(), "types": planned}))?;
    } else {
        planned.iter().try_for_each(|line| print(context, line))?;
        context.out.talk(match worst {
            None => {
                "nothing stands in the way; a running server goes on with what it has read until it is started again"
            }
            Some(_) => "unsafe: do not start a server with this; whoever runs goes on with what it has read",
        });
    }
    match worst {
        None => Ok(()),
        Some(line) => Err(Stop::Told(exit_code(line.code.unwrap_or(Code::ConfigInvalid)))),
    }
}

fn print(context: &Context, line: &PlannedType) -> Result<(), Stop> {
    let (word, tone) = match line.prospect {
        "goes_on" => ("goes on", Tone::Good),
        "copied" => ("copied", Tone::Good),
        "left" => ("left", Tone::Warning),
        "fails" => ("fails", Tone::Warning),
        _ => ("unsafe", Tone::Bad),
    };
    let name = line.entity_type.as_deref().unwrap_or("(not declared)");
    let mut text = format!("{name}, {}", line.table);
    if !line.detail.is_empty() {
        text.push_str(": ");
        text.push_str(&line.detail);
    }
    let text = crate::output::neutral(&text).into_owned();
    context.out.raw(&format!("{}  {text}", context.out.paint(tone, &format!("{word:<7}"))))
}
