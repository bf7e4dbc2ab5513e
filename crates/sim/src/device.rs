//! A person's device: the shipped client machine with a store that may fail, on a network that does, in a process that
//! dies (SIM-01).
//!
//! Everything that the machine wants is done by tasks of the device's process, in virtual time; answers come back through
//! one queue. Laws: what the store has taken is there after a crash, and nothing else; after each step the watch compares
//! what the person sees with what the person did.

mod burst;
mod fate;
mod flight;
mod person;
mod wanting;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_sync::client::{Client, Config, Input, Loaded, Now, Output, Request as Wish, State, Told};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{flight::Flight, wanting::Wanted, watch::Watch};
use crate::{
    Clock, FinalView, Kind, Open, People, ProcessId, Request,
    came::{Came, short},
    checks::Truth,
    storage::Storage,
    typing::{Pen, Words},
    workload::Stage,
};

/// Things that may wait for the machine; more than it ever asks for at once.
const QUEUE_MAX: usize = 4_096;

/// Released subsets keep so little that some are let go of.
const BYTES_MAX: usize = 4_096;

/// The types of every run.
const TYPES: &[&str] = &["note", "page", "task"];

/// A device at work; cheap to clone.
#[derive(Clone)]
pub(crate) struct Device {
    stage: Stage,
    number: u32,
    process: ProcessId,
    pub(crate) subject: &'static str,
    pub(crate) org: &'static str,
    clock: Clock,
    storage: Storage,
    shared: Arc<Mutex<Shared>>,
}

/// What outlives the process, for checkers.
#[derive(Default)]
struct Shared {
    /// The machine of the present life.
    client: Option<Client>,
    lives: u64,
    offline: bool,
    /// What the person looks at: with the subscription of the present life.
    wanted: Vec<(u64, Wanted)>,
    opened: Vec<antiphon_sync::client::EntityKey>,
    watch: Watch,
    flight: Flight,
    /// How the person types, where people do, and the words.
    pen: Option<Pen>,
    words: Words,
    /// Whether the last step was a frame of the stream.
    streaming: bool,
    /// Cells of the table that former lives reached.
    reached: std::collections::BTreeMap<(State, antiphon_sync::client::Event), u64>,
}

impl Device {
    /// Makes a device; its clock may be wrong.
    pub(crate) fn new(stage: Stage, number: u32, process: ProcessId, who: (&'static str, &'static str)) -> Device {
        let dice = stage.simulation.dice();
        let off_us = match dice.below(10) {
            // Ten minutes ahead: what it makes is refused until it knows.
            0 => 600_000_000,
            1 => -3_600_000_000,
            _ => dice.below(4_000_000) as i64 - 2_000_000,
        };
        let clock = stage.simulation.clock().skewed(off_us);
        let storage = Storage::new(&stage.simulation, 0);
        let (subject, org) = who;
        let shared = Device::shared_of(&stage, number, org);
        Device { stage, number, process, subject, org, clock, storage, shared }
    }

    fn shared_of(stage: &Stage, number: u32, org: &'static str) -> Arc<Mutex<Shared>> {
        let pen = stage.typing.as_ref().map(|dice| Pen::new(dice, number, org));
        Arc::new(Mutex::new(Shared { pen, ..Shared::default() }))
    }

    /// Lives until the end: starts from its store, works, dies, starts again.
    pub(crate) async fn run(self) {
        loop {
            self.live().await;
            let ms = self.stage.simulation.dice().below(2_000);
            self.stage.simulation.clock().sleep_ms(ms).await;
        }
    }

