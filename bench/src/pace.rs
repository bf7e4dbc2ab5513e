//! The writers of `streams` and `limits`: single rows at a steady rate, or as many as the server takes.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval};
use tokio_postgres::Client;

/// Ids are never used twice, whoever writes.
static NEXT: AtomicI64 = AtomicI64::new(1);

const COLUMNS: &str = "insert into items (id, organization_id, title, status, priority, done, at_us, body)";
/// What a row holds; its time is taken in the transaction itself, before it commits.
const ROW: &str = "'Title of item ' || n, 'open', n % 5, n % 2 = 0,
  (extract(epoch from clock_timestamp()) * 1000000)::int8, repeat('body text ', 8)";

/// Writes `count` transactions of one row at a rate.
pub(crate) async fn steady(client: &Client, org: &str, rate: u64, count: usize) -> Result<()> {
    let sql = format!("{COLUMNS} select n, $2, {ROW} from (select $1::int8) row(n)");
    let statement = client.prepare(&sql).await?;
    let mut tick = interval(Duration::from_nanos(1_000_000_000 / rate));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..count {
        tick.tick().await;
        client.execute(&statement, &[&NEXT.fetch_add(1, Ordering::Relaxed), &org]).await?;
    }
    Ok(())
}

/// Writes `rows` rows in transactions of `each`, as fast as one session can.
pub(crate) async fn burst(client: &Client, org: &str, rows: usize, each: usize) -> Result<()> {
    let sql = format!("{COLUMNS} select n, $3, {ROW} from generate_series($1::int8, $2::int8) n");
    let statement = client.prepare(&sql).await?;
    let mut left = rows;
    while left > 0 {
        let some = left.min(each);
        let first = NEXT.fetch_add(some as i64, Ordering::Relaxed);
        client.execute(&statement, &[&first, &(first + some as i64 - 1), &org]).await?;
        left -= some;
    }
    Ok(())
}
