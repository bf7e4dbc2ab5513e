//! The network between clients and servers, and what it does to what it carries (SIM-01).
//!
//! Requests and answers are delayed, lost, doubled and overtake each other; frames of one stream keep their order, until
//! it is cut or turns half open, when bytes vanish and nobody is told. Law: every fault follows from the dice, and is
//! counted by its kind.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{mpsc, oneshot};

use crate::{Answer, Open, ProcessId, Request, Server, Simulation, StreamFrame};

/// The process that carries things; nothing kills it.
const NETWORK: ProcessId = ProcessId(u32::MAX - 1);
/// Who gets no answer gives up after this time.
pub const REQUEST_TIMEOUT_MS: u64 = 10_000;
/// A link that is half open for a while is so for this long.
const STALLED_MS: u64 = 10_000;
/// Frames that one end may have on the way to the other.
const FRAMES_MAX: usize = 8;

/// How often what goes wrong, in permille; and how long things take, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A request is lost on its way.
    pub request_lost: u64,
    /// An answer is lost on its way.
    pub answer_lost: u64,
    /// A request arrives twice.
    pub doubled: u64,
    /// A delay is a long one.
    pub slow: u64,
    /// The longest of ordinary delays.
    pub delay_ms: u64,
    /// The longest of long ones.
    pub slow_ms: u64,
    /// A frame is the last one before its stream is cut.
    pub stream_cut: u64,
    /// A frame is the last one before its stream turns half open.
    pub half_open: u64,
}

impl Faults {
    /// A network that only takes time.
    pub const NONE: Faults = Faults {
        request_lost: 0,
        answer_lost: 0,
        doubled: 0,
        slow: 0,
        delay_ms: 5,
        slow_ms: 0,
        stream_cut: 0,
        half_open: 0,
    };
    /// A bad one.
    pub const HARSH: Faults = Faults {
        request_lost: 30,
        answer_lost: 40,
        doubled: 40,
        slow: 50,
        delay_ms: 20,
        slow_ms: 3_000,
        stream_cut: 8,
        half_open: 4,
    };
}

/// Counts by kind.
pub type Counts = BTreeMap<&'static str, u64>;

/// The network; cheap to clone.
#[derive(Clone)]
pub struct Network {
    simulation: Simulation,
    state: Arc<Mutex<State>>,
}

struct State {
    faults: Faults,
    counts: Counts,
    /// Pairs of client and server that do not reach each other.
    parted: BTreeSet<(u32, ProcessId)>,
}

impl Network {
    /// Makes a network.
    pub fn new(simulation: &Simulation, faults: Faults) -> Network {
        let state = State { faults, counts: Counts::new(), parted: BTreeSet::new() };
        Network { simulation: simulation.clone(), state: Arc::new(Mutex::new(state)) }
    }

    /// Changes what goes wrong from now on.
    pub fn set(&self, faults: Faults) {
        let mut state = self.state();
        state.faults = faults;
        state.parted.clear();
    }

    /// Parts a client and a server, or brings them together.
    pub fn part(&self, client: u32, server: ProcessId, parted: bool) {
        let mut state = self.state();
        match parted {
            true => state.parted.insert((client, server)),
            false => state.parted.remove(&(client, server)),
        };
    }

    /// Counts something that was done to the world.
    pub fn count(&self, kind: &'static str) {
        *self.state().counts.entry(kind).or_default() += 1;
    }

    /// Returns what was done so far.
    pub fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// Carries a request to a server and its answer back; `None` where neither came in time.
    pub async fn request(&self, client: u32, server: &Server, request: Request) -> Option<Answer> {
        let (answered, answer) = mpsc::channel(2);
        self.simulation.say(|| {
            let kind: String = format!("{:?}", request.kind).chars().take(1_000).collect();
            format!("client {client} asks server {} {}: {kind}", server.process().0, request.id)
        });
        let copies = if self.happens("request doubled", |faults| faults.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            self.carry(client, server.clone(), request.clone(), answered.clone());
        }
        drop(answered);
        self.within(REQUEST_TIMEOUT_MS, answer).await
    }

    /// Opens a stream; `Err` with the status and body of a refusal, or with nothing where nobody answers.
    ///
    /// # Errors
    /// Fails where the server refuses, or where nothing comes back.
    pub async fn open(&self, client: u32, server: &Server, open: Open) -> Result<StreamEnd, Option<(u16, String)>> {
        let (answered, mut answer) = mpsc::channel(1);
        let (network, to) = (self.clone(), server.clone());
        self.simulation.start(NETWORK, async move {
            if !network.travel(client, &to, "request lost", |faults| faults.request_lost).await {
                return network.simulation.clock().sleep_ms(REQUEST_TIMEOUT_MS).await;
            }
            let (opened, frames) = oneshot::channel();
            let asked = to.clone();
            network.simulation.start(to.process(), async move {
                // Who asked may be gone.
                let result = asked.open(open).await;
                if opened.send(result).is_err() {
                    // The stream ends with its reader.
                }
            });
            let Ok(Some(result)) = frames.await else { return };
            match result {
                Err(refused) => {
                    if network.travel(client, &to, "answer lost", |faults| faults.answer_lost).await {
                        drop(answered.try_send(Err(refused)));
                    }
                }
                Ok(frames) => {
                    let (sender, received) = mpsc::channel(FRAMES_MAX);
                    drop(answered.try_send(Ok(received)));
                    network.relay(client, &to, frames, sender).await;
                }
            }
        });
        let opened = tokio::select! {
            biased;
            opened = answer.recv() => opened,
            () = self.simulation.clock().sleep_ms(REQUEST_TIMEOUT_MS) => None,
        };
        match opened {
            Some(Ok(frames)) => Ok(StreamEnd { frames }),
            Some(Err(refused)) => Err(Some(refused)),
            None => Err(None),
        }
    }

