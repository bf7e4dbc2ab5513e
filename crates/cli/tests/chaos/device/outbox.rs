//! The edits of one device that nobody has confirmed yet, and what became of the others.
//!
//! It stands for a client's outbox at its plainest: in order, the same id until there is an answer, and out only when
//! the stream or a list has shown the effect. An edit that was refused for good leaves with its code: explained.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// What an edit does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Makes a note with these fields.
    Create(Value),
    /// Sets one field.
    Set(&'static str, Value),
    /// Adds to the counter.
    Add(i64),
    /// Deletes the note.
    Delete,
}

/// An edit that is not confirmed.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: String,
    pub entity: String,
    pub kind: Kind,
    /// The newest id of the field, or of the row, that the device had seen when the edit was made.
    pub seen: Option<String>,
    /// Whether `seen` is the server's own word from a conflict, which nothing of this device's goes above.
    told: bool,
    /// The transaction that applied it, once answered.
    pub xid: Option<u64>,
    /// When it was answered so.
    since: Option<Instant>,
    /// How often it was sent.
    pub tries: u32,
}

/// An edit that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub entity: String,
    pub kind: Kind,
}

/// The outbox and its past.
#[derive(Debug, Default)]
pub struct Outbox {
    pub entries: VecDeque<Entry>,
    pub applied: BTreeMap<String, Applied>,
    /// Edits that can never take effect, and the code that says why.
    pub refused: BTreeMap<String, String>,
    /// How many edits the person made.
    pub made: u64,
    /// Edits that had to be sent more than once.
    pub repeated: u64,
    /// Edits that the server had applied already when they came again.
    pub duplicates: u64,
    /// Edits that met someone else's and were made anew on top of it.
    pub rebased: u64,
    /// The newest id of this device's own for a field or a row, as far as answered.
    own: BTreeMap<(String, &'static str), String>,
}

impl Kind {
    fn field(&self) -> &'static str {
        match self {
            Kind::Set(field, _) => field,
            Kind::Add(_) => "votes",
            Kind::Create(_) | Kind::Delete => "*",
        }
    }
}

impl Entry {
    fn body(&self, source: &str, expected: Option<&String>) -> Value {
        let (action, field, data, op) = match &self.kind {
            Kind::Create(data) => ("create", Value::Null, data.clone(), None),
            Kind::Set(field, value) => ("update", json!(field), json!({ *field: value }), None),
            Kind::Add(by) => ("update", json!("votes"), json!({}), Some(json!({ "add": by }))),
            Kind::Delete => ("delete", Value::Null, Value::Null, None),
        };
        let expected = if matches!(self.kind, Kind::Create(_) | Kind::Add(_)) { None } else { expected };
        let mut tx = json!({
            "transactionId": self.id, "sourceId": source, "changedField": field, "expectedTransactionId": expected,
        });
        if let Some(op) = op {
            tx["op"] = op;
        }
        let mut body = json!({ "entityType": "note", "entityId": self.entity, "action": action, "tx": tx });
        if !data.is_null() {
            body["data"] = data;
        }
        body
    }
}

impl Outbox {
    /// Takes a new edit.
    pub fn push(&mut self, id: String, entity: &str, kind: Kind, seen: Option<String>) {
        self.made += 1;
        self.entries.push_back(Entry {
            id,
            entity: entity.to_owned(),
            kind,
            seen,
            told: false,
            xid: None,
            since: None,
            tries: 0,
        });
    }

    /// Returns how many edits are neither here nor accounted for.
    pub fn missing(&self) -> u64 {
        self.made - (self.entries.len() + self.applied.len() + self.refused.len()) as u64
    }

