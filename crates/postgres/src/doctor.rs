//! What a first run needs of the database, checked one by one, each finding with its exact remedy.
//!
//! Later checks do not depend on earlier ones where they can do without: everything that can be found out in one go is
//! found out in one go. Nothing is changed; remedies are printed, not run.
//! Details name tables, roles and settings, never statements of others, hosts or secrets.

mod failover;
mod log_database;
mod polling;
mod recording;
mod server;
mod slot;
mod tables;
mod watch;

use std::fmt;

use antiphon_engine::Fault;
use antiphon_model::{Class, Code, EntityType};
use serde::Serialize;
use tokio_postgres::Client;

use crate::{CaptureMethod, ConnectionInfo, connect, slots};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It works, but something may go wrong later.
    Warning,
    /// It cannot work like this.
    Problem,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Ok => "ok",
            Outcome::Warning => "warning",
            Outcome::Problem => "problem",
        })
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's name, such as `wal_level`; of a table, `replica_identity public.tasks`.
    pub check: String,
    /// How it came out.
    pub status: Outcome,
    /// The stable code, where one names it.
    pub code: Option<Code>,
    /// What was found.
    pub detail: String,
    /// The statement or command that puts it right.
    pub remedy: Option<String>,
}

/// What is checked beside the connection itself.
#[derive(Clone, Debug)]
pub struct DoctorConfig {
    /// The slot's name.
    pub slot: String,
    /// The publication's name.
    pub publication: String,
    /// How the database is captured: slot, publication and the log's level matter only to its decoding.
    pub method: CaptureMethod,
    /// The declared entity types.
    pub entities: Vec<EntityType>,
    /// Our own database; `None` for the database `antiphon` of the same cluster.
    pub log: Option<ConnectionInfo>,
    /// Where the standbys are, beyond the hosts of the connection URL.
    pub standby: Option<ConnectionInfo>,
}

/// Checks everything that can be checked.
pub async fn doctor(info: &ConnectionInfo, config: &DoctorConfig) -> Vec<Finding> {
    let mut findings = Findings::default();
    for (kind, name) in [("slot", &config.slot), ("publication", &config.publication)] {
        if let Err(fault) = slots::check_name(kind, name) {
            findings.fault("names", &fault, None);
        }
    }
    match connect::connect_sql(info, "antiphon doctor").await {
        Err(fault) => findings.fault("connection", &fault, None),
        Ok(client) => {
            findings.ok("connection", format!("logged in to `{}` as `{}`", info.database(), info.user()));
            source(&client, info, config, &mut findings).await;
        }
    }
    log_database::check(info, config, &mut findings).await;
    findings.list
}

async fn source(client: &Client, info: &ConnectionInfo, config: &DoctorConfig, findings: &mut Findings) {
    // A check that hangs must not keep the others from being made.
    if let Err(error) = client.batch_execute("set statement_timeout = '20s'; set lock_timeout = '2s'").await {
        return findings.fault("connection", &crate::errors::sql(error), None);
    }
    let checked = server::check(client, config.method, findings).await;
    findings.take("server", checked);
    let checked = server::role(client, info, config.method, findings).await;
    findings.take("role", checked);
    let checked = server::settings(client, findings).await;
    findings.take("settings", checked);
    let checked = server::clock(client, findings).await;
    findings.take("clock", checked);
    let checked = server::open_transactions(client, findings).await;
    findings.take("open_transactions", checked);
    match config.method {
        CaptureMethod::Log => decoding(client, info, config, findings).await,
        CaptureMethod::Trigger => {
            let checked = recording::check(client, findings).await;
            findings.take("audit", checked);
        }
        CaptureMethod::Query => {
            let checked = polling::check(client, &config.entities, findings).await;
            findings.take("polling", checked);
        }
    }
    let checked = slot::disk(client, findings).await;
    findings.take("disk", checked);
    let checked = watch::check(info, config, findings).await;
    findings.take("watch", checked);
    for entity in &config.entities {
        // One table that cannot be read hinders no other (PG-95).
        let checked = tables::check(client, entity, config, findings).await;
        findings.take(&format!("table {}", entity.table), checked);
    }
}

/// What only the decoding of the log needs.
async fn decoding(client: &Client, info: &ConnectionInfo, config: &DoctorConfig, findings: &mut Findings) {
    server::replication(info, findings).await;
    let checked = slot::capacity(client, &config.slot, findings).await;
    findings.take("slots", checked);
    let checked = slot::check(client, info, &config.slot, findings).await;
    findings.take("slot", checked);
    let checked = failover::check(info, config, findings).await;
    findings.take("failover", checked);
    let checked = tables::publication(client, config, findings).await;
    findings.take("publication", checked);
}

/// Findings in the making.
#[derive(Default)]
struct Findings {
    list: Vec<Finding>,
}

impl Findings {
    fn add(
        &mut self,
        check: &str,
        status: Outcome,
        code: Option<Code>,
        detail: impl Into<String>,
        remedy: Option<String>,
    ) {
        self.list.push(Finding { check: check.to_owned(), status, code, detail: detail.into(), remedy });
    }

    fn ok(&mut self, check: &str, detail: impl Into<String>) {
        self.add(check, Outcome::Ok, None, detail, None);
    }

    fn warn(&mut self, check: &str, detail: impl Into<String>, remedy: Option<String>) {
        self.add(check, Outcome::Warning, None, detail, remedy);
    }

    fn problem(&mut self, check: &str, code: Code, detail: impl Into<String>, remedy: Option<String>) {
        self.add(check, Outcome::Problem, Some(code), detail, remedy);
    }

    /// Adds a fault as a problem; without a better remedy, the code's own hint.
    fn fault(&mut self, check: &str, fault: &Fault, remedy: Option<String>) {
        let code = fault.code();
        let detail = if fault.detail().is_empty() { code.title().to_owned() } else { fault.detail().to_owned() };
        let remedy = remedy.or_else(|| (code.class() != Class::Bug).then(|| code.hint().to_owned()));
        self.problem(check, code, detail, remedy);
    }

    /// Adds what kept a check from being made.
    fn take(&mut self, check: &str, checked: Result<(), Fault>) {
        if let Err(fault) = checked {
            tracing::debug!(check, fault = fault.chain(), "a check could not be made");
            let detail = format!("could not be checked: {}", fault.detail());
            self.add(check, Outcome::Warning, Some(fault.code()), detail, None);
        }
    }
}

/// Writes a number of bytes as people read it.
pub(crate) fn size(bytes: i64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value.abs() >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