    /// Hands frames on in their order until one end is gone, or until the dice cut it.
    async fn relay(
        &self,
        client: u32,
        server: &Server,
        mut frames: mpsc::Receiver<StreamFrame>,
        to: mpsc::Sender<StreamFrame>,
    ) {
        loop {
            let frame = tokio::select! {
                biased;
                () = to.closed() => return,
                frame = frames.recv() => frame,
            };
            let Some(frame) = frame else { return };
            self.delay().await;
            let parted = self.state().parted.contains(&(client, server.process()));
            let half_open = self.happens("stream half open", |faults| faults.half_open);
            if half_open && self.simulation.dice().permille(500) {
                // Everything arrives, but ten seconds late, in one heap.
                self.simulation.clock().sleep_ms(STALLED_MS).await;
            } else if parted || half_open {
                // Both ends believe in the stream; nothing arrives any more.
                to.closed().await;
                return;
            }
            if self.happens("stream cut", |faults| faults.stream_cut) || to.send(frame).await.is_err() {
                return;
            }
        }
    }

    /// Carries one copy of a request, and its answer.
    fn carry(&self, client: u32, server: Server, request: Request, answered: mpsc::Sender<Answer>) {
        let network = self.clone();
        self.simulation.start(NETWORK, async move {
            if !network.travel(client, &server, "request lost", |faults| faults.request_lost).await {
                // Nothing tells the sender: it waits in vain.
                return network.simulation.clock().sleep_ms(REQUEST_TIMEOUT_MS).await;
            }
            let (done, answer) = oneshot::channel();
            let asked = server.clone();
            network.simulation.start(server.process(), async move {
                let result = asked.answer(request).await;
                if done.send(result).is_err() {
                    // Nobody waits any more; what was done is done.
                }
            });
            let Ok(Some(answer)) = answer.await else { return };
            let said = |answer: &Answer| answer.body.chars().take(600).collect::<String>();
            network.simulation.say(|| {
                let (server, Answer { id, status, .. }) = (server.process().0, &answer);
                format!("server {server} answers {id} of client {client}: {status} {}", said(&answer))
            });
            if !network.travel(client, &server, "answer lost", |faults| faults.answer_lost).await {
                // Nothing tells the sender: it waits in vain.
                return network.simulation.clock().sleep_ms(REQUEST_TIMEOUT_MS).await;
            }
            // The first copy's answer is taken.
            drop(answered.try_send(answer));
        });
    }

    /// Takes the time of one way; `false` where what travels is lost.
    async fn travel(&self, client: u32, server: &Server, kind: &'static str, chance: fn(&Faults) -> u64) -> bool {
        self.delay().await;
        let parted = self.state().parted.contains(&(client, server.process()));
        !parted && !self.happens(kind, chance)
    }

    async fn delay(&self) {
        let faults = self.state().faults;
        let dice = self.simulation.dice();
        let slow = self.happens("slow link", |faults| faults.slow);
        let ms = if slow { dice.between(faults.delay_ms, faults.slow_ms) } else { dice.below(faults.delay_ms) };
        self.simulation.clock().sleep_ms(ms).await;
    }

    async fn within<T>(&self, ms: u64, mut receiver: mpsc::Receiver<T>) -> Option<T> {
        tokio::select! {
            biased;
            received = receiver.recv() => received,
            () = self.simulation.clock().sleep_ms(ms) => None,
        }
    }

    fn happens(&self, kind: &'static str, chance: fn(&Faults) -> u64) -> bool {
        let chance = chance(&self.state().faults);
        let happens = self.simulation.dice().permille(chance);
        if happens {
            self.count(kind);
        }
        happens
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic ends the run.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client's end of a stream.
pub struct StreamEnd {
    frames: mpsc::Receiver<StreamFrame>,
}

impl StreamEnd {
    /// Returns the next frame; `None` where the stream was cut. A half open one never returns.
    pub async fn next(&mut self) -> Option<StreamFrame> {
        self.frames.recv().await
    }

    /// Returns the next frame if it is there.
    pub fn ready(&mut self) -> Option<StreamFrame> {
        self.frames.try_recv().ok()
    }
}
