//! `antiphon entities`: prepares tables so that they can be captured, and undoes it.
//!
//! Each statement runs alone under a short lock timeout, is retried, and is shown; a run that was broken off goes on
//! where it stood. The declaration itself belongs into `antiphon.toml`, which `add` extends.

use std::path::Path;

use antiphon_model::{Code, EVERYONE, EntityType, Polling, RelationName, Tenancy};
use antiphon_server::admin::{Admin, EntityStatus, Fault, Identity, Plan, Progress, Step};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{ask, config};
use crate::{
    context::Context,
    fault::{Stop, usage},
    nearest::nearest,
    output::Tone,
    settings::{Settings, entity_section},
};

/// The commands of `entities`.
#[derive(Debug, Subcommand)]
pub(crate) enum EntitiesCommand {
    /// List the declared entity types and how far their tables are prepared
    #[command(before_help = "Example:\n  antiphon entities list")]
    List,
    /// Prepare a table and declare it
    Add(AddArgs),
    /// Undo what `add` did to a table
    Remove(RemoveArgs),
}

/// The arguments of `entities add`.
#[derive(Debug, Args)]
#[command(
    before_help = "Examples:\n  antiphon entities add task --table public.tasks --org organization_id --dry-run\n  antiphon entities add task --table public.tasks --org organization_id --yes\n  antiphon entities add note --table public.notes --org page_id --via public.pages"
)]
pub(crate) struct AddArgs {
    /// The entity type's name; one that is declared needs no more
    #[arg(value_name = "TYPE")]
    name: String,
    /// The table, as schema.table
    #[arg(long)]
    table: Option<String>,
    /// The column that holds the organisation's id; with --via, the one that refers to the row that has it; or `*`:
    /// readable by all, written by SQL only
    #[arg(long, value_name = "COLUMN")]
    org: Option<String>,
    /// The declared table whose organisation the rows have, as schema.table
    #[arg(long, value_name = "TABLE", requires = "org")]
    via: Option<String>,
    /// The key columns [default: the primary key]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    key: Vec<String>,
    /// Where capture is by queries: the column that every write raises, such as updated_at
    #[arg(long, value_name = "COLUMN")]
    cursor: Option<String>,
    /// Where capture is by queries: the column that marks a row as deleted
    #[arg(long, value_name = "COLUMN", requires = "cursor")]
    soft_delete: Option<String>,
    /// What an update or delete writes of the old row: an index over key and organisation, or the whole row
    #[arg(long, value_enum, default_value = "index")]
    identity: IdentityWord,
    /// Print the statements and their locks, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// The arguments of `entities remove`.
#[derive(Debug, Args)]
#[command(before_help = "Examples:\n  antiphon entities remove task --dry-run\n  antiphon entities remove task --yes")]
pub(crate) struct RemoveArgs {
    /// The entity type's name
    #[arg(value_name = "TYPE")]
    name: String,
    /// Drop the metadata column too
    #[arg(long)]
    drop_tx: bool,
    /// Print the statements and their locks, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// The replica identities.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum IdentityWord {
    /// A unique index over key and organisation.
    Index,
    /// The whole old row: needs no index and no NOT NULL, but writes much more log.
    Full,
}

/// Runs a command of `entities`.
pub(crate) async fn run(context: &Context, command: EntitiesCommand) -> Result<(), Stop> {
    let (settings, admin) = context.admin()?;
    match command {
        EntitiesCommand::List => list(context, &admin.entity_status().await?),
        EntitiesCommand::Add(args) => add(context, &settings, &admin, args).await,
        EntitiesCommand::Remove(args) => remove(context, &settings, &admin, args).await,
    }
}

async fn add(context: &Context, settings: &Settings, admin: &Admin, args: AddArgs) -> Result<(), Stop> {
    let declared = settings.entities().iter().find(|entity| entity.name == args.name);
    let entity = match (declared, &args.table) {
        (Some(entity), None) => entity.clone(),
        (Some(entity), Some(table)) if entity.table.to_string() == *table || entity.table.name == *table => {
            entity.clone()
        }
        (Some(entity), Some(_)) => {
            let detail = format!("{} is declared already, for {}", entity.name, entity.table);
            return Err(Fault::new(Code::ConfigInvalid, detail).into());
        }
        (None, Some(table)) => proposal(admin, settings, &args, table).await?,
        (None, None) => return Err(usage(format!("{} is not declared: give --table and --org", args.name))),
    };
    let entity = admin.with_key(&entity).await?;
    let identity = match args.identity {
        IdentityWord::Index => Identity::Index,
        IdentityWord::Full => Identity::Full,
    };
    let plan = admin.plan_add(&entity, identity).await?;
    carry_out(context, admin, &plan, &Consent { dry_run: args.dry_run, yes: args.yes, what: "Prepare the table?" })
        .await?;
    if context.out.json() {
        let document = json!({
            "version": 1, "dryRun": args.dry_run, "entity": config::entity(&entity), "steps": steps(&plan),
        });
        context.out.document(&document)?;
    }
    if declared.is_none() && !args.dry_run {
        declare(context, &entity)?;
    }
    Ok(())
}

async fn proposal(admin: &Admin, settings: &Settings, args: &AddArgs, table: &str) -> Result<EntityType, Stop> {
    let table = RelationName::parse(table).ok_or_else(|| usage("--table takes schema.table"))?;
    let proposal = admin.propose(&table, settings.entities()).await?;
    // The organisation is named by the caller, whatever there is to guess it from.
    let refusal = if args.org.is_some() { proposal.refusal_but_org() } else { proposal.refusal.as_deref() };
    if let Some(why) = refusal {
        return Err(Fault::new(Code::TableUnfit, format!("table {table}: {why}")).into());
    }
    let Some(org) = args.org.as_ref() else {
        let guesses = proposal.org.join(", ");
        let guesses = if guesses.is_empty() { String::new() } else { format!("; it may be {guesses}") };
        return Err(usage(format!("give --org: the column that holds the organisation's id{guesses}")));
    };
    let mut entity = proposal.entity(&args.name, org);
    entity.org = match &args.via {
        Some(via) => {
            let table = RelationName::parse(via).ok_or_else(|| usage("--via takes schema.table"))?;
            Tenancy::Via { column: org.clone(), table }
        }
        None if org == EVERYONE => Tenancy::Everyone,
        None => entity.org,
    };
    if !args.key.is_empty() {
        entity.key.clone_from(&args.key);
    }
    entity.polling = Polling { cursor: args.cursor.clone(), soft_delete: args.soft_delete.clone() };
    Ok(entity)
}

async fn remove(context: &Context, settings: &Settings, admin: &Admin, args: RemoveArgs) -> Result<(), Stop> {
    let Some(entity) = settings.entities().iter().find(|entity| entity.name == args.name) else {
        let near = nearest(&args.name, settings.entities().iter().map(|entity| entity.name.as_str()));
        let advice = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return Err(Fault::new(Code::EntityTypeUnknown, format!("{}{advice}", args.name)).into());
    };
    let entity = admin.with_key(entity).await?;
    let plan = admin.plan_remove(&entity, args.drop_tx).await?;
    let consent = Consent { dry_run: args.dry_run, yes: args.yes, what: "Undo the preparation of the table?" };
    carry_out(context, admin, &plan, &consent).await?;
    if context.out.json() {
        let document = json!({"version": 1, "dryRun": args.dry_run, "entityType": entity.name, "steps": steps(&plan)});
        context.out.document(&document)?;
    } else if !args.dry_run {
        context.out.talk(&format!("now take the [[entities]] section of {} out of antiphon.toml", entity.name));
    }
    Ok(())
}

/// What the person said about a plan.
pub(crate) struct Consent<'a> {
    /// Only show it.
    pub(crate) dry_run: bool,
    /// Do not ask.
    pub(crate) yes: bool,
    /// The question.
    pub(crate) what: &'a str,
}

