//! Clients that write through the door: they look a row up, think, send an edit of what they saw, and send it again
//! until they are told what became of it.
//!
//! Law: an id is above what its edit expects and above every one before, however the clock jumps.

use antiphon_model::TransactionId;
use serde_json::{Value, json};

use super::{Stage, shared_id};
use crate::{Clock, Kind, People, Request, Told};

/// A client at work.
pub(crate) struct Writing {
    stage: Stage,
    /// Its number, which names it in its ids.
    client: u32,
    clock: Clock,
    last: (u64, u16),
    requests: u64,
}

impl Writing {
    /// Makes a client; its clock may be off.
    pub(crate) fn new(stage: Stage, client: u32) -> Writing {
        let dice = stage.simulation.dice();
        let off_us = dice.below(4_000_000) as i64 - 2_000_000;
        let clock = stage.simulation.clock().skewed(off_us);
        Writing { stage, client, clock, last: (0, 0), requests: 0 }
    }

    /// Writes until the end; what was sent is sent until it is answered.
    pub(crate) async fn run(mut self) {
        let dice = self.stage.simulation.dice().clone();
        while self.stage.rest(dice.between(5, 500)).await {
            if dice.permille(20) {
                self.clock.jump(dice.below(2_000_000) as i64 - 1_000_000);
            }
            let Some((subject, org)) = self.stage.somebody() else { continue };
            let count = if dice.permille(200) { dice.between(2, 4) } else { 1 };
            let atomic = count > 1 && dice.permille(500);
            let mut edits = Vec::new();
            for _ in 0..count {
                edits.extend(self.edit(subject, org).await);
            }
            if !edits.is_empty() {
                let body = json!({ "atomic": atomic, "mutations": edits }).to_string();
                self.send(subject, org, body).await;
            }
        }
    }

    /// Makes an edit of a row as it was seen; `None` where it could not be looked up.
    async fn edit(&mut self, subject: &str, org: &str) -> Option<Value> {
        let dice = self.stage.simulation.dice().clone();
        let kind = *dice.pick(&["page", "task", "note"])?;
        let id = shared_id(&self.stage, kind);
        if dice.permille(200) {
            return Some(self.create(kind, subject));
        }
        let ids = Kind::Ids { entity_type: kind.to_owned(), ids: vec![id.clone()] };
        let (status, body) = self.ask(subject, org, ids).await?;
        if status != 200 {
            return None;
        }
        let item = body["items"].get(0)?.clone();
        self.stage.simulation.clock().sleep_ms(dice.below(400)).await;
        let seen = |field: &str| {
            let fields = &item["tx"]["fields"];
            fields.get(field).or_else(|| fields.get("*")).cloned().unwrap_or(Value::Null)
        };
        let text = format!("d{}", dice.below(1_000_000));
        if dice.permille(60) {
            let expected = item["tx"]["transactionId"].clone();
            let tx = self.tx(&json!({ "expectedTransactionId": expected }), expected.as_str());
            return Some(json!({ "entityType": kind, "entityId": id, "action": "delete", "tx": tx }));
        }
        let field = match kind {
            "page" => *dice.pick(&["title", "body", "position"])?,
            "task" => *dice.pick(&["title", "status", "votes", "labels"])?,
            _ => *dice.pick(&["text", "state"])?,
        };
        let op = match field {
            "votes" => Some(json!({ "add": 1 })),
            "labels" => {
                Some(json!({ "add": [format!("l{}", dice.below(4))], "remove": [format!("l{}", dice.below(4))] }))
            }
            _ => None,
        };
        let expected = seen(field);
        let (data, more) = match op {
            Some(op) => (Value::Null, json!({ "changedField": field, "op": op })),
            None => {
                let text = if field == "state" { (*dice.pick(&["public", "private"])?).to_owned() } else { text };
                (json!({ field: text }), json!({ "changedField": field, "expectedTransactionId": expected.clone() }))
            }
        };
        let tx = self.tx(&more, expected.as_str());
        Some(json!({ "entityType": kind, "entityId": id, "action": "update", "data": data, "tx": tx }))
    }

    fn create(&mut self, kind: &str, subject: &str) -> Value {
        let tx = self.tx(&json!({}), None);
        let taken = self.stage.simulation.dice().permille(100);
        let id = match taken {
            true => shared_id(&self.stage, kind),
            false => format!("{kind}-{}", tx["transactionId"].as_str().unwrap_or_default()),
        };
        let data = match kind {
            "note" => json!({ "text": "new", "owner": subject, "state": "private" }),
            _ => json!({ "title": "new" }),
        };
        json!({ "entityType": kind, "entityId": id, "action": "create", "data": data, "tx": tx })
    }

    /// Makes the metadata of an edit, with an id above what it expects and above every one before.
    pub(super) fn tx(&mut self, more: &Value, expected: Option<&str>) -> Value {
        let mut at = (self.clock.now_ms(), 0);
        // One in many is careless and is refused.
        let careful = !self.stage.simulation.dice().permille(30);
        if let Some(expected) = expected.filter(|_| careful).and_then(|text| TransactionId::parse(text).ok()) {
            at = at.max((expected.wall_ms(), expected.logical() + 1));
        }
        if at <= self.last {
            at = (self.last.0, self.last.1 + 1);
        }
        self.last = at;
        let node = format!("c{}", self.client);
        let id = TransactionId::new(at.0, at.1, &node).map(|id| id.as_str().to_owned()).unwrap_or_default();
        let mut tx = json!({ "transactionId": id, "sourceId": node });
        if let (Some(tx), Some(more)) = (tx.as_object_mut(), more.as_object()) {
            tx.extend(more.clone());
        }
        tx
    }

    /// Sends a batch until it is answered, or until the end.
    pub(super) async fn send(&mut self, subject: &str, org: &str, body: String) {
        loop {
            let mutate = Kind::Mutate { body: body.clone() };
            if let Some((200, answer)) = self.ask(subject, org, mutate).await {
                let results = answer["results"].as_array().cloned().unwrap_or_default();
                for told in results.iter().map(|result| told(org, result)) {
                    let code = told.code.as_deref().unwrap_or_default();
                    self.stage.recorder.reached(format!("edit {} {code}", told.status).trim_end().to_owned());
                    self.stage.recorder.note(|history| history.told.push(told));
                }
                return;
            }
            if self.stage.people.role(org, subject).is_none() || !self.stage.rest(300).await {
                return;
            }
        }
    }

    pub(super) async fn ask(&mut self, subject: &str, org: &str, kind: Kind) -> Option<(u16, Value)> {
        self.requests += 1;
        let id = u64::from(self.client) << 32 | self.requests;
        let request = Request { id, token: People::token(subject), org: org.to_owned(), kind };
        let server = self.stage.server().clone();
        self.stage.look(&server);
        let answer = self.stage.network.request(self.client, &server, request).await?;
        Some((answer.status, serde_json::from_str(&answer.body).unwrap_or_default()))
    }
}

fn told(org: &str, result: &Value) -> Told {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Told {
        org: org.to_owned(),
        transaction_id: text(&result["transactionId"]).unwrap_or_default(),
        status: text(&result["status"]).unwrap_or_default(),
        code: text(&result["problem"]["code"]),
    }
}
