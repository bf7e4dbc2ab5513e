//! The mapping's rules, one case each.

use std::collections::BTreeMap;

use antiphon_model::{
    Cell, Column, Lsn, Merge, Micros, OldRow, RelationName, ReplicaIdentity, Sync, Tenancy, Type, TypeKind, Xid,
};

use super::*;

mod laws;

fn entity() -> Arc<EntityType> {
    Arc::new(EntityType {
        name: "page".into(),
        table: RelationName { schema: "public".into(), name: "pages".into() },
        org: Tenancy::Column("org".into()),
        key: vec!["id".into()],
        tx: "tx".into(),
        hidden: vec!["secret".into()],
        sync: Sync::All,
        filter: vec![],
        together: vec![],
        refs: BTreeMap::new(),
        fields: BTreeMap::from([("title".into(), Merge::Manual)]),
        rules: Vec::new(),
        polling: Default::default(),
    })
}

fn relation(identity: ReplicaIdentity) -> Arc<Relation> {
    let column = |name: &str, key: bool, kind: TypeKind| Column {
        name: name.into(),
        identity: key,
        type_oid: 25,
        type_modifier: -1,
        ty: Arc::new(Type { name: "text".into(), kind }),
    };
    Arc::new(Relation {
        oid: 1,
        schema: "public".into(),
        name: "pages".into(),
        identity,
        columns: vec![
            column("id", true, TypeKind::Text),
            column("org", true, TypeKind::Text),
            column("title", false, TypeKind::Text),
            column("body", false, TypeKind::Text),
            column("secret", false, TypeKind::Text),
            column("tx", false, TypeKind::Jsonb),
        ],
    })
}

fn tuple(id: &str, org: &str, title: &str, body: Cell<'_>) -> Tuple {
    let text = |text: &str| Cell::Text(text.to_owned().leak().as_bytes());
    let org = if org.is_empty() { Cell::Null } else { text(org) };
    Tuple::from_cells([text(id), org, text(title), body, Cell::Text(b"hush"), Cell::Null])
}

fn identity(id: &str, org: &str) -> OldRow {
    let text = |text: &str| Cell::Text(text.to_owned().leak().as_bytes());
    OldRow::Identity(Tuple::from_cells([text(id), text(org), Cell::Null, Cell::Null, Cell::Null, Cell::Null]))
}

struct Bench {
    mapper: Mapper,
    relation: Arc<Relation>,
}

impl Bench {
    fn new(identity: ReplicaIdentity) -> Bench {
        let mut mapper = Mapper::new(&[entity()], vec![("page".into(), "initech".into())]);
        let relation = relation(identity);
        mapper.learn(&relation, 7).unwrap();
        Bench { mapper, relation }
    }

    fn row(&self, old: OldRow, new: Option<Tuple>) -> ChangedRow {
        ChangedRow { relation: Arc::clone(&self.relation), old, new }
    }

    fn insert(&self, id: &str, org: &str) -> Change {
        Change::Insert(self.row(OldRow::Absent, Some(tuple(id, org, "t", Cell::Text(b"b")))))
    }

    fn map(
        &mut self,
        lsn: u64,
        first_ordinal: u64,
        changes: Vec<Change>,
        last: bool,
        checkpoint: &Checkpoint,
    ) -> Mapped {
        let transaction = Transaction {
            commit_lsn: Lsn::new(lsn),
            xid: Xid::new(lsn),
            committed_at: Micros(0),
            first_ordinal,
            changes,
            last,
        };
        let mut mapped = Mapped::default();
        self.mapper.map(&transaction, checkpoint, &mut mapped);
        mapped
    }

    fn map_one(&mut self, change: Change) -> Vec<String> {
        brief(&self.map(10, 0, vec![change], true, &Checkpoint::start()))
    }
}

/// One line an activity: action org/id, seq, `*` for the last, image, changed, details.
fn brief(mapped: &Mapped) -> Vec<String> {
    let line = |activity: &Activity| {
        let text = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".into());
        let last = if activity.commit.last { "*" } else { "" };
        let (id, image) = (text(&activity.entity_id), text(&activity.image));
        let (changed, details) = (text(&activity.changed), text(&activity.details));
        let action = activity.action.as_str();
        format!("{action} {}/{id} {}{last} {image} {changed} {details}", activity.org, activity.commit.seq)
    };
    mapped.activities.iter().map(line).collect()
}

