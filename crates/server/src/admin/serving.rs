//! Running the server for the command line: from operators' words to the service's configuration.
//!
//! Keys that a declaration leaves out are read from the live tables here, once, at the start; a table without one is
//! refused. Only `dev` serves a page and goes without a tenant's limits.

use std::net::SocketAddr;

use antiphon_engine::Fault;
use antiphon_postgres::{ConnectionInfo, WriteConfig};
use antiphon_store::Retention;
use axum::Router;

use super::{Admin, AdminConfig};
use crate::{Config, Service, auth::AuthConfig};

/// Streams of one organisation at once.
const STREAMS_MAX: usize = 1_000;
/// So many tables are copied side by side where nobody says otherwise.
const COPIES_AT_ONCE: usize = 4;
/// Edits of one organisation a second.
const MUTATIONS_PER_SECOND: u64 = 100;
/// Edits of one organisation at once.
const MUTATIONS_BURST: u64 = 200;

/// Bytes that one WebSocket is sent a second, and at once (protocol 4).
const WEBSOCKET_BYTES: (u64, u64) = (1 << 20, 4 << 20);
/// Bytes of server-sent events or long-polls that one connection is sent a second, and at once: much more, because a
/// reader that was away comes back by them.
const STREAM_BYTES: (u64, u64) = (16 << 20, 64 << 20);

/// How to serve; begin with `new` and change what differs.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The address to listen on; its port may be 0.
    pub listen: SocketAddr,
    /// Whether our tables are brought to this version first.
    pub migrate: bool,
    /// Activities younger than this stay in the log.
    pub retention_days: u64,
    /// At least so many activities stay in the log.
    pub retention_min_activities: u64,
    /// How many tables are copied side by side, each over a connection of its own.
    pub copies_at_once: usize,
    /// Tokens of an identity provider.
    pub auth: AuthConfig,
    /// Origins of web pages that may call.
    pub allowed_origins: Vec<String>,
    /// Networks of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// Edits of one organisation a second; 0: no limit.
    pub mutations_per_second: u64,
    /// Edits of one organisation at once.
    pub mutations_burst: u64,
    /// Bytes that one WebSocket is sent a second; 0: no limit.
    pub websocket_bytes_per_second: u64,
    /// Bytes that one WebSocket is sent at once.
    pub websocket_bytes_burst: u64,
    /// Bytes of server-sent events or long-polls that one connection is sent a second; 0: no limit.
    pub stream_bytes_per_second: u64,
    /// Bytes of server-sent events or long-polls that one connection is sent at once.
    pub stream_bytes_burst: u64,
    /// Settings that edits set for the application's triggers and policies, as `app.user=actor` or `app.tenant=org`.
    pub session_variables: Vec<String>,
    /// The role that edits are made under, so that row security counts for them.
    pub rls_role: Option<String>,
    /// Whether Desk, the application of pages and tasks, is served at `/desk/`.
    pub desk: bool,
    /// Mirrors in other databases: the name and the connection URL of each.
    pub mirrors: Vec<(String, String)>,
}

impl ServeOptions {
    /// The defaults, at an address.
    pub fn new(listen: SocketAddr) -> ServeOptions {
        let kept = Retention::default();
        ServeOptions {
            listen,
            migrate: false,
            retention_days: u64::from(kept.days),
            retention_min_activities: kept.activities_min,
            copies_at_once: COPIES_AT_ONCE,
            auth: AuthConfig::default(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            mutations_per_second: MUTATIONS_PER_SECOND,
            mutations_burst: MUTATIONS_BURST,
            websocket_bytes_per_second: WEBSOCKET_BYTES.0,
            websocket_bytes_burst: WEBSOCKET_BYTES.1,
            stream_bytes_per_second: STREAM_BYTES.0,
            stream_bytes_burst: STREAM_BYTES.1,
            session_variables: Vec::new(),
            rls_role: None,
            desk: false,
            mirrors: Vec::new(),
        }
    }
}

/// Starts the server; when it returns, the address answers.
pub async fn serve(config: AdminConfig, options: ServeOptions) -> Result<Service, Fault> {
    start(config, options, None).await
}

/// Starts the server of `antiphon dev`, with its page and without a tenant's limits.
pub(crate) async fn serve_with_page(
    config: AdminConfig,
    options: ServeOptions,
    page: Router,
) -> Result<Service, Fault> {
    start(config, options, Some(page)).await
}

async fn start(config: AdminConfig, options: ServeOptions, page: Option<Router>) -> Result<Service, Fault> {
    let admin = Admin::new(config)?;
    let entities = admin.resolved_entities().await?;
    let Admin { config, source, log, standby } = admin;
    let mirror = |(name, url): (String, String)| Ok((name, ConnectionInfo::parse(&url)?));
    let mirrors = options.mirrors.into_iter().map(mirror).collect::<Result<Vec<_>, Fault>>()?;
    let started = Service::start(Config {
        source,
        standby,
        log,
        slot: config.slot,
        publication: config.publication,
        method: config.method,
        poll_interval: config.poll_interval,
        reconcile_interval: config.reconcile_interval,
        entities,
        spool_dir: config.spool_dir,
        spool_bytes_max: config.spool_bytes_max,
        copies_at_once: options.copies_at_once,
        retention: Retention {
            days: u32::try_from(options.retention_days).unwrap_or(u32::MAX),
            activities_min: options.retention_min_activities,
        },
        migrate: options.migrate,
        streams_max: page.is_none().then_some(STREAMS_MAX),
        mutations_per_second: (page.is_none() && options.mutations_per_second > 0)
            .then_some((options.mutations_per_second, options.mutations_burst.max(1))),
        websocket_bytes: (options.websocket_bytes_per_second > 0)
            .then_some((options.websocket_bytes_per_second, options.websocket_bytes_burst.max(1))),
        stream_bytes: (options.stream_bytes_per_second > 0)
            .then_some((options.stream_bytes_per_second, options.stream_bytes_burst.max(1))),
        writes: WriteConfig {
            session: WriteConfig::read_session(&options.session_variables)?,
            role: options.rls_role,
            method: config.method,
        },
        page,
        desk: options.desk,
        listen: options.listen,
        auth: options.auth,
        allowed_origins: options.allowed_origins,
        trusted_proxies: options.trusted_proxies,
        mirrors,
    });
    started.await
}
