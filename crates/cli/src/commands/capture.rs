//! `antiphon capture`: what capture by triggers or queries has made in the database, taken out again, and polled tables
//! compared with what was told of them.
//!
//! The catalogue is asked what there is, so that triggers of tables that are declared no more go too. Rows of the
//! application stay as they are; what was recorded and not yet read is lost, and a server that still runs stops there.

use antiphon_model::Code;
use antiphon_server::admin::{CaptureMethod, Fault};
use clap::{Args, Subcommand};
use serde_json::json;

use super::entities::{Consent, carry_out, steps};
use crate::{context::Context, fault::Stop, settings::CAPTURE_METHOD};

/// The commands of `capture`.
#[derive(Debug, Subcommand)]
pub(crate) enum CaptureCommand {
    /// Remove the audit table, its triggers and its functions from the database
    Uninstall(UninstallArgs),
    /// Compare polled tables with what was told of them, which finds deletes and quiet updates
    Reconcile(ReconcileArgs),
}

/// The arguments of `capture reconcile`.
#[derive(Debug, Args)]
#[command(before_help = "Examples:\n  antiphon capture reconcile\n  antiphon capture reconcile task page")]
pub(crate) struct ReconcileArgs {
    /// The entity types; without any, all
    #[arg(value_name = "TYPE")]
    types: Vec<String>,
}

/// The arguments of `capture uninstall`.
#[derive(Debug, Args)]
#[command(before_help = "Examples:\n  antiphon capture uninstall --dry-run\n  antiphon capture uninstall --yes")]
pub(crate) struct UninstallArgs {
    /// Print the statements and their locks, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Remove them although the configuration says that they are used
    #[arg(long)]
    force: bool,
}

/// Runs one of them.
pub(crate) async fn run(context: &Context, command: CaptureCommand) -> Result<(), Stop> {
    match command {
        CaptureCommand::Uninstall(args) => uninstall(context, args).await,
        CaptureCommand::Reconcile(args) => reconcile(context, args).await,
    }
}

async fn reconcile(context: &Context, args: ReconcileArgs) -> Result<(), Stop> {
    let (_, admin) = context.admin()?;
    let tables = admin.reconcile(&args.types).await?;
    if context.out.json() {
        context.out.document(&json!({"version": 1, "tables": tables}))?;
    }
    context.out.talk(&format!("the server reconciles {tables} table(s) within seconds; its log tells what was missed"));
    Ok(())
}

async fn uninstall(context: &Context, args: UninstallArgs) -> Result<(), Stop> {
    let (settings, admin) = context.admin()?;
    let method = settings.text(&CAPTURE_METHOD).and_then(CaptureMethod::parse);
    if let Some(method) = method.filter(|method| !method.decodes() && !args.dry_run && !args.force) {
        let detail = format!("capture.method is `{}`: set it to `log` first, or give --force", method.as_str());
        return Err(Fault::new(Code::ConfigInvalid, detail).into());
    }
    let plan = admin.plan_uninstall().await?;
    let consent = Consent { dry_run: args.dry_run, yes: args.yes, what: "Remove all that records changes?" };
    carry_out(context, &admin, &plan, &consent).await?;
    if context.out.json() {
        context.out.document(&json!({"version": 1, "dryRun": args.dry_run, "steps": steps(&plan)}))?;
    }
    Ok(())
}
