//! Lists and single values of the source, encoded as the stream encodes them, with what the snapshot saw (protocol 4).
//!
//! A page is one statement on the primary. Tables are described once and the description is checked by each statement,
//! so that a column added a moment ago is never missing from a page that names the new shape, nor the other way round.
//! Law: whatever a caller sends becomes a parameter; names come from the declaration only.

mod cursor;
pub(crate) mod place;
pub(crate) mod select;
mod sight;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use antiphon_engine::{
    Fault, ImageWriter,
    ports::{Comparison, FieldQuery, FieldValue, Filter, ListQuery, RowImage, RowPage, Rows},
};
use antiphon_model::{Code, EntityType, write_string};
use async_trait::async_trait;
use deadpool_postgres::{Object, Pool};
use tokio_postgres::Row;

use self::{
    place::Level,
    select::{Answer, Parameters, Refused, Select},
};
use crate::{
    catalogue::{self, ColumnInfo, TableInfo},
    errors, quote,
};

/// Longer statements are given up; the rest of the session's settings is pinned when it connects.
const SETTINGS: &str = "set statement_timeout = '30s'";
/// A description is read again after this time at the latest: changes of composite types leave no mark on the table.
const DESCRIPTION_AGE_MAX: Duration = Duration::from_secs(60);
/// A table whose columns change while it is read is read again so many times.
const ATTEMPTS_MAX: u32 = 4;

/// Reads rows of the live database.
pub struct LiveRows {
    pool: Pool,
    described: Mutex<HashMap<String, Described>>,
}

#[derive(Clone)]
struct Described {
    entity: EntityType,
    table: Arc<TableInfo>,
    fingerprint: Arc<str>,
    at: Instant,
}

impl LiveRows {
    /// Makes a reader over a pool of connections to the source.
    pub fn new(pool: Pool) -> LiveRows {
        LiveRows { pool, described: Mutex::default() }
    }

    async fn client(&self) -> Result<Object, Fault> {
        self.pool.get().await.map_err(errors::pool)
    }

    async fn described(&self, client: &Object, entity: &EntityType, fresh: bool) -> Result<Described, Fault> {
        let known = self.lock().get(&entity.name).filter(|known| known.entity == *entity).cloned();
        if let Some(known) = known.filter(|known| !fresh && known.at.elapsed() < DESCRIPTION_AGE_MAX) {
            return Ok(known);
        }
        let table = catalogue::describe(client, entity).await?;
        catalogue::fits(&table, entity)?;
        let fingerprint = catalogue::shape(&table, entity).fingerprint().into();
        let described = Described { entity: entity.clone(), table: Arc::new(table), fingerprint, at: Instant::now() };
        self.lock().insert(entity.name.clone(), described.clone());
        Ok(described)
    }

    /// Returns the description of a table, at most a minute old.
    pub(crate) async fn table(&self, client: &Object, entity: &EntityType) -> Result<Arc<TableInfo>, Fault> {
        Ok(self.described(client, entity, false).await?.table)
    }

