//! A mirrored table: its columns, what identifies its rows, and the statements that make it.
//!
//! A column has the source's type where the target knows a type of that name, else it is text and holds what the source
//! prints. Not null is only what identifies a row: a row may arrive before its long values do. Indexes, defaults, checks,
//! references and triggers are not mirrored.

use std::{collections::HashMap, sync::Arc};

use antiphon_engine::{Fault, ports::Shape};
use antiphon_model::{Activity, Code, EntityType, RelationName, Tenancy, Type};
use tokio_postgres::Client;

use super::errors;

/// Returns a name as it stands in statements.
pub(super) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn qualified(table: &RelationName) -> String {
    format!("{}.{}", ident(&table.schema), ident(&table.name))
}

/// A column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// The source's type.
    pub(super) ty: Arc<Type>,
    /// The target's type, as it stands in statements.
    pub(super) sql_type: String,
}

/// A table as it is mirrored.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) entity: Arc<EntityType>,
    /// The table as it stands in statements.
    pub(super) table: String,
    pub(super) columns: Vec<Column>,
    /// The columns that identify a row, by their places.
    pub(super) identity: Vec<usize>,
    /// Among them the organisation's, where keys are unique only within it.
    org: Option<usize>,
    places: HashMap<String, usize>,
}

impl Layout {
    /// Works out how a type is mirrored, asking the target for its types.
    pub(super) async fn resolve(client: &Client, entity: &Arc<EntityType>, shape: &Shape) -> Result<Layout, Fault> {
        let names: Vec<&str> = shape.fields.iter().map(|field| field.ty.name.as_str()).collect();
        // Without its modifier a type takes every value: `character` alone would be a single one.
        let sql = "select coalesce(pg_catalog.format_type(pg_catalog.to_regtype(name)::oid, -1), 'text')
                   from pg_catalog.unnest($1::text[]) with ordinality as wanted(name, place) order by place";
        let found = client.query(sql, &[&names]).await.map_err(|error| errors::sql(error, "types"))?;
        let columns = shape.fields.iter().zip(&found).map(|(field, row)| Column {
            name: field.name.clone(),
            ty: Arc::clone(&field.ty),
            sql_type: row.get(0),
        });
        Layout::new(entity, columns.collect())
    }

    fn new(entity: &Arc<EntityType>, columns: Vec<Column>) -> Result<Layout, Fault> {
        let places: HashMap<String, usize> =
            columns.iter().enumerate().map(|(place, column)| (column.name.clone(), place)).collect();
        let key = entity.key.iter().map(|name| {
            let lacks = || Fault::new(Code::TableUnfit, format!("table {}: there is no column `{name}`", entity.table));
            places.get(name).copied().ok_or_else(lacks)
        });
        let mut identity = key.collect::<Result<Vec<usize>, Fault>>()?;
        let org = match &entity.org {
            Tenancy::Column(column) => places.get(column).copied(),
            Tenancy::Via { .. } | Tenancy::Everyone => None,
        };
        let org = org.filter(|place| !identity.contains(place));
        identity.extend(org);
        let table = qualified(&entity.table);
        Ok(Layout { entity: Arc::clone(entity), table, columns, identity, org, places })
    }

    /// Returns the place of a column.
    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// Returns what identifies an activity's row.
    pub(super) fn identity_of(&self, activity: &Activity) -> Result<Vec<String>, Fault> {
        let id = activity.entity_id.as_deref().unwrap_or_default();
        let unfit = || Fault::new(Code::LogCorrupt, format!("activity {} names no row of its type", activity.id));
        let mut identity = self.entity.key_values(id).ok_or_else(unfit)?;
        if self.org.is_some() {
            identity.push(activity.org.clone());
        }
        Ok(identity)
    }

    /// Returns the statement that makes the table.
    pub(super) fn create(&self) -> String {
        let columns = self.columns.iter().map(|column| format!("{} {}", ident(&column.name), column.sql_type));
        let columns: Vec<String> = columns.collect();
        let identity: Vec<String> = self.identity.iter().map(|place| ident(&self.columns[*place].name)).collect();
        format!("create table {} ({}, primary key ({}))", self.table, columns.join(", "), identity.join(", "))
    }

