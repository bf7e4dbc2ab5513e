//! The port through which the mutation service writes: records, locks, messages, stamped rows.
//!
//! As the adapter for Postgres does it, statement by statement: a message with the author right before each write, the
//! record under the transaction's number, waiting for whoever holds the same id or row. Law: dropped, it is rolled back.

use antiphon_engine::{
    Authorship, Fault, MESSAGE_PREFIX,
    ports::{Author, Claim, FieldWrite, HeldRow, Refusal, WriteError, WriteTransaction, Writes, Written},
    seal,
};
use antiphon_model::{Change, ChangedRow, Code, EntityType, Mutation, OldRow, ReplicaIdentity, Tx, Xid};
use async_trait::async_trait;
use serde_json::Value;

use super::{
    Database,
    stamp::{self, Said},
    state::{Edit, LockKey, Record},
    table::{Row, Table},
};

/// An open transaction of the door.
struct DoorTransaction {
    database: Database,
    author: Author,
    life: u64,
    xid: u64,
    now_ms: u64,
    over: bool,
}

#[async_trait]
impl Writes for Database {
    async fn begin(&self, author: &Author) -> Result<Box<dyn WriteTransaction>, WriteError> {
        let life = self.session().await?;
        let xid = self.alive(life)?.begin();
        let now_ms = self.clock().now_ms();
        let (database, author) = (self.clone(), author.clone());
        Ok(Box::new(DoorTransaction { database, author, life, xid, now_ms, over: false }))
    }
}

impl Drop for DoorTransaction {
    fn drop(&mut self) {
        if !self.over {
            self.database.abandon(self.life, self.xid);
        }
    }
}

impl DoorTransaction {
    fn table(&self, entity: &EntityType) -> Result<(usize, std::sync::Arc<Table>), WriteError> {
        let unknown = || WriteError::Fault(Fault::new(Code::TableUnfit, entity.name.clone()));
        self.database.table(&entity.name).ok_or_else(unknown)
    }

    async fn take(&self, key: LockKey) -> Result<(), WriteError> {
        match self.database.lock(self.life, self.xid, key).await {
            Ok(()) => Ok(()),
            Err(fault) if fault.code() == Code::TryAgain => Err(WriteError::Again(fault)),
            Err(fault) => Err(WriteError::Fault(fault)),
        }
    }

    /// Returns the newest row of the organisation.
    fn find(&self, entity: &EntityType, entity_id: &str) -> Result<Option<Row>, WriteError> {
        let (index, _) = self.table(entity)?;
        let state = self.database.alive(self.life)?;
        let row = state.newest(index, entity_id, self.xid).filter(|row| row[1].as_ref() == Some(&self.author.org));
        Ok(row.cloned())
    }

    /// Says who writes what follows, and tells whether the mutation's own row was not stamped before.
    fn say(&self, tx: &Tx) -> Result<bool, WriteError> {
        let authorship = Authorship { org: self.author.org.clone(), tx: tx.clone() };
        let content = seal(&self.database.shared.seal_key, Xid::new(self.xid), Some(&authorship));
        let mut state = self.database.alive(self.life)?;
        let gone = || WriteError::Fault(super::unreachable_fault());
        let open = state.open.get_mut(&self.xid).ok_or_else(gone)?;
        open.changes.push(Change::Message { prefix: MESSAGE_PREFIX.as_bytes().into(), content: content.into() });
        Ok(open.stamped.replace(tx.transaction_id.clone()).as_ref() != Some(&tx.transaction_id))
    }

    /// Writes a row and what the log says of it.
    fn put(
        &self,
        table: (usize, &Table),
        rows: (Option<Row>, Option<Row>),
        edits: Vec<Edit>,
    ) -> Result<(), WriteError> {
        let ((index, table), (old, new)) = (table, rows);
        let id = new.as_ref().or(old.as_ref()).and_then(|row| row[0].clone()).unwrap_or_default();
        let mut state = self.database.alive(self.life)?;
        state.write(index, &id, self.xid, new.clone());
        if let Some(open) = state.open.get_mut(&self.xid) {
            open.changes.extend(change(table, old.as_ref(), new.as_ref()));
            open.edits.extend(edits);
        }
        Ok(())
    }

