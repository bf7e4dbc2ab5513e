//! Declarations and small readers that the tests of this folder share.

use std::{collections::BTreeMap, sync::Arc};

use antiphon_engine::{
    Fault,
    ports::{FieldQuery, ListQuery, RowPage, Rows},
};
use antiphon_model::{EntityType, RelationName, Sync, Tenancy};
use antiphon_postgres::{ConnectionInfo, LiveCatalogue, LiveRows, pool};
use antiphon_testkit::TestDb;

/// Declares a table of schema `public` with the key `id` and the organisation column `org`.
pub fn entity(name: &str, table: &str) -> EntityType {
    EntityType {
        name: name.to_owned(),
        table: RelationName { schema: "public".to_owned(), name: table.to_owned() },
        org: Tenancy::Column("org".to_owned()),
        key: vec!["id".to_owned()],
        tx: "tx".to_owned(),
        hidden: Vec::new(),
        sync: Sync::All,
        filter: Vec::new(),
        together: Vec::new(),
        refs: BTreeMap::new(),
        fields: BTreeMap::new(),
        rules: Vec::new(),
        polling: Default::default(),
    }
}

pub fn info(db: &TestDb) -> ConnectionInfo {
    ConnectionInfo::parse(&db.url()).expect("the test's URL")
}

pub fn rows(db: &TestDb) -> LiveRows {
    LiveRows::new(pool(&info(db), "antiphon test", 4).expect("a pool"))
}

pub fn catalogue(db: &TestDb) -> LiveCatalogue {
    LiveCatalogue::new(pool(&info(db), "antiphon test", 2).expect("a pool"))
}

pub fn query(entity: &EntityType, org: &str) -> ListQuery {
    ListQuery {
        entity: Arc::new(entity.clone()),
        org: org.to_owned(),
        reader: None,
        ids: Vec::new(),
        filters: Vec::new(),
        order: Vec::new(),
        after: None,
        limit: 100,
    }
}

/// Asks for one value.
pub fn value(entity: &EntityType, org: &str, key: &[&str], field: &str) -> FieldQuery {
    let key = key.iter().map(|part| (*part).to_owned()).collect();
    FieldQuery { entity: Arc::new(entity.clone()), org: org.to_owned(), reader: None, key, field: field.to_owned() }
}

/// Reads every page of a list.
pub async fn all_pages(rows: &LiveRows, mut query: ListQuery) -> Result<Vec<serde_json::Value>, Fault> {
    let mut images = Vec::new();
    loop {
        let page: RowPage = rows.list(&query).await?;
        assert!(page.rows.len() <= query.limit);
        images.extend(page.rows.iter().map(|row| serde_json::from_str(&row.image).expect("a JSON row")));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(images),
        }
    }
}

/// Returns one field of rows as text.
pub fn field(images: &[serde_json::Value], name: &str) -> Vec<String> {
    images
        .iter()
        .map(|image| match &image[name] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect()
}