    /// Compares the table that is there with what it should be; returns the statements that add what it lacks.
    pub(super) async fn reconcile(&mut self, client: &Client) -> Result<Vec<String>, Fault> {
        let sql = "select a.attname::text, pg_catalog.format_type(a.atttypid, -1) from pg_catalog.pg_attribute a
                   where a.attrelid = pg_catalog.to_regclass($1)::oid and a.attnum > 0 and not a.attisdropped";
        let found = client.query(sql, &[&self.table]).await.map_err(|error| errors::sql(error, "columns"))?;
        let mut known: HashMap<String, String> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
        let mut missing = Vec::new();
        for column in &mut self.columns {
            let Some(known) = known.remove(&column.name) else {
                let (name, sql_type) = (ident(&column.name), &column.sql_type);
                missing.push(format!("alter table {} add column {name} {sql_type}", self.table));
                continue;
            };
            // Text takes whatever the source prints.
            if known != column.sql_type && known != "text" {
                let (table, name, wanted) = (&self.entity.table, &column.name, &column.sql_type);
                let detail = format!(
                    "table {table}: the column `{name}` is {known} in the mirror and {wanted} in the source; \
                     `alter table` gives it that type there"
                );
                return Err(Fault::new(Code::MirrorTableUnfit, detail));
            }
            column.sql_type = known;
        }
        Ok(missing)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use antiphon_model::{Action, ActivityId, Commit, Lsn, Micros, Sync, TypeKind, Xid};

    use super::*;

    fn entity(org: Tenancy, key: &[&str]) -> Arc<EntityType> {
        Arc::new(EntityType {
            name: "t".into(),
            table: RelationName { schema: "s".into(), name: "odd\"name".into() },
            org,
            key: key.iter().map(|name| (*name).to_owned()).collect(),
            tx: "tx".into(),
            hidden: Vec::new(),
            sync: Sync::All,
            filter: Vec::new(),
            together: Vec::new(),
            refs: BTreeMap::new(),
            fields: BTreeMap::new(),
            rules: Vec::new(),
            polling: Default::default(),
        })
    }

    fn column(name: &str) -> Column {
        let ty = Arc::new(Type { name: "text".into(), kind: TypeKind::Text });
        Column { name: name.into(), ty, sql_type: "text".into() }
    }

    #[test]
    fn rows_are_identified_by_their_key_within_their_organisation_pip_04() {
        let columns = || vec![column("org"), column("id")];
        let layout = Layout::new(&entity(Tenancy::Column("org".into()), &["id"]), columns()).expect("it fits");
        assert_eq!(layout.identity, [1, 0]);
        assert_eq!(
            layout.create(),
            r#"create table "s"."odd""name" ("org" text, "id" text, primary key ("id", "org"))"#
        );
        let activity = Activity {
            id: ActivityId::new(1),
            org: "acme".into(),
            entity_type: "t".into(),
            entity_id: Some("7".into()),
            action: Action::Delete,
            image: None,
            changed: None,
            details: None,
            tx: None,
            policy: None,
            schema: 1,
            commit: Commit { lsn: Lsn::new(1), seq: 0, last: true, xid: Xid::new(1), at: Micros(0) },
        };
        assert_eq!(layout.identity_of(&activity).expect("a row"), ["7", "acme"]);
        let everyone = Layout::new(&entity(Tenancy::Everyone, &["id"]), columns()).expect("it fits");
        assert_eq!(
            (everyone.identity.clone(), everyone.identity_of(&activity).expect("a row")),
            (vec![1], vec!["7".into()])
        );
        let within = Layout::new(&entity(Tenancy::Column("org".into()), &["org", "id"]), columns()).expect("it fits");
        assert_eq!(within.identity, [0, 1]);
    }
}
