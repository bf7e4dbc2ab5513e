//! An open transaction and its statements.
//!
//! Each statement that writes has its author said right before it: to the trigger by a setting, to whoever reads the
//! write-ahead log by a sealed message (house 2, 12). Law: dropped, the transaction is rolled back before its connection
//! serves anybody else.

use std::sync::Arc;

use antiphon_engine::{
    Authorship, Fault, MESSAGE_PREFIX,
    ports::{Author, Claim, FieldWrite, HeldRow, Refusal, WriteError, WriteTransaction, Written},
    seal,
};
use antiphon_model::{Code, EntityType, Mutation, Tx, Xid};
use async_trait::async_trait;
use deadpool_postgres::Object;
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::{
    Means,
    references::References,
    refusal::{Tried, refused, refused_commit},
    rows::Reading,
};
use crate::{CaptureMethod, catalogue::TableInfo, objects, quote, rows::select::Parameters, stamp::Stamp};

const CLAIM: &str = "insert into antiphon.mutations (org, id, subject, content_hash, entity_type, entity_id, xid)
  values ($1, $2, $3, $4, $5, $6, $7::pg_catalog.text::pg_catalog.xid8) on conflict do nothing";
const CLAIMED: &str = "select content_hash, entity_id, xid::pg_catalog.text,
    pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text from antiphon.mutations
  where id = $1 and org = $2";
const NOTE: &str = "update antiphon.mutations set entity_id = $3 where id = $1 and org = $2";
/// The message that governs the changes that follow it, and who the trigger is to name.
const SAY: &str = "select pg_catalog.pg_logical_emit_message(true, $1::pg_catalog.text, $2::pg_catalog.bytea),
  pg_catalog.set_config('antiphon.tx', $3, true)";
/// The same where capture is by triggers: the message stands among the rows that they record.
const SAY_BY_ROW: &str = "with said as (
    insert into antiphon.audit (xid, statement, seq, op, said)
    select pg_catalog.pg_current_xact_id(), n, n, 'M', $2::pg_catalog.bytea
    from pg_catalog.nextval('antiphon.audit_seq') n where $1::pg_catalog.text is not null returning 1)
  select (select pg_catalog.count(*) from said), pg_catalog.set_config('antiphon.tx', $3, true)";
/// The same where capture is by queries: the message waits, with the row's key, for the poll that reads the row.
const SAY_TO_POLL: &str = "with said as (
    insert into antiphon.poll_said (xid, relation, key, org, deletes, said)
    select pg_catalog.pg_current_xact_id(), $4::pg_catalog.oid, $5::pg_catalog.text[], $6::pg_catalog.text,
        $7::pg_catalog.bool, $2::pg_catalog.bytea
    where $1::pg_catalog.text is not null returning 1)
  select (select pg_catalog.count(*) from said), pg_catalog.set_config('antiphon.tx', $3, true)";
/// Whose rights count for what follows: `none` is the session's own role.
const AS: &str = "select pg_catalog.set_config('role', $1, true), pg_catalog.set_config('row_security', $2, true)";
const COMMIT: &str = "set constraints all immediate; commit";

/// A transaction.
pub(super) struct Open {
    client: Option<Object>,
    means: Arc<Means>,
    author: Author,
    xid: Xid,
    now_ms: u64,
    /// References that are looked up before the commit.
    late: Vec<References>,
    /// Whether the configured role's rights count now.
    in_role: bool,
}

impl Open {
    pub(super) fn new(client: Object, means: Arc<Means>, author: Author) -> Open {
        Open { client: Some(client), means, author, xid: Xid::new(0), now_ms: 0, late: Vec::new(), in_role: false }
    }

    pub(super) fn began(&mut self, xid: Xid, now_ms: u64) {
        (self.xid, self.now_ms) = (xid, now_ms);
    }

    /// The connection; it is given up only at the end.
    pub(super) fn client(&self) -> &Object {
        // INVARIANT: taken by `commit` and `drop` alone, which use it up.
        self.client.as_ref().unwrap_or_else(|| unreachable!())
    }

    /// Takes on the role that the application's rows are written under, or lays it down for our own.
    async fn act(&mut self, in_role: bool) -> Result<(), WriteError> {
        let Some(role) = self.means.role.as_deref().filter(|_| in_role != self.in_role) else { return Ok(()) };
        let (role, row_security) = if in_role { (role, "on") } else { ("none", "off") };
        let statement = self.client().prepare_cached(AS).await.map_err(refused)?;
        self.client().query_one(&statement, &[&role, &row_security]).await.map_err(refused)?;
        self.in_role = in_role;
        Ok(())
    }

