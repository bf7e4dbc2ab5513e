//! `antiphon migrate`: brings our tables to this version.
//!
//! Safe to repeat and to run on several machines at once: one does it, the others find it done. `--dry-run` changes
//! nothing. Tables of a newer version are refused.

use clap::Args;
use serde_json::json;

use crate::{context::Context, fault::Stop};

/// The arguments of `migrate`.
#[derive(Debug, Args)]
#[command(before_help = "Examples:\n  antiphon migrate --dry-run\n  antiphon migrate")]
pub(crate) struct MigrateArgs {
    /// Only list what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Migrates.
pub(crate) async fn run(context: &Context, args: MigrateArgs) -> Result<(), Stop> {
    let (_, admin) = context.admin()?;
    let step = context.out.step(if args.dry_run { "comparing our tables" } else { "migrating our tables" });
    let migrations = admin.migrate(args.dry_run).await?;
    drop(step);
    if context.out.json() {
        return context.out.document(&json!({"version": 1, "dryRun": args.dry_run, "migrations": migrations}));
    }
    migrations.iter().try_for_each(|name| context.out.line(name))?;
    context.out.talk(&match (migrations.len(), args.dry_run) {
        (0, _) => "our tables are of this version; nothing to do".to_owned(),
        (count, true) => format!("{count} to be applied; nothing was changed"),
        (count, false) => format!("{count} applied"),
    });
    Ok(())
}
