//! Reading a table in key order for its initial copy, a chunk at a time (CAP-20).
//!
//! Each chunk is one statement with the snapshot that it was read under; nothing is held between chunks: no
//! transaction, no lock, no `xmin` (PG-90, PG-96). The order is that of the key's own index, then of the organisation.
//! Rows come as the stream would send them: every column that is not generated, as Postgres prints it.
//! A table that is dropped or changed under the copy fails alone and says why (PG-93).

mod estimate;
mod writers;

use std::sync::Arc;

use antiphon_engine::{
    Fault,
    ports::{ChunkRows, SnapshotProgress, SnapshotTable},
};
use antiphon_model::{Code, Column, EntityType, Relation, ReplicaIdentity, Tuple, Visibility};
use async_trait::async_trait;
use deadpool_postgres::Pool;
use tokio_postgres::{Client, Row, types::Type};
pub use writers::Earlier;

use crate::{
    ConnectionInfo,
    catalogue::{self, ColumnInfo, Identity, TableInfo},
    connect, errors, query_capture, quote,
    rows::{
        self,
        place::{self, Level},
        select::{self, Answer, Refused, Select},
    },
};

/// A chunk that waits for a lock, or takes long, gives way and is tried again smaller; the mark is flushed here and
/// waits for no standby.
/// A database that holds any bytes as text is read unconverted, as the stream is (PG-84).
const SETTINGS: &str = "set lock_timeout = '2s'; set statement_timeout = '60s'; set synchronous_commit = local;
    select pg_catalog.set_config('client_encoding', 'SQL_ASCII', false)
    where pg_catalog.current_setting('server_encoding') = 'SQL_ASCII'";
/// Who makes the logical messages that only this project reads.
const MESSAGE_PREFIX: &str = "antiphon";
/// A table whose columns change while it is read is read again so many times.
const ATTEMPTS_MAX: u32 = 4;
/// What helps where a copy cannot go on from its place.
const ANEW: &str = "`antiphon snapshot start` copies it anew";
/// The number of rows is guessed anew after so many chunks.
const CHUNKS_PER_ESTIMATE: u32 = 32;

/// How a copy leaves its mark in what is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// By a logical message, for capture by the log.
    Message,
    /// By a row of the audit table, for capture by triggers.
    AuditRow,
    /// By a row of the audit table with its place, for capture by queries.
    Placed,
}

impl Mark {
    fn sql(self) -> &'static str {
        match self {
            Mark::Message => "select pg_catalog.pg_logical_emit_message(true, $1, $2)",
            Mark::AuditRow => {
                "insert into antiphon.audit (xid, statement, seq, op, said)
                select pg_catalog.pg_current_xact_id(), n, n, 'M', pg_catalog.convert_to($2, 'UTF8')
                from pg_catalog.nextval('antiphon.audit_seq') n where $1 is not null"
            }
            Mark::Placed => {
                "with placed as (
                    update antiphon.audit_state set last_position = last_position + 1 returning last_position
                ), said as (
                    insert into antiphon.audit (xid, statement, seq, op, said)
                    select pg_catalog.pg_current_xact_id(), 0, 0, 'M', pg_catalog.convert_to($2, 'UTF8')
                    where $1 is not null
                )
                insert into antiphon.audit_order (position, xid, changes, bytes, at)
                select last_position, pg_catalog.pg_current_xact_id(), 1, 100, pg_catalog.clock_timestamp() from placed"
            }
        }
    }
}

/// Returns what a snapshot taken now sees.
pub(crate) async fn visibility(pool: &Pool) -> Result<Visibility, Fault> {
    let client = pool.get().await.map_err(errors::pool)?;
    let statement = "select pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_is_in_recovery()";
    let row = client.query_one(statement, &[]).await.map_err(errors::sql)?;
    if row.get(1) {
        // A standby's snapshots name no running transactions.
        return Err(Fault::new(Code::InRecovery, ""));
    }
    let unreadable = |error| Fault::new(Code::Internal, "the server printed no snapshot").with_source(error);
    row.get::<_, &str>(0).parse::<Visibility>().map_err(unreadable)
}

/// Returns an entity type among those declared.
///
/// # Errors
/// Fails with `ENTITY_TYPE_UNKNOWN` where it is not.
pub(crate) fn declared(entities: &[Arc<EntityType>], entity_type: &str) -> Result<Arc<EntityType>, Fault> {
    let found = entities.iter().find(|entity| entity.name == entity_type);
    found.cloned().ok_or_else(|| Fault::new(Code::EntityTypeUnknown, entity_type.to_owned()))
}

/// Opens the table of an entity type, on a connection of its own; `earlier` is remembered between tries.
///
/// # Errors
/// Fails with `TABLE_UNFIT` where the table is not what its declaration says.
pub async fn open(
    info: &ConnectionInfo,
    entity: Arc<EntityType>,
    mark: Mark,
    earlier: Earlier,
) -> Result<Box<dyn SnapshotTable>, Fault> {
    let client = connect::connect_sql(info, "antiphon copy").await?;
    client.batch_execute(SETTINGS).await.map_err(errors::sql)?;
    let described = Described::read(&client, &entity).await?;
    Ok(Box::new(Copying { client, entity, described, mark, shrink: 1, earlier, undisturbed: false, chunks: 0 }))
}