    /// Forgets a table's description: it was found to be another.
    pub(crate) fn forget(&self, entity: &EntityType) {
        self.lock().remove(&entity.name);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Described>> {
        // The map is whole after every statement; a panic elsewhere leaves nothing half done in it.
        self.described.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs what `make` prepares for a table, again where the table has changed meanwhile.
    ///
    /// A value that is no value of its column's type is handed to `make`, which leaves it out or refuses it.
    async fn read<M>(&self, entity: &EntityType, mut make: M) -> Result<(Described, Answer), Fault>
    where
        M: FnMut(&TableInfo, &[String]) -> Result<Select, Fault> + Send,
    {
        let client = self.client().await?;
        let mut unreadable: Vec<String> = Vec::new();
        let mut attempt = 0;
        loop {
            let described = self.described(&client, entity, attempt > 0).await?;
            let select = make(&described.table, &unreadable)?;
            // Both are sent before the first answer is awaited, and are carried out in this order.
            let (settled, answer) =
                futures::future::join(client.batch_execute(SETTINGS), select.run(&client, &described.table)).await;
            settled.map_err(errors::sql)?;
            match answer {
                Ok(answer) => return Ok((described, answer)),
                Err(Refused::Value(name)) if !unreadable.contains(&name) => unreadable.push(name),
                Err(Refused::Value(name)) => return Err(invalid(&name, "the value does not fit its type")),
                Err(Refused::Fault(fault)) => return Err(fault),
                // With a description made just now it is the caller's request that does not fit.
                Err(Refused::Comparison) if attempt > 0 => {
                    return Err(Fault::new(Code::ParameterInvalid, "order, where: a field of this type has no order"));
                }
                Err(Refused::Stale | Refused::Comparison) => {
                    attempt += 1;
                    if attempt == ATTEMPTS_MAX {
                        return Err(Fault::new(Code::TryAgain, "the table is being changed"));
                    }
                }
            }
        }
    }
}

#[async_trait]
impl Rows for LiveRows {
    async fn list(&self, query: &ListQuery) -> Result<RowPage, Fault> {
        let ids = !query.ids.is_empty();
        let (described, answer) = self.read(&query.entity, |table, unreadable| page(table, query, unreadable)).await?;
        let table = &*described.table;
        let fields = shown(table, &query.entity);
        let mut rows = answer.rows;
        let mut next = None;
        if !ids && rows.len() > query.limit {
            rows.truncate(query.limit);
            let levels = levels(table, query)?.len();
            let position = |row: &Row| (0..levels).map(|level| select::text(row, 1 + fields.len() + level)).collect();
            let last = rows.last().map(position);
            next = last.map(|position| cursor::write(&query.entity.name, &query.order, position)).transpose()?;
        }
        let mut image = ImageWriter::default();
        let names: Vec<String> = fields.iter().map(|field| json_name(&field.name)).collect();
        // The first column is the header's mark.
        let tx = 1 + fields.len() + levels(table, query)?.len();
        let judged = query.entity.policy_columns();
        let encode = |row: &Row| {
            let policy = judged.iter().enumerate();
            let policy = policy.map(|(at, name)| ((*name).to_owned(), select::text(row, tx + 1 + at))).collect();
            RowImage { tx: select::text(row, tx), policy, ..encode(&mut image, &names, &fields, row, 1) }
        };
        Ok(RowPage {
            rows: rows.iter().map(encode).collect(),
            next,
            visibility: answer.visibility,
            fingerprint: described.fingerprint.to_string(),
        })
    }

    async fn field(&self, query: &FieldQuery) -> Result<Option<FieldValue>, Fault> {
        let FieldQuery { entity, org, reader, key, field } = query;
        if key.len() != entity.key.len() {
            return Err(invalid("id", "it does not fit the type's key"));
        }
        let (described, answer) = self
            .read(entity, |table, unreadable| {
                let column = shown(table, entity).into_iter().find(|column| column.name == *field);
                let column =
                    column.ok_or_else(|| Fault::new(Code::NotFound, format!("there is no field `{field}`")))?;
                let mut select = Select { columns: vec![select::printed(column)?], ..Select::default() };
                within(&mut select, table, entity, org, unreadable)?;
                let sought = (reader.as_ref(), Some(field.as_str()));
                sight::within_sight(&mut select, table, entity, sought, unreadable)?;
                let ids = std::slice::from_ref(key);
                select.conditions.push(one_of(table, entity, ids, unreadable, &mut select.parameters)?);
                Ok(select)
            })
            .await?;
        let column = described.table.column(field);
        let Some((row, column)) = answer.rows.first().zip(column) else {
            return Ok(None);
        };
        let mut value = String::new();
        antiphon_wire::encode_cell(&column.ty, select::cell(row, 1), &mut value);
        Ok(Some(FieldValue { value, visibility: answer.visibility }))
    }
}

/// Prepares the statement of a page; one row more than asked for tells whether the list goes on.
fn page(table: &TableInfo, query: &ListQuery, unreadable: &[String]) -> Result<Select, Fault> {
    let entity = &*query.entity;
    let levels = levels(table, query)?;
    let mut select = Select::default();
    for column in shown(table, entity) {
        select.columns.push(select::printed(column)?);
    }
    for level in &levels {
        select.columns.push(select::printed(level.column)?);
    }
    select.columns.push(metadata(table, entity)?);
    for name in entity.policy_columns() {
        select.columns.push(select::printed(column(table, name)?)?);
    }
    within(&mut select, table, entity, &query.org, unreadable)?;
    sight::within_sight(&mut select, table, entity, (query.reader.as_ref(), None), unreadable)?;
    select.order = place::order_by(&levels)?;
    for filter in &query.filters {
        let condition = condition(table, entity, filter, unreadable, &mut select.parameters)?;
        select.conditions.push(condition);
    }
    if !query.ids.is_empty() {
        select.conditions.push(one_of(table, entity, &query.ids, unreadable, &mut select.parameters)?);
        return Ok(select);
    }
    if let Some(after) = &query.after {
        if unreadable.iter().any(|name| name == "after") {
            return Err(invalid("after", "it does not fit the type's fields; list again"));
        }
        let position = cursor::read(after, &entity.name, &query.order, levels.len())?;
        let condition = place::after(&levels, &position, "after", &mut select.parameters)?;
        select.conditions.push(condition);
    }
    select.limit = Some(query.limit.saturating_add(1));
    Ok(select)
}

/// The levels of a list's order: what was asked for, then the key.
fn levels<'a>(table: &'a TableInfo, query: &ListQuery) -> Result<Vec<Level<'a>>, Fault> {
    let entity = &query.entity;
    let mut levels: Vec<Level<'a>> = Vec::new();
    let orders = if query.ids.is_empty() { query.order.as_slice() } else { &[] };
    let asked = orders.iter().map(|order| (order.field.as_str(), order.descending, true));
    for (field, descending, asked) in asked.chain(entity.key.iter().map(|key| (key.as_str(), false, false))) {
        if asked && !declared(entity, field) {
            return Err(invalid("order", &format!("`{}` is not declared for filtering", printable(field))));
        }
        if levels.iter().any(|level| level.column.name == field) {
            if asked {
                return Err(invalid("order", &format!("`{}` stands twice", printable(field))));
            }
            continue;
        }
        levels.push(Level { column: column(table, field)?, descending, bytes: true });
    }
    Ok(levels)
}

