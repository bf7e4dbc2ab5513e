//! A person's device: the shipped client machine with a store that may fail, on a network that does, in a process that
//! dies (SIM-01).
//!
//! Everything that the machine wants is done by tasks of the device's process, in virtual time; answers come back through
//! one queue. Laws: what the store has taken is there after a crash, and nothing else; after each step the watch compares
//! what the person sees with what the person did.

mod burst;
mod driver;
mod fate;
mod flight;
mod person;
mod wanting;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_sync::client::{Client, Config, Input, Loaded, Now, State};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{driver::Streams, flight::Flight, wanting::Wanted, watch::Watch};
use crate::{
    Clock, FinalView, ProcessId,
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
