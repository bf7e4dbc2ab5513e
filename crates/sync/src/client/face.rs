//! The machine's JSON face: what a binding in another language calls, and the form of the conformance vectors.
//!
//! One call, one answer, both JSON: `{"now", "do": ...}` in, `{"result", "outputs", "wakeAtMs"}` out, described in
//! `docs/reference/client-face.md`. Laws: a call that cannot be read changes nothing and says so; the face adds nothing
//! to what the machine says and leaves nothing out; every input of the machine has a form here, or it does not compile.
//! It refuses to know more than one client: whoever wants two keeps two faces.

mod call;

#[cfg(test)]
pub(super) use self::call::Text;
pub use self::call::{Call, Verb};
use super::{Client, Config, Loaded, Now, Record, store_outbox};
use crate::form::{self, Written};

/// One client behind JSON.
#[derive(Debug, Default)]
pub struct Face {
    client: Option<Client>,
    now: Now,
}

impl Face {
    /// Answers a call; the answer to one that cannot be read has `error` and nothing else.
    pub fn call(&mut self, text: &str) -> String {
        let call = match form::from_text::<Call>(text) {
            Ok(call) => call,
            Err(error) => return named("error", &format!("the call cannot be read: {error}")),
        };
        self.answer(call)
    }

    /// Answers a call that is read already.
    pub fn answer(&mut self, call: Call) -> String {
        self.now = call.now.unwrap_or(self.now);
        let result = match call.verb {
            Verb::Start { config, records } => self.start(config, records),
            Verb::StoreOutbox { owner, records } => form::text(&store_outbox(&owner, &Loaded { records })),
            verb => match &mut self.client {
                Some(client) => said(client, self.now, verb),
                None => return named("error", "nothing is started"),
            },
        };
        let mut outputs = Vec::new();
        let wake_at_ms = self.client.as_mut().and_then(|client| {
            outputs.extend(std::iter::from_fn(|| client.poll()));
            client.wake_at_ms(self.now)
        });
        let (outputs, wake_at_ms) = (form::text(&outputs), form::text(&wake_at_ms));
        format!(r#"{{"result":{result},"outputs":{outputs},"wakeAtMs":{wake_at_ms}}}"#)
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

    fn start(&mut self, config: Config, records: Vec<(Record, String)>) -> String {
        match Client::new(config, Loaded { records }) {
            Ok(client) => {
                let unreadable: Vec<_> = client.unreadable().collect();
                let result = named("unreadable", &unreadable);
                self.client = Some(client);
                result
            }
            Err(corrupt) => {
                self.client = None;
                named("corrupt", &corrupt)
            }
        }
    }
}

/// Writes an object with one member.
fn named(name: &str, value: &(impl Written + ?Sized)) -> String {
    format!(r#"{{"{name}":{}}}"#, form::text(value))
}

/// What a verb gives that only happens.
const NOTHING: &str = "null";
/// What a deed gives that was done and has nothing more to say.
const DONE: &str = "{}";

fn said(client: &mut Client, now: Now, verb: Verb) -> String {
    match verb {
        Verb::Edit { edit, upon } => match client.edit_upon(now, edit, upon.as_deref()) {
            Ok(made) => form::text(&made),
            Err(refused) => named("refused", &refused),
        },
        Verb::Decide { key, seen, decision } => match client.decide(now, &key, seen.as_deref(), decision) {
            Ok(()) => DONE.into(),
            Err(undecided) => named("undecided", &undecided),
        },
        Verb::Retry { key } => form::text(&client.retry(now, &key)),
        Verb::Discard { key } => form::text(&client.discard(now, &key)),
        Verb::Undo => form::text(&client.undo(now)),
        Verb::Redo => form::text(&client.redo(now)),
        Verb::Import { owner, export } => match client.import(now, &owner, &export.0) {
            Ok(imported) => form::text(&imported),
            Err(refused) => named("refused", &refused),
        },
        Verb::Export { owner } => form::text(&client.export(&owner)),
        Verb::View { entity } => form::text(&client.view(&entity)),
        Verb::Ids { entity_type } => form::text(&client.ids(&entity_type)),
        Verb::Complete { entity_type } => form::text(&client.is_complete(&entity_type)),
        Verb::Status => form::text(&client.status()),
        Verb::Outbox => form::text(&client.outbox().iter().collect::<Vec<_>>()),
        Verb::Journal => form::text(&client.journal().collect::<Vec<_>>()),
        Verb::Subscribe { subset } => match client.subscribe(now, subset) {
            Ok(subscription) => named("subscription", &subscription),
            Err(too_many) => named("tooMany", &too_many),
        },
        Verb::Release { subscription } => {
            client.release(now, subscription);
            NOTHING.into()
        }
        Verb::Open { entity } => match client.open(now, &entity) {
            Ok(()) => DONE.into(),
            Err(too_many) => named("tooMany", &too_many),
        },
        Verb::Close { entity } => {
            client.close(now, &entity);
            NOTHING.into()
        }
        Verb::Query { subscription } => form::text(&client.query(subscription)),
        Verb::Changes { subscription } => form::text(&client.changes(subscription)),
        Verb::Presence { entity } => form::text(&client.presence(&entity)),
        Verb::Merge { base, mine, theirs } => form::text(&super::draft::merged_text(&base, &mine, &theirs)),
        Verb::Waits { key } => form::text(&client.waits(&key)),
        Verb::DiscardedWith { key } => form::text(&client.discarded_with(&key)),
        Verb::Position => form::text(&client.position()),
        input => {
            // What is no question and no deed of a person happened to the client.
            input.with_input(|input| client.handle(now, input));
            NOTHING.into()
        }
    }
}
