//! The store keeps what it says it keeps, and says what it cannot use.

use std::io::{Seek, SeekFrom};

use serde_json::json;

use super::*;
use antiphon_sync::client::Record;

fn place() -> Place {
    let [application, server, user, org] = ["sync", "http://127.0.0.1:1", "alice", "acme"].map(str::to_owned);
    Place { application, server, user, org }
}

fn entry(number: u32) -> (Record, String) {
    let key = format!("{number:012}-n");
    let text = json!({
        "key": key, "group": key, "entityType": "page", "entityId": "p", "change": {"do": "value", "field": "title",
        "value": "x".repeat(600)}, "id": format!("1700000000000.{number:04}.n"), "source": "n", "expected": null,
        "state": "pending", "created_ms": 1, "createdMs": 1, "schema": 1
    });
    (Record::Entry(key), text.to_string())
}

fn open(path: &Path) -> Result<(Disk, Loaded), Fault> {
    Disk::open(path, &place(), false)
}

fn code(result: Result<(Disk, Loaded), Fault>) -> Code {
    result.map(drop).expect_err("a fault").code()
}

fn filled(path: &Path, entries: u32) {
    let (mut disk, _) = open(path).expect("a store");
    let writes: Vec<Write> = (1..=entries).map(entry).map(|(record, text)| Write::Put(record, text)).collect();
    disk.save(Some(disk.fence()), &writes).expect("a save");
}

#[test]
fn what_was_saved_is_there_after_opening_anew_core_11() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep/er/a.replica");
    let row = |id: &str, generation| Record::row(generation, "page", id);
    {
        let (mut disk, loaded) = open(&path).expect("a store");
        assert!(loaded.records.is_empty());
        let writes = vec![
            Write::Put(Record::Meta, "{\"m\":1}".into()),
            Write::Put(entry(1).0, "{\"e\":1}".into()),
            Write::Put(Record::Journal("j".into()), "{\"j\":1}".into()),
            Write::Put(row("a", 1), "{\"r\":1}".into()),
            Write::Put(row("b", 1), "{\"r\":2}".into()),
            Write::Put(row("a", 2), "{\"r\":3}".into()),
        ];
        disk.save(Some(disk.fence()), &writes).expect("a save");
        let later = vec![
            Write::Remove(Record::Journal("j".into())),
            Write::Put(row("a", 2), "{\"r\":4}".into()),
            Write::Clear { entity_type: "page".into(), generation: 1 },
        ];
        disk.save(Some(disk.fence()), &later).expect("a save");
    }
    let (_, mut loaded) = open(&path).expect("the store");
    loaded.records.sort();
    let expected = vec![
        (Record::Meta, "{\"m\":1}".to_owned()),
        (entry(1).0, "{\"e\":1}".to_owned()),
        (row("a", 2), "{\"r\":4}".to_owned()),
    ];
    assert_eq!(loaded.records, expected);
}

#[test]
fn a_save_under_an_old_fence_changes_nothing_sy_58() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.replica");
    filled(&path, 1);
    let (mut disk, _) = open(&path).expect("the store");
    let old = disk.fence() - 1;
    let (record, _) = entry(1);
    assert_eq!(disk.save(Some(old), &[Write::Remove(record.clone())]), Err(NotSaved::Fenced));
    // Edits are added by whoever makes them.
    let (second, text) = entry(2);
    disk.save(None, &[Write::Put(second, text)]).expect("an edit");
    drop(disk);
    let (_, loaded) = open(&path).expect("the store");
    assert_eq!(loaded.records.len(), 2);
    assert_eq!(loaded.records[0].0, record);
}

#[test]
fn a_second_process_is_told_who_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.replica");
    let (first, _) = open(&path).expect("a store");
    let fault = open(&path).expect_err("a fault");
    assert_eq!(fault.code(), Code::ReplicaInUse);
    assert!(fault.detail().contains(&std::process::id().to_string()), "{}", fault.detail());
    drop(first);
    open(&path).expect("the store");
}

#[test]
fn the_store_of_another_user_is_not_used_core_18() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.replica");
    filled(&path, 1);
    for part in ["application", "server", "user", "org"] {
        let mut other = serde_json::to_value(place()).expect("JSON");
        other[part] = "other".into();
        let other: Place = serde_json::from_value(other).expect("a place");
        let fault = Disk::open(&path, &other, true).expect_err("a fault");
        assert_eq!(fault.code(), Code::ReplicaForeign, "{part}");
    }
    open(&path).expect("the owner's own");
}