/// Writes the condition that a row of `t` is not marked as deleted; `None` where no column says so.
pub(crate) fn alive(table: &TableInfo, entity: &EntityType) -> Result<Option<String>, Fault> {
    let Some(name) = &entity.polling.soft_delete else { return Ok(None) };
    let test = if column(table, name)?.type_sql == "pg_catalog.bool" { "is not true" } else { "is null" };
    Ok(Some(format!("t.{} {test}", quote::ident(name)?)))
}

/// Adds the conditions that rows are there and of the organisation.
fn within(
    select: &mut Select,
    table: &TableInfo,
    entity: &EntityType,
    org: &str,
    unreadable: &[String],
) -> Result<(), Fault> {
    select.conditions.extend(alive(table, entity)?);
    // What is everyone's is every organisation's.
    let Some(name) = entity.org_column() else { return Ok(()) };
    let column = column(table, name)?;
    if unreadable.iter().any(|name| name == "organisation") || org.contains('\0') {
        // An id that is no value of the column's type is that of an organisation without rows.
        select.conditions.push("false".to_owned());
        return Ok(());
    }
    let value = select.parameters.push("organisation", column, org);
    select.conditions.push(format!("t.{} = {value}", quote::ident(name)?));
    // The stream knows an organisation by its text: an id written in another way is another one there, and so here.
    let text = select.parameters.push_typed("organisation", "pg_catalog.text", org);
    select.conditions.push(format!("{} = {text} collate \"C\"", select::printed(column)?));
    Ok(())
}

