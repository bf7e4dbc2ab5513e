//! Reads what became of entities, newest first: their activities, and those that were deleted (LOG-03).
//!
//! Windows of ids go down from the head and widen, so the recent past is found in the open partition, by the
//! organisation's index, and the rest in closed ones, by the entity's. Truncates and marks name no entity and are left out.

use antiphon_engine::{
    Fault,
    ports::{Deleted, Past},
};
use antiphon_model::Activity;
use deadpool_postgres::Object;
use tokio_postgres::types::{ToSql, Type};

use super::{id_number, read::activity};
use crate::errors;

const COLUMNS: &str = "id, org, type, entity, action, image, changed, details, schema, lsn, seq, last,
  xid, committed_at, tx, policy";
const FLOOR: &str = "select floor from log.head";

/// Returns activities of one entity, newest first.
pub(super) async fn of_entity(
    client: &Object,
    past: &Past<'_>,
    entity_id: &str,
    partition_ids: u64,
) -> Result<Vec<Activity>, Fault> {
    let sql = format!(
        "select {COLUMNS} from log.activities where id > $1 and id <= $2 and org in ($4, '*') and type = $5
         and entity = $6 order by id desc limit $3"
    );
    downwards(client, &sql, past, &[(&entity_id, Type::TEXT)], partition_ids).await
}

/// Returns entities whose newest activity is a delete, the last deleted first, with the last row of each.
pub(super) async fn deleted(client: &Object, past: &Past<'_>, partition_ids: u64) -> Result<Vec<Deleted>, Fault> {
    // Action 3 is a delete.
    let sql = format!(
        "select {COLUMNS} from log.activities a where id > $1 and id <= $2 and org in ($4, '*') and type = $5
         and action = 3 and not exists (select from log.activities n where n.id > a.id and n.id <= $6
           and n.org = a.org and n.type = a.type and n.entity = a.entity) order by id desc limit $3"
    );
    let durable = id_number(past.durable);
    let deletes = downwards(client, &sql, past, &[(&durable, Type::INT8)], partition_ids).await?;
    let ids: Vec<&str> = deletes.iter().filter_map(|delete| delete.entity_id.as_deref()).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "select distinct on (entity) {COLUMNS} from log.activities where id <= $1 and org in ($2, '*') and type = $3
         and entity = any($4) and image is not null order by entity, id desc"
    );
    let newest = deletes.first().map_or(0, |delete| id_number(delete.id));
    let values: [(&(dyn ToSql + Sync), Type); 4] =
        [(&newest, Type::INT8), (&past.org, Type::TEXT), (&past.entity_type, Type::TEXT), (&ids, Type::TEXT_ARRAY)];
    let rows = client.query_typed(&sql, &values).await.map_err(errors::sql)?;
    let mut last = rows.iter().map(activity).collect::<Result<Vec<Activity>, Fault>>()?;
    let mut row_of = |delete: &Activity| {
        let at = last.iter().position(|row| row.entity_id == delete.entity_id)?;
        Some(last.swap_remove(at))
    };
    Ok(deletes.into_iter().map(|delete| Deleted { row: row_of(&delete), delete }).collect())
}

async fn downwards(
    client: &Object,
    sql: &str,
    past: &Past<'_>,
    last: &[(&(dyn ToSql + Sync), Type)],
    partition_ids: u64,
) -> Result<Vec<Activity>, Fault> {
    let limit = i64::try_from(past.limit).unwrap_or(i64::MAX);
    let statement = client.prepare_cached(FLOOR).await.map_err(errors::sql)?;
    let floor: i64 = client.query_one(&statement, &[]).await.map_err(errors::sql)?.get(0);
    let below = past.below.map_or(i64::MAX, |below| id_number(below).saturating_sub(1));
    let (mut to, mut width) = (below.min(id_number(past.durable)), i64::try_from(partition_ids).unwrap_or(i64::MAX));
    let mut found: Vec<Activity> = Vec::new();
    while to > floor && (found.len() as i64) < limit {
        let from = floor.max(to.saturating_sub(width));
        let rest = limit - found.len() as i64;
        let mut values: Vec<(&(dyn ToSql + Sync), Type)> = vec![
            (&from, Type::INT8),
            (&to, Type::INT8),
            (&rest, Type::INT8),
            (&past.org, Type::TEXT),
            (&past.entity_type, Type::TEXT),
        ];
        values.extend(last.iter().map(|(value, kind)| (*value, kind.clone())));
        for row in &client.query_typed(sql, &values).await.map_err(errors::sql)? {
            found.push(activity(row)?);
        }
        (to, width) = (from, width.saturating_mul(2));
    }
    Ok(found)
}
