//! The table of configuration keys: the one place that names, documents and defaults each of them.
//!
//! The reader, the environment, `config print` and the reference page all walk this table, so they cannot differ.

use super::secret::Secret;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text.
    Text,
    /// A whole number.
    Count,
    /// A connection URL; its password is a secret.
    Url,
    /// An address and a port.
    Address,
    /// A folder.
    Folder,
    /// A list of texts without commas.
    List,
    /// A text that is never shown.
    Secret,
}

/// A configuration key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// The section of the file.
    pub(crate) section: &'static str,
    /// The name in the section.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) kind: Kind,
    /// Its value where nobody gives one.
    pub(crate) default: Option<&'static str>,
    /// What it means.
    pub(crate) meaning: &'static str,
}

impl Key {
    /// Returns `section.name`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// Returns the environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("ANTIPHON_{}_{}", self.section.to_uppercase(), self.name.to_uppercase())
    }

    /// Returns a value as it may be shown.
    pub(crate) fn shown(&self, value: &str) -> String {
        match self.kind {
            Kind::Url => Secret::new(value).to_string(),
            Kind::Secret => "(hidden)".to_owned(),
            Kind::Text | Kind::Count | Kind::Address | Kind::Folder | Kind::List => value.to_owned(),
        }
    }

    /// Tells whether the value is a list.
    pub(crate) fn is_list(&self) -> bool {
        self.kind == Kind::List
    }

    /// Tells whether the value is a number.
    pub(crate) fn is_count(&self) -> bool {
        self.kind == Kind::Count
    }
}

const fn key(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    meaning: &'static str,
) -> Key {
    Key { section, name, kind, default, meaning }
}

pub(crate) const DATABASE_URL: Key =
    key("database", "url", Kind::Url, None, "The database to capture, as postgres://user:password@host:port/database.");
pub(crate) const DATABASE_LOG_URL: Key = key(
    "database",
    "log_url",
    Kind::Url,
    None,
    "Our own database, for the activity log and our tables; without it, the database `antiphon` of the same cluster.",
);
pub(crate) const DATABASE_STANDBY_URL: Key = key(
    "database",
    "standby_url",
    Kind::Url,
    None,
    "Where the database's standbys are, as a connection URL with one host or several; they are only looked at, to say whether a failover would go on without a gap.",
);
pub(crate) const DATABASE_SLOT: Key =
    key("database", "slot", Kind::Text, Some("antiphon"), "The replication slot's name.");
pub(crate) const DATABASE_PUBLICATION: Key =
    key("database", "publication", Kind::Text, Some("antiphon"), "The publication's name.");
pub(crate) const DATABASE_SPOOL_DIR: Key = key(
    "database",
    "spool_dir",
    Kind::Folder,
    None,
    "Where large transactions wait for their commit; without it, `antiphon/spool` in the user's state folder.",
);
pub(crate) const DATABASE_SPOOL_BYTES_MAX: Key = key(
    "database",
    "spool_bytes_max",
    Kind::Count,
    Some("8589934592"),
    "How many bytes the spool may hold; a larger transaction blocks capture until this is raised.",
);
pub(crate) const DATABASE_COPIES_AT_ONCE: Key = key(
    "database",
    "copies_at_once",
    Kind::Count,
    Some("4"),
    "How many tables are copied side by side at first, each over a connection of its own.",
);
pub(crate) const DATABASE_SESSION_VARIABLES: Key = key(
    "database",
    "session_variables",
    Kind::List,
    None,
    "Settings that each edit sets for the application's own triggers and policies, beside `antiphon.actor` and `antiphon.org`, such as [\"app.user=actor\", \"app.tenant=org\"].",
);
pub(crate) const DATABASE_RLS: Key = key(
    "database",
    "rls",
    Kind::Text,
    Some("off"),
    "`off`: edits are made with our role's own rights; `enforce`: they are made as `rls_role`, so that row security counts for them.",
);
pub(crate) const DATABASE_RLS_ROLE: Key = key(
    "database",
    "rls_role",
    Kind::Text,
    None,
    "The role that edits are made as where `rls` is `enforce`; our role must be a member of it.",
);
pub(crate) const CAPTURE_METHOD: Key = key(
    "capture",
    "method",
    Kind::Text,
    Some("log"),
    "How changes are captured: `log`, by decoding the server's log; `trigger`, by triggers that record rows in an audit table, where the log cannot be decoded; `query`, by queries that look for changed rows, where triggers cannot be had either.",
);
pub(crate) const CAPTURE_POLL_INTERVAL_MS: Key = key(
    "capture",
    "poll_interval_ms",
    Kind::Count,
    None,
    "How often a database without changes is looked at where its log is not decoded; without it, 250, and 1000 by queries. A busy one is looked at ten times as often.",
);
pub(crate) const CAPTURE_RECONCILE_INTERVAL_SECONDS: Key = key(
    "capture",
    "reconcile_interval_seconds",
    Kind::Count,
    None,
    "How often each table is compared with what was told of it where it is captured by queries, which finds deletes and updates that leave the cursor alone; without it, where `antiphon capture reconcile` asks.",
);
pub(crate) const SERVER_LISTEN: Key =
    key("server", "listen", Kind::Address, Some("127.0.0.1:7411"), "The address and port that the server listens on.");
