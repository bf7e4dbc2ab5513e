//! Brings our tables to this version; safe to run at once from several servers and again after a crash.
//!
//! Migrations are embedded and never change once released (a test holds their checksums). A database that is newer
//! than this binary is refused, so that an old server never writes what it does not understand. The list of what was
//! applied lies in a schema by name: the role's search path may find another one (a role called `antiphon` has its own).

use antiphon_engine::Fault;
use antiphon_model::Code;
use refinery::Report;
use tokio_postgres::Client;

use crate::errors;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// One lock for all who migrate; any number that nothing else uses.
const LOCK: i64 = 0x0061_6e74_6d69_6772;
/// Where refinery notes what was applied.
const TABLE: &str = "antiphon.migrations";

/// A step of our schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub name: String,
}

/// Returns the migrations that this binary has and the database has not.
///
/// Fails with `LOG_NEWER` where the database has one that this binary does not know.
pub async fn pending(client: &mut Client) -> Result<Vec<Migration>, Fault> {
    let known = embedded::migrations::runner();
    let newest = known.get_migrations().iter().map(|migration| i64::from(migration.version())).max().unwrap_or(0);
    let exists = client.query_one("select to_regclass($1) is not null", &[&TABLE]).await.map_err(errors::sql)?;
    let applied: i64 = if exists.get(0) {
        let sql = format!("select coalesce(max(version), 0)::int8 from {TABLE}");
        client.query_one(&sql, &[]).await.map_err(errors::sql)?.get(0)
    } else {
        0
    };
    if applied > newest {
        let detail = format!("the tables are at version {applied}, this binary knows {newest}");
        return Err(Fault::new(Code::LogNewer, detail));
    }
    let missing = known.get_migrations().iter().filter(|migration| i64::from(migration.version()) > applied);
    Ok(missing.map(|m| Migration { version: i64::from(m.version()), name: m.name().to_owned() }).collect())
}

/// Applies what is pending and returns it.
pub async fn migrate(client: &mut Client) -> Result<Vec<Migration>, Fault> {
    client.execute("select pg_advisory_lock($1)", &[&LOCK]).await.map_err(errors::sql)?;
    let result = apply(client).await;
    client.execute("select pg_advisory_unlock($1)", &[&LOCK]).await.map_err(errors::sql)?;
    result
}

async fn apply(client: &mut Client) -> Result<Vec<Migration>, Fault> {
    let pending = pending(client).await?;
    if pending.is_empty() {
        return Ok(pending);
    }
    client.batch_execute("create schema if not exists antiphon").await.map_err(errors::sql)?;
    let mut runner = embedded::migrations::runner().set_abort_divergent(true);
    runner.set_migration_table_name(TABLE);
    let report: Report = runner.run_async(client).await.map_err(failed)?;
    tracing::debug!(applied = report.applied_migrations().len(), "our tables are at this version");
    Ok(pending)
}

fn failed(error: refinery::Error) -> Fault {
    let detail = match error.kind() {
        refinery::error::Kind::DivergentVersion(..) | refinery::error::Kind::MissingVersion(..) => {
            "our tables were made by a build whose migrations were not these"
        }
        _ => "a migration of our tables failed; what it had begun was rolled back",
    };
    Fault::new(Code::LogCorrupt, detail).with_source(error)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// The SHA-256 of each file, by its version. Add to it; never change a line.
    const RELEASED: &[(u32, &str)] = &[
        (1, "4d7746122ef7a5617f3626494bfa36b8134c6c5b5ff6d7ad3de879c681768df7"),
        (2, "56bf6e7f1e88959605fa6734c76b91cb462371550204a89f1afd54c54277e74b"),
        (3, "7bcb68fa9abda387eed0ade7bf85d4e509686e146be64b4caf396b7f8ec62f12"),
        (4, "f4c7d392aead25ce7bb9a7eae544eb15d34951d3c618a9e4565595e6456b2650"),
        (5, "347d1908948dd9ca8301436fd940592ce1eda1ad00f188a7269a1755ae3e5fbf"),
    ];

    #[test]
    fn released_migrations_never_change_op_15() {
        let runner = embedded::migrations::runner();
        let mut found: Vec<(u32, String)> = Vec::new();
        for migration in runner.get_migrations() {
            let digest = Sha256::digest(migration.sql().unwrap_or_default());
            let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            found.push((u32::try_from(migration.version()).unwrap(), digest));
        }
        found.sort();
        let found: Vec<(u32, &str)> = found.iter().map(|(version, digest)| (*version, digest.as_str())).collect();
        assert_eq!(found, RELEASED, "a migration changed, or a new one is not in the list");
    }
}
