//! `antiphon sync`: a local replica with an outbox, in a terminal.
//!
//! Laws: only `once` and `watch` use the network, everything else works without one and says what waits to be sent; what
//! was typed is on the disk before a command ends. A replica belongs to one server, user and organisation, and is used by
//! one process at a time.

mod decisions;
mod edits;
mod live;
mod portable;
mod rows;
mod values;

use std::path::PathBuf;

use antiphon_model::Code;
use antiphon_replica::{Config, Fault, Place, Replica, user_of};
use clap::{Args, Subcommand};

use crate::{
    context::Context,
    fault::{Stop, usage},
};

/// The arguments of `sync`.
#[derive(Debug, Args)]
#[command(
    before_help = "Examples:\n  export ANTIPHON_SYNC_URL=http://127.0.0.1:7411 ANTIPHON_SYNC_TOKEN=ant_... ANTIPHON_SYNC_ORG=acme\n  antiphon sync once                           bring the replica in step with the server\n  antiphon sync list page --fields title       works offline\n  antiphon sync edit page ID title=\"New title\"  works offline; the next `once` sends it\n  antiphon sync watch                          stay in step until Ctrl-C"
)]
pub(crate) struct SyncArgs {
    /// Which replica.
    #[command(flatten)]
    replica: ReplicaArgs,
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

/// Names a replica.
#[derive(Debug, Args)]
#[command(next_help_heading = "Replica")]
struct ReplicaArgs {
    /// The server's address [environment: ANTIPHON_SYNC_URL]
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// The token; better in the environment (ANTIPHON_SYNC_TOKEN), where other users do not see it
    #[arg(long, global = true, value_name = "TOKEN")]
    token: Option<String>,
    /// The organisation, by id or slug [environment: ANTIPHON_SYNC_ORG]
    #[arg(long, global = true, value_name = "ORG")]
    org: Option<String>,
    /// Whose replica it is [environment: ANTIPHON_SYNC_USER; default: the `sub` of the token, or a digest of a token that does not say]
    #[arg(long, global = true, value_name = "NAME")]
    user: Option<String>,
    /// The replica's file [environment: ANTIPHON_SYNC_FILE; default: one for each server, user and organisation in our folder of states]
    #[arg(long, global = true, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Go on with a copy of another replica, which is not used any more
    #[arg(long, global = true)]
    adopt: bool,
}

/// What can be done with a replica.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Bring the replica in step with the server, and end
    #[command(before_help = "Example:\n  antiphon sync once --timeout 120")]
    Once(live::OnceArgs),
    /// Stay in step with the server, and print what changes, until Ctrl-C
    #[command(before_help = "Example:\n  antiphon sync watch --json | jq -c .")]
    Watch,
    /// List the rows of a type
    #[command(before_help = "Example:\n  antiphon sync list page --fields title,archived")]
    List(rows::ListArgs),
    /// Show a row, and what is pending on it
    #[command(before_help = "Example:\n  antiphon sync show page 00000000-0000-4001-8001-000000000001")]
    Show(rows::ShowArgs),
    /// Create a row; prints its id
    #[command(before_help = "Example:\n  antiphon sync create page title=Notes body=\"First line\"")]
    Create(edits::CreateArgs),
    /// Edit fields of a row
    #[command(
        before_help = "Examples:\n  antiphon sync edit page ID title=\"New title\" archived=true\n  antiphon sync edit task ID votes+=1            add to a counter\n  antiphon sync edit task ID labels+=red labels-=blue   add to a set, and remove\n  antiphon sync edit task ID due_on:=null        a JSON value"
    )]
    Edit(edits::EditArgs),
    /// Delete a row
    #[command(before_help = "Example:\n  antiphon sync delete page ID")]
    Delete(rows::ShowArgs),
    /// List the edits that the server has not confirmed
    Outbox,
    /// List the edits that wait for a decision
    Conflicts,
    /// Decide a conflict
    #[command(
        before_help = "Examples:\n  antiphon sync resolve 3 mine\n  antiphon sync resolve 3 theirs\n  antiphon sync resolve 3 merged \"Both titles\"\n  antiphon sync resolve 3 restore              others deleted the row: make it again, with my edit"
    )]
    Resolve(decisions::ResolveArgs),
    /// Send a refused edit again, or all of them
    Retry(decisions::RetryArgs),
    /// Take an edit back that is not on its way, with all that waits for it
    Discard(decisions::EntryArgs),
    /// Undo the last edit that was made with this replica
    Undo,
    /// Do again what was undone last
    Redo,
    /// Say where the replica stands
    Status,
    /// List what was decided without asking, for 30 days
    Journal,
    /// Save the outbox into a file, whatever state the replica is in
    #[command(before_help = "Example:\n  antiphon sync export outbox.json")]
    Export(portable::FileArgs),
    /// Take the edits of a saved outbox over
    #[command(before_help = "Example:\n  antiphon sync import outbox.json")]
    Import(portable::FileArgs),
}

