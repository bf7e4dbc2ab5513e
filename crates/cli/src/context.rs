//! What every command is handed: the printer, the environment, the global flags, and the configuration on demand.
//!
//! Configuration is resolved where a command first needs it, so that help, versions and explanations work without any.
//! Without a database an operator's command turns to a running `antiphon dev`, and says so; `serve` never does.

use std::path::PathBuf;

use antiphon_model::Code;
use antiphon_server::admin::{Admin, AdminConfig, CaptureMethod, Fault};
use tracing_subscriber::EnvFilter;

use crate::{
    arguments::Global,
    dev_state,
    environment::Environment,
    output::Output,
    settings::{
        CAPTURE_METHOD, CAPTURE_POLL_INTERVAL_MS, CAPTURE_RECONCILE_INTERVAL_SECONDS, DATABASE_LOG_URL,
        DATABASE_PUBLICATION, DATABASE_SLOT, DATABASE_SPOOL_BYTES_MAX, DATABASE_SPOOL_DIR, DATABASE_STANDBY_URL,
        DATABASE_URL, Flags, Key, Settings,
    },
};

/// The surroundings of one run.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The printer.
    pub(crate) out: Output,
    /// The environment.
    pub(crate) environment: Environment,
    global: Global,
}

impl Context {
    /// Puts the surroundings together.
    pub(crate) fn new(out: Output, environment: Environment, global: Global) -> Context {
        Context { out, environment, global }
    }

    /// Starts the log on stderr; `ANTIPHON_LOG` says how much, `usual` where it does not. With `--json` lines are JSON.
    pub(crate) fn start_log(&self, usual: &str) {
        let filter = self.environment.var("ANTIPHON_LOG").unwrap_or(usual);
        let Ok(filter) = EnvFilter::try_new(filter) else {
            self.out.talk("ANTIPHON_LOG is not a filter such as `info` or `antiphon_engine=debug`; it is ignored");
            return;
        };
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let started = if self.out.json() { log.json().try_init() } else { log.with_ansi(false).try_init() };
        if started.is_err() {
            self.out.talk("the log could not be started");
        }
    }

    /// Resolves the configuration, with further flags of the command.
    pub(crate) fn settings_with(&self, more: Vec<(Key, String, &'static str)>) -> Result<Settings, Fault> {
        let mut values = more;
        if let Some(url) = &self.global.database_url {
            values.push((DATABASE_URL, url.clone(), "--database-url"));
        }
        if let Some(url) = &self.global.log_url {
            values.push((DATABASE_LOG_URL, url.clone(), "--log-url"));
        }
        Settings::resolve(&Flags { config: self.global.config.clone(), values }, &self.environment)
    }

    /// Resolves the configuration.
    pub(crate) fn settings(&self) -> Result<Settings, Fault> {
        self.settings_with(Vec::new())
    }

    /// Resolves the configuration of an operator's command: without any, that of a running `antiphon dev`.
    pub(crate) fn operator_settings(&self) -> Result<Settings, Fault> {
        let settings = self.settings()?;
        if settings.text(&DATABASE_URL).is_some() {
            return Ok(settings);
        }
        // A file that says something else than a database is no reason to act on the demonstration.
        if settings.file().is_none()
            && let Some((path, state)) = dev_state::find(&self.environment)
        {
            self.out.talk(&format!("no configuration; using the running antiphon dev (process {})", state.pid));
            return state.settings(&path);
        }
        Err(no_database())
    }

    /// Opens the operator's façade.
    pub(crate) fn admin(&self) -> Result<(Settings, Admin), Fault> {
        let settings = self.operator_settings()?;
        let admin = Admin::new(admin_config(&settings, &self.environment)?)?;
        Ok((settings, admin))
    }

    /// Returns the configuration file that commands write to.
    pub(crate) fn config_path(&self) -> PathBuf {
        let named = self.global.config.clone();
        named
            .or_else(|| self.environment.var("ANTIPHON_CONFIG").map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from(crate::settings::FILE_NAME))
    }
}

/// Puts together what the façade needs.
pub(crate) fn admin_config(settings: &Settings, environment: &Environment) -> Result<AdminConfig, Fault> {
    let url = settings.url(&DATABASE_URL).ok_or_else(no_database)?;
    let text = |key: &Key| settings.text(key).unwrap_or_default().to_owned();
    Ok(AdminConfig {
        database_url: url.expose().to_owned(),
        log_url: settings.url(&DATABASE_LOG_URL).map(|url| url.expose().to_owned()),
        standby_url: settings.url(&DATABASE_STANDBY_URL).map(|url| url.expose().to_owned()),
        slot: text(&DATABASE_SLOT),
        publication: text(&DATABASE_PUBLICATION),
        entities: settings.entities().to_vec(),
        spool_dir: settings.text(&DATABASE_SPOOL_DIR).map_or_else(|| environment.spool(), PathBuf::from),
        spool_bytes_max: settings.count(&DATABASE_SPOOL_BYTES_MAX),
        method: method(settings)?,
        poll_interval: settings.duration_ms(&CAPTURE_POLL_INTERVAL_MS),
        reconcile_interval: settings.duration_seconds(&CAPTURE_RECONCILE_INTERVAL_SECONDS),
    })
}

/// How the database is captured.
fn method(settings: &Settings) -> Result<CaptureMethod, Fault> {
    let word = settings.text(&CAPTURE_METHOD).unwrap_or_default();
    let method = CaptureMethod::parse(word).ok_or_else(|| {
        let words: Vec<_> = CaptureMethod::ALL.iter().map(|method| format!("`{}`", method.as_str())).collect();
        Fault::new(Code::ConfigInvalid, format!("capture.method: {} is wanted", words.join(" or ")))
    })?;
    let polled = settings.entities().iter().find(|entity| entity.polling.cursor.is_some());
    if let Some(entity) = polled.filter(|_| method != CaptureMethod::Query) {
        let detail = format!(
            "entity {}: it names a `cursor`, by which only capture.method = \"query\" finds changed rows; remove it, or \
             set the method",
            entity.name
        );
        return Err(Fault::new(Code::ConfigInvalid, detail));
    }
    Ok(method)
}

fn no_database() -> Fault {
    Fault::new(
        Code::ConfigMissing,
        "no database is named: neither antiphon.toml, ANTIPHON_DATABASE_URL nor --database-url",
    )
}
