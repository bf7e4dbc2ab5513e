//! `antiphon resync`: the guided way to begin anew where capture cannot go on.
//!
//! It says what it will do and what stays, asks, and does it. A server that runs takes the new epoch up by itself.

use antiphon_server::admin::ResyncPlan;
use clap::Args;
use serde_json::json;

use super::{ask, slots::bytes};
use crate::{context::Context, fault::Stop};

/// The arguments of `resync`.
#[derive(Debug, Args)]
#[command(before_help = "Examples:\n  antiphon resync --dry-run\n  antiphon resync\n  antiphon resync --yes --json")]
pub(crate) struct ResyncArgs {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Shows the plan, asks, and begins anew.
pub(crate) async fn run(context: &Context, args: ResyncArgs) -> Result<(), Stop> {
    let (_, admin) = context.admin()?;
    let plan = admin.resync_plan().await?;
    if args.dry_run && context.out.json() {
        return context.out.document(&json!({"version": 1, "plan": plan}));
    }
    for line in describe(&plan) {
        context.out.talk(&line);
    }
    if args.dry_run {
        context.out.talk("nothing was changed");
        return Ok(());
    }
    if !args.yes {
        ask::confirm(context, "Begin anew?", "--yes").await?;
    }
    let (epoch, slot) = admin.resync(&|line| context.out.talk(&line)).await?;
    if context.out.json() {
        return context.out.document(&json!({"version": 1, "epoch": epoch, "slot": slot, "tables": plan.tables}));
    }
    context.out.line(&format!("epoch {epoch}"))?;
    context.out.talk("the copies begin once `antiphon serve` runs; `antiphon snapshot list` shows how far they are");
    Ok(())
}

fn describe(plan: &ResyncPlan) -> Vec<String> {
    let mut lines = vec![format!("epoch {} ends; every client is told to list again", plan.epoch)];
    lines.extend(match &plan.slot {
        _ if !plan.decodes => None,
        Some(slot) => {
            let held = slot.retained_bytes.map_or_else(String::new, |held| format!(", with {} of log", bytes(held)));
            Some(format!("the slot {} is dropped{held}, and made anew", slot.name))
        }
        None => Some("the slot is gone, and made anew".to_owned()),
    });
    for table in &plan.tables {
        lines.push(format!("{} is copied anew: about {} rows", table.table, table.rows_estimated));
    }
    lines.push("the database's rows stay as they are, and edits that wait on devices are sent afterwards".to_owned());
    lines.push("the history of changes before now is no longer served".to_owned());
    lines
}
