//! A polled table: its cursor, and the SQL by which its rows are read, told apart and compared (CAP-40).
//!
//! Refused: columns that cannot be a cursor, each with why. A transaction number (`xmin`) is none: it wraps around,
//! freezing resets it, and its order is not that of commits (PL-09). Paging is by strict comparison of the row (cursor,
//! key), never by an offset, so ties across a page's edge are read once each (PL-03, PL-11).

use std::sync::Arc;

use antiphon_engine::Fault;
use antiphon_model::{Code, EntityType};
use tokio_postgres::Client;

use super::window::Kind;
use crate::{
    catalogue::{self, ColumnInfo, TableInfo},
    errors, quote, rows,
    trigger_capture::{RecordedColumn, function},
};

/// Types of a cursor, whether their values are moments, and what tells a value that is none (SQL over `t` and `$c`).
const CURSORS: [(&str, Kind, &str); 6] = [
    ("pg_catalog.timestamptz", Kind::Timed, "pg_catalog.isfinite($c)"),
    ("pg_catalog.\"timestamp\"", Kind::Ranked, "pg_catalog.isfinite($c)"),
    ("pg_catalog.int8", Kind::Ranked, "true"),
    ("pg_catalog.int4", Kind::Ranked, "true"),
    ("pg_catalog.int2", Kind::Ranked, "true"),
    (
        "pg_catalog.\"numeric\"",
        Kind::Ranked,
        "$c <> 'NaN'::pg_catalog.numeric and $c <> 'Infinity'::pg_catalog.numeric",
    ),
];
/// Columns that every table has and no declaration names.
const SYSTEM: [&str; 6] = ["xmin", "xmax", "cmin", "cmax", "ctid", "tableoid"];

/// A declared table as it is polled.
#[derive(Clone, Debug)]
pub(super) struct Polled {
    /// Its declaration.
    pub(super) entity: Arc<EntityType>,
    /// Its description.
    pub(super) table: TableInfo,
    /// The number under which its shape is kept.
    pub(super) shape: i64,
    /// The shapes, this one among them, whose rows are told apart by the same columns: what was noted under another one
    /// cannot be compared, and such a row that has changed is told as gone and as new (its rules read other columns now).
    pub(super) alike: Vec<i64>,
    /// What its cursor's values are.
    pub(super) kind: Kind,
}

/// Checks the columns by which a table is polled and returns the cursor's kind.
///
/// # Errors
/// Fails with `CONFIG_INVALID` where none is named, and with `TABLE_UNFIT` where one cannot serve, each time with why.
pub(super) fn check(table: &TableInfo, entity: &EntityType) -> Result<Kind, Fault> {
    let Some(name) = &entity.polling.cursor else {
        let detail = format!(
            "entity {}: capture.method is `query`, and no `cursor` is named: the column of {} that every write raises, such as `updated_at`",
            entity.name, entity.table
        );
        return Err(Fault::new(Code::ConfigInvalid, detail));
    };
    let unfit = |why: String| Fault::new(Code::TableUnfit, format!("table {}: {why}", entity.table));
    let Some(column) = table.column(name) else {
        if SYSTEM.contains(&name.as_str()) {
            return Err(unfit(format!(
                "the cursor `{name}` is a system column, which is no cursor: transaction numbers wrap around and are \
                 frozen, and their order is not that of commits; name a column such as `updated_at`"
            )));
        }
        return Err(unfit(format!("there is no column `{name}`, which is named as its cursor")));
    };
    let Some((_, kind, _)) = CURSORS.iter().find(|(sql, ..)| *sql == column.type_sql) else {
        let why = format!("the column `{name}` is {} and cannot be a cursor", column.ty.name);
        return Err(unfit(format!("{why}; timestamptz, timestamp, integers and numeric serve")));
    };
    if let Some(deleted) = &entity.polling.soft_delete
        && table.column(deleted).is_none()
    {
        return Err(unfit(format!("there is no column `{deleted}`, which is named as its soft_delete")));
    }
    Ok(*kind)
}

/// The columns that tell rows apart.
fn identified(columns: &[RecordedColumn]) -> impl Iterator<Item = &str> {
    columns.iter().filter(|(_, _, _, kind)| kind == "k").map(|(name, ..)| name.as_str())
}

/// The columns by which rows are told apart: the key, and the organisation where the key is unique only within it.
fn key<'a>(table: &'a TableInfo, entity: &EntityType) -> Result<Vec<&'a ColumnInfo>, Fault> {
    let org = entity
        .org_column()
        .filter(|org| !entity.key.iter().any(|key| key == org) && !table.unique_within(&entity.key, None));
    entity.key.iter().map(String::as_str).chain(org).map(|name| rows::column(table, name)).collect()
}

fn key_array(columns: &[&ColumnInfo]) -> Result<String, Fault> {
    let texts: Result<Vec<_>, Fault> =
        columns.iter().map(|column| Ok(format!("t.{}::pg_catalog.text", quote::ident(&column.name)?))).collect();
    Ok(format!("array[{}]::pg_catalog.text[]", texts?.join(", ")))
}

