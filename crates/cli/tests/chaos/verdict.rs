//! The end check: source, activity log and every device compared by key and content, and every edit accounted for.
//!
//! Each check is a pure function of the evidence and answers with what it found wrong; nothing found is the claim.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use anyhow::{Context, Result};
use serde_json::{Map, Value};
use tokio_postgres::Client;

use crate::{
    device::{Applied, Device, Kind},
    native::Native,
};

/// More of the same says no more.
const EXAMPLES_MAX: usize = 5;

/// The action of an edit of which nothing was captured.
const MARK: i16 = 5;

/// Organisation and key of a row.
type Place = (String, String);

/// A row of the source.
pub struct SourceRow {
    data: Map<String, Value>,
    /// The id of each field's last writer.
    ids: BTreeMap<String, String>,
}

/// An activity as the log has it.
pub struct LogRow {
    id: i64,
    place: Place,
    action: i16,
    image: Option<Map<String, Value>>,
    /// Every edit that it carries.
    edits: BTreeSet<String>,
    position: (i64, i64),
}

/// What a device was left with.
pub struct Witness {
    name: String,
    org: &'static str,
    rows: BTreeMap<String, Map<String, Value>>,
    outbox: Vec<String>,
    /// What it added to which row's counter.
    adds: Vec<(String, i64)>,
    applied: BTreeMap<String, Applied>,
    refused: BTreeMap<String, String>,
    missing: u64,
    complaints: Vec<String>,
}

/// All that the checks look at.
pub struct Evidence {
    source: BTreeMap<Place, SourceRow>,
    log: Vec<LogRow>,
    devices: Vec<Witness>,
    /// Where the present epoch begins.
    base: i64,
}

/// A check of the end.
pub type Check = fn(&Evidence) -> Vec<String>;

/// Every check with the claim that it stands for.
pub const CHECKS: &[(&str, Check)] = &[
    ("outboxes empty", outboxes_empty),
    ("log in order", log_in_order),
    ("log is source", log_is_source),
    ("devices are source", devices_are_source),
    ("counters exact", counters_exact),
    ("edits once", edits_once),
    ("edits kept", edits_kept),
    ("no complaints", no_complaints),
];

impl Evidence {
    /// Reads the source and the log and takes down what the devices know.
    pub async fn gather<'a>(
        source: &Client,
        log: &Client,
        devices: impl Iterator<Item = &'a Device>,
        natives: impl Iterator<Item = &'a Native>,
    ) -> Result<Evidence> {
        let base = "select ((epoch - 1)::int8 << 40) from log.head";
        Ok(Evidence {
            source: read_source(source).await?,
            log: read_log(log).await?,
            devices: devices.map(witness).chain(natives.map(native_witness)).collect(),
            base: log.query_one(base, &[]).await?.get(0),
        })
    }

    /// Says how much was compared.
    pub fn size(&self) -> String {
        let edits: usize = self.devices.iter().map(|device| device.applied.len()).sum();
        let refused: usize = self.devices.iter().map(|device| device.refused.len()).sum();
        format!("{} rows, {} activities, {edits} edits applied, {refused} refused", self.source.len(), self.log.len())
    }

    /// Returns how many edits took effect.
    pub fn edits(&self) -> usize {
        self.devices.iter().map(|device| device.applied.len()).sum()
    }
}

/// Hashes a row's content, whatever the order of its fields.
pub fn hash(row: &Map<String, Value>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let sorted: BTreeMap<&String, String> = row.iter().map(|(name, value)| (name, value.to_string())).collect();
    sorted.hash(&mut hasher);
    hasher.finish()
}

async fn read_source(client: &Client) -> Result<BTreeMap<Place, SourceRow>> {
    let sql = "select organization_id, id, (to_jsonb(notes) - 'tx')::text, (tx->'fields')::text from notes";
    let rows = client.query(sql, &[]).await?;
    let read = |row: &tokio_postgres::Row| {
        let (data, ids) = (row.get::<_, String>(2), row.get::<_, Option<String>>(3));
        let ids = ids.map(|ids| serde_json::from_str(&ids)).transpose()?.unwrap_or_default();
        Ok(((row.get(0), row.get(1)), SourceRow { data: serde_json::from_str(&data)?, ids }))
    };
    rows.iter().map(read).collect()
}