    async fn table(&self, entity: &EntityType) -> Result<Arc<TableInfo>, WriteError> {
        Ok(self.means.rows.table(self.client(), entity).await?)
    }

    async fn find(&self, entity: &EntityType, entity_id: &str, lock: &str) -> Result<Option<HeldRow>, WriteError> {
        let table = self.table(entity).await?;
        let reading = Reading::new(&table, entity);
        let mut parameters = Parameters::default();
        let Some(is) = reading.is(&self.author.org, entity_id, &mut parameters)? else { return Ok(None) };
        let (columns, name) = (reading.columns()?, quote::qualified(&table.name)?);
        let sql = format!("select {columns} from {name} t where {is}{lock}");
        match self.query(&sql, &parameters).await {
            Ok(rows) => Ok(rows.first().map(|row| reading.held(row).0)),
            // An id that is no value of the key's type is that of no row.
            Err(error) if error.code().is_some_and(|code| code.code().starts_with("22")) => Ok(None),
            Err(error) => {
                let tried = Tried { table: &table, entity, parameters: &parameters, field: None };
                Err(self.failed(error, &tried).await)
            }
        }
    }

    /// Runs a statement that writes, with its author said before it.
    async fn write(&mut self, said: Said<'_>, sql: &str, parameters: &Parameters) -> Result<Vec<Row>, WriteError> {
        let Said { table, entity, key, row, tx, field, deletes } = said;
        let authorship = Authorship { org: self.author.org.clone(), tx: tx.clone() };
        let message = seal(&self.means.key, self.xid, Some(&authorship));
        let stamp = Stamp { table: &entity.table, key, tx }.setting();
        let refer = |late| References::of(table, entity, &self.means.declared, (&self.author.org, parameters), late);
        let (now, late) = (refer(false)?, refer(true)?);
        let tried = Tried { table, entity, parameters, field };
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&MESSAGE_PREFIX, &message, &stamp];
        let of_row: [&(dyn ToSql + Sync); 4] = [&table.oid, &row, &authorship.org, &deletes];
        let say = match self.means.method {
            CaptureMethod::Log => SAY,
            CaptureMethod::Trigger => SAY_BY_ROW,
            CaptureMethod::Query => {
                values.extend(of_row);
                SAY_TO_POLL
            }
        };
        // The application's role has no right on our tables.
        let apart = self.means.method != CaptureMethod::Log && self.in_role;
        if apart {
            self.act(false).await?;
            let say = self.client().prepare_cached(say).await.map_err(refused)?;
            self.client().query_one(&say, &values).await.map_err(refused)?;
            self.act(true).await?;
        }
        let client = self.client();
        let say = client.prepare_cached(say).await.map_err(refused)?;
        let saying = async {
            match apart {
                true => Ok(()),
                false => client.query_one(&say, &values).await.map(drop),
            }
        };
        let check = async {
            match &now {
                Some(references) => references.check(client).await,
                None => Ok(None),
            }
        };
        // All are sent before the first answer is awaited, and are carried out in this order.
        let (saying, missing, written) = futures::future::join3(saying, check, self.query(sql, parameters)).await;
        saying.map_err(refused)?;
        match (missing, &now) {
            (Ok(Some(column)), Some(references)) => return Err(references.refusal(client, column).await),
            (Ok(_), _) => {}
            (Err(error), _) => return Err(self.failed(error, &tried).await),
        }
        match written {
            Ok(rows) => {
                self.late.extend(late);
                Ok(rows)
            }
            Err(error) => Err(self.failed(error, &tried).await),
        }
    }

    async fn query(&self, sql: &str, parameters: &Parameters) -> Result<Vec<Row>, tokio_postgres::Error> {
        let values: Vec<(&(dyn ToSql + Sync), Type)> = parameters.values();
        self.client().query_typed(sql, &values).await
    }

    /// Makes the error of a statement; a table that has changed meanwhile is described anew for the next attempt.
    async fn failed(&self, error: tokio_postgres::Error, tried: &Tried<'_>) -> WriteError {
        if matches!(error.code().map(|code| code.code()), Some("42703" | "42P01" | "42704")) {
            self.means.rows.forget(tried.entity);
            return WriteError::Again(Fault::new(Code::TryAgain, "the table has changed").with_source(error));
        }
        // Under a role that row security counts for, what it forbids is the caller's affair.
        if self.in_role && error.code().is_some_and(|code| code.code() == "42501") {
            return Refusal::new(Code::Forbidden, "the database's row security forbids it").into();
        }
        tried.refused(self.client(), error).await
    }

    /// Refuses a field that the table has not, unless it has it by now.
    async fn unknown(&self, entity: &EntityType, refusal: WriteError) -> WriteError {
        let WriteError::Refused(Refusal { code: Code::FieldUnknown, more, .. }) = &refusal else { return refusal };
        let named = more.get("field").and_then(|field| field.as_str()).unwrap_or_default().to_owned();
        self.means.rows.forget(entity);
        match self.table(entity).await {
            Ok(table) if entity.shows(&named) && table.column(&named).is_some() => {
                WriteError::Again(Fault::new(Code::TryAgain, "the table has changed"))
            }
            Ok(_) => refusal,
            Err(error) => error,
        }
    }

    /// Checks that a written row still belongs to the organisation.
    fn written(&self, reading: &Reading<'_>, row: &Row) -> Result<Written, WriteError> {
        let (held, org) = reading.held(row);
        if reading.entity.org_column().is_some() && org.as_deref() != Some(&self.author.org) {
            let detail = "the row would belong to another organisation, or to none";
            return Err(Refusal::new(Code::Constraint, detail).into());
        }
        Ok(Written::Row(Box::new(held)))
    }

    /// Tells what became of a row that a statement did not report.
    async fn unreported(&self, entity: &EntityType, entity_id: &str, locked: bool) -> Result<Written, WriteError> {
        let table = self.table(entity).await?;
        let reading = Reading::new(&table, entity);
        let mut parameters = Parameters::default();
        let Some(is) = reading.is(&self.author.org, entity_id, &mut parameters)? else {
            return Ok(Written::Suppressed);
        };
        let (columns, name) = (reading.columns()?, quote::qualified(&table.name)?);
        // A part of the transaction that catches errors has a younger number. Of a row under our lock, nobody else can
        // have written a younger version; of others, only our own number tells.
        let ours = if locked { "<=" } else { "=" };
        let sql = format!(
            "select {columns} from {name} t where {is} and pg_catalog.age(t.xmin) {ours} \
             pg_catalog.age(pg_catalog.pg_current_xact_id()::pg_catalog.xid)"
        );
        let rows = self.query(&sql, &parameters).await.map_err(refused)?;
        match rows.first() {
            Some(row) => self.written(&reading, row),
            None => Ok(Written::Suppressed),
        }
    }
}

