//! The captured database for operators: the doctor, keys, shapes, copies.
//!
//! It reads the live catalogue and changes nothing, but for a copy that is asked for anew. The doctor never fails: what
//! cannot be examined is a finding too.

use antiphon_engine::{
    Fault,
    ports::{Catalogue, Shape, SnapshotProgress},
};
use antiphon_model::{Code, EntityType, Tenancy};
use antiphon_postgres::{
    LiveCatalogue, connect_sql,
    doctor::{self, DoctorConfig},
    errors, find_table, ident, pool, qualified,
};

use super::{APPLICATION, Admin};

pub use antiphon_postgres::doctor::{Finding, Outcome};

impl Admin {
    /// Fills an empty key in from the live table's primary key.
    pub async fn with_key(&self, entity: &EntityType) -> Result<EntityType, Fault> {
        let mut entity = entity.clone();
        if !entity.key.is_empty() {
            return Ok(entity);
        }
        let client = connect_sql(&self.source, APPLICATION).await?;
        let table = find_table(&client, &entity.table).await?;
        let unfit = |why: &str| Fault::new(Code::TableUnfit, format!("table {}: {why}", entity.table));
        let table = table.ok_or_else(|| unfit("it does not exist"))?;
        entity.key = table.primary_key();
        if entity.key.is_empty() {
            let detail = format!("table {} has no primary key: declare `key`", entity.table);
            return Err(Fault::new(Code::TableWithoutIdentity, detail));
        }
        Ok(entity)
    }

    /// Returns the declared types with their keys filled in.
    pub async fn resolved_entities(&self) -> Result<Vec<EntityType>, Fault> {
        let mut entities = Vec::with_capacity(self.config.entities.len());
        for entity in &self.config.entities {
            entities.push(self.with_key(entity).await?);
        }
        Ok(entities)
    }

    /// Returns the shape of each declared type.
    pub async fn shapes(&self) -> Result<Vec<(EntityType, Shape)>, Fault> {
        let catalogue = LiveCatalogue::new(pool(&self.source, APPLICATION, 1)?);
        let mut shapes = Vec::with_capacity(self.config.entities.len());
        for entity in self.resolved_entities().await? {
            let shape = catalogue.shape(&entity).await?;
            shapes.push((entity, shape));
        }
        Ok(shapes)
    }

    /// Returns the organisation that most of a table's first rows have, where it has rows.
    pub async fn usual_org(&self, entity: &EntityType) -> Result<Option<String>, Fault> {
        let client = connect_sql(&self.source, APPLICATION).await?;
        // What is everyone's has no organisation, and of a row that refers to another the organisation comes later.
        let Tenancy::Column(org) = &entity.org else { return Ok(None) };
        let (org, table) = (ident(org)?, qualified(&entity.table)?);
        let sql = format!(
            "select org from (select {org}::text as org from {table} where {org} is not null limit 1000) as sample
             group by org order by count(*) desc, org limit 1"
        );
        let row = client.query_opt(&sql, &[]).await.map_err(errors::sql)?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Runs every check of the doctor.
    pub async fn doctor(&self) -> Vec<Finding> {
        let mut entities = Vec::with_capacity(self.config.entities.len());
        for entity in &self.config.entities {
            // A table whose key cannot be found out is looked at all the same: the doctor says what is wrong with it.
            entities.push(self.with_key(entity).await.unwrap_or_else(|_| entity.clone()));
        }
        let config = DoctorConfig {
            slot: self.config.slot.clone(),
            publication: self.config.publication.clone(),
            method: self.config.method,
            entities,
            log: self.config.log_url.as_ref().map(|_| self.log.clone()),
            standby: self.standby.clone(),
        };
        doctor::doctor(&self.source, &config).await
    }

    /// Lists the copies of tables with how far they are.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotProgress>, Fault> {
        self.store().await?.copies().await
    }

    /// Has a table copied anew by whoever captures, while its changes are streamed.
    pub async fn start_snapshot(&self, entity_type: &str) -> Result<(), Fault> {
        self.store().await?.copy_anew(super::SOURCE, entity_type).await
    }
}