async fn read_log(client: &Client) -> Result<Vec<LogRow>> {
    let sql = "select id, org, coalesce(entity, ''), action, image, tx, lsn, seq from log.activities
               where type = 'note' or action = 5 order by id";
    let rows = client.query(sql, &[]).await?;
    let read = |row: &tokio_postgres::Row| {
        let image = row.get::<_, Option<String>>(4).map(|image| serde_json::from_str(&image)).transpose()?;
        let tx = row.get::<_, Option<String>>(5).map(|tx| serde_json::from_str::<Value>(&tx)).transpose()?;
        let tx = tx.unwrap_or_default();
        let fields = tx["fields"].as_object().into_iter().flat_map(Map::values);
        let edits = fields.chain([&tx["transactionId"]]).filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(LogRow {
            id: row.get(0),
            place: (row.get(1), row.get(2)),
            action: row.get(3),
            image,
            edits,
            position: (row.get(6), row.get(7)),
        })
    };
    rows.iter().map(read).collect::<Result<_>>().context("the log cannot be read")
}

fn witness(device: &Device) -> Witness {
    let state = device.look();
    let rows = state.replica.rows.iter().map(|(id, row)| (id.clone(), row.data.clone())).collect();
    Witness {
        name: device.owner.name.clone(),
        org: device.owner.org,
        rows,
        outbox: state.outbox.entries.iter().map(|entry| format!("{entry:?}")).collect(),
        adds: state.outbox.applied.values().filter_map(added).collect(),
        applied: state.outbox.applied.clone(),
        refused: state.outbox.refused.clone(),
        missing: state.outbox.missing(),
        complaints: state.complaints.iter().chain(&state.replica.complaints).cloned().collect(),
    }
}

fn added(applied: &Applied) -> Option<(String, i64)> {
    match applied.kind {
        Kind::Add(by) => Some((applied.entity.clone(), by)),
        _ => None,
    }
}

/// The replica names and joins its edits as it sees fit, so they are not looked for one by one.
fn native_witness(native: &Native) -> Witness {
    let shown = native.look();
    Witness {
        name: native.owner.name.clone(),
        org: native.owner.org,
        rows: shown.rows.clone(),
        outbox: shown.outbox.clone(),
        adds: shown.adds.clone(),
        applied: BTreeMap::new(),
        refused: BTreeMap::new(),
        missing: 0,
        complaints: shown.complaints.clone(),
    }
}

fn outboxes_empty(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    for device in &evidence.devices {
        found.extend(device.outbox.iter().map(|entry| format!("{}: {}", device.name, short(entry))));
        if device.missing > 0 {
            found.push(format!("{}: {} edits went without a word", device.name, device.missing));
        }
    }
    found
}

fn log_in_order(evidence: &Evidence) -> Vec<String> {
    // Copies of a new epoch have no place in the order of commits.
    let streamed: Vec<&LogRow> = evidence.log.iter().filter(|row| row.id < 1 << 40).collect();
    let wrong = |pair: &&[&LogRow]| pair[1].position <= pair[0].position;
    let say = |pair: &[&LogRow]| format!("{:?} then {:?}, activity {}", pair[0].position, pair[1].position, pair[1].id);
    streamed.windows(2).filter(wrong).map(say).collect()
}

/// Replays the present epoch.
fn log_is_source(evidence: &Evidence) -> Vec<String> {
    let mut alive: BTreeMap<&Place, Map<String, Value>> = BTreeMap::new();
    for row in evidence.log.iter().filter(|row| row.id > evidence.base) {
        match (&row.image, row.action) {
            // What an update leaves out as unchanged stays.
            (Some(image), 2) => alive.entry(&row.place).or_default().extend(image.clone()),
            (Some(image), _) => drop(alive.insert(&row.place, image.clone())),
            (None, 3) => drop(alive.remove(&row.place)),
            (None, _) => {}
        }
    }
    let source = evidence.source.iter().map(|(place, row)| (place, &row.data)).collect();
    differences("log", &alive.iter().map(|(place, row)| (*place, row)).collect(), &source)
}

fn devices_are_source(evidence: &Evidence) -> Vec<String> {
    let mut found = Vec::new();
    for device in &evidence.devices {
        let own: BTreeMap<Place, &Map<String, Value>> =
            device.rows.iter().map(|(id, row)| ((device.org.to_owned(), id.clone()), row)).collect();
        let source = evidence.source.iter().filter(|(place, _)| place.0 == device.org);
        let source = source.map(|(place, row)| (place, &row.data)).collect();
        found.extend(differences(&device.name, &own.iter().map(|(place, row)| (place, *row)).collect(), &source));
    }
    found
}