struct Copying {
    client: Client,
    entity: Arc<EntityType>,
    described: Described,
    mark: Mark,
    /// Chunks are smaller by this factor, because larger ones took too long (PG-97).
    shrink: usize,
    /// Who wrote before the copy began.
    earlier: Earlier,
    /// Whether they have ended.
    undisturbed: bool,
    /// How many chunks were read.
    chunks: u32,
}

struct Described {
    table: TableInfo,
    relation: Arc<Relation>,
}

impl Described {
    async fn read(client: &Client, entity: &EntityType) -> Result<Described, Fault> {
        let table = catalogue::describe(client, entity).await?;
        catalogue::fits(&table, entity)?;
        let relation = Arc::new(relation(&table));
        Ok(Described { table, relation })
    }
}

impl Copying {
    /// The columns that put rows in order: the key, then the organisation, because keys may be unique only within it.
    fn levels<'a>(&self, table: &'a TableInfo) -> Result<Vec<Level<'a>>, Fault> {
        let org = self.entity.org_column().filter(|org| !self.entity.key.iter().any(|key| key == org));
        let names = self.entity.key.iter().map(String::as_str).chain(org);
        let level = |name: &str| {
            let column = table.column(name).ok_or_else(|| {
                Fault::new(Code::TableUnfit, format!("table {}: there is no column `{name}`", table.name))
            })?;
            Ok(Level { column, descending: false, bytes: false })
        };
        names.map(level).collect()
    }

    fn select(&self, table: &TableInfo) -> Result<Select, Fault> {
        let mut select = Select::default();
        for column in copied(table) {
            select.columns.push(select::printed(column)?);
        }
        if let Some(org) = self.entity.org_column()
            && table.column(org).is_some_and(|column| !column.not_null)
        {
            // Such rows are nobody's; the stream leaves them out too.
            select.conditions.push(format!("t.{} is not null", quote::ident(org)?));
        }
        select.conditions.extend(rows::alive(table, &self.entity)?);
        if self.mark == Mark::Placed {
            select.conditions.push(query_capture::noted(table, &self.entity)?);
        }
        Ok(select)
    }

    /// Prepares the chunk after `last_key`; the values of the key follow the row's own columns.
    fn chunk_select(&self, table: &TableInfo, last_key: Option<&str>, rows_max: usize) -> Result<Select, Fault> {
        let levels = self.levels(table)?;
        let mut select = self.select(table)?;
        for level in &levels {
            select.columns.push(select::printed(level.column)?);
        }
        select.order = place::order_by(&levels)?;
        if let Some(last_key) = last_key {
            let key: Vec<String> = serde_json::from_str(last_key).unwrap_or_default();
            if key.len() != levels.len() {
                let detail = format!("table {}: its key has changed since its copy began; {ANEW}", table.name);
                return Err(Fault::new(Code::TableUnfit, detail));
            }
            let position: Vec<Option<String>> = key.into_iter().map(Some).collect();
            // The organisation is not null in the rows read, whatever the column allows.
            let condition = place::after(&levels, &position, "last_key", &mut select.parameters)?;
            select.conditions.push(condition);
        }
        // One more tells whether anything follows.
        select.limit = Some(rows_max.saturating_add(1));
        Ok(select)
    }

    fn reread_select(&self, table: &TableInfo, entity_ids: &[String]) -> Result<Select, Fault> {
        let mut select = self.select(table)?;
        let mut alternatives = Vec::with_capacity(entity_ids.len());
        for id in entity_ids {
            let Some(values) = self.entity.key_values(id) else { continue };
            let mut parts = Vec::with_capacity(values.len());
            for (key, value) in self.entity.key.iter().zip(values) {
                let Some(column) = table.column(key) else { continue };
                let value = select.parameters.push("id", column, &value);
                parts.push(format!("t.{} = {value}", quote::ident(key)?));
            }
            alternatives.push(format!("({})", parts.join(" and ")));
        }
        let any = if alternatives.is_empty() { "false".to_owned() } else { alternatives.join(" or ") };
        select.conditions.push(any);
        Ok(select)
    }

    /// Runs what `make` prepares, again where the table was changed since it was described.
    async fn run<M>(&mut self, make: M) -> Result<Answer, Fault>
    where
        M: Fn(&Copying, &TableInfo) -> Result<Select, Fault> + Send,
    {
        for _ in 0..ATTEMPTS_MAX {
            let select = make(self, &self.described.table)?;
            match select.run(&self.client, &self.described.table).await {
                Ok(answer) => return Ok(answer),
                Err(Refused::Stale) => self.described = Described::read(&self.client, &self.entity).await?,
                Err(Refused::Fault(fault)) => {
                    if fault.code() == Code::TryAgain {
                        self.shrink = (self.shrink * 4).min(1024);
                    }
                    return Err(fault);
                }
                Err(Refused::Value(_) | Refused::Comparison) => {
                    let table = &self.described.table.name;
                    let detail = format!("table {table}: a key's type has changed since its copy began; {ANEW}");
                    return Err(Fault::new(Code::TableUnfit, detail));
                }
            }
        }
        let detail = format!("table {} is being changed", self.described.table.name);
        Err(Fault::new(Code::TryAgain, detail))
    }
}

