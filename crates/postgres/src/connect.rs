//! SQL connections to the source: one at a time or from a pool, all with the same pinned settings.
//!
//! The settings that change how values are printed travel in the startup packet, where they win over whatever
//! `alter role ... set` or `alter database ... set` say (PG-74). Row security is off, so that a statement which a policy
//! would cut short fails instead of giving a silent part of the rows (PG-94).
//! `search_path` is left alone: every statement of ours names its schema.

use std::time::Duration;

use antiphon_engine::{Fault, ports::Heard};
use antiphon_model::Code;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, NoTls, config};

use crate::{
    conninfo::{ChannelBinding, ConnectionInfo, Host, SslMode, TargetSession},
    errors::{self, Context},
    tls::Tls,
};

/// What every session pins; the replication connection adds its own.
pub(crate) const PINNED: &[(&str, &str)] = &[
    ("DateStyle", "ISO"),
    ("IntervalStyle", "iso_8601"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("row_security", "off"),
    ("default_transaction_read_only", "off"),
    // Tables of ours that are new have no statistics: what is guessed of them looks dear enough to be compiled, each time.
    ("jit", "off"),
    // A role's own limits would end pooled sessions and long reads; each statement of ours sets what it needs.
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
];

/// Waiting for a free connection of a pool takes at most this long; then the caller is told to try again.
const POOL_WAIT: Duration = Duration::from_secs(5);

/// Connects, and drives the connection in a task that ends with the client.
///
/// # Errors
/// Fails with the reason of a source's state, such as `AUTH_FAILED` or `TLS_FAILED`.
pub async fn connect_sql(info: &ConnectionInfo, application_name: &str) -> Result<Client, Fault> {
    connect_listening(info, application_name, Box::new(|_| {})).await
}

/// Connects like `connect_sql`; payloads of notifications go to `heard`, which is dropped when the connection ends.
///
/// # Errors
/// Fails as `connect_sql` does.
pub async fn connect_listening(info: &ConnectionInfo, application_name: &str, heard: Heard) -> Result<Client, Fault> {
    let config = config(info, application_name);
    let refused = |error| errors::client(error, Context::Connect);
    // With several addresses or a stuck server, the whole attempt is bounded too.
    let bound = info.connect_timeout.saturating_mul(2 * u32::try_from(info.hosts.len()).unwrap_or(1));
    let late = || Fault::new(Code::SourceUnreachable, "no answer in time");
    if info.ssl_mode == SslMode::Disable {
        let connected = tokio::time::timeout(bound, config.connect(NoTls)).await.map_err(|_| late())?;
        let (client, connection) = connected.map_err(refused)?;
        drive(connection, heard);
        return Ok(client);
    }
    let connected = tokio::time::timeout(bound, config.connect(Tls::new(info)?)).await.map_err(|_| late())?;
    let (client, connection) = connected.map_err(refused)?;
    drive(connection, heard);
    Ok(client)
}

/// Makes a pool of at most `size_max` connections; nothing is connected before the first use.
///
/// # Errors
/// Fails with `TLS_FAILED` where certificates cannot be read.
pub fn pool(info: &ConnectionInfo, application_name: &str, size_max: usize) -> Result<Pool, Fault> {
    let config = config(info, application_name);
    let recycle = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = if info.ssl_mode == SslMode::Disable {
        Manager::from_config(config, NoTls, recycle)
    } else {
        Manager::from_config(config, Tls::new(info)?, recycle)
    };
    Pool::builder(manager)
        .max_size(size_max)
        .wait_timeout(Some(POOL_WAIT))
        .create_timeout(Some(info.connect_timeout.saturating_mul(2)))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| Fault::new(Code::Internal, "the pool of connections cannot be made").with_source(error))
}

/// Cancels what a connection is doing; whether that still does anything is not known.
pub(crate) async fn cancel(info: ConnectionInfo, token: CancelToken) {
    let cancelled = match info.ssl_mode {
        SslMode::Disable => token.cancel_query(NoTls).await,
        _ => match Tls::new(&info) {
            Ok(tls) => token.cancel_query(tls).await,
            Err(fault) => {
                tracing::warn!(error = %fault.chain(), "a statement could not be cancelled");
                return;
            }
        },
    };
    if let Err(error) = cancelled {
        tracing::warn!(%error, "a statement could not be cancelled");
    }
}

/// Writes the `options` of a startup packet; the text of the connection URL comes first, so that ours win.
pub(crate) fn options(info: &ConnectionInfo, more: &[(&str, &str)]) -> String {
    let mut text = info.options.clone().unwrap_or_default();
    for (name, value) in PINNED.iter().chain(more) {
        if !text.is_empty() {
            text.push(' ');
        }
        // Blanks and backslashes separate options unless a backslash stands before them.
        let value = value.replace('\\', "\\\\").replace(' ', "\\ ");
        text.push_str(&format!("-c {name}={value}"));
    }
    text
}

fn config(info: &ConnectionInfo, application_name: &str) -> Config {
    let mut config = Config::new();
    config
        .user(&info.user)
        .dbname(&info.database)
        .application_name(info.application_name.as_deref().unwrap_or(application_name))
        .options(options(info, &[]))
        .connect_timeout(info.connect_timeout)
        .tcp_user_timeout(info.keepalive.user_timeout)
        .keepalives(info.keepalive.enabled)
        .keepalives_idle(info.keepalive.idle)
        .keepalives_interval(info.keepalive.interval)
        .keepalives_retries(info.keepalive.count)
        .ssl_mode(match info.ssl_mode {
            SslMode::Disable => config::SslMode::Disable,
            SslMode::Prefer => config::SslMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => config::SslMode::Require,
        })
        .channel_binding(match info.channel_binding {
            ChannelBinding::Disable => config::ChannelBinding::Disable,
            ChannelBinding::Prefer => config::ChannelBinding::Prefer,
            ChannelBinding::Require => config::ChannelBinding::Require,
        })
        .target_session_attrs(match info.target_session {
            TargetSession::Any => config::TargetSessionAttrs::Any,
            TargetSession::ReadWrite => config::TargetSessionAttrs::ReadWrite,
        });
    if let Some(password) = &info.password {
        config.password(password.reveal());
    }
    for (host, port) in &info.hosts {
        match host {
            Host::Tcp(name) => config.host(name),
            Host::Unix(path) => config.host_path(path),
        };
        config.port(*port);
    }
    config
}

fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, mut heard: Heard)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    antiphon_engine::spawn("sql connection", async move {
        while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            match message {
                Ok(AsyncMessage::Notification(notification)) => heard(notification.payload()),
                Ok(AsyncMessage::Notice(notice)) => tracing::debug!(%notice, "a notice of the database"),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "a connection to the database ended");
                    return;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_url_come_first_so_that_pinned_ones_win_pg_74() {
        let info = ConnectionInfo::parse("postgres://u@h/d?options=-c%20TimeZone%3DAsia/Tokyo").unwrap();
        let options = options(&info, &[("work_mem", "a b")]);
        assert!(options.starts_with("-c TimeZone=Asia/Tokyo -c DateStyle=ISO "), "{options}");
        assert!(options.ends_with(r"-c work_mem=a\ b"), "{options}");
        assert!(options.rfind("TimeZone=UTC") > options.find("TimeZone=Asia/Tokyo"));
    }
}