#[test]
fn a_copy_is_recognised_exportable_and_adopted_only_when_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("a.replica"), folder.path().join("b.replica"));
    filled(&path, 3);
    std::fs::copy(&path, &copy).expect("a copy");
    assert_eq!(code(open(&copy)), Code::ReplicaCopied);
    assert_eq!(salvage(&copy, folder.path()).expect("an outbox").entries.len(), 3);
    let (_, loaded) = Disk::open(&copy, &place(), true).expect("an adopted copy");
    assert_eq!(loaded.records.len(), 3);
    open(&copy).expect("its own store from now on");
    // A name is not what it is known by.
    let moved = folder.path().join("c.replica");
    std::fs::rename(&path, &moved).expect("a new name");
    open(&moved).expect("the same store");
}

#[test]
fn a_newer_format_is_refused_untouched_and_exportable_core_17() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.replica");
    filled(&path, 2);
    Connection::open(&path).expect("a file").pragma_update(None, "user_version", LAYOUT + 1).expect("a newer one");
    let before = std::fs::read(&path).expect("bytes");
    assert_eq!(code(open(&path)), Code::ReplicaNewer);
    assert_eq!(std::fs::read(&path).expect("bytes"), before);
    let found = salvage(&path, folder.path()).expect("an outbox");
    assert_eq!((found.entries.len(), found.partial, found.place), (2, false, Some(place())));
}

#[test]
fn no_replica_is_what_it_is_told_to_be_and_an_empty_file_is_a_new_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.replica");
    std::fs::write(&path, "a letter to a friend, long enough to be looked at ".repeat(50)).expect("a file");
    let before = std::fs::read(&path).expect("bytes");
    assert_eq!(code(open(&path)), Code::ReplicaDamaged);
    assert_eq!(std::fs::read(&path).expect("bytes"), before);
    let other = folder.path().join("other.db");
    Connection::open(&other).expect("a file").execute_batch("create table notes (text text)").expect("a table");
    assert_eq!(code(open(&other)), Code::ReplicaDamaged);
    let empty = folder.path().join("empty.replica");
    std::fs::write(&empty, "").expect("a file");
    open(&empty).expect("a store");
}

#[test]
fn wherever_a_file_is_broken_it_is_told_and_most_of_the_outbox_is_read() {
    const ENTRIES: u32 = 200;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.replica");
    filled(&path, ENTRIES);
    let whole = std::fs::read(&path).expect("bytes");
    let pages = whole.len() as u64 / u64::from(PAGE_BYTES);
    assert!(pages > 8, "{pages}");
    let (mut refused, mut least) = (0, ENTRIES as usize);
    for page in 0..pages {
        std::fs::write(&path, &whole).expect("the file");
        let mut file = OpenOptions::new().write(true).open(&path).expect("the file");
        file.seek(SeekFrom::Start(page * u64::from(PAGE_BYTES))).expect("a place");
        file.write_all(&[0xA5; PAGE_BYTES as usize]).expect("damage");
        drop(file);
        let before = std::fs::read(&path).expect("bytes");
        match open(&path) {
            Err(fault) => {
                assert_eq!(fault.code(), Code::ReplicaDamaged, "page {page}: {fault}");
                assert_eq!(std::fs::read(&path).expect("bytes"), before, "page {page} was written to");
                refused += 1;
            }
            Ok((_, loaded)) => assert_eq!(loaded.records.len(), ENTRIES as usize, "page {page}"),
        }
        let found = salvage(&path, folder.path()).expect("an outbox");
        least = least.min(found.entries.len());
    }
    assert_eq!(refused, pages, "every page matters");
    assert!(least >= ENTRIES as usize / 2, "at worst {least} of {ENTRIES}");
}

#[test]
fn a_file_that_ends_early_is_told_and_its_outbox_read_as_far_as_it_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.replica");
    filled(&path, 200);
    let whole = std::fs::read(&path).expect("bytes");
    for part in [whole.len() / 2, whole.len() - 1, 1_000, 1] {
        std::fs::write(&path, &whole[..part]).expect("the file");
        assert_eq!(code(open(&path)), Code::ReplicaDamaged, "{part} bytes");
        let found = salvage(&path, folder.path()).expect("what is left");
        assert!(found.partial, "{part} bytes");
        let least = if part + 1 < whole.len() { 0 } else { 190 };
        assert!((least..=200).contains(&found.entries.len()), "{part} bytes: {}", found.entries.len());
    }
}
