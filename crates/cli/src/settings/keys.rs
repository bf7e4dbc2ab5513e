//! The table of configuration keys: the one place that names, documents and defaults each of them.
//!
//! The reader, the environment, `config print` and the reference page all walk this table, so they cannot differ.

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

    /// Tells whether the value may hold a password.
    pub(crate) fn secret(&self) -> bool {
        self.kind == Kind::Url
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
pub(crate) const SERVER_LISTEN: Key =
    key("server", "listen", Kind::Address, Some("127.0.0.1:7411"), "The address and port that the server listens on.");
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

/// Every key but `entities`, in the order of the reference.
pub(crate) const KEYS: [Key; 9] = [
    DATABASE_URL,
    DATABASE_LOG_URL,
    DATABASE_SLOT,
    DATABASE_PUBLICATION,
    DATABASE_SPOOL_DIR,
    DATABASE_SPOOL_BYTES_MAX,
    SERVER_LISTEN,
    LOG_RETENTION_DAYS,
    LOG_RETENTION_MIN_ACTIVITIES,
];

/// The sections that `KEYS` knows, each once.
pub(crate) const SECTIONS: [&str; 3] = ["database", "server", "log"];

/// The keys of `[[entities]]` and what they mean.
pub(crate) const ENTITY_KEYS: [(&str, &str); 11] = [
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
    ("refs", "For each reference column the entity type that it names."),
    ("fields", "For each field `{ merge = ... }`: lww (the default), manual, text, counter or set."),
];
