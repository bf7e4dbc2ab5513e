//! The machine's JSON face: what a binding in another language calls, and the form of the conformance vectors.
//!
//! One call, one answer, both JSON: `{"now", "do": ...}` in, `{"result", "outputs", "wakeAtMs"}` out, described in
//! `docs/reference/client-face.md`. Laws: a call that cannot be read changes nothing and says so; the face adds nothing
//! to what the machine says and leaves nothing out; every input of the machine has a form here, or it does not compile.
//! It refuses to know more than one client: whoever wants two keeps two faces.

mod call;

use serde::Serialize;
use serde_json::{Value, json};

#[cfg(test)]
pub(super) use self::call::Text;
pub use self::call::{Call, Verb};
use super::{Client, Config, Loaded, Now, Output, Record, store_outbox};
use crate::form;

/// One client behind JSON.
#[derive(Debug, Default)]
pub struct Face {
    client: Option<Client>,
    now: Now,
}

/// What a call gave.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    result: Value,
    outputs: Vec<Output>,
    wake_at_ms: Option<u64>,
}

impl Face {
    /// Answers a call; the answer to one that cannot be read has `error` and nothing else.
    pub fn call(&mut self, text: &str) -> String {
        let call = match form::from_text::<Call>(text) {
            Ok(call) => call,
            Err(error) => return json!({ "error": format!("the call cannot be read: {error}") }).to_string(),
        };
        self.answer(call).to_string()
    }

    /// Answers a call that is read already.
    pub fn answer(&mut self, call: Call) -> Value {
        self.now = call.now.unwrap_or(self.now);
        let result = match call.verb {
            Verb::Start { config, records } => self.start(config, records),
            Verb::StoreOutbox { owner, records } => written(&store_outbox(&owner, &Loaded { records })),
            verb => match &mut self.client {
                Some(client) => said(client, self.now, verb),
                None => return json!({ "error": "nothing is started" }),
            },
        };
        let mut outputs = Vec::new();
        let wake_at_ms = self.client.as_mut().and_then(|client| {
            outputs.extend(std::iter::from_fn(|| client.poll()));
            client.wake_at_ms(self.now)
        });
        written(&Given { result, outputs, wake_at_ms })
    }

    /// Puts a client behind JSON that is there already.
    pub fn of(client: Client, now: Now) -> Face {
        Face { client: Some(client), now }
    }

    /// Returns the client, where one is started.
    pub fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// Gives the client back, where one is started.
    pub fn into_client(self) -> Option<Client> {
        self.client
    }

    fn start(&mut self, config: Config, records: Vec<(Record, String)>) -> Value {
        match Client::new(config, Loaded { records }) {
            Ok(client) => {
                let unreadable: Vec<_> = client.unreadable().collect();
                let result = json!({ "unreadable": unreadable });
                self.client = Some(client);
                result
            }
            Err(corrupt) => {
                self.client = None;
                json!({ "corrupt": corrupt })
            }
        }
    }
}

/// What the face writes has texts as keys, so it can always be written.
fn written(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn said(client: &mut Client, now: Now, verb: Verb) -> Value {
    match verb {
        Verb::Edit { edit } => match client.edit(now, edit) {
            Ok(made) => written(&made),
            Err(refused) => json!({ "refused": refused }),
        },
        Verb::Decide { key, seen, decision } => match client.decide(now, &key, seen.as_deref(), decision) {
            Ok(()) => json!({}),
            Err(undecided) => json!({ "undecided": undecided }),
        },
        Verb::Retry { key } => client.retry(now, &key).into(),
        Verb::Discard { key } => client.discard(now, &key).into(),
        Verb::Undo => client.undo(now).into(),
        Verb::Redo => client.redo(now).into(),
        Verb::Import { owner, export } => match client.import(now, &owner, &export.0) {
            Ok(imported) => written(&imported),
            Err(refused) => json!({ "refused": refused }),
        },
        Verb::Export { owner } => written(&client.export(&owner)),
        Verb::View { entity } => client.view(&entity).map_or(Value::Null, Value::Object),
        Verb::Ids { entity_type } => written(&client.ids(&entity_type)),
        Verb::Complete { entity_type } => client.is_complete(&entity_type).into(),
        Verb::Status => written(&client.status()),
        Verb::Outbox => written(&client.outbox().iter().collect::<Vec<_>>()),
        Verb::Journal => written(&client.journal().collect::<Vec<_>>()),
        Verb::Subscribe { subset } => match client.subscribe(now, subset) {
            Ok(subscription) => json!({ "subscription": subscription }),
            Err(too_many) => json!({ "tooMany": too_many }),
        },
        Verb::Release { subscription } => {
            client.release(now, subscription);
            Value::Null
        }
        Verb::Open { entity } => match client.open(now, &entity) {
            Ok(()) => json!({}),
            Err(too_many) => json!({ "tooMany": too_many }),
        },
        Verb::Close { entity } => {
            client.close(now, &entity);
            Value::Null
        }
        Verb::Query { subscription } => written(&client.query(subscription)),
        Verb::Presence { entity } => written(&client.presence(&entity)),
        Verb::Waits { key } => written(&client.waits(&key)),
        Verb::DiscardedWith { key } => client.discarded_with(&key).into(),
        input => {
            // What is no question and no deed of a person happened to the client.
            input.with_input(|input| client.handle(now, input));
            Value::Null
        }
    }
}
