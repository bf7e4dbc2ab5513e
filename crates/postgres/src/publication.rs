//! The publication: which tables the slot's stream carries.
//!
//! It is created before the slot, always: up to 17 a slot cannot be decoded past a publication that is younger, and 18
//! silently leaves the changes out (PG-52). Tables are added by `entities add`, never from here.
//! Law: capture goes on only while the publication is the one that it began with, has carried every table ever since,
//! and carries all of its rows and columns that it carried (PG-53, PG-56, PG-57); the server itself does not tell. What
//! was known is kept with the checkpoint, so that it holds over restarts too.

use std::collections::BTreeMap;

use antiphon_engine::Fault;
use antiphon_model::{Code, PublicationMark, RelationName};
use tokio_postgres::Client;

use crate::{errors, slots, trigger_capture::METHOD};

/// A publication as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Its OID, which a publication made anew under the same name does not have.
    pub oid: u32,
    /// What it does not publish of insert, update, delete and truncate.
    pub unpublished: Vec<&'static str>,
    /// Whether changes of partitions are published under the name of their root.
    pub via_root: bool,
    /// The tables asked for that it carries, each with a mark: its own OID, the OID by which it became a member, and what
    /// of it is left out.
    pub tables: BTreeMap<RelationName, String>,
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
        select published.schemaname::text, published.tablename::text,
            c.oid::text || '/' || coalesce(r.oid::text, 'with ' || n.oid::text, 'with all') || '/'
                || coalesce(pg_catalog.md5(r.prattrs::text || coalesce(r.prqual::text, '')), pg_catalog.md5(r.prqual::text), '')
        from pg_catalog.pg_publication_tables as published
        join unnest($2::text[], $3::text[]) as declared (schema, name)
            on declared.schema = published.schemaname and declared.name = published.tablename
        join pg_catalog.pg_publication p on p.pubname = published.pubname
        join pg_catalog.pg_namespace s on s.nspname = published.schemaname
        join pg_catalog.pg_class c on c.relnamespace = s.oid and c.relname = published.tablename
        left join pg_catalog.pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid
        left join pg_catalog.pg_publication_namespace n on n.pnpubid = p.oid and n.pnnspid = s.oid
        where published.pubname = $1::text";
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let rows = client.query(carried, &[&name, &schemas, &names]).await.map_err(errors::sql)?;
    Ok(Some(Publication {
        oid: row.get(0),
        unpublished: unpublished.collect(),
        via_root: row.get(5),
        tables: rows.iter().map(|row| (RelationName { schema: row.get(0), name: row.get(1) }, row.get(2))).collect(),
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
    carried: BTreeMap<RelationName, String>,
}

impl Baseline {
    /// Takes the publication as it is; a missing or incomplete one is refused, and one that is not what it was `before`.
    pub(crate) async fn take(
        client: &Client,
        name: &str,
        tables: &[RelationName],
        before: Option<&PublicationMark>,
    ) -> Result<Baseline, Fault> {
        let publication = find(client, name, tables).await?;
        let publication = publication.ok_or_else(|| changed(format!("there is no publication {name}")))?;
        check_operations(name, &publication)?;
        let baseline = Baseline { name: name.to_owned(), oid: publication.oid, carried: publication.tables };
        if let Some(before) = before {
            baseline.compare(before, tables)?;
        }
        Ok(baseline)
    }

    /// Tells whether it carries a table.
    pub(crate) fn carries(&self, table: &RelationName) -> bool {
        self.carried.contains_key(table)
    }

    /// Returns what to keep with the checkpoint. A table that is no longer declared stays in it: declared again, it lacks
    /// what was written meanwhile.
    pub(crate) fn mark(&self, before: Option<&PublicationMark>) -> PublicationMark {
        let forgotten = before.into_iter().flat_map(|before| before.tables.keys().cloned());
        let mut tables: BTreeMap<String, String> = forgotten.map(|table| (table, String::new())).collect();
        tables.extend(self.carried.iter().map(|(table, mark)| (table.to_string(), mark.clone())));
        PublicationMark { oid: self.oid, tables }
    }

    /// Fails with `PUBLICATION_CHANGED` where the publication is another one or does not carry what it carried.
    pub(crate) async fn check(&self, client: &Client) -> Result<(), Fault> {
        let name = &self.name;
        let tables: Vec<RelationName> = self.carried.keys().cloned().collect();
        let Some(now) = find(client, name, &tables).await? else {
            return Err(changed(format!("the publication {name} was dropped")));
        };
        check_operations(name, &now)?;
        let now = Baseline { name: name.clone(), oid: now.oid, carried: now.tables };
        now.compare(&self.mark(None), &tables)
    }

    /// Compares with what was known before of the declared tables.
    fn compare(&self, before: &PublicationMark, declared: &[RelationName]) -> Result<(), Fault> {
        let name = &self.name;
        if before.tables.contains_key(METHOD) {
            return Err(changed("the log was captured by triggers so far".to_owned()));
        }
        if self.oid != before.oid {
            return Err(changed(format!("the publication {name} was dropped and made anew")));
        }
        let known = |table: &&RelationName| before.tables.contains_key(&table.to_string());
        let missing: Vec<String> =
            declared.iter().filter(known).filter(|table| !self.carries(table)).map(ToString::to_string).collect();
        if !missing.is_empty() {
            return Err(changed(format!("the publication {name} no longer carries {}", missing.join(", "))));
        }
        for (table, mark) in &self.carried {
            if let Some(before) = before.tables.get(&table.to_string()).filter(|before| *before != mark) {
                return Err(changed(difference(name, table, before, mark)));
            }
        }
        Ok(())
    }
}

/// Says in which part two marks of a table differ.
fn difference(name: &str, table: &RelationName, before: &str, now: &str) -> String {
    let parts = |mark: &str| mark.split('/').map(str::to_owned).collect::<Vec<_>>();
    let (before, now) = (parts(before), parts(now));
    if before.len() != now.len() {
        return format!("{table} was not captured for a while: it was not declared");
    }
    match before.iter().zip(&now).position(|(before, now)| before != now) {
        Some(0) => format!("{table} was dropped and made anew"),
        Some(1) => format!("{table} left the publication {name} and came back"),
        _ => format!("the publication {name} carries other rows or columns of {table} than before"),
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
