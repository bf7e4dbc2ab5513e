//! Statements that change mirrored tables: many rows in one, values as parameters, cast to the columns' types.
//!
//! Law: no value ever stands in a statement's text. A statement is prepared once for each table and set of columns.

use std::collections::{BTreeMap, HashMap};

use antiphon_engine::Fault;
use tokio_postgres::{Client, Statement, types::ToSql};

use super::{
    errors,
    fold::{Op, TypeFold, Values},
    layout::{Layout, ident},
};

/// More prepared statements than this are forgotten: sets of columns could be many.
const STATEMENTS_MAX: usize = 256;

/// Changes tables over one connection.
pub(super) struct Writer {
    client: Client,
    statements: HashMap<String, Statement>,
}

/// How many rows were written and deleted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) written: u64,
    pub(super) deleted: u64,
}

impl Writer {
    pub(super) fn new(client: Client) -> Writer {
        Writer { client, statements: HashMap::new() }
    }

    /// Returns the connection.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs a statement without values.
    pub(super) async fn run(&self, sql: &str, doing: &str) -> Result<(), Fault> {
        self.client.batch_execute(sql).await.map_err(|error| errors::sql(error, doing))
    }

    /// Forgets what was prepared: a table has changed.
    pub(super) fn forget(&mut self) {
        self.statements.clear();
    }

    /// Writes what becomes of a type's rows.
    pub(super) async fn fold(&mut self, layout: &Layout, fold: TypeFold) -> Result<Counted, Fault> {
        if fold.truncated {
            self.run(&format!("truncate table {}", layout.table), &doing(layout)).await?;
        }
        let mut deletes = Vec::new();
        let mut writes: BTreeMap<Vec<bool>, Vec<Values>> = BTreeMap::new();
        for (identity, op) in fold.rows {
            match op {
                Op::Delete => deletes.push(identity),
                Op::Write { values, anew } => {
                    let at_hand = values.iter().map(|value| anew || value.is_some()).collect();
                    writes.entry(at_hand).or_default().push(values);
                }
            }
        }
        let deleted = self.delete(layout, &deletes).await?;
        let mut written = 0;
        for (at_hand, rows) in writes {
            written += self.upsert(layout, &at_hand, &rows).await?;
        }
        Ok(Counted { written, deleted })
    }

