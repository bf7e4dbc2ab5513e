//! `antiphon config`: the resolved configuration with the origin of each value, what it would change, and its reference.
//!
//! Law: passwords are never printed, not even with `--json`.

mod plan;

use antiphon_model::{Columns, Condition, EVERYONE, EntityType, Rule, Tenancy};
use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use crate::{
    context::Context,
    fault::Stop,
    output::Tone,
    reference,
    settings::{KEYS, Settings, entity_section},
};

/// The commands of `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the resolved configuration, secrets hidden, with the origin of each value
    #[command(
        before_help = "Examples:\n  antiphon config print\n  ANTIPHON_SERVER_LISTEN=127.0.0.1:9000 antiphon config print --json"
    )]
    Print,
    /// Tell what a server started with this configuration would do to what is captured; changes nothing
    ///
    /// Ends with an error where capture would stop, or readers would keep rows of another table.
    #[command(before_help = "Examples:\n  antiphon config plan\n  antiphon --config next.toml config plan --json")]
    Plan,
    /// Print the reference of every key
    #[command(hide = true)]
    Reference {
        /// The form
        #[arg(long, value_enum, default_value = "markdown")]
        format: Format,
    },
}

/// The forms of the reference.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// A page.
    Markdown,
    /// An example file.
    Toml,
}

/// Runs a command of `config`.
pub(crate) async fn run(context: &Context, command: ConfigCommand) -> Result<(), Stop> {
    match command {
        ConfigCommand::Plan => plan::run(context).await,
        ConfigCommand::Print => print(context, &context.settings()?),
        ConfigCommand::Reference { format: Format::Markdown } => context.out.raw(&reference::configuration()),
        ConfigCommand::Reference { format: Format::Toml } => context.out.raw(&reference::example()),
    }
}

fn print(context: &Context, settings: &Settings) -> Result<(), Stop> {
    if context.out.json() {
        return context.out.document(&document(settings));
    }
    let rows = KEYS.iter().map(|key| {
        let origin = settings.text(key).map(|_| settings.origin(key).to_string());
        let value = settings.text(key).map_or_else(|| "(not set)".to_owned(), |text| key.shown(text));
        vec![key.full_name(), value, origin.unwrap_or_else(|| "default".to_owned())]
    });
    context.out.table(&["key", "value", "origin"], rows.collect())?;
    for mirror in settings.mirrors() {
        context.out.line(&format!("\nmirror {} ({}): {}", mirror.name, settings.mirrors_origin(), mirror.shown()))?;
    }
    if settings.entities().is_empty() {
        return context.out.line("\nNo entities are declared.");
    }
    context.out.line("")?;
    context.out.toned(Tone::Strong, &format!("Entities ({})", settings.entities_origin()))?;
    settings
        .entities()
        .iter()
        .try_for_each(|entity| context.out.line(&format!("\n{}", entity_section(entity).trim_end())))
}

fn document(settings: &Settings) -> Value {
    let mut values = Map::new();
    for key in &KEYS {
        let value = settings.text(key).map(|text| key.shown(text));
        let origin = settings.origin(key).to_string();
        values.insert(key.full_name(), json!({"value": value, "origin": origin, "variable": key.variable()}));
    }
    let entities: Vec<Value> = settings.entities().iter().map(entity).collect();
    let mirrors: Vec<Value> =
        settings.mirrors().iter().map(|mirror| json!({"name": mirror.name, "url": mirror.shown()})).collect();
    json!({
        "version": 1,
        "file": settings.file().map(|path| path.display().to_string()),
        "settings": values,
        "mirrors": {"value": mirrors, "origin": settings.mirrors_origin().to_string()},
        "entities": {"value": entities, "origin": settings.entities_origin().to_string()},
    })
}

/// Returns an entity in the words of the configuration.
pub(crate) fn entity(entity: &EntityType) -> Value {
    let org = match &entity.org {
        Tenancy::Column(column) => json!(column),
        Tenancy::Via { column, table } => json!({"via": column, "table": table.to_string()}),
        Tenancy::Everyone => json!(EVERYONE),
    };
    let merges: Map<String, Value> =
        entity.fields.iter().map(|(field, merge)| (field.clone(), json!({"merge": merge}))).collect();
    json!({
        "type": entity.name, "table": entity.table.to_string(), "org": org, "key": entity.key, "tx": entity.tx,
        "hidden": entity.hidden, "sync": entity.sync, "filter": entity.filter,
        "cursor": entity.polling.cursor, "softDelete": entity.polling.soft_delete, "together": entity.together,
        "refs": entity.refs, "fields": merges, "rules": entity.rules.iter().map(rule).collect::<Vec<_>>(),
    })
}

fn rule(rule: &Rule) -> Value {
    let columns = |columns: &Columns| match columns {
        Columns::All => json!("*"),
        Columns::Some(names) => json!(names),
    };
    let when = match &rule.when {
        None => Value::Null,
        Some(Condition::Owner { column }) => json!({"owner": column}),
        Some(Condition::OneOf { column, values }) => json!({"column": column, "in": values}),
    };
    json!({
        "roles": rule.roles, "when": when, "read": columns(&rule.read), "write": columns(&rule.write),
        "create": rule.create, "delete": rule.delete,
    })
}
