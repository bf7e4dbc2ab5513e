//! The configuration of one run: defaults, then the file, then the environment, then flags (protocol 3).
//!
//! Resolved once into a value that nobody changes; each value knows where it came from. Nothing below the server
//! reads the environment. Refuses unknown keys with the nearest known name; never prints a password.

mod entities;
mod file;
mod keys;
mod mirrors;
mod secret;
#[cfg(test)]
mod tests;
mod write;

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use antiphon_model::{Code, EntityType};
use antiphon_server::admin::Fault;

use self::{
    file::{Document, invalid, unknown_key},
    keys::Kind,
};
pub(crate) use self::{
    keys::{
        AUTH_ALGORITHMS, AUTH_AUDIENCE, AUTH_ISSUER, AUTH_JWKS, AUTH_ORGS_CLAIM, AUTH_SECRET, CAPTURE_METHOD,
        CAPTURE_POLL_INTERVAL_MS, CAPTURE_RECONCILE_INTERVAL_SECONDS, DATABASE_COPIES_AT_ONCE, DATABASE_LOG_URL,
        DATABASE_PUBLICATION, DATABASE_RLS, DATABASE_RLS_ROLE, DATABASE_SESSION_VARIABLES, DATABASE_SLOT,
        DATABASE_SPOOL_BYTES_MAX, DATABASE_SPOOL_DIR, DATABASE_STANDBY_URL, DATABASE_URL, ENTITY_KEYS, KEYS, Key,
        LIMITS_MUTATIONS_BURST, LIMITS_MUTATIONS_PER_SECOND, LIMITS_STREAM_BYTES_BURST, LIMITS_STREAM_BYTES_PER_SECOND,
        LIMITS_WEBSOCKET_BYTES_BURST, LIMITS_WEBSOCKET_BYTES_PER_SECOND, LOG_RETENTION_DAYS,
        LOG_RETENTION_MIN_ACTIVITIES, MIRROR_KEYS, SERVER_ALLOWED_ORIGINS, SERVER_DESK, SERVER_LISTEN,
        SERVER_TRUSTED_PROXIES,
    },
    mirrors::Mirror,
    secret::Secret,
    write::{entity_section, quoted},
};
use crate::environment::Environment;

/// The file's name where `--config` does not give another.
pub(crate) const FILE_NAME: &str = "antiphon.toml";
const ENTITIES_VARIABLE: &str = "ANTIPHON_ENTITIES";
const MIRRORS_VARIABLE: &str = "ANTIPHON_MIRRORS";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody gave one.
    Default,
    /// A line of a file.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A flag of the command.
    Flag(&'static str),
    /// The state file of a running `antiphon dev`.
    Dev(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path, line) => write!(f, "file {} line {line}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
            Origin::Dev(_) => f.write_str("running antiphon dev"),
        }
    }
}

/// Flags that stand above file and environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// Values by key, each with the flag that gave it.
    pub(crate) values: Vec<(Key, String, &'static str)>,
}

/// The resolved configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    values: BTreeMap<String, (String, Origin)>,
    entities: Vec<EntityType>,
    entities_origin: Origin,
    mirrors: Vec<Mirror>,
    mirrors_origin: Origin,
    file: Option<PathBuf>,
}

impl Settings {
    /// Resolves the configuration of this run.
    pub(crate) fn resolve(flags: &Flags, environment: &Environment) -> Result<Settings, Fault> {
        let mut settings = Settings::defaults();
        if let Some((path, text)) = find_file(flags, environment)? {
            settings.read_file(&path, &text)?;
            settings.file = Some(path);
        }
        settings.read_environment(environment)?;
        for (key, value, flag) in &flags.values {
            settings.set(key, value.clone(), Origin::Flag(flag));
        }
        settings.check()?;
        Ok(settings)
    }

