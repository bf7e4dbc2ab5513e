//! `antiphon init`: from a database URL to a written configuration.
//!
//! Doctor first, then tables, then the plan, then consent, then `antiphon.toml`. Without a terminal nothing is asked:
//! what is missing is named as a flag. An existing file is never overwritten without `--force`.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use antiphon_model::{Code, EntityType, RelationName, Role};
use antiphon_server::admin::{Admin, Fault, Identity, Proposal};
use clap::Args;
use serde_json::json;

use super::{
    ask, config, doctor,
    entities::{Consent, carry_out},
};
use crate::{
    context::{Context, admin_config},
    fault::{Stop, usage},
    output::Tone,
    settings::{
        DATABASE_LOG_URL, DATABASE_PUBLICATION, DATABASE_SLOT, DATABASE_URL, Origin, Settings, entity_section, quoted,
    },
};

/// The arguments of `init`.
#[derive(Debug, Args)]
#[command(
    before_help = "Examples:\n  antiphon init\n  antiphon init --database-url postgres://me@localhost/app --table public.tasks --org organization_id --yes"
)]
pub(crate) struct InitArgs {
    /// A table to declare, as schema.table (repeatable)
    #[arg(long, value_name = "TABLE")]
    table: Vec<String>,
    /// The column that holds the organisation's id, in every table named
    #[arg(long, value_name = "COLUMN")]
    org: Option<String>,
    /// Overwrite an existing configuration file
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Sets up an own database.
pub(crate) async fn run(context: &Context, args: InitArgs) -> Result<(), Stop> {
    let path = context.config_path();
    if path.exists() && !args.force {
        let detail = format!("{} exists already; --force overwrites it", path.display());
        return Err(Fault::new(Code::ConfigInvalid, detail).into());
    }
    let settings = database(context).await?;
    let admin = Admin::new(admin_config(&settings, &context.environment)?)?;
    let findings = doctor::examine(context, &admin).await;
    if !context.out.json() {
        doctor::print(context, &findings)?;
    }
    if let Some(code) = doctor::worst(&findings) {
        if context.out.json() {
            context.out.document(&json!({"version": 1, "healthy": false, "findings": findings}))?;
        }
        context.out.talk("mend the problems above, then run this again; nothing was changed");
        return Err(Stop::Told(code));
    }
    let entities = choose(context, &admin, &args).await?;
    for entity in &entities {
        let plan = admin.plan_add(entity, Identity::Index).await?;
        let consent = Consent { dry_run: false, yes: args.yes, what: &format!("Prepare {}?", entity.table) };
        carry_out(context, &admin, &plan, &consent).await?;
    }
    admin.migrate(false).await?;
    let token = first_people(context, &admin, &args, &entities).await?;
    write_file(&path, &settings, &entities, args.force)?;
    finish(context, &path, &entities, token)
}

/// Finds out which database, asking where there is somebody to ask.
async fn database(context: &Context) -> Result<Settings, Stop> {
    // A file that is about to be written anew does not count.
    let settings = context.settings()?;
    if settings.text(&DATABASE_URL).is_some() {
        return Ok(settings);
    }
    let url =
        ask::text(context, "The database's URL (postgres://user:password@host/database):", "--database-url").await?;
    Ok(context.settings_with(vec![(DATABASE_URL, url, "--database-url")])?)
}

async fn choose(context: &Context, admin: &Admin, args: &InitArgs) -> Result<Vec<EntityType>, Stop> {
    let mut names = args.table.clone();
    if names.is_empty() {
        names = choose_tables(context, admin).await?;
    }
    let mut entities: Vec<EntityType> = Vec::new();
    for name in names {
        let table = RelationName::parse(&name).ok_or_else(|| usage(format!("{name} is no table's name")))?;
        let proposal = admin.propose(&table, &entities).await?;
        if let Some(why) = &proposal.refusal {
            return Err(Fault::new(Code::TableUnfit, format!("table {table}: {why}")).into());
        }
        let org = choose_org(context, args, &proposal).await?;
        entities.push(admin.with_key(&proposal.entity(&proposal.name, &org)).await?);
    }
    Ok(entities)
}

async fn choose_tables(context: &Context, admin: &Admin) -> Result<Vec<String>, Stop> {
    let tables = admin.tables().await?;
    if tables.is_empty() {
        return Err(Fault::new(Code::NotFound, "the database has no tables").into());
    }
    context.out.talk("Tables:");
    for table in &tables {
        let note = match (&table.refusal, table.rows_estimated) {
            (Some(why), _) => format!("cannot be captured: {why}"),
            (None, Some(rows)) => format!("about {rows} rows"),
            (None, None) => String::new(),
        };
        context.out.talk(&format!("  {}  {note}", table.table));
    }
    let answer = ask::text(context, "Which of them, separated by commas?", "--table").await?;
    let names: Vec<String> =
        answer.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    if names.is_empty() { Err(usage("no table was named")) } else { Ok(names) }
}

async fn choose_org(context: &Context, args: &InitArgs, proposal: &Proposal) -> Result<String, Stop> {
    let table = &proposal.table;
    let guess = proposal.org.first().cloned().unwrap_or_default();
    let org = match &args.org {
        Some(org) => org.clone(),
        None if ask::possible(context) => {
            let question = format!("{table}: which column holds the organisation's id? [{guess}]");
            let answer = ask::text(context, &question, "--org").await?;
            if answer.is_empty() { guess } else { answer }
        }
        None => guess,
    };
    if org.is_empty() {
        return Err(usage(format!("{table}: give --org, the column that holds the organisation's id")));
    }
    Ok(org)
}

/// Creates a first organisation with an owner and a token where there is none.
async fn first_people(
    context: &Context,
    admin: &Admin,
    args: &InitArgs,
    entities: &[EntityType],
) -> Result<Option<(String, String)>, Stop> {
    let people = admin.people().await?;
    if !people.orgs().await?.is_empty() {
        return Ok(None);
    }
    // An id that rows have already, so that the first stream shows something.
    let mut org = "default".to_owned();
    for entity in entities {
        if let Some(usual) = admin.usual_org(entity).await? {
            org = usual;
            break;
        }
    }
    if ask::possible(context) && !args.yes {
        let question = format!("The id of your first organisation, as your rows hold it? [{org}]");
        let answer = ask::text(context, &question, "--yes").await?;
        if !answer.is_empty() {
            org = answer;
        }
    }
    people.create_org(&org, &org, &org).await?;
    people.create_user("owner", "Owner", true).await?;
    people.join(&org, "owner", Role::Owner).await?;
    Ok(Some((org, people.create_token("owner", "made by antiphon init", None).await?)))
}

fn write_file(path: &Path, settings: &Settings, entities: &[EntityType], force: bool) -> Result<(), Stop> {
    let mut text =
        String::from("# Written by `antiphon init`. `antiphon config print` shows what is in force.\n\n[database]\n");
    for key in [DATABASE_URL, DATABASE_LOG_URL, DATABASE_SLOT, DATABASE_PUBLICATION] {
        match (settings.text(&key), settings.origin(&key)) {
            (None, _) | (_, Origin::Default) => {}
            (_, Origin::Environment(variable)) => text.push_str(&format!("# {} comes from {variable}\n", key.name)),
            (Some(value), _) => text.push_str(&format!("{} = {}\n", key.name, quoted(value))),
        }
    }
    for entity in entities {
        text.push('\n');
        text.push_str(&entity_section(entity));
    }
    let mut options = OpenOptions::new();
    // It may hold a password.
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    options.open(path)?.write_all(text.as_bytes())?;
    Ok(())
}

fn finish(
    context: &Context,
    path: &Path,
    entities: &[EntityType],
    token: Option<(String, String)>,
) -> Result<(), Stop> {
    if context.out.json() {
        let entities: Vec<_> = entities.iter().map(config::entity).collect();
        let (org, token) = token.unzip();
        return context.out.document(&json!({
            "version": 1, "healthy": true, "file": path.display().to_string(), "entities": entities, "org": org,
            "token": token,
        }));
    }
    context.out.talk_toned(Tone::Good, &format!("wrote {}", path.display()));
    if let Some((org, token)) = &token {
        context.out.talk(&format!("organisation {org}, owner's token (not shown again):"));
        context.out.line(token)?;
    }
    context
        .out
        .talk("next:\n  antiphon serve --migrate\n  antiphon tail        (in another terminal; then change a row)");
    Ok(())
}
