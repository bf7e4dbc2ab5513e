//! Reads activities by id, of one organisation or of all.
//!
//! Each of the two has its own index, in windows of ids that widen until the limit is met: a window names few
//! partitions, and ids are dense, so the first nearly always suffices. Statements are planned for their values, because
//! a plan for any values keeps every partition open and takes one that was empty then for small for ever.
//! Law: the floor is read after the rows, so what a retention drops meanwhile is an error, not a gap.

use antiphon_engine::{Fault, ports::Scope};
use antiphon_model::{Action, Activity, ActivityId, Code, Commit, Epoch, Lsn, Micros, Visibility, Xid};
use deadpool_postgres::Object;
use tokio_postgres::{
    Error, Row,
    types::{ToSql, Type},
};

use super::{id_number, number_id};
use crate::errors;

/// Activities of one organisation and of everyone in rising order, each by (organisation, id).
const OF_ORG: &str = "(select id, org, type, entity, action, image, changed, details, schema, lsn, seq, last,
  xid, committed_at, tx, policy from log.activities where id > $1 and id <= $2 and org = $4 order by id limit $3)
  union all (select id, org, type, entity, action, image, changed, details, schema, lsn, seq, last,
  xid, committed_at, tx, policy from log.activities where id > $1 and id <= $2 and org = '*' and $4 <> '*' order by id limit $3)
  order by 1 limit $3";
/// All activities in rising order; every action is above 0, and saying so admits the index on id (see `V1`).
const OF_ALL: &str = "select id, org, type, entity, action, image, changed, details, schema, lsn, seq, last,
  xid, committed_at, tx, policy from log.activities where id > $1 and id <= $2 and action > 0 order by id limit $3";
const XIDS: &str = "select id, xid from log.activities
  where id > $1 and id <= $2 and action > 0 and xid >= $4 order by id limit $3";
const FLOOR: &str = "select floor, epoch from log.head";

/// All activities are read in windows of at least so many ids.
const WINDOW_IDS_MIN: i64 = 4_096;
/// Transaction numbers are read in windows of so many ids: they are compared where they lie, few are sent.
const XIDS_WINDOW_IDS: i64 = 50_000;
/// So many transaction numbers are sent at a time.
const XIDS_MAX: i64 = 10_000;

/// Reads `after < id <= up_to` in rising order.
///
/// Fails with `OFFSET_EXPIRED` or `EPOCH_CHANGED` where the log no longer vouches for `after`.
pub(super) async fn activities(
    client: &Object,
    scope: &Scope,
    range: (ActivityId, ActivityId),
    limit: usize,
    partition_ids: u64,
) -> Result<Vec<Activity>, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let (mut from, end) = (id_number(range.0), id_number(range.1));
    let mut width = match scope {
        // The rest of the present partition and all of the next.
        Scope::Org(_) => i64::try_from(partition_ids.saturating_mul(2)).unwrap_or(i64::MAX),
        Scope::Everything => limit.max(WINDOW_IDS_MIN),
    };
    let mut found: Vec<Activity> = Vec::new();
    while from < end && (found.len() as i64) < limit {
        let to = end.min(from.saturating_add(width));
        let rest = limit - found.len() as i64;
        let rows = match scope {
            Scope::Org(org) => window(client, OF_ORG, (from, to, rest), Some((org, Type::TEXT))).await,
            Scope::Everything => window(client, OF_ALL, (from, to, rest), None).await,
        };
        for row in &rows.map_err(errors::sql)? {
            found.push(activity(row)?);
        }
        from = to;
        width = width.saturating_mul(2);
    }
    vouch(client, range.0).await?;
    Ok(found)
}

/// Returns the first activity with `after < id <= up_to` whose transaction is not seen.
pub(super) async fn first_invisible(
    client: &Object,
    range: (ActivityId, ActivityId),
    visibility: &Visibility,
) -> Result<Option<ActivityId>, Fault> {
    let (mut from, end) = (id_number(range.0), id_number(range.1));
    // Everything below it is seen.
    let oldest_running = visibility.xmin().as_u64() as i64;
    while from < end {
        let to = end.min(from.saturating_add(XIDS_WINDOW_IDS));
        let rows = window(client, XIDS, (from, to, XIDS_MAX), Some((&oldest_running, Type::INT8))).await;
        let rows = rows.map_err(errors::sql)?;
        for row in &rows {
            if !visibility.sees(Xid::new(row.get::<_, i64>(1) as u64)) {
                return Ok(Some(number_id(row.get(0))));
            }
        }
        from = match rows.last() {
            Some(row) if rows.len() as i64 == XIDS_MAX => row.get(0),
            _ => to,
        };
    }
    Ok(None)
}

async fn window(
    client: &Object,
    sql: &str,
    (from, to, limit): (i64, i64, i64),
    fourth: Option<(&(dyn ToSql + Sync), Type)>,
) -> Result<Vec<Row>, Error> {
    let mut values: Vec<(&(dyn ToSql + Sync), Type)> =
        vec![(&from, Type::INT8), (&to, Type::INT8), (&limit, Type::INT8)];
    values.extend(fourth);
    client.query_typed(sql, &values).await
}

/// Checks that nothing above an offset was dropped before the rows above it were read.
async fn vouch(client: &Object, after: ActivityId) -> Result<(), Fault> {
    let statement = client.prepare_cached(FLOOR).await.map_err(errors::sql)?;
    let row = client.query_one(&statement, &[]).await.map_err(errors::sql)?;
    let epoch = Epoch::new(row.get::<_, i32>(1).unsigned_abs());
    if after >= number_id(row.get(0)) {
        return Ok(());
    }
    match epoch.contains(after) {
        true => Err(Fault::new(Code::OffsetExpired, format!("activities after {after} are gone"))),
        false => Err(Fault::new(Code::EpochChanged, format!("the log is in epoch {epoch}"))),
    }
}

/// Reads a row of the columns that `OF_ALL` names, in their order.
pub(super) fn activity(row: &Row) -> Result<Activity, Fault> {
    let action = Action::from_code(row.get(4)).ok_or_else(|| errors::corrupt("an activity has an unknown action"))?;
    Ok(Activity {
        id: number_id(row.get(0)),
        org: row.get(1),
        entity_type: row.get(2),
        entity_id: row.get(3),
        action,
        image: row.get(5),
        changed: row.get(6),
        details: row.get(7),
        tx: row.get(14),
        policy: row.get(15),
        schema: row.get::<_, i32>(8) as u32,
        commit: Commit {
            lsn: Lsn::new(row.get::<_, i64>(9) as u64),
            seq: row.get::<_, i64>(10) as u64,
            last: row.get(11),
            xid: Xid::new(row.get::<_, i64>(12) as u64),
            at: Micros(row.get(13)),
        },
    })
}
