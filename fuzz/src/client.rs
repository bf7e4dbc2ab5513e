//! What a server says to a client: frames and answers of any bytes, to one that has rows and edits.
//!
//! Laws: no panic; polling ends; an edit leaves the outbox only where the bytes name its id, or a line of the journal says
//! why; and a client that is made anew of what was saved takes it all up again.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_sync::client::{
    Client, Config, Edit, EntityKey, Input, Loaded, Now, Output, Record, Request, Told, Write,
};
use serde_json::{Map, Value};

/// Outputs of one input: far more than the few that any input is worth.
const OUTPUTS_MAX: usize = 5_000;

const SCHEMA: &str = r#"{"types":{"note":{"schema":1,"key":["id"],"sync":"all","create":"offline","can":{"create":true,
"update":["title","body","rank","votes","labels"],"delete":true},"fields":{"id":{"type":"text"},"title":{"type":"text",
"merge":"manual"},"body":{"type":"text","merge":"text"},"rank":{"type":"int4"},"votes":{"type":"int4","merge":"counter"},
"labels":{"type":"text[]","merge":"set"}}}}}"#;
const LIST: &str = r#"{"items":[{"data":{"id":"1","title":"t","body":"one two","rank":1,"votes":0,"labels":["a"]},
"tx":{"transactionId":"1769860700000.0000.sql-1","sourceId":"sql","fields":{"*":"1769860700000.0000.sql-1"}}}],
"next":null,"offset":10,"epoch":1,"snapshot":"700:700:","access":"a","schema":1}"#;

struct Driven {
    client: Client,
    now: Now,
    store: BTreeMap<Record, String>,
    asked: Vec<(u64, Request)>,
    stream: u64,
    settled: BTreeSet<String>,
}

/// Lines: a byte that says what comes, then its bytes.
pub fn client_frames(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut driven = prepared();
    for line in text.split('\n').take(64) {
        let Some(kind) = line.as_bytes().first().copied() else { continue };
        let Some(body) = line.get(1..) else { continue };
        driven.line(&text, kind, body);
    }
    // Whatever was said, what was saved can be taken up again.
    let records = driven.store.clone().into_iter().collect();
    let again = Client::new(config("b"), Loaded { records }).expect("this version wrote it");
    assert_eq!(again.unreadable().count(), 0, "what was saved can be read");
    let saved = driven.store.keys().filter(|record| matches!(record, Record::Entry(_))).count();
    assert_eq!(again.outbox().len(), saved);
}

fn config(source: &str) -> Config {
    Config { source: source.into(), seed: 1, delete_asks: true, subsets_bytes_max: 10_000 }
}

fn prepared() -> Driven {
    let client = Client::new(config("a"), Loaded::default()).expect("an empty store");
    let now = Now { wall_ms: 1_769_860_800_000, tick_ms: 0 };
    let mut driven =
        Driven { client, now, store: BTreeMap::new(), asked: Vec::new(), stream: 0, settled: BTreeSet::new() };
    driven.happens(Input::Lead { fence: 1 });
    driven.answer(200, SCHEMA);
    driven.answer(200, LIST);
    let stream = driven.stream;
    driven.happens(Input::Heard { stream });
    let entity = EntityKey::new("note", "1");
    let set = |field: &str| Edit::Set {
        entity: entity.clone(),
        fields: Map::from_iter([(field.to_owned(), Value::from("mine"))]).into(),
    };
    let add = Edit::Add { entity: entity.clone(), field: "votes".into(), by: 2.into() };
    for edit in [set("title"), set("body"), add, set("rank")] {
        driven.client.edit(driven.now, edit).expect("the row is there");
        driven.polls();
    }
    assert_eq!(driven.client.outbox().len(), 4, "it begins with rows, a stream and edits");
    driven
}

impl Driven {
    fn line(&mut self, whole: &str, kind: u8, body: &str) {
        let before: Vec<_> = self.client.outbox().iter().cloned().collect();
        let stream = self.stream;
        let mut frame = |event: &str| self.happens(Input::Frame { stream, event, data: body });
        match kind {
            b'c' => frame("change"),
            b'o' => frame("offset"),
            b'f' => frame("confirm"),
            b'r' => frame("reset"),
            b'n' => frame("notice"),
            b'0'..=b'9' => {
                let status = [200, 200, 200, 400, 401, 404, 409, 422, 429, 500][usize::from(kind - b'0')];
                self.answer(status, body);
            }
            b'x' => self.happens(Input::Ended { stream, status: None, retry_after_ms: None }),
            _ => {
                self.now.tick_ms += 3_000;
                self.now.wall_ms += 3_000;
                self.happens(Input::Tick);
            }
        }
        for entry in before {
            let kept = self.client.outbox().find(&entry.key).is_some();
            // An id may be written with escapes.
            let named = whole.contains(entry.id.as_str()) || whole.contains("\\u");
            let spoken = named || self.settled.contains(&entry.key);
            let went_on = self.client.outbox().iter().any(|other| other.change == entry.change);
            assert!(kept || spoken || went_on, "{entry:?} is gone, and nobody spoke of it");
        }
    }

    /// Answers the newest request that is open.
    fn answer(&mut self, status: u16, body: &str) {
        let Some((id, _)) = self.asked.pop() else { return };
        self.happens(Input::Answer { id, status, retry_after_ms: None, server_ms: None, body });
    }

    fn happens(&mut self, input: Input<'_>) {
        self.client.handle(self.now, input);
        self.polls();
    }

    fn polls(&mut self) {
        for number in 0.. {
            assert!(number < OUTPUTS_MAX, "polling ends");
            let Some(output) = self.client.poll() else { return };
            match output {
                Output::Request { id, request } => self.asked.push((id, request)),
                Output::Cancel { id } => self.asked.retain(|(asked, _)| *asked != id),
                Output::Open { stream, .. } => self.stream = stream,
                Output::Save { token, writes, .. } => {
                    writes.into_iter().for_each(|write| self.write(write));
                    self.client.handle(self.now, Input::Saved { token });
                }
                Output::Tell(told) => {
                    if let Told::Decided(line) = *told {
                        self.settled.insert(line.entry);
                    }
                }
                // Nobody else is there.
                Output::Close { .. } | Output::Claim { .. } | Output::Read { .. } | Output::Share { .. } => {}
            }
        }
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Put(record, text) => drop(self.store.insert(record, text)),
            Write::Remove(record) => drop(self.store.remove(&record)),
            Write::Clear { entity_type, generation } => self.store.retain(|record, _| {
                !matches!(record, Record::Row { generation: number, entity_type: name, .. }
                    if *number == generation && *name == entity_type)
            }),
        }
    }
}
