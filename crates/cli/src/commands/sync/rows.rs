//! `sync list`, `show`, `outbox` and `status`: what is on this device, without asking anyone.
//!
//! Law: what is shown is what the person would see everywhere else: the confirmed row with the pending edits upon it, and
//! each row says whether it is confirmed.

use antiphon_model::Code;
use antiphon_replica::{
    Config, Fault, Replica,
    client::{self, Change, EntityKey, Entry, Network, State, Waits, words::TypeShape},
};
use clap::Args;
use serde_json::{Map, Value, json};

use super::known_type;
use crate::{
    context::Context,
    fault::{Stop, not_found, usage},
    output::Tone,
};

/// Fields that a list shows unless it is told otherwise.
const FIELDS_MAX: usize = 4;
/// A cell of a table has so many characters.
const CELL_CHARACTERS_MAX: usize = 40;

/// The arguments of `sync list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// The type
    entity_type: String,
    /// The fields to show [default: the first few that a person may change]
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    fields: Vec<String>,
}

/// Names a row.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The type
    pub(super) entity_type: String,
    /// The row's id
    pub(super) id: String,
}

/// Lists the rows of a type.
pub(super) fn list(context: &Context, replica: &Replica, args: &ListArgs) -> Result<(), Stop> {
    let shape = known_type(replica, &args.entity_type)?;
    if let Some(unknown) = args.fields.iter().find(|name| !shape.fields.contains_key(*name)) {
        return Err(usage(format!("there is no field {unknown}")));
    }
    let fields = if args.fields.is_empty() { first_fields(shape) } else { args.fields.clone() };
    let (mut rows, mut documents) = (Vec::new(), Vec::new());
    for id in replica.client().ids(&args.entity_type) {
        let entity = EntityKey::new(&args.entity_type, &id);
        let Some(row) = replica.view(&entity) else { continue };
        let state = state_of(replica, &entity);
        let mut cells = vec![id.clone()];
        cells.extend(fields.iter().map(|name| cell(row.get(name))));
        cells.push(state.to_owned());
        rows.push(cells);
        documents.push(json!({"id": id, "data": row, "state": state}));
    }
    let complete = replica.client().is_complete(&args.entity_type);
    if context.out.json() {
        let document = json!({"version": 1, "type": args.entity_type, "complete": complete, "rows": documents});
        return context.out.document(&document);
    }
    if !complete {
        context.out.talk_toned(Tone::Warning, "not all rows are here yet");
    }
    let mut headings = vec!["id"];
    headings.extend(fields.iter().map(String::as_str));
    headings.push("state");
    context.out.table(&headings, rows)
}

fn first_fields(shape: &TypeShape) -> Vec<String> {
    let short =
        |name: &&String| shape.fields.get(*name).is_some_and(|field| !matches!(field.ty.as_str(), "json" | "jsonb"));
    shape.can.update.iter().filter(short).take(FIELDS_MAX).cloned().collect()
}

/// Returns how a row stands: the word that asks for most.
fn state_of(replica: &Replica, entity: &EntityKey) -> &'static str {
    let states: Vec<State> = replica.outbox().of(entity).map(|entry| entry.state).collect();
    let has = |wanted: &[State]| states.iter().any(|state| wanted.contains(state));
    if has(&[State::Conflicted]) {
        "conflict"
    } else if has(&[State::Failed]) {
        "refused"
    } else if has(&[State::Pending, State::Sent, State::Accepted]) {
        "pending"
    } else {
        "confirmed"
    }
}

/// Returns a value as a cell of a table.
pub(super) fn cell(value: Option<&client::Value>) -> String {
    let text = match value {
        None | Some(client::Value::Null) => "-".to_owned(),
        Some(client::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let flat = text.replace(['\n', '\t'], " ");
    match flat.char_indices().nth(CELL_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &flat[..end]),
        None => flat,
    }
}

/// Shows a row.
pub(super) fn show(context: &Context, replica: &Replica, args: &ShowArgs) -> Result<(), Stop> {
    known_type(replica, &args.entity_type)?;
    let entity = EntityKey::new(&args.entity_type, &args.id);
    let Some(row) = replica.view(&entity) else {
        return Err(not_found(format!("there is no {} {} here", args.entity_type, args.id)));
    };
    let confirmed = replica.client().row(&entity).map(|row| &row.data);
    let edits: Vec<&Entry> = replica.outbox().of(&entity).collect();
    if context.out.json() {
        let edits: Vec<Value> = edits.iter().map(|entry| document(replica, entry)).collect();
        let document = json!({
            "version": 1, "type": args.entity_type, "id": args.id, "data": row, "confirmed": confirmed, "edits": edits
        });
        return context.out.document(&document);
    }
    let rows = row.iter().map(|(name, value)| {
        let held = confirmed.and_then(|row| row.get(name));
        let before = if held == Some(value) { String::new() } else { cell(held) };
        vec![name.clone(), cell(Some(value)), before]
    });
    context.out.table(&["field", "value", "confirmed"], rows.collect())?;
    for entry in edits {
        context.out.talk(&format!("{}: {}", number(replica, entry), standing(replica, entry)));
    }
    Ok(())
}

/// Lists the edits that are not confirmed.
pub(super) fn outbox(context: &Context, replica: &Replica) -> Result<(), Stop> {
    let entries = replica.outbox().iter();
    if context.out.json() {
        let edits: Vec<Value> = entries.map(|entry| document(replica, entry)).collect();
        let unreadable: Vec<&str> = replica.client().unreadable().map(|(_, text)| text).collect();
        return context.out.document(&json!({"version": 1, "edits": edits, "unreadable": unreadable}));
    }
    let rows = entries.map(|entry| {
        let EntityKey { entity_type, entity_id } = &entry.entity;
        vec![number(replica, entry), entity_type.clone(), entity_id.clone(), what(entry), standing(replica, entry)]
    });
    context.out.table(&["edit", "type", "id", "what", "state"], rows.collect())?;
    for (record, _) in replica.client().unreadable() {
        context.out.talk_toned(Tone::Warning, &format!("{record:?} cannot be read; antiphon sync export holds it"));
    }
    Ok(())
}

/// Returns what a person calls an entry: its number, where no other has the same.
pub(super) fn number(replica: &Replica, entry: &Entry) -> String {
    let short = |key: &str| key.split('-').next().and_then(|digits| digits.parse::<u64>().ok());
    let mine = short(&entry.key);
    let alike = replica.outbox().iter().filter(|other| short(&other.key) == mine).count();
    match mine {
        Some(number) if alike == 1 => number.to_string(),
        _ => entry.key.clone(),
    }
}

/// Finds the entry that a person named.
pub(super) fn find<'a>(replica: &'a Replica, name: &str) -> Result<&'a Entry, Stop> {
    let named = replica.outbox().iter().find(|entry| entry.key == name || number(replica, entry) == name);
    named.ok_or_else(|| not_found(format!("there is no edit {name} (antiphon sync outbox)")))
}

