//! Rows whose organisation comes from another row: our column `antiphon_org`, and the triggers that keep it (MUT-09).
//!
//! The row referred to may itself take its organisation from a third one. Laws: the column always says what the row
//! referred to says, and `''`, which is nobody, where there is none; whoever writes it is overruled. A row that is
//! written locks the key of the row referred to, and a row that moves locks itself whole first, so that no row is left
//! behind by a move at the same moment. The functions run with the rights of whoever prepared the table, because an
//! application's role may write one of the tables and not the other.
//! Refused: a table referred to that is not declared, is everyone's, or leads back to itself.

mod function;

use antiphon_engine::Fault;
use antiphon_model::{Code, EntityType, ORG_COLUMN, RelationName, Tenancy};
use tokio_postgres::Client;

use crate::{
    catalogue::{self, TableInfo},
    entities::triggers::{Installed, State, Wanted},
    entities::{Plan, Step},
    errors, quote,
    stamp::function::Function,
};

/// Sets the column of a row that comes into being; it runs before the stamp.
const INSERTED: &str = "~antiphon_org";
/// Sets the column of a row that refers to another one from now on.
const UPDATED: &str = "~antiphon_org_moved";
/// What the triggers on the table referred to are called, before the hash of the referring table.
const BEFORE: &str = "~antiphon_parent_";
const AFTER: &str = "~antiphon_to_";

/// A table and the one that its rows' organisation comes from.
pub(crate) struct Link {
    pub(crate) child: TableInfo,
    pub(crate) parent: TableInfo,
    /// The referring column.
    pub(crate) column: String,
    /// The column that it refers to.
    pub(crate) key: String,
    /// The column that holds the organisation there.
    pub(crate) org: String,
    /// Whether the row referred to is always there before.
    pub(crate) enforced: bool,
}

impl Link {
    /// Finds out where the organisation of a type's rows comes from; `None` where a column of their own holds it.
    ///
    /// # Errors
    /// Fails with `TABLE_UNFIT` where that cannot be said.
    pub(crate) async fn read(
        client: &Client,
        entity: &EntityType,
        child: &TableInfo,
        declared: &[EntityType],
    ) -> Result<Option<Link>, Fault> {
        let Tenancy::Via { column, table } = &entity.org else { return Ok(None) };
        let unfit = |why: String| Fault::new(Code::TableUnfit, format!("table {}: {why}", entity.table));
        let of_parent = parent_of(entity, declared).map_err(unfit)?;
        let Some(org) = of_parent.org_column() else {
            return Err(unfit(format!("its organisation comes from {table}, which is everyone's; then so is it")));
        };
        let Some(parent) = catalogue::find_table(client, table).await? else {
            return Err(unfit(format!("its organisation comes from {table}, which does not exist")));
        };
        if parent.column(org).is_none() {
            let why = format!("its organisation comes from {table}, which has no column `{org}` yet");
            return Err(unfit(format!("{why}; run `antiphon entities add {}` first", of_parent.name)));
        }
        if child.column(column).is_none() {
            return Err(unfit(format!("there is no column `{column}`")));
        }
        let foreign = child.foreign_keys.iter().filter(|foreign| foreign.table == *table);
        let mut pairs = foreign.flat_map(|foreign| {
            let alone = !foreign.deferrable;
            foreign.columns.iter().zip(&foreign.target).map(move |(from, to)| (from, to, alone))
        });
        let found = pairs.find(|(from, ..)| *from == column);
        let key = match found {
            Some((_, to, _)) => vec![to.clone()],
            None if of_parent.key.is_empty() => parent.primary_key(),
            None => of_parent.key.clone(),
        };
        let [key] = &key[..] else {
            return Err(unfit(format!("`{column}` cannot refer to {table}, whose key has several columns")));
        };
        if !parent.unique_within(std::slice::from_ref(key), None) {
            return Err(unfit(format!("`{column}` refers to `{key}` of {table}, which nothing keeps unique")));
        }
        let (key, org) = (key.clone(), org.to_owned());
        let enforced = found.is_some_and(|(.., alone)| alone);
        Ok(Some(Link { child: child.clone(), parent, column: column.clone(), key, org, enforced }))
    }

    fn functions(&self) -> Result<[Function; 3], Fault> {
        Ok([function::own(self)?, function::lock(self)?, function::take_along(self)?])
    }

