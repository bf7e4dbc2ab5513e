//! Partitions of the activity log: a million ids each, made ahead of the head.
//!
//! A partition is made apart and then attached, and let go concurrently before it is dropped: neither locks the parent
//! against anything but other changes of its shape, so readers and the writer go on.

use antiphon_engine::Fault;
use tokio_postgres::Client;

use crate::errors;

/// One lock for all who make or drop partitions; any number that nothing else uses.
const LOCK: i64 = 0x0061_6e74_7061_7274;

/// Returns the partition's number that holds an id.
pub(crate) fn number(id: u64, partition_ids: u64) -> u64 {
    id / partition_ids
}

/// Returns the name of a partition, in the schema `log`.
pub(crate) fn name(number: u64) -> String {
    format!("activities_{number}")
}

/// Makes the partitions with these numbers where they are missing.
pub(crate) async fn ensure(client: &Client, numbers: &[u64], partition_ids: u64) -> Result<(), Fault> {
    for number in numbers {
        let name = name(*number);
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

/// How a partition hangs on the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Readers see it.
    Attached,
    /// Being let go; a crash or a lock came between.
    Pending,
    /// Let go, but not dropped yet.
    Detached,
}

/// Returns the partitions that exist by rising number.
pub(crate) async fn list(client: &Client) -> Result<Vec<(u64, Hold)>, Fault> {
    let sql = "select c.relname, i.inhdetachpending from pg_class c left join pg_inherits i on i.inhrelid = c.oid
               where c.relnamespace = 'log'::regnamespace and c.relkind = 'r' and c.relname ~ '^activities_[0-9]+$'";
    let rows = client.query(sql, &[]).await.map_err(errors::sql)?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let number = row.get::<_, &str>(0).strip_prefix("activities_").and_then(|digits| digits.parse().ok());
        let hold = match row.get(1) {
            Some(false) => Hold::Attached,
            Some(true) => Hold::Pending,
            None => Hold::Detached,
        };
        found.push((number.ok_or_else(|| errors::corrupt("a partition of the log has an unknown name"))?, hold));
    }
    found.sort_unstable_by_key(|(number, _)| *number);
    Ok(found)
}

/// Lets go of a partition and drops it, without a lock that readers or the writer would wait for.
///
/// Whatever breaks it off, the next call goes on from there.
pub(crate) async fn drop(client: &Client, number: u64, hold: Hold) -> Result<(), Fault> {
    let detach = format!("alter table log.activities detach partition log.activities_{number}");
    let detach = match hold {
        Hold::Attached => Some(format!("{detach} concurrently")),
        Hold::Pending => Some(format!("{detach} finalize")),
        Hold::Detached => None,
    };
    if let Some(sql) = detach {
        client.batch_execute(&sql).await.map_err(errors::sql)?;
    }
    client.batch_execute(&format!("drop table log.activities_{number}")).await.map_err(errors::sql)
}
