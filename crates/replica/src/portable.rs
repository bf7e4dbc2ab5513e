//! An outbox as a file: out of a replica in whatever state, and into another of the same place.
//!
//! Laws: entries keep their ids, so what was applied already is not applied twice; what is in the replica already stays as
//! it is there; a file is taken as a whole or not at all, and only for the user that it is of (CORE-18).

use std::path::Path;

use antiphon_engine::Fault;
use antiphon_model::Code;
use antiphon_sync::client::{Entry, Record, Write};
use serde::{Deserialize, Serialize};

use crate::{
    Config, Place,
    disk::{Disk, hold, salvage},
};

/// The version of the file's format.
const FORMAT: u32 = 1;

/// An outbox outside of its replica.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    /// The version of the format.
    pub format: u32,
    /// Whose it is.
    pub place: Place,
    /// The edits, in order.
    pub entries: Vec<Entry>,
    /// Edits that could not be understood, as they were found.
    #[serde(default)]
    pub unreadable: Vec<String>,
    /// Whether more edits may have been in the replica than could be read.
    #[serde(default)]
    pub partial: bool,
}

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Edits that were taken over.
    pub taken: usize,
    /// Edits that were there already.
    pub known: usize,
}

impl Exported {
    /// Reads the outbox of a replica, broken, newer or copied as it may be; `folder` is where a copy lies meanwhile.
    ///
    /// # Errors
    /// The replica is open elsewhere, is of another place, or its file cannot be read at all.
    pub fn read(config: &Config, folder: &Path) -> Result<Exported, Fault> {
        if !config.file.exists() {
            return Err(Fault::new(Code::NotFound, format!("there is no replica {}", config.file.display())));
        }
        let _held = hold(&config.file)?;
        let found = salvage(&config.file, folder)?;
        let place = found.place.unwrap_or_else(|| config.place.clone());
        of_place(&place, &config.place)?;
        let (entries, unreadable, partial) = (found.entries, found.unreadable, found.partial);
        Ok(Exported { format: FORMAT, place, entries, unreadable, partial })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// `OUTBOX_FILE_INVALID`, or `REPLICA_NEWER` for a format of a later version.
    pub fn parse(text: &str) -> Result<Exported, Fault> {
        let invalid = |error: serde_json::Error| Fault::new(Code::OutboxFileInvalid, error.to_string());
        let json: serde_json::Value = serde_json::from_str(text).map_err(invalid)?;
        match json.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format > u64::from(FORMAT) => {
                Err(Fault::new(Code::ReplicaNewer, format!("the file has format {format}")))
            }
            _ => serde_json::from_value(json).map_err(invalid),
        }
    }

    /// Takes the edits over into a replica, which is made where there is none.
    ///
    /// # Errors
    /// Nothing was taken over: the file is of another place, or the replica cannot be used.
    pub fn import(&self, config: &Config) -> Result<Imported, Fault> {
        of_place(&self.place, &config.place)?;
        let (mut disk, loaded) = Disk::open(&config.file, &config.place, config.adopt)?;
        let here: Vec<(Record, String)> =
            loaded.records.into_iter().filter(|(record, _)| matches!(record, Record::Entry(_))).collect();
        let ids: Vec<Entry> = here.iter().filter_map(|(_, text)| serde_json::from_str(text).ok()).collect();
        let is_known = |entry: &&Entry| {
            let key = Record::Entry(entry.key.clone());
            here.iter().any(|(record, _)| *record == key) || ids.iter().any(|known| known.id == entry.id)
        };
        let (known, new): (Vec<&Entry>, Vec<&Entry>) = self.entries.iter().partition(is_known);
        let writes = new.iter().map(|entry| {
            let text = serde_json::to_string(entry)?;
            Ok(Write::Put(Record::Entry(entry.key.clone()), text))
        });
        let writes: Vec<Write> = writes
            .collect::<serde_json::Result<_>>()
            .map_err(|error| Fault::new(Code::Internal, "an edit could not be written").with_source(error))?;
        disk.save(Some(disk.fence()), &writes).map_err(|reason| {
            let code = if reason == crate::NotSaved::Full { Code::DiskFull } else { Code::Internal };
            Fault::new(code, reason.reason().to_owned())
        })?;
        Ok(Imported { taken: new.len(), known: known.len() })
    }
}

fn of_place(held: &Place, wanted: &Place) -> Result<(), Fault> {
    if held == wanted {
        return Ok(());
    }
    let detail = format!("the outbox is that of {}, not of {}", held.describe(), wanted.describe());
    Err(Fault::new(Code::ReplicaForeign, detail))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(folder: &Path, user: &str) -> Config {
        let [application, server, user, org] = ["sync", "http://127.0.0.1:1", user, "acme"].map(str::to_owned);
        let place = Place { application, server, user, org };
        let file = folder.join("a.replica");
        Config { place, token: "t".into(), file, adopt: false, delete_asks: true }
    }

    fn exported(user: &str) -> String {
        let entry = |number: u32| {
            let key = format!("{number:012}-n");
            json!({
                "key": key, "group": key, "entityType": "page", "entityId": "p", "source": "n", "expected": null,
                "change": {"do": "value", "field": "title", "value": "x"}, "id": format!("1700000000000.{number:04}.n"),
                "state": "sent", "createdMs": 1, "schema": 1
            })
        };
        let place = config(Path::new(""), user).place;
        json!({ "format": 1, "place": place, "entries": [entry(1), entry(2)] }).to_string()
    }

    #[test]
    fn an_outbox_goes_over_once_and_keeps_its_ids_sy_59() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path(), "alice");
        let file = Exported::parse(&exported("alice")).expect("a file");
        assert_eq!(file.import(&config).expect("an import"), Imported { taken: 2, known: 0 });
        assert_eq!(file.import(&config).expect("an import"), Imported { taken: 0, known: 2 });
        let again = Exported::read(&config, folder.path()).expect("an export");
        assert_eq!((again.entries, again.partial), (file.entries, false));
    }

    #[test]
    fn an_outbox_is_never_taken_over_by_another_user_core_18() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = Exported::parse(&exported("alice")).expect("a file");
        let bob = config(folder.path(), "bob");
        assert_eq!(file.import(&bob).expect_err("a fault").code(), Code::ReplicaForeign);
        assert!(!bob.file.exists());
        file.import(&config(folder.path(), "alice")).expect("an import");
        assert_eq!(Exported::read(&bob, folder.path()).expect_err("a fault").code(), Code::ReplicaForeign);
    }

    #[test]
    fn what_is_no_exported_outbox_is_refused() {
        let whole = exported("alice");
        for part in ["", "{}", "[]", "{\"format\": 1}", &whole[..whole.len() - 2]] {
            assert_eq!(Exported::parse(part).expect_err(part).code(), Code::OutboxFileInvalid, "{part}");
        }
        let newer = whole.replacen("\"format\":1", "\"format\":2", 1);
        assert_eq!(Exported::parse(&newer).expect_err("a fault").code(), Code::ReplicaNewer);
    }
}
