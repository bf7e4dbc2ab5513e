//! The command line's shape: what every command shares, and the list of commands.
//!
//! Each command's own arguments stand in its file; their help is its manual, examples first.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands;

const EXAMPLES: &str = "\
Start here:
  antiphon dev                      everything on this machine, with demonstration data
  antiphon tail --org acme          watch activities as they come (in another terminal)
  antiphon init                     set up your own database
  antiphon doctor                   check a database and print the exact remedies

Exit codes:
  0 done  1 failed  2 usage  3 configuration  4 not permitted  5 not found  6 conflict  7 unavailable  130 interrupted";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "antiphon",
    version,
    about = "Live, exactly-once streams of what is committed in Postgres",
    before_help = EXAMPLES,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110
)]
pub(crate) struct Arguments {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Print one JSON document (or one a line) on stdout; errors become one JSON line on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The configuration file [default: antiphon.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The database to capture, instead of the configured one
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// Our own database, instead of the configured one
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) log_url: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything on this machine: a private Postgres, demonstration data, the server and a page
    Dev(commands::dev::DevArgs),
    /// Set up your own database: check it, choose tables, write antiphon.toml
    Init(commands::init::InitArgs),
    /// Run the server
    Serve(commands::serve::ServeArgs),
    /// Bring our tables to this version
    Migrate(commands::migrate::MigrateArgs),
    /// Check what a first run needs and print the remedy of each finding
    Doctor(commands::doctor::DoctorArgs),
    /// Declare tables as entity types
    #[command(subcommand)]
    Entities(commands::entities::EntitiesCommand),
    /// Manage what capture by triggers makes in the database
    #[command(subcommand)]
    Capture(commands::capture::CaptureCommand),
    /// Write TypeScript types of the entities
    Types(commands::types::TypesArgs),
    /// Print activities as they come
    Tail(commands::tail::TailArgs),
    /// Keep a local replica with an outbox
    Sync(commands::sync::SyncArgs),
    /// Manage replication slots
    #[command(subcommand)]
    Slots(commands::slots::SlotsCommand),
    /// Begin anew where capture cannot go on: a new epoch, every table copied again
    Resync(commands::resync::ResyncArgs),
    /// Show and start initial copies of tables
    #[command(subcommand)]
    Snapshot(commands::snapshot::SnapshotCommand),
    /// Manage organisations
    #[command(subcommand)]
    Orgs(commands::orgs::OrgsCommand),
    /// Manage users and their places in organisations
    #[command(subcommand)]
    Users(commands::users::UsersCommand),
    /// Manage personal access tokens
    #[command(subcommand)]
    Tokens(commands::tokens::TokensCommand),
    /// Show the configuration
    #[command(subcommand)]
    Config(commands::config::ConfigCommand),
    /// Print a completion script for a shell
    Completions(commands::completions::CompletionsArgs),
    /// Print the version
    Version,
    /// Explain an error code
    Explain(commands::explain::ExplainArgs),
    /// Print this manual as Markdown
    #[command(hide = true)]
    HelpMarkdown,
    /// Print the OpenAPI document
    #[command(hide = true)]
    Openapi,
}

impl Command {
    /// Returns what the command logs unless it is told otherwise.
    pub(crate) fn usual_log(&self) -> &'static str {
        match self {
            // A database that goes with the run need not survive the machine.
            Command::Dev(args) if args.data.is_none() => "warn,antiphon_store::lease=error",
            _ => "warn",
        }
    }
}
