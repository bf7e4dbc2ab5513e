//! Beginning anew, guided: what a resync would do is shown first, and what would make it vain is refused.
//!
//! It is the remedy of every reason for which capture cannot go on by itself. Law: nothing is taken away before it is
//! known that what comes after can work; rows of the database and edits that wait on devices are never touched.

use std::collections::HashMap;

use antiphon_engine::Fault;
use antiphon_model::Code;
use antiphon_postgres::{connect_sql, errors, publication, qualified};
use serde::Serialize;
use tokio_postgres::Client;

use super::{APPLICATION, Admin, Slot};

/// A table that a resync copies.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResyncTable {
    /// The entity type.
    pub entity_type: String,
    /// The table.
    pub table: String,
    /// About how many rows it has.
    pub rows_estimated: i64,
}

/// What a resync would do.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResyncPlan {
    /// The epoch that ends.
    pub epoch: u32,
    /// Whether the log is decoded, and a slot made for it.
    pub decodes: bool,
    /// The slot that is dropped, where there is one left.
    pub slot: Option<Slot>,
    /// The tables that are copied.
    pub tables: Vec<ResyncTable>,
}

impl Admin {
    /// Finds out what a resync would do, and whether it can work; nothing is changed.
    ///
    /// # Errors
    /// Fails with `IN_RECOVERY` on a standby, and with `PUBLICATION_CHANGED` where a declared table is not published.
    pub async fn resync_plan(&self) -> Result<ResyncPlan, Fault> {
        let client = connect_sql(&self.source, APPLICATION).await?;
        let recovers = client.query_one("select pg_catalog.pg_is_in_recovery()", &[]).await.map_err(errors::sql)?;
        if recovers.get(0) {
            return Err(Fault::new(Code::InRecovery, "a slot cannot be made here"));
        }
        if self.config.method.decodes() {
            self.check_published(&client).await?;
        }
        let declared: Vec<_> = self.config.entities.iter().map(|entity| entity.table.clone()).collect();
        let names = declared.iter().map(qualified).collect::<Result<Vec<_>, _>>()?;
        // A partitioned table's own count is of no table; its leaves have them.
        let statement = "
            select name, (select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
                from pg_catalog.pg_partition_tree(name::regclass) t join pg_catalog.pg_class c on c.oid = t.relid
                where t.isleaf)
            from unnest($1::text[]) as name";
        let rows = client.query(statement, &[&names]).await.map_err(errors::sql)?;
        let counts: HashMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let table = |(entity, name): (&antiphon_model::EntityType, &String)| ResyncTable {
            entity_type: entity.name.clone(),
            table: entity.table.to_string(),
            rows_estimated: counts.get(name).copied().unwrap_or(0),
        };
        let slot = self.slots().await?.into_iter().find(|slot| slot.ours && self.config.method.decodes());
        let decodes = self.config.method.decodes();
        let epoch = self.store().await?.present_epoch().await?.as_u32();
        Ok(ResyncPlan { epoch, decodes, slot, tables: self.config.entities.iter().zip(&names).map(table).collect() })
    }

    async fn check_published(&self, client: &Client) -> Result<(), Fault> {
        let declared: Vec<_> = self.config.entities.iter().map(|entity| entity.table.clone()).collect();
        let published = publication::find(client, &self.config.publication, &declared).await?;
        let carried = published.map(|publication| publication.tables).unwrap_or_default();
        let missing: Vec<_> =
            declared.iter().filter(|table| !carried.contains_key(table)).map(ToString::to_string).collect();
        if !missing.is_empty() {
            let detail = format!("the publication {} does not carry {}", self.config.publication, missing.join(", "));
            return Err(Fault::new(Code::PublicationChanged, detail));
        }
        Ok(())
    }

    /// Begins anew: another epoch, another slot where there is one, every table copied, every client told to list again.
    ///
    /// `waiting` is told whom the new slot waits for.
    pub async fn resync(&self, waiting: &(dyn Fn(String) + Send + Sync)) -> Result<(u32, Option<Slot>), Fault> {
        self.resync_plan().await?;
        let epoch = self.new_epoch().await?;
        let slot = match self.config.method.decodes() {
            true => Some(self.create_slot(waiting).await?),
            false => None,
        };
        Ok((epoch, slot))
    }
}
