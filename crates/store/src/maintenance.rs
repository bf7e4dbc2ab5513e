//! Retention and the state of partitions: run every minute by the server that writes (LOG-02).
//!
//! Law: the floor rises, committed, before a partition goes, so that a reader whose offset is below it is told to list
//! again and never finds a silent gap. Whole partitions go, the oldest first; a log keeps at least what both limits ask
//! for. One server at a time does it; another one's call does nothing.

use antiphon_engine::Fault;
use antiphon_model::{ActivityId, Epoch};
use tokio_postgres::{Client, types::Type};

use crate::{
    Store,
    activity_log::{self, id_number},
    errors,
    partitions::{self, Hold},
};

/// One lock for all who maintain; any number that nothing else uses.
const LOCK: i64 = 0x0061_6e74_6b65_6570;
/// So many partitions are ready beyond the open one.
const AHEAD: u64 = 2;
/// Readers and the writer come first: whatever waits for them this long is done the next time.
const LIMITS: &str = "set lock_timeout = '2s'; set synchronous_commit = on";
/// Building an index holds up nobody, and waits for whoever was reading when it began.
const PATIENCE: &str = "set lock_timeout = '60s'";

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Activities younger than this many days are kept.
    pub days: u32,
    /// And at least so many.
    pub activities_min: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Retention { days: 7, activities_min: 1_000_000 }
    }
}

/// What maintenance did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The new floor, where it rose.
    pub floor: Option<ActivityId>,
    /// Numbers of dropped partitions.
    pub dropped: Vec<u64>,
    /// Numbers of closed partitions that got a look-up index.
    pub indexed: Vec<u64>,
}

impl Store {
    /// Makes partitions ahead, drops what is older than the retention, and builds the look-up indexes of partitions
    /// that are closed.
    pub async fn maintain(&self, retention: &Retention) -> Result<Done, Fault> {
        // A connection of its own: building an index may take seconds, and the pool serves readers.
        let client = self.connect.connect().await?;
        let lock = client.query_one("select pg_try_advisory_lock($1)", &[&LOCK]).await.map_err(errors::sql)?;
        let mut done = Done::default();
        if !lock.get::<_, bool>(0) {
            return Ok(done);
        }
        client.batch_execute(LIMITS).await.map_err(errors::sql)?;
        let head = activity_log::head(&client).await?;
        let open = partitions::number(head.last.as_u64(), self.partition_ids);
        let ahead: Vec<u64> = (open..=open + AHEAD).collect();
        partitions::ensure(&client, &ahead, self.partition_ids).await?;
        let first_of_epoch = partitions::number(head.epoch.base().as_u64(), self.partition_ids);
        let mut kept = Vec::new();
        for (number, hold) in partitions::list(&client).await?.into_iter().filter(|(number, _)| *number < open) {
            let end = ActivityId::new((number + 1) * self.partition_ids - 1);
            let gone = number < first_of_epoch || hold != Hold::Attached || end <= head.floor;
            let spare = head.durable.as_u64().saturating_sub(end.as_u64()) >= retention.activities_min;
            // Only where everything before it goes too: the floor rises over nothing that is kept.
            let old = gone || (kept.is_empty() && spare && outdated(&client, number, end, retention.days).await?);
            if !old {
                kept.push(number);
                continue;
            }
            if raise_floor(&client, head.epoch, end).await? {
                done.floor = Some(end);
            }
            partitions::drop(&client, number, hold).await?;
            done.dropped.push(number);
        }
        client.batch_execute(PATIENCE).await.map_err(errors::sql)?;
        for number in kept {
            if index(&client, number).await? {
                done.indexed.push(number);
            }
        }
        // The connection's end would free it too, in its own time: whoever comes right after would find it taken.
        client.execute("select pg_advisory_unlock($1)", &[&LOCK]).await.map_err(errors::sql)?;
        Ok(done)
    }
}

impl Store {
    /// Measures what the activity log takes on disk, with its indexes.
    pub async fn log_size_bytes(&self) -> Result<u64, Fault> {
        let sql = "select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
             from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'log' and c.relkind = 'r'";
        let client = self.client().await?;
        let row = client.query_one(sql, &[]).await.map_err(errors::sql)?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
    }
}

/// Raises the floor, committed, unless it is there or belongs to another epoch; tells whether it rose.
async fn raise_floor(client: &Client, epoch: Epoch, to: ActivityId) -> Result<bool, Fault> {
    let sql = "update log.head set floor = $2 where epoch = $1 and floor < $2";
    let raised = client.execute(sql, &[&activity_log::epoch_number(epoch), &id_number(to)]).await;
    Ok(raised.map_err(errors::sql)? > 0)
}

/// Tells whether a closed partition's last activity is older than the limit.
async fn outdated(client: &Client, number: u64, end: ActivityId, days: u32) -> Result<bool, Fault> {
    let sql = format!(
        "select coalesce(max(committed_at) < extract(epoch from now() - $1 * interval '1 day') * 1000000, true)
         from log.activities_{number} where id = $2 and action > 0"
    );
    let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&f64::from(days), Type::FLOAT8), (&id_number(end), Type::INT8)];
    let rows = client.query_typed(&sql, &values).await.map_err(errors::sql)?;
    rows.first().map(|row| row.get(0)).ok_or_else(|| errors::corrupt("an aggregate without a row"))
}

/// Builds the indexes by which an entity's or a transaction's activities are found; tells whether one was missing.
async fn index(client: &Client, number: u64) -> Result<bool, Fault> {
    let of_entity = build(client, number, "entity", "(type, entity, id)").await?;
    let by_transaction = "((tx::jsonb ->> 'transactionId')) where tx is not null";
    Ok(build(client, number, "transaction", by_transaction).await? || of_entity)
}

async fn build(client: &Client, number: u64, suffix: &str, of: &str) -> Result<bool, Fault> {
    let name = format!("activities_{number}_{suffix}");
    let sql = "select coalesce((select indisvalid from pg_index where indexrelid = to_regclass($1)), false)";
    let there: bool = client.query_one(sql, &[&format!("log.{name}")]).await.map_err(errors::sql)?.get(0);
    if there {
        return Ok(false);
    }
    // One that was broken off is invalid and stands in the way.
    client.batch_execute(&format!("drop index if exists log.{name}")).await.map_err(errors::sql)?;
    let sql = format!("create index concurrently {name} on log.activities_{number} {of}");
    client.batch_execute(&sql).await.map_err(errors::sql)?;
    Ok(true)
}
