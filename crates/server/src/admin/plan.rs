//! What a changed configuration would do, told before a server is started with it (OP-17).
//!
//! A running server has read its configuration and never reads it again, so what is found here is not in force anywhere.
//! It reads the catalogue and the checkpoint, and changes nothing.

use antiphon_engine::Fault;
use antiphon_postgres::{
    connect_sql,
    entities::{self, Known, Outlook, Prospect},
};
use serde::Serialize;

use super::{APPLICATION, Admin};

/// What would become of a type or a table, as a document.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedType {
    /// The entity type; none for a table that is declared no more.
    pub entity_type: Option<String>,
    /// The table.
    pub table: String,
    /// `goes_on`, `copied`, `left`, `fails` or `unsafe`.
    pub prospect: &'static str,
    /// Whether a server may be started with it: capture goes on, and no reader keeps rows of another table.
    pub safe: bool,
    /// The code of what is wrong, where something is.
    pub code: Option<antiphon_model::Code>,
    /// Why.
    pub detail: String,
}

impl Admin {
    /// Compares the declared types with what is captured and with the tables as they are.
    ///
    /// # Errors
    /// Fails where the database or our own cannot be reached, and with `LOG_OLDER` where our tables are older.
    pub async fn plan(&self) -> Result<Vec<PlannedType>, Fault> {
        let client = connect_sql(&self.source, APPLICATION).await?;
        let store = self.store().await?;
        let copies = store.copies().await?;
        let known = Known {
            marks: store.captured(super::SOURCE).await?,
            copied: copies.into_iter().filter(|copy| copy.complete).map(|copy| copy.entity_type).collect(),
        };
        let mut declared = Vec::with_capacity(self.config.entities.len());
        for entity in &self.config.entities {
            // A table that is gone has no key to find out, and is told of by its name all the same.
            declared.push(self.with_key(entity).await.unwrap_or_else(|_| entity.clone()));
        }
        let (method, publication) = (self.config.method, &self.config.publication);
        let found = match method.decodes() {
            true => entities::list(&client, &declared, publication).await?,
            false => entities::list_recorded(&client, &declared).await?,
        };
        let declared: Vec<_> = declared.into_iter().zip(found).collect();
        Ok(entities::outlook(&declared, &known, method, publication).into_iter().map(document).collect())
    }
}

fn document(outlook: Outlook) -> PlannedType {
    PlannedType {
        entity_type: Some(outlook.entity_type).filter(|name| !name.is_empty()),
        table: outlook.table,
        prospect: outlook.prospect.as_str(),
        safe: outlook.prospect != Prospect::Unsafe,
        code: outlook.code,
        detail: outlook.detail,
    }
}
