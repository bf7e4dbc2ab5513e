//! Appends batches: fence and checkpoint first, then the head, then the rows, in one transaction (house 8).
//!
//! The commit is asynchronous: a crash may take the newest appends back, which the next writer sees by the stored
//! checkpoint. A batch without rows is committed synchronously, because its position may be acknowledged at once.
//! Rows go in by binary copy, written by hand into one reused buffer: this is the price of every change. Everything
//! before the rows is sent at once, and so are their end and the commit: an append waits for the server three times.

use antiphon_engine::{
    Fault,
    ports::{Batch, LogWriter, SnapshotProgress},
};
use antiphon_model::{Activity, ActivityId, Checkpoint, Code, Epoch};
use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, future};
use tokio_postgres::{Client, CopyInSink, Error, Statement, types::ToSql};

use super::{epoch_number, id_number};
use crate::{errors, partitions};

/// Rows are sent in pieces of about this size.
const PIECE_BYTES: usize = 128 * 1024;
/// The signature, flags and extension length of a binary copy.
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Columns of an activity.
const COLUMNS: i16 = 16;
/// The parent finds the partition of each row, which costs a twentieth of the append: most batches name theirs.
const PARENT: &str = "activities";
const BEGIN: &str = "select log.begin_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
const ORGANISATIONS: &str =
    "insert into log.organisations (type, org) select * from unnest($1::text[], $2::text[]) on conflict do nothing";
const PROGRESS: &str = "insert into log.snapshots
       (type, last_key, rows_done, rows_estimated, rows_per_second, complete, failure, updated_at)
     values ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())
     on conflict (type) do update set last_key = excluded.last_key, rows_done = excluded.rows_done,
       rows_estimated = excluded.rows_estimated, rows_per_second = excluded.rows_per_second,
       complete = excluded.complete, failure = excluded.failure, updated_at = excluded.updated_at";

/// A writer that is gone without a word must not hold the fence's row for long.
const LIMITS: &str = "set idle_in_transaction_session_timeout = '20s'; set tcp_keepalives_idle = 5;
                      set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3; set tcp_user_timeout = 20000";

/// The writer of one tenure.
pub(crate) struct Appender {
    client: Client,
    statements: Statements,
    source: String,
    fence: i64,
    epoch: Epoch,
    last: ActivityId,
    checkpoint: Checkpoint,
    identity: Option<String>,
    partition_ids: u64,
    partitions_up_to: Option<u64>,
    buffer: BytesMut,
}

/// What an append consists of.
struct Statements {
    begin: Statement,
    organisations: Statement,
    progress: Statement,
    /// Into the parent: rows on both sides of a partition's end.
    copy: Statement,
    /// Into the partition of this number.
    copy_within: Option<(u64, Statement)>,
}

/// Where a tenure begins.
pub(crate) struct Start {
    /// The source's name.
    pub(crate) source: String,
    /// The tenure's fence.
    pub(crate) fence: i64,
    /// The epoch.
    pub(crate) epoch: Epoch,
    /// The last id in the log.
    pub(crate) last: ActivityId,
    /// The stored checkpoint.
    pub(crate) checkpoint: Checkpoint,
    /// How many ids a partition spans.
    pub(crate) partition_ids: u64,
}

impl Appender {
    /// Prepares a connection for appending.
    pub(crate) async fn new(client: Client, start: Start) -> Result<Appender, Fault> {
        client.batch_execute(LIMITS).await.map_err(errors::sql)?;
        let statements = Statements {
            begin: client.prepare(BEGIN).await.map_err(errors::sql)?,
            organisations: client.prepare(ORGANISATIONS).await.map_err(errors::sql)?,
            progress: client.prepare(PROGRESS).await.map_err(errors::sql)?,
            copy: client.prepare(&copy_into(PARENT)).await.map_err(errors::sql)?,
            copy_within: None,
        };
        let identity = encode_identity(&start.checkpoint)?;
        Ok(Appender {
            client,
            statements,
            source: start.source,
            fence: start.fence,
            epoch: start.epoch,
            last: start.last,
            checkpoint: start.checkpoint,
            identity,
            partition_ids: start.partition_ids,
            partitions_up_to: None,
            buffer: BytesMut::with_capacity(PIECE_BYTES * 2),
        })
    }