pub(crate) const SERVER_ALLOWED_ORIGINS: Key = key(
    "server",
    "allowed_origins",
    Kind::List,
    None,
    "Origins of web pages that may call, such as https://app.example.com; our own pages always may.",
);
pub(crate) const SERVER_TRUSTED_PROXIES: Key = key(
    "server",
    "trusted_proxies",
    Kind::List,
    None,
    "Addresses and networks of your own proxies, such as 10.0.0.0/8: only from these does `X-Forwarded-For` say whose request it is.",
);
pub(crate) const SERVER_DESK: Key = key(
    "server",
    "desk",
    Kind::Text,
    Some("off"),
    "`on`: Desk, an application of pages and tasks, is served at `/desk/`; who opens it signs in with an access token.",
);
pub(crate) const AUTH_JWKS: Key = key(
    "auth",
    "jwks",
    Kind::Text,
    None,
    "The public keys of the identity provider whose tokens (JWT) are accepted: an https:// address, or a file. Without `jwks` and `secret`, only personal access tokens are.",
);
pub(crate) const AUTH_SECRET: Key = key(
    "auth",
    "secret",
    Kind::Secret,
    None,
    "A secret of at least 32 bytes shared with the identity provider, in place of `jwks`; best given by the environment.",
);
pub(crate) const AUTH_ALGORITHMS: Key = key(
    "auth",
    "algorithms",
    Kind::List,
    None,
    "The accepted algorithms: RS256, ES256 and EdDSA go with `jwks` (all three without this key), HS256 with `secret`.",
);
pub(crate) const AUTH_ISSUER: Key =
    key("auth", "issuer", Kind::Text, None, "The `iss` of accepted tokens; needed with `jwks` or `secret`.");
pub(crate) const AUTH_AUDIENCE: Key = key(
    "auth",
    "audience",
    Kind::Text,
    None,
    "The `aud` that accepted tokens name, alone or among others; needed with `jwks` or `secret`.",
);
pub(crate) const AUTH_ORGS_CLAIM: Key = key(
    "auth",
    "orgs_claim",
    Kind::Text,
    None,
    "The claim that holds the places of the token's `sub`, as {\"<org>\": \"<role>\"}; without this key our own memberships count.",
);
pub(crate) const LOG_RETENTION_DAYS: Key = key(
    "log",
    "retention_days",
    Kind::Count,
    Some("7"),
    "Activities younger than this stay in the log; clients away for longer list again.",
);
pub(crate) const LOG_RETENTION_MIN_ACTIVITIES: Key = key(
    "log",
    "retention_min_activities",
    Kind::Count,
    Some("1000000"),
    "At least so many activities stay in the log, however old they are.",
);

pub(crate) const LIMITS_MUTATIONS_PER_SECOND: Key = key(
    "limits",
    "mutations_per_second",
    Kind::Count,
    Some("100"),
    "How many edits an organisation may send a second; 0 is no limit.",
);
pub(crate) const LIMITS_MUTATIONS_BURST: Key = key(
    "limits",
    "mutations_burst",
    Kind::Count,
    Some("200"),
    "How many edits an organisation may send at once, after a while without any.",
);

