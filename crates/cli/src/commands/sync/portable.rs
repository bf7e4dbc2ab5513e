//! `sync export` and `sync import`: the outbox as a file.

use std::path::PathBuf;

use antiphon_replica::{Config, Exported, Replica};
use clap::Args;
use serde_json::json;

use crate::{context::Context, fault::Stop, output::Tone};

/// The arguments of `sync export` and `sync import`.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// The file of the outbox
    outbox: PathBuf,
}

/// Saves the outbox, whatever state the replica is in.
pub(super) fn export(context: &Context, config: &Config, args: &FileArgs) -> Result<(), Stop> {
    let exported = Exported::read(config, &context.environment.temporary())?;
    std::fs::write(&args.outbox, serde_json::to_string_pretty(&exported)?)?;
    let (edits, unreadable) = (exported.entries.len(), exported.unreadable());
    if exported.partial {
        context.out.talk_toned(Tone::Warning, "the replica is damaged: it may have held more edits than these");
    }
    if unreadable > 0 {
        context
            .out
            .talk_toned(Tone::Warning, &format!("{unreadable} edits could not be understood; the file holds them"));
    }
    if context.out.json() {
        let document = json!({
            "version": 1, "edits": edits, "unreadable": unreadable, "partial": exported.partial,
            "file": args.outbox.display().to_string()
        });
        return context.out.document(&document);
    }
    context.out.line(&format!("{edits} edits are in {}", args.outbox.display()))
}

/// Takes the edits of a saved outbox over.
pub(super) fn import(context: &Context, config: Config, args: &FileArgs) -> Result<(), Stop> {
    let text = std::fs::read_to_string(&args.outbox).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => crate::fault::not_found(format!("there is no file {}", args.outbox.display())),
        _ => error.into(),
    })?;
    let exported = Exported::parse(&text)?;
    let imported = Replica::open(config)?.import(&exported)?;
    if context.out.json() {
        return context.out.document(&json!({
            "version": 1, "taken": imported.taken, "known": imported.known, "unreadable": imported.unreadable
        }));
    }
    if imported.unreadable > 0 {
        let line = format!("{} edits could not be understood; the file holds them", imported.unreadable);
        context.out.talk_toned(Tone::Warning, &line);
    }
    context.out.line(&format!("{} edits taken over, {} were here already", imported.taken, imported.known))
}
