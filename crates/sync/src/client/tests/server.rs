//! A server for one person in one organisation, in memory: what protocol 4 and 5 promise, and nothing of how.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::Request;
use crate::{Verdict, elements, judge};

/// Rows with their metadata.
type Rows = BTreeMap<String, (Map<String, Value>, Value)>;

pub struct Server {
    pub rows: Rows,
    log: Vec<Value>,
    records: BTreeMap<String, u64>,
    pub xid: u64,
    base: u64,
    pub epoch: u64,
    pub clock_ms: u64,
    /// Mutations that took effect.
    pub applied: usize,
    /// Atomic batches that came.
    pub atomic: usize,
    /// Whether the stream is silent.
    pub mute: bool,
    /// Requests with mutations that came.
    pub sent: usize,
    /// What every mutation is answered with, whatever it is.
    pub always: Option<Value>,
    /// Ids that stand for other edits.
    pub mismatched: BTreeSet<String>,
    gone: bool,
    /// How much of the type a client keeps: `all` or `on_demand`.
    pub sync: &'static str,
    /// So many of the newest transactions are on the stream already, and lists do not see them yet.
    pub lag: usize,
    /// Rows after each transaction, with its number.
    past: Vec<(Rows, u64)>,
    horizon: usize,
    /// Whether requests for rows fail.
    pub down: bool,
    /// The number of the type's shape; those above 1 have a field more.
    pub shape: u32,
    /// A field that this reader may not compare.
    pub refuses: Option<&'static str>,
    /// Requests for rows that were answered.
    pub asked: Vec<Request>,
    /// Whether the person is not of the organisation any more.
    pub outsider: bool,
    /// Texts above so many bytes do not come with their row.
    pub long_above: usize,
    /// Whether whoever asks for rows by their ids fetches such texts as well.
    pub fills: bool,
}

impl Server {
    pub fn new() -> Server {
        Server {
            rows: BTreeMap::new(),
            log: Vec::new(),
            records: BTreeMap::new(),
            xid: 700,
            base: 0,
            epoch: 1,
            clock_ms: 1_769_860_000_000,
            applied: 0,
            atomic: 0,
            mute: false,
            sent: 0,
            always: None,
            mismatched: BTreeSet::new(),
            gone: false,
            sync: "all",
            lag: 0,
            past: vec![(BTreeMap::new(), 700)],
            horizon: 0,
            down: false,
            shape: 1,
            refuses: None,
            asked: Vec::new(),
            outsider: false,
            long_above: usize::MAX,
            fills: true,
        }
    }

    pub fn value(&self, id: &str, field: &str) -> Value {
        self.rows.get(id).map_or(Value::Null, |(row, _)| row[field].clone())
    }

    /// Writes as an application does.
    pub fn sql(&mut self, id: &str, fields: Value) {
        let newest = self.rows.get(id).and_then(|(_, tx)| tx["transactionId"].as_str()?[..13].parse::<u64>().ok());
        self.clock_ms = (self.clock_ms + 1).max(newest.unwrap_or(0) + 1);
        let id_text = format!("{:013}.0000.sql-{}", self.clock_ms, self.xid + 1);
        let tx = json!({ "transactionId": id_text, "sourceId": "sql", "actor": null, "changedField": null });
        self.write(id, fields.as_object().unwrap().clone(), tx);
    }

    pub fn sql_delete(&mut self, id: &str) {
        let tx = json!({ "transactionId": format!("{:013}.0000.sql-{}", self.clock_ms, self.xid + 1), "sourceId": "sql", "actor": "bob" });
        self.delete(id, tx);
    }

    fn write(&mut self, id: &str, fields: Map<String, Value>, tx: Value) {
        self.xid += 1;
        let known = self.rows.get(id).cloned();
        let (mut row, old) = known.clone().unwrap_or_default();
        let own = tx["transactionId"].clone();
        let mut versions = old.get("fields").cloned().unwrap_or_else(|| json!({ "*": own }));
        if known.is_some() {
            fields.keys().for_each(|field| versions[field] = own.clone());
        }
        row.extend(fields.clone());
        let mut whole = tx.clone();
        whole["fields"] = versions;
        self.rows.insert(id.to_owned(), (row.clone(), whole));
        let action = if known.is_some() { "update" } else { "create" };
        let changed: Vec<&String> = if known.is_some() { fields.keys().collect() } else { row.keys().collect() };
        let (data, omitted) = self.cut(&row);
        let activity = json!({ "entityType": "note", "entityId": id, "action": action, "data": data, "omitted": omitted, "changedKeys": changed, "tx": tx });
        self.append(activity);
    }

