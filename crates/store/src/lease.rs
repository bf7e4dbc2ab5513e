//! The lease: which server writes the log of a source.
//!
//! The row's fence is what protects the log (house 8); the lease only decides who tries. It is taken over when its
//! holder gave it back, when it expired by the database's clock, or at once when its holder's session is gone: each
//! tenure keeps a session-level advisory lock on its lease connection, which the server frees with the connection.

use antiphon_engine::{
    Fault,
    ports::{Leadership, Lease, SnapshotProgress, Tenure},
};
use antiphon_model::{Checkpoint, Code, Lsn, SourceIdentity, Xid};
use async_trait::async_trait;
use tokio_postgres::{Client, Row, error::SqlState, types::ToSql};

use crate::{
    Store,
    activity_log::{self, Appender, Flusher, Start},
    errors,
};

/// A lease is good for so many seconds after its last renewal.
const TTL_SECONDS: i32 = 10;
/// It is renewed this often.
const RENEW_MS: u64 = 3_000;

/// An append takes milliseconds: whoever holds the row longer than this is gone, or as good as gone.
const PATIENCE: &str = "set synchronous_commit = on; set lock_timeout = '5s'";

/// Before anybody ever held it.
const FIRST: &str =
    "insert into log.checkpoints (source, fence, holder, expires_at, acknowledged, lsn, ordinal, complete, xid)
    values ($1, 0, '', '-infinity', 0, 0, 0, true, 0) on conflict do nothing";
/// The present fence, whether its lease is free by what stands there, and whether its holder's session is gone.
const LOOK: &str = "select fence, holder = $2 or expires_at < clock_timestamp(),
      pg_try_advisory_lock(hashtext('antiphon lease ' || source), (fence % 2147483647)::int4)
    from log.checkpoints where source = $1";
const LOCK: &str = "select pg_try_advisory_lock(hashtext('antiphon lease ' || $1), ($2::int8 % 2147483647)::int4)";
const UNLOCK: &str = "select pg_advisory_unlock(hashtext('antiphon lease ' || $1), ($2::int8 % 2147483647)::int4)";
const TAKE: &str = "update log.checkpoints
    set fence = fence + 1, holder = $3, expires_at = clock_timestamp() + make_interval(secs => $4)
    where source = $1 and fence = $2 and ($5 or holder = $3 or expires_at < clock_timestamp())";

pub(crate) const STORED: &str =
    "select acknowledged, lsn, ordinal, complete, xid, identity, fence from log.checkpoints where source = $1";

#[async_trait]
impl Leadership for Store {
    async fn acquire(&self, source: &str, holder: &str) -> Result<Option<Tenure>, Fault> {
        let client = self.connect.connect().await?;
        let Some(fence) = take(&client, source, holder).await? else { return Ok(None) };
        // From here on an earlier writer can append nothing: what is there now is what there is.
        let flusher = self.connect.connect().await?;
        warn_if_unsafe(&client).await?;
        let head = activity_log::head(&client).await?;
        let row = client.query_one(STORED, &[&source]).await.map_err(errors::sql)?;
        let checkpoint = checkpoint(&row)?;
        let head = match &checkpoint.identity {
            Some(identity) if failed_over(&client, identity).await? => self.go_on_in_next_epoch(head).await?,
            _ => head,
        };
        let mut flusher = Flusher::new(flusher, head.epoch, head.durable).await?;
        antiphon_engine::ports::LogFlusher::flush(&mut flusher, head.last).await?;
        let head = activity_log::head(&client).await?;
        let start = Start {
            source: source.to_owned(),
            fence,
            epoch: head.epoch,
            last: head.last,
            checkpoint: checkpoint.clone(),
            partition_ids: self.partition_ids,
        };
        let writer = Appender::new(self.connect.connect().await?, start).await?;
        Ok(Some(Tenure {
            head,
            checkpoint,
            organisations: organisations(&client).await?,
            snapshots: snapshots(&client).await?,
            writer: Box::new(writer),
            flusher: Box::new(flusher),
            lease: Box::new(Held { client, source: source.to_owned(), fence }),
        }))
    }
}

/// Takes the lease and returns the new fence; `None` while another holder is alive.
///
/// Each tenure has a lock of its own, by its fence, and takes it before its fence is known: whoever finds the lock of the
/// present fence free knows that this holder is gone, and not one before it.
async fn take(client: &Client, source: &str, holder: &str) -> Result<Option<i64>, Fault> {
    client.batch_execute(PATIENCE).await.map_err(errors::sql)?;
    let row = match client.query_opt(LOOK, &[&source, &holder]).await.map_err(errors::sql)? {
        Some(row) => row,
        None => {
            client.execute(FIRST, &[&source]).await.map_err(errors::sql)?;
            client.query_one(LOOK, &[&source, &holder]).await.map_err(errors::sql)?
        }
    };
    let (known, free, alone): (i64, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if !free && !alone {
        return Ok(None);
    }
    let next = known + 1;
    let locked: bool = client.query_one(LOCK, &[&source, &next]).await.map_err(errors::sql)?.get(0);
    if !locked {
        // Another server takes it at this moment.
        return Ok(None);
    }
    let ttl = f64::from(TTL_SECONDS);
    let values: [&(dyn ToSql + Sync); 5] = [&source, &known, &holder, &ttl, &alone];
    let taken = match client.execute(TAKE, &values).await {
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            evict(client, source, holder, alone).await?;
            client.execute(TAKE, &values).await
        }
        taken => taken,
    };
    client.batch_execute("reset lock_timeout").await.map_err(errors::sql)?;
    if alone {
        client.execute(UNLOCK, &[&source, &known]).await.map_err(errors::sql)?;
    }
    Ok((taken.map_err(errors::sql)? > 0).then_some(next))
}