    /// Notes what a statement did in the name of its mutations.
    fn edit(&self, entity: &EntityType, entity_id: &str, id: &str, of: (Option<&str>, Option<String>)) -> Edit {
        let (field, was) = of;
        let known = self.database.alive(self.life).ok().and_then(|state| {
            let claimed = &state.open.get(&self.xid)?.claimed;
            claimed.get(id).map(|mutation| (mutation.expected.clone(), mutation.operation.is_some()))
        });
        let (expected, operation) = known.unwrap_or_default();
        Edit {
            org: self.author.org.clone(),
            entity_type: entity.name.clone(),
            entity_id: entity_id.to_owned(),
            transaction_id: Some(id.to_owned()),
            field: field.map(str::to_owned),
            expected,
            was,
            before: None,
            operation,
        }
    }
}

#[async_trait]
impl WriteTransaction for DoorTransaction {
    fn xid(&self) -> Xid {
        Xid::new(self.xid)
    }

    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    async fn claim(&mut self, mutation: &Mutation, content_hash: &str) -> Result<Claim, WriteError> {
        self.database.pause().await;
        let key = (self.author.org.clone(), mutation.transaction_id.as_str().to_owned());
        self.take(LockKey::Record(key.0.clone(), key.1.clone())).await?;
        let mut state = self.database.alive(self.life)?;
        if let Some(record) = state.records.get(&key).filter(|_| self.database.shared.manners.records) {
            let Record { xid, content_hash, entity_id } = record.clone();
            let next_xid = Xid::new(state.next_xid);
            return Ok(Claim::Known { content_hash, entity_id, xid: Some(Xid::new(xid)), next_xid });
        }
        let entity_id = mutation.entity_id.clone().unwrap_or_default();
        state.record(key.clone(), Record { xid: self.xid, content_hash: content_hash.to_owned(), entity_id });
        if let Some(open) = state.open.get_mut(&self.xid) {
            open.claimed.insert(key.1, mutation.clone());
        }
        Ok(Claim::New)
    }

    async fn claimed(&mut self, mutation: &Mutation, entity_id: &str) -> Result<(), WriteError> {
        self.database.pause().await;
        let key = (self.author.org.clone(), mutation.transaction_id.as_str().to_owned());
        if let Some(record) = self.database.alive(self.life)?.records.get_mut(&key) {
            entity_id.clone_into(&mut record.entity_id);
        }
        Ok(())
    }

    async fn lock(&mut self, entity: &EntityType, entity_id: &str) -> Result<Option<HeldRow>, WriteError> {
        self.database.pause().await;
        let (index, table) = self.table(entity)?;
        if self.database.shared.manners.locks {
            self.take(LockKey::Row(index, entity_id.to_owned())).await?;
        }
        Ok(self.find(entity, entity_id)?.map(|row| table.held(&row)))
    }

    async fn read(&mut self, entity: &EntityType, entity_id: &str) -> Result<Option<HeldRow>, WriteError> {
        self.database.pause().await;
        let (_, table) = self.table(entity)?;
        Ok(self.find(entity, entity_id)?.map(|row| table.held(&row)))
    }

    async fn create(&mut self, entity: &EntityType, mutation: &Mutation, tx: &Tx) -> Result<Written, WriteError> {
        self.database.pause().await;
        let (index, table) = self.table(entity)?;
        // The database makes the key where the caller names none.
        let made = || format!("made-{}-{}", self.xid, mutation.transaction_id);
        let id = mutation.entity_id.clone().unwrap_or_else(made);
        self.take(LockKey::Row(index, id.clone())).await?;
        if self.database.alive(self.life)?.newest(index, &id, self.xid).is_some() {
            return Err(Refusal::new(Code::AlreadyExists, "").into());
        }
        let mut row = table.empty(&id, &self.author.org);
        for (name, value) in &mutation.data {
            if !matches!(name.as_str(), "id" | "org") {
                let column = writable(&table, name)?;
                row[column] = value_text(&table, column, value, mutation.json_null)?;
            }
        }
        self.say(tx)?;
        stamp::inserted(&table, &mut row, Said::Mutation { tx, target: true });
        let edit = self.edit(entity, &id, &tx.transaction_id, (None, None));
        self.put((index, &table), (None, Some(row.clone())), vec![edit])?;
        Ok(Written::Row(Box::new(table.held(&row))))
    }