/// Runs a command of `sync`.
pub(crate) async fn run(context: &Context, args: SyncArgs) -> Result<(), Stop> {
    let config = config(context, &args.replica)?;
    match args.verb {
        Verb::Export(file) => portable::export(context, &config, &file),
        Verb::Import(file) => portable::import(context, config, &file),
        Verb::Once(once) => live::once(context, &mut Replica::open(config)?, &once).await,
        Verb::Watch => live::watch(context, &mut Replica::open(config)?).await,
        Verb::List(list) => rows::list(context, &Replica::open(config)?, &list),
        Verb::Show(row) => rows::show(context, &Replica::open(config)?, &row),
        Verb::Outbox => rows::outbox(context, &Replica::open(config)?),
        Verb::Status => rows::status(context, &config, &Replica::open(config.clone())?),
        Verb::Create(create) => edits::create(context, &mut Replica::open(config)?, &create),
        Verb::Edit(edit) => edits::edit(context, &mut Replica::open(config)?, &edit),
        Verb::Delete(row) => edits::delete(context, &mut Replica::open(config)?, &row),
        Verb::Conflicts => decisions::conflicts(context, &Replica::open(config)?),
        Verb::Resolve(resolve) => decisions::resolve(context, &mut Replica::open(config)?, &resolve),
        Verb::Retry(retry) => decisions::retry(context, &mut Replica::open(config)?, &retry),
        Verb::Discard(entry) => decisions::discard(context, &mut Replica::open(config)?, &entry),
        Verb::Undo => decisions::undo(context, &mut Replica::open(config)?),
        Verb::Redo => decisions::redo(context, &mut Replica::open(config)?),
        Verb::Journal => decisions::journal(context, &Replica::open(config)?),
    }
}

fn config(context: &Context, args: &ReplicaArgs) -> Result<Config, Stop> {
    let given = |value: &Option<String>, variable: &str| {
        let named = value.clone().or_else(|| context.environment.var(variable).map(str::to_owned));
        named.filter(|value| !value.is_empty())
    };
    let wanted = |value: &Option<String>, flag: &str, variable: &str| {
        given(value, variable).ok_or_else(|| usage(format!("which replica? {flag} or {variable} is missing")))
    };
    let url = wanted(&args.url, "--url", "ANTIPHON_SYNC_URL")?;
    let token = wanted(&args.token, "--token", "ANTIPHON_SYNC_TOKEN")?;
    let org = wanted(&args.org, "--org", "ANTIPHON_SYNC_ORG")?;
    let place = Place {
        application: "antiphon-sync".to_owned(),
        server: url.trim_end_matches('/').to_owned(),
        user: given(&args.user, "ANTIPHON_SYNC_USER").unwrap_or_else(|| user_of(&token)),
        org,
    };
    let file = args.file.clone().or_else(|| given(&None, "ANTIPHON_SYNC_FILE").map(PathBuf::from));
    let file = match (file, context.environment.state()) {
        (Some(file), _) => file,
        (None, Some(state)) => state.join("replicas").join(place.file_name()),
        (None, None) => return Err(usage("where shall the replica be? --file names its file")),
    };
    Ok(Config { place, token, file, adopt: args.adopt, delete_asks: true })
}

/// Says what waits to be sent.
fn tell_pending(context: &Context, replica: &Replica) {
    let status = replica.status();
    let mut parts = Vec::new();
    let mut part = |count: usize, what: &str| match count {
        0 => {}
        1 => parts.push(format!("1 edit {what}")),
        count => parts.push(format!("{count} edits {what}")),
    };
    part(status.pending, "to be sent (antiphon sync once)");
    part(status.conflicted, "to be decided (antiphon sync conflicts)");
    part(status.failed, "refused (antiphon sync outbox)");
    if !parts.is_empty() {
        context.out.talk(&parts.join(", "));
    }
}

/// Finds the type, or says which is nearest.
fn known_type<'a>(replica: &'a Replica, name: &str) -> Result<&'a antiphon_replica::client::words::TypeShape, Stop> {
    let schema = replica.client().schema().ok_or_else(|| Fault::new(Code::ReplicaEmpty, ""))?;
    schema.types.get(name).ok_or_else(|| {
        let near = crate::nearest::nearest(name, schema.types.keys().map(String::as_str));
        let advice = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        Fault::new(Code::EntityTypeUnknown, format!("{name}{advice}")).into()
    })
}
