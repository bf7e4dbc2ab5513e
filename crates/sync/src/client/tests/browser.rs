//! A browser with several tabs over one store and a channel between them, by hand: tabs freeze, go deaf, close, are copied.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::{super::*, note, server::Server};

/// A tab.
pub struct Tab {
    pub client: Client,
    stream: Option<(u64, u64)>,
    pub told: Vec<Told>,
    inbox: VecDeque<String>,
    /// It does nothing, and what is said meanwhile is lost.
    pub frozen: bool,
    /// It loses what is said.
    pub deaf: bool,
    /// It has no room to save anything.
    pub full: bool,
    /// Reads that were asked for.
    pub reads: usize,
}

/// Tabs, their store, and the server.
pub struct Browser {
    pub tabs: Vec<Tab>,
    pub store: BTreeMap<Record, String>,
    /// The store's fence.
    pub fence: u64,
    /// Which tab saved under which fence.
    pub saved: Vec<(u64, usize)>,
    pub server: Server,
    pub now: Now,
    pub online: bool,
    /// What was said, in order.
    pub said: Vec<String>,
}

impl Browser {
    /// A browser with one tab that leads and has listed a note.
    pub fn new() -> Browser {
        Browser::keeping("all")
    }

    /// The same, of a type that is kept whole, or in parts.
    pub fn keeping(sync: &'static str) -> Browser {
        let mut server = Server::new();
        server.sync = sync;
        server
            .sql("1", json!({ "id": "1", "title": "t", "body": "one two three", "rank": 1, "votes": 0, "labels": [] }));
        let mut browser = Browser {
            tabs: Vec::new(),
            store: BTreeMap::new(),
            fence: 1,
            saved: Vec::new(),
            server,
            now: Now { wall_ms: 1_769_860_800_000, tick_ms: 0 },
            online: true,
            said: Vec::new(),
        };
        let first = browser.open("a");
        browser.tabs[first].client.handle(browser.now, Input::Lead { fence: 1 });
        browser.settle();
        browser
    }

    /// Opens a tab, which follows.
    pub fn open(&mut self, source: &str) -> usize {
        let records = self.records();
        let config = Config {
            source: source.into(),
            seed: 7 + self.tabs.len() as u64,
            delete_asks: true,
            subsets_bytes_max: 1 << 20,
        };
        let client = Client::new(config, Loaded { records }).unwrap();
        self.tabs.push(Tab {
            client,
            stream: None,
            told: Vec::new(),
            inbox: VecDeque::new(),
            frozen: false,
            deaf: false,
            full: false,
            reads: 0,
        });
        let at = self.tabs.len() - 1;
        if at > 0 {
            self.handle(at, Input::Tick);
        }
        at
    }

    /// A browser with a tab that leads and one that follows.
    pub fn two() -> Browser {
        let mut browser = Browser::new();
        browser.open("b");
        browser.settle();
        browser
    }

    fn records(&self) -> Vec<(Record, String)> {
        self.store.iter().map(|(record, text)| (record.clone(), text.clone())).collect()
    }

    pub fn handle(&mut self, at: usize, input: Input<'_>) {
        self.tabs[at].client.handle(self.now, input);
    }

    pub fn pass(&mut self, ms: u64) {
        self.now.wall_ms += ms;
        self.now.tick_ms += ms;
        for tab in self.tabs.iter_mut().filter(|tab| !tab.frozen) {
            tab.client.handle(self.now, Input::Tick);
        }
    }

    /// Goes on until nothing is left to be done at this moment.
    pub fn settle(&mut self) {
        for _ in 0..1_000 {
            let mut quiet = true;
            for at in 0..self.tabs.len() {
                quiet &= !self.turn(at);
            }
            if quiet {
                return;
            }
        }
        panic!("it never came to rest");
    }

