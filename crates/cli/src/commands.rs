//! The commands, one file each; this file only picks one.
//!
//! Those that run on until they are stopped handle the interrupt key themselves; every other one is dropped where it
//! stands and exits with 130, which is safe because each of its steps is.

mod ask;
pub(crate) mod capture;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod entities;
pub(crate) mod explain;
pub(crate) mod init;
pub(crate) mod migrate;
pub(crate) mod orgs;
pub(crate) mod resync;
pub(crate) mod serve;
pub(crate) mod slots;
pub(crate) mod snapshot;
pub(crate) mod sync;
pub(crate) mod tail;
pub(crate) mod tokens;
pub(crate) mod types;
pub(crate) mod users;
mod version;

use crate::{arguments::Command, context::Context, fault::Stop, reference};

/// Runs a command to its end; the interrupt key ends those that do not handle it themselves.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Stop> {
    match command {
        Command::Dev(args) => dev::run(context, args).await,
        Command::Serve(args) => serve::run(context, args).await,
        Command::Init(args) => interruptible(init::run(context, args)).await,
        Command::Migrate(args) => interruptible(migrate::run(context, args)).await,
        Command::Doctor(args) => interruptible(doctor::run(context, args)).await,
        Command::Entities(command) => interruptible(entities::run(context, command)).await,
        Command::Capture(command) => interruptible(capture::run(context, command)).await,
        Command::Types(args) => interruptible(types::run(context, args)).await,
        Command::Tail(args) => interruptible(tail::run(context, args)).await,
        Command::Sync(args) => sync::run(context, args).await,
        Command::Slots(command) => interruptible(slots::run(context, command)).await,
        Command::Resync(args) => interruptible(resync::run(context, args)).await,
        Command::Snapshot(command) => interruptible(snapshot::run(context, command)).await,
        Command::Orgs(command) => interruptible(orgs::run(context, command)).await,
        Command::Users(command) => interruptible(users::run(context, command)).await,
        Command::Tokens(command) => interruptible(tokens::run(context, command)).await,
        Command::Config(command) => interruptible(config::run(context, command)).await,
        Command::Completions(args) => completions::run(args),
        Command::Version => version::run(context),
        Command::Explain(args) => explain::run(context, args),
        Command::HelpMarkdown => context.out.raw(&reference::commands()),
        Command::Openapi => context.out.raw(&reference::openapi()),
    }
}

async fn interruptible(work: impl Future<Output = Result<(), Stop>>) -> Result<(), Stop> {
    tokio::select! {
        ended = work => ended,
        () = interrupted() => Err(Stop::Told(130)),
    }
}

/// Waits for the interrupt key or the signal to end.
pub(crate) async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