#[async_trait]
impl SnapshotTable for Copying {
    async fn chunk(&mut self, progress: &SnapshotProgress, rows_max: usize) -> Result<ChunkRows, Fault> {
        let rows_max = (rows_max / self.shrink).max(1);
        let last_key = progress.last_key.as_deref();
        if last_key.is_none() && !self.undisturbed {
            let table = &self.described.table;
            writers::wait(&self.client, &table.name, table.oid, &self.earlier).await?;
            self.undisturbed = true;
        }
        let rows_estimated = match self.chunks.is_multiple_of(CHUNKS_PER_ESTIMATE) {
            true => estimate::rows(&self.client, &self.described.table.name).await?,
            false => None,
        };
        let mut answer = self.run(|copying, table| copying.chunk_select(table, last_key, rows_max)).await?;
        let relation = Arc::clone(&self.described.relation);
        let complete = answer.rows.len() <= rows_max;
        answer.rows.truncate(rows_max);
        let width = relation.columns.len();
        let levels = self.levels(&self.described.table)?.len();
        let key = |row: &Row| (0..levels).map(|level| select::text(row, 1 + width + level)).collect::<Option<Vec<_>>>();
        let last = answer.rows.last().map(|row| {
            key(row).ok_or_else(|| {
                Fault::new(Code::TableUnfit, format!("table {}: a key is null", self.described.table.name))
            })
        });
        let last = last.transpose()?.map(|key| serde_json::Value::from(key).to_string());
        self.chunks += 1;
        let progress = SnapshotProgress {
            entity_type: progress.entity_type.clone(),
            last_key: last.or_else(|| progress.last_key.clone()),
            rows_done: progress.rows_done + answer.rows.len() as u64,
            rows_estimated: rows_estimated.unwrap_or(progress.rows_estimated),
            rows_per_second: 0,
            complete,
            failure: None,
        };
        let rows = answer.rows.iter().map(|row| tuple(row, width)).collect();
        Ok(ChunkRows { relation, rows, visibility: answer.visibility, progress })
    }

    async fn reread(&mut self, entity_ids: &[String], progress: &SnapshotProgress) -> Result<ChunkRows, Fault> {
        let answer = self.run(|copying, table| copying.reread_select(table, entity_ids)).await?;
        let relation = Arc::clone(&self.described.relation);
        let width = relation.columns.len();
        let rows = answer.rows.iter().map(|row| tuple(row, width)).collect();
        Ok(ChunkRows { relation, rows, visibility: answer.visibility, progress: progress.clone() })
    }

    async fn mark(&mut self, content: &str) -> Result<(), Fault> {
        let written =
            self.client.query_typed(self.mark.sql(), &[(&MESSAGE_PREFIX, Type::TEXT), (&content, Type::TEXT)]).await;
        written.map(drop).map_err(errors::sql)
    }
}

/// The columns that the stream sends.
fn copied(table: &TableInfo) -> impl Iterator<Item = &ColumnInfo> {
    table.columns.iter().filter(|column| !column.generated)
}

fn tuple(row: &Row, width: usize) -> Tuple {
    // The first column is the header's mark.
    Tuple::from_cells((0..width).map(|column| select::cell(row, 1 + column)))
}

/// Describes the table as the stream would.
fn relation(table: &TableInfo) -> Relation {
    let identity = match &table.identity {
        Identity::Default => ReplicaIdentity::Default,
        Identity::Nothing => ReplicaIdentity::Nothing,
        Identity::Full => ReplicaIdentity::Full,
        Identity::Index(_) => ReplicaIdentity::Index,
    };
    let index = table.indexes.iter().find(|index| match identity {
        ReplicaIdentity::Default => index.primary,
        ReplicaIdentity::Index => index.identity,
        ReplicaIdentity::Nothing | ReplicaIdentity::Full | ReplicaIdentity::Polled => false,
    });
    let identified = |name: &str| {
        let named = |column: &Option<String>| column.as_deref() == Some(name);
        identity == ReplicaIdentity::Full || index.is_some_and(|index| index.columns.iter().any(named))
    };
    let columns = copied(table).map(|column| Column {
        name: column.name.clone(),
        identity: identified(&column.name),
        type_oid: column.type_oid,
        type_modifier: column.type_modifier,
        ty: column.ty.clone(),
    });
    Relation {
        oid: table.oid,
        schema: table.name.schema.clone(),
        name: table.name.name.clone(),
        identity,
        columns: columns.collect(),
    }
}
