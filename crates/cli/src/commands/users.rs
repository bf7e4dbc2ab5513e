//! `antiphon users`: users and their places in organisations.
//!
//! For an own database without another directory of people. A place given or taken is in force within seconds, also for
//! open streams. Creating never overwrites one who is there.

use antiphon_model::Role;
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use crate::{context::Context, fault::Stop};

/// The commands of `users`.
#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// List the users
    #[command(before_help = "Example:\n  antiphon users list")]
    List,
    /// Create a user
    #[command(before_help = "Example:\n  antiphon users create alice --name \"Alice Adams\"")]
    Create {
        /// The id: the `sub` of the user's tokens
        id: String,
        /// The name to show [default: the id]
        #[arg(long)]
        name: Option<String>,
        /// Let the user administer the whole system
        #[arg(long)]
        system_admin: bool,
    },
    /// Give a user a place in an organisation, or another role there
    #[command(before_help = "Example:\n  antiphon users join alice --org acme --role owner")]
    Join {
        /// The user's id
        id: String,
        /// The organisation's id
        #[arg(long)]
        org: String,
        /// The role
        #[arg(long, value_enum, default_value = "member")]
        role: RoleWord,
    },
    /// Take a user's place in an organisation away
    #[command(before_help = "Example:\n  antiphon users leave alice --org acme")]
    Leave {
        /// The user's id
        id: String,
        /// The organisation's id
        #[arg(long)]
        org: String,
    },
}

/// The roles as words.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RoleWord {
    /// Reads.
    Viewer,
    /// Reads and writes.
    Member,
    /// Manages members.
    Admin,
    /// Owns the organisation.
    Owner,
}

impl From<RoleWord> for Role {
    fn from(word: RoleWord) -> Role {
        match word {
            RoleWord::Viewer => Role::Viewer,
            RoleWord::Member => Role::Member,
            RoleWord::Admin => Role::Admin,
            RoleWord::Owner => Role::Owner,
        }
    }
}

/// Runs a command of `users`.
pub(crate) async fn run(context: &Context, command: UsersCommand) -> Result<(), Stop> {
    let (_, admin) = context.admin()?;
    let people = admin.people().await?;
    match command {
        UsersCommand::List => {
            let users = people.users().await?;
            if context.out.json() {
                return context.out.document(&json!({"version": 1, "users": users}));
            }
            let rows = users.into_iter().map(|user| {
                let places: Vec<String> =
                    user.memberships.iter().map(|place| format!("{} ({})", place.org, place.role)).collect();
                let admin = if user.system_admin { "system admin" } else { "" };
                vec![user.id, user.name, places.join(", "), admin.to_owned()]
            });
            context.out.table(&["id", "name", "organisations", ""], rows.collect())
        }
        UsersCommand::Create { id, name, system_admin } => {
            let name = name.unwrap_or_else(|| id.clone());
            people.create_user(&id, &name, system_admin).await?;
            if context.out.json() {
                let user = json!({"id": id, "name": name, "systemAdmin": system_admin});
                return context.out.document(&json!({"version": 1, "user": user}));
            }
            context.out.line(&id)?;
            context.out.talk(&format!("next: antiphon users join {id} --org ORG, then antiphon tokens create {id}"));
            Ok(())
        }
        UsersCommand::Join { id, org, role } => {
            let role = Role::from(role);
            people.join(&org, &id, role).await?;
            let membership = json!({"user": id, "org": org, "role": role.as_str()});
            told(context, membership, &format!("{id} is {} of {org}", role.as_str()))
        }
        UsersCommand::Leave { id, org } => {
            people.leave(&org, &id).await?;
            let membership = json!({"user": id, "org": org, "role": null});
            told(context, membership, &format!("{id} has no place in {org} any more"))
        }
    }
}

fn told(context: &Context, membership: serde_json::Value, line: &str) -> Result<(), Stop> {
    if context.out.json() {
        return context.out.document(&json!({"version": 1, "membership": membership}));
    }
    context.out.line(line)
}
