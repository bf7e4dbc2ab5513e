//! Plain SQL: somebody else who writes the tables, in transactions of several statements that stay open (SIM-01).
//!
//! Law: nothing is said of the author, so the stamp makes ids of its own; a row is locked by the statement that writes it.

use std::fmt;

use super::{
    Database, door,
    stamp::{self, Said},
    state::{Edit, LockKey},
};

/// Why a statement failed; the transaction is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqlError;

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the statement failed, and its transaction is over")
    }
}

impl std::error::Error for SqlError {}

/// An open transaction of plain SQL; dropped, it is rolled back.
pub struct Sql {
    database: Database,
    life: u64,
    xid: u64,
    over: bool,
}

impl Drop for Sql {
    fn drop(&mut self) {
        if !self.over {
            self.database.abandon(self.life, self.xid);
        }
    }
}

impl Database {
    /// Begins a transaction of plain SQL.
    ///
    /// # Errors
    /// Fails where the database is down.
    pub async fn begin_sql(&self) -> Result<Sql, SqlError> {
        let life = self.session().await.map_err(|_| SqlError)?;
        let xid = self.alive(life).map_err(|_| SqlError)?.begin();
        Ok(Sql { database: self.clone(), life, xid, over: false })
    }
}

impl Sql {
    /// Returns the transaction's number.
    pub fn xid(&self) -> u64 {
        self.xid
    }

    /// Inserts a row where there is none, else changes these columns of it; a column `org` moves it.
    ///
    /// # Errors
    /// Fails where the database does, or where others are in the way for too long.
    pub async fn put(&mut self, entity_type: &str, id: &str, values: &[(&str, Option<&str>)]) -> Result<(), SqlError> {
        self.write(entity_type, id, Some(values)).await
    }

    /// Deletes a row, if there is one.
    ///
    /// # Errors
    /// As `put`.
    pub async fn delete(&mut self, entity_type: &str, id: &str) -> Result<(), SqlError> {
        self.write(entity_type, id, None).await
    }

    /// Commits; returns once readers see it.
    ///
    /// # Errors
    /// Fails where the database went down; the transaction may have been committed all the same.
    pub async fn commit(mut self) -> Result<(), SqlError> {
        self.over = true;
        self.database.commit(self.life, self.xid).await.map(drop).map_err(|_| SqlError)
    }

    async fn write(
        &mut self,
        entity_type: &str,
        id: &str,
        values: Option<&[(&str, Option<&str>)]>,
    ) -> Result<(), SqlError> {
        self.database.pause().await;
        let (index, table) = self.database.table(entity_type).ok_or(SqlError)?;
        let key = LockKey::Row(index, id.to_owned());
        self.database.lock(self.life, self.xid, key).await.map_err(|_| SqlError)?;
        let said = Said::Nothing { now_ms: self.database.clock().now_ms(), xid: self.xid };
        let mut state = self.database.alive(self.life).map_err(|_| SqlError)?;
        let old = state.newest(index, id, self.xid).cloned();
        let new = values.map(|values| {
            let mut row = old.clone().unwrap_or_else(|| table.empty(id, "acme"));
            for (name, value) in values {
                if let Some(column) = table.column(name) {
                    row[column] = value.map(str::to_owned);
                }
            }
            match &old {
                Some(old) => stamp::updated(&table, old, &mut row, said),
                None => stamp::inserted(&table, &mut row, said),
            }
            row
        });
        let Some(org) = new.as_ref().or(old.as_ref()).and_then(|row| row[1].clone()) else { return Ok(()) };
        let edit = Edit {
            org,
            entity_type: entity_type.to_owned(),
            entity_id: id.to_owned(),
            transaction_id: None,
            field: None,
            expected: None,
            was: None,
            before: None,
            operation: false,
        };
        state.write(index, id, self.xid, new.clone());
        if let Some(open) = state.open.get_mut(&self.xid) {
            open.changes.extend(door::change(&table, old.as_ref(), new.as_ref()));
            open.edits.push(edit);
        }
        Ok(())
    }
}
