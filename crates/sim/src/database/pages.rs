//! Lists of the simulated database: one statement, one snapshot, as the adapter for Postgres reads them.
//!
//! Law: what is read and what the snapshot names are taken at the same moment; the answer may come later.

use std::cmp::Ordering;

use antiphon_engine::{
    Fault,
    ports::{Catalogue, FieldQuery, FieldValue, Filter, ListQuery, RowPage, Rows, Shape},
};
use antiphon_model::{Code, EntityType, Reader};
use async_trait::async_trait;
use serde_json::json;

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
            let of_table = state.rows.range((index, String::new())..(index + 1, String::new()));
            let seen = of_table.filter_map(|((_, id), versions)| Some((id, State::seen(versions, &snapshot)?)));
            let (rows, next) = chosen(&table, query, seen.collect());
            RowPage {
                rows: rows.into_iter().map(|row| table.image(row)).collect(),
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

/// Returns the rows of a page, and how the list goes on.
fn chosen<'a>(
    table: &Table,
    query: &ListQuery,
    mut rows: Vec<(&'a String, &'a Row)>,
) -> (Vec<&'a Row>, Option<String>) {
    let meets = |row: &Row, filter: &Filter| table.text(row, &filter.field) == filter.value.as_deref();
    rows.retain(|(_, row)| {
        let own = row[1].as_ref() == Some(&query.org) && sees(table, query.reader.as_ref(), row, None);
        own && query.filters.iter().all(|filter| meets(row, filter))
    });
    if !query.ids.is_empty() {
        rows.retain(|(id, _)| query.ids.iter().any(|key| key.first() == Some(*id)));
        return (rows.into_iter().map(|(_, row)| row).collect(), None);
    }
    // Where a row stands, nulls last; all that is ordered here is text.
    let place = |id: &str, row: &Row| -> Vec<(bool, String)> {
        let levels = query.order.iter().map(|level| table.text(row, &level.field));
        levels.chain([Some(id)]).map(|text| (text.is_none(), text.unwrap_or_default().to_owned())).collect()
    };
    let compare = |one: &[(bool, String)], other: &[(bool, String)]| {
        let levels = query.order.iter().map(|level| level.descending).chain([false]);
        let mut orders =
            levels.zip(one.iter().zip(other)).map(|(descending, (one, other))| match one.0 == other.0 && descending {
                true => other.cmp(one),
                false => one.cmp(other),
            });
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    rows.sort_by(|(one, a), (other, b)| compare(&place(one, a), &place(other, b)));
    if let Some(after) = query.after.as_ref().and_then(|after| serde_json::from_str::<Vec<_>>(after).ok()) {
        rows.retain(|(id, row)| compare(&place(id, row), &after).is_gt());
    }
    let more = rows.len() > query.limit;
    rows.truncate(query.limit);
    let next = rows.last().filter(|_| more).map(|(id, row)| json!(place(id, row)).to_string());
    (rows.into_iter().map(|(_, row)| row).collect(), next)
}

/// Tells whether the rules show a reader something of a row, or this field of it.
fn sees(table: &Table, reader: Option<&Reader>, row: &Row, field: Option<&str>) -> bool {
    let Some(reader) = reader else { return true };
    let read = table.entity.rights(reader, |column| table.text(row, column)).read;
    !read.is_empty() && field.is_none_or(|field| read.contains(field))
}
