//! The demonstration application: three tables of protocol 8, realistic rows, and their declarations.
//!
//! Law: the rows are the same at every first start (ids and texts come from their numbers, times from one moment), so
//! that what a page says about them holds.

use std::collections::BTreeMap;

use antiphon_model::{EntityType, Merge, RelationName, Sync, Tenancy};

/// The tables; run once in an empty database.
pub(super) const SCHEMA: &str = include_str!("demo/schema.sql");
/// The rows; run once after the tables, in the same transaction.
pub(super) const ROWS: &str = include_str!("demo/rows.sql");

/// A user of the demonstration.
pub(super) struct DemoUser {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) org: Option<(&'static str, antiphon_model::Role)>,
    pub(super) system_admin: bool,
}

/// The organisations: id and name.
pub(super) const ORGS: [(&str, &str); 2] = [("acme", "Acme"), ("globex", "Globex")];

/// The users of protocol 8.
pub(super) const USERS: [DemoUser; 4] = [
    DemoUser {
        id: "alice",
        name: "Alice Adams",
        org: Some(("acme", antiphon_model::Role::Owner)),
        system_admin: false,
    },
    DemoUser { id: "bob", name: "Bob Brown", org: Some(("acme", antiphon_model::Role::Member)), system_admin: false },
    DemoUser {
        id: "carol",
        name: "Carol Cole",
        org: Some(("globex", antiphon_model::Role::Member)),
        system_admin: false,
    },
    DemoUser { id: "admin", name: "Admin", org: None, system_admin: true },
];

/// Returns the declarations of the three tables.
pub(super) fn entities() -> Vec<EntityType> {
    let entity = |name: &str, table: &str, filter: &[&str], merges: &[(&str, Merge)]| EntityType {
        name: name.into(),
        table: RelationName { schema: "public".into(), name: table.into() },
        org: Tenancy::Column("organization_id".into()),
        key: vec!["id".into()],
        tx: "tx".into(),
        hidden: Vec::new(),
        sync: Sync::All,
        filter: filter.iter().map(|&field| field.into()).collect(),
        together: Vec::new(),
        refs: BTreeMap::new(),
        fields: merges.iter().map(|&(field, merge)| (field.into(), merge)).collect(),
        rules: Vec::new(),
        polling: Default::default(),
    };
    let page = entity(
        "page",
        "pages",
        &["archived", "position", "title", "updated_at"],
        &[("title", Merge::Manual), ("body", Merge::Text)],
    );
    let mut task = entity(
        "task",
        "tasks",
        &["page_id", "status", "assignee", "priority", "due_on", "position"],
        &[("title", Merge::Manual), ("labels", Merge::Set), ("votes", Merge::Counter)],
    );
    let mut attachment = entity("attachment", "attachments", &["page_id", "state"], &[]);
    for referring in [&mut task, &mut attachment] {
        referring.refs.insert("page_id".into(), "page".into());
    }
    vec![page, task, attachment]
}
