//! Partitions of the activity log: a million ids each, made ahead of the head.
//!
//! A partition is made apart and then attached, which locks the parent against nothing but other changes of its shape.

use antiphon_engine::Fault;
use tokio_postgres::Client;

use crate::errors;

/// One lock for all who make or drop partitions; any number that nothing else uses.
const LOCK: i64 = 0x0061_6e74_7061_7274;

/// Returns the partition's number that holds an id.
pub(crate) fn number(id: u64, partition_ids: u64) -> u64 {
    id / partition_ids
}

/// Makes the partitions with these numbers where they are missing.
pub(crate) async fn ensure(client: &Client, numbers: &[u64], partition_ids: u64) -> Result<(), Fault> {
    for number in numbers {
        let name = format!("activities_{number}");
        let exists = client.query_one("select to_regclass($1) is not null", &[&format!("log.{name}")]).await;
        if exists.map_err(errors::sql)?.get(0) {
            continue;
        }
        let (from, to) = (number * partition_ids, (number + 1) * partition_ids);
        // Frozen soon and never updated: the default autovacuum has nothing to do but that.
        let sql = format!(
            "begin;
             select pg_advisory_xact_lock({LOCK});
             create table if not exists log.{name} (like log.activities including defaults including constraints);
             do $$ begin
               if not exists (select from pg_inherits where inhrelid = 'log.{name}'::regclass) then
                 alter table log.activities attach partition log.{name} for values from ({from}) to ({to});
               end if;
             end $$;
             commit"
        );
        if let Err(error) = client.batch_execute(&sql).await {
            client.batch_execute("rollback").await.map_err(errors::sql)?;
            return Err(errors::sql(error));
        }
    }
    Ok(())
}

/// Returns the numbers of the partitions that exist, rising.
pub(crate) async fn list(client: &Client) -> Result<Vec<u64>, Fault> {
    let sql = "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
               where i.inhparent = 'log.activities'::regclass";
    let rows = client.query(sql, &[]).await.map_err(errors::sql)?;
    let number =
        |row: &tokio_postgres::Row| row.get::<_, String>(0).strip_prefix("activities_").and_then(|n| n.parse().ok());
    let mut numbers: Vec<u64> = rows.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Drops a partition.
pub(crate) async fn drop(client: &Client, number: u64) -> Result<(), Fault> {
    let sql = format!("set lock_timeout = '2s'; drop table if exists log.activities_{number}; reset lock_timeout");
    client.batch_execute(&sql).await.map_err(errors::sql)
}