/// Shows a plan, asks, and carries it out.
pub(crate) async fn carry_out(
    context: &Context,
    admin: &Admin,
    plan: &Plan,
    consent: &Consent<'_>,
) -> Result<(), Stop> {
    show(context, plan, consent.dry_run)?;
    let needed = plan.steps.iter().filter(|step| step.needed).count();
    if consent.dry_run || needed == 0 {
        let why = if needed == 0 { "nothing to do: all of it is done already" } else { "dry run: nothing was changed" };
        context.out.talk(why);
        return Ok(());
    }
    if !consent.yes {
        ask::confirm(context, consent.what, "--yes").await?;
    }
    let out = context.out.clone();
    admin
        .apply(plan, &mut |progress| match progress {
            Progress::Started { step, .. } => out.talk(&format!("{} ...", step.why)),
            Progress::Retrying { attempt, wait_ms, .. } => {
                out.talk(&format!("  the table is busy (attempt {attempt}); again in {wait_ms} ms"));
            }
            Progress::Done { .. } | Progress::Skipped { .. } => {}
        })
        .await?;
    context.out.talk_toned(Tone::Good, "done");
    Ok(())
}

/// Shows the statements of a plan; on stdout when they are the data that was asked for.
fn show(context: &Context, plan: &Plan, as_data: bool) -> Result<(), Stop> {
    if context.out.json() {
        return Ok(());
    }
    for step in &plan.steps {
        let state = if step.needed { String::new() } else { " (done already)".to_owned() };
        let lines = [
            format!("-- {}{state}", step.why),
            format!("-- lock: {}", step.lock),
            format!("{};", step.sql.trim_end_matches(';')),
        ];
        for line in lines {
            if as_data { context.out.line(&line)? } else { context.out.talk(&line) }
        }
    }
    Ok(())
}