    /// A row takes another identity and keeps what is not at hand, where the target has it under the old one.
    pub(super) async fn rename(&mut self, layout: &Layout, old: &[String], values: Values) -> Result<Counted, Fault> {
        let at_hand: Vec<usize> = (0..values.len()).filter(|place| values[*place].is_some()).collect();
        let set = at_hand.iter().enumerate().map(|(n, place)| {
            let column = &layout.columns[*place];
            format!("{} = ${}::text::{}", ident(&column.name), n + 1, column.sql_type)
        });
        let set: Vec<String> = set.collect();
        let equal = |table: &str, first: usize| {
            let each = layout.identity.iter().enumerate().map(|(n, place)| {
                let column = &layout.columns[*place];
                format!("{table}.{} = ${}::text::{}", ident(&column.name), first + n, column.sql_type)
            });
            each.collect::<Vec<_>>().join(" and ")
        };
        let (from, to) = (at_hand.len() + 1, at_hand.len() + 1 + old.len());
        // A row that has the new identity already was listed later than this change, and is right.
        let sql = format!(
            "update {table} t set {} where {} and not exists (select 1 from {table} n where {})",
            set.join(", "),
            equal("t", from),
            equal("n", to),
            table = layout.table,
        );
        let new: Vec<Option<String>> = layout.identity.iter().map(|place| values[*place].clone().flatten()).collect();
        let given = at_hand.iter().map(|place| values[*place].clone().flatten());
        let old_texts = old.iter().map(|text| Some(text.clone()));
        let parameters: Vec<Option<String>> = given.chain(old_texts).chain(new).collect();
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|text| text as _).collect();
        if self.execute(&sql, &parameters, layout).await? > 0 {
            return Ok(Counted { written: 1, deleted: 0 });
        }
        let deleted = self.delete(layout, &[old.to_vec()]).await?;
        let at_hand: Vec<bool> = values.iter().map(Option::is_some).collect();
        let written = self.upsert(layout, &at_hand, &[values]).await?;
        Ok(Counted { written, deleted })
    }

    /// Tells whether a row has no value in one of these places.
    pub(super) async fn lacks(
        &mut self,
        layout: &Layout,
        identity: &[String],
        places: &[usize],
    ) -> Result<bool, Fault> {
        let equal = layout.identity.iter().enumerate().map(|(n, place)| {
            let column = &layout.columns[*place];
            format!("{} = ${}::text::{}", ident(&column.name), n + 1, column.sql_type)
        });
        let equal: Vec<String> = equal.collect();
        let nulls: Vec<String> =
            places.iter().map(|place| format!("{} is null", ident(&layout.columns[*place].name))).collect();
        let sql = format!("select from {} where {} and ({})", layout.table, equal.join(" and "), nulls.join(" or "));
        let parameters: Vec<&(dyn ToSql + Sync)> = identity.iter().map(|text| text as _).collect();
        Ok(self.execute(&sql, &parameters, layout).await? > 0)
    }

    async fn delete(&mut self, layout: &Layout, identities: &[Vec<String>]) -> Result<u64, Fault> {
        if identities.is_empty() {
            return Ok(0);
        }
        let width = layout.identity.len();
        let equal = layout.identity.iter().enumerate().map(|(n, place)| {
            let column = &layout.columns[*place];
            format!("t.{} = g.c{n}::{}", ident(&column.name), column.sql_type)
        });
        let equal: Vec<String> = equal.collect();
        let sql = format!("delete from {} t using {} where {}", layout.table, given(width), equal.join(" and "));
        let columns: Vec<Vec<&str>> = (0..width)
            .map(|n| identities.iter().map(|identity| identity.get(n).map_or("", String::as_str)).collect())
            .collect();
        let parameters: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as _).collect();
        self.execute(&sql, &parameters, layout).await
    }

    /// Writes rows of which the same columns are at hand.
    async fn upsert(&mut self, layout: &Layout, at_hand: &[bool], rows: &[Values]) -> Result<u64, Fault> {
        let places: Vec<usize> = (0..layout.columns.len()).filter(|place| at_hand[*place]).collect();
        let names: Vec<String> = places.iter().map(|place| ident(&layout.columns[*place].name)).collect();
        let casts = places.iter().enumerate().map(|(n, place)| format!("g.c{n}::{}", layout.columns[*place].sql_type));
        let casts: Vec<String> = casts.collect();
        let identity: Vec<String> = layout.identity.iter().map(|place| ident(&layout.columns[*place].name)).collect();
        let others = names.iter().filter(|name| !identity.contains(name));
        let set: Vec<String> = others.map(|name| format!("{name} = excluded.{name}")).collect();
        let conflict = if set.is_empty() { "nothing".to_owned() } else { format!("update set {}", set.join(", ")) };
        let sql = format!(
            "insert into {} ({}) select {} from {} on conflict ({}) do {conflict}",
            layout.table,
            names.join(", "),
            casts.join(", "),
            given(places.len()),
            identity.join(", "),
        );
        let columns: Vec<Vec<Option<&str>>> = places
            .iter()
            .map(|place| rows.iter().map(|row| row[*place].as_ref().and_then(|text| text.as_deref())).collect())
            .collect();
        let parameters: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as _).collect();
        self.execute(&sql, &parameters, layout).await
    }

    async fn execute(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)], layout: &Layout) -> Result<u64, Fault> {
        let failed = |error| errors::sql(error, &doing(layout));
        if !self.statements.contains_key(sql) {
            if self.statements.len() >= STATEMENTS_MAX {
                self.statements.clear();
            }
            let statement = self.client.prepare(sql).await.map_err(failed)?;
            self.statements.insert(sql.to_owned(), statement);
        }
        self.client.execute(&self.statements[sql], parameters).await.map_err(failed)
    }
}

/// Rows given by columns, each an array of texts.
fn given(width: usize) -> String {
    let arrays: Vec<String> = (1..=width).map(|n| format!("pg_catalog.unnest(${n}::text[])")).collect();
    let names: Vec<String> = (0..width).map(|n| format!("c{n}")).collect();
    format!("rows from ({}) g({})", arrays.join(", "), names.join(", "))
}

fn doing(layout: &Layout) -> String {
    format!("table {}", layout.entity.table)
}