    async fn transaction(&mut self, batch: &Batch) -> Result<(), Fault> {
        let identity = match batch.checkpoint.identity == self.checkpoint.identity {
            true => self.identity.clone(),
            false => encode_identity(&batch.checkpoint)?,
        };
        let mut rows = Rows::new(std::mem::take(&mut self.buffer), &batch.activities);
        // In this order on the wire: each is sent when it is first polled, and the first that fails is the one reported.
        let opened = future::try_join5(
            self.client.batch_execute(begin(batch)),
            self.move_checkpoint(batch, identity.as_ref()),
            self.note_organisations(&batch.organisations),
            self.note_progress(batch.snapshot.as_ref()),
            self.open_copy(batch),
        );
        // While the server answers, the first rows are made ready for it.
        let (opened, first) = future::join(opened, async { rows.piece() }).await;
        let (_, (), (), (), sink) = opened.map_err(errors::sql)?;
        match sink {
            Some(sink) => send_rows(&self.client, sink, first?, &mut rows).await?,
            None => self.client.batch_execute("commit").await.map_err(errors::sql)?,
        }
        self.buffer = rows.buffer;
        self.identity = identity;
        Ok(())
    }

    async fn move_checkpoint(&self, batch: &Batch, identity: Option<&String>) -> Result<(), Error> {
        let (was, now) = (Place::of(&self.checkpoint), Place::of(&batch.checkpoint));
        let (epoch, last, count) = (epoch_number(self.epoch), id_number(self.last), batch.activities.len() as i64);
        let values: [&(dyn ToSql + Sync); 15] = [
            &self.source,
            &self.fence,
            &was.acknowledged,
            &was.lsn,
            &was.ordinal,
            &was.complete,
            &now.acknowledged,
            &now.lsn,
            &now.ordinal,
            &now.complete,
            &now.xid,
            &identity,
            &epoch,
            &last,
            &count,
        ];
        self.client.execute(&self.statements.begin, &values).await.map(drop)
    }

    async fn note_organisations(&self, pairs: &[(String, String)]) -> Result<(), Error> {
        if pairs.is_empty() {
            return Ok(());
        }
        let (types, orgs): (Vec<&str>, Vec<&str>) = pairs.iter().map(|(t, org)| (t.as_str(), org.as_str())).unzip();
        self.client.execute(&self.statements.organisations, &[&types, &orgs]).await.map(drop)
    }

    async fn note_progress(&self, progress: Option<&SnapshotProgress>) -> Result<(), Error> {
        let Some(progress) = progress else { return Ok(()) };
        let [done, estimated, rate] =
            [progress.rows_done, progress.rows_estimated, progress.rows_per_second].map(|number| number as i64);
        let SnapshotProgress { entity_type, last_key, complete, failure, .. } = progress;
        let values: [&(dyn ToSql + Sync); 7] = [entity_type, last_key, &done, &estimated, &rate, complete, failure];
        self.client.execute(&self.statements.progress, &values).await.map(drop)
    }

    async fn open_copy(&self, batch: &Batch) -> Result<Option<CopyInSink<Bytes>>, Error> {
        if batch.activities.is_empty() {
            return Ok(None);
        }
        let ids = [batch.activities.first(), batch.activities.last()];
        let partition = ids.map(|activity| activity.map(|one| partitions::number(one.id.as_u64(), self.partition_ids)));
        let within = self.statements.copy_within.as_ref().filter(|(number, _)| partition == [Some(*number); 2]);
        self.client.copy_in(within.map_or(&self.statements.copy, |(_, copy)| copy)).await.map(Some)
    }

    /// Prepares the copy into the partition of an id, where it is not the same as before.
    async fn prepare_partition(&mut self, id: ActivityId) -> Result<(), Fault> {
        let number = partitions::number(id.as_u64(), self.partition_ids);
        if self.statements.copy_within.as_ref().is_none_or(|(known, _)| *known != number) {
            let copy = copy_into(&partitions::name(number));
            self.statements.copy_within = Some((number, self.client.prepare(&copy).await.map_err(errors::sql)?));
        }
        Ok(())
    }

    async fn make_partitions(&mut self, last: ActivityId) -> Result<(), Fault> {
        let needed = partitions::number(last.as_u64(), self.partition_ids);
        if self.partitions_up_to.is_some_and(|made| made >= needed) {
            return Ok(());
        }
        let first = partitions::number(self.last.as_u64(), self.partition_ids);
        // One more than is needed, so that the next boundary is met prepared.
        let numbers: Vec<u64> = (first..=needed + 1).collect();
        partitions::ensure(&self.client, &numbers, self.partition_ids).await?;
        self.partitions_up_to = Some(needed + 1);
        Ok(())
    }
}

#[async_trait]
impl LogWriter for Appender {
    async fn append(&mut self, batch: &mut Batch) -> Result<ActivityId, Fault> {
        let mut last = self.last;
        for activity in &mut batch.activities {
            last = last.plus(1);
            activity.id = last;
        }
        self.make_partitions(last).await?;
        if last > self.last {
            self.prepare_partition(last).await?;
        }
        self.transaction(batch).await?;
        self.last = last;
        self.checkpoint = batch.checkpoint.clone();
        Ok(last)
    }
}