/// Whether a row `t` is noted as told, as a condition: a copy tells those alone. One that it told and nobody noted could
/// be deleted before a poll sees it, and nothing would ever find that.
pub(crate) fn noted(table: &TableInfo, entity: &EntityType) -> Result<String, Fault> {
    let (oid, key) = (table.oid, key_array(&key(table, entity)?)?);
    // One look at the index for each row: as a join it would read all that was ever told, while there are no statistics.
    Ok(format!("(select true from antiphon.poll_told w where w.relation = {oid} and w.key = {key})"))
}

impl Polled {
    /// Describes a declared table, and keeps its shape for whoever reads its recorded rows.
    pub(super) async fn describe(client: &Client, entity: &Arc<EntityType>) -> Result<Polled, Fault> {
        let table = catalogue::describe(client, entity).await?;
        catalogue::fits(&table, entity)?;
        let kind = check(&table, entity)?;
        let columns = function::recorded(&table, entity);
        let shape = function::shape_number(&table, &columns);
        let statement = "insert into antiphon.audit_shapes (relation, shape, schema_name, table_name, columns)
            values ($1, $2, $3, $4, $5) on conflict do nothing";
        let text = function::shape_text(&columns);
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&table.oid, &shape, &table.name.schema, &table.name.name, &text];
        client.execute(statement, &values).await.map_err(errors::sql)?;
        let mut alike = vec![shape];
        let statement = "select shape, columns from antiphon.audit_shapes where relation = $1 and shape <> $2";
        for row in client.query(statement, &[&table.oid, &shape]).await.map_err(errors::sql)? {
            let before: Vec<RecordedColumn> = serde_json::from_str(row.get(1)).unwrap_or_default();
            if identified(&before).eq(identified(&columns)) {
                alike.push(row.get(0));
            }
        }
        Ok(Polled { entity: Arc::clone(entity), table, shape, alike, kind })
    }

    /// The table's name.
    pub(super) fn name(&self) -> Result<String, Fault> {
        quote::qualified(&self.table.name)
    }

    fn column(&self, name: &str) -> Result<&ColumnInfo, Fault> {
        rows::column(&self.table, name)
    }

    /// The cursor's column.
    pub(super) fn cursor(&self) -> Result<&ColumnInfo, Fault> {
        // INVARIANT: described tables have one.
        self.column(self.entity.polling.cursor.as_deref().unwrap_or_default())
    }

    /// The columns by which rows are told apart.
    pub(super) fn key(&self) -> Result<Vec<&ColumnInfo>, Fault> {
        key(&self.table, &self.entity)
    }

    /// The key as SQL: a list of columns of `t`.
    pub(super) fn key_list(&self) -> Result<String, Fault> {
        let columns = self.key()?;
        let names: Result<Vec<_>, _> =
            columns.iter().map(|column| Ok(format!("t.{}", quote::ident(&column.name)?))).collect();
        names.map(|names| names.join(", "))
    }

    /// The key as it is kept.
    pub(super) fn key_array(&self) -> Result<String, Fault> {
        key_array(&self.key()?)
    }

    /// The values of a kept key, each as its column's type.
    pub(super) fn key_values(&self, array: &str) -> Result<String, Fault> {
        let columns = self.key()?;
        let values =
            columns.iter().enumerate().map(|(at, column)| format!("({array})[{}]::{}", at + 1, column.type_sql));
        Ok(values.collect::<Vec<_>>().join(", "))
    }

    /// What tells a row's key, organisation and judged columns, as it is recorded of old rows.
    pub(super) fn identity(&self) -> Result<String, Fault> {
        let columns = function::recorded(&self.table, &self.entity);
        self.row(identified(&columns))
    }

    /// The whole row as it is recorded.
    pub(super) fn image(&self) -> Result<String, Fault> {
        let columns = function::recorded(&self.table, &self.entity);
        self.row(columns.iter().map(|(name, ..)| name.as_str()))
    }

    fn row<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<String, Fault> {
        let names: Result<Vec<_>, Fault> = names.map(|name| Ok(format!("t.{}", quote::ident(name)?))).collect();
        Ok(format!("row({})::pg_catalog.text", names?.join(", ")))
    }

    /// Whether a row is marked as deleted.
    pub(super) fn gone(&self) -> Result<String, Fault> {
        Ok(rows::alive(&self.table, &self.entity)?.map_or_else(|| "false".to_owned(), |alive| format!("not ({alive})")))
    }

    /// Whether a cursor's value tells how far the table was read.
    pub(super) fn counts(&self, value: &str) -> Result<String, Fault> {
        let type_sql = &self.cursor()?.type_sql;
        let found = CURSORS.iter().find(|(sql, ..)| sql == type_sql);
        Ok(found.map_or("true", |(_, _, counts)| counts).replace("$c", value))
    }
}
