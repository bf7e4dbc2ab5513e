//! Preparing tables and undoing it, for operators.
//!
//! Plans come from the adapter of the database; here they are only handed on and the state of tables is made a document.
//! A table whose key cannot be found out is listed with its problem, never left out.

use antiphon_engine::Fault;
use antiphon_model::{Code, EntityType};
use antiphon_postgres::{
    CaptureMethod, ask_reconcile, connect_sql,
    entities::{self, AddOptions, RemoveOptions},
    plan_uninstall,
};
use serde::Serialize;

use super::{APPLICATION, Admin};

pub use antiphon_postgres::entities::{Plan, Progress, Proposal, Step};

/// What an update or delete writes of the old row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Key and organisation, by a unique index.
    Index,
    /// The whole row.
    Full,
}

/// How far a declared table is prepared, as a document.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntityStatus {
    /// The entity type.
    pub entity_type: String,
    /// The table.
    pub table: String,
    /// Whether the stream carries it.
    pub published: bool,
    /// Which identity old rows have: `default`, `nothing`, `full` or `index`.
    pub identity: &'static str,
    /// Whether old rows hold key and organisation.
    pub identity_fits: bool,
    /// Whether the metadata column is there.
    pub tx_column: bool,
    /// Whether the organisation column is not null.
    pub org_not_null: bool,
    /// How many tables hold its rows.
    pub leaves: usize,
    /// How many of them are prepared.
    pub leaves_ready: usize,
    /// How many rows the planner expects.
    pub rows_estimated: Option<u64>,
    /// What stands in the way.
    pub problem: Option<String>,
}

impl Admin {
    /// Looks at every declared table.
    pub async fn entity_status(&self) -> Result<Vec<EntityStatus>, Fault> {
        let client = connect_sql(&self.source, APPLICATION).await?;
        let mut declared = Vec::with_capacity(self.config.entities.len());
        for entity in &self.config.entities {
            // A table without a key is listed too, with its problem.
            declared.push(self.with_key(entity).await.unwrap_or_else(|_| entity.clone()));
        }
        let found = match self.config.method.decodes() {
            true => entities::list(&client, &declared, &self.config.publication).await?,
            false => entities::list_recorded(&client, &declared).await?,
        };
        Ok(found.into_iter().map(document).collect())
    }

    /// Proposes a declaration of one table.
    pub async fn propose(
        &self,
        table: &antiphon_model::RelationName,
        declared: &[EntityType],
    ) -> Result<Proposal, Fault> {
        let client = connect_sql(&self.source, APPLICATION).await?;
        entities::infer(&client, table, declared).await
    }

    /// Proposes a declaration of every table, those that cannot be captured included, with the reason.
    pub async fn tables(&self) -> Result<Vec<Proposal>, Fault> {
        let client = connect_sql(&self.source, APPLICATION).await?;
        entities::tables(&client, &[]).await
    }

    /// Plans the preparation of a table; what is done already is marked.
    pub async fn plan_add(&self, entity: &EntityType, identity: Identity) -> Result<Plan, Fault> {
        let client = connect_sql(&self.source, APPLICATION).await?;
        let options = AddOptions {
            publication: self.config.publication.clone(),
            method: self.config.method,
            identity_full: identity == Identity::Full,
            service_role: None,
            declared: self.config.entities.clone(),
        };
        entities::plan_add(&client, entity, &options).await
    }

    /// Plans the undoing.
    pub async fn plan_remove(&self, entity: &EntityType, drop_tx: bool) -> Result<Plan, Fault> {
        let client = connect_sql(&self.source, APPLICATION).await?;
        let options = RemoveOptions { publication: self.config.publication.clone(), drop_tx };
        entities::plan_remove(&client, entity, &options).await
    }

    /// Has polled tables reconciled, those of the named types or all; returns how many.
    pub async fn reconcile(&self, types: &[String]) -> Result<u64, Fault> {
        if self.config.method != CaptureMethod::Query {
            let detail = "capture.method is not `query`: nothing is polled, and nothing is missed by polling";
            return Err(Fault::new(Code::ConfigInvalid, detail));
        }
        let mut tables = Vec::with_capacity(types.len());
        for name in types {
            let declared = self.config.entities.iter().find(|entity| entity.name == *name);
            let declared = declared.ok_or_else(|| Fault::new(Code::EntityTypeUnknown, name.clone()))?;
            tables.push(declared.table.clone());
        }
        ask_reconcile(&self.source, &tables).await
    }

    /// Plans the removal of all that capture by triggers or queries has made in the database.
    pub async fn plan_uninstall(&self) -> Result<Plan, Fault> {
        plan_uninstall(&connect_sql(&self.source, APPLICATION).await?).await
    }

    /// Carries a plan out, one statement at a time.
    pub async fn apply(&self, plan: &Plan, report: &mut (dyn FnMut(Progress<'_>) + Send)) -> Result<(), Fault> {
        let client = connect_sql(&self.source, APPLICATION).await?;
        entities::apply(&client, plan, report).await
    }
}

fn document(status: entities::EntityStatus) -> EntityStatus {
    EntityStatus {
        entity_type: status.entity_type,
        table: status.table.to_string(),
        published: status.in_publication,
        identity: status.identity,
        identity_fits: status.identity_ready && status.index_valid,
        tx_column: status.tx_column,
        org_not_null: status.org_not_null,
        leaves: status.leaves,
        leaves_ready: status.leaves_ready,
        rows_estimated: status.rows_estimated,
        problem: status.problem,
    }
}
