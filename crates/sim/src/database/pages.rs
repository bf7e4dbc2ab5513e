//! Lists of the simulated database: one statement, one snapshot, as the adapter for Postgres reads them.
//!
//! Law: what is read and what the snapshot names are taken at the same moment; the answer may come later.

use antiphon_engine::{
    Fault,
    ports::{Catalogue, FieldQuery, FieldValue, ListQuery, RowPage, Rows, Shape},
};
use antiphon_model::{Code, EntityType, Reader};
use async_trait::async_trait;

use super::{
    Database,
    state::State,
    table::{Row, Table},
};

#[async_trait]
impl Rows for Database {
    async fn list(&self, query: &ListQuery) -> Result<RowPage, Fault> {
        let life = self.session().await?;
        let (index, table) = self.known(&query.entity)?;
        let page = {
            let state = self.alive(life)?;
            let snapshot = state.snapshot();
            let after = query.after.as_deref().unwrap_or("");
            let wanted = |id: &str| match query.ids.is_empty() {
                true => query.after.is_none() || id > after,
                false => query.ids.iter().any(|key| key.first().is_some_and(|wanted| wanted == id)),
            };
            let of_table = state.rows.range((index, String::new())..(index + 1, String::new()));
            let mut rows = Vec::new();
            let mut more = false;
            for ((_, id), versions) in of_table.filter(|((_, id), _)| wanted(id)) {
                let Some(row) = State::seen(versions, &snapshot) else { continue };
                if row[1].as_ref() != Some(&query.org) || !sees(&table, query.reader.as_ref(), row, None) {
                    continue;
                }
                if query.ids.is_empty() && rows.len() == query.limit {
                    more = true;
                    break;
                }
                rows.push((id.clone(), table.image(row)));
            }
            let next = rows.last().filter(|_| more).map(|(id, _)| id.clone());
            RowPage {
                rows: rows.into_iter().map(|(_, image)| image).collect(),
                next,
                visibility: snapshot.visibility(),
                fingerprint: table.shape().fingerprint(),
            }
        };
        // The answer takes its time, and the log goes on meanwhile.
        self.pause().await;
        self.alive(life).map(drop)?;
        Ok(page)
    }

    async fn field(&self, query: &FieldQuery) -> Result<Option<FieldValue>, Fault> {
        let life = self.session().await?;
        let (index, table) = self.known(&query.entity)?;
        let state = self.alive(life)?;
        let snapshot = state.snapshot();
        let id = query.key.first().cloned().unwrap_or_default();
        let row = state.rows.get(&(index, id)).and_then(|versions| State::seen(versions, &snapshot));
        let row = row.filter(|row| row[1].as_ref() == Some(&query.org));
        let row = row.filter(|row| sees(&table, query.reader.as_ref(), row, Some(&query.field)));
        Ok(row.map(|row| {
            let image: serde_json::Value = serde_json::from_str(&table.image(row).image).unwrap_or_default();
            FieldValue { value: image[&query.field].to_string(), visibility: snapshot.visibility() }
        }))
    }
}

#[async_trait]
impl Catalogue for Database {
    async fn shape(&self, entity: &EntityType) -> Result<Shape, Fault> {
        self.session().await?;
        self.known(entity).map(|(_, table)| table.shape())
    }
}

impl Database {
    fn known(&self, entity: &EntityType) -> Result<(usize, std::sync::Arc<Table>), Fault> {
        self.table(&entity.name).ok_or_else(|| Fault::new(Code::TableUnfit, entity.name.clone()))
    }
}

/// Tells whether the rules show a reader something of a row, or this field of it.
fn sees(table: &Table, reader: Option<&Reader>, row: &Row, field: Option<&str>) -> bool {
    let Some(reader) = reader else { return true };
    let read = table.entity.rights(reader, |column| table.text(row, column)).read;
    !read.is_empty() && field.is_none_or(|field| read.contains(field))
}
