//! Before the first chunk of a copy: whoever was writing to the table before has ended (PG-54).
//!
//! Joining a publication does not wait for writers. What a transaction wrote before its table joined is never streamed,
//! though it commits afterwards, and a snapshot of meanwhile does not see it: only a copy that begins after its end has
//! it. Such a transaction holds a lock on the table, so nobody else is waited for.
//! A wait is short, so that other tables' copies have their turn; who is waited for is remembered from one to the next,
//! because on a busy table there is always somebody.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use antiphon_engine::Fault;
use antiphon_model::{Code, RelationName};
use tokio::time::Instant;
use tokio_postgres::Client;

use crate::errors;

const POLL: Duration = Duration::from_millis(100);
/// A turn's wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whoever may have written, in the table or its partitions; a stronger lock keeps the copy from reading by itself.
const WRITERS: &str = "
    select distinct held.virtualtransaction, held.pid
    from pg_catalog.pg_locks held
    where held.locktype = 'relation' and held.granted
        and held.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
        and held.relation in (select $1::oid union select t.relid from pg_catalog.pg_partition_tree($1::oid) t)
        and held.mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock')";

/// Who was writing to each table when its copy was first tried.
#[derive(Clone, Debug, Default)]
pub struct Earlier(Arc<Mutex<HashMap<u32, BTreeSet<String>>>>);

impl Earlier {
    /// Keeps who is left; nobody where the table is new here.
    fn keep(&self, oid: u32, now: &BTreeSet<String>) -> BTreeSet<String> {
        let mut tables = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = tables.entry(oid).or_insert_with(|| now.clone());
        left.retain(|writer| now.contains(writer));
        left.clone()
    }

    /// Forgets everybody: what is copied from here on has another beginning.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn forget(&self, oid: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&oid);
    }
}

/// Waits a while until every transaction that wrote to a table before has ended; fails with `TRY_AGAIN` where one has not.
pub(super) async fn wait(client: &Client, table: &RelationName, oid: u32, earlier: &Earlier) -> Result<(), Fault> {
    let began = Instant::now();
    loop {
        let now = writers(client, oid).await?;
        let left = earlier.keep(oid, &now.keys().cloned().collect());
        let Some(writer) = left.first() else {
            earlier.forget(oid);
            return Ok(());
        };
        if began.elapsed() >= PATIENCE {
            let whose = match now.get(writer).copied().flatten() {
                Some(pid) => format!("process {pid}"),
                None => "prepared".to_owned(),
            };
            let detail = format!("a transaction ({whose}) that wrote to {table} before its copy is still open");
            return Err(Fault::new(Code::TryAgain, detail));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Lists transactions with their processes; a prepared one has none.
async fn writers(client: &Client, oid: u32) -> Result<HashMap<String, Option<i32>>, Fault> {
    let rows = client.query(WRITERS, &[&oid]).await.map_err(errors::sql)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
