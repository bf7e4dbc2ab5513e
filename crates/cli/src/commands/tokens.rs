//! `antiphon tokens`: personal access tokens.
//!
//! Law: a token is shown once, at its creation; only its hash is kept.

use clap::Subcommand;
use serde_json::json;

use crate::{context::Context, fault::Stop};

/// The commands of `tokens`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// List the tokens, without the tokens themselves
    #[command(before_help = "Examples:\n  antiphon tokens list\n  antiphon tokens list --user alice")]
    List {
        /// Only those of this user
        #[arg(long)]
        user: Option<String>,
    },
    /// Create a token and print it, this once
    #[command(
        before_help = "Examples:\n  antiphon tokens create alice --name laptop\n  antiphon tokens create ci --scopes read --days 30 --json"
    )]
    Create {
        /// The user's id
        user: String,
        /// What it is for
        #[arg(long, default_value = "token")]
        name: String,
        /// When it ends; never without it
        #[arg(long, alias = "expires-days", value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: Option<u32>,
        /// What it is good for: read, write (and read), admin; everything that its user may do without it
        #[arg(long, value_name = "SCOPES", value_delimiter = ',', value_parser = ["read", "write", "admin"])]
        scopes: Option<Vec<String>>,
    },
    /// Revoke a token at once
    #[command(before_help = "Example:\n  antiphon tokens revoke 0198c5b2-...")]
    Revoke {
        /// The token's id, as `list` shows it
        id: String,
    },
}

/// Runs a command of `tokens`.
pub(crate) async fn run(context: &Context, command: TokensCommand) -> Result<(), Stop> {
    let (_, admin) = context.admin()?;
    let people = admin.people().await?;
    match command {
        TokensCommand::List { user } => {
            let tokens = people.tokens(user.as_deref()).await?;
            if context.out.json() {
                return context.out.document(&json!({"version": 1, "tokens": tokens}));
            }
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
            let rows = tokens.into_iter().map(|token| {
                let state = if token.revoked { "revoked" } else { "valid" };
                vec![
                    token.id,
                    token.user,
                    token.name,
                    token.scopes.join(" "),
                    token.prefix,
                    token.created_at,
                    or_dash(token.expires_at),
                    state.to_owned(),
                ]
            });
            let headings = ["id", "user", "name", "scopes", "begins with", "made", "expires", "state"];
            context.out.table(&headings, rows.collect())
        }
        TokensCommand::Create { user, name, days, scopes } => {
            let token = match scopes {
                Some(scopes) => people.create_scoped_token(&user, &name, days, &scopes).await?,
                None => people.create_token(&user, &name, days).await?,
            };
            if context.out.json() {
                return context.out.document(&json!({"version": 1, "user": user, "name": name, "token": token}));
            }
            context.out.line(&token)?;
            context.out.talk("keep it now: it is not shown again");
            Ok(())
        }
        TokensCommand::Revoke { id } => {
            people.revoke_token(&id).await?;
            if context.out.json() {
                return context.out.document(&json!({"version": 1, "id": id, "revoked": true}));
            }
            context.out.line(&format!("{id} is revoked"))
        }
    }
}