/// What is said of a statement before it.
struct Said<'a> {
    table: &'a TableInfo,
    entity: &'a EntityType,
    key: &'a [String],
    /// The key of the row that is written, as far as it is known before.
    row: &'a [String],
    tx: &'a Tx,
    field: Option<&'a str>,
    deletes: bool,
}

#[async_trait]
impl WriteTransaction for Open {
    fn xid(&self) -> Xid {
        self.xid
    }

    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    async fn claim(&mut self, mutation: &Mutation, content_hash: &str) -> Result<Claim, WriteError> {
        self.act(false).await?;
        let client = self.client();
        let (id, org) = (mutation.transaction_id.as_str(), &self.author.org);
        let (entity_id, xid) = (mutation.entity_id.as_deref().unwrap_or(""), self.xid.to_string());
        let statement = client.prepare_cached(CLAIM).await.map_err(refused)?;
        let values: [&(dyn ToSql + Sync); 7] =
            [org, &id, &self.author.subject, &content_hash, &mutation.entity_type, &entity_id, &xid];
        match client.execute(&statement, &values).await {
            Ok(1) => return Ok(Claim::New),
            Ok(_) => {}
            // No partition holds ids of that day yet.
            Err(error) if error.code().is_some_and(|code| code.code() == "23514") => {
                let other = self.means.pool.get().await.map_err(crate::errors::pool)?;
                objects::ensure_partition(&other, mutation.transaction_id.wall_ms()).await?;
                return Err(WriteError::Again(crate::errors::sql(error)));
            }
            Err(error) => return Err(refused(error)),
        }
        let statement = client.prepare_cached(CLAIMED).await.map_err(refused)?;
        match client.query_opt(&statement, &[&id, org]).await.map_err(refused)? {
            Some(row) => Ok(Claim::Known {
                content_hash: row.get(0),
                entity_id: row.get(1),
                xid: row.get::<_, String>(2).parse().ok().map(Xid::new),
                next_xid: Xid::new(row.get::<_, String>(3).parse().unwrap_or_default()),
            }),
            // Dropped between the two statements: records that old are not accepted anyway.
            None => Err(WriteError::Again(Fault::new(Code::TryAgain, "a record went away meanwhile"))),
        }
    }

    async fn claimed(&mut self, mutation: &Mutation, entity_id: &str) -> Result<(), WriteError> {
        self.act(false).await?;
        let client = self.client();
        let statement = client.prepare_cached(NOTE).await.map_err(refused)?;
        let id = mutation.transaction_id.as_str();
        client.execute(&statement, &[&id, &self.author.org, &entity_id]).await.map(drop).map_err(refused)
    }

