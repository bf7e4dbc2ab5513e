//! The tables and changes that the benchmarks capture.

use anyhow::Result;
use tokio_postgres::Client;

/// Ten columns of about 200 bytes a row, as in the measurements that the aims come from.
const TABLE: &str = "
create table items (
  id int8 not null primary key, organization_id text not null, title text, status text, priority int4, amount numeric(12,2),
  done bool default false, due_on date, created_at timestamptz default now(), body text);
create unique index items_identity on items (id, organization_id);
alter table items replica identity using index items_identity;
alter table items set (autovacuum_enabled = off);
create publication bench for table items;";

/// What one row of the generated statements holds.
const ROW: &str = "'acme', 'Title of item ' || n, 'open', n % 5, n * 1.25, n % 2 = 0, date '2026-01-01' + (n % 365)::int, now(), repeat('body text ', 11)";

/// Makes the tables.
pub(crate) async fn create(client: &Client) -> Result<()> {
    client.batch_execute(TABLE).await?;
    Ok(())
}

/// Writes small transactions of ten single-row statements: 10 inserts to 3 updates to 1 delete, `changes` in all.
///
/// Updates set `created_at` as well where `touching`, for whoever polls by it.
pub(crate) async fn small_transactions(client: &Client, changes: u64, touching: bool) -> Result<()> {
    let transactions = changes / 10;
    let touch = if touching { ", created_at = clock_timestamp()" } else { "" };
    let sql = format!(
        "do $$
         declare n int8 := 0; u int8 := 0; d int8 := 0; kind int;
         begin
           for t in 1..{transactions} loop
             for s in 1..10 loop
               kind := ((t - 1) * 10 + s) % 14;
               if kind < 10 then
                 n := n + 1;
                 insert into items (id, organization_id, title, status, priority, amount, done, due_on, created_at, body)
                 values (n, {ROW});
               elsif kind < 13 then
                 u := u + 1;
                 update items set title = 'Changed ' || t, priority = 9{touch} where id = u * 2;
               else
                 d := d + 1;
                 delete from items where id = d * 2 - 1;
               end if;
             end loop;
             commit;
           end loop;
         end $$"
    );
    // A statement of its own: in a list of statements the block could not commit.
    client.batch_execute("set synchronous_commit = off").await?;
    client.batch_execute(&sql).await?;
    client.batch_execute("reset synchronous_commit").await?;
    Ok(())
}

/// Writes one transaction of so many rows.
pub(crate) async fn large_transaction(client: &Client, rows: u64) -> Result<()> {
    let sql = format!(
        "insert into items (id, organization_id, title, status, priority, amount, done, due_on, created_at, body)
         select n + 100000000, {ROW} from generate_series(1, {rows}) n"
    );
    client.batch_execute(&sql).await?;
    Ok(())
}