#[test]
fn an_insert_is_a_create_without_hidden_columns_and_metadata() {
    let mut bench = Bench::new(ReplicaIdentity::Index);
    let insert = bench.insert("1", "acme");
    assert_eq!(bench.map_one(insert), [r#"create acme/1 0* {"id":"1","org":"acme","title":"t","body":"b"} - -"#]);
}

/// Several edits may come together in a row that was found by looking: what it says is never less than all of them.
#[test]
fn a_row_that_was_found_by_looking_is_told_whole_with_the_id_of_each_field_pl_02() {
    let mut bench = Bench::new(ReplicaIdentity::Polled);
    let long = "x".repeat(20_000);
    let stamp = br#"{"transactionId":"3","sourceId":"s","actor":"a","changedField":"title","fields":{"*":"1","body":"2","title":"3","secret":"2"}}"#;
    let text = |text: &'static str| Cell::Text(text.as_bytes());
    let cells = [text("1"), text("acme"), text("t"), Cell::Text(long.as_bytes()), text("hush"), Cell::Text(stamp)];
    let update = Change::Update(bench.row(OldRow::Absent, Some(Tuple::from_cells(cells))));
    let mapped = bench.map(10, 0, vec![update], true, &Checkpoint::start());
    let activity = &mapped.activities[0];
    assert_eq!((activity.action, &activity.changed, &activity.details), (Action::Update, &None, &None));
    assert!(activity.image.as_ref().is_some_and(|image| image.contains(&long)), "nothing is left out as unchanged");
    let tx = activity.read_tx().unwrap();
    assert_eq!((tx.transaction_id.as_str(), tx.changed_field.as_deref()), ("3", Some("title")));
    let named: Vec<(&str, &str)> = tx.fields.iter().map(|(name, id)| (name.as_str(), id.as_str())).collect();
    assert_eq!(named, [("body", "2"), ("id", "1"), ("org", "1")], "what is hidden is not named");
}

#[test]
fn a_clock_that_goes_back_is_shown_and_orders_nothing_pg_86() {
    let mut bench = Bench::new(ReplicaIdentity::Index);
    let mut mapped = Mapped::default();
    let mut checkpoint = Checkpoint::start();
    for (lsn, at) in [(10, 5_000), (20, 1_000), (30, -7)] {
        let transaction = Transaction {
            commit_lsn: Lsn::new(lsn),
            xid: Xid::new(lsn),
            committed_at: Micros(at),
            first_ordinal: 0,
            changes: vec![bench.insert(&lsn.to_string(), "acme")],
            last: true,
        };
        bench.mapper.map(&transaction, &checkpoint, &mut mapped);
        (checkpoint.lsn, checkpoint.complete) = (transaction.commit_lsn, true);
    }
    let told: Vec<_> =
        mapped.activities.iter().map(|activity| (activity.commit.lsn.as_u64(), activity.commit.at.0)).collect();
    assert_eq!(told, [(10, 5_000), (20, 1_000), (30, -7)]);
    assert_eq!(bench.mapper.resent_changes(), 0, "what is older by the clock is no repetition");
}

#[test]
fn an_unchanged_value_is_named_and_never_null_pg_61() {
    let mut bench = Bench::new(ReplicaIdentity::Index);
    let update = Change::Update(bench.row(OldRow::Absent, Some(tuple("1", "acme", "new", Cell::Unchanged))));
    assert_eq!(
        bench.map_one(update),
        [r#"update acme/1 0* {"id":"1","org":"acme","title":"new"} - "unchanged":["body"]"#]
    );
}

#[test]
fn under_full_the_old_row_fills_the_unchanged_and_tells_what_changed_pg_61() {
    let mut bench = Bench::new(ReplicaIdentity::Full);
    let old = OldRow::Full(tuple("1", "acme", "old", Cell::Text(b"large")));
    let update = Change::Update(bench.row(old, Some(tuple("1", "acme", "new", Cell::Unchanged))));
    assert_eq!(
        bench.map_one(update),
        [r#"update acme/1 0* {"id":"1","org":"acme","title":"new","body":"large"} ["title"] -"#]
    );
}

#[test]
fn a_row_that_changes_its_organisation_leaves_one_and_enters_the_other_sy_16() {
    let mut bench = Bench::new(ReplicaIdentity::Index);
    let update = Change::Update(bench.row(identity("1", "acme"), Some(tuple("1", "globex", "t", Cell::Null))));
    assert_eq!(
        bench.map_one(update),
        ["delete acme/1 0* - [] -", r#"create globex/1 1* {"id":"1","org":"globex","title":"t","body":null} - -"#]
    );
}

#[test]
fn a_key_change_is_a_delete_and_a_create_adjacent_pg_62() {
    let mut bench = Bench::new(ReplicaIdentity::Index);
    let update = Change::Update(bench.row(identity("1", "acme"), Some(tuple("2", "acme", "t", Cell::Null))));
    assert_eq!(
        bench.map_one(update),
        ["delete acme/1 0 - [] -", r#"create acme/2 1* {"id":"2","org":"acme","title":"t","body":null} - -"#]
    );
}

#[test]
fn rows_without_organisation_are_nobodys() {
    let mut bench = Bench::new(ReplicaIdentity::Index);
    let insert = bench.insert("1", "");
    assert!(bench.map_one(insert).is_empty());
}

#[test]
fn a_truncate_reaches_every_organisation_that_ever_had_the_type_pg_67() {
    let mut bench = Bench::new(ReplicaIdentity::Index);
    let changes = vec![bench.insert("1", "acme"), Change::Truncate(vec![Arc::clone(&bench.relation)])];
    let mapped = bench.map(10, 0, changes, true, &Checkpoint::start());
    assert_eq!(mapped.organisations, [("page".to_owned(), "acme".to_owned())]);
    assert_eq!(brief(&mapped)[1..], ["truncate acme/- 1* - - -", "truncate initech/- 2* - - -"]);
}

#[test]
fn what_the_checkpoint_covers_is_counted_and_numbered_but_not_mapped_again_pg_12() {
    let mut bench = Bench::new(ReplicaIdentity::Index);
    let checkpoint = Checkpoint { lsn: Lsn::new(10), ordinal: 1, complete: false, ..Checkpoint::start() };
    let changes = vec![bench.insert("1", "acme"), bench.insert("2", "globex"), bench.insert("3", "acme")];
    let lines = brief(&bench.map(10, 0, changes, true, &checkpoint));
    assert_eq!(bench.mapper.resent_changes(), 2);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("create acme/3 2* "), "{lines:?}");
    assert!(lines[1].starts_with("mark globex/- 3* "), "globex's end was in the log without its mark: {lines:?}");
}

#[test]
fn the_last_part_marks_the_end_for_organisations_of_earlier_parts() {
    let mut bench = Bench::new(ReplicaIdentity::Index);
    let start = Checkpoint::start();
    let first = bench.insert("1", "acme");
    assert!(brief(&bench.map(10, 0, vec![first], false, &start))[0].starts_with("create acme/1 0 "));
    let second = bench.insert("2", "globex");
    let lines = brief(&bench.map(10, 1, vec![second], true, &start));
    assert!(lines[0].starts_with("create globex/2 1* "), "{lines:?}");
    assert!(lines[1].starts_with("mark acme/- 2* "), "{lines:?}");
}

#[test]
fn a_table_whose_identity_lacks_the_organisation_is_refused_pg_63() {
    let mut narrow = (*relation(ReplicaIdentity::Default)).clone();
    narrow.columns[1].identity = false;
    let mut mapper = Mapper::new(&[entity()], vec![]);
    let fault = mapper.learn(&Arc::new(narrow), 1).unwrap_err();
    assert_eq!(fault.code(), antiphon_model::Code::TableWithoutIdentity);
}

#[test]
fn an_undeclared_table_is_ignored_and_asked_about_once() {
    let mut other = (*relation(ReplicaIdentity::Default)).clone();
    other.name = "elsewhere".into();
    let other = Arc::new(other);
    let mut mapper = Mapper::new(&[entity()], vec![]);
    assert!(mapper.unknown_relation(&other).is_none());
    let row = ChangedRow { relation: other, old: OldRow::Absent, new: Some(tuple("1", "acme", "t", Cell::Null)) };
    let transaction = Transaction {
        commit_lsn: Lsn::new(1),
        xid: Xid::new(1),
        committed_at: Micros(0),
        first_ordinal: 0,
        changes: vec![Change::Insert(row)],
        last: true,
    };
    let mut mapped = Mapped::default();
    mapper.map(&transaction, &Checkpoint::start(), &mut mapped);
    assert!(mapped.activities.is_empty());
}

/// A stamped row: its metadata is the JSON text.
fn stamped(id: &str, org: &str, title: &str, body: &str, tx: &str) -> Tuple {
    let text = |text: &str| Cell::Text(text.to_owned().leak().as_bytes());
    Tuple::from_cells([text(id), text(org), text(title), text(body), text("hush"), text(tx)])
}

fn key() -> crate::SealKey {
    crate::SealKey::new(vec![7; 32])
}

/// A message of the mutation service in transaction 10.
fn said(org: &str, id: &str, fields: &[(&str, &str)]) -> Change {
    let fields = fields.iter().map(|(field, id)| ((*field).to_owned(), (*id).to_owned())).collect();
    let tx = antiphon_model::Tx {
        transaction_id: id.into(),
        source_id: "web".into(),
        actor: Some("bob".into()),
        changed_field: Some("title".into()),
        fields,
    };
    message(crate::seal(&key(), Xid::new(10), Some(&crate::Authorship { org: org.into(), tx })))
}

fn message(content: Vec<u8>) -> Change {
    Change::Message { prefix: "antiphon".into(), content: content.into() }
}

/// The author of each activity, and what it says changed.
fn authors(mapped: &Mapped) -> Vec<String> {
    let line = |activity: &Activity| {
        let tx = activity.read_tx();
        let tx = tx.map_or("-".into(), |tx| {
            format!("{} {} {:?} {:?}", tx.transaction_id, tx.actor.unwrap_or_default(), tx.changed_field, tx.fields)
        });
        let changed = activity.changed.clone().unwrap_or_else(|| "all".into());
        let last = if activity.commit.last { "*" } else { "" };
        format!("{} {}{last} {changed} {tx}", activity.action.as_str(), activity.org)
    };
    mapped.activities.iter().map(line).collect()
}

fn believing() -> Bench {
    let mut bench = Bench::new(ReplicaIdentity::Index);
    bench.mapper = std::mem::replace(&mut bench.mapper, Mapper::new(&[], vec![])).believing(key());
    bench
}

#[test]
fn a_row_says_who_wrote_it_and_which_fields_house_2() {
    let mut bench = believing();
    let tx =
        r#"{"transactionId":"2","sourceId":"web","actor":"bob","changedField":"title","fields":{"*":"1","title":"2"}}"#;
    let insert = r#"{"transactionId":"1","sourceId":"sql","actor":null,"changedField":null,"fields":{"*":"1"}}"#;
    let changes = vec![
        Change::Insert(bench.row(OldRow::Absent, Some(stamped("1", "acme", "a", "b", insert)))),
        Change::Update(bench.row(OldRow::Absent, Some(stamped("1", "acme", "c", "b", tx)))),
        Change::Update(bench.row(OldRow::Absent, Some(stamped("1", "acme", "c", "b", "{}")))),
        Change::Delete(bench.row(identity("1", "acme"), None)),
    ];
    let mapped = bench.map(10, 0, changes, true, &Checkpoint::start());
    assert_eq!(
        authors(&mapped),
        [
            r#"create acme all 1  None {}"#,
            r#"update acme ["title"] 2 bob Some("title") {}"#,
            "update acme all -",
            "delete acme* [] 0000000000000.0000.sql-10  None {}"
        ]
    );
}

#[test]
fn a_large_value_that_did_not_change_is_named_and_left_out_on_a_stamped_table() {
    let mut bench = believing();
    let tx =
        r#"{"transactionId":"2","sourceId":"web","actor":"bob","changedField":"title","fields":{"*":"1","title":"2"}}"#;
    let large = "x".repeat(9_000);
    let update = Change::Update(bench.row(OldRow::Absent, Some(stamped("1", "acme", &large, &large, tx))));
    let mapped = bench.map(10, 0, vec![update], true, &Checkpoint::start());
    assert_eq!(mapped.activities[0].details.as_deref(), Some(r#""unchanged":["body"]"#));
    assert!(mapped.activities[0].image.as_ref().unwrap().contains(&large));
}

#[test]
fn a_message_governs_what_follows_it_and_is_a_mark_where_nothing_does_house_12() {
    let mut bench = believing();
    let tx = r#"{"transactionId":"5","sourceId":"web","actor":"bob","changedField":"title","fields":{"title":"5","body":"4"}}"#;
    let changes = vec![
        said("acme", "3", &[]),
        Change::Delete(bench.row(identity("1", "acme"), None)),
        said("acme", "5", &[("title", "5"), ("body", "4")]),
        Change::Update(bench.row(OldRow::Absent, Some(stamped("2", "acme", "c", "b", tx)))),
        said("acme", "6", &[]),
        said("globex", "7", &[]),
        Change::Delete(bench.row(identity("3", "acme"), None)),
        message(crate::seal(&key(), Xid::new(10), None)),
        Change::Delete(bench.row(identity("4", "acme"), None)),
        // Of another transaction, of another key, of nobody.
        message(crate::seal(&key(), Xid::new(11), None)),
        message(crate::seal(&crate::SealKey::new(vec![8; 32]), Xid::new(10), None)),
        message(b"{}".to_vec()),
        message(b"{\"watermark\":\"a-1\"}".to_vec()),
    ];
    let mapped = bench.map(10, 0, changes, true, &Checkpoint::start());
    assert_eq!(
        authors(&mapped),
        [
            r#"delete acme [] 3 bob Some("title") {}"#,
            r#"update acme ["title","body"] 5 bob Some("title") {"body": "4", "title": "5"}"#,
            r#"mark acme [] 6 bob Some("title") {}"#,
            r#"delete acme [] 7 bob Some("title") {}"#,
            r#"mark globex* [] 7 bob Some("title") {}"#,
            "delete acme* [] 0000000000000.0000.sql-10  None {}",
        ]
    );
    assert_eq!(bench.mapper.messages_refused(), 3);
}

#[test]
fn a_message_reigns_over_the_parts_of_a_large_transaction_and_a_known_one_adds_nothing() {
    let mut bench = believing();
    let first = bench.map(10, 0, vec![said("acme", "3", &[])], false, &Checkpoint::start());
    assert!(first.activities.is_empty());
    let delete = Change::Delete(bench.row(identity("1", "acme"), None));
    let second = bench.map(10, 1, vec![delete], true, &Checkpoint::start());
    assert_eq!(authors(&second), [r#"delete acme* [] 3 bob Some("title") {}"#]);
    let known = Checkpoint { lsn: Lsn::new(10), ordinal: 1, ..Checkpoint::start() };
    let again = vec![said("acme", "3", &[]), Change::Delete(bench.row(identity("1", "acme"), None))];
    assert!(bench.map(10, 0, again, true, &known).activities.is_empty());
}

#[test]
fn what_policies_read_travels_old_and_new_str_05() {
    let mut entity = (*entity()).clone();
    entity.rules = vec![antiphon_model::Rule {
        when: Some(antiphon_model::Condition::Owner { column: "secret".into() }),
        ..antiphon_model::Rule::default()
    }];
    let mut mapper = Mapper::new(&[Arc::new(entity)], vec![]);
    let relation = relation(ReplicaIdentity::Full);
    mapper.learn(&relation, 7).unwrap();
    let row = |old: OldRow, new: Option<Tuple>| ChangedRow { relation: Arc::clone(&relation), old, new };
    let owned = |owner: &'static str| {
        let text = |text: &'static str| Cell::Text(text.as_bytes());
        Tuple::from_cells([text("1"), text("acme"), text("t"), text("b"), text(owner), Cell::Null])
    };
    let changes = vec![
        Change::Insert(row(OldRow::Absent, Some(owned("bob")))),
        Change::Update(row(OldRow::Full(owned("bob")), Some(owned("eve")))),
        Change::Delete(row(OldRow::Full(owned("eve")), None)),
    ];
    let mut mapped = Mapped::default();
    let transaction = Transaction {
        commit_lsn: Lsn::new(10),
        xid: Xid::new(10),
        committed_at: Micros(0),
        first_ordinal: 0,
        changes,
        last: true,
    };
    mapper.map(&transaction, &Checkpoint::start(), &mut mapped);
    let policies: Vec<_> = mapped.activities.iter().map(|activity| activity.policy.as_deref().unwrap()).collect();
    assert_eq!(
        policies,
        [
            r#"{"new":{"secret":"bob"}}"#,
            r#"{"new":{"secret":"eve"},"old":{"secret":"bob"}}"#,
            r#"{"old":{"secret":"eve"}}"#
        ]
    );
}

#[test]
fn everyones_rows_are_there_once_and_end_the_transaction_mut_09() {
    let everyones = EntityType { org: Tenancy::Everyone, ..(*entity()).clone() };
    let mut mapper = Mapper::new(&[Arc::new(everyones)], vec![]);
    let relation = relation(ReplicaIdentity::Index);
    mapper.learn(&relation, 7).unwrap();
    let row = ChangedRow {
        relation: Arc::clone(&relation),
        old: OldRow::Absent,
        new: Some(tuple("1", "ignored", "t", Cell::Text(b"b"))),
    };
    let transaction = Transaction {
        commit_lsn: Lsn::new(10),
        xid: Xid::new(10),
        committed_at: Micros(0),
        first_ordinal: 0,
        changes: vec![Change::Insert(row)],
        last: true,
    };
    let mut mapped = Mapped::default();
    mapper.map(&transaction, &Checkpoint::start(), &mut mapped);
    assert_eq!(authors(&mapped), ["create ** all -"]);
}

#[test]
fn a_row_that_kept_an_older_stamp_confirms_nothing_so_a_mark_does_house_12() {
    let mut bench = believing();
    // A trigger touched the row and left it as it was; an unstamped row names nobody.
    let older =
        r#"{"transactionId":"2","sourceId":"web","actor":"bob","changedField":null,"fields":{"*":"1","title":"2"}}"#;
    let changes = vec![
        said("acme", "3", &[]),
        Change::Update(bench.row(OldRow::Absent, Some(stamped("1", "acme", "c", "b", older)))),
        said("acme", "4", &[]),
        bench.insert("9", "acme"),
        said("acme", "5", &[]),
        Change::Truncate(vec![Arc::clone(&bench.relation)]),
    ];
    assert_eq!(
        authors(&bench.map(10, 0, changes, true, &Checkpoint::start())),
        [
            r#"update acme ["title"] 2 bob None {}"#,
            r#"mark acme [] 3 bob Some("title") {}"#,
            "create acme all -",
            r#"mark acme [] 4 bob Some("title") {}"#,
            r#"truncate acme* all 5 bob Some("title") {}"#,
            r#"truncate initech* all 5 bob Some("title") {}"#,
        ]
    );
}

#[test]
fn a_field_is_changed_where_its_id_in_the_row_is_the_statements_house_2() {
    let mut bench = believing();
    // The row was made by 5; a counter that needs no expected id was added to by 4, then a title by 6.
    let all =
        r#"{"transactionId":"5","sourceId":"web","actor":"bob","changedField":null,"fields":{"*":"5","title":"4"}}"#;
    let update = Change::Update(bench.row(OldRow::Absent, Some(stamped("1", "acme", "c", "b", all))));
    assert_eq!(
        authors(&bench.map(10, 0, vec![update], true, &Checkpoint::start())),
        [r#"update acme* ["id","org","body"] 5 bob None {}"#]
    );
}

#[test]
fn an_unchanged_value_that_would_be_omitted_is_named_unchanged_all_the_same() {
    let mut bench = believing();
    let tx =
        r#"{"transactionId":"2","sourceId":"web","actor":"bob","changedField":"title","fields":{"*":"1","title":"2"}}"#;
    let huge = "x".repeat(crate::OMITTED_ABOVE_BYTES + 1);
    let update = Change::Update(bench.row(OldRow::Absent, Some(stamped("1", "acme", "t", &huge, tx))));
    let mapped = bench.map(10, 0, vec![update], true, &Checkpoint::start());
    assert_eq!(mapped.activities[0].details.as_deref(), Some(r#""unchanged":["body"]"#));
}

#[test]
fn a_change_that_leaves_a_large_value_out_never_outdates_a_copied_row_cap_20() {
    let bench = believing();
    let tx =
        r#"{"transactionId":"2","sourceId":"web","actor":"bob","changedField":"title","fields":{"*":"1","title":"2"}}"#;
    let large = "x".repeat(9_000);
    for (title, body, whole) in [(&large[..], "b", true), ("t", &large[..], false), ("t", &large[..8_190], true)] {
        let row = bench.row(OldRow::Absent, Some(stamped("1", "acme", title, body, tx)));
        assert_eq!(bench.mapper.touched(&row), Some(("page", vec!["1".to_owned()], whole)), "{}", body.len());
        let full = bench.row(OldRow::Full(stamped("1", "acme", "old", body, "{}")), row.new);
        assert_eq!(bench.mapper.touched(&full).map(|(_, _, whole)| whole), Some(whole));
    }
}

#[test]
fn what_an_old_row_does_not_hold_is_not_said_and_what_did_not_change_is_left_out_str_05() {
    let mut entity = (*entity()).clone();
    let owner = |column: &str| antiphon_model::Rule {
        when: Some(antiphon_model::Condition::Owner { column: column.into() }),
        ..antiphon_model::Rule::default()
    };
    entity.rules = vec![owner("secret"), owner("id")];
    let policies = |kind: ReplicaIdentity, changes: &dyn Fn(&Arc<Relation>) -> Vec<Change>| -> Vec<String> {
        let mut mapper = Mapper::new(&[Arc::new(entity.clone())], vec![]);
        let relation = relation(kind);
        mapper.learn(&relation, 7).unwrap();
        let transaction = Transaction {
            commit_lsn: Lsn::new(10),
            xid: Xid::new(10),
            committed_at: Micros(0),
            first_ordinal: 0,
            changes: changes(&relation),
            last: true,
        };
        let mut mapped = Mapped::default();
        mapper.map(&transaction, &Checkpoint::start(), &mut mapped);
        mapped.activities.into_iter().map(|activity| activity.policy.unwrap()).collect()
    };
    let row = |relation: &Arc<Relation>, old, new| ChangedRow { relation: Arc::clone(relation), old, new };
    let now = || Some(tuple("1", "acme", "new", Cell::Null));
    let same = policies(ReplicaIdentity::Full, &|relation| {
        vec![Change::Update(row(relation, OldRow::Full(tuple("1", "acme", "old", Cell::Null)), now()))]
    });
    assert_eq!(same, [r#"{"new":{"id":"1","secret":"hush"}}"#]);
    let known = policies(ReplicaIdentity::Index, &|relation| {
        vec![
            Change::Update(row(relation, OldRow::Absent, now())),
            Change::Delete(row(relation, identity("1", "acme"), None)),
        ]
    });
    assert_eq!(known, [r#"{"new":{"id":"1","secret":"hush"}}"#, r#"{"old":{"id":"1"}}"#]);
}

#[test]
fn one_end_holds_for_all_where_everyones_rows_are_among_them_and_they_are_emptied_once_mut_09() {
    let everyones = EntityType {
        name: "country".into(),
        table: RelationName { schema: "public".into(), name: "countries".into() },
        org: Tenancy::Everyone,
        ..(*entity()).clone()
    };
    let mut countries = (*relation(ReplicaIdentity::Index)).clone();
    (countries.oid, countries.name) = (2, "countries".into());
    let countries = Arc::new(countries);
    // It was declared with an organisation once.
    let known = vec![("country".to_owned(), "acme".to_owned())];
    let mut bench = Bench {
        mapper: Mapper::new(&[entity(), Arc::new(everyones)], known),
        relation: relation(ReplicaIdentity::Index),
    };
    bench.mapper.learn(&bench.relation, 7).unwrap();
    bench.mapper.learn(&countries, 8).unwrap();
    let country = || {
        Change::Insert(ChangedRow {
            relation: Arc::clone(&countries),
            old: OldRow::Absent,
            new: Some(tuple("at", "ignored", "t", Cell::Null)),
        })
    };
    let start = Checkpoint::start();
    let both = vec![country(), bench.insert("1", "acme")];
    assert_eq!(authors(&bench.map(10, 0, both, true, &start)), ["create * all -", "create acme all -", "mark ** [] -"]);
    let both = vec![bench.insert("1", "acme"), Change::Truncate(vec![Arc::clone(&countries)])];
    let truncated = "truncate ** all 0000000000000.0000.sql-20  None {}";
    assert_eq!(authors(&bench.map(20, 0, both, true, &start)), ["create acme all -", truncated]);
    assert_eq!(authors(&bench.map(30, 0, vec![country()], false, &start)), ["create * all -"]);
    let rest = vec![bench.insert("1", "acme")];
    assert_eq!(authors(&bench.map(30, 1, rest, true, &start)), ["create acme all -", "mark ** [] -"]);
}
