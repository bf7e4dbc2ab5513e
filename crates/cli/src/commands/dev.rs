//! `antiphon dev`: everything on this machine, with demonstration data.
//!
//! It prints addresses, tokens and three commands to try; with `--json` exactly the one line of protocol 8. It stops
//! all that it started, whatever ends it.

use std::{io::IsTerminal, net::SocketAddr, path::PathBuf, pin::pin, process::Stdio};

use antiphon_model::Code;
use antiphon_server::{
    admin::Fault,
    dev::{Dev, DevConfig, PostgresLookup},
};
use clap::Args;
use serde_json::json;

use super::interrupted;
use crate::{
    context::Context,
    dev_state::{self, DevState, Written},
    fault::Stop,
    output::Tone,
};

/// The arguments of `dev`.
#[derive(Debug, Args)]
#[command(
    before_help = "Examples:\n  antiphon dev\n  antiphon dev --data ./dev-data --no-open\n  antiphon dev --json --port 0"
)]
pub(crate) struct DevArgs {
    /// The port of the API and the page; 0 takes a free one
    #[arg(long, default_value_t = 7411)]
    port: u16,
    /// Keep the data in this folder [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Run this SQL file against the demonstration database after it is made
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// The folder of Postgres's programs
    #[arg(long, value_name = "DIR")]
    postgres_bin: Option<PathBuf>,
    /// Do not open a browser
    #[arg(long)]
    no_open: bool,
}

/// Starts, prints, waits, stops.
pub(crate) async fn run(context: &Context, args: DevArgs) -> Result<(), Stop> {
    let seed = match &args.seed {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|error| Fault::new(Code::Usage, format!("--seed {}: {error}", path.display())))?,
        ),
        None => None,
    };
    let environment = &context.environment;
    let out = context.out.clone();
    let config = DevConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], args.port)),
        data: args.data,
        temporary: environment.temporary(),
        seed,
        lookup: PostgresLookup {
            flag: args.postgres_bin,
            environment: environment.var("ANTIPHON_POSTGRES_BIN").filter(|value| !value.is_empty()).map(PathBuf::from),
            path: environment.path(),
            cache: environment.cache(),
        },
        talk: Box::new(move |line| {
            if !out.json() {
                out.talk(line);
            }
        }),
    };
    let mut starting = pin!(Dev::start(config));
    let dev = tokio::select! {
        started = &mut starting => started?,
        () = interrupted() => {
            // What is half started is brought to its end and stopped, so that nothing is left behind.
            tokio::select! {
                started = &mut starting => if let Ok(dev) = started { dev.stop().await },
                () = interrupted() => {}
            }
            return Err(Stop::Told(130));
        }
    };
    let written = publish(context, &dev);
    let told = tell(context, &dev);
    let open = told.is_ok() && !args.no_open && !context.out.json() && std::io::stdout().is_terminal();
    if open && environment.var("CI").is_none_or(str::is_empty) {
        open_browser(&dev.info().api);
    }
    let ended = match told {
        Ok(()) => {
            tokio::select! {
                () = interrupted() => Ok(()),
                fault = dev.failed() => Err(Stop::Fault(fault)),
            }
        }
        Err(stop) => Err(stop),
    };
    if !context.out.json() {
        context.out.talk("stopping; Ctrl-C again ends at once");
    }
    tokio::select! {
        () = dev.stop() => {}
        // Postgres notices by itself that this process is gone.
        () = interrupted() => return Err(Stop::Told(130)),
    }
    drop(written);
    ended
}

fn publish(context: &Context, dev: &Dev) -> Option<Written> {
    let info = dev.info();
    let state = DevState {
        pid: std::process::id(),
        api: info.api.clone(),
        database_url: info.database_url.clone(),
        log_url: info.log_url.clone(),
        slot: info.slot.clone(),
        publication: info.publication.clone(),
        tokens: info.tokens.clone(),
        entities: info.entities.clone(),
    };
    match dev_state::write(&context.environment, &state) {
        Ok(written) => written,
        Err(error) => {
            context.out.talk(&format!("other commands will not find this one by themselves: {error}"));
            None
        }
    }
}

fn tell(context: &Context, dev: &Dev) -> Result<(), Stop> {
    let (out, info) = (&context.out, dev.info());
    if out.json() {
        return out.document(&json!({
            "api": info.api, "databaseUrl": info.database_url,
            "console": format!("{}/", info.api), "desk": format!("{}/desk", info.api),
            "tokens": info.tokens, "orgs": info.orgs, "pid": std::process::id(),
        }));
    }
    out.toned(Tone::Strong, "\nAntiphon is running.")?;
    out.line(&format!("  page      {}/", info.api))?;
    out.line(&format!("  api       {}/v1/orgs/acme/live", info.api))?;
    out.line(&format!("  database  {}", info.database_url))?;
    out.line(&match dev.data() {
        Some(folder) => format!("  data      kept in {}", folder.display()),
        None => "  data      removed at the end (keep it with --data DIR)".to_owned(),
    })?;
    out.line("")?;
    for (user, place) in [
        ("alice", "owner of acme"),
        ("bob", "member of acme"),
        ("carol", "member of globex"),
        ("admin", "system admin"),
    ] {
        let token = info.tokens.get(user).map_or("-", String::as_str);
        out.line(&format!("  {user:<6} {place:<16} {token}"))?;
    }
    out.toned(Tone::Strong, "\nTry next, in another terminal:")?;
    for (say, command) in info.commands() {
        out.raw(&format!("  # {say}\n  {command}\n"))?;
    }
    out.talk("Ctrl-C stops everything.");
    Ok(())
}

fn open_browser(address: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let opened = tokio::process::Command::new(program)
        .arg(format!("{address}/"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = opened {
        tracing::debug!(%error, "no browser was opened");
    }
}
