//! A proposal for a table's declaration, read from its keys, indexes and references; a person decides.
//!
//! Columns whose names sound like secrets, and search vectors, are proposed as hidden: showing them later is easy, taking
//! them back is not.

use std::collections::BTreeMap;

use antiphon_engine::Fault;
use antiphon_model::{Code, EntityType, RelationName, Sync, Tenancy};
use tokio_postgres::Client;

use crate::{
    catalogue::{self, TableInfo},
    errors,
};

/// What a declaration might say.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The table.
    pub table: RelationName,
    /// A name for the entity type.
    pub name: String,
    /// Columns that may hold the organisation, the likeliest first.
    pub org: Vec<String>,
    /// The primary key.
    pub key: Vec<String>,
    /// Columns that had better stay on the server.
    pub hidden: Vec<String>,
    /// Columns that an index serves.
    pub filter: Vec<String>,
    /// Reference columns and the declared types that they name.
    pub refs: BTreeMap<String, String>,
    /// How many rows the planner expects; `None` where the table was never analysed.
    pub rows_estimated: Option<u64>,
    /// Why the table cannot be declared as it is.
    pub refusal: Option<String>,
    /// The same, whether or not a column can hold an organisation.
    refusal_but_org: Option<String>,
}

impl Proposal {
    /// Says why the table cannot be declared where its organisation does not come from a column of its own.
    pub fn refusal_but_org(&self) -> Option<&str> {
        self.refusal_but_org.as_deref()
    }

    /// Makes a declaration of the proposal, under the name and organisation column that were decided.
    pub fn entity(&self, name: &str, org: &str) -> EntityType {
        EntityType {
            name: name.to_owned(),
            table: self.table.clone(),
            org: Tenancy::Column(org.to_owned()),
            key: self.key.clone(),
            tx: "tx".to_owned(),
            hidden: self.hidden.clone(),
            sync: Sync::default(),
            filter: self.filter.iter().filter(|column| *column != org).cloned().collect(),
            together: Vec::new(),
            refs: self.refs.clone(),
            fields: BTreeMap::new(),
            rules: Vec::new(),
            polling: Default::default(),
        }
    }
}

/// Proposes a declaration of one table.
///
/// # Errors
/// Fails with `TABLE_UNFIT` where there is no such table.
pub async fn infer(client: &Client, table: &RelationName, declared: &[EntityType]) -> Result<Proposal, Fault> {
    let found = catalogue::find_table(client, table).await?;
    let found = found.ok_or_else(|| Fault::new(Code::TableUnfit, format!("there is no table {table}")))?;
    Ok(propose(&found, declared))
}

const TABLES: &str = "
    select n.nspname::text, c.relname::text
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition and c.relpersistence <> 't'
        and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'antiphon')
        and not exists(select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            and d.objid = c.oid and d.deptype = 'e')
    order by n.nspname, c.relname";

/// Proposes a declaration of every table of the database, those that cannot be captured included, with the reason.
///
/// # Errors
/// Fails where the catalogue cannot be read.
pub async fn tables(client: &Client, declared: &[EntityType]) -> Result<Vec<Proposal>, Fault> {
    let mut proposals = Vec::new();
    for row in client.query(TABLES, &[]).await.map_err(errors::sql)? {
        let schema: String = row.try_get(0).map_err(errors::sql)?;
        let name: String = row.try_get(1).map_err(errors::sql)?;
        // A table may have gone since the list was read.
        if let Some(found) = catalogue::find_table(client, &RelationName { schema, name }).await? {
            proposals.push(propose(&found, declared));
        }
    }
    Ok(proposals)
}