/// Lists the steps of a plan as documents.
pub(crate) fn steps(plan: &Plan) -> Vec<Value> {
    let step = |step: &Step| json!({"sql": step.sql, "lock": step.lock, "why": step.why, "needed": step.needed});
    plan.steps.iter().map(step).collect()
}

/// Appends a declaration to the configuration file, or shows it where there is none.
pub(crate) fn declare(context: &Context, entity: &EntityType) -> Result<(), Stop> {
    let path = context.config_path();
    let section = entity_section(entity);
    if !path.exists() {
        context.out.talk("declare it in antiphon.toml:\n");
        section.lines().for_each(|line| context.out.talk(line));
        return Ok(());
    }
    append(&path, &section)?;
    context.out.talk(&format!("declared in {}; a running server takes it up at its next start", path.display()));
    Ok(())
}

fn append(path: &Path, section: &str) -> Result<(), Stop> {
    let present = std::fs::read_to_string(path)?;
    let gap = if present.ends_with("\n\n") || present.is_empty() { "" } else { "\n" };
    // Beside its place, then renamed: a full disk must not cut the file.
    let unfinished = path.with_extension("toml.new");
    std::fs::write(&unfinished, format!("{present}{gap}{section}"))?;
    std::fs::set_permissions(&unfinished, std::fs::metadata(path)?.permissions())?;
    std::fs::rename(&unfinished, path)?;
    Ok(())
}

fn list(context: &Context, entities: &[EntityStatus]) -> Result<(), Stop> {
    if context.out.json() {
        return context.out.document(&json!({"version": 1, "entities": entities}));
    }
    if entities.is_empty() {
        context.out.talk("no entities are declared; `antiphon entities add` or `antiphon init` declares one");
        return Ok(());
    }
    let yes = |value: bool| if value { "yes" } else { "no" }.to_owned();
    let rows = entities.iter().map(|entity| {
        vec![
            entity.entity_type.clone(),
            entity.table.clone(),
            yes(entity.published),
            yes(entity.identity_fits),
            yes(entity.tx_column),
            entity.rows_estimated.map_or_else(|| "-".into(), |rows| rows.to_string()),
            entity.problem.clone().unwrap_or_default(),
        ]
    });
    let headings = ["entity", "table", "published", "identity", "tx", "rows about", "problem"];
    context.out.table(&headings, rows.collect())
}
