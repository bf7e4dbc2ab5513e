//! `[[entities]]` of the configuration, read into declared entity types (protocol 3).
//!
//! An empty `key` stands for the primary key until the live table is asked. An organisation that comes
//! `via` another table is that of a declared one, which leads to a column in the end.

mod rules;

use std::collections::BTreeMap;

use antiphon_model::{EVERYONE, EntityType, Merge, Polling, RelationName, Sync, Tenancy};
use antiphon_server::admin::Fault;
use toml::de::DeTable;

use super::{
    file::{Document, Value, invalid},
    keys::ENTITY_KEYS,
};
use crate::nearest::nearest;

const NAME_BYTES_MAX: usize = 63;
const MERGES: [(&str, Merge); 5] = [
    ("lww", Merge::Lww),
    ("manual", Merge::Manual),
    ("text", Merge::Text),
    ("counter", Merge::Counter),
    ("set", Merge::Set),
];

/// Reads the list of entities.
pub(super) fn read(document: &Document<'_>, value: &Value<'_>) -> Result<Vec<EntityType>, Fault> {
    let mut entities: Vec<EntityType> = Vec::new();
    for item in document.list(value, "entities")? {
        let entity = one(document, item)?;
        if entities.iter().any(|other| other.name == entity.name) {
            return Err(document.refuse(item, "entities.type", &format!("{} is declared twice", entity.name)));
        }
        if let Some(other) = entities.iter().find(|other| other.table == entity.table) {
            let why = format!("{} belongs to {} already", entity.table, other.name);
            return Err(document.refuse(item, "entities.table", &why));
        }
        entities.push(entity);
    }
    check_refs(document.place, &entities)?;
    check_parents(document.place, &entities)?;
    Ok(entities)
}

fn one(document: &Document<'_>, item: &Value<'_>) -> Result<EntityType, Fault> {
    let table = document.table(item, "entities")?;
    document.refuse_unknown(table, "entities", &ENTITY_KEYS.map(|(name, _)| name))?;
    let required = |name: &str| {
        let found = table.get(name);
        found.ok_or_else(|| document.refuse(item, &format!("entities.{name}"), "is missing"))
    };
    let texts = |name: &str| match table.get(name) {
        Some(value) => document.texts(value, &format!("entities.{name}")),
        None => Ok(Vec::new()),
    };
    let optional = |name: &str| match table.get(name) {
        Some(value) => column(document, value, &format!("entities.{name}")).map(Some),
        None => Ok(None),
    };
    let entity = EntityType {
        name: type_name(document, required("type")?)?,
        table: relation(document, required("table")?)?,
        org: tenancy(document, required("org")?)?,
        key: texts("key")?,
        tx: match table.get("tx") {
            Some(value) => column(document, value, "entities.tx")?,
            None => "tx".to_owned(),
        },
        hidden: texts("hidden")?,
        sync: sync(document, table)?,
        filter: texts("filter")?,
        together: together(document, table)?,
        refs: refs(document, table)?,
        fields: fields(document, table)?,
        rules: rules::read(document, table)?,
        polling: Polling { cursor: optional("cursor")?, soft_delete: optional("soft_delete")? },
    };
    if let Some(empty) = table.get("key").filter(|_| entity.key.is_empty()) {
        return Err(document.refuse(empty, "entities.key", "is empty; leave it out to use the primary key"));
    }
    if let Some(hidden) = entity.hidden.iter().find(|name| entity.key.contains(name) || entity.filter.contains(name)) {
        let why = format!("names {hidden}, which is part of the key or of filter and must be seen");
        return Err(document.refuse(table.get("hidden").unwrap_or(item), "entities.hidden", &why));
    }
    if let (Some(value), None) = (table.get("soft_delete"), &entity.polling.cursor) {
        return Err(document.refuse(value, "entities.soft_delete", "is of use to polling only: name a cursor too"));
    }
    rules::check(document, table.get("rules").unwrap_or(item), &entity)?;
    Ok(entity)
}

fn type_name(document: &Document<'_>, value: &Value<'_>) -> Result<String, Fault> {
    let name = document.text(value, "entities.type")?;
    let fits = name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if fits {
        return Ok(name);
    }
    let why = "must begin with a letter and hold only letters, digits, _ and - (at most 63)";
    Err(document.refuse(value, "entities.type", why))
}

fn relation(document: &Document<'_>, value: &Value<'_>) -> Result<RelationName, Fault> {
    let text = document.text(value, "entities.table")?;
    RelationName::parse(&text).ok_or_else(|| document.refuse(value, "entities.table", "must be schema.table"))
}

fn column(document: &Document<'_>, value: &Value<'_>, name: &str) -> Result<String, Fault> {
    let text = document.text(value, name)?;
    if text.is_empty() { Err(document.refuse(value, name, "is empty")) } else { Ok(text) }
}

