//! `antiphon slots`: replication slots, with what they hold back.
//!
//! A slot is where changes are lost or kept, so what loses changes asks first, and a slot in use is not dropped unless
//! `--force` says so. A new epoch is the one way to begin anew: every client is told to list again.

use antiphon_model::Lsn;
use antiphon_server::admin::Slot;
use clap::Subcommand;
use serde_json::json;

use super::ask;
use crate::{
    context::Context,
    fault::{Stop, usage},
};

/// The commands of `slots`.
#[derive(Debug, Subcommand)]
pub(crate) enum SlotsCommand {
    /// List the server's slots with what they hold back
    #[command(before_help = "Example:\n  antiphon slots list")]
    List,
    /// Create the configured slot (and its publication)
    #[command(before_help = "Examples:\n  antiphon slots create\n  antiphon slots create --new-epoch --yes")]
    Create {
        /// Begin a new epoch: drop what is left of the old slot, copy tables anew, tell every client to list again
        #[arg(long)]
        new_epoch: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Drop a slot; capture through it cannot go on afterwards
    #[command(before_help = "Example:\n  antiphon slots drop old_slot --yes")]
    Drop {
        /// The slot's name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Also while a connection uses it: that connection is ended first
        #[arg(long)]
        force: bool,
    },
    /// Move a slot forward; changes in between are lost to its reader
    #[command(before_help = "Example:\n  antiphon slots advance some_slot --to 0/16B3748 --yes")]
    Advance {
        /// The slot's name
        name: String,
        /// The position to move to
        #[arg(long, value_name = "LSN")]
        to: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Runs a command of `slots`.
pub(crate) async fn run(context: &Context, command: SlotsCommand) -> Result<(), Stop> {
    let (_, admin) = context.admin()?;
    match command {
        SlotsCommand::List => list(context, &admin.slots().await?),
        SlotsCommand::Create { new_epoch, yes } => {
            if new_epoch && !yes {
                let question = "Every client lists again and every table is copied anew. Begin a new epoch?";
                ask::confirm(context, question, "--yes").await?;
            }
            let epoch = if new_epoch { Some(admin.new_epoch().await?) } else { None };
            let slot = admin.create_slot(&|line| context.out.talk(&line)).await?;
            if context.out.json() {
                return context.out.document(&json!({"version": 1, "slot": slot, "epoch": epoch}));
            }
            context.out.line(&slot.name)?;
            context.out.talk(&match epoch {
                Some(epoch) => format!("epoch {epoch} began; capture takes it up by itself"),
                None => "the slot is there".to_owned(),
            });
            Ok(())
        }
        SlotsCommand::Drop { name, yes, force } => {
            if !yes {
                let typed = ask::text(context, &format!("Type the slot's name to drop {name}:"), "--yes").await?;
                if typed != name {
                    context.out.talk("nothing was changed");
                    return Err(Stop::Told(1));
                }
            }
            admin.drop_slot(&name, force).await?;
            done(context, &name, "dropped")
        }
        SlotsCommand::Advance { name, to, yes } => {
            let to: Lsn =
                to.parse().map_err(|_| usage(format!("--to takes a position such as 0/16B3748, not {to}")))?;
            if !yes {
                let question = format!("Changes up to {to} are lost to the reader of {name}. Advance it?");
                ask::confirm(context, &question, "--yes").await?;
            }
            admin.advance_slot(&name, to).await?;
            done(context, &name, "advanced")
        }
    }
}

fn done(context: &Context, name: &str, what: &str) -> Result<(), Stop> {
    if context.out.json() {
        return context.out.document(&json!({"version": 1, "slot": name, "done": what}));
    }
    context.out.line(&format!("{name} {what}"))
}

fn list(context: &Context, slots: &[Slot]) -> Result<(), Stop> {
    if context.out.json() {
        return context.out.document(&json!({"version": 1, "slots": slots}));
    }
    if slots.is_empty() {
        context.out.talk("there are no slots; `antiphon slots create` or the first `antiphon serve` makes one");
        return Ok(());
    }
    let rows = slots.iter().map(|slot| {
        vec![
            slot.name.clone(),
            slot.plugin.clone().unwrap_or_else(|| "-".into()),
            slot.database.clone().unwrap_or_else(|| "-".into()),
            slot.active_pid.map_or_else(|| "no".into(), |pid| format!("process {pid}")),
            slot.wal_status.clone().unwrap_or_else(|| "-".into()),
            slot.retained_bytes.map_or_else(|| "-".into(), bytes),
            slot.safe_wal_bytes.map_or_else(|| "no limit".into(), bytes),
            slot.confirmed.clone().unwrap_or_else(|| "-".into()),
        ]
    });
    let headings = ["slot", "plugin", "database", "in use", "wal", "retained", "left", "confirmed"];
    context.out.table(&headings, rows.collect())
}

/// Returns a number of bytes for people.
pub(crate) fn bytes(count: i64) -> String {
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value.abs() < 1024.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}
