//! What `antiphon dev` makes before the server starts: databases, rows, prepared tables, people.
//!
//! Law: each step looks first, so that a start after any crash goes on where the one before ended.

use std::collections::BTreeMap;

use antiphon_engine::Fault;
use antiphon_model::Code;
use antiphon_postgres::{ConnectionInfo, connect_sql, errors::sql, ident};
use tokio_postgres::Client;

use super::{APP_DATABASE, LOG_DATABASE, demo};
use crate::admin::{Admin, AdminConfig, Identity};

const APPLICATION: &str = "antiphon dev";

/// Makes the databases and, in a new one, the demonstration; tells whether it was made now.
pub(super) async fn databases(maintenance_url: &str, app_url: &str, seed: Option<&str>) -> Result<bool, Fault> {
    let maintenance = connect_sql(&ConnectionInfo::parse(maintenance_url)?, APPLICATION).await?;
    for name in [APP_DATABASE, LOG_DATABASE] {
        let found = "select 1 from pg_catalog.pg_database where datname = $1";
        if maintenance.query_opt(found, &[&name]).await.map_err(sql)?.is_none() {
            maintenance.batch_execute(&format!("create database {}", ident(name)?)).await.map_err(sql)?;
        }
    }
    let app = connect_sql(&ConnectionInfo::parse(app_url)?, APPLICATION).await?;
    let made = app.query_one("select to_regclass('public.pages') is not null", &[]).await.map_err(sql)?;
    if made.get(0) {
        return Ok(false);
    }
    // One transaction: a crash in between leaves an empty database, never half of the demonstration.
    app.batch_execute(&format!("begin; {} {} commit", demo::SCHEMA, demo::ROWS)).await.map_err(sql)?;
    if let Some(seed) = seed {
        run_seed(&app, seed).await?;
    }
    app.batch_execute("analyze").await.map_err(sql)?;
    Ok(true)
}

async fn run_seed(app: &Client, seed: &str) -> Result<(), Fault> {
    app.batch_execute(seed).await.map_err(|error| {
        let why = error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
        Fault::new(Code::Usage, format!("the seed failed: {why}")).with_source(error)
    })
}

/// Prepares the demonstration's tables as `entities add` would.
pub(super) async fn entities(config: &AdminConfig) -> Result<(), Fault> {
    let admin = Admin::new(config.clone())?;
    for entity in &config.entities {
        let plan = admin.plan_add(entity, Identity::Index).await?;
        admin.apply(&plan, &mut |_| {}).await?;
    }
    Ok(())
}

/// Brings our tables to this version and makes the organisations, users and tokens that are missing.
pub(super) async fn people(config: &AdminConfig, tokens: &BTreeMap<String, String>) -> Result<(), Fault> {
    let admin = Admin::new(config.clone())?;
    admin.migrate(false).await?;
    let people = admin.people().await?;
    let orgs = people.orgs().await?;
    for (id, name) in demo::ORGS {
        if !orgs.iter().any(|org| org.id == id) {
            people.create_org(id, id, name).await?;
        }
    }
    let users = people.users().await?;
    for user in &demo::USERS {
        if !users.iter().any(|known| known.id == user.id) {
            people.create_user(user.id, user.name, user.system_admin).await?;
            if let Some((org, role)) = user.org {
                people.join(org, user.id, role).await?;
            }
        }
        if let Some(token) = tokens.get(user.id) {
            people.keep_token(token, user.id, "antiphon dev").await?;
        }
    }
    Ok(())
}