    /// Every trigger as it should be; the functions are those of `functions`.
    fn wanted<'a>(&'a self, functions: &'a [Function; 3], names: &'a Names) -> Result<Vec<Wanted<'a>>, Fault> {
        let differs = |columns: [&str; 2]| -> Result<String, Fault> {
            let [first, second] = [quote::ident(columns[0])?, quote::ident(columns[1])?];
            Ok(format!("old.{first} is distinct from new.{first} or old.{second} is distinct from new.{second}"))
        };
        let [own, lock, take_along] = functions;
        let of_child = |name, event, condition| Wanted {
            table: &self.child,
            name,
            event,
            condition,
            function: own,
            why: "the row's organisation is that of the row it refers to",
        };
        let of_parent = |name, event, condition, function| Wanted {
            table: &self.parent,
            name,
            event,
            condition,
            function,
            why: "a row that moves to another organisation takes those that refer to it along",
        };
        let moved = || differs([&self.key, &self.org]).map(Some);
        let mut wanted = vec![
            of_child(INSERTED, "before insert", None),
            of_child(UPDATED, "before update", Some(differs([&self.column, ORG_COLUMN])?)),
            of_parent(&names.before, "before update", moved()?, lock),
            of_parent(&names.after, "after update", moved()?, take_along),
        ];
        if !self.enforced {
            // Without a foreign key a row may be referred to before it is there and after it is gone.
            wanted.push(of_parent(&names.inserted, "after insert", None, take_along));
            wanted.push(of_parent(&names.deleted, "after delete", None, take_along));
        }
        Ok(wanted)
    }

    /// Adds the steps that keep the column from now on and then fill it; `there` tells whether it is there already.
    pub(crate) async fn add(&self, client: &Client, there: bool, steps: &mut Vec<Step>) -> Result<(), Fault> {
        let installed = Installed::read(client, &[&self.child, &self.parent]).await?;
        let (functions, names) = (self.functions()?, Names::new(&self.child.name));
        for wanted in self.wanted(&functions, &names)? {
            installed.add(&wanted, steps)?;
        }
        let needed = !there || self.unfilled(client).await?;
        let why = "fills the column in batches, each a transaction of its own; one that is broken off goes on";
        let lock = format!("ROW EXCLUSIVE on {}, and rows in batches", self.child.name);
        steps.push(Step::new(function::fill(self)?, lock, why, needed));
        Ok(())
    }

    /// Tells whether any row has another organisation than the row that it refers to.
    async fn unfilled(&self, client: &Client) -> Result<bool, Fault> {
        let sql = format!("select exists({})", function::wrong(self)?);
        client.query_one(&sql, &[]).await.and_then(|row| row.try_get(0)).map_err(errors::sql)
    }

    /// Returns the first trigger that is not as it should be.
    pub(crate) async fn state(&self, client: &Client) -> Result<State, Fault> {
        let installed = Installed::read(client, &[&self.child, &self.parent]).await?;
        let (functions, names) = (self.functions()?, Names::new(&self.child.name));
        let mut states = self.wanted(&functions, &names)?.into_iter().map(|wanted| installed.state(&wanted));
        Ok(states.find(|state| *state != State::Ready).unwrap_or(State::Ready))
    }
}

/// Finds the declaration of the table that a type's organisation comes from.
fn parent_of<'a>(entity: &EntityType, declared: &'a [EntityType]) -> Result<&'a EntityType, String> {
    let mut table = match &entity.org {
        Tenancy::Via { table, .. } => table,
        Tenancy::Column(_) | Tenancy::Everyone => return Err("a column of its own holds its organisation".to_owned()),
    };
    let first = declared.iter().find(|other| other.table == *table).ok_or_else(|| {
        format!("its organisation comes from {table}, which is not declared: declare that table with its `org` first")
    })?;
    // A chain that is longer than there are types has come round.
    for _ in 0..=declared.len() {
        if *table == entity.table {
            break;
        }
        match declared.iter().find(|other| other.table == *table).map(|other| &other.org) {
            Some(Tenancy::Via { table: next, .. }) => table = next,
            Some(Tenancy::Column(_) | Tenancy::Everyone) | None => return Ok(first),
        }
    }
    Err(format!("its organisation comes from {}, which takes its own from here again", first.table))
}

/// The names of the triggers on the table referred to.
struct Names {
    before: String,
    after: String,
    inserted: String,
    deleted: String,
}

impl Names {
    fn new(child: &RelationName) -> Names {
        let of_child = function::hash(child);
        Names {
            before: format!("{BEFORE}{of_child}"),
            after: format!("{AFTER}{of_child}"),
            inserted: format!("{AFTER}{of_child}_inserted"),
            deleted: format!("{AFTER}{of_child}_deleted"),
        }
    }
}

/// Adds the steps that take away what keeps the column.
///
/// # Errors
/// Fails with `TABLE_UNFIT` where other tables take their organisation from this one.
pub(crate) async fn remove(
    client: &Client,
    entity: &EntityType,
    table: &TableInfo,
    plan: &mut Plan,
) -> Result<(), Fault> {
    let mut tables = vec![table];
    let parent = match &entity.org {
        Tenancy::Via { table, .. } => catalogue::find_table(client, table).await?,
        Tenancy::Column(_) | Tenancy::Everyone => None,
    };
    tables.extend(&parent);
    let installed = Installed::read(client, &tables).await?;
    if installed.names(table).any(|name| name.starts_with(AFTER)) {
        let why = "another declared table takes its organisation from it; remove that one first";
        return Err(Fault::new(Code::TableUnfit, format!("table {}: {why}", table.name)));
    }
    if let Some(parent) = &parent {
        let names = Names::new(&table.name);
        let ours = [&names.before, &names.after, &names.inserted, &names.deleted].map(String::as_str);
        installed.remove(parent, &ours, &mut plan.steps)?;
        installed.remove(table, &[INSERTED, UPDATED], &mut plan.steps)?;
    }
    Ok(())
}
