//! `antiphon orgs`: organisations.
//!
//! An organisation's id is what the organisation column of rows holds; that is why it is chosen here and never made up.
//! Creating never overwrites one that is there.

use clap::Subcommand;
use serde_json::json;

use crate::{context::Context, fault::Stop};

/// The commands of `orgs`.
#[derive(Debug, Subcommand)]
pub(crate) enum OrgsCommand {
    /// List the organisations
    #[command(before_help = "Example:\n  antiphon orgs list")]
    List,
    /// Create an organisation; its id is what the organisation column of your tables holds
    #[command(before_help = "Example:\n  antiphon orgs create acme --name \"Acme Inc.\"")]
    Create {
        /// The id
        id: String,
        /// The name in addresses [default: the id]
        #[arg(long)]
        slug: Option<String>,
        /// The name to show [default: the id]
        #[arg(long)]
        name: Option<String>,
    },
}

/// Runs a command of `orgs`.
pub(crate) async fn run(context: &Context, command: OrgsCommand) -> Result<(), Stop> {
    let (_, admin) = context.admin()?;
    let people = admin.people().await?;
    match command {
        OrgsCommand::List => {
            let orgs = people.orgs().await?;
            if context.out.json() {
                return context.out.document(&json!({"version": 1, "orgs": orgs}));
            }
            let rows = orgs.into_iter().map(|org| vec![org.id, org.slug, org.name]).collect();
            context.out.table(&["id", "slug", "name"], rows)
        }
        OrgsCommand::Create { id, slug, name } => {
            let (slug, name) = (slug.unwrap_or_else(|| id.clone()), name.unwrap_or_else(|| id.clone()));
            people.create_org(&id, &slug, &name).await?;
            if context.out.json() {
                let org = json!({"id": id, "slug": slug, "name": name});
                return context.out.document(&json!({"version": 1, "org": org}));
            }
            context.out.line(&id)?;
            context.out.talk(&format!("next: antiphon users create NAME, then antiphon users join NAME --org {id}"));
            Ok(())
        }
    }
}
