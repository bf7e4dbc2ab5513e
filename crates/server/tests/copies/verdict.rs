//! Snapshot and stream together equal the table: the log, replayed, against the rows there are.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use antiphon_testkit::TestDb;
use serde_json::Value;

/// Rows by type and id, each with its columns in one text.
pub type Rows = BTreeMap<(String, String), String>;

/// A number that two equal sets of rows share.
pub fn hash(rows: &Rows) -> u64 {
    let mut hasher = DefaultHasher::new();
    rows.hash(&mut hasher);
    hasher.finish()
}

/// Replays the log as a reader would.
pub async fn replayed(db: &TestDb) -> Rows {
    let log = db.connect_log().await;
    let sql = "select type, entity, action::int, image from log.activities order by id";
    let mut rows: BTreeMap<(String, String), BTreeMap<String, Value>> = BTreeMap::new();
    // A key that moves is a delete and a create, adjacent; what is out of line and did not change is in the deleted row.
    let mut deleted: Option<(String, BTreeMap<String, Value>)> = None;
    for row in log.query(sql, &[]).await.expect("the log") {
        let (entity_type, entity): (String, Option<String>) = (row.get(0), row.get(1));
        let image: Option<BTreeMap<String, Value>> =
            row.get::<_, Option<&str>>(3).map(|text| serde_json::from_str(text).expect("an image"));
        let before =
            deleted.take().filter(|(of, _)| *of == entity_type).map(|(_, columns)| columns).unwrap_or_default();
        match (row.get::<_, i32>(2), entity, image) {
            (1, Some(entity), Some(image)) => {
                let moved: BTreeMap<String, Value> =
                    before.into_iter().filter(|(column, _)| !image.contains_key(column)).collect();
                let whole: BTreeMap<String, Value> = [moved, image].into_iter().flatten().collect();
                rows.insert((entity_type, entity), whole);
            }
            // What did not change is absent and stays.
            (2, Some(entity), Some(image)) => rows.entry((entity_type, entity)).or_default().extend(image),
            (3, Some(entity), _) => {
                let columns = rows.remove(&(entity_type.clone(), entity)).unwrap_or_default();
                deleted = Some((entity_type, columns));
            }
            (4, None, _) => rows.retain(|(of, _), _| *of != entity_type),
            (action, entity, _) => panic!("an activity of kind {action} of {entity_type} {entity:?}"),
        }
    }
    let text = |columns: BTreeMap<String, Value>| {
        let column = |name: &str| match columns.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) => "null".to_owned(),
            Some(other) => other.to_string(),
            None => "absent".to_owned(),
        };
        ["org", "v", "big"].map(column).join("|")
    };
    rows.into_iter().map(|(key, columns)| (key, text(columns))).collect()
}

/// Reads the tables.
pub async fn present(db: &TestDb) -> Rows {
    let sql = "select 'plain', id::text, concat_ws('|', org, coalesce(v, 'null'), 'absent') from plain
        union all select 'wide', id, concat_ws('|', org, coalesce(v, 'null'), coalesce(big, 'null')) from wide
        union all select 'pairs', json_build_array(list::text, n::text)::text, concat_ws('|', org, coalesce(v, 'null'), 'absent')
          from pairs";
    let rows = db.connect().await.query(sql, &[]).await.expect("the rows");
    let key = |id: String| id.replace(", ", ",");
    rows.iter().map(|row| ((row.get(0), key(row.get(1))), row.get(2))).collect()
}

/// The first differences, for people.
pub fn differences(log: &Rows, table: &Rows) -> Vec<String> {
    let short = |text: Option<&String>| text.map_or("nothing".to_owned(), |text| text.chars().take(60).collect());
    let keys = log.keys().chain(table.keys().filter(|key| !log.contains_key(*key)));
    let differ = keys.filter(|key| log.get(*key) != table.get(*key));
    differ.take(8).map(|key| format!("{key:?}: log {}, table {}", short(log.get(key)), short(table.get(key)))).collect()
}
