//! Every threshold, and every reason with its remedy, as a line of a table.

use antiphon_model::RelationName;

use super::{super::TableLook, *};

fn slot(name: &str) -> Slot {
    Slot {
        name: name.into(),
        plugin: Some("pgoutput".into()),
        database: Some("app".into()),
        active_pid: Some(7),
        wal_status: Some("reserved".into()),
        invalidation: None,
        restart: None,
        confirmed: None,
        retained_bytes: Some(0),
        lag_bytes: Some(0),
        safe_wal_bytes: None,
        catalog_xmin_age: Some(5),
        failover: false,
        temporary: false,
    }
}

/// A source about which there is nothing to say.
fn quiet() -> Watched {
    Watched {
        slot_name: "ours".into(),
        slot: Some(slot("ours")),
        others: Vec::new(),
        keep_bytes_max: Some(10_000_000_000),
        idle_timeout_seconds: None,
        log_bytes_per_second: None,
        holders: Vec::new(),
        publication_name: "pub".into(),
        publication: Some(crate::publication::Publication {
            oid: 1,
            unpublished: Vec::new(),
            via_root: true,
            tables: Default::default(),
        }),
        tables: Vec::new(),
        partitions: Vec::new(),
    }
}

fn states(watched: &Watched) -> Vec<(&'static str, Level)> {
    concerns(watched).iter().map(|concern| (concern.state.as_str(), concern.level)).collect()
}

fn with_slot(change: impl FnOnce(&mut Slot)) -> Watched {
    let mut watched = quiet();
    change(watched.slot.as_mut().unwrap());
    watched
}

#[test]
fn nothing_is_said_of_a_source_in_order() {
    assert_eq!(states(&quiet()), []);
    assert_eq!(states(&Watched { slot: None, publication: None, ..quiet() }), []);
}

#[test]
fn a_slot_that_fills_is_told_at_half_at_four_fifths_and_at_the_end_with_the_time_left_pg_01() {
    for (retained, level) in [
        (4_900_000_000, None),
        (5_000_000_000, Some(Level::Notice)),
        (8_000_000_000, Some(Level::Warning)),
        (9_500_000_000, Some(Level::Urgent)),
    ] {
        let watched = with_slot(|slot| slot.retained_bytes = Some(retained));
        let wanted: Vec<_> = level.map(|level| ("slot_filling", level)).into_iter().collect();
        assert_eq!(states(&watched), wanted, "{retained}");
    }
    let mut watched = with_slot(|slot| {
        slot.retained_bytes = Some(6_000_000_000);
        slot.safe_wal_bytes = Some(4_000_000_000);
    });
    assert_eq!(seconds_until_loss(&watched), None);
    for (rate, seconds, level) in [
        (0, None, Level::Notice),
        (100_000, Some(40_000), Level::Notice),
        (1_000_000, Some(4_000), Level::Warning),
        (2_000_000, Some(2_000), Level::Urgent),
    ] {
        watched.log_bytes_per_second = Some(rate);
        assert_eq!(seconds_until_loss(&watched), seconds);
        assert_eq!(states(&watched), [("slot_filling", level)], "{rate}");
    }
    assert!(concerns(&watched)[0].detail.contains("lost in 33 min"), "{}", concerns(&watched)[0].detail);
    // A burst while nearly all of the limit is free is no alarm.
    watched.slot.as_mut().unwrap().retained_bytes = Some(1_000);
    assert_eq!(states(&watched), []);
}

#[test]
fn a_slot_that_nobody_reads_is_told_and_so_is_the_time_that_a_server_allows_it_pg_05() {
    let mut watched = with_slot(|slot| slot.active_pid = None);
    assert_eq!(states(&watched), [("slot_unread", Level::Notice)]);
    watched.idle_timeout_seconds = Some(7_200);
    assert_eq!(states(&watched), [("slot_idle_limit", Level::Warning), ("slot_unread", Level::Notice)]);
    assert!(concerns(&watched)[0].detail.contains("2 h"), "{}", concerns(&watched)[0].detail);
    assert_eq!(states(&Watched { keep_bytes_max: None, ..quiet() }), [("slot_unlimited", Level::Notice)]);
}

