//! The server and the role: version, log level, recovery, TLS, poolers, privileges, clock, old transactions.
//!
//! Asked of the server itself, because what a configuration file says may not be in force; only the replication
//! connection is tried out, because host rules and poolers treat it apart. It changes nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use antiphon_engine::Fault;
use antiphon_model::Code;
use tokio_postgres::Client;

use super::Findings;
use crate::{CaptureMethod, ConnectionInfo, VERSION_MAJOR_MIN, errors, quote, replication::ReplicationConnection};

/// Clocks further apart than this make times in the log look wrong to people.
const CLOCK_DIFFERENCE_MAX_MS: i64 = 1_000;

const SERVER: &str = "
    select current_setting('server_version'), current_setting('server_version_num')::int / 10000,
        current_setting('wal_level'), pg_catalog.pg_is_in_recovery(), coalesce(s.ssl, false), s.version,
        pg_catalog.inet_server_addr() is null
            or pg_catalog.inet_server_addr() <<= '127.0.0.0/8' or pg_catalog.inet_server_addr() = '::1'
    from (select 1) one left join pg_catalog.pg_stat_ssl s on s.pid = pg_catalog.pg_backend_pid()";

pub(super) async fn check(client: &Client, method: CaptureMethod, findings: &mut Findings) -> Result<(), Fault> {
    let row = client.query_one(SERVER, &[]).await.map_err(errors::sql)?;
    let text = |column| row.try_get::<_, String>(column).map_err(errors::sql);
    let flag = |column| row.try_get::<_, bool>(column).map_err(errors::sql);
    let (version, major): (String, i32) = (text(0)?, row.try_get(1).map_err(errors::sql)?);
    if u32::try_from(major).unwrap_or(0) < VERSION_MAJOR_MIN {
        let remedy = format!("upgrade the server to Postgres {VERSION_MAJOR_MIN} or newer");
        findings.problem("version", Code::ConfigInvalid, format!("the server is Postgres {version}"), Some(remedy));
    } else {
        findings.ok("version", format!("Postgres {version}"));
    }
    match text(2)?.as_str() {
        "logical" => findings.ok("wal_level", "logical"),
        other if !method.decodes() => findings.ok("wal_level", format!("{other}; nothing is decoded")),
        other => {
            let remedy = "alter system set wal_level = logical; -- then restart the server".to_owned();
            findings.problem("wal_level", Code::WalLevel, format!("wal_level is {other}"), Some(remedy));
        }
    }
    if flag(3)? {
        let remedy = "point the connection URL at the primary".to_owned();
        findings.problem("recovery", Code::InRecovery, "the server is a standby", Some(remedy));
    } else {
        findings.ok("recovery", "the server is a primary");
    }
    match (flag(4)?, flag(6)?) {
        (true, _) => {
            let version: Option<String> = row.try_get(5).map_err(errors::sql)?;
            findings.ok("tls", format!("encrypted with {}", version.unwrap_or_else(|| "TLS".to_owned())));
        }
        (false, true) => findings.ok("tls", "not encrypted; the server is on this machine"),
        (false, false) => {
            let remedy = "add sslmode=verify-full to the connection URL".to_owned();
            findings.warn("tls", "the connection is not encrypted", Some(remedy));
        }
    }
    Ok(())
}

const ROLE: &str = "
    select r.rolsuper, r.rolreplication, r.rolbypassrls, r.rolcreatedb,
        pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create'),
        exists(select from pg_catalog.pg_roles g where g.rolname in ('rds_replication', 'azure_pg_admin')
            and pg_catalog.pg_has_role(r.oid, g.oid, 'member')),
        exists(select from pg_catalog.pg_roles g where g.rolname = 'rds_replication')
    from pg_catalog.pg_roles r where r.rolname = current_user";

pub(super) async fn role(
    client: &Client,
    info: &ConnectionInfo,
    method: CaptureMethod,
    findings: &mut Findings,
) -> Result<(), Fault> {
    let row = client.query_one(ROLE, &[]).await.map_err(errors::sql)?;
    let flag = |column| row.try_get::<_, bool>(column).map_err(errors::sql);
    let role = quote::ident(info.user())?;
    if !method.decodes() {
        findings.ok("replication_role", "not needed: nothing is decoded");
    } else if flag(0)? || flag(1)? || flag(5)? {
        findings.ok("replication_role", if flag(0)? { "superuser" } else { "may replicate" });
    } else {
        // Managed services give the attribute by membership of a role of their own.
        let remedy = match flag(6)? {
            true => format!("grant rds_replication to {role};"),
            false => format!("alter role {role} with replication;"),
        };
        findings.problem("replication_role", Code::Permission, "the role may not replicate", Some(remedy));
    }
    let made = if method.decodes() { "a publication" } else { "the schema `antiphon`" };
    if flag(4)? {
        findings.ok("create_privilege", format!("may create {made}"));
    } else {
        let remedy = format!("grant create on database {} to {role};", quote::ident(info.database())?);
        findings.problem("create_privilege", Code::Permission, format!("the role may not create {made}"), Some(remedy));
    }
    Ok(())
}

