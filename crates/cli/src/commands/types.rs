//! `antiphon types`: TypeScript types of the entities, from the live tables.
//!
//! Law: the types say what the wire sends (protocol 2), not what Postgres stores: an int8 is a string.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use antiphon_model::{EntityType, Type, TypeKind};
use antiphon_server::admin::{Admin, Shape};
use clap::Args;
use serde_json::json;

use crate::{context::Context, fault::Stop};

const WATCH: Duration = Duration::from_secs(2);

/// The arguments of `types`.
#[derive(Debug, Args)]
#[command(
    before_help = "Examples:\n  antiphon types --out src/entities.ts\n  antiphon types --out src/entities.ts --watch\n  antiphon types --out - | less"
)]
pub(crate) struct TypesArgs {
    /// The file to write; - is stdout
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Go on and write again when a table changes
    #[arg(long)]
    watch: bool,
}

/// Writes the types.
pub(crate) async fn run(context: &Context, args: TypesArgs) -> Result<(), Stop> {
    let (_, admin) = context.admin()?;
    let mut last = String::new();
    loop {
        let text = write_types(&admin).await?;
        if text != last {
            deliver(context, &args.out, &text)?;
            last = text;
        }
        if !args.watch {
            return Ok(());
        }
        tokio::time::sleep(WATCH).await;
    }
}

async fn write_types(admin: &Admin) -> Result<String, Stop> {
    let shapes = admin.shapes().await?;
    Ok(typescript(&shapes))
}

fn deliver(context: &Context, out: &Path, text: &str) -> Result<(), Stop> {
    if out == Path::new("-") {
        return context.out.raw(text.trim_end());
    }
    if std::fs::read_to_string(out).is_ok_and(|present| present == text) {
        context.out.talk(&format!("{} is up to date", out.display()));
    } else {
        let unfinished = out.with_extension("ts.new");
        std::fs::write(&unfinished, text)?;
        std::fs::rename(&unfinished, out)?;
        context.out.talk(&format!("wrote {}", out.display()));
    }
    if context.out.json() {
        return context.out.document(&json!({"version": 1, "file": out.display().to_string()}));
    }
    Ok(())
}

/// Returns the module's text.
fn typescript(shapes: &[(EntityType, Shape)]) -> String {
    let mut text = String::from(
        "// Written by `antiphon types`; do not edit. Values are as the wire sends them.\n\n\
         /** A JSON document. */\n\
         export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };\n",
    );
    for (entity, shape) in shapes {
        text.push_str(&format!("\n/** A row of {} (entity type `{}`). */\n", entity.table, entity.name));
        text.push_str(&format!("export interface {} {{\n", interface_name(&entity.name)));
        for field in &shape.fields {
            let null = if field.nullable { " | null" } else { "" };
            text.push_str(&format!("  {}: {}{null};\n", property(&field.name), type_text(&field.ty)));
        }
        text.push_str("}\n");
    }
    text.push_str("\n/** Every entity type by its name. */\nexport interface Entities {\n");
    for (entity, _) in shapes {
        text.push_str(&format!("  {}: {};\n", property(&entity.name), interface_name(&entity.name)));
    }
    text.push_str("}\n\n/** The name of an entity type. */\nexport type EntityTypeName = keyof Entities;\n");
    text
}

fn type_text(ty: &Type) -> String {
    match &ty.kind {
        TypeKind::Bool => "boolean".into(),
        TypeKind::Integer => "number".into(),
        TypeKind::Float => "number | \"NaN\" | \"Infinity\" | \"-Infinity\"".into(),
        TypeKind::Text | TypeKind::Bytea | TypeKind::Timestamptz => "string".into(),
        TypeKind::Json | TypeKind::Jsonb => "Json".into(),
        TypeKind::Array(element, _) => format!("({} | null)[]", type_text(element)),
        TypeKind::Composite(attributes) => {
            let parts: Vec<String> =
                attributes.iter().map(|(name, ty)| format!("{}: {} | null", property(name), type_text(ty))).collect();
            format!("{{ {} }}", parts.join("; "))
        }
        TypeKind::Enum(labels) => labels.iter().map(|label| literal(label)).collect::<Vec<_>>().join(" | "),
    }
}

fn interface_name(name: &str) -> String {
    let parts = name.split(['_', '-']).filter(|part| !part.is_empty());
    let capital = |part: &str| {
        let mut chars = part.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect::<String>()).unwrap_or_default()
    };
    parts.map(capital).collect()
}

fn property(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { name.to_owned() } else { literal(name) }
}

fn literal(text: &str) -> String {
    let mut out = String::new();
    antiphon_model::write_string(&mut out, text);
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn types_say_what_the_wire_sends_and_hostile_names_stay_inside_quotes() {
        let of = |kind| Type { name: "x".into(), kind };
        let mood = of(TypeKind::Enum(Arc::from(["ok".to_owned(), "a\"; evil()".to_owned()])));
        for (ty, expected) in [
            (of(TypeKind::Text), "string"),
            (of(TypeKind::Jsonb), "Json"),
            (of(TypeKind::Array(Arc::new(of(TypeKind::Integer)), b',')), "(number | null)[]"),
            (mood, "\"ok\" | \"a\\\"; evil()\""),
            (
                of(TypeKind::Composite(Arc::from([("a b".to_owned(), Arc::new(of(TypeKind::Bool)))]))),
                "{ \"a b\": boolean | null }",
            ),
        ] {
            assert_eq!(type_text(&ty), expected);
        }
        assert_eq!(interface_name("line-item_part"), "LineItemPart");
    }
}