    fn delete(&mut self, id: &str, tx: Value) {
        self.xid += 1;
        self.rows.remove(id);
        self.append(json!({ "entityType": "note", "entityId": id, "action": "delete", "data": null, "tx": tx }));
    }

    /// A row leaves this person's sight, and is as good as gone for what they send.
    pub fn hide(&mut self, id: &str) {
        self.xid += 1;
        self.rows.remove(id);
        self.append(
            json!({ "entityType": "note", "entityId": id, "action": "delete", "data": null, "reason": "access" }),
        );
    }

    /// Removes all rows in one statement.
    pub fn truncate(&mut self) {
        self.xid += 1;
        self.rows.clear();
        self.append(json!({ "entityType": "note", "entityId": null, "action": "truncate", "data": null }));
    }

    fn append(&mut self, mut activity: Value) {
        activity["activityId"] = (self.base + self.log.len() as u64 + 1).into();
        self.past.push((self.rows.clone(), self.xid));
        activity["schema"] = self.shape.into();
        activity["commit"] = json!({ "xid": self.xid.to_string(), "last": true });
        self.log.push(activity);
    }

    /// The database was restored, and the log begins anew.
    pub fn restore_without_log(&mut self) {
        self.log.clear();
        self.epoch += 1;
        self.base = (self.epoch - 1) << 40;
    }

    /// The type is not synchronised any more.
    pub fn forget_type(&mut self) {
        self.gone = true;
        self.restore_without_log();
    }

    pub fn frames(&self, after: u64, _subject: &str) -> (Vec<(String, Value)>, u64) {
        if self.mute {
            return (Vec::new(), after);
        }
        let new = self.log.iter().filter(|activity| activity["activityId"].as_u64() > Some(after));
        let frames: Vec<(String, Value)> = new.map(|activity| ("change".to_owned(), activity.clone())).collect();
        let upto = frames.last().and_then(|(_, last)| last["activityId"].as_u64()).unwrap_or(after);
        (frames, upto)
    }

    pub fn answer(&mut self, request: &Request) -> (u16, Value) {
        if self.outsider {
            return (403, json!({ "code": "NOT_A_MEMBER" }));
        }
        // What a list has seen, every later one sees.
        let newest = self.past.len() - 1;
        self.horizon = self.horizon.max(newest - self.lag.min(self.log.len()));
        let lag = newest - self.horizon;
        let (seen, xid) = self.past[self.horizon].clone();
        let (offset, xmax) = (self.base + (self.log.len() - lag) as u64, if lag == 0 { self.xid } else { xid } + 1);
        let (epoch, shape) = (self.epoch, self.shape);
        let page = |items: Vec<Value>, next: Option<String>| {
            json!({ "items": items, "next": next, "offset": offset, "epoch": epoch,
                "snapshot": format!("{xmax}:{xmax}:"), "access": "a", "schema": shape })
        };
        let frame = |items: Vec<Value>| page(items, None);
        if !matches!(request, Request::Schema | Request::Mutations { .. }) {
            self.asked.push(request.clone());
        }
        if self.down && !matches!(request, Request::Schema) {
            return (503, json!({ "code": "TRY_AGAIN" }));
        }
        match request {
            Request::Schema if self.gone => (200, json!({ "types": {} })),
            Request::List { .. } | Request::Ids { .. } | Request::Subset { .. } if self.gone => {
                (404, json!({ "code": "ENTITY_TYPE_UNKNOWN" }))
            }
            Request::Schema => (200, schema(self.sync, self.shape)),
            Request::Subset { parameters, .. }
                if self.refuses.is_some_and(|field| parameters.iter().any(|(name, _)| name.contains(field))) =>
            {
                (422, json!({ "code": "FIELD_FORBIDDEN" }))
            }
            Request::Subset { parameters, after, limit, .. } => {
                let order = parameters.iter().any(|(name, _)| name == "order");
                // Only this one order is known here.
                let place = |row: &Map<String, Value>| {
                    let rank = if order { row["rank"].as_i64() } else { None };
                    (std::cmp::Reverse(rank), row["id"].as_str().unwrap().to_owned())
                };
                let found = seen.values().filter(|(row, _)| parameters.iter().all(|one| meets(row, one)));
                let mut found: Vec<_> = found.map(|row| (place(&row.0), row)).collect();
                found.sort_by(|(one, _), (other, _)| one.cmp(other));
                if let Some(after) = after {
                    let (rank, id) = after.split_once('/').unwrap();
                    let after = (std::cmp::Reverse(rank.parse().ok()), id.to_owned());
                    found.retain(|(place, _)| *place > after);
                }
                let next = (found.len() > *limit).then(|| found.get(limit - 1)).flatten();
                let next =
                    next.map(|((rank, id), _)| format!("{}/{id}", rank.0.map_or(String::new(), |r| r.to_string())));
                let items = found.iter().take(*limit).map(|(_, (row, tx))| json!({ "data": row, "tx": tx }));
                (200, page(items.collect(), next))
            }
            Request::List { .. } => (200, frame(seen.values().map(|held| self.item(held, false)).collect())),
            Request::Ids { ids, .. } => {
                let found = ids.iter().filter_map(|id| seen.get(id));
                (200, frame(found.map(|held| self.item(held, self.fills)).collect()))
            }
            Request::Mutations { body } => (200, self.batch(body)),
        }
    }