    async fn live(&self) {
        let (sender, mut queue) = mpsc::channel(QUEUE_MAX);
        let over = CancellationToken::new();
        let dice = self.stage.simulation.dice().clone();
        // The store is read after its fence was raised, so that nobody else can have written since.
        let (fence, records) = self.storage.take();
        {
            let mut shared = self.shared();
            shared.lives += 1;
            let source = format!("d{}-{}", self.number, shared.lives);
            let config = Config {
                source,
                seed: dice.below(u64::MAX),
                delete_asks: !self.number.is_multiple_of(3),
                subsets_bytes_max: BYTES_MAX,
            };
            match Client::new(config, Loaded { records }) {
                Ok(mut client) => {
                    self.stage.law.into_iter().for_each(|law| client.break_law(law));
                    shared.client = Some(client);
                }
                Err(corrupt) => {
                    drop(shared);
                    return self.not_read(&corrupt);
                }
            }
        }
        let mut streams = Streams::default();
        let mut act_at_ms = self.now().tick_ms + dice.between(20, 3_000);
        self.step(|client, now| client.handle(now, Input::Lead { fence }));
        self.look_again();
        loop {
            self.perform(&sender, &over, &mut streams);
            let now = self.now();
            let wake = self.shared().client.as_ref().and_then(|client| client.wake_at_ms(now));
            let idle_ms = wake.map_or(60_000, |at_ms| at_ms.saturating_sub(now.tick_ms).clamp(1, 60_000));
            let busy = !self.stage.over.is_cancelled();
            if !busy {
                self.calm();
            }
            let act_ms = act_at_ms.saturating_sub(now.tick_ms);
            let type_ms = self.types_in_ms(now).filter(|_| busy);
            tokio::select! {
                biased;
                came = queue.recv() => if let Some(came) = came { self.take(came) },
                () = self.stage.simulation.clock().sleep_ms(idle_ms) => {
                    self.step(|client, now| client.handle(now, Input::Tick));
                }
                () = self.stage.simulation.clock().sleep_ms(act_ms), if busy => {
                    act_at_ms = self.now().tick_ms + dice.between(20, 3_000);
                    if self.act() {
                        self.stage.network.count("device died");
                        over.cancel();
                        return self.die();
                    }
                }
                () = self.stage.simulation.clock().sleep_ms(type_ms.unwrap_or_default()), if type_ms.is_some() => {
                    if self.type_on() {
                        self.stage.network.count("device died");
                        over.cancel();
                        return self.die();
                    }
                }
                () = self.stage.over.cancelled(), if busy => {}
            }
        }
    }

    /// Everything that was not saved is gone.
    fn die(&self) {
        let mut shared = self.shared();
        if let Some(client) = shared.client.take() {
            for (cell, count) in client.outbox().reached() {
                *shared.reached.entry(*cell).or_default() += count;
            }
        }
        shared.flight.reborn();
        shared.words.tab_died(0, &self.storage);
        let lives = shared.lives;
        shared.watch.died(lives, &self.storage);
    }

    /// The world is mended: the network is there, the disk takes what it is given.
    fn calm(&self) {
        self.shared().offline = false;
        self.storage.fill(false);
    }

    /// Lets the machine step, and looks at what the person sees before and after.
    fn step<T>(&self, step: impl FnOnce(&mut Client, Now) -> T) -> Option<T> {
        let now = self.now();
        let mut shared = self.shared();
        let Shared { client, watch, .. } = &mut *shared;
        let client = client.as_mut()?;
        watch.before(client);
        let result = step(client, now);
        watch.after(client);
        Some(result)
    }

    fn take(&self, came: Came) {
        self.say(|| came.say());
        {
            let mut shared = self.shared();
            shared.streaming = matches!(came, Came::Frame { .. });
            let cells = shared.client.iter().flat_map(|client| crate::coverage::of_client(client, &came.name()));
            cells.for_each(|cell| self.stage.recorder.reached(cell));
        }
        self.step(|client, now| came.hand(client, now));
    }

    fn perform(&self, sender: &mpsc::Sender<Came>, over: &CancellationToken, streams: &mut Streams) {
        loop {
            let output = self.shared().client.as_mut().and_then(Client::poll);
            let Some(output) = output else { return };
            self.say(|| format!("wants {}", short(&format!("{output:?}"))));
            self.inspect(&output);
            match output {
                Output::Request { id, request } => self.ask(id, request, sender.clone(), over.clone()),
                // Its answer is not looked for, so what comes is ignored by its number.
                Output::Cancel { .. } => {}
                Output::Open { stream, offset, epoch, access } => {
                    let closed = streams.open(over);
                    let open = Open {
                        token: People::token(self.subject),
                        org: self.org.to_owned(),
                        offset: offset.to_string(),
                        epoch: u32::try_from(epoch).ok(),
                        access: Some(access),
                        types: None,
                    };
                    let (device, sender) = (self.clone(), sender.clone());
                    self.stage.simulation.start(self.process, async move {
                        device.read(stream, open, &sender, &closed).await;
                    });
                }
                Output::Close { .. } => streams.close(),
                Output::Save { token, fence, writes } => {
                    let writer = (0, self.shared().lives);
                    let written = self.storage.write(writer, fence, writes);
                    let (sender, over) = (sender.clone(), over.clone());
                    self.stage.simulation.start(self.process, async move {
                        let came = match written.await {
                            Ok(()) => Came::Saved { token },
                            Err(reason) => Came::NotSaved { token, reason },
                        };
                        if !over.is_cancelled() {
                            drop(sender.try_send(came));
                        }
                    });
                }
                // A device of one tab: nobody is there to hear it.
                Output::Claim { .. } | Output::Read { .. } | Output::Share { .. } => {}
                Output::Tell(told) => self.told(*told),
            }
        }
    }

