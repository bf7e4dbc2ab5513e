//! Retention and the state of partitions: run every minute by the server that writes (LOG-02).
//!
//! Law: the floor rises, committed, before a partition goes, so that a reader whose offset is below it is told to list
//! again and never finds a silent gap. Whole partitions go; a log keeps at least what both limits ask for.

use antiphon_engine::Fault;
use antiphon_model::ActivityId;
use tokio_postgres::Client;

use crate::{
    Store,
    activity_log::{self, id_number},
    errors, partitions,
};

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
    /// Numbers of closed partitions that got their look-up index.
    pub indexed: Vec<u64>,
}

impl Store {
    /// Drops what is older than the retention, and builds the look-up index of partitions that are closed.
    pub async fn maintain(&self, retention: &Retention) -> Result<Done, Fault> {
        // A connection of its own: building an index may take seconds, and the pool serves readers.
        let client = self.connect.connect().await?;
        let mut done = Done::default();
        let head = activity_log::head(&client).await?;
        let open = partitions::number(head.last.as_u64(), self.partition_ids);
        let first_of_epoch = partitions::number(head.epoch.base().as_u64(), self.partition_ids);
        for number in partitions::list(&client).await? {
            let end = ActivityId::new((number + 1) * self.partition_ids - 1);
            let of_former_epoch = number < first_of_epoch;
            let spare = head.durable.as_u64().saturating_sub(end.as_u64()) >= retention.activities_min;
            let old = of_former_epoch || (number < open && spare && outdated(&client, number, retention.days).await?);
            if old {
                if end > head.floor && !of_former_epoch {
                    raise_floor(&client, head.epoch, end).await?;
                    done.floor = Some(end);
                }
                partitions::drop(&client, number).await?;
                done.dropped.push(number);
            } else if number < open && index(&client, number).await? {
                done.indexed.push(number);
            }
        }
        Ok(done)
    }
}

async fn raise_floor(client: &Client, epoch: antiphon_model::Epoch, to: ActivityId) -> Result<(), Fault> {
    let sql = "update log.head set floor = $2 where epoch = $1 and floor < $2";
    client.execute(sql, &[&activity_log::epoch_number(epoch), &id_number(to)]).await.map_err(errors::sql)?;
    Ok(())
}

/// Tells whether a partition's newest activity is older than the limit.
async fn outdated(client: &Client, number: u64, days: u32) -> Result<bool, Fault> {
    let sql = format!(
        "select coalesce((select committed_at from log.activities_{number} order by ctid desc limit 1)
           < extract(epoch from now() - $1 * interval '1 day') * 1000000, true)"
    );
    let row = client.query_one(&sql, &[&f64::from(days)]).await.map_err(errors::sql)?;
    Ok(row.get(0))
}

/// Builds the index by which an entity's activities are found; tells whether it was missing.
async fn index(client: &Client, number: u64) -> Result<bool, Fault> {
    let name = format!("activities_{number}_entity");
    let sql = "select coalesce((select indisvalid from pg_index where indexrelid = to_regclass($1)), false)";
    let there: bool = client.query_one(sql, &[&format!("log.{name}")]).await.map_err(errors::sql)?.get(0);
    if there {
        return Ok(false);
    }
    // One that was broken off is invalid and stands in the way.
    client.batch_execute(&format!("drop index if exists log.{name}")).await.map_err(errors::sql)?;
    let sql = format!("create index concurrently {name} on log.activities_{number} (type, entity, id)");
    client.batch_execute(&sql).await.map_err(errors::sql)?;
    Ok(true)
}