/// Writes a filter as a condition.
fn condition(
    table: &TableInfo,
    entity: &EntityType,
    filter: &Filter,
    unreadable: &[String],
    parameters: &mut Parameters,
) -> Result<String, Fault> {
    let (suffix, operator) = match filter.comparison {
        Comparison::Equal => ("", "="),
        Comparison::Greater => ("[gt]", ">"),
        Comparison::GreaterOrEqual => ("[gte]", ">="),
        Comparison::Less => ("[lt]", "<"),
        Comparison::LessOrEqual => ("[lte]", "<="),
    };
    let name = format!("where[{}]{suffix}", printable(&filter.field));
    if !declared(entity, &filter.field) {
        return Err(invalid(&name, "the field is not declared for filtering"));
    }
    let column = column(table, &filter.field)?;
    if unreadable.contains(&name) {
        return Err(invalid(&name, &format!("it is not a value of type {}", column.ty.name)));
    }
    let field = quote::ident(&filter.field)?;
    match &filter.value {
        None if filter.comparison == Comparison::Equal => Ok(format!("t.{field} is null")),
        None => Err(invalid(&name, "null has no order")),
        Some(value) if value.contains('\0') => Err(invalid(&name, "it holds a NUL")),
        Some(value) => {
            // Order is by bytes as in the list's own order; equality is the column's.
            let bytes = operator != "=" && column.collatable && !column.bytewise;
            let collate = if bytes { " collate \"C\"" } else { "" };
            let value = parameters.push(name, column, value);
            Ok(format!("t.{field}{collate} {operator} {value}"))
        }
    }
}

/// Writes the condition that a row has one of the keys; a key that is no value of its type belongs to no row.
fn one_of(
    table: &TableInfo,
    entity: &EntityType,
    ids: &[Vec<String>],
    unreadable: &[String],
    parameters: &mut Parameters,
) -> Result<String, Fault> {
    let mut alternatives = Vec::with_capacity(ids.len());
    for (index, values) in ids.iter().enumerate() {
        let name = format!("ids {index}");
        if unreadable.contains(&name) || values.iter().any(|value| value.contains('\0')) {
            continue;
        }
        if values.len() != entity.key.len() {
            return Err(invalid("ids", "an id does not fit the type's key"));
        }
        let mut parts = Vec::with_capacity(values.len());
        for (key, value) in entity.key.iter().zip(values) {
            let value = parameters.push(&name, column(table, key)?, value);
            parts.push(format!("t.{} = {value}", quote::ident(key)?));
        }
        alternatives.push(format!("({})", parts.join(" and ")));
    }
    Ok(if alternatives.is_empty() { "false".to_owned() } else { alternatives.join(" or ") })
}

/// The columns that leave the server, in the table's order.
pub(crate) fn shown<'a>(table: &'a TableInfo, entity: &EntityType) -> Vec<&'a ColumnInfo> {
    table.columns.iter().filter(|column| !column.generated && entity.shows(&column.name)).collect()
}

fn declared(entity: &EntityType, field: &str) -> bool {
    entity.shows(field) && entity.filter.iter().chain(&entity.key).any(|name| name == field)
}

pub(crate) fn column<'a>(table: &'a TableInfo, name: &str) -> Result<&'a ColumnInfo, Fault> {
    let missing = || Fault::new(Code::TableUnfit, format!("table {}: there is no column `{name}`", table.name));
    table.column(name).ok_or_else(missing)
}

/// Writes the SQL of a row's metadata as text.
pub(crate) fn metadata(table: &TableInfo, entity: &EntityType) -> Result<String, Fault> {
    Ok(match table.column(&entity.tx) {
        Some(_) => format!("t.{}::pg_catalog.text", quote::ident(&entity.tx)?),
        None => "null::pg_catalog.text".to_owned(),
    })
}

/// Encodes a row whose fields begin at a column.
pub(crate) fn encode(
    image: &mut ImageWriter,
    names: &[String],
    fields: &[&ColumnInfo],
    row: &Row,
    first: usize,
) -> RowImage {
    image.start();
    for (index, (name, field)) in names.iter().zip(fields).enumerate() {
        image.push(name, &field.ty, select::cell(row, first + index));
    }
    let (image, details) = image.finish(None);
    RowImage { image, details, tx: None, policy: BTreeMap::new() }
}

pub(crate) fn json_name(name: &str) -> String {
    let mut json = String::new();
    write_string(&mut json, name);
    json
}

fn invalid(parameter: &str, why: &str) -> Fault {
    Fault::new(Code::ParameterInvalid, format!("{parameter}: {why}"))
}

/// Cuts a caller's word to what can be shown to it again.
fn printable(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_control() { '?' } else { c }).collect()
}
