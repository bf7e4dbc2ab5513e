//! Looks activities up by their entity (its history, its newest activity, what of a type is gone) or transaction id.
//!
//! A closed partition has an index over (type, entity, id) and one over transaction ids, made by maintenance; the open one is walked by the index of
//! the organisation. So whatever concerns several entities is one statement for all of them. Statements are planned for
//! their values, like those of `read`. Law: every condition names the organisation, because that index does not.

use std::collections::HashMap;

use antiphon_engine::{
    Fault,
    ports::{Deleted, DeletedPage, EntityRef, Span},
};
use antiphon_model::{Action, Activity};
use deadpool_postgres::Object;
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::{id_number, read};
use crate::errors;

const OF_ENTITY: &str = "select id, org, type, entity, action, image, changed, details, schema, lsn, seq, last,
  xid, committed_at, tx, policy from log.activities
  where id > $1 and id <= $2 and org = $3 and type = $4 and entity = $5 order by id desc limit $6";
const DELETES: &str = "select id, org, type, entity, action, image, changed, details, schema, lsn, seq, last,
  xid, committed_at, tx, policy from log.activities
  where id > $1 and id <= $2 and org = $3 and type = $4 and action = $5 and entity is not null
  order by id desc limit $6";
/// The expression is that of the index of closed partitions.
const OF_TRANSACTION: &str = "select id, org, type, entity, action, image, changed, details, schema, lsn, seq, last,
  xid, committed_at, tx, policy from log.activities
  where id > $1 and id <= $2 and org = any($3) and tx is not null and (tx::jsonb ->> 'transactionId') = $4
  order by id limit $5";
/// For each entity its newest activity, and the newest that holds its row.
const NEWEST: &str = "select entity, max(id), max(id) filter (where image is not null) from log.activities
  where id > $1 and id <= $2 and org = $3 and type = $4 and entity = any($5) group by entity";
const BY_IDS: &str = "select id, org, type, entity, action, image, changed, details, schema, lsn, seq, last,
  xid, committed_at, tx, policy from log.activities where id = any($1) and action > 0 and org = $2";

/// Returns an entity's activities, the newest first.
pub(super) async fn of_entity(
    client: &Object,
    entity: &EntityRef<'_>,
    span: Span,
    limit: usize,
) -> Result<Vec<Activity>, Fault> {
    let EntityRef { org, entity_type, entity_id } = entity;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let part = (span, *org, *entity_type);
    let rows = rows(client, OF_ENTITY, part, &[(entity_id, Type::TEXT), (&limit, Type::INT8)]).await?;
    rows.iter().map(read::activity).collect()
}

/// Returns these organisations' activities of one transaction id, in order.
pub(super) async fn of_transaction(
    client: &Object,
    orgs: &[&str],
    (id, span): (&str, Span),
    limit: usize,
) -> Result<Vec<Activity>, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let (after, up_to) = (id_number(span.after), id_number(span.up_to));
    let values: [(&(dyn ToSql + Sync), Type); 5] = [
        (&after, Type::INT8),
        (&up_to, Type::INT8),
        (&orgs, Type::TEXT_ARRAY),
        (&id, Type::TEXT),
        (&limit, Type::INT8),
    ];
    let rows = client.query_typed(OF_TRANSACTION, &values).await.map_err(errors::sql)?;
    rows.iter().map(read::activity).collect()
}

/// Returns the newest activity of each of these entities.
pub(super) async fn newest_of(
    client: &Object,
    (org, entity_type): (&str, &str),
    entity_ids: &[String],
    span: Span,
) -> Result<Vec<Activity>, Fault> {
    let newest = newest(client, (span, org, entity_type), entity_ids).await?;
    let ids: Vec<i64> = newest.values().map(|(newest, _)| *newest).collect();
    Ok(by_ids(client, org, &ids).await?.into_values().collect())
}

/// Returns the entities of the newest `limit` deletes that did not come back.
pub(super) async fn deletes(
    client: &Object,
    (org, entity_type): (&str, &str),
    span: Span,
    limit: usize,
) -> Result<DeletedPage, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let action = Action::Delete.code();
    let part = (span, org, entity_type);
    let rows = rows(client, DELETES, part, &[(&action, Type::INT2), (&limit, Type::INT8)]).await?;
    let deletes = rows.iter().map(read::activity).collect::<Result<Vec<_>, _>>()?;
    let rest_below = deletes.last().filter(|_| deletes.len() as i64 >= limit).map(|last| last.id);
    let entities: Vec<String> = deletes.iter().filter_map(|delete| delete.entity_id.clone()).collect();
    let newest = newest(client, part, &entities).await?;
    let known = |delete: &Activity| newest.get(delete.entity_id.as_deref().unwrap_or_default()).copied();
    let gone: Vec<(Activity, Option<i64>)> = deletes
        .into_iter()
        .filter_map(|delete| {
            let (newest, imaged) = known(&delete)?;
            (newest == id_number(delete.id)).then_some((delete, imaged))
        })
        .collect();
    let images: Vec<i64> = gone.iter().filter_map(|(_, imaged)| *imaged).collect();
    let mut images = by_ids(client, org, &images).await?;
    let items = gone.into_iter().map(|(delete, imaged)| {
        let last = imaged.and_then(|imaged| images.remove(&imaged));
        Deleted { delete, last }
    });
    Ok(DeletedPage { items: items.collect(), rest_below })
}

/// For each entity the id of its newest activity and of the newest that holds its row.
async fn newest(
    client: &Object,
    part: (Span, &str, &str),
    entity_ids: &[String],
) -> Result<HashMap<String, (i64, Option<i64>)>, Fault> {
    if entity_ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = rows(client, NEWEST, part, &[(&entity_ids, Type::TEXT_ARRAY)]).await?;
    Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
}

async fn by_ids(client: &Object, org: &str, ids: &[i64]) -> Result<HashMap<i64, Activity>, Fault> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let found = client.query_typed(BY_IDS, &[(&ids, Type::INT8_ARRAY), (&org, Type::TEXT)]).await;
    let found = found.map_err(errors::sql)?;
    found.iter().map(|row| Ok((row.get(0), read::activity(row)?))).collect()
}

async fn rows(
    client: &Object,
    sql: &str,
    (span, org, entity_type): (Span, &str, &str),
    more: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>, Fault> {
    let (after, up_to) = (id_number(span.after), id_number(span.up_to));
    let mut values: Vec<(&(dyn ToSql + Sync), Type)> =
        vec![(&after, Type::INT8), (&up_to, Type::INT8), (&org, Type::TEXT), (&entity_type, Type::TEXT)];
    values.extend(more.iter().cloned());
    client.query_typed(sql, &values).await.map_err(errors::sql)
}
