//! Records of the machine as rows of SQLite, and back.
//!
//! Laws: entries of the outbox have a table of their own, so that damage elsewhere does not touch them; a kind of record
//! that this room does not know is kept under its name, as the machine writes it. It refuses a save under an old fence.

use antiphon_sync::client::{Loaded, Record, Write};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};

use super::NotSaved;
use crate::Place;

/// What can be undone is no record of the machine: it has a name of its own among them.
const UNDO: &str = "undo";

/// Returns whose store it is, and which file it was.
pub(super) fn place(connection: &Connection) -> rusqlite::Result<(Place, String)> {
    connection.query_row("select application, server, username, org, home from place", (), |row| {
        let place = Place { application: row.get(0)?, server: row.get(1)?, user: row.get(2)?, org: row.get(3)? };
        Ok((place, row.get(4)?))
    })
}

/// Takes the store over: whoever had it before cannot save any more.
pub(super) fn take_over(connection: &mut Connection, home: &str) -> rusqlite::Result<u64> {
    let sql = "update place set fence = fence + 1, home = ?1 returning fence";
    connection.query_row(sql, [home], |row| row.get(0).map(i64::cast_unsigned))
}

/// Reads everything.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Loaded> {
    let mut records = Vec::new();
    let mut entries = connection.prepare("select key, json from entries order by key")?;
    let read = entries.query_map((), |row| Ok((Record::Entry(row.get(0)?), row.get(1)?)))?;
    records.extend(read.collect::<rusqlite::Result<Vec<_>>>()?);
    let mut named = connection.prepare("select name, json from records order by name")?;
    let read = named.query_map((), |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    for pair in read {
        let (name, json) = pair?;
        // What a newer version calls a record is no record of this one.
        if let Ok(record) = serde_json::from_str::<Record>(&name) {
            records.push((record, json));
        }
    }
    let mut rows = connection.prepare("select generation, entity_type, entity_id, json from rows")?;
    let read = rows.query_map((), |row| {
        let record = Record::Row { generation: row.get(0)?, entity_type: row.get(1)?, entity_id: row.get(2)? };
        Ok((record, row.get(3)?))
    })?;
    records.extend(read.collect::<rusqlite::Result<Vec<_>>>()?);
    Ok(Loaded { records })
}

/// Returns what can be undone.
pub(super) fn undo(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.query_row("select json from records where name = ?1", [UNDO], |row| row.get(0)).optional()
}

/// Writes all or nothing.
pub(super) fn save(
    connection: &mut Connection,
    fence: Option<u64>,
    writes: &[Write],
    undo: Option<&str>,
) -> Result<(), NotSaved> {
    // Whoever only reads does not stand in the way; whoever writes waits for nobody.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(not_saved)?;
    let held: i64 = transaction.query_row("select fence from place", (), |row| row.get(0)).map_err(not_saved)?;
    if fence.is_some_and(|fence| fence != held.cast_unsigned()) {
        return Err(NotSaved::Fenced);
    }
    writes.iter().try_for_each(|write| apply(&transaction, write)).map_err(not_saved)?;
    if let Some(undo) = undo {
        let sql = "insert or replace into records (name, json) values (?1, ?2)";
        transaction.execute(sql, (UNDO, undo)).map_err(not_saved)?;
    }
    transaction.commit().map_err(not_saved)
}

fn apply(transaction: &Transaction<'_>, write: &Write) -> rusqlite::Result<()> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| transaction.prepare_cached(sql)?.execute(values).map(drop);
    match write {
        Write::Put(Record::Entry(key), json) => {
            run("insert or replace into entries (key, json) values (?1, ?2)", &[key, json])
        }
        Write::Remove(Record::Entry(key)) => run("delete from entries where key = ?1", &[key]),
        Write::Put(Record::Row { generation, entity_type, entity_id }, json) => run(
            "insert or replace into rows (entity_type, generation, entity_id, json) values (?1, ?2, ?3, ?4)",
            &[entity_type, generation, entity_id, json],
        ),
        Write::Remove(Record::Row { generation, entity_type, entity_id }) => run(
            "delete from rows where entity_type = ?1 and generation = ?2 and entity_id = ?3",
            &[entity_type, generation, entity_id],
        ),
        Write::Put(record, json) => {
            run("insert or replace into records (name, json) values (?1, ?2)", &[&name(record), json])
        }
        Write::Remove(record) => run("delete from records where name = ?1", &[&name(record)]),
        Write::Clear { entity_type, generation } => {
            run("delete from rows where entity_type = ?1 and generation = ?2", &[entity_type, generation])
        }
    }
}

fn name(record: &Record) -> String {
    // Records are made of texts and numbers: they cannot fail to be written.
    serde_json::to_string(record).unwrap_or_default()
}

fn not_saved(error: rusqlite::Error) -> NotSaved {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => NotSaved::Full,
        _ => NotSaved::Other(error.to_string()),
    }
}