    /// Lets time pass, second by second.
    pub fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.settle();
            self.pass(1_000);
        }
        self.settle();
    }

    /// Lets a tab do what it wants; tells whether it wanted anything.
    pub fn turn(&mut self, at: usize) -> bool {
        if self.tabs[at].frozen {
            return false;
        }
        let mut busy = false;
        while let Some(output) = self.tabs[at].client.poll() {
            busy = true;
            self.perform(at, output);
        }
        if let Some(message) = self.tabs[at].inbox.pop_front() {
            busy = true;
            self.handle(at, Input::Shared { message: &message });
        }
        if let Some((stream, offset)) = self.tabs[at].stream.filter(|_| self.online) {
            let (frames, upto) = self.server.frames(offset, "alice");
            if upto > offset {
                busy = true;
                self.tabs[at].stream = Some((stream, upto));
                for (event, data) in frames {
                    self.handle(at, Input::Frame { stream, event: &event, data: &data.to_string() });
                }
            }
        }
        busy
    }

    fn perform(&mut self, at: usize, output: Output) {
        match output {
            Output::Request { id, request } => {
                if !self.online {
                    return self.handle(at, Input::NoAnswer { id });
                }
                let (status, body) = self.server.answer(&request);
                let body = body.to_string();
                self.handle(at, Input::Answer { id, status, retry_after_ms: None, server_ms: None, body: &body });
            }
            Output::Open { stream, .. } if self.server.outsider => {
                self.handle(at, Input::Ended { stream, status: Some(403), retry_after_ms: None });
            }
            Output::Open { stream, epoch, .. } if self.online && epoch != self.server.epoch => {
                let reset = json!({ "code": "EPOCH_CHANGED", "epoch": self.server.epoch }).to_string();
                self.handle(at, Input::Frame { stream, event: "reset", data: &reset });
            }
            Output::Open { stream, offset, .. } => match self.online {
                true => {
                    self.tabs[at].stream = Some((stream, offset));
                    self.handle(at, Input::Heard { stream });
                }
                false => self.handle(at, Input::Ended { stream, status: None, retry_after_ms: None }),
            },
            Output::Cancel { .. } => {}
            Output::Close { .. } => self.tabs[at].stream = None,
            Output::Save { token, fence, writes } => self.save(at, token, fence, writes),
            Output::Claim { beyond } => {
                let won = beyond == self.fence;
                self.fence += u64::from(won);
                let fence = self.fence;
                self.handle(at, Input::Claimed { fence, won });
            }
            Output::Read { token, all } => {
                self.tabs[at].reads += usize::from(all);
                let mut records = self.records();
                records.retain(|(record, _)| all || matches!(record, Record::Entry(_)));
                self.handle(at, Input::Read { token, records: &records });
            }
            Output::Share { message } => {
                self.said.push(message.clone());
                for (_, tab) in self.tabs.iter_mut().enumerate().filter(|(other, _)| *other != at) {
                    if !tab.frozen && !tab.deaf {
                        tab.inbox.push_back(message.clone());
                    }
                }
            }
            Output::Tell(told) => self.tabs[at].told.push(*told),
        }
    }

    fn save(&mut self, at: usize, token: u64, fence: Option<u64>, writes: Vec<Write>) {
        if fence.is_some_and(|fence| fence != self.fence) {
            return self.handle(at, Input::NotSaved { token, reason: "fenced" });
        }
        if self.tabs[at].full {
            return self.handle(at, Input::NotSaved { token, reason: "full" });
        }
        let exists = |write: &Write| matches!(write, Write::Put(record, _) if self.store.contains_key(record));
        if fence.is_none() && writes.iter().any(exists) {
            return self.handle(at, Input::NotSaved { token, reason: "exists" });
        }
        if let Some(fence) = fence {
            self.saved.push((fence, at));
        }
        for write in writes {
            match write {
                Write::Put(record, text) => drop(self.store.insert(record, text)),
                Write::Remove(record) => drop(self.store.remove(&record)),
                Write::Clear { entity_type, generation } => self.store.retain(|record, _| {
                    !matches!(record, Record::Row { generation: g, entity_type: t, .. }
                        if *g == generation && *t == entity_type)
                }),
            }
        }
        self.handle(at, Input::Saved { token });
    }

    pub fn edit(&mut self, at: usize, edit: Edit) -> Option<EntryKey> {
        self.now.wall_ms += 1;
        self.tabs[at].client.edit(self.now, edit).unwrap().group
    }

    pub fn set(&mut self, at: usize, field: &str, value: impl Into<crate::json::Value>) -> Option<EntryKey> {
        self.edit(at, Edit::Set { entity: note("1"), fields: [(field, value.into())].into() })
    }

    pub fn shows(&self, at: usize, field: &str) -> Value {
        self.tabs[at].client.view(&note("1")).map_or(Value::Null, |row| row[field].clone().into())
    }

    pub fn roles(&self) -> Vec<Role> {
        self.tabs.iter().map(|tab| tab.client.role()).collect()
    }

    pub fn outbox(&self, at: usize) -> Vec<&Entry> {
        self.tabs[at].client.outbox().iter().collect()
    }

    /// The tab is gone without a word.
    pub fn kill(&mut self, at: usize) {
        self.tabs[at].frozen = true;
    }

    /// The network is gone; a frozen tab does not learn of it.
    pub fn offline(&mut self) {
        self.online = false;
        for at in 0..self.tabs.len() {
            if !self.tabs[at].frozen
                && let Some((stream, _)) = self.tabs[at].stream.take()
            {
                self.handle(at, Input::Ended { stream, status: None, retry_after_ms: None });
            }
        }
    }
}