    fn say(&self, line: impl FnOnce() -> String) {
        self.stage.simulation.say(|| format!("device {} {}", self.number, line()));
    }

    /// Looks at what the machine wants before it is done.
    fn inspect(&self, output: &Output) {
        let mut shared = self.shared();
        let Shared { client, watch, flight, words, streaming, .. } = &mut *shared;
        let Some(client) = client else { return };
        let wrong = match output {
            Output::Request { request: Wish::Mutations { body }, .. } => {
                let wrong = flight.handed(client, body, &self.storage);
                let twice = flight.is_used_twice();
                wrong.or_else(|| words.handed(client, body, &self.stage.database).filter(|_| !twice))
            }
            Output::Tell(told) => match &**told {
                Told::Rows(rows) => flight.rows(client, rows, &self.stage.database, *streaming),
                _ => None,
            },
            _ => None,
        };
        wrong.into_iter().for_each(|wrong| watch.complain(wrong));
    }

    fn ask(&self, id: u64, wish: Wish, sender: mpsc::Sender<Came>, over: CancellationToken) {
        let kind = match wish {
            Wish::Schema => Kind::Schema,
            Wish::List { entity_type, after, limit: _ } => Kind::List { entity_type, after, limit: 4 },
            Wish::Subset { entity_type, parameters, after, limit } => {
                Kind::Subset { entity_type, parameters, after, limit: limit.min(2) }
            }
            Wish::Ids { entity_type, ids } => Kind::Ids { entity_type, ids },
            Wish::Mutations { body } => Kind::Mutate { body },
        };
        let device = self.clone();
        self.stage.simulation.start(self.process, async move {
            let number = device.stage.simulation.tick();
            let token = People::token(device.subject);
            let request = Request { id: number, token, org: device.org.to_owned(), kind };
            let server = device.stage.server().clone();
            let offline = device.shared().offline;
            let answer = match (offline, device.poisoned(&request)) {
                (true, _) => None,
                (false, Some(answer)) => Some(answer),
                (false, None) => device.stage.network.request(device.number, &server, request).await,
            };
            let came = match answer {
                None => Came::NoAnswer { id },
                Some(answer) => Came::Answer {
                    id,
                    status: answer.status,
                    retry_after_ms: answer.retry_after_ms,
                    server_ms: Some(device.stage.simulation.clock().now_ms()),
                    body: answer.body,
                },
            };
            if !over.is_cancelled() {
                drop(sender.try_send(came));
            }
        });
    }

    async fn read(&self, stream: u64, open: Open, sender: &mpsc::Sender<Came>, closed: &CancellationToken) {
        let server = self.stage.server().clone();
        let offline = self.shared().offline;
        let opened = match offline {
            true => Err(None),
            false => self.stage.network.open(self.number, &server, open).await,
        };
        let mut status = None;
        match opened {
            Ok(mut end) => loop {
                let frame = tokio::select! {
                    biased;
                    () = closed.cancelled() => return,
                    frame = end.next() => frame,
                };
                let Some(frame) = frame else { break };
                if self.shared().offline {
                    break;
                }
                self.note(stream, &frame);
                let came = Came::Frame { stream, event: frame.event, data: frame.data };
                if closed.is_cancelled() || sender.send(came).await.is_err() {
                    return;
                }
            },
            Err(Some((410, body))) => {
                let came = Came::Frame { stream, event: "reset", data: body };
                drop(sender.try_send(came));
                return;
            }
            Err(refused) => status = refused.map(|(status, _)| status),
        }
        if !closed.is_cancelled() {
            drop(sender.try_send(Came::Ended { stream, status }));
        }
    }

    fn note(&self, stream: u64, frame: &crate::StreamFrame) {
        if frame.event != "change" {
            return;
        }
        let shown = crate::Shown {
            reader: self.number,
            stream: self.shared().lives << 32 | stream,
            subject: self.subject.to_owned(),
            org: self.org.to_owned(),
            sent_us: frame.sent_us,
            activity: serde_json::from_str(&frame.data).unwrap_or_default(),
        };
        self.stage.recorder.note(|history| history.shown.push(shown));
    }

