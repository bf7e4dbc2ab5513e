//! `sync create`, `edit` and `delete`: what a person does to rows, with or without a network.
//!
//! Law: when a command ends, what was typed is on the disk, and what waits to be sent is said. What the person may not do,
//! or what does not fit the field, is refused here and never becomes an edit.

use antiphon_model::Code;
use antiphon_replica::{
    Fault, Replica,
    client::{Edit, EntityKey},
};
use clap::Args;
use serde_json::json;

use super::{known_type, rows::ShowArgs, tell_pending, values};
use crate::{
    context::Context,
    fault::{Stop, usage},
};

/// The arguments of `sync create`.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The type
    entity_type: String,
    /// The fields: name=value, or name:=JSON
    fields: Vec<String>,
}

/// The arguments of `sync edit`.
#[derive(Debug, Args)]
pub(super) struct EditArgs {
    /// The type
    entity_type: String,
    /// The row's id
    id: String,
    /// What to change: name=value, name:=JSON, and for counters and sets name+=value, name-=value
    #[arg(required = true, allow_hyphen_values = true)]
    changes: Vec<String>,
}

/// Makes a row.
pub(super) fn create(context: &Context, replica: &mut Replica, args: &CreateArgs) -> Result<(), Stop> {
    let shape = known_type(replica, &args.entity_type)?;
    if !shape.can.create {
        return Err(Fault::new(Code::Forbidden, format!("rows of {} may not be created", args.entity_type)).into());
    }
    let mut data = values::fields(shape, &args.fields)?;
    if let [key] = shape.key.as_slice()
        && !data.contains_key(key)
        && shape.fields.get(key).is_some_and(|field| field.ty == "uuid")
    {
        data.insert(key.clone(), antiphon_replica::new_id().into());
    }
    let id = shape.id_of(&data).ok_or_else(|| usage(format!("its key is missing: {}", shape.key.join(", "))))?;
    let entity = EntityKey::new(&args.entity_type, &id);
    if replica.view(&entity).is_some() {
        return Err(Fault::new(Code::AlreadyExists, format!("{} {id}", args.entity_type)).into());
    }
    replica.edit(Edit::Create { entity, data })?;
    done(context, replica, &args.entity_type, &id)
}

/// Changes a row.
pub(super) fn edit(context: &Context, replica: &mut Replica, args: &EditArgs) -> Result<(), Stop> {
    let shape = known_type(replica, &args.entity_type)?;
    let entity = EntityKey::new(&args.entity_type, &args.id);
    for edit in values::edits(shape, &entity, &args.changes)? {
        replica.edit(edit)?;
    }
    done(context, replica, &args.entity_type, &args.id)
}

/// Removes a row.
pub(super) fn delete(context: &Context, replica: &mut Replica, args: &ShowArgs) -> Result<(), Stop> {
    if !known_type(replica, &args.entity_type)?.can.delete {
        return Err(Fault::new(Code::Forbidden, format!("rows of {} may not be deleted", args.entity_type)).into());
    }
    replica.edit(Edit::Delete { entity: EntityKey::new(&args.entity_type, &args.id) })?;
    done(context, replica, &args.entity_type, &args.id)
}

fn done(context: &Context, replica: &Replica, entity_type: &str, id: &str) -> Result<(), Stop> {
    if context.out.json() {
        let pending = replica.status().pending;
        context.out.document(&json!({"version": 1, "type": entity_type, "id": id, "pending": pending}))?;
    } else {
        context.out.line(id)?;
    }
    tell_pending(context, replica);
    Ok(())
}
