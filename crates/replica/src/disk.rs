//! The store of a replica: one SQLite file, one process at a time (CORE-11, CORE-17, CORE-18).
//!
//! Laws: a save is one transaction and durable when it returns; the fence is checked inside it; nothing is written before
//! the file is known to be whole, of a format that this version writes, of this place, and no copy of another. It refuses
//! to repair: what cannot be used is left as it is, so that its outbox can be exported.

mod pages;
mod records;
mod salvage;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Write as _},
    path::{Path, PathBuf},
};

use antiphon_engine::Fault;
use antiphon_model::Code;
use antiphon_sync::client::{Loaded, Record, Write};
use rusqlite::{Connection, ErrorCode, OpenFlags};

pub use self::salvage::{Salvaged, salvage};
use crate::{Place, home::home};

/// The layout that this version writes.
const LAYOUT: u32 = 1;
/// What the file calls itself: the letters `ANTP`.
const APPLICATION_ID: u32 = 0x414e_5450;
/// Most entries fit on one page of this size, so that a broken one takes few with it.
const PAGE_BYTES: u32 = 16_384;

const TABLES: &str = "
create table entries (key text primary key, json text not null);
create table place (
    one integer primary key check (one = 1), application text not null, server text not null, username text not null,
    org text not null, home text not null, fence integer not null
);
create table records (name text primary key, json text not null);
create table rows (
    entity_type text not null, generation integer not null, entity_id text not null, json text not null,
    primary key (entity_type, generation, entity_id)
) without rowid;
";

/// Why a save did not happen; the store is as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSaved {
    /// There is no room.
    Full,
    /// Another instance has taken the store over.
    Fenced,
    /// Anything else, in the words of the storage.
    Other(String),
}

impl NotSaved {
    /// Returns the word that the machine knows it by.
    pub fn reason(&self) -> &str {
        match self {
            NotSaved::Full => "full",
            NotSaved::Fenced => "fenced",
            NotSaved::Other(reason) => reason,
        }
    }
}

/// An open store.
#[derive(Debug)]
pub struct Disk {
    connection: Connection,
    path: PathBuf,
    fence: u64,
    /// Held as long as the store is open.
    _lock: File,
}

impl Disk {
    /// Opens a store, or makes it; `adopt` takes over a copy of another one.
    ///
    /// # Errors
    /// `REPLICA_IN_USE`, `REPLICA_DAMAGED`, `REPLICA_NEWER`, `REPLICA_FOREIGN`, `REPLICA_COPIED`, or what the file system says.
    pub fn open(path: &Path, place: &Place, adopt: bool) -> Result<(Disk, Loaded), Fault> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| cannot(path, error))?;
        }
        let lock = hold(path)?;
        private(path)?;
        let size_bytes = size_bytes(path)?;
        let mut connection = Connection::open_with_flags(path, flags()).map_err(|error| fault(path, error))?;
        let told = |error| fault(path, error);
        // A file that is shorter than a page is broken, unless it is empty.
        if size_bytes == 0 && page_count(&connection).map_err(told)? == 0 {
            create(&mut connection, path, place).map_err(told)?;
        }
        recognise(&connection, path)?;
        check_place(&connection, path, place, adopt)?;
        // Only now is anything written.
        connection.pragma_update(None, "journal_mode", "wal").map_err(told)?;
        connection.pragma_update(None, "synchronous", "full").map_err(told)?;
        // What was taken back must not be found among the pages of a broken file.
        connection.pragma_update(None, "secure_delete", true).map_err(told)?;
        let fence = records::take_over(&mut connection, &home(path)).map_err(told)?;
        let loaded = records::load(&connection).map_err(told)?;
        Ok((Disk { connection, path: path.to_owned(), fence, _lock: lock }, loaded))
    }

    /// Returns what a save of this instance must find in the store.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all or nothing; durable when it returns.
    ///
    /// # Errors
    /// Nothing was written, and the reason says why.
    pub fn save(&mut self, fence: Option<u64>, writes: &[Write]) -> Result<(), NotSaved> {
        records::save(&mut self.connection, fence, writes, None)
    }

    /// Writes all or nothing, and with it what can be undone.
    ///
    /// # Errors
    /// Nothing was written, and the reason says why.
    pub fn save_with(&mut self, fence: Option<u64>, writes: &[Write], undo: Option<&str>) -> Result<(), NotSaved> {
        records::save(&mut self.connection, fence, writes, undo)
    }

    /// Returns everything that is in it, or the edits of the outbox alone.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn records(&self, all: bool) -> Result<Vec<(Record, String)>, Fault> {
        let loaded = records::load(&self.connection).map_err(|error| fault(&self.path, error))?;
        let wanted = |record: &Record| all || matches!(record, Record::Entry(_));
        Ok(loaded.records.into_iter().filter(|(record, _)| wanted(record)).collect())
    }

    /// Returns what could be undone when it was last saved.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn undo(&self) -> Result<Option<String>, Fault> {
        records::undo(&self.connection).map_err(|error| fault(&self.path, error))
    }
}

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Holds the store for this process; the operating system lets go of it however the process ends.
pub(crate) fn hold(path: &Path) -> Result<File, Fault> {
    let name = beside(path, ".lock");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&name);
    let mut file = opened.map_err(|error| cannot(&name, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Whoever holds it may just be writing its number; without it the message is shorter.
            file.take(20).read_to_string(&mut holder).unwrap_or_default();
            let detail = match holder.trim() {
                "" => format!("{}", path.display()),
                pid => format!("{}, by process {pid}", path.display()),
            };
            return Err(Fault::new(Code::ReplicaInUse, detail));
        }
        Err(TryLockError::Error(error)) => return Err(cannot(&name, error)),
    }
    let told = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    told.map_err(|error| cannot(&name, error))?;
    Ok(file)
}

