//! The mapping's rules, one case each.

use std::collections::BTreeMap;

use antiphon_model::{
    Cell, Column, Lsn, Merge, Micros, RelationName, ReplicaIdentity, Sync, Tenancy, Type, TypeKind, Xid,
};

use super::*;

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