/// Settings that every session of ours pins, so that values are printed in one way; a pooler may drop them.
const PINNED: &str = "
    select current_setting('IntervalStyle') = 'iso_8601' and current_setting('extra_float_digits') = '3'
        and current_setting('bytea_output') = 'hex' and current_setting('row_security') = 'off',
        current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on'";

pub(super) async fn settings(client: &Client, findings: &mut Findings) -> Result<(), Fault> {
    let row = client.query_one(PINNED, &[]).await.map_err(errors::sql)?;
    let flag = |column| row.try_get::<_, bool>(column).map_err(errors::sql);
    if flag(0)? {
        findings.ok("session_settings", "as asked for");
    } else {
        let detail = "the session lacks the settings that it asked for; a connection pooler stands in between";
        let remedy = "use the server's direct address in the connection URL".to_owned();
        findings.problem("session_settings", Code::PoolerRefused, detail, Some(remedy));
    }
    if !flag(1)? || !flag(2)? {
        let remedy = "alter system set fsync = on; alter system set full_page_writes = on; select pg_reload_conf();";
        let detail = "the server may lose commits when its machine fails (fsync or full_page_writes is off)";
        findings.warn("durability", detail, Some(remedy.to_owned()));
    }
    Ok(())
}

/// Opens a replication connection, which poolers and the server's host rules may refuse where SQL passes.
pub(super) async fn replication(info: &ConnectionInfo, findings: &mut Findings) {
    let tried = async {
        let mut connection = ReplicationConnection::connect(info, "antiphon doctor", &[]).await?;
        connection.query("IDENTIFY_SYSTEM").await
    };
    match tried.await {
        Ok(_) => findings.ok("replication_connection", "accepted"),
        Err(fault) => findings.fault("replication_connection", &fault, None),
    }
}

pub(super) async fn clock(client: &Client, findings: &mut Findings) -> Result<(), Fault> {
    let before = now_ms();
    let sql = "select (extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint";
    let server: i64 = client.query_one(sql, &[]).await.and_then(|row| row.try_get(0)).map_err(errors::sql)?;
    let after = now_ms();
    // The answer was made somewhere in between.
    let difference = if server < before { server - before } else { (server - after).max(0) };
    if difference.abs() > CLOCK_DIFFERENCE_MAX_MS {
        let side = if difference > 0 { "ahead of" } else { "behind" };
        let detail = format!("the server's clock is {} ms {side} this machine's", difference.abs());
        findings.warn("clock", detail, Some("let both machines follow the same time service (NTP)".to_owned()));
    } else {
        findings.ok("clock", "the server's clock agrees with this machine's");
    }
    Ok(())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A slot's creation waits for every open transaction of the whole server that has a number, whatever its database.
const OPEN: &str = "
    select a.pid, coalesce(a.datname::text, ''), extract(epoch from pg_catalog.now() - a.xact_start)::bigint, null
    from pg_catalog.pg_stat_activity a
    where a.backend_xid is not null and a.xact_start < pg_catalog.now() - interval '60 seconds'
    union all
    select null, p.database::text, extract(epoch from pg_catalog.now() - p.prepared)::bigint, p.gid
    from pg_catalog.pg_prepared_xacts p where p.prepared < pg_catalog.now() - interval '60 seconds'
    order by 3 desc nulls last limit 5";

pub(super) async fn open_transactions(client: &Client, findings: &mut Findings) -> Result<(), Fault> {
    let rows = client.query(OPEN, &[]).await.map_err(errors::sql)?;
    if rows.is_empty() {
        findings.ok("open_transactions", "none that has been writing for more than a minute");
    }
    for row in rows {
        let pid: Option<i32> = row.try_get(0).map_err(errors::sql)?;
        let database: String = row.try_get(1).map_err(errors::sql)?;
        let seconds: Option<i64> = row.try_get(2).map_err(errors::sql)?;
        let gid: Option<String> = row.try_get(3).map_err(errors::sql)?;
        let (who, remedy) = match (pid, gid) {
            (Some(pid), _) => (format!("of the process {pid}"), format!("select pg_terminate_backend({pid});")),
            (None, Some(gid)) => {
                let literal = quote::literal(&gid)?;
                (format!("prepared as {literal}"), format!("rollback prepared {literal}; -- in database {database}"))
            }
            (None, None) => continue,
        };
        let detail = format!(
            "a transaction {who} in database `{database}` has been open for {} s; creating a slot waits for it",
            seconds.unwrap_or(0)
        );
        findings.warn("open_transactions", detail, Some(remedy));
    }
    Ok(())
}