    /// A row as lists give it, with what is too long named, and where it is filled there as well.
    fn item(&self, (row, tx): &(Map<String, Value>, Value), filled: bool) -> Value {
        let (short, omitted) = self.cut(row);
        json!({ "data": if filled { row.clone() } else { short }, "tx": tx, "omitted": omitted })
    }

    fn is_long(&self, value: &Value) -> bool {
        value.as_str().is_some_and(|text| text.len() > self.long_above)
    }

    fn cut(&self, row: &Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
        let (long, short): (Map<_, _>, Map<_, _>) = row.clone().into_iter().partition(|(_, value)| self.is_long(value));
        let about = |value: Value| json!({ "bytes": value.as_str().unwrap().len(), "checksum": format!("of {value}") });
        (short, long.into_iter().map(|(name, value)| (name, about(value))).collect())
    }

    fn batch(&mut self, body: &str) -> Value {
        let body: Value = serde_json::from_str(body).unwrap();
        let atomic = body["atomic"] == true;
        self.atomic += usize::from(atomic);
        self.sent += 1;
        let before = (self.rows.clone(), self.log.clone(), self.records.clone(), self.applied);
        let (past, xid) = (self.past.len(), self.xid);
        let results: Vec<Value> =
            body["mutations"].as_array().unwrap().iter().map(|mutation| self.mutate(mutation)).collect();
        let bad = results.iter().position(|result| result["problem"].is_object());
        let Some(bad) = bad.filter(|_| atomic) else { return json!({ "results": results }) };
        (self.rows, self.log, self.records, self.applied) = before;
        // No list ever sees what was taken back.
        self.past.truncate(past);
        self.xid = xid;
        let id = |result: &Value| result["transactionId"].clone();
        let aborted = |(at, result): (usize, &Value)| match at == bad {
            true => result.clone(),
            false => json!({ "transactionId": id(result), "status": "aborted", "because": bad }),
        };
        json!({ "results": results.iter().enumerate().map(aborted).collect::<Vec<_>>() })
    }

