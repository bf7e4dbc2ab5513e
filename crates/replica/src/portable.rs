//! An outbox as a file: out of a replica in whatever state, and into another of the same place.
//!
//! Laws: the file is the machine's own document (`client::Export`), with the application and the server beside it, so that
//! it may go from one kind of client to another; entries keep their ids, so what was applied already is not applied twice;
//! a file is only for the user that it is of (CORE-18).

use std::path::Path;

use antiphon_engine::Fault;
use antiphon_model::Code;
use antiphon_sync::client::{Entry, ImportRefused, Imported, Owner};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Config, Place, Replica,
    disk::{hold, salvage},
};

/// The version of the file's format.
const FORMAT: u32 = 1;

/// An outbox outside of its replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    /// The version of the format.
    pub format: u32,
    /// Which application kept it, where that is known.
    #[serde(default)]
    pub application: Option<String>,
    /// The server that it was for, where that is known.
    #[serde(default)]
    pub server: Option<String>,
    /// Its user.
    pub user: String,
    /// Its organisation.
    pub organization: String,
    /// The edits in order, as they were kept; a text where that is no JSON.
    pub entries: Vec<Value>,
    /// Whether more edits may have been in the replica than could be read.
    #[serde(default)]
    pub partial: bool,
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
        if place != config.place {
            return Err(foreign(&place.describe(), &config.place));
        }
        // An entry is made of texts, numbers and maps of texts: it can always be written.
        let entries = found.entries.iter().map(|entry| serde_json::to_value(entry).unwrap_or_default());
        let lost = found.unreadable.into_iter().map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text)));
        Ok(Exported {
            format: FORMAT,
            application: Some(place.application),
            server: Some(place.server),
            user: place.user,
            organization: place.org,
            entries: entries.chain(lost).collect(),
            partial: found.partial,
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// `OUTBOX_FILE_INVALID`, or `REPLICA_NEWER` for a format of a later version.
    pub fn parse(text: &str) -> Result<Exported, Fault> {
        let invalid = |error: serde_json::Error| Fault::new(Code::OutboxFileInvalid, error.to_string());
        let json: Value = serde_json::from_str(text).map_err(invalid)?;
        match json.get("format").and_then(Value::as_u64) {
            Some(format) if format > u64::from(FORMAT) => {
                Err(Fault::new(Code::ReplicaNewer, format!("the file has format {format}")))
            }
            _ => serde_json::from_value(json).map_err(invalid),
        }
    }

    /// Returns how many edits this version cannot read.
    pub fn unreadable(&self) -> usize {
        self.entries.iter().filter(|entry| Entry::deserialize(*entry).is_err()).count()
    }
}

impl Replica {
    /// Takes the edits of an exported outbox over.
    ///
    /// # Errors
    /// Nothing was taken over: the file is of another place, or there is no room; or it is in memory only.
    pub fn import(&mut self, exported: &Exported) -> Result<Imported, Fault> {
        let Exported { application, server, user, organization, .. } = exported;
        let place = self.place.clone();
        let other = |held: &Option<String>, wanted: &str| held.as_ref().is_some_and(|held| held != wanted);
        if other(application, &place.application) || other(server, &place.server) {
            return Err(foreign(&format!("{user} in {organization} at {server:?}"), &place));
        }
        let text = serde_json::to_string(exported)
            .map_err(|error| Fault::new(Code::Internal, "the outbox could not be written").with_source(error))?;
        let owner = Owner { user: place.user.clone(), organization: place.org.clone() };
        let imported = self.client.import(self.clock.now(), &owner, &text).map_err(|refused| match refused {
            ImportRefused::NotAnExport => Fault::new(Code::OutboxFileInvalid, ""),
            ImportRefused::NotYours => foreign(&format!("{user} in {organization}"), &place),
            ImportRefused::OutboxFull => Fault::new(Code::OutboxFull, ""),
        })?;
        self.keep()?;
        Ok(imported)
    }
}

fn foreign(held: &str, wanted: &Place) -> Fault {
    Fault::new(Code::ReplicaForeign, format!("the outbox is that of {held}, not of {}", wanted.describe()))
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
        json!({ "format": 1, "user": user, "organization": "acme", "entries": [entry(1), entry(2)] }).to_string()
    }

    #[test]
    fn an_outbox_goes_over_once_and_keeps_its_ids_sy_59() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path(), "alice");
        let file = Exported::parse(&exported("alice")).expect("a file");
        let import = || Replica::open(config.clone()).and_then(|mut replica| replica.import(&file)).expect("an import");
        assert_eq!(import(), Imported { taken: 2, known: 0, unreadable: 0 });
        assert_eq!(import(), Imported { taken: 0, known: 2, unreadable: 0 });
        let again = Exported::read(&config, folder.path()).expect("an export");
        let ids =
            |exported: &Exported| exported.entries.iter().map(|entry| entry["id"].clone()).collect::<Vec<Value>>();
        assert_eq!((ids(&again), again.partial, again.unreadable()), (ids(&file), false, 0));
    }

    #[test]
    fn an_outbox_is_never_taken_over_by_another_user_core_18() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = Exported::parse(&exported("alice")).expect("a file");
        let bob = Config { file: folder.path().join("b.replica"), ..config(folder.path(), "bob") };
        let mut replica = Replica::open(bob).expect("a replica");
        assert_eq!(replica.import(&file).expect_err("a fault").code(), Code::ReplicaForeign);
        assert!(replica.outbox().is_empty());
        let mut alice = Replica::open(config(folder.path(), "alice")).expect("a replica");
        for elsewhere in ["application", "server"] {
            let mut other = serde_json::to_value(&file).expect("JSON");
            other[elsewhere] = "other".into();
            let other = Exported::parse(&other.to_string()).expect("a file");
            assert_eq!(alice.import(&other).expect_err("a fault").code(), Code::ReplicaForeign, "{elsewhere}");
        }
        drop(alice);
        // The replica itself does not give it away either.
        let fault = Exported::read(&config(folder.path(), "bob"), folder.path()).expect_err("a fault");
        assert_eq!(fault.code(), Code::ReplicaForeign);
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
