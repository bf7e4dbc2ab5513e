//! `antiphon snapshot`: the initial copies of tables.
//!
//! The capturing server makes them by itself; here they are shown, and one that cannot go on from its place, as after a
//! change of its key, can be begun anew. A table that is not declared is refused, and a copy that is complete.

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
    /// Copy a table anew while it streams; clients get each row again, in place, and rows that are gone stay
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
                    "rowsPerSecond": copy.rows_per_second, "secondsLeft": copy.seconds_left(),
                    "complete": copy.complete, "failure": copy.failure, "hint": hint(copy),
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
            (Some(why), _) => format!("fails: {why}"),
            (None, true) => "complete".to_owned(),
            (None, false) => "copying".to_owned(),
        };
        let (rate, left) = match (copy.rows_per_second, copy.seconds_left()) {
            (_, Some(0)) | (0, _) => (String::new(), String::new()),
            (rate, left) => (format!("{rate}/s"), left.map(duration).unwrap_or_default()),
        };
        let (done, expected) = (copy.rows_done.to_string(), copy.rows_estimated.to_string());
        vec![copy.entity_type.clone(), done, expected, rate, left, state]
    });
    context.out.table(&["entity", "rows copied", "expected", "rate", "left", "state"], rows.collect())?;
    for copy in copies {
        if let Some(hint) = hint(copy) {
            context.out.talk(&format!("{}: {hint}; it is tried again at least every minute", copy.entity_type));
        }
    }
    Ok(())
}

/// Returns what to do about a copy that fails: its failure begins with the code.
fn hint(copy: &SnapshotProgress) -> Option<&'static str> {
    let (code, _) = copy.failure.as_ref()?.split_once(':')?;
    Code::ALL.iter().find(|known| known.as_str() == code).map(|code| code.hint())
}

/// Writes a time span as people say it.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_fails_comes_with_what_to_do_and_time_is_said_as_people_do_cap_21_cap_22() {
        let failure = Some("PERMISSION: permission denied for table t".to_owned());
        let failed = SnapshotProgress { failure, ..SnapshotProgress::fresh("task") };
        assert_eq!(hint(&failed), Some(Code::Permission.hint()));
        assert_eq!(hint(&SnapshotProgress::fresh("task")), None);
        assert_eq!([5, 61, 7_260].map(duration), ["5 s", "2 min", "2 h 1 min"]);
    }
}