    fn mutate(&mut self, mutation: &Value) -> Value {
        let (tx, id) = (&mutation["tx"], mutation["entityId"].as_str().unwrap());
        let name = tx["transactionId"].as_str().unwrap().to_owned();
        let done = |status: &str, data: Value, xid: u64| json!({ "transactionId": name, "status": status, "data": data, "commit": { "xid": xid.to_string() } });
        let refused =
            |status: &str, problem: Value| json!({ "transactionId": name, "status": status, "problem": problem });
        if let Some(mut always) = self.always.clone() {
            always["transactionId"] = always.get("transactionId").cloned().unwrap_or_else(|| name.clone().into());
            return always;
        }
        if self.gone || self.mismatched.contains(&name) {
            let code = if self.gone { "ENTITY_TYPE_UNKNOWN" } else { "IDEMPOTENCY_MISMATCH" };
            return refused("rejected", json!({ "code": code }));
        }
        if let Some(xid) = self.records.get(&name) {
            // A number that was not given out here is of another cluster: its own, which is above.
            return done("duplicate", json!({}), (*xid).min(self.xid));
        }
        let held = self.rows.get(id).cloned();
        let author = json!({ "transactionId": name, "sourceId": tx["sourceId"], "actor": "alice", "changedField": tx["changedField"] });
        let expected = tx["expectedTransactionId"].as_str();
        match (mutation["action"].as_str().unwrap(), held) {
            ("create", Some(_)) => return refused("rejected", json!({ "code": "ALREADY_EXISTS" })),
            ("create", None) => self.write(id, mutation["data"].as_object().unwrap().clone(), author),
            (_, None) => {
                return refused("rejected", json!({ "code": "ENTITY_GONE", "deletedBy": "bob", "deletedAt": "t" }));
            }
            ("delete", Some((_, row))) => {
                let newest = row["transactionId"].as_str();
                if let Verdict::Conflict { newest } = judge(expected, newest) {
                    return refused(
                        "conflict",
                        json!({ "code": "FIELD_CONFLICT", "field": null, "serverTransactionId": newest, "serverValue": null }),
                    );
                }
                self.delete(id, author);
            }
            (_, Some((row, versions))) => {
                let field = tx["changedField"].as_str().unwrap();
                let held = row.get(field).cloned().unwrap_or_default();
                let newest = versions["fields"].get(field).or(versions["fields"].get("*")).and_then(Value::as_str);
                let value = match tx.get("op") {
                    Some(op) if !op["add"].is_array() => added(&held, &op["add"]),
                    Some(op) => elements(
                        held.as_array().unwrap_or(&Vec::new()),
                        op["add"].as_array().unwrap(),
                        op["remove"].as_array().unwrap(),
                    )
                    .into(),
                    None => mutation["data"][field].clone(),
                };
                if tx.get("op").is_none()
                    && let Verdict::Conflict { newest } = judge(expected, newest)
                {
                    return refused(
                        "conflict",
                        json!({ "code": "FIELD_CONFLICT", "serverTransactionId": newest,
                            "serverValue": if self.is_long(&held) { Value::Null } else { held } }),
                    );
                }
                if value.as_i64().is_some_and(|number| number < 0) {
                    return refused("rejected", json!({ "code": "CONSTRAINT" }));
                }
                self.write(id, Map::from_iter([(field.to_owned(), value)]), author);
            }
        }
        self.applied += 1;
        self.records.insert(name.clone(), self.xid);
        done("applied", self.rows.get(id).map_or(Value::Null, |(row, _)| row.clone().into()), self.xid)
    }
}

fn added(present: &Value, by: &Value) -> Value {
    super::value::add(&present.clone().into(), &by.clone().into()).into()
}

/// Tells whether a row meets a parameter of a list.
fn meets(row: &Map<String, Value>, (name, value): &(String, String)) -> bool {
    let Some(condition) = name.strip_prefix("where[") else { return true };
    let (field, test) = condition.split_once(']').unwrap();
    let held = &row[field];
    match (test, held) {
        ("[is]", held) => held.is_null(),
        ("", Value::String(text)) => text == value,
        ("", held) => serde_json::from_str(value).is_ok_and(|value: Value| *held == value),
        ("[gte]", held) => held.as_i64().is_some_and(|number| number >= value.parse().unwrap()),
        ("[lt]", held) => held.as_i64().is_some_and(|number| number < value.parse().unwrap()),
        other => panic!("{other:?}"),
    }
}

fn schema(sync: &str, shape: u32) -> Value {
    let field = |ty: &str, merge: &str| json!({ "type": ty, "merge": merge });
    json!({ "types": { "note": {
        "schema": shape, "key": ["id"], "sync": sync, "create": "offline", "together": [], "refs": {},
        "can": { "create": true, "update": ["title", "body", "rank", "votes", "labels"], "delete": true },
        "fields": { "id": field("text", "lww"), "title": field("text", "manual"), "body": field("text", "text"),
            "rank": field("int4", "lww"), "votes": field(if shape == 1 { "int4" } else { "int8" }, "counter"), "labels": field("text[]", "set") } } }, "access": "a" })
}