fn propose(table: &TableInfo, declared: &[EntityType]) -> Proposal {
    let key = table.primary_key();
    let org = org_candidates(table, &key);
    let hidden: Vec<String> = table
        .columns
        .iter()
        .filter(|column| hides(&column.name, &column.ty.name))
        .map(|column| column.name.clone())
        .collect();
    let refs = refs(table, declared);
    let indexed = table.indexes.iter().filter(|index| index.whole && index.valid);
    let indexed = indexed.filter_map(|index| index.columns.iter().flatten().find(|column| !org.contains(column)));
    let mut filter: Vec<String> = Vec::new();
    for column in indexed.chain(refs.keys()) {
        if !filter.contains(column) && !key.contains(column) && !hidden.contains(column) {
            filter.push(column.clone());
        }
    }
    let keyless = "it has no primary key; name unique not-null columns in `key`";
    let refusal_but_org = table.refusal().or(key.is_empty().then_some(keyless)).map(str::to_owned);
    let orgless = org.is_empty().then(|| "no column can hold an organisation".to_owned());
    let refusal = refusal_but_org.clone().or(orgless);
    Proposal {
        name: singular(&table.name.name),
        table: table.name.clone(),
        org,
        key,
        hidden,
        filter,
        refs,
        rows_estimated: table.rows_estimated,
        refusal,
        refusal_but_org,
    }
}

/// Names that applications give to their tenants, the likeliest first.
const TENANTS: &[&str] = &["organization", "organisation", "org", "tenant", "workspace", "account", "company", "team"];

fn org_candidates(table: &TableInfo, key: &[String]) -> Vec<String> {
    let rank = |name: &str| {
        let plain = name.to_ascii_lowercase().replace(['_', '-'], "");
        let stem = ["id", "slug", "key", "uuid"].iter().find_map(|end| plain.strip_suffix(end)).unwrap_or(&plain);
        TENANTS.iter().position(|tenant| *tenant == stem || *tenant == plain)
    };
    let fits = table.columns.iter().filter(|column| column.text_equality && !column.generated);
    let mut found: Vec<(usize, String)> = fits
        .filter(|column| key != [column.name.clone()])
        .filter_map(|column| Some((rank(&column.name)?, column.name.clone())))
        .collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, name)| name).collect()
}

fn hides(name: &str, type_name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let secret = ["password", "passwd", "secret", "token", "api_key", "apikey", "private_key"];
    type_name == "tsvector" || secret.iter().any(|word| name.contains(word))
}

fn refs(table: &TableInfo, declared: &[EntityType]) -> BTreeMap<String, String> {
    let mut refs = BTreeMap::new();
    for foreign in &table.foreign_keys {
        let target = declared.iter().find(|entity| entity.table == foreign.table);
        let Some(target) = target else { continue };
        // Of a key with the organisation in it, the other column is the reference.
        let org = target.org_column();
        let mut pairs = foreign.columns.iter().zip(&foreign.target).filter(|(_, target)| Some(target.as_str()) != org);
        if let (Some((column, to)), None) = (pairs.next(), pairs.next())
            && target.key == [to.clone()]
        {
            refs.insert(column.clone(), target.name.clone());
        }
    }
    refs
}

/// Makes a table's name a word for one row of it; English plurals only, everything else stays.
fn singular(name: &str) -> String {
    let stem = |cut: usize, add: &str| format!("{}{add}", &name[..name.len() - cut]);
    match name {
        _ if name.len() < 4 || name.ends_with("ss") || name.ends_with("us") || name.ends_with("is") => name.to_owned(),
        _ if name.ends_with("ies") => stem(3, "y"),
        _ if ["ches", "shes", "sses", "xes"].iter().any(|end| name.ends_with(end)) => stem(2, ""),
        _ if name.ends_with('s') => stem(1, ""),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_by_one_row_of_them() {
        for (table, name) in [
            ("tasks", "task"),
            ("pages", "page"),
            ("companies", "company"),
            ("boxes", "box"),
            ("address", "address"),
            ("status", "status"),
            ("branches", "branch"),
            ("person", "person"),
            ("as", "as"),
        ] {
            assert_eq!(singular(table), name);
        }
    }
}