/// A checkpoint as Postgres stores it.
struct Place {
    acknowledged: i64,
    lsn: i64,
    ordinal: i64,
    complete: bool,
    xid: i64,
}

impl Place {
    fn of(checkpoint: &Checkpoint) -> Place {
        Place {
            acknowledged: checkpoint.acknowledged.as_u64() as i64,
            lsn: checkpoint.lsn.as_u64() as i64,
            ordinal: checkpoint.ordinal as i64,
            complete: checkpoint.complete,
            xid: checkpoint.xid.as_u64() as i64,
        }
    }
}

fn encode_identity(checkpoint: &Checkpoint) -> Result<Option<String>, Fault> {
    let encode = |identity| serde_json::to_string(identity);
    checkpoint
        .identity
        .as_ref()
        .map(encode)
        .transpose()
        .map_err(|error| Fault::new(Code::Internal, "the source's identity cannot be stored").with_source(error))
}

/// A batch without rows is safe when it is committed; any other when it is flushed.
fn begin(batch: &Batch) -> &'static str {
    match batch.activities.is_empty() {
        true => "begin; set local synchronous_commit = on",
        false => "begin; set local synchronous_commit = off",
    }
}

fn copy_into(table: &str) -> String {
    format!(
        "copy log.{table} (id, org, type, entity, action, image, changed, details, schema, lsn, seq, last, xid,
           committed_at, tx, policy) from stdin binary"
    )
}

/// A batch's rows on their way: encoded piece by piece into one reused buffer.
struct Rows<'a> {
    buffer: BytesMut,
    left: std::slice::Iter<'a, Activity>,
    ended: bool,
}

impl<'a> Rows<'a> {
    fn new(mut buffer: BytesMut, activities: &'a [Activity]) -> Rows<'a> {
        buffer.clear();
        buffer.put_slice(COPY_HEADER);
        Rows { buffer, left: activities.iter(), ended: false }
    }

    /// Encodes the next piece; `None` after the one with the end.
    fn piece(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.ended {
            return Ok(None);
        }
        self.buffer.reserve(PIECE_BYTES + PIECE_BYTES / 4);
        for activity in self.left.by_ref() {
            write_row(&mut self.buffer, activity)?;
            if self.buffer.len() >= PIECE_BYTES {
                return Ok(Some(self.buffer.split().freeze()));
            }
        }
        self.ended = true;
        self.buffer.put_i16(-1);
        Ok(Some(self.buffer.split().freeze()))
    }
}

async fn send_rows(
    client: &Client,
    sink: CopyInSink<Bytes>,
    first: Option<Bytes>,
    rows: &mut Rows<'_>,
) -> Result<(), Fault> {
    let mut sink = std::pin::pin!(sink);
    let mut next = first;
    while let Some(piece) = next {
        // It is handed over at once and sent while the next one is made.
        sink.feed(piece).await.map_err(errors::sql)?;
        next = rows.piece()?;
    }
    // The commit waits in line behind the rows; should they fail, it ends the transaction all the same.
    let (copied, committed) = future::join(sink.finish(), client.batch_execute("commit")).await;
    copied.map_err(errors::sql)?;
    committed.map_err(errors::sql)
}

fn write_row(out: &mut BytesMut, activity: &Activity) -> Result<(), Fault> {
    let commit = &activity.commit;
    out.put_i16(COLUMNS);
    put_i64(out, id_number(activity.id));
    put_text(out, Some(&activity.org))?;
    put_text(out, Some(&activity.entity_type))?;
    put_text(out, activity.entity_id.as_deref())?;
    out.put_i32(2);
    out.put_i16(activity.action.code());
    put_text(out, activity.image.as_deref())?;
    put_text(out, activity.changed.as_deref())?;
    put_text(out, activity.details.as_deref())?;
    out.put_i32(4);
    out.put_i32(activity.schema as i32);
    put_i64(out, commit.lsn.as_u64() as i64);
    put_i64(out, commit.seq as i64);
    out.put_i32(1);
    out.put_u8(u8::from(commit.last));
    put_i64(out, commit.xid.as_u64() as i64);
    put_i64(out, commit.at.0);
    put_text(out, activity.tx.as_deref())?;
    put_text(out, activity.policy.as_deref())
}

fn put_i64(out: &mut BytesMut, value: i64) {
    out.put_i32(8);
    out.put_i64(value);
}

fn put_text(out: &mut BytesMut, text: Option<&str>) -> Result<(), Fault> {
    let Some(text) = text else {
        out.put_i32(-1);
        return Ok(());
    };
    let length = i32::try_from(text.len()).map_err(|_| errors::corrupt("a row image is larger than 2 GiB"))?;
    out.put_i32(length);
    out.put_slice(text.as_bytes());
    Ok(())
}
