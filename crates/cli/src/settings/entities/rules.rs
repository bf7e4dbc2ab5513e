//! `[[entities.rules]]`: who may see and write what (MUT-05).
//!
//! Rules add up and what none of them grants is denied; a type without rules has the plain ones. Whether the columns
//! exist is asked of the live table; that they may be shown at all is checked here.

use antiphon_model::{Columns, Condition, EntityType, Role, Rule};
use antiphon_server::admin::Fault;
use toml::de::DeTable;

use super::super::file::{Document, Value};

const NAME: &str = "entities.rules";
const KEYS: [&str; 6] = ["roles", "when", "read", "write", "create", "delete"];

/// Reads the rules of a type.
pub(super) fn read(document: &Document<'_>, table: &DeTable<'_>) -> Result<Vec<Rule>, Fault> {
    let Some(value) = table.get("rules") else { return Ok(Vec::new()) };
    let items = document.list(value, NAME)?;
    if items.is_empty() {
        return Err(document.refuse(value, NAME, "is empty; leave it out for the plain rules"));
    }
    items.iter().map(|item| rule(document, item)).collect()
}

/// Refuses rules that grant what never leaves the server.
pub(super) fn check(document: &Document<'_>, at: &Value<'_>, entity: &EntityType) -> Result<(), Fault> {
    for columns in entity.rules.iter().flat_map(|rule| [&rule.read, &rule.write]) {
        let Columns::Some(names) = columns else { continue };
        if let Some(name) = names.iter().find(|name| !entity.shows(name)) {
            let why = format!("grants {name}, which is hidden or the metadata column");
            return Err(document.refuse(at, NAME, &why));
        }
    }
    Ok(())
}

fn rule(document: &Document<'_>, item: &Value<'_>) -> Result<Rule, Fault> {
    let table = document.table(item, NAME)?;
    document.refuse_unknown(table, NAME, &KEYS)?;
    let flag = |name: &str| match table.get(name) {
        Some(value) => document.flag(value, &format!("{NAME}.{name}")),
        None => Ok(false),
    };
    let columns = |name: &str| match table.get(name) {
        Some(value) => columns(document, value, &format!("{NAME}.{name}")),
        None => Ok(Columns::none()),
    };
    let rule = Rule {
        roles: roles(document, table)?,
        when: table.get("when").map(|value| condition(document, value)).transpose()?,
        read: columns("read")?,
        write: columns("write")?,
        create: flag("create")?,
        delete: flag("delete")?,
    };
    if rule.read.is_empty() && rule.write.is_empty() && !rule.create && !rule.delete {
        return Err(document.refuse(
            item,
            NAME,
            "has a rule that grants nothing; what no rule grants is denied anyway",
        ));
    }
    Ok(rule)
}

fn roles(document: &Document<'_>, table: &DeTable<'_>) -> Result<Vec<Role>, Fault> {
    let Some(value) = table.get("roles") else { return Ok(Vec::new()) };
    let name = format!("{NAME}.roles");
    let words = document.texts(value, &name)?;
    if words.is_empty() {
        return Err(document.refuse(value, &name, "is empty; leave it out for everyone"));
    }
    let role = |word: &String| {
        let unknown =
            || document.refuse(value, &name, &format!("names {word}; there are viewer, member, admin and owner"));
        Role::parse(word).ok_or_else(unknown)
    };
    words.iter().map(role).collect()
}

fn columns(document: &Document<'_>, value: &Value<'_>, name: &str) -> Result<Columns, Fault> {
    if value.get_ref().as_str().is_some() {
        return match document.text(value, name)?.as_str() {
            "*" => Ok(Columns::All),
            _ => Err(document.refuse(value, name, "must be \"*\" or a list of columns")),
        };
    }
    let names = document.texts(value, name)?;
    Ok(Columns::of(names.iter().map(String::as_str)))
}

fn condition(document: &Document<'_>, value: &Value<'_>) -> Result<Condition, Fault> {
    let name = format!("{NAME}.when");
    let table = document.table(value, &name)?;
    document.refuse_unknown(table, &name, &["owner", "column", "in"])?;
    let column = |value: &Value<'_>| {
        let column = document.text(value, &name)?;
        if column.is_empty() { Err(document.refuse(value, &name, "names no column")) } else { Ok(column) }
    };
    match (table.get("owner"), table.get("column"), table.get("in")) {
        (Some(owner), None, None) => Ok(Condition::Owner { column: column(owner)? }),
        (None, Some(one), Some(values)) => {
            let texts = document.texts(values, &format!("{name}.in"))?;
            if texts.is_empty() {
                return Err(document.refuse(values, &name, "lists no value, so no row fits"));
            }
            Ok(Condition::OneOf { column: column(one)?, values: texts })
        }
        _ => {
            Err(document.refuse(value, &name, "is { owner = \"column\" } or { column = \"column\", in = [\"value\"] }"))
        }
    }
}