    /// Returns up to `most` unanswered edits, oldest first, as the server takes them.
    pub fn batch(&mut self, source: &str, most: usize) -> Vec<Value> {
        let mut own = self.own.clone();
        let mut batch = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| entry.xid.is_none()).take(most) {
            entry.tries += 1;
            self.repeated += u64::from(entry.tries == 2);
            // An edit of one's own that came later than what was seen is what this one builds on.
            let newest = |place: &str| own.get(&(entry.entity.clone(), field_of(place))).cloned();
            let expected = match entry.kind {
                _ if entry.told => entry.seen.clone(),
                Kind::Delete => entry.seen.clone().max(newest("last")),
                _ => entry.seen.clone().max(newest(entry.kind.field())).max(newest("*")),
            };
            batch.push(entry.body(source, expected.as_ref()));
            own.insert((entry.entity.clone(), entry.kind.field()), entry.id.clone());
            own.insert((entry.entity.clone(), "last"), entry.id.clone());
        }
        batch
    }

    /// Takes the answer to one edit that was sent; what it cannot place is returned as a complaint.
    ///
    /// `next` makes an id above another.
    pub fn answer(&mut self, result: &Value, next: impl FnOnce(&str) -> String) -> Result<(), String> {
        let id = result["transactionId"].as_str().unwrap_or_default();
        // Confirmed in the meantime by the stream: the answer is late news.
        let Some(at) = self.entries.iter().position(|entry| entry.id == id) else { return Ok(()) };
        let problem = &result["problem"];
        let code = problem["code"].as_str().unwrap_or_default();
        let server = problem["serverTransactionId"].as_str();
        match (result["status"].as_str().unwrap_or_default(), code) {
            (status @ ("applied" | "duplicate"), _) => {
                let entry = &mut self.entries[at];
                let xid = result["commit"]["xid"].as_str().and_then(|xid| xid.parse().ok());
                entry.xid = Some(xid.ok_or_else(|| format!("applied without a transaction: {result}"))?);
                entry.since = Some(Instant::now());
                self.duplicates += u64::from(status == "duplicate");
                let (entity, field, id) = (entry.entity.clone(), entry.kind.field(), entry.id.clone());
                self.own.insert((entity.clone(), field), id.clone());
                self.own.insert((entity, "last"), id);
            }
            ("conflict", _) | (_, "CLOCK_BEHIND") if server.is_some() => {
                let (entry, server) = (&mut self.entries[at], server.unwrap_or_default());
                entry.id = next(server);
                entry.seen = Some(server.to_owned());
                entry.told = true;
                entry.tries = 0;
                self.rebased += 1;
            }
            ("rejected", code @ ("ENTITY_GONE" | "NOT_FOUND")) => {
                self.refused.insert(id.to_owned(), code.to_owned());
                self.entries.remove(at);
            }
            ("rejected", "TRY_AGAIN" | "RATE_LIMITED") => {}
            _ => return Err(format!("an answer that no edit of ours deserves: {result}")),
        }
        Ok(())
    }

    /// Tells whether an edit that was applied has waited so long to be shown.
    pub fn waits(&self, long: Duration) -> bool {
        self.entries.iter().filter_map(|entry| entry.since).any(|since| since.elapsed() > long)
    }

    /// Takes edits out whose effect was shown.
    pub fn confirm<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>) {
        for id in ids {
            if let Some(at) = self.entries.iter().position(|entry| entry.id == id) {
                self.settle(at);
            }
        }
    }

    /// Takes edits out whose transaction a list of everything has seen.
    pub fn covered(&mut self, sees: impl Fn(u64) -> bool) {
        while let Some(at) = self.entries.iter().position(|entry| entry.xid.is_some_and(&sees)) {
            self.settle(at);
        }
    }

    fn settle(&mut self, at: usize) {
        if let Some(Entry { id, entity, kind, .. }) = self.entries.remove(at) {
            self.own.insert((entity.clone(), kind.field()), id.clone());
            self.own.insert((entity.clone(), "last"), id.clone());
            self.applied.insert(id, Applied { entity, kind });
        }
    }
}

fn field_of(name: &str) -> &'static str {
    ["title", "body", "votes", "last"].into_iter().find(|field| *field == name).unwrap_or("*")
}
