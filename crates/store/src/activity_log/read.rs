//! Reads activities by id, of one organisation or of all.
//!
//! An organisation's are found by (organisation, id), partition after partition, and the scan stops at the limit.
//! All of them are found by the BRIN on id; ids are dense, so the range is cut to what the limit can need.

use antiphon_engine::{Fault, ports::Scope};
use antiphon_model::{Action, Activity, ActivityId, Commit, Lsn, Micros, Xid};
use deadpool_postgres::Object;
use tokio_postgres::Row;

use super::id_number;
use crate::errors;

const COLUMNS: &str =
    "id, org, type, entity, action, image, changed, details, schema, lsn, seq, last, xid, committed_at";

/// Ids are dense but for what an epoch or a failed append skipped: a range this much wider than the limit suffices.
const RANGE_MIN: i64 = 4_096;

/// Reads `after < id <= up_to` in rising order.
pub(super) async fn activities(
    client: &Object,
    scope: &Scope,
    after: ActivityId,
    up_to: ActivityId,
    limit: usize,
) -> Result<Vec<Activity>, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let (mut from, end) = (id_number(after), id_number(up_to));
    let rows = match scope {
        Scope::Org(org) => {
            let sql = format!(
                "select {COLUMNS} from log.activities where org = $1 and id > $2 and id <= $3 order by id limit $4"
            );
            let statement = client.prepare_cached(&sql).await.map_err(errors::sql)?;
            client.query(&statement, &[org, &from, &end, &limit]).await.map_err(errors::sql)?
        }
        Scope::Everything => {
            let sql = format!("select {COLUMNS} from log.activities where id > $1 and id <= $2 order by id limit $3");
            let statement = client.prepare_cached(&sql).await.map_err(errors::sql)?;
            loop {
                let to = end.min(from.saturating_add(limit.max(RANGE_MIN)));
                let rows = client.query(&statement, &[&from, &to, &limit]).await.map_err(errors::sql)?;
                if !rows.is_empty() || to >= end {
                    break rows;
                }
                from = to;
            }
        }
    };
    rows.iter().map(activity).collect()
}

/// Reads ids and transaction numbers of `after < id <= up_to` in rising order.
pub(super) async fn xids(
    client: &Object,
    after: ActivityId,
    up_to: ActivityId,
    limit: usize,
) -> Result<Vec<(ActivityId, Xid)>, Fault> {
    let sql = "select id, xid from log.activities where id > $1 and id <= $2 order by id limit $3";
    let statement = client.prepare_cached(sql).await.map_err(errors::sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let (after, up_to) = (id_number(after), id_number(up_to));
    let rows = client.query(&statement, &[&after, &up_to, &limit]).await.map_err(errors::sql)?;
    let pair = |row: &Row| (ActivityId::new(row.get::<_, i64>(0) as u64), Xid::new(row.get::<_, i64>(1) as u64));
    Ok(rows.iter().map(pair).collect())
}

fn activity(row: &Row) -> Result<Activity, Fault> {
    let action = Action::from_code(row.get(4)).ok_or_else(|| errors::corrupt("an activity has an unknown action"))?;
    Ok(Activity {
        id: ActivityId::new(row.get::<_, i64>(0) as u64),
        org: row.get(1),
        entity_type: row.get(2),
        entity_id: row.get(3),
        action,
        image: row.get(5),
        changed: row.get(6),
        details: row.get(7),
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