#[test]
fn each_reason_of_a_lost_slot_has_its_own_remedy_pg_04() {
    let mut remedies = std::collections::BTreeSet::new();
    for (reason, setting) in [
        ("wal_removed", "max_slot_wal_keep_size"),
        ("rows_removed", "hot_standby_feedback"),
        ("wal_level_insufficient", "wal_level"),
        ("idle_timeout", "idle_replication_slot_timeout"),
    ] {
        let watched = with_slot(|slot| slot.invalidation = Some(reason.into()));
        assert_eq!(states(&watched), [("slot_lost", Level::Urgent)]);
        let concern = concerns(&watched).remove(0);
        assert!(concern.detail.contains(reason) && concern.remedy.contains(setting), "{concern:?}");
        remedies.insert(concern.remedy);
    }
    assert_eq!(remedies.len(), 4);
    // 15 and 16 tell no reason.
    let watched = with_slot(|slot| slot.wal_status = Some("lost".into()));
    assert!(concerns(&watched)[0].detail.contains("wal_removed"));
}

#[test]
fn what_the_slot_keeps_of_the_catalogue_is_told_by_its_age_pg_09_pg_10() {
    for (age, level) in [(199_999_999, None), (200_000_000, Some(Level::Warning)), (1_000_000_000, Some(Level::Urgent))]
    {
        let watched = with_slot(|slot| slot.catalog_xmin_age = Some(age));
        let wanted: Vec<_> = level.map(|level| ("catalogue_old", level)).into_iter().collect();
        assert_eq!(states(&watched), wanted, "{age}");
        assert!(concerns(&watched).iter().all(|concern| concern.subject == "ours"));
    }
}

#[test]
fn slots_that_nobody_reads_and_too_many_of_them_are_told_pg_23_pg_102() {
    let mut watched = quiet();
    watched.others = vec![slot("theirs"), Slot { active_pid: None, ..slot("orphan") }];
    assert_eq!(states(&watched), [("slot_orphaned", Level::Notice)]);
    assert!(concerns(&watched)[0].remedy.ends_with("slots drop orphan"));
    watched.others[1].retained_bytes = Some(3 << 30);
    assert_eq!(states(&watched), [("slot_orphaned", Level::Warning)]);
    watched.others = ["a", "b", "c"].map(slot).into();
    assert_eq!(states(&watched), [("slots_many", Level::Notice)]);
    // A physical slot decodes nothing.
    watched.others[0].plugin = None;
    assert_eq!(states(&watched), []);
}

#[test]
fn who_holds_the_log_back_is_named_with_its_remedy_pg_08() {
    let holder =
        |by, pid, open_seconds| Holder { by, pid, database: "app".into(), name: "it's".into(), open_seconds, age: 3 };
    let mut watched = quiet();
    watched.holders = vec![holder(HoldsBy::Writing, Some(7), 299)];
    assert_eq!(states(&watched), []);
    watched.holders = vec![holder(HoldsBy::Writing, Some(7), 3_600), holder(HoldsBy::Prepared, None, 300)];
    let found = concerns(&watched);
    assert_eq!(states(&watched), [("transaction_holds", Level::Warning), ("transaction_holds", Level::Notice)]);
    assert!(found[0].remedy.ends_with("select pg_terminate_backend(7);"), "{}", found[0].remedy);
    assert!(found[1].remedy.contains("rollback prepared 'it''s';"), "{}", found[1].remedy);
}

#[test]
fn what_publication_and_tables_lack_is_told_by_name_pg_64() {
    assert_eq!(states(&Watched { publication: None, ..quiet() }), [("publication_missing", Level::Urgent)]);
    let mut watched = quiet();
    watched.publication.as_mut().unwrap().unpublished = vec!["delete"];
    assert_eq!(states(&watched), [("publication_incomplete", Level::Urgent)]);
    let table = TableLook {
        entity_type: "task".into(),
        table: RelationName { schema: "public".into(), name: "tasks".into() },
        published: true,
        identity: "index",
        identity_ready: true,
        index_valid: true,
        problem: None,
        unseen: Vec::new(),
    };
    let problem = Some("words".to_owned());
    for (look, state) in [
        (table.clone(), None),
        (TableLook { published: false, problem: problem.clone(), ..table.clone() }, Some("table_unpublished")),
        (TableLook { index_valid: false, problem: problem.clone(), ..table.clone() }, Some("identity_unready")),
        (TableLook { identity_ready: false, problem: problem.clone(), ..table.clone() }, Some("identity_unready")),
        (TableLook { problem, ..table }, Some("table_unready")),
    ] {
        let found = concerns(&Watched { tables: vec![look], ..quiet() });
        assert_eq!(found.first().map(|concern| concern.state.as_str()), state);
        assert!(found.iter().all(|concern| concern.subject == "public.tasks"));
    }
}

#[test]
fn states_have_distinct_words() {
    let words: std::collections::BTreeSet<_> = ConcernKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(words.len(), ConcernKind::ALL.len());
    for kind in ConcernKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
}
