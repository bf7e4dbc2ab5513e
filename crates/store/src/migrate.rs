//! Brings our tables to this version; safe to run at once from several servers and again after a crash.
//!
//! Migrations are embedded and never change once released (a test holds their checksums). A database that is newer
//! than this binary is refused, so that an old server never writes what it does not understand.

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
const TABLE: &str = "antiphon_migrations";

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
    let mut runner = embedded::migrations::runner().set_abort_divergent(true);
    runner.set_migration_table_name(TABLE);
    let report: Report = runner.run_async(client).await.map_err(|error| {
        Fault::new(Code::LogCorrupt, "a migration of our tables failed; what it had begun was rolled back")
            .with_source(error)
    })?;
    tracing::debug!(applied = report.applied_migrations().len(), "our tables are at this version");
    Ok(pending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_migrations_never_change_op_15() {
        let found: Vec<(i64, u64)> = embedded::migrations::runner()
            .get_migrations()
            .iter()
            .map(|migration| (i64::from(migration.version()), migration.checksum()))
            .collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, 1);
    }
}
