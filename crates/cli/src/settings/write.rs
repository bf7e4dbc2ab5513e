//! Writing entity declarations as TOML, for `init`, `entities add` and `config print`.
//!
//! Law: what is written here reads back as the same declaration.

use antiphon_model::{Columns, Condition, EVERYONE, EntityType, Merge, Rule, Sync, Tenancy};

/// Returns an entity as an `[[entities]]` section; parts that are the default are left out.
pub(crate) fn entity_section(entity: &EntityType) -> String {
    let org = match &entity.org {
        Tenancy::Column(column) => quoted(column),
        Tenancy::Via { column, table } => {
            format!("{{ via = {}, table = {} }}", quoted(column), quoted(&table.to_string()))
        }
        Tenancy::Everyone => quoted(EVERYONE),
    };
    let mut lines = vec![
        "[[entities]]".to_owned(),
        format!("type = {}", quoted(&entity.name)),
        format!("table = {}", quoted(&entity.table.to_string())),
        format!("org = {org}"),
    ];
    let mut list = |name: &str, values: &[String]| {
        if !values.is_empty() {
            lines.push(format!("{name} = {}", list_of(values)));
        }
    };
    list("key", &entity.key);
    list("hidden", &entity.hidden);
    list("filter", &entity.filter);
    if entity.tx != "tx" {
        lines.push(format!("tx = {}", quoted(&entity.tx)));
    }
    if entity.sync == Sync::OnDemand {
        lines.push("sync = \"on_demand\"".to_owned());
    }
    for (name, column) in [("cursor", &entity.polling.cursor), ("soft_delete", &entity.polling.soft_delete)] {
        lines.extend(column.iter().map(|column| format!("{name} = {}", quoted(column))));
    }
    if !entity.together.is_empty() {
        let groups: Vec<String> = entity.together.iter().map(|group| list_of(group)).collect();
        lines.push(format!("together = [{}]", groups.join(", ")));
    }
    if !entity.refs.is_empty() {
        lines.push("[entities.refs]".to_owned());
        lines.extend(entity.refs.iter().map(|(column, target)| format!("{} = {}", bare(column), quoted(target))));
    }
    if !entity.fields.is_empty() {
        lines.push("[entities.fields]".to_owned());
        let fields = entity.fields.iter();
        lines.extend(fields.map(|(field, merge)| format!("{} = {{ merge = \"{}\" }}", bare(field), word(*merge))));
    }
    lines.extend(entity.rules.iter().flat_map(rule_lines));
    lines.push(String::new());
    lines.join("\n")
}

fn rule_lines(rule: &Rule) -> Vec<String> {
    let mut lines = vec!["[[entities.rules]]".to_owned()];
    if !rule.roles.is_empty() {
        let roles: Vec<String> = rule.roles.iter().map(|role| role.as_str().to_owned()).collect();
        lines.push(format!("roles = {}", list_of(&roles)));
    }
    match &rule.when {
        None => {}
        Some(Condition::Owner { column }) => lines.push(format!("when = {{ owner = {} }}", quoted(column))),
        Some(Condition::OneOf { column, values }) => {
            lines.push(format!("when = {{ column = {}, in = {} }}", quoted(column), list_of(values)));
        }
    }
    for (name, columns) in [("read", &rule.read), ("write", &rule.write)] {
        match columns {
            Columns::All => lines.push(format!("{name} = \"*\"")),
            Columns::Some(names) if names.is_empty() => {}
            Columns::Some(names) => {
                let names: Vec<String> = names.iter().cloned().collect();
                lines.push(format!("{name} = {}", list_of(&names)));
            }
        }
    }
    lines.extend(
        [("create", rule.create), ("delete", rule.delete)]
            .iter()
            .filter(|(_, granted)| *granted)
            .map(|(name, _)| format!("{name} = true")),
    );
    lines
}

/// Returns text as a TOML string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Returns the word of a merge strategy.
fn word(merge: Merge) -> &'static str {
    match merge {
        Merge::Lww => "lww",
        Merge::Manual => "manual",
        Merge::Text => "text",
        Merge::Counter => "counter",
        Merge::Set => "set",
    }
}

fn bare(key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if plain { key.to_owned() } else { quoted(key) }
}

fn list_of(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    format!("[{}]", quoted.join(", "))
}