/// Compares two sets of rows by key and hash.
fn differences(
    who: &str,
    rows: &BTreeMap<&Place, &Map<String, Value>>,
    source: &BTreeMap<&Place, &Map<String, Value>>,
) -> Vec<String> {
    let mut found = Vec::new();
    for (place, row) in source {
        match rows.get(place) {
            None => found.push(format!("{who} lacks {place:?}")),
            Some(own) if hash(own) != hash(row) => {
                let field = row.iter().find(|(name, value)| own.get(*name) != Some(*value));
                found.push(format!("{who} has another {place:?}: {}", short(&format!("{field:?} in the source"))));
            }
            Some(_) => {}
        }
    }
    found
        .extend(rows.keys().filter(|place| !source.contains_key(*place)).map(|place| format!("{who} keeps {place:?}")));
    found
}

/// What the devices added is what the source has: an edit applied twice, or lost after its answer, shows here.
fn counters_exact(evidence: &Evidence) -> Vec<String> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for (entity, by) in evidence.devices.iter().flat_map(|device| &device.adds) {
        *sums.entry(entity).or_default() += by;
    }
    let check = |(place, row): (&Place, &SourceRow)| {
        let (has, sum) = (row.data["votes"].as_i64()?, sums.get(place.1.as_str()).copied().unwrap_or(0));
        (has != sum).then(|| format!("{place:?} counts {has}, and {sum} were added"))
    };
    evidence.source.iter().filter_map(check).collect()
}

/// Each edit that took effect is one activity, and no activity carries an edit that no device counts as applied.
fn edits_once(evidence: &Evidence) -> Vec<String> {
    let mut shown: BTreeMap<&str, Vec<&LogRow>> = BTreeMap::new();
    for row in evidence.log.iter().filter(|row| row.id < 1 << 40) {
        row.edits.iter().for_each(|edit| shown.entry(edit).or_default().push(row));
    }
    let mut found = Vec::new();
    for device in &evidence.devices {
        for (id, applied) in &device.applied {
            let rows = shown.remove(id.as_str()).unwrap_or_default();
            // What happened while capture stood still comes as a copy in the next epoch.
            if rows.len() > 1 || (rows.is_empty() && evidence.base == 0) {
                let say = |row: &&LogRow| format!("{} (action {}, of {:?})", row.id, row.action, row.edits);
                let rows: Vec<String> = rows.iter().map(say).collect();
                found.push(format!(
                    "{id}, {}, is {} activities: {}",
                    short(&format!("{:?}", applied.kind)),
                    rows.len(),
                    rows.join(", ")
                ));
            }
            let (Kind::Set(field, value), [row]) = (&applied.kind, rows.as_slice()) else { continue };
            if row.action == MARK && evidence.base > 0 {
                // The table had left the publication; the next epoch has the row.
                continue;
            }
            if row.image.as_ref().and_then(|image| image.get(*field)) != Some(value) {
                found.push(format!("activity {} of {id} shows another {field}", row.id));
            }
        }
        for id in shown.keys().filter(|id| id.ends_with(&format!(".{}", device.name))) {
            let said = device.refused.get(*id).map_or("nothing", String::as_str);
            found.push(format!("{id} took effect, and its device was told {said}"));
        }
    }
    found
}

/// Where the source names a device's edit as a field's last, it has that edit's value.
fn edits_kept(evidence: &Evidence) -> Vec<String> {
    let applied: BTreeMap<&String, &Applied> = evidence.devices.iter().flat_map(|device| &device.applied).collect();
    let mut found = Vec::new();
    for (place, row) in &evidence.source {
        for (field, id) in &row.ids {
            let Some(Applied { kind: Kind::Set(own, value), .. }) = applied.get(id) else { continue };
            if field == own && row.data.get(field) != Some(value) {
                found.push(format!("{field} of {place:?} is not what {id} wrote"));
            }
        }
    }
    found
}

fn no_complaints(evidence: &Evidence) -> Vec<String> {
    let said = evidence.devices.iter().flat_map(|device| device.complaints.iter().map(|what| (&device.name, what)));
    said.map(|(name, what)| format!("{name}: {}", short(what))).collect()
}

/// Shows a few of the findings.
pub fn examples(found: &[String]) -> String {
    found[..found.len().min(EXAMPLES_MAX)].join("\n    ")
}

fn short(text: &str) -> String {
    text.chars().take(400).collect()
}
