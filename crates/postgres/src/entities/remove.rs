//! The plan that lets a table go: out of the publication first, then its identity back, then the index.
//!
//! Data is kept: the metadata column goes only where that was asked for.

use antiphon_engine::Fault;
use antiphon_model::{EntityType, ORG_COLUMN, Tenancy};
use tokio_postgres::Client;

use super::{Membership, Node, Plan, RemoveOptions, Step, index_name, triggers::Installed};
use crate::{
    catalogue::{self, Identity},
    quote, stamp, tenancy, trigger_capture,
};

/// Without a primary key the default logs nothing, as `nothing` does, and needs no second thought once there is one.
const DEFAULT: &str = "default";

/// Plans what is left of a table's preparation.
///
/// # Errors
/// Fails where there is no such table or the catalogue cannot be read.
pub async fn plan_remove(client: &Client, entity: &EntityType, options: &RemoveOptions) -> Result<Plan, Fault> {
    let table = catalogue::describe(client, entity).await?;
    let found = Membership::read(client, &options.publication, table.oid).await?;
    let name = quote::qualified(&table.name)?;
    let mut plan = Plan { steps: Vec::new() };
    let steps = &mut plan.steps;
    let leave = format!("alter publication {} drop table {name}", quote::ident(&options.publication)?);
    let lock = format!("SHARE UPDATE EXCLUSIVE on {}", table.name);
    steps.push(Step::new(leave, lock, "first of all: the stream no longer carries the table", found.named));
    tenancy::remove(client, entity, &table, &mut plan).await?;
    let steps = &mut plan.steps;
    Installed::read(client, &[&table]).await?.remove(&table, &[stamp::TRIGGER], steps)?;
    trigger_capture::leave(client, table.oid, steps).await?;
    let nodes = Node::all(&table);
    // Parents first, as they were set last.
    for node in &nodes {
        restore_identity(node, found.elsewhere, steps)?;
    }
    let root = &nodes[0];
    if root.partitioned {
        let own = root.own_index();
        let sql = format!("drop index if exists {}", index_name(root.name, &own_name(root))?);
        let lock = format!("ACCESS EXCLUSIVE on {} and its partitions", root.name);
        steps.push(Step::new(sql, lock, "nothing uses it any more; those of the leaves go with it", own.is_some()));
    }
    for node in nodes.iter().filter(|node| node.parent.is_some() || !node.partitioned) {
        // An index that is joined to the root's goes with it; one left by a plan that was broken off does not.
        let Some(own) = node.own_index().filter(|index| !index.attached) else { continue };
        let how = if node.partitioned { "" } else { "concurrently " };
        let sql = format!("drop index {how}if exists {}", index_name(node.name, &own.name)?);
        let lock = if node.partitioned { "ACCESS EXCLUSIVE" } else { "SHARE UPDATE EXCLUSIVE" };
        steps.push(Step::new(sql, format!("{lock} on {}", node.name), "nothing uses it any more", true));
    }
    if matches!(entity.org, Tenancy::Via { .. }) {
        let sql = format!("alter table {name} drop column if exists {}", quote::ident(ORG_COLUMN)?);
        let why = "it held only what the rows referred to say";
        let needed = table.column(ORG_COLUMN).is_some();
        steps.push(Step::new(sql, format!("ACCESS EXCLUSIVE on {}", table.name), why, needed));
    }
    if options.drop_tx {
        let sql = format!("alter table {name} drop column if exists {}", quote::ident(&entity.tx)?);
        let needed = table.column(&entity.tx).is_some();
        let why = "as asked: who wrote what is forgotten";
        steps.push(Step::new(sql, format!("ACCESS EXCLUSIVE on {}", table.name), why, needed));
    }
    Ok(plan)
}

fn own_name(node: &Node<'_>) -> String {
    super::identity_index_name(&node.name.name)
}

fn restore_identity(node: &Node<'_>, elsewhere: bool, steps: &mut Vec<Step>) -> Result<(), Fault> {
    let ours = match node.identity {
        Identity::Index(Some(name)) => node.indexes.iter().find(|index| {
            // Partitions made later have an index under a name that Postgres chose.
            index.name == *name && (*name == own_name(node) || index.attached && !index.primary)
        }),
        Identity::Index(None) | Identity::Default | Identity::Nothing => None,
        Identity::Full => {
            // Whoever publishes it elsewhere may need whole old rows.
            if !elsewhere {
                let why = "old rows need not be logged whole any more";
                steps.push(set_identity(node, DEFAULT, why)?);
            }
            return Ok(());
        }
    };
    let Some(index) = ours else { return Ok(()) };
    let before = index.comment.as_deref().and_then(|comment| comment.strip_prefix("antiphon: identity before: "));
    let sql = match before {
        Some("nothing") => "nothing",
        // The comment is only a hint: what it names must be there.
        Some(hint) => match hint.strip_prefix("index ").filter(|name| has_index(node, name)) {
            Some(name) => &format!("using index {}", quote::ident(name)?),
            None => DEFAULT,
        },
        None => DEFAULT,
    };
    steps.push(set_identity(node, sql, "puts the identity back to what it was")?);
    Ok(())
}

fn has_index(node: &Node<'_>, name: &str) -> bool {
    node.indexes.iter().any(|index| index.name == name && index.valid && index.unique)
}

fn set_identity(node: &Node<'_>, identity: &str, why: &str) -> Result<Step, Fault> {
    let sql = format!("alter table {} replica identity {identity}", quote::qualified(node.name)?);
    Ok(Step::new(sql, format!("ACCESS EXCLUSIVE on {}", node.name), why, true))
}
