//! The rows of one device as lists and the stream have shown them.
//!
//! It notes what a faithful stream never does: an id that does not rise, an update or a value kept of a row that is not
//! there. The rule of the join is the protocol's: what the list's snapshot sees is not applied again.

use std::collections::BTreeMap;

use antiphon_model::{Visibility, Xid};
use anyhow::{Context, Result};
use serde_json::{Map, Value};

/// A row as the device has it.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub data: Map<String, Value>,
    /// The newest id of each field; `*` stands for those without one of their own.
    ids: BTreeMap<String, String>,
    /// The id of the last writer.
    pub last: Option<String>,
}

/// Where a reader goes on.
#[derive(Clone, Debug)]
pub struct Position {
    pub offset: u64,
    pub epoch: u64,
    pub access: String,
}

/// The rows, and where they stand.
#[derive(Debug, Default)]
pub struct Replica {
    pub rows: BTreeMap<String, Row>,
    pub position: Option<Position>,
    pub snapshot: Option<Visibility>,
    applied: u64,
    /// What a faithful stream would never have done.
    pub complaints: Vec<String>,
    /// How many changes were applied.
    pub changes: u64,
    /// How often everything was listed.
    pub lists: u64,
}

impl Row {
    /// Returns the newest id of a field.
    pub fn id(&self, field: &str) -> Option<&String> {
        self.ids.get(field).or_else(|| self.ids.get("*"))
    }
}

impl Replica {
    /// Replaces everything by a list.
    pub fn list(&mut self, answer: &Value) -> Result<()> {
        anyhow::ensure!(answer["next"].is_null(), "more rows than a page has");
        let mut rows = BTreeMap::new();
        for item in answer["items"].as_array().context("no items")? {
            let data = item["data"].as_object().context("no data")?.clone();
            let id = data["id"].as_str().context("no id")?.to_owned();
            let ids: BTreeMap<String, String> =
                serde_json::from_value(item["tx"]["fields"].clone()).unwrap_or_default();
            let last = item["tx"]["transactionId"].as_str().map(str::to_owned);
            rows.insert(id, Row { data, ids, last });
        }
        self.snapshot = Some(answer["snapshot"].as_str().context("no snapshot")?.parse()?);
        let position = Position {
            offset: answer["offset"].as_u64().context("no offset")?,
            epoch: answer["epoch"].as_u64().context("no epoch")?,
            access: answer["access"].as_str().context("no access")?.to_owned(),
        };
        self.applied = position.offset;
        self.position = Some(position);
        self.rows = rows;
        self.lists += 1;
        Ok(())
    }

    /// Applies an activity and returns the ids that it confirms.
    pub fn change(&mut self, activity: &Value) -> Result<Vec<String>> {
        let number = activity["activityId"].as_u64().context("no activityId")?;
        if number <= self.applied {
            self.complaints.push(format!("activity {number} after {}", self.applied));
        }
        self.applied = number;
        let tx = &activity["tx"];
        let last = tx["transactionId"].as_str().map(str::to_owned);
        let fields: BTreeMap<String, String> = serde_json::from_value(tx["fields"].clone()).unwrap_or_default();
        let confirmed = fields.values().cloned().chain(last.clone()).collect();
        let xid: u64 = activity["commit"]["xid"].as_str().context("no xid")?.parse()?;
        if self.sees(xid) {
            return Ok(confirmed);
        }
        self.changes += 1;
        let id = activity["entityId"].as_str().context("no entityId")?.to_owned();
        let Some(data) = activity["data"].as_object() else {
            if self.rows.remove(&id).is_none() {
                self.complaints.push(format!("a delete of nothing: {activity}"));
            }
            return Ok(confirmed);
        };
        let created = activity["action"] == "create";
        if !created && !self.rows.contains_key(&id) {
            self.complaints.push(format!("an update of nothing: {activity}"));
        }
        let row = self.rows.entry(id).or_default();
        if created {
            *row = Row::default();
            row.ids.extend(last.clone().map(|id| ("*".to_owned(), id)));
        }
        for name in activity["unchanged"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !row.data.contains_key(name) {
                self.complaints.push(format!("`{name}` is not at hand: {activity}"));
            }
        }
        row.data.extend(data.clone());
        let changed = activity["changedKeys"].as_array().into_iter().flatten().chain([&tx["changedField"]]);
        for name in changed.filter_map(Value::as_str) {
            let id = fields.get(name).or(last.as_ref()).cloned();
            row.ids.extend(id.map(|id| (name.to_owned(), id)));
        }
        row.last = last;
        Ok(confirmed)
    }

    /// Tells whether the list that the rows began with has seen a transaction.
    pub fn sees(&self, xid: u64) -> bool {
        self.snapshot.as_ref().is_some_and(|snapshot| snapshot.sees(Xid::new(xid)))
    }
}
