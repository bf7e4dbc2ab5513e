//! `antiphon serve`: runs the server until it is asked to stop, then drains.
//!
//! Laws: stdout says the address once it answers; a first signal ends streams in order and gives capture back, a second
//! one ends at once, which loses nothing either. Older tables are refused unless `--migrate` is given.

use std::net::SocketAddr;

use antiphon_model::Code;
use antiphon_server::admin::{AuthConfig, Fault, ServeOptions, serve};
use clap::Args;
use serde_json::json;

use super::interrupted;
use crate::{
    context::{Context, admin_config},
    fault::Stop,
    settings::{
        AUTH_ALGORITHMS, AUTH_AUDIENCE, AUTH_ISSUER, AUTH_JWKS, AUTH_ORGS_CLAIM, AUTH_SECRET, DATABASE_COPIES_AT_ONCE,
        DATABASE_RLS, DATABASE_RLS_ROLE, DATABASE_SESSION_VARIABLES, LIMITS_MUTATIONS_BURST,
        LIMITS_MUTATIONS_PER_SECOND, LIMITS_STREAM_BYTES_BURST, LIMITS_STREAM_BYTES_PER_SECOND,
        LIMITS_WEBSOCKET_BYTES_BURST, LIMITS_WEBSOCKET_BYTES_PER_SECOND, LOG_RETENTION_DAYS,
        LOG_RETENTION_MIN_ACTIVITIES, SERVER_ALLOWED_ORIGINS, SERVER_DESK, SERVER_LISTEN, SERVER_TRUSTED_PROXIES,
        Settings,
    },
};

/// The arguments of `serve`.
#[derive(Debug, Args)]
#[command(before_help = "Examples:\n  antiphon serve\n  antiphon serve --migrate --listen 0.0.0.0:7411")]
pub(crate) struct ServeArgs {
    /// Bring our tables to this version first
    #[arg(long)]
    migrate: bool,
    /// The address and port to listen on, instead of the configured one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

/// Serves.
pub(crate) async fn run(context: &Context, args: ServeArgs) -> Result<(), Stop> {
    let listen = args.listen.map(|listen| (SERVER_LISTEN, listen, "--listen"));
    let settings = context.settings_with(listen.into_iter().collect())?;
    let options = ServeOptions {
        migrate: args.migrate,
        retention_days: settings.count(&LOG_RETENTION_DAYS),
        retention_min_activities: settings.count(&LOG_RETENTION_MIN_ACTIVITIES),
        copies_at_once: usize::try_from(settings.count(&DATABASE_COPIES_AT_ONCE)).unwrap_or(usize::MAX),
        auth: auth_config(&settings),
        allowed_origins: settings.list(&SERVER_ALLOWED_ORIGINS),
        trusted_proxies: settings.list(&SERVER_TRUSTED_PROXIES),
        mutations_per_second: settings.count(&LIMITS_MUTATIONS_PER_SECOND),
        mutations_burst: settings.count(&LIMITS_MUTATIONS_BURST),
        websocket_bytes_per_second: settings.count(&LIMITS_WEBSOCKET_BYTES_PER_SECOND),
        websocket_bytes_burst: settings.count(&LIMITS_WEBSOCKET_BYTES_BURST),
        stream_bytes_per_second: settings.count(&LIMITS_STREAM_BYTES_PER_SECOND),
        stream_bytes_burst: settings.count(&LIMITS_STREAM_BYTES_BURST),
        session_variables: settings.list(&DATABASE_SESSION_VARIABLES),
        rls_role: rls_role(&settings)?,
        desk: desk(&settings)?,
        mirrors: settings
            .mirrors()
            .iter()
            .map(|mirror| mirror.resolve(&context.environment))
            .collect::<Result<_, _>>()?,
        ..ServeOptions::new(settings.listen()?)
    };
    let step = context.out.step("starting");
    // A start that waits for a database must still end by the interrupt key.
    let started = tokio::select! {
        started = serve(admin_config(&settings, &context.environment)?, options) => started,
        () = interrupted() => return Err(Stop::Told(130)),
    };
    drop(step);
    let serving = started?;
    let address: SocketAddr = serving.local_addr();
    if context.out.json() {
        context.out.document(&json!({"version": 1, "api": format!("http://{address}"), "pid": std::process::id()}))?;
    } else {
        context.out.line(&format!("http://{address}"))?;
        context.out.talk("serving; Ctrl-C drains and ends");
    }
    tokio::select! {
        () = interrupted() => {}
        fault = serving.failed() => return Err(fault.into()),
    }
    context.out.talk("draining; Ctrl-C again ends at once");
    tokio::select! {
        () = serving.stop() => Ok(()),
        () = interrupted() => Err(Stop::Told(130)),
    }
}

/// The role that edits are made as; `None` where they are made as our own.
fn rls_role(settings: &Settings) -> Result<Option<String>, Fault> {
    let invalid = |detail: &'static str| Fault::new(Code::ConfigInvalid, detail);
    match settings.text(&DATABASE_RLS) {
        Some("enforce") => match settings.text(&DATABASE_RLS_ROLE) {
            Some(role) => Ok(Some(role.to_owned())),
            None => Err(invalid("database.rls: `enforce` needs `rls_role`, the role that edits are made as")),
        },
        None | Some("off") => Ok(None),
        Some(_) => Err(invalid("database.rls: `off` or `enforce` is wanted")),
    }
}

/// Whether Desk is served.
fn desk(settings: &Settings) -> Result<bool, Fault> {
    match settings.text(&SERVER_DESK) {
        Some("on") => Ok(true),
        None | Some("off") => Ok(false),
        Some(_) => Err(Fault::new(Code::ConfigInvalid, "server.desk: `on` or `off` is wanted")),
    }
}

fn auth_config(settings: &Settings) -> AuthConfig {
    let text = |key| settings.text(key).map(str::to_owned);
    AuthConfig {
        jwks: text(&AUTH_JWKS),
        secret: text(&AUTH_SECRET),
        algorithms: settings.list(&AUTH_ALGORITHMS),
        issuer: text(&AUTH_ISSUER),
        audience: text(&AUTH_AUDIENCE),
        orgs_claim: text(&AUTH_ORGS_CLAIM),
    }
}
