//! What an edit's outcome looks like as an answer, cut to what the caller may see.
//!
//! One shape for single edits and for results of batches (protocol 5). Law: an answer only reports; columns that the
//! caller may not see are in no part of it.

use antiphon_engine::{
    Applied, Outcome,
    ports::{HeldRow, Refusal},
};
use antiphon_model::{Code, Columns, Mutation, MutationAction, Reader, Tx, cut_object};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use crate::{app::App, entities::cut_tx, problem::Problem};

/// Answers one edit.
pub(super) struct Answered<'a> {
    pub(super) app: &'a App,
    pub(super) reader: &'a Reader,
    pub(super) mutation: &'a Mutation,
}

impl Answered<'_> {
    /// Answers an edit that came alone.
    pub(super) async fn response(&self, outcome: Outcome) -> Result<Response, Problem> {
        let (status, applied) = match outcome {
            Outcome::Applied(applied) if self.mutation.action == MutationAction::Create => {
                (StatusCode::CREATED, applied)
            }
            Outcome::Applied(applied) | Outcome::Duplicate(applied) => (StatusCode::OK, applied),
            Outcome::Refused(refusal) => return Err(self.problem(refusal).await),
            Outcome::Aborted(_) => return Err(Problem::new(Code::Aborted, "")),
        };
        let mut response = json(status, &Value::Object(self.members(&applied)));
        if let Some(entity) = self.app.entities.get(&self.mutation.entity_type)
            && let Ok((_, number)) = self.app.shape(entity).await
            && let Ok(value) = HeaderValue::from_str(&format!("{}={number}", entity.name))
        {
            response.headers_mut().insert("antiphon-schema", value);
        }
        Ok(response)
    }

    /// Answers an edit of a batch.
    pub(super) async fn result(&self, outcome: Outcome) -> Value {
        let id = self.mutation.transaction_id.as_str();
        let (status, members) = match outcome {
            Outcome::Applied(applied) => ("applied", self.members(&applied)),
            Outcome::Duplicate(applied) => ("duplicate", self.members(&applied)),
            Outcome::Refused(refusal) => {
                let status = if refusal.code == Code::FieldConflict { "conflict" } else { "rejected" };
                let problem = self.problem(refusal).await.into_body();
                (status, Map::from_iter([("problem".to_owned(), problem)]))
            }
            Outcome::Aborted(index) => ("aborted", Map::from_iter([("because".to_owned(), index.into())])),
        };
        let mut result =
            Map::from_iter([("transactionId".to_owned(), id.into()), ("status".to_owned(), status.into())]);
        result.extend(members);
        Value::Object(result)
    }

    fn members(&self, applied: &Applied) -> Map<String, Value> {
        let columns = applied.row.as_ref().map_or(Columns::All, |row| self.columns(row));
        let mut members = Map::new();
        match &applied.row {
            Some(row) => {
                members.insert("data".to_owned(), data(row, &columns));
                let details = row.row.details.as_deref().unwrap_or("");
                let details: Map<String, Value> = serde_json::from_str(&format!("{{{details}}}")).unwrap_or_default();
                for (name, mut value) in details {
                    match &mut value {
                        Value::Array(names) => {
                            names.retain(|one| one.as_str().is_some_and(|one| columns.contains(one)))
                        }
                        Value::Object(fields) => fields.retain(|one, _| columns.contains(one)),
                        _ => {}
                    }
                    members.insert(name, value);
                }
            }
            None => drop(members.insert("data".to_owned(), Value::Null)),
        }
        let entity = self.app.entities.get(&self.mutation.entity_type);
        let tx = applied.tx_text.as_deref().and_then(Tx::parse).zip(entity);
        let tx = tx.map(|(tx, entity)| cut_tx(tx, entity, &columns));
        members.insert("tx".to_owned(), tx.map_or(Value::Null, |tx| json!(tx)));
        members.insert("commit".to_owned(), json!({ "xid": applied.xid }));
        members
    }

    fn columns(&self, row: &HeldRow) -> Columns {
        match self.app.entities.get(&self.mutation.entity_type) {
            Some(entity) => entity.rights(self.reader, |column| row.policy.get(column).and_then(Option::as_deref)).read,
            None => Columns::none(),
        }
    }

    async fn problem(&self, refusal: Refusal) -> Problem {
        let mut code = refusal.code;
        // A field that is gone or has another type now: the client's shape is an old one.
        if let (Code::FieldUnknown | Code::FieldType, Some(known), Some(entity)) =
            (code, self.mutation.schema, self.app.entities.get(&self.mutation.entity_type))
            && let Ok((_, number)) = self.app.shape(entity).await
            && number != known
        {
            code = Code::SchemaChanged;
        }
        let mut problem = Problem::new(code, refusal.detail);
        if code == Code::SchemaChanged {
            problem = problem.status_of(StatusCode::UNPROCESSABLE_ENTITY);
        }
        for (name, value) in refusal.more {
            problem = problem.with(name, value);
        }
        problem
    }
}

/// The row as the caller may see it.
fn data(row: &HeldRow, columns: &Columns) -> Value {
    let mut text = String::new();
    match columns {
        Columns::All => text.push_str(&row.row.image),
        Columns::Some(_) => cut_object(&mut text, &row.row.image, |name| columns.contains(name)),
    }
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, body: &Value) -> Response {
    let mut response = (status, body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}
