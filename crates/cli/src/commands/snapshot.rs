//! `antiphon snapshot`: the initial copies of tables.
//!
//! The capturing server makes them by itself; here they are shown, and one can be had anew, as after a repair of rows
//! that capture never saw. A table that is not declared is refused.

use antiphon_model::Code;
use antiphon_server::admin::{Fault, SnapshotProgress};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::{context::Context, fault::Stop, nearest::nearest};

/// The commands of `snapshot`.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// List the copies with how far they are
    #[command(before_help = "Example:\n  antiphon snapshot list")]
    List,
    /// Copy a table anew; clients get each row again, in place
    #[command(before_help = "Examples:\n  antiphon snapshot start task\n  antiphon snapshot start public.tasks")]
    Start {
        /// The entity type or its table
        #[arg(value_name = "TABLE")]
        table: String,
    },
}

/// Runs a command of `snapshot`.
pub(crate) async fn run(context: &Context, command: SnapshotCommand) -> Result<(), Stop> {
    let (settings, admin) = context.admin()?;
    match command {
        SnapshotCommand::List => list(context, &admin.snapshots().await?),
        SnapshotCommand::Start { table } => {
            let found = settings.entities().iter().find(|entity| {
                entity.name == table
                    || entity.table.to_string() == table
                    || (entity.table.schema == "public" && entity.table.name == table)
            });
            let Some(entity) = found else {
                let names = settings.entities().iter().map(|entity| entity.name.as_str());
                let advice = nearest(&table, names).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                return Err(Fault::new(Code::EntityTypeUnknown, format!("{table}{advice}")).into());
            };
            admin.start_snapshot(&entity.name).await?;
            if context.out.json() {
                return context.out.document(&json!({"version": 1, "entityType": entity.name, "started": true}));
            }
            context.out.line(&format!("{} is copied anew", entity.name))?;
            context
                .out
                .talk("the capturing server begins within seconds; `antiphon snapshot list` shows how far it is");
            Ok(())
        }
    }
}

fn list(context: &Context, copies: &[SnapshotProgress]) -> Result<(), Stop> {
    if context.out.json() {
        let copies: Vec<Value> = copies
            .iter()
            .map(|copy| {
                json!({
                    "entityType": copy.entity_type, "rowsDone": copy.rows_done, "rowsEstimated": copy.rows_estimated,
                    "complete": copy.complete, "failure": copy.failure,
                })
            })
            .collect();
        return context.out.document(&json!({"version": 1, "snapshots": copies}));
    }
    if copies.is_empty() {
        context.out.talk("no table was copied yet; copies begin with the first `antiphon serve`");
        return Ok(());
    }
    let rows = copies.iter().map(|copy| {
        let state = match (&copy.failure, copy.complete) {
            (Some(why), _) => format!("failed: {why}"),
            (None, true) => "complete".to_owned(),
            (None, false) => "copying".to_owned(),
        };
        vec![copy.entity_type.clone(), copy.rows_done.to_string(), copy.rows_estimated.to_string(), state]
    });
    context.out.table(&["entity", "rows copied", "expected", "state"], rows.collect())
}
