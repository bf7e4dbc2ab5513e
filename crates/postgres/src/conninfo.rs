//! Where the database is and how to log in: connection URLs and `key=value` texts, as libpq reads them.
//!
//! Parsed once by us, because the SQL client and the replication connection must understand the same text alike.
//! Law: a parameter that is not known is refused by its name, never ignored; neither `Debug` nor `Display` shows a
//! password. No environment variable and no password file is read.

mod parse;

use std::{fmt, path::PathBuf, time::Duration};

use antiphon_engine::Fault;
use antiphon_model::Code;

/// Connecting to one address may take this long unless the text says otherwise.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Returns the text, to be used and not to be shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

/// How far the connection is encrypted and the server checked; the words are libpq's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS where the server offers it.
    #[default]
    Prefer,
    /// TLS or nothing; the certificate is checked only where `sslrootcert` is given.
    Require,
    /// TLS with a certificate of a trusted authority.
    VerifyCa,
    /// And the certificate names the host.
    VerifyFull,
}

/// Whether the login is bound to the TLS channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where both sides can.
    #[default]
    Prefer,
    /// Or no login at all.
    Require,
}

/// Where certificates of trusted authorities come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificates {
    /// The system's.
    System,
    /// A file in PEM format.
    File(PathBuf),
}

/// One address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A host name or IP address.
    Tcp(String),
    /// The folder of a Unix socket.
    Unix(PathBuf),
}

/// Which of several servers will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetSession {
    /// The first that answers.
    #[default]
    Any,
    /// The first that takes writes.
    ReadWrite,
}

/// How broken connections are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Whether TCP keepalives are sent.
    pub enabled: bool,
    /// After so much silence.
    pub idle: Duration,
    /// So often.
    pub interval: Duration,
    /// Until so many were not answered.
    pub count: u32,
    /// What was sent must be acknowledged within this time.
    pub user_timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Keepalive {
        // A dead peer is noticed within a minute; the replication session notices it by its own timeout too.
        Keepalive {
            enabled: true,
            idle: Duration::from_secs(30),
            interval: Duration::from_secs(10),
            count: 3,
            user_timeout: Duration::from_secs(60),
        }
    }
}

/// Everything that is needed to connect.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    pub(crate) hosts: Vec<(Host, u16)>,
    pub(crate) user: String,
    pub(crate) password: Option<Secret>,
    pub(crate) database: String,
    pub(crate) ssl_mode: SslMode,
    pub(crate) roots: Option<RootCertificates>,
    pub(crate) client_certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) connect_timeout: Duration,
    pub(crate) application_name: Option<String>,
    pub(crate) options: Option<String>,
    pub(crate) keepalive: Keepalive,
    pub(crate) target_session: TargetSession,
}

impl ConnectionInfo {
    /// Reads a URL (`postgres://user:password@host:5432/database?sslmode=require`) or `key=value` pairs.
    ///
    /// # Errors
    /// Fails with `CONFIG_INVALID`, naming the parameter and never quoting a secret.
    pub fn parse(text: &str) -> Result<ConnectionInfo, Fault> {
        let url = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let pairs = match url {
            Some(rest) => parse::url(rest)?,
            None => parse::pairs(text)?,
        };
        parse::build(pairs)
    }

    /// Returns the same for another database of the server.
    #[must_use]
    pub fn with_database(&self, name: &str) -> ConnectionInfo {
        ConnectionInfo { database: name.to_owned(), ..self.clone() }
    }

    /// Returns the database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Returns the user's name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns one for each host, which takes that very server as it is.
    pub(crate) fn each_host(&self) -> Vec<ConnectionInfo> {
        let only = |host: &(Host, u16)| ConnectionInfo {
            hosts: vec![host.clone()],
            target_session: TargetSession::Any,
            ..self.clone()
        };
        self.hosts.iter().map(only).collect()
    }

    /// Returns how far the connection is encrypted and the server checked.
    pub fn ssl_mode(&self) -> SslMode {
        self.ssl_mode
    }
}

/// Writes the text as a person may see it: without password.
impl fmt::Display for ConnectionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@", self.user)?;
        for (index, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) if name.contains(':') => write!(f, "{comma}[{name}]:{port}")?,
                Host::Tcp(name) => write!(f, "{comma}{name}:{port}")?,
                Host::Unix(path) => write!(f, "{comma}{}:{port}", path.display())?,
            }
        }
        write!(f, "/{}", self.database)
    }
}

impl fmt::Debug for ConnectionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionInfo({self}, {:?}, password {:?})", self.ssl_mode, self.password)
    }
}

fn invalid(detail: impl Into<String>) -> Fault {
    Fault::new(Code::ConfigInvalid, format!("connection URL: {}", detail.into()))
}

#[cfg(test)]
mod tests;
