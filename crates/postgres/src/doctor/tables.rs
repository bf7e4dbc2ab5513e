//! The publication and each declared table: identity, privileges, row security, indexes for declared filters.
//!
//! A table is looked at even where the role may not read it: the catalogue is open to all. What is wrong with one table
//! is told of that table and keeps no other from being looked at (PG-95).

use antiphon_engine::Fault;
use antiphon_model::{Code, EntityType, Tenancy};
use tokio_postgres::Client;

use super::{DoctorConfig, Findings};
use crate::{
    catalogue::{self, TableInfo},
    entities, errors, publication, quote,
};

pub(super) async fn publication(client: &Client, config: &DoctorConfig, findings: &mut Findings) -> Result<(), Fault> {
    let Some(found) = publication::find(client, &config.publication, &[]).await? else {
        let detail = format!("`{}` is not there yet; the first start or `entities add` creates it", config.publication);
        findings.ok("publication", detail);
        return Ok(());
    };
    let name = quote::ident(&config.publication)?;
    if !found.unpublished.is_empty() {
        let detail = format!("`{}` leaves out: {}", config.publication, found.unpublished.join(", "));
        let remedy = format!("alter publication {name} set (publish = 'insert, update, delete, truncate');");
        findings.problem("publication", Code::PublicationChanged, detail, Some(remedy));
    } else if !found.via_root {
        let detail = "changes of partitions would come under the partitions' names";
        let remedy = format!("alter publication {name} set (publish_via_partition_root = true);");
        findings.warn("publication", detail, Some(remedy));
    } else {
        findings.ok("publication", format!("`{}` carries every kind of change", config.publication));
    }
    Ok(())
}

/// Checks one declared table.
pub(super) async fn check(
    client: &Client,
    entity: &EntityType,
    config: &DoctorConfig,
    findings: &mut Findings,
) -> Result<(), Fault> {
    let name = format!("table {}", entity.table);
    let Some(table) = catalogue::find_table(client, &entity.table).await? else {
        let remedy = "correct `table` in antiphon.toml, or create the table".to_owned();
        findings.problem(&name, Code::TableUnfit, "there is no such table", Some(remedy));
        return Ok(());
    };
    let org = match &entity.org {
        Tenancy::Column(column) => column.clone(),
        Tenancy::Via { column, table } => format!("{column} --via {table}"),
        Tenancy::Everyone => "'*'".to_owned(),
    };
    let add = format!("antiphon entities add {} --table {} --org {org}", entity.name, entity.table);
    let publication = config.method.decodes().then_some(config.publication.as_str());
    let status = entities::status(client, entity, &config.entities, publication).await?;
    match status.problem {
        Some(problem) => {
            let code = if status.identity_ready { Code::TableUnfit } else { Code::TableWithoutIdentity };
            findings.problem(&name, code, problem, Some(add));
        }
        None => findings.ok(&name, format!("prepared, on {} table(s) of rows", status.leaves)),
    }
    access(client, &table, findings).await?;
    indexes(&table, entity, findings)?;
    Ok(())
}

const ACCESS: &str = "
    select pg_catalog.has_schema_privilege(c.relnamespace, 'usage') and pg_catalog.has_table_privilege(c.oid, 'select'),
        pg_catalog.pg_has_role(c.relowner, 'usage'),
        c.relrowsecurity and not (select r.rolsuper or r.rolbypassrls from pg_catalog.pg_roles r
                where r.rolname = current_user)
            and (c.relforcerowsecurity or not pg_catalog.pg_has_role(c.relowner, 'usage')),
        current_user::text
    from pg_catalog.pg_class c where c.oid = $1";

async fn access(client: &Client, table: &TableInfo, findings: &mut Findings) -> Result<(), Fault> {
    let row = client.query_one(ACCESS, &[&table.oid]).await.map_err(errors::sql)?;
    let flag = |column| row.try_get::<_, bool>(column).map_err(errors::sql);
    let role = quote::ident(&row.try_get::<_, String>(3).map_err(errors::sql)?)?;
    let (name, schema) = (quote::qualified(&table.name)?, quote::ident(&table.name.schema)?);
    if !flag(0)? {
        let remedy = format!("grant usage on schema {schema} to {role}; grant select on {name} to {role};");
        let check = format!("select {}", table.name);
        findings.problem(&check, Code::Permission, "the role may not read the table", Some(remedy));
    }
    if !flag(1)? {
        let detail =
            "the role does not own the table, so `entities add` cannot prepare it; run its statements as owner";
        let remedy = format!("alter table {name} owner to {role}; -- or grant the owner's role to {role}");
        findings.warn(&format!("owner {}", table.name), detail, Some(remedy));
    }
    if flag(2)? {
        let detail = "row-level security would hide rows from lists and copies, while the stream carries all of them";
        let remedy = format!("alter role {role} with bypassrls;");
        let check = format!("row_security {}", table.name);
        findings.problem(&check, Code::Permission, detail, Some(remedy));
    }
    Ok(())
}

/// A list without an index reads the organisation's rows one by one.
fn indexes(table: &TableInfo, entity: &EntityType, findings: &mut Findings) -> Result<(), Fault> {
    let org = entity.org_column();
    let name = quote::qualified(&table.name)?;
    let mut missing = Vec::new();
    let wanted = entity.filter.iter().chain(entity.key.first()).filter(|column| Some(column.as_str()) != org);
    for column in wanted {
        let Some(info) = table.column(column) else { continue };
        let of_key = entity.key.first() == Some(column);
        let by_bytes = !info.collatable || info.bytewise;
        let served = table.indexes.iter().filter(|index| index.whole && index.valid).any(|index| {
            // After the organisation; where a filter names one value, first of all will do too.
            let at = index.columns.iter().take(2).position(|candidate| candidate.as_deref() == Some(column));
            let led = |at: usize| if at == 0 { !of_key || org.is_none() } else { index.columns[0].as_deref() == org };
            at.is_some_and(|at| led(at) && (by_bytes || index.bytewise[at]))
        });
        if !served {
            let collate = if by_bytes { "" } else { " collate \"C\"" };
            let key: Vec<String> = entity
                .key
                .iter()
                .filter(|key| *key != column)
                .map(|key| quote::ident(key))
                .collect::<Result<_, _>>()?;
            let rest = if key.is_empty() { String::new() } else { format!(", {}", key.join(", ")) };
            let quoted = quote::ident(column)?;
            let first = org.map(quote::ident).transpose()?.map(|org| format!("{org}, ")).unwrap_or_default();
            missing.push((column, format!("create index concurrently on {name} ({first}{quoted}{collate}{rest});")));
        }
    }
    if let Tenancy::Via { column, table: parent } = &entity.org
        && !table.indexes.iter().any(|index| index.valid && index.columns.first() == Some(&Some(column.clone())))
    {
        let remedy = format!("create index concurrently on {name} ({});", quote::ident(column)?);
        let detail = format!("a row of {parent} that moves looks for the rows that refer to it one by one");
        findings.warn(&format!("index of {column} {}", table.name), detail, Some(remedy));
    }
    let check = format!("indexes {}", table.name);
    if missing.is_empty() {
        findings.ok(&check, "every declared filter has one");
    }
    for (column, remedy) in missing {
        let detail = format!("lists by `{column}` have no index that orders it as they do");
        findings.warn(&check, detail, Some(remedy));
    }
    Ok(())
}
