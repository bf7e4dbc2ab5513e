//! The publication: which tables the slot's stream carries.
//!
//! It is created before the slot, always: up to 17 a slot cannot be decoded past a publication that is younger, and 18
//! silently leaves the changes out (PG-52). Tables are added by `entities add`, never from here.
//! Law: capture goes on only while the publication is the one that it began with and carries every table that it
//! carried (PG-53); the server itself does not tell.

use std::collections::BTreeSet;

use antiphon_engine::Fault;
use antiphon_model::{Code, RelationName};
use tokio_postgres::Client;

use crate::{errors, slots};

/// A publication as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Its OID, which a publication made anew under the same name does not have.
    pub oid: u32,
    /// What it does not publish of insert, update, delete and truncate.
    pub unpublished: Vec<&'static str>,
    /// Whether changes of partitions are published under the name of their root.
    pub via_root: bool,
    /// The tables asked for that it carries.
    pub tables: BTreeSet<RelationName>,
}

/// Finds a publication, and which of `tables` it carries.
pub async fn find(client: &Client, name: &str, tables: &[RelationName]) -> Result<Option<Publication>, Fault> {
    let statement = "
        select oid, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot
        from pg_catalog.pg_publication where pubname = $1::text";
    let Some(row) = client.query_opt(statement, &[&name]).await.map_err(errors::sql)? else { return Ok(None) };
    let operations = [(1, "insert"), (2, "update"), (3, "delete"), (4, "truncate")];
    let unpublished = operations.iter().filter(|(column, _)| !row.get::<_, bool>(*column)).map(|(_, name)| *name);
    let carried = "
        select published.schemaname::text, published.tablename::text
        from pg_catalog.pg_publication_tables as published
        join unnest($2::text[], $3::text[]) as declared (schema, name)
            on declared.schema = published.schemaname and declared.name = published.tablename
        where published.pubname = $1::text";
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let rows = client.query(carried, &[&name, &schemas, &names]).await.map_err(errors::sql)?;
    Ok(Some(Publication {
        oid: row.get(0),
        unpublished: unpublished.collect(),
        via_root: row.get(5),
        tables: rows.iter().map(|row| RelationName { schema: row.get(0), name: row.get(1) }).collect(),
    }))
}

/// Creates an empty publication that shows changes of partitions under their root; one that exists is left as it is.
///
/// # Errors
/// Fails with `PERMISSION` where the role may not create in the database.
pub async fn create_if_missing(client: &Client, name: &str) -> Result<(), Fault> {
    slots::check_name("publication", name)?;
    let exists = "select 1 from pg_catalog.pg_publication where pubname = $1::text";
    if client.query_opt(exists, &[&name]).await.map_err(errors::sql)?.is_some() {
        return Ok(());
    }
    // The name was checked above, so that quoting it needs no escapes.
    let statement = format!("create publication \"{name}\" with (publish_via_partition_root = true)");
    match client.batch_execute(&statement).await {
        Ok(()) => Ok(()),
        // Somebody else was faster.
        Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::DUPLICATE_OBJECT) => Ok(()),
        Err(error) => Err(errors::sql(error)),
    }
}

/// What was known of a publication when the stream began, to tell later changes by.
#[derive(Clone, Debug)]
pub(crate) struct Baseline {
    name: String,
    oid: u32,
    carried: Vec<RelationName>,
}

impl Baseline {
    /// Takes the publication as it is; a missing or incomplete one is refused.
    pub(crate) async fn take(client: &Client, name: &str, tables: &[RelationName]) -> Result<Baseline, Fault> {
        let publication = find(client, name, tables).await?;
        let publication = publication.ok_or_else(|| changed(format!("there is no publication {name}")))?;
        check_operations(name, &publication)?;
        Ok(Baseline { name: name.to_owned(), oid: publication.oid, carried: publication.tables.into_iter().collect() })
    }

    /// Returns the tables that it carried.
    pub(crate) fn carried(&self) -> &[RelationName] {
        &self.carried
    }

    /// Fails with `PUBLICATION_CHANGED` where the publication is another one or lacks a table that it carried.
    pub(crate) async fn check(&self, client: &Client) -> Result<(), Fault> {
        let name = &self.name;
        let Some(now) = find(client, name, &self.carried).await? else {
            return Err(changed(format!("the publication {name} was dropped")));
        };
        if now.oid != self.oid {
            return Err(changed(format!("the publication {name} was dropped and made anew")));
        }
        check_operations(name, &now)?;
        let missing: Vec<_> =
            self.carried.iter().filter(|table| !now.tables.contains(table)).map(ToString::to_string).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(changed(format!("the publication {name} no longer carries {}", missing.join(", "))))
    }
}

fn check_operations(name: &str, publication: &Publication) -> Result<(), Fault> {
    if publication.unpublished.is_empty() {
        return Ok(());
    }
    // Capture without deletes would show rows that are gone (PG-55).
    Err(changed(format!("the publication {name} does not publish {}", publication.unpublished.join(", "))))
}

fn changed(detail: String) -> Fault {
    Fault::new(Code::PublicationChanged, detail)
}
