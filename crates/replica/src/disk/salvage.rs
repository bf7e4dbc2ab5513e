//! What can still be read of an outbox whose file cannot be used.
//!
//! Laws: the file is only read, and a copy of it is worked on; each entry that can be read counts, whatever is broken
//! around it: first by SQLite's own means, and where they fail page by page.

use std::{collections::BTreeMap, path::Path};

use antiphon_engine::Fault;
use antiphon_sync::client::Entry;
use rusqlite::{Connection, OpenFlags};

use super::{PAGE_BYTES, beside, cannot, pages, records};
use crate::Place;

/// What could be read.
#[derive(Debug, Default)]
pub struct Salvaged {
    /// Whose it is, where that could be read.
    pub place: Option<Place>,
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// Entries whose JSON could not be understood, as they are.
    pub unreadable: Vec<String>,
    /// Whether something broke while it was read, so that entries may be missing.
    pub partial: bool,
}

/// Reads the outbox of a file in whatever state it is; `folder` is where a copy may lie meanwhile.
///
/// # Errors
/// The file, or the copy, cannot be read or written.
pub fn salvage(path: &Path, folder: &Path) -> Result<Salvaged, Fault> {
    let copy = folder.join(format!("antiphon-salvage-{}", std::process::id()));
    let done = work_on(path, &copy);
    for file in [copy.clone(), beside(&copy, "-wal"), beside(&copy, "-shm"), beside(&copy, "-journal")] {
        // Those that never were need no removal, and the folder is a temporary one.
        std::fs::remove_file(file).unwrap_or_default();
    }
    done
}

fn work_on(path: &Path, copy: &Path) -> Result<Salvaged, Fault> {
    let file = std::fs::read(path).map_err(|error| cannot(path, error))?;
    std::fs::write(copy, &file).map_err(|error| cannot(copy, error))?;
    let log_path = beside(path, "-wal");
    let log = match std::fs::read(&log_path) {
        Ok(log) => log,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(cannot(&log_path, error)),
    };
    if !log.is_empty() {
        std::fs::write(beside(copy, "-wal"), &log).map_err(|error| cannot(copy, error))?;
    }
    let mut found = Salvaged::default();
    let mut texts = BTreeMap::new();
    let cut = log.is_empty() && !file.len().is_multiple_of(PAGE_BYTES as usize);
    found.partial = read(copy, &mut found.place, &mut texts).is_err() || cut;
    if found.partial {
        // What SQLite itself read is the better copy; an entry that cannot be read counts only from there.
        for (number, (key, json)) in pages::rows(&file, &log) {
            if serde_json::from_str::<Entry>(&json).is_ok_and(|entry| entry.key == key) {
                texts.entry(number).or_insert(json);
            }
        }
    }
    for text in texts.into_values() {
        match serde_json::from_str::<Entry>(&text) {
            Ok(entry) => found.entries.push(entry),
            Err(_) => found.unreadable.push(text),
        }
    }
    found.entries.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

fn read(path: &Path, place: &mut Option<Place>, texts: &mut BTreeMap<i64, String>) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    *place = records::place(&connection).ok().map(|(place, _)| place);
    let verdict: String = connection.query_row("pragma quick_check(1)", (), |row| row.get(0))?;
    let mut statement = connection.prepare("select rowid, json from entries order by rowid")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        // Bytes that are no text any more are shown as far as they are.
        let bytes = row.get_ref(1)?.as_bytes_or_null().ok().flatten().unwrap_or_default();
        texts.insert(row.get(0)?, String::from_utf8_lossy(bytes).into_owned());
    }
    if verdict == "ok" { Ok(()) } else { Err(rusqlite::Error::InvalidQuery) }
}