    async fn lock(&mut self, entity: &EntityType, entity_id: &str) -> Result<Option<HeldRow>, WriteError> {
        self.act(true).await?;
        self.find(entity, entity_id, " for update of t").await
    }

    async fn read(&mut self, entity: &EntityType, entity_id: &str) -> Result<Option<HeldRow>, WriteError> {
        self.act(true).await?;
        self.find(entity, entity_id, "").await
    }

    async fn create(&mut self, entity: &EntityType, mutation: &Mutation, tx: &Tx) -> Result<Written, WriteError> {
        self.act(true).await?;
        let table = self.table(entity).await?;
        let reading = Reading::new(&table, entity);
        let mut parameters = Parameters::default();
        let (names, values) = match reading.inserted(&self.author.org, mutation, &mut parameters) {
            Ok(parts) => parts,
            Err(refusal) => return Err(self.unknown(entity, refusal).await),
        };
        let (columns, name) = (reading.columns()?, quote::qualified(&table.name)?);
        let sql = format!("insert into {name} as t ({names}) values ({values}) returning {columns}");
        let key = mutation.entity_id.as_deref().and_then(|id| entity.key_values(id)).unwrap_or_default();
        let row = reading.given_key(mutation);
        let said = Said { table: &table, entity, key: &key, row: &row, tx, field: None, deletes: false };
        let rows = self.write(said, &sql, &parameters).await?;
        match (rows.first(), &mutation.entity_id) {
            (Some(row), _) => self.written(&reading, row),
            (None, Some(entity_id)) => self.unreported(entity, entity_id, false).await,
            (None, None) => Ok(Written::Suppressed),
        }
    }

    async fn update(
        &mut self,
        entity: &EntityType,
        held: &HeldRow,
        values: &[FieldWrite<'_>],
        tx: &Tx,
    ) -> Result<Written, WriteError> {
        self.act(true).await?;
        let table = self.table(entity).await?;
        let reading = Reading::new(&table, entity);
        let mut parameters = Parameters::default();
        let assignments = match reading.assignments(values, &mut parameters) {
            Ok(assignments) => assignments,
            Err(refusal) => return Err(self.unknown(entity, refusal).await),
        };
        let Some(is) = reading.is(&self.author.org, &held.entity_id, &mut parameters)? else {
            return Ok(Written::Suppressed);
        };
        let (columns, name) = (reading.columns()?, quote::qualified(&table.name)?);
        let sql = format!("update {name} as t set {assignments} where {is} returning {columns}");
        let key = entity.key_values(&held.entity_id).unwrap_or_default();
        let field = match values {
            [only] => Some(only.field()),
            _ => None,
        };
        let said = Said { table: &table, entity, key: &key, row: &key, tx, field, deletes: false };
        let rows = self.write(said, &sql, &parameters).await?;
        match rows.first() {
            Some(row) => self.written(&reading, row),
            None => self.unreported(entity, &held.entity_id, true).await,
        }
    }

    async fn delete(&mut self, entity: &EntityType, held: &HeldRow, tx: &Tx) -> Result<Written, WriteError> {
        self.act(true).await?;
        let table = self.table(entity).await?;
        let reading = Reading::new(&table, entity);
        let mut parameters = Parameters::default();
        let Some(is) = reading.is(&self.author.org, &held.entity_id, &mut parameters)? else {
            return Ok(Written::Suppressed);
        };
        let sql = format!("delete from {} as t where {is} returning 1", quote::qualified(&table.name)?);
        let key = entity.key_values(&held.entity_id).unwrap_or_default();
        let said = Said { table: &table, entity, key: &key, row: &key, tx, field: None, deletes: true };
        let rows = self.write(said, &sql, &parameters).await?;
        match rows.is_empty() {
            false => Ok(Written::Gone),
            true => self.unreported(entity, &held.entity_id, true).await,
        }
    }

    async fn commit(mut self: Box<Self>) -> Result<(), WriteError> {
        for references in &self.late {
            if let Some(column) = references.check(self.client()).await.map_err(refused)? {
                return Err(references.refusal(self.client(), column).await);
            }
        }
        match self.client().batch_execute(COMMIT).await {
            Ok(()) => {
                // Nothing is left to be rolled back.
                drop(self.client.take());
                Ok(())
            }
            Err(error) => Err(refused_commit(error)),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        // The connection goes back to the pool only when nothing is open on it.
        drop(antiphon_engine::spawn("rollback", async move {
            if let Err(error) = client.batch_execute("rollback").await {
                tracing::debug!(%error, "a transaction could not be rolled back; its connection is dropped");
                drop(Object::take(client));
            }
        }));
    }
}