fn tenancy(document: &Document<'_>, value: &Value<'_>) -> Result<Tenancy, Fault> {
    if value.get_ref().is_table() {
        let table = document.table(value, "entities.org")?;
        document.refuse_unknown(table, "entities.org", &["via", "table"])?;
        let (Some(via), Some(parent)) = (table.get("via"), table.get("table")) else {
            let why = "needs both: { via = \"page_id\", table = \"public.pages\" }";
            return Err(document.refuse(value, "entities.org", why));
        };
        let column = column(document, via, "entities.org.via")?;
        return Ok(Tenancy::Via { column, table: relation(document, parent)? });
    }
    let text = column(document, value, "entities.org")?;
    Ok(if text == EVERYONE { Tenancy::Everyone } else { Tenancy::Column(text) })
}

fn sync(document: &Document<'_>, table: &DeTable<'_>) -> Result<Sync, Fault> {
    let Some(value) = table.get("sync") else { return Ok(Sync::All) };
    match document.text(value, "entities.sync")?.as_str() {
        "all" => Ok(Sync::All),
        "on_demand" => Ok(Sync::OnDemand),
        _ => Err(document.refuse(value, "entities.sync", "must be \"all\" or \"on_demand\"")),
    }
}

fn together(document: &Document<'_>, table: &DeTable<'_>) -> Result<Vec<Vec<String>>, Fault> {
    let Some(value) = table.get("together") else { return Ok(Vec::new()) };
    let mut groups: Vec<Vec<String>> = Vec::new();
    for item in document.list(value, "entities.together")? {
        let group = document.texts(item, "entities.together")?;
        if group.len() < 2 {
            return Err(document.refuse(item, "entities.together", "needs at least two fields in each list"));
        }
        if let Some(field) = group.iter().find(|field| groups.iter().flatten().any(|other| other == *field)) {
            return Err(document.refuse(item, "entities.together", &format!("names {field} twice")));
        }
        groups.push(group);
    }
    Ok(groups)
}

fn refs(document: &Document<'_>, table: &DeTable<'_>) -> Result<BTreeMap<String, String>, Fault> {
    let Some(value) = table.get("refs") else { return Ok(BTreeMap::new()) };
    let pairs = document.table(value, "entities.refs")?.iter();
    pairs
        .map(|(key, value)| {
            let name = key.get_ref().to_string();
            let target = column(document, value, &format!("entities.refs.{name}"))?;
            Ok((name, target))
        })
        .collect()
}

fn fields(document: &Document<'_>, table: &DeTable<'_>) -> Result<BTreeMap<String, Merge>, Fault> {
    let Some(value) = table.get("fields") else { return Ok(BTreeMap::new()) };
    let mut merges = BTreeMap::new();
    for (key, value) in document.table(value, "entities.fields")? {
        let field = key.get_ref().to_string();
        let name = format!("entities.fields.{field}");
        let options = document.table(value, &name)?;
        document.refuse_unknown(options, &name, &["merge"])?;
        let Some(merge) = options.get("merge") else { continue };
        let word = document.text(merge, &name)?;
        let Some((_, strategy)) = MERGES.iter().find(|(known, _)| *known == word) else {
            let why = format!("has no merge strategy {word}; there are lww, manual, text, counter and set");
            return Err(document.refuse(merge, &name, &why));
        };
        merges.insert(field, *strategy);
    }
    Ok(merges)
}

/// Refuses a type whose organisation comes from a table that is not declared, is everyone's, or takes its own from here.
fn check_parents(place: &str, entities: &[EntityType]) -> Result<(), Fault> {
    for entity in entities {
        let mut passed = vec![&entity.table];
        let mut org = &entity.org;
        while let Tenancy::Via { table, .. } = org {
            let refuse = |why: String| Err(invalid(format!("{place}: entity {}: org {why}", entity.name)));
            let Some(parent) = entities.iter().find(|other| other.table == *table) else {
                return refuse(format!(
                    "comes from {table}, which is not declared: declare that table with its org too"
                ));
            };
            if parent.org == Tenancy::Everyone {
                return refuse(format!("comes from {table}, which is everyone's: then so is this, org = \"*\""));
            }
            if passed.contains(&table) {
                return refuse(format!("comes from {table} and never leads to a column"));
            }
            passed.push(table);
            org = &parent.org;
        }
    }
    Ok(())
}

fn check_refs(place: &str, entities: &[EntityType]) -> Result<(), Fault> {
    for entity in entities {
        for (column, target) in &entity.refs {
            if entities.iter().any(|other| other.name == *target) {
                continue;
            }
            let near = nearest(target, entities.iter().map(|other| other.name.as_str()));
            let advice = near.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
            let name = &entity.name;
            let detail = format!("{place}: entity {name}: refs.{column} names {target}, which is not declared{advice}");
            return Err(invalid(detail));
        }
    }
    Ok(())
}
