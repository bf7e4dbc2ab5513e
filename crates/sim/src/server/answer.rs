//! Batches of mutations and their results (protocol 5).
//!
//! Law: an answer only reports; columns that the caller may not see are in no part of it.

use antiphon_engine::{
    Applied, Outcome,
    ports::{Author, HeldRow},
};
use antiphon_model::{ActivityId, Code, Columns, Mutation, Reader, Tx, cut_object};
use serde_json::{Map, Value, json};

use super::{App, body, caller::Caller, problem::Problem};
use crate::Refused;

/// A client that has not seen this many changes of what it edits, and is this late, is told to read first.
const BEHIND_ACTIVITIES: usize = 10;
const BEHIND_MICROS: i64 = 5_000_000;

impl App {
    pub(super) async fn mutate(&self, caller: &Caller, body: &str) -> Result<String, Problem> {
        let came_us = self.parts.clock.elapsed_us();
        let batch = body::batch(body)?;
        if let Some(offset) = batch.stream_offset {
            self.not_behind(caller, offset, &batch.mutations).await?;
        }
        let author = Author { org: caller.place.org.clone(), subject: caller.subject.clone() };
        let reader = caller.reader();
        let outcomes = match batch.atomic {
            true => self.door.all(&author, &reader, &batch.mutations).await?,
            false => self.door.each(&author, &reader, &batch.mutations).await?,
        };
        for (mutation, outcome) in batch.mutations.iter().zip(&outcomes) {
            let code = match outcome {
                Outcome::Refused(refusal) => refusal.code.as_str(),
                // For what refused another one of its batch.
                Outcome::Aborted(_) => "aborted",
                Outcome::Applied(_) | Outcome::Duplicate(_) => continue,
            };
            let (org, transaction_id) = (caller.place.org.clone(), mutation.transaction_id.as_str().to_owned());
            self.parts.database.note_refused(Refused { org, transaction_id, code, came_us });
        }
        let results = batch.mutations.iter().zip(outcomes);
        let results: Vec<Value> = results.map(|(mutation, outcome)| self.result(&reader, mutation, outcome)).collect();
        Ok(json!({ "results": results }).to_string())
    }

    /// Refuses a client that has not seen much of what happened to what it edits.
    async fn not_behind(&self, caller: &Caller, offset: i64, mutations: &[Mutation]) -> Result<(), Problem> {
        let head = self.bus.head();
        let position = ActivityId::new(offset.max(0).unsigned_abs());
        if position >= head.durable || !head.epoch.contains(position) {
            return Ok(());
        }
        let Ok(page) = self.bus.read(&caller.place.org, position, 500).await else { return Ok(()) };
        let missed = page.activities.iter().filter(|activity| {
            mutations.iter().any(|mutation| {
                mutation.entity_type == activity.entity_type && mutation.entity_id == activity.entity_id
            })
        });
        let missed: Vec<i64> = missed.map(|activity| activity.commit.at.0).collect();
        let late = missed.first().is_some_and(|at| self.parts.clock.now().0 - at > BEHIND_MICROS);
        if missed.len() > BEHIND_ACTIVITIES && late {
            let problem = Problem::new(Code::StreamBehind, "");
            return Err(problem.with("serverOffset", head.durable.as_u64()).with("clientOffset", offset));
        }
        Ok(())
    }

    fn result(&self, reader: &Reader, mutation: &Mutation, outcome: Outcome) -> Value {
        let (status, members) = match outcome {
            Outcome::Applied(applied) => ("applied", self.members(reader, mutation, &applied)),
            Outcome::Duplicate(applied) => ("duplicate", self.members(reader, mutation, &applied)),
            Outcome::Refused(refusal) => {
                let status = if refusal.code == Code::FieldConflict { "conflict" } else { "rejected" };
                (status, Map::from_iter([("problem".to_owned(), Problem::from(refusal).body())]))
            }
            Outcome::Aborted(index) => ("aborted", Map::from_iter([("because".to_owned(), index.into())])),
        };
        let mut result = Map::new();
        result.insert("transactionId".to_owned(), mutation.transaction_id.as_str().into());
        result.insert("status".to_owned(), status.into());
        result.extend(members);
        Value::Object(result)
    }

    fn members(&self, reader: &Reader, mutation: &Mutation, applied: &Applied) -> Map<String, Value> {
        let row = applied.row.as_deref();
        let columns = row.map_or(Columns::All, |row| self.columns(reader, mutation, row));
        let data = row.map_or(Value::Null, |row| {
            let mut text = String::new();
            match &columns {
                Columns::All => text.push_str(&row.row.image),
                Columns::Some(_) => cut_object(&mut text, &row.row.image, |name| columns.contains(name)),
            }
            serde_json::from_str(&text).unwrap_or(Value::Null)
        });
        let tx = applied.tx_text.as_deref().and_then(Tx::parse).map(|tx| tx.cut(&columns));
        let mut members = Map::new();
        members.insert("data".to_owned(), data);
        members.insert("tx".to_owned(), tx.map_or(Value::Null, |tx| json!(tx)));
        members.insert("commit".to_owned(), json!({ "xid": applied.xid }));
        members
    }

    fn columns(&self, reader: &Reader, mutation: &Mutation, row: &HeldRow) -> Columns {
        match self.entities.get(&mutation.entity_type) {
            Some(entity) => entity.rights(reader, |column| row.policy.get(column).and_then(Option::as_deref)).read,
            None => Columns::none(),
        }
    }
}