/// What a person typed is nobody else's to read.
#[cfg(unix)]
fn private(path: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::OpenOptionsExt;
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map(drop).map_err(|error| cannot(path, error))
}

#[cfg(not(unix))]
fn private(_: &Path) -> Result<(), Fault> {
    Ok(())
}

/// Returns the size of the file, unless it was cut off.
fn size_bytes(path: &Path) -> Result<u64, Fault> {
    let size_bytes = std::fs::metadata(path).map_err(|error| cannot(path, error))?.len();
    // While a log stands beside it, the file may be anything up to whole: the log makes it so.
    let logged = std::fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    if !size_bytes.is_multiple_of(PAGE_BYTES.into()) && !logged {
        return Err(Fault::new(Code::ReplicaDamaged, format!("{} does not end with a whole page", path.display())));
    }
    Ok(size_bytes)
}

fn page_count(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "page_count", |row| row.get(0))
}

/// Makes the tables in one transaction, so that a file is empty or whole.
fn create(connection: &mut Connection, path: &Path, place: &Place) -> rusqlite::Result<()> {
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.execute(
        "insert into place values (1, ?1, ?2, ?3, ?4, ?5, 0)",
        (&place.application, &place.server, &place.user, &place.org, home(path)),
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", LAYOUT)?;
    transaction.commit()
}

/// Tells whether the file is a whole replica of a known format, without writing.
fn recognise(connection: &Connection, path: &Path) -> Result<(), Fault> {
    let told = |error| fault(path, error);
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0)).map_err(told);
    if number("application_id")? != APPLICATION_ID {
        return Err(Fault::new(Code::ReplicaDamaged, format!("{} is not a replica", path.display())));
    }
    let layout = number("user_version")?;
    if layout > LAYOUT {
        let detail = format!("{} has format {layout}, and this version writes {LAYOUT}", path.display());
        return Err(Fault::new(Code::ReplicaNewer, detail));
    }
    let verdict: String = connection.query_row("pragma quick_check(1)", (), |row| row.get(0)).map_err(told)?;
    match verdict.as_str() {
        "ok" => Ok(()),
        found => Err(Fault::new(Code::ReplicaDamaged, format!("{}: {found}", path.display()))),
    }
}

fn check_place(connection: &Connection, path: &Path, place: &Place, adopt: bool) -> Result<(), Fault> {
    let (made_for, was) = records::place(connection).map_err(|error| fault(path, error))?;
    if made_for != *place {
        let detail =
            format!("{} is the replica of {}, not of {}", path.display(), made_for.describe(), place.describe());
        return Err(Fault::new(Code::ReplicaForeign, detail));
    }
    if was != home(path) && !adopt {
        return Err(Fault::new(Code::ReplicaCopied, format!("{}", path.display())));
    }
    Ok(())
}

/// Returns the name of a file that goes with another.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Says what the file system said.
pub(crate) fn cannot(path: &Path, error: std::io::Error) -> Fault {
    let code = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Code::DiskFull,
        std::io::ErrorKind::NotFound => Code::NotFound,
        std::io::ErrorKind::PermissionDenied => Code::Permission,
        _ => Code::Internal,
    };
    Fault::new(code, format!("{}: {error}", path.display())).with_source(error)
}

fn fault(path: &Path, error: rusqlite::Error) -> Fault {
    let code = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Code::DiskFull,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Code::ReplicaInUse,
        // Missing tables and wrong types are damage too: this file calls itself a replica.
        _ => Code::ReplicaDamaged,
    };
    Fault::new(code, format!("{}: {error}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests;
