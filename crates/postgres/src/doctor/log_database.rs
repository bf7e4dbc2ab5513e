//! Our own database: whether it is there, or can be made.

use antiphon_model::Code;

use super::{DoctorConfig, Findings};
use crate::{ConnectionInfo, connect, errors, quote};

/// Where the activity log lives unless the configuration says otherwise: beside the data, but in its own database.
const LOG_DATABASE: &str = "antiphon";

pub(super) async fn check(info: &ConnectionInfo, config: &DoctorConfig, findings: &mut Findings) {
    let log = config.log.clone().unwrap_or_else(|| info.with_database(LOG_DATABASE));
    let name = log.database().to_owned();
    if config.log.is_some() && log == *info {
        let detail = "the log shares the application's database, which makes capture slower";
        findings.warn("log_database", detail, Some("leave out `log_url`, or name another database in it".to_owned()));
    }
    match connect::connect_sql(&log, "antiphon doctor").await {
        Ok(client) => {
            let sql = "select pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create')";
            let may = client.query_one(sql, &[]).await.and_then(|row| row.try_get::<_, bool>(0));
            match may {
                Ok(true) => findings.ok("log_database", format!("`{name}` is there")),
                Ok(false) => {
                    let role = quote::ident(log.user()).unwrap_or_default();
                    let database = quote::ident(&name).unwrap_or_default();
                    let remedy = format!("grant create on database {database} to {role};");
                    let detail = format!("the role may not make tables in `{name}`");
                    findings.problem("log_database", Code::Permission, detail, Some(remedy));
                }
                Err(error) => findings.take("log_database", Err(errors::sql(error))),
            }
        }
        // The server's word for a database that does not exist.
        Err(fault) if fault.code() == Code::ConfigInvalid => missing(info, &log, findings).await,
        Err(fault) => {
            let detail = format!("`{name}`: {}", fault.detail());
            findings.problem("log_database", fault.code(), detail, Some(fault.code().hint().to_owned()));
        }
    }
}

async fn missing(info: &ConnectionInfo, log: &ConnectionInfo, findings: &mut Findings) {
    let may = async {
        let client = connect::connect_sql(info, "antiphon doctor").await?;
        let sql = "select r.rolsuper or r.rolcreatedb from pg_catalog.pg_roles r where r.rolname = current_user";
        client.query_one(sql, &[]).await.and_then(|row| row.try_get::<_, bool>(0)).map_err(errors::sql)
    };
    let name = log.database();
    if may.await.unwrap_or(false) {
        findings.ok("log_database", format!("`{name}` is not there yet; the first start creates it"));
        return;
    }
    let (database, role) = (quote::ident(name).unwrap_or_default(), quote::ident(log.user()).unwrap_or_default());
    let detail = format!("`{name}` is not there, and the role may not create it");
    let remedy = format!("create database {database} owner {role};");
    findings.problem("log_database", Code::LogUnreachable, detail, Some(remedy));
}