    /// Resolves what a running `antiphon dev` says about itself.
    pub(crate) fn of_dev(path: &Path, values: &[(Key, String)], entities: Vec<EntityType>) -> Result<Settings, Fault> {
        let mut settings = Settings::defaults();
        let origin = Origin::Dev(path.to_owned());
        for (key, value) in values {
            settings.set(key, value.clone(), origin.clone());
        }
        settings.entities = entities;
        settings.entities_origin = origin;
        settings.check()?;
        Ok(settings)
    }

    /// Returns a value as text.
    pub(crate) fn text(&self, key: &Key) -> Option<&str> {
        self.values.get(&key.full_name()).map(|(value, _)| value.as_str())
    }

    /// Returns a connection URL.
    pub(crate) fn url(&self, key: &Key) -> Option<Secret> {
        self.text(key).map(Secret::new)
    }

    /// Returns a whole number that the table gives a default.
    pub(crate) fn count(&self, key: &Key) -> u64 {
        self.text(key).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// Returns a time that is given in milliseconds; `None` where nobody gave one.
    pub(crate) fn duration_ms(&self, key: &Key) -> Option<Duration> {
        self.text(key).and_then(|text| text.parse().ok()).filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    /// Returns a time that is given in seconds; `None` where nobody gave one.
    pub(crate) fn duration_seconds(&self, key: &Key) -> Option<Duration> {
        self.text(key).and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }

    /// Returns the parts of a list; without any where nobody gave one.
    pub(crate) fn list(&self, key: &Key) -> Vec<String> {
        let parts = self.text(key).unwrap_or_default().split(',').map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// Returns the address to listen on.
    pub(crate) fn listen(&self) -> Result<SocketAddr, Fault> {
        address(self.text(&SERVER_LISTEN).unwrap_or_default(), "server.listen")
    }

    /// Returns where a value came from.
    pub(crate) fn origin(&self, key: &Key) -> &Origin {
        self.values.get(&key.full_name()).map_or(&Origin::Default, |(_, origin)| origin)
    }

    /// Returns the declared entity types; an empty key stands for the primary key.
    pub(crate) fn entities(&self) -> &[EntityType] {
        &self.entities
    }

    /// Returns where the entity types were declared.
    pub(crate) fn entities_origin(&self) -> &Origin {
        &self.entities_origin
    }

    /// Returns the mirrors.
    pub(crate) fn mirrors(&self) -> &[Mirror] {
        &self.mirrors
    }

    /// Returns where the mirrors were named.
    pub(crate) fn mirrors_origin(&self) -> &Origin {
        &self.mirrors_origin
    }

    /// Returns the file that was read.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    fn defaults() -> Settings {
        let with_default = KEYS.iter().filter_map(|key| Some((key.full_name(), key.default?)));
        let values = with_default.map(|(name, value)| (name, (value.to_owned(), Origin::Default))).collect();
        Settings {
            values,
            entities: Vec::new(),
            entities_origin: Origin::Default,
            mirrors: Vec::new(),
            mirrors_origin: Origin::Default,
            file: None,
        }
    }

    fn set(&mut self, key: &Key, value: String, origin: Origin) {
        self.values.insert(key.full_name(), (value, origin));
    }

    fn read_file(&mut self, path: &Path, text: &str) -> Result<(), Fault> {
        let place = path.display().to_string();
        let document = Document { place: &place, text };
        let root = document.parse()?;
        let root = root.get_ref();
        let mut known: Vec<&str> = keys::SECTIONS.to_vec();
        known.extend(["entities", "mirrors"]);
        document.refuse_unknown(root, "", &known)?;
        for section in keys::SECTIONS {
            let Some(value) = root.get(section) else { continue };
            let table = document.table(value, section)?;
            let names: Vec<&str> = KEYS.iter().filter(|key| key.section == section).map(|key| key.name).collect();
            document.refuse_unknown(table, section, &names)?;
            for key in KEYS.iter().filter(|key| key.section == section) {
                let Some(value) = table.get(key.name) else { continue };
                let name = key.full_name();
                let text = match key.kind {
                    Kind::Count => document.count(value, &name)?,
                    Kind::List => document.texts(value, &name)?.join(","),
                    Kind::Text | Kind::Url | Kind::Address | Kind::Folder | Kind::Secret => {
                        document.text(value, &name)?
                    }
                };
                self.set(key, text, Origin::File(path.to_owned(), document.line(value)));
            }
        }
        if let Some(value) = root.get("entities") {
            self.entities = entities::read(&document, value)?;
            self.entities_origin = Origin::File(path.to_owned(), document.line(value));
        }
        if let Some(value) = root.get("mirrors") {
            self.mirrors = mirrors::read(&document, value)?;
            self.mirrors_origin = Origin::File(path.to_owned(), document.line(value));
        }
        Ok(())
    }

    fn read_environment(&mut self, environment: &Environment) -> Result<(), Fault> {
        for section in keys::SECTIONS {
            let prefix = format!("ANTIPHON_{}_", section.to_uppercase());
            for (variable, value) in environment.with_prefix(&prefix) {
                let Some(key) = KEYS.iter().find(|key| key.variable() == variable) else {
                    let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
                    let known: Vec<&str> =
                        known.iter().map(String::as_str).filter(|v| v.starts_with(&prefix)).collect();
                    return Err(unknown_key("environment", variable, variable, &known));
                };
                self.set(key, value.to_owned(), Origin::Environment(variable.to_owned()));
            }
        }
        if let Some(text) = environment.var(ENTITIES_VARIABLE) {
            let text = format!("entities = {text}");
            let document = Document { place: ENTITIES_VARIABLE, text: &text };
            let root = document.parse()?;
            if let Some(value) = root.get_ref().get("entities") {
                self.entities = entities::read(&document, value)?;
                self.entities_origin = Origin::Environment(ENTITIES_VARIABLE.to_owned());
            }
        }
        if let Some(text) = environment.var(MIRRORS_VARIABLE) {
            let text = format!("mirrors = {text}");
            let document = Document { place: MIRRORS_VARIABLE, text: &text };
            let root = document.parse()?;
            if let Some(value) = root.get_ref().get("mirrors") {
                self.mirrors = mirrors::read(&document, value)?;
                self.mirrors_origin = Origin::Environment(MIRRORS_VARIABLE.to_owned());
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Fault> {
        for key in &KEYS {
            let Some((value, origin)) = self.values.get(&key.full_name()) else { continue };
            let name = format!("{} ({origin})", key.full_name());
            match key.kind {
                Kind::Count => drop(value.parse::<u64>().map_err(|_| not_a(&name, "a whole number from 0"))?),
                Kind::Address => drop(address(value, &name)?),
                Kind::Text | Kind::Url | Kind::Folder | Kind::Secret if value.trim().is_empty() => {
                    return Err(not_a(&name, "filled"));
                }
                Kind::Text | Kind::Url | Kind::Folder | Kind::Secret | Kind::List => {}
            }
        }
        Ok(())
    }
}

fn find_file(flags: &Flags, environment: &Environment) -> Result<Option<(PathBuf, String)>, Fault> {
    let named = flags.config.clone().or_else(|| environment.var("ANTIPHON_CONFIG").map(PathBuf::from));
    let path = named.clone().unwrap_or_else(|| PathBuf::from(FILE_NAME));
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Fault::new(Code::ConfigMissing, format!("{} does not exist", path.display())))
        }
        Err(error) => Err(invalid(format!("{} cannot be read: {error}", path.display()))),
    }
}

fn address(text: &str, name: &str) -> Result<SocketAddr, Fault> {
    let text = text.replacen("localhost:", "127.0.0.1:", 1);
    text.parse().map_err(|_| not_a(name, "an address and a port, such as 127.0.0.1:7411"))
}

fn not_a(name: &str, wanted: &str) -> Fault {
    invalid(format!("{name} must be {wanted}"))
}