    fn told(&self, told: Told) {
        let mut shared = self.shared();
        match told {
            Told::Saved(keys) => shared.watch.saved(keys),
            Told::Nonsense(what) => shared.watch.complain(format!("our own server was not understood: {what}")),
            Told::Decided(line) => {
                self.stage.simulation.say(|| format!("device {} notes {line:?}", self.number));
                shared.watch.decided(&line);
                shared.words.decided(&line);
            }
            _ => {}
        }
    }

    fn now(&self) -> Now {
        Now { wall_ms: self.clock.now_ms(), tick_ms: self.stage.simulation.clock().elapsed_us() / 1_000 }
    }

    /// Tells whether it has heard everything, and everything that it was asked to do is done or waits for its person.
    pub(crate) fn settled(&self, epoch: u64, offset: u64) -> bool {
        let shared = self.shared();
        let Some(client) = &shared.client else { return false };
        let waiting = |entry: &antiphon_sync::client::Entry| match entry.state {
            State::Pending | State::Sent => client.waits(&entry.key).is_none(),
            State::Accepted => true,
            State::Conflicted | State::Failed => false,
        };
        let whole = |(number, _): &(u64, Wanted)| client.query(*number).is_some_and(|query| query.complete);
        shared.wanted.iter().all(whole)
            && client.position() >= (epoch, offset)
            && client.status().listed
            && !client.outbox().iter().any(waiting)
    }

    /// Returns what it shows of the confirmed rows.
    pub(crate) fn view(&self) -> FinalView {
        let shared = self.shared();
        let mut rows = std::collections::BTreeMap::new();
        if let Some(client) = &shared.client {
            for name in TYPES {
                for (id, row) in client.confirmed_rows(name) {
                    rows.insert(((*name).to_owned(), id.clone()), row.data.clone().into());
                }
            }
        }
        let types = TYPES.iter().map(|name| (*name).to_owned()).collect();
        let parts = Some(shared.wanted.iter().map(|(_, wanted)| wanted.part()).collect());
        FinalView {
            reader: self.number,
            subject: self.subject.to_owned(),
            org: self.org.to_owned(),
            types,
            parts,
            rows,
        }
    }

    /// Returns what is wrong with what its person saw, once the run is over.
    pub(crate) fn complaints(&self, truth: &Truth) -> Vec<String> {
        let mut shared = self.shared();
        let Shared { client, watch, flight, words, .. } = &mut *shared;
        let who = format!("device {} ({} in {})", self.number, self.subject, self.org);
        let lost = words.lost(client.as_ref(), &truth.written).filter(|_| !flight.is_used_twice());
        lost.into_iter().for_each(|lost| watch.complain(lost));
        flight.doubled(&truth.applied).into_iter().for_each(|wrong| watch.complain(wrong));
        let shared_with_twin = |key: &str| flight.is_shared(key);
        watch
            .finish(client.as_ref(), truth, &shared_with_twin)
            .into_iter()
            .map(|found| format!("{who}: {found}"))
            .collect()
    }

    /// Returns which cells of the table its lives reached.
    pub(crate) fn reached(&self) -> std::collections::BTreeMap<(State, antiphon_sync::client::Event), u64> {
        let shared = self.shared();
        let mut reached = shared.reached.clone();
        for (cell, count) in shared.client.iter().flat_map(|client| client.outbox().reached()) {
            *reached.entry(*cell).or_default() += count;
        }
        reached
    }

    /// Says where it stands, for people.
    pub(crate) fn describe(&self) -> String {
        let shared = self.shared();
        let client = shared.client.as_ref();
        let open = client.iter().flat_map(|client| client.outbox().iter().map(move |entry| (client, entry)));
        let open = open.filter(|(_, entry)| !matches!(entry.state, State::Conflicted | State::Failed));
        let entries: Vec<String> = open
            .map(|(client, entry)| {
                let (id, state, waits) = (&entry.entity.entity_id, entry.state, client.waits(&entry.key));
                let known = (entry.doubt, entry.xid, &entry.until, &entry.expected);
                format!("{} of {id} {state:?} {known:?} waits {waits:?}", entry.key)
            })
            .collect();
        let status = client.map(Client::status);
        let position = client.map(Client::position);
        format!("device {} life {} at {position:?} {status:?} {entries:?}", self.number, shared.lives)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // A panic ends the run.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one stream that is open.
#[derive(Default)]
struct Streams {
    open: Option<CancellationToken>,
}

impl Streams {
    fn open(&mut self, over: &CancellationToken) -> CancellationToken {
        self.close();
        let token = over.child_token();
        self.open = Some(token.clone());
        token
    }

    fn close(&mut self) {
        if let Some(token) = self.open.take() {
            token.cancel();
        }
    }
}
