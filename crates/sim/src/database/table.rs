//! The declared tables of every run: pages, tasks, and notes whose rules look at the row.
//!
//! Together they have every merge strategy, a table whose identity is key and organisation, and one whose old rows are
//! written whole because its rules read columns (house 11).

use std::{collections::BTreeMap, sync::Arc};

use antiphon_engine::{
    ImageWriter,
    ports::{Field, HeldRow, RowImage, Shape},
};
use antiphon_model::{
    Cell, Column, Columns, Condition, EntityType, Merge, Relation, RelationName, ReplicaIdentity, Role, Rule, Sync,
    Tenancy, Tuple, Tx, Type, write_string,
};
use antiphon_wire::TypeTable;

const TEXT: u32 = 25;
const INT4: u32 = 23;
const TEXT_ARRAY: u32 = 1009;
const JSONB: u32 = 3802;

/// A row: the texts of its columns in the table's order, the metadata last.
pub(crate) type Row = Vec<Option<String>>;

/// A declared table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) entity: Arc<EntityType>,
    pub(crate) relation: Arc<Relation>,
    /// Each column's name as JSON.
    names: Vec<String>,
}

/// Returns every table in the order of the types' names.
pub(crate) fn all() -> Vec<Arc<Table>> {
    let merges = |of: &[(&str, Merge)]| of.iter().map(|(name, merge)| ((*name).to_owned(), *merge)).collect();
    let note = Table::new(
        ("note", 16_401),
        &[("owner", TEXT), ("state", TEXT), ("text", TEXT)],
        (BTreeMap::new(), note_rules()),
    );
    let page = Table::new(
        ("page", 16_402),
        &[("title", TEXT), ("body", TEXT), ("position", TEXT)],
        (merges(&[("title", Merge::Manual), ("body", Merge::Text)]), Vec::new()),
    );
    let task = Table::new(
        ("task", 16_403),
        &[("page_id", TEXT), ("title", TEXT), ("status", TEXT), ("votes", INT4), ("labels", TEXT_ARRAY)],
        (merges(&[("title", Merge::Manual), ("votes", Merge::Counter), ("labels", Merge::Set)]), Vec::new()),
    );
    vec![Arc::new(note), Arc::new(page), Arc::new(task)]
}

/// Owners see and write their notes, everyone sees the texts of public ones, whoever runs the organisation sees all.
fn note_rules() -> Vec<Rule> {
    let own = Rule {
        roles: vec![Role::Member, Role::Admin, Role::Owner],
        when: Some(Condition::Owner { column: "owner".into() }),
        read: Columns::All,
        write: Columns::All,
        create: true,
        delete: true,
    };
    let public = Condition::OneOf { column: "state".into(), values: vec!["public".into()] };
    let shown = Rule { when: Some(public), read: Columns::of(["text", "state"]), ..Rule::default() };
    let run = Rule { roles: vec![Role::Admin, Role::Owner], read: Columns::All, ..Rule::default() };
    vec![own, shown, run]
}

/// Devices keep tasks in parts only.
pub(crate) fn on_demand(name: &str) -> bool {
    name == "task"
}

impl Table {
    fn new((name, oid): (&str, u32), fields: &[(&str, u32)], rules: (BTreeMap<String, Merge>, Vec<Rule>)) -> Table {
        let types = TypeTable::new();
        let (merges, rules) = rules;
        let full = !rules.is_empty();
        let all = [("id", TEXT), ("org", TEXT)].into_iter().chain(fields.iter().copied()).chain([("tx", JSONB)]);
        let column = |(name, type_oid): (&str, u32)| Column {
            name: name.to_owned(),
            identity: full || matches!(name, "id" | "org"),
            type_oid,
            type_modifier: -1,
            // INVARIANT: the four types are built in.
            ty: types.resolve(type_oid).unwrap_or_else(|| Arc::new(Type::text("text"))),
        };
        let columns: Vec<Column> = all.map(column).collect();
        let entity = EntityType {
            name: name.to_owned(),
            table: RelationName { schema: "public".into(), name: format!("{name}s") },
            org: Tenancy::Column("org".into()),
            key: vec!["id".into()],
            tx: "tx".into(),
            hidden: Vec::new(),
            sync: if on_demand(name) { Sync::OnDemand } else { Sync::All },
            filter: if on_demand(name) { vec!["status".into(), "title".into()] } else { Vec::new() },
            together: Vec::new(),
            refs: BTreeMap::new(),
            fields: merges,
            rules,
            polling: Default::default(),
        };
        let names = columns.iter().map(|column| {
            let mut name = String::new();
            write_string(&mut name, &column.name);
            name
        });
        let names = names.collect();
        let relation = Relation {
            oid,
            schema: "public".into(),
            name: format!("{name}s"),
            identity: if full { ReplicaIdentity::Full } else { ReplicaIdentity::Index },
            columns,
        };
        Table { entity: Arc::new(entity), relation: Arc::new(relation), names }
    }