pub(crate) const LIMITS_WEBSOCKET_BYTES_PER_SECOND: Key = key(
    "limits",
    "websocket_bytes_per_second",
    Kind::Count,
    Some("1048576"),
    "How many bytes one WebSocket is sent a second; 0 is no limit.",
);
pub(crate) const LIMITS_WEBSOCKET_BYTES_BURST: Key = key(
    "limits",
    "websocket_bytes_burst",
    Kind::Count,
    Some("4194304"),
    "How many bytes one WebSocket is sent at once, after a while without any.",
);
pub(crate) const LIMITS_STREAM_BYTES_PER_SECOND: Key = key(
    "limits",
    "stream_bytes_per_second",
    Kind::Count,
    Some("16777216"),
    "How many bytes of server-sent events or long-polls one connection is sent a second; 0 is no limit.",
);
pub(crate) const LIMITS_STREAM_BYTES_BURST: Key = key(
    "limits",
    "stream_bytes_burst",
    Kind::Count,
    Some("67108864"),
    "How many bytes of server-sent events or long-polls one connection is sent at once, after a while without any.",
);

/// Every key but `entities`, in the order of the reference.
pub(crate) const KEYS: [Key; 32] = [
    DATABASE_URL,
    DATABASE_LOG_URL,
    DATABASE_STANDBY_URL,
    DATABASE_SLOT,
    DATABASE_PUBLICATION,
    DATABASE_SPOOL_DIR,
    DATABASE_SPOOL_BYTES_MAX,
    DATABASE_COPIES_AT_ONCE,
    DATABASE_SESSION_VARIABLES,
    DATABASE_RLS,
    DATABASE_RLS_ROLE,
    CAPTURE_METHOD,
    CAPTURE_POLL_INTERVAL_MS,
    CAPTURE_RECONCILE_INTERVAL_SECONDS,
    SERVER_LISTEN,
    SERVER_ALLOWED_ORIGINS,
    SERVER_TRUSTED_PROXIES,
    SERVER_DESK,
    AUTH_JWKS,
    AUTH_SECRET,
    AUTH_ALGORITHMS,
    AUTH_ISSUER,
    AUTH_AUDIENCE,
    AUTH_ORGS_CLAIM,
    LOG_RETENTION_DAYS,
    LOG_RETENTION_MIN_ACTIVITIES,
    LIMITS_MUTATIONS_PER_SECOND,
    LIMITS_MUTATIONS_BURST,
    LIMITS_WEBSOCKET_BYTES_PER_SECOND,
    LIMITS_WEBSOCKET_BYTES_BURST,
    LIMITS_STREAM_BYTES_PER_SECOND,
    LIMITS_STREAM_BYTES_BURST,
];

/// The sections that `KEYS` knows, each once.
pub(crate) const SECTIONS: [&str; 6] = ["database", "capture", "server", "auth", "log", "limits"];

/// The keys of `[[entities]]` and what they mean.
pub(crate) const ENTITY_KEYS: [(&str, &str); 14] = [
    ("type", "The entity type's name on the wire, such as `task`."),
    ("table", "The table, as schema.table."),
    (
        "org",
        "The column that holds the organisation's id; or `{ via = \"page_id\", table = \"public.pages\" }`: the organisation of the row referred to; or `\"*\"`: readable by all, written by SQL only.",
    ),
    ("key", "The key columns; without it, the primary key."),
    ("tx", "The metadata column; `tx` without it."),
    ("hidden", "Columns that never leave the server."),
    ("sync", "`all` (every client keeps every row), or `on_demand` (clients keep the subsets that they ask for)."),
    ("filter", "Indexed columns that lists may filter and order by."),
    ("together", "Lists of fields that are edited as one."),
    ("cursor", "The column that every write raises, such as `updated_at`, where capture is by queries."),
    ("soft_delete", "The column that marks a row as deleted (set, or true), where capture is by queries."),
    ("refs", "For each reference column the entity type that it names."),
    ("fields", "For each field `{ merge = ... }`: lww (the default), manual, text, counter or set."),
    (
        "rules",
        "Who may see and write what: `[[entities.rules]]` with `roles` (everyone without it), `when` (every row without it; `{ owner = \"column\" }`: rows whose column holds the reader's `sub`; `{ column = \"status\", in = [\"public\"] }`: rows with these values), and what is granted: `read` and `write` (`\"*\"` or a list of columns), `create`, `delete` (true or false). Rules add up; what none grants is denied. Without rules viewers read, and all others read and write.",
    ),
];

/// The keys of `[[mirrors]]` and what they mean.
pub(crate) const MIRROR_KEYS: [(&str, &str); 3] = [
    ("name", "The mirror's name, under which the other database keeps where it stands."),
    ("url", "The other database, as postgres://user:password@host:port/database; it holds none of ours."),
    ("url_env", "The environment variable that holds the connection URL, in place of `url`."),
];