    async fn update(
        &mut self,
        entity: &EntityType,
        held: &HeldRow,
        values: &[FieldWrite<'_>],
        tx: &Tx,
    ) -> Result<Written, WriteError> {
        self.database.pause().await;
        let (index, table) = self.table(entity)?;
        // The statement's own lock: it waits for whoever writes the row, and goes on from what that one left.
        self.take(LockKey::Row(index, held.entity_id.clone())).await?;
        let Some(old) = self.find(entity, &held.entity_id)? else { return Ok(Written::Suppressed) };
        let stamps = table.tx_of(&old).unwrap_or_default();
        let (mut new, mut edits) = (old.clone(), Vec::new());
        for write in values {
            let column = writable(&table, write.field())?;
            new[column] = match write {
                FieldWrite::Set { value, json_null, .. } => value_text(&table, column, value, *json_null)?,
                FieldWrite::Add { value, .. } => Some(sum(old[column].as_deref(), value, write.field())?),
            };
            let id = tx.fields.get(write.field()).unwrap_or(&tx.transaction_id);
            let was = stamps.field_id(write.field()).map(str::to_owned);
            edits.push(self.edit(entity, &held.entity_id, id, (Some(write.field()), was)));
        }
        let target = self.say(tx)?;
        stamp::updated(&table, &old, &mut new, Said::Mutation { tx, target });
        self.put((index, &table), (Some(old), Some(new.clone())), edits)?;
        Ok(Written::Row(Box::new(table.held(&new))))
    }

    async fn delete(&mut self, entity: &EntityType, held: &HeldRow, tx: &Tx) -> Result<Written, WriteError> {
        self.database.pause().await;
        let (index, table) = self.table(entity)?;
        self.take(LockKey::Row(index, held.entity_id.clone())).await?;
        let Some(old) = self.find(entity, &held.entity_id)? else { return Ok(Written::Suppressed) };
        let was = table.tx_of(&old).map(|tx| tx.transaction_id);
        let mut edit = self.edit(entity, &held.entity_id, &tx.transaction_id, (None, was));
        let before = self.database.alive(self.life)?.before(index, &held.entity_id, self.xid).cloned();
        edit.before = before.and_then(|row| table.tx_of(&row)).map(|tx| tx.transaction_id);
        self.say(tx)?;
        self.put((index, &table), (Some(old), None), vec![edit])?;
        Ok(Written::Gone)
    }

    async fn commit(mut self: Box<Self>) -> Result<(), WriteError> {
        self.over = true;
        self.database.commit(self.life, self.xid).await.map(drop).map_err(WriteError::Fault)
    }
}

/// Returns what the log says of a row that was written.
pub(super) fn change(table: &Table, old: Option<&Row>, new: Option<&Row>) -> Option<Change> {
    let relation = std::sync::Arc::clone(&table.relation);
    let tuple = |row: &Row| match table.relation.identity {
        ReplicaIdentity::Full => OldRow::Full(table.tuple(row)),
        _ => OldRow::Identity(table.identity(row)),
    };
    Some(match (old, new) {
        (None, Some(new)) => Change::Insert(ChangedRow { relation, old: OldRow::Absent, new: Some(table.tuple(new)) }),
        (Some(old), Some(new)) => {
            // Without FULL an old row is written only where the identity changed.
            let same = table.relation.identity != ReplicaIdentity::Full && old[..2] == new[..2];
            let old = if same { OldRow::Absent } else { tuple(old) };
            Change::Update(ChangedRow { relation, old, new: Some(table.tuple(new)) })
        }
        (Some(old), None) => Change::Delete(ChangedRow { relation, old: tuple(old), new: None }),
        (None, None) => return None,
    })
}

fn writable(table: &Table, field: &str) -> Result<usize, WriteError> {
    let known = table.column(field).filter(|_| table.entity.shows(field));
    known.ok_or_else(|| Refusal::new(Code::FieldUnknown, "the type has no such field").with("field", field).into())
}

fn value_text(table: &Table, column: usize, value: &Value, json_null: bool) -> Result<Option<String>, WriteError> {
    let column = &table.relation.columns[column];
    let refused = |error: antiphon_wire::ValueError| {
        Refusal::new(Code::FieldType, error.to_string()).with("field", column.name.clone())
    };
    antiphon_wire::parse_value(&column.ty, value, json_null).map_err(|error| refused(error).into())
}

fn sum(present: Option<&str>, value: &Value, field: &str) -> Result<String, WriteError> {
    let refused = || Refusal::new(Code::FieldType, "a number is wanted").with("field", field);
    let present: i32 = present.unwrap_or("0").parse().map_err(|_| refused())?;
    let added = value.as_i64().and_then(|value| i32::try_from(value).ok()).ok_or_else(refused)?;
    present.checked_add(added).map(|sum| sum.to_string()).ok_or_else(|| refused().into())
}