/// Says what an entry does.
pub(super) fn what(entry: &Entry) -> String {
    match &entry.change {
        Change::Create { .. } => "create".to_owned(),
        Change::Delete { .. } => "delete".to_owned(),
        Change::Value { field, value, .. } => format!("{field} = {}", cell(Some(value))),
        Change::Add { field, by } => format!("{field} + {by}"),
        Change::Elements { field, add, remove } => {
            let words = |sign: char, list: &[client::Value]| {
                list.iter().map(|one| format!(" {sign}{}", cell(Some(one)))).collect::<String>()
            };
            format!("{field}{}{}", words('+', add), words('-', remove))
        }
    }
}

fn standing(replica: &Replica, entry: &Entry) -> String {
    match (entry.state, &entry.refused) {
        (State::Pending, _) => match replica.client().waits(&entry.key) {
            Some(Waits::For(key) | Waits::ForGroup(key)) => {
                let name = replica.outbox().find(&key).map_or(key.clone(), |other| number(replica, other));
                format!("waits for {name}")
            }
            None => "pending".to_owned(),
        },
        (State::Sent, _) => "sent, not answered".to_owned(),
        (State::Accepted, _) => "accepted, not confirmed".to_owned(),
        (State::Conflicted, _) => "conflict".to_owned(),
        (State::Failed, Some(refused)) => format!("refused: {} {}", refused.code, refused.detail),
        (State::Failed, None) => "refused".to_owned(),
    }
}

fn document(replica: &Replica, entry: &Entry) -> Value {
    let mut document = serde_json::to_value(entry).unwrap_or_default();
    document["number"] = number(replica, entry).into();
    document["what"] = what(entry).into();
    document
}

/// Says where the replica stands.
pub(super) fn status(context: &Context, config: &Config, replica: &Replica) -> Result<(), Stop> {
    let (status, (epoch, offset)) = (replica.status(), replica.client().position());
    let types: Map<String, Value> = replica
        .client()
        .schema()
        .ok_or_else(|| Fault::new(Code::ReplicaEmpty, config.file.display().to_string()))?
        .types
        .keys()
        .map(|name| (name.clone(), json!(replica.client().ids(name).len())))
        .collect();
    let place = &config.place;
    if context.out.json() {
        return context.out.document(&json!({
            "version": 1, "server": place.server, "org": place.org, "user": place.user,
            "file": config.file.display().to_string(), "epoch": epoch, "offset": offset, "listed": status.listed,
            "rows": types, "pending": status.pending, "conflicted": status.conflicted, "refused": status.failed,
        }));
    }
    let rows: Vec<String> = types.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let lines = [
        ("server", place.server.clone()),
        ("organisation", place.org.clone()),
        ("user", place.user.clone()),
        ("file", config.file.display().to_string()),
        ("position", format!("{offset} of epoch {epoch}")),
        ("rows", format!("{}{}", rows.join(", "), if status.listed { "" } else { " (not all yet)" })),
        ("pending", status.pending.to_string()),
        ("conflicts", status.conflicted.to_string()),
        ("refused", status.failed.to_string()),
    ];
    context.out.table(&["what", "value"], lines.map(|(name, value)| vec![name.to_owned(), value]).to_vec())
}

/// Says in a word whether the server answers.
pub(super) fn network(network: Network) -> String {
    match network {
        Network::Connecting => "connecting".to_owned(),
        Network::Online => "online".to_owned(),
        Network::Offline => "offline".to_owned(),
        Network::Refused(status) => format!("refused ({status})"),
    }
}