/// Ends the session of a former writer that holds the row, where the lease is ours to take.
///
/// A writer that was cut off while it copied rows in, and whose connection nobody closed, waits for the rest for ever: no
/// time limit of the server counts in that state. What it appended is taken back with its session.
async fn evict(client: &Client, source: &str, holder: &str, alone: bool) -> Result<(), Fault> {
    let sql = "select l.pid, pg_terminate_backend(l.pid) from log.checkpoints c
               join pg_locks l on l.locktype = 'transactionid' and l.transactionid = c.xmax and l.granted
               where c.source = $1 and l.pid <> pg_backend_pid()
                 and ($3 or c.holder = $2 or c.expires_at < clock_timestamp())";
    for row in client.query(sql, &[&source, &holder, &alone]).await.map_err(errors::sql)? {
        let pid: i32 = row.get(0);
        tracing::warn!(session.pid = pid, "a former writer's session {pid} held the log and was ended");
    }
    Ok(())
}

/// Says aloud when the server would not keep what it says it has written; tests do without on purpose.
async fn warn_if_unsafe(client: &Client) -> Result<(), Fault> {
    let sql = "select name from pg_settings where name in ('fsync', 'full_page_writes') and setting = 'off'";
    for row in client.query(sql, &[]).await.map_err(errors::sql)? {
        tracing::warn!(
            setting = row.get::<_, &str>(0),
            "the activity log's database is set to lose data when its machine crashes; switch the setting on"
        );
    }
    Ok(())
}

/// Tells whether our own database, in the same cluster as the source, was promoted since the checkpoint was saved.
///
/// A promoted standby may lack the end of the log, and readers may have seen it: the numbers that they know would be
/// given out again. The checkpoint went back together with the log, so what it lacks of the source comes once more.
async fn failed_over(client: &Client, saved: &SourceIdentity) -> Result<bool, Fault> {
    // The first digits of a log file's name are the timeline; what the control file says may be older.
    let sql = "select (select system_identifier::text from pg_control_system()),
                 ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int8";
    let row = client.query_one(sql, &[]).await.map_err(errors::sql)?;
    let (system_identifier, timeline): (String, i64) = (row.get(0), row.get(1));
    Ok(system_identifier == saved.system_identifier && timeline > i64::from(saved.timeline))
}

/// The lease in hand.
struct Held {
    client: Client,
    source: String,
    fence: i64,
}

#[async_trait]
impl Lease for Held {
    async fn renew(&mut self) -> Result<(), Fault> {
        let sql = "update log.checkpoints set expires_at = clock_timestamp() + make_interval(secs => $3)
                   where source = $1 and fence = $2";
        let ttl = f64::from(TTL_SECONDS);
        let renewed = self.client.execute(sql, &[&self.source, &self.fence, &ttl]).await.map_err(errors::sql)?;
        if renewed == 0 {
            return Err(Fault::new(Code::Fenced, "another server has taken over the lease"));
        }
        Ok(())
    }

    async fn release(&mut self) -> Result<(), Fault> {
        let sql = "update log.checkpoints set expires_at = '-infinity', holder = '' where source = $1 and fence = $2";
        self.client.execute(sql, &[&self.source, &self.fence]).await.map_err(errors::sql)?;
        Ok(())
    }

    fn renew_interval_ms(&self) -> u64 {
        RENEW_MS
    }
}

pub(crate) fn checkpoint(row: &Row) -> Result<Checkpoint, Fault> {
    let identity: Option<String> = row.get(5);
    let identity = identity.map(|text| serde_json::from_str(&text)).transpose();
    Ok(Checkpoint {
        acknowledged: Lsn::new(row.get::<_, i64>(0) as u64),
        lsn: Lsn::new(row.get::<_, i64>(1) as u64),
        ordinal: row.get::<_, i64>(2) as u64,
        complete: row.get(3),
        xid: Xid::new(row.get::<_, i64>(4) as u64),
        identity: identity.map_err(|_| errors::corrupt("the source's identity in the checkpoint cannot be read"))?,
    })
}

async fn organisations(client: &Client) -> Result<Vec<(String, String)>, Fault> {
    let rows = client.query("select type, org from log.organisations", &[]).await.map_err(errors::sql)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

pub(crate) async fn snapshots(client: &Client) -> Result<Vec<SnapshotProgress>, Fault> {
    // What nobody has written for a while goes at no pace.
    let sql = "select type, last_key, rows_done, rows_estimated,
                 case when updated_at > clock_timestamp() - interval '1 minute' then rows_per_second else 0 end, complete,
                 failure
               from log.snapshots order by type";
    let rows = client.query(sql, &[]).await.map_err(errors::sql)?;
    let progress = |row: &Row| SnapshotProgress {
        entity_type: row.get(0),
        last_key: row.get(1),
        rows_done: row.get::<_, i64>(2) as u64,
        rows_estimated: row.get::<_, i64>(3) as u64,
        rows_per_second: row.get::<_, i64>(4) as u64,
        complete: row.get(5),
        failure: row.get(6),
    };
    Ok(rows.iter().map(progress).collect())
}