    /// Returns the place of a column.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.relation.columns.iter().position(|column| column.name == name)
    }

    /// The place of the metadata.
    pub(crate) fn tx(&self) -> usize {
        self.relation.columns.len() - 1
    }

    /// Makes a row without values.
    pub(crate) fn empty(&self, id: &str, org: &str) -> Row {
        let mut row = vec![None; self.relation.columns.len()];
        row[0] = Some(id.to_owned());
        row[1] = Some(org.to_owned());
        row
    }

    /// Returns a column's text.
    pub(crate) fn text<'a>(&self, row: &'a Row, name: &str) -> Option<&'a str> {
        row.get(self.column(name)?)?.as_deref()
    }

    /// Reads a row's metadata.
    pub(crate) fn tx_of(&self, row: &Row) -> Option<Tx> {
        row.get(self.tx())?.as_deref().and_then(Tx::parse)
    }

    /// Returns a whole row as decoding lays it out.
    pub(crate) fn tuple(&self, row: &Row) -> Tuple {
        Tuple::from_cells(row.iter().map(cell))
    }

    /// Returns what decoding says of an old row by its identity.
    pub(crate) fn identity(&self, row: &Row) -> Tuple {
        let kept = row.iter().zip(&self.relation.columns);
        Tuple::from_cells(kept.map(|(value, column)| if column.identity { cell(value) } else { Cell::Null }))
    }

    /// Returns a row as lists show it.
    pub(crate) fn image(&self, row: &Row) -> RowImage {
        let mut writer = ImageWriter::default();
        writer.start();
        for ((name, column), value) in self.names.iter().zip(&self.relation.columns).zip(row) {
            if self.entity.shows(&column.name) {
                writer.push(name, &column.ty, cell(value));
            }
        }
        let (image, details) = writer.finish(None);
        RowImage { image, details, tx: row[self.tx()].clone(), policy: self.policy(row) }
    }

    /// Returns the columns that rules read.
    pub(crate) fn policy(&self, row: &Row) -> BTreeMap<String, Option<String>> {
        let columns = self.entity.policy_columns().into_iter();
        columns.map(|name| (name.to_owned(), self.text(row, name).map(str::to_owned))).collect()
    }

    /// Returns a row as the door holds it.
    pub(crate) fn held(&self, row: &Row) -> HeldRow {
        let image = self.image(row);
        HeldRow {
            entity_id: row[0].clone().unwrap_or_default(),
            tx_text: image.tx.clone(),
            tx: self.tx_of(row),
            policy: image.policy.clone(),
            row: image,
        }
    }

    /// Returns the shape that the schema shows.
    pub(crate) fn shape(&self) -> Shape {
        let shown = self.relation.columns.iter().filter(|column| self.entity.shows(&column.name));
        let field = |column: &Column| Field {
            name: column.name.clone(),
            ty: Arc::clone(&column.ty),
            nullable: !matches!(column.name.as_str(), "id" | "org"),
            default: None,
            length_max: None,
        };
        Shape { fields: shown.map(field).collect() }
    }
}

fn cell(value: &Option<String>) -> Cell<'_> {
    value.as_deref().map_or(Cell::Null, |text| Cell::Text(text.as_bytes()))
}
