//! The loop that connects a replica with its server: a driver, without an `if` about meaning.
//!
//! Laws: one thing at a time goes into the machine, and everything it asks for is performed before the next; queues are
//! bounded, so a slow disk slows the stream; when it ends, what was on its way is in doubt and kept. It refuses to keep
//! anything running after it has ended.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use antiphon_engine::{Fault, spawn};
use antiphon_model::Code;
use antiphon_sync::client::{Client, Entry, Input, Network, Now, Output, State, Told};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Replica,
    events::{Events, Word},
    http::{self, Answer, Http, Open},
    replica::lock,
};

/// Answers and frames that wait for the machine.
const QUEUE_MAX: usize = 64;
/// Without anything to wait for, the machine is looked at so often.
const IDLE: Duration = Duration::from_secs(60);

/// A server that does not answer is knocked at again after this long, and twice as long each time.
const KNOCK_FIRST: Duration = Duration::from_secs(1);
/// And at most this long.
const KNOCK_LONGEST: Duration = Duration::from_secs(30);

type Command = Box<dyn FnOnce(&mut Client, Now) + Send>;

/// What others want of a replica that runs.
pub(crate) struct Commands {
    sender: mpsc::Sender<Command>,
    queue: mpsc::Receiver<Command>,
}

impl Commands {
    pub(crate) fn new() -> Commands {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        Commands { sender, queue }
    }
}

/// Reaches a replica while it runs; what is asked while it does not waits for its next run.
#[derive(Clone)]
pub struct Handle {
    sender: mpsc::Sender<Command>,
}

impl Handle {
    /// Lets the machine do something between two of its steps; what it changed is saved right after.
    ///
    /// # Errors
    /// The replica is gone.
    pub async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Client, Now) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let gone = || Fault::new(Code::Shutdown, "the replica is closed");
        let (sender, answer) = oneshot::channel();
        let command: Command = Box::new(move |client, now| {
            // Whoever asked may have gone away; what was done stays done.
            drop(sender.send(act(client, now)));
        });
        self.sender.send(command).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

/// What `run` shows after each step.
#[derive(Debug)]
pub struct Moment<'a> {
    /// The machine.
    pub client: &'a Client,
    /// What was told in this step.
    pub told: &'a [Told],
    /// Whether everything that the server had has come, and everything that could be sent is confirmed.
    pub in_step: bool,
}

enum Came {
    Answer(u64, Option<Answer>),
    Frame(u64, String, String),
    Heard(u64),
    Ended(u64, Option<u16>, Option<u64>),
}

/// What is on its way.
#[derive(Default)]
struct Ways {
    requests: BTreeMap<u64, JoinHandle<()>>,
    stream: Option<JoinHandle<()>>,
    /// Whether the open stream has said that everything was delivered.
    caught_up: bool,
}

impl Drop for Ways {
    fn drop(&mut self) {
        self.requests.values().chain(&self.stream).for_each(JoinHandle::abort);
    }
}

impl Replica {
    /// Returns a way to reach the replica while it runs.
    pub fn reach(&self) -> Handle {
        Handle { sender: self.commands.sender.clone() }
    }

    /// Keeps in step with the server until `until` says so, or `stop` is cancelled; then the network is let go of.
    ///
    /// `until` is asked after each step. The future is not to be dropped before its end: a save
    /// that is on its way would not be heard of.
    pub async fn run(&mut self, stop: &CancellationToken, mut until: impl FnMut(&Moment<'_>) -> bool) {
        let (sender, mut queue) = mpsc::channel(QUEUE_MAX);
        let mut ways = Ways::default();
        if !self.knock(stop, &mut until).await {
            return;
        }
        self.handle(Input::Network { usable: true });
        loop {
            self.perform(&sender, &mut ways).await;
            let told = std::mem::take(&mut self.told);
            let in_step = ways.caught_up && is_settled(&self.client);
            if stop.is_cancelled() || until(&Moment { client: &self.client, told: &told, in_step }) {
                break;
            }
            let now = self.clock.now();
            let wake_at_ms = self.client.wake_at_ms(now);
            let wait = wake_at_ms.map_or(IDLE, |at_ms| Duration::from_millis(at_ms.saturating_sub(now.tick_ms)));
            tokio::select! {
                () = stop.cancelled() => {}
                Some(came) = queue.recv() => self.take(came, &mut ways),
                Some(command) = self.commands.queue.recv() => {
                    command(&mut self.client, self.clock.now());
                }
                () = sleep(wait.clamp(Duration::from_millis(1), IDLE)) => self.handle(Input::Tick),
            }
        }
        drop(ways);
        self.handle(Input::Network { usable: false });
        self.settle();
    }

    /// Waits until the server answers, so that nothing is handed over to nobody; tells whether the run is to go on.
    async fn knock(&mut self, stop: &CancellationToken, until: &mut impl FnMut(&Moment<'_>) -> bool) -> bool {
        let mut wait = KNOCK_FIRST;
        loop {
            let answered = tokio::select! {
                answered = self.http.is_answered() => answered,
                () = stop.cancelled() => false,
            };
            if answered {
                return true;
            }
            self.settle();
            let told = std::mem::take(&mut self.told);
            if stop.is_cancelled() || until(&Moment { client: &self.client, told: &told, in_step: false }) {
                return false;
            }
            let pause = sleep(wait + KNOCK_FIRST.mul_f64(self.clock.spread()));
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    Some(command) = self.commands.queue.recv() => {
                        command(&mut self.client, self.clock.now());
                        self.settle();
                    }
                    () = &mut pause => break,
                }
            }
            wait = (wait * 2).min(KNOCK_LONGEST);
        }
    }

    async fn perform(&mut self, sender: &mpsc::Sender<Came>, ways: &mut Ways) {
        while let Some(output) = self.client.poll() {
            match output {
                Output::Request { id, request } => {
                    let key_parts = key_parts(&self.client, &request);
                    let (http, sender) = (self.http.clone(), sender.clone());
                    let task = spawn("replica request", async move {
                        let answer = http.ask(request, key_parts).await;
                        // The loop that asked may have ended.
                        drop(sender.send(Came::Answer(id, answer)).await);
                    });
                    ways.requests.insert(id, task);
                }
                Output::Cancel { id } => {
                    if let Some(task) = ways.requests.remove(&id) {
                        task.abort();
                    }
                }
                Output::Open { stream, offset, epoch, access } => {
                    let (http, sender) = (self.http.clone(), sender.clone());
                    let open = Open { offset, epoch, access };
                    ways.caught_up = false;
                    let task = spawn("replica stream", async move { follow(stream, &http, &open, &sender).await });
                    if let Some(former) = ways.stream.replace(task) {
                        former.abort();
                    }
                }
                Output::Close { .. } => {
                    ways.caught_up = false;
                    if let Some(task) = ways.stream.take() {
                        task.abort();
                    }
                }
                Output::Save { token, fence, writes } => {
                    self.look_at_undo();
                    let (disk, undo) = (Arc::clone(&self.disk), self.undo.clone());
                    let work =
                        tokio::task::spawn_blocking(move || lock(&disk).save_with(fence, &writes, undo.as_deref()));
                    let saved = work.await.unwrap_or_else(|error| Err(crate::NotSaved::Other(error.to_string())));
                    self.saved(token, saved);
                }
                Output::Claim { .. } => self.claimed(),
                Output::Read { token, all } => self.read_again(token, all),
                Output::Share { .. } => {}
                Output::Tell(told) => self.told.push(*told),
            }
        }
    }

    fn take(&mut self, came: Came, ways: &mut Ways) {
        match came {
            Came::Answer(id, answer) => {
                ways.requests.remove(&id);
                match answer {
                    None => self.handle(Input::NoAnswer { id }),
                    Some(Answer { status, retry_after_ms, server_ms, body }) => {
                        self.handle(Input::Answer { id, status, retry_after_ms, server_ms, body: &body });
                    }
                }
            }
            Came::Frame(stream, event, data) => {
                // The first of these comes after catch-up (protocol 4).
                ways.caught_up |= event == "offset";
                self.handle(Input::Frame { stream, event: &event, data: &data });
            }
            Came::Heard(stream) => self.handle(Input::Heard { stream }),
            Came::Ended(stream, status, retry_after_ms) => {
                ways.caught_up = false;
                self.handle(Input::Ended { stream, status, retry_after_ms });
            }
        }
    }
}

/// Tells whether nothing is left to be done but by a person, or by time.
fn is_settled(client: &Client) -> bool {
    let status = client.status();
    let waiting = |entry: &Entry| match entry.state {
        State::Pending => client.waits(&entry.key).is_none(),
        State::Sent | State::Accepted => true,
        State::Conflicted | State::Failed => false,
    };
    status.network == Network::Online && status.listed && !client.outbox().iter().any(waiting)
}

/// Returns how many columns name a row of the type that is asked for.
fn key_parts(client: &Client, request: &antiphon_sync::client::Request) -> usize {
    let antiphon_sync::client::Request::Ids { entity_type, .. } = request else { return 1 };
    client.schema().and_then(|schema| schema.types.get(entity_type)).map_or(1, |shape| shape.key.len())
}

/// Reads a stream to its end; whoever opened it ends this task.
async fn follow(stream: u64, http: &Http, open: &Open, sender: &mpsc::Sender<Came>) {
    let (status, mut retry_ms) = match http.open(open).await {
        None => (None, None),
        Some(response) if response.status().as_u16() == 200 => {
            let mut retry_ms = None;
            if !frames(stream, response, sender, &mut retry_ms).await {
                return;
            }
            (None, retry_ms)
        }
        Some(response) => {
            let (status, after_ms) = (response.status().as_u16(), http::retry_after_ms(&response));
            if status == 410
                && let Some(answer) = http::read(response).await
            {
                // A reset before anything was streamed.
                drop(sender.send(Came::Frame(stream, "reset".into(), answer.body)).await);
                return;
            }
            (Some(status), after_ms)
        }
    };
    drop(sender.send(Came::Ended(stream, status, retry_ms.take())).await);
}

/// Hands frames on; tells whether anyone still listens.
async fn frames(
    stream: u64,
    mut response: reqwest::Response,
    sender: &mpsc::Sender<Came>,
    retry_ms: &mut Option<u64>,
) -> bool {
    let mut events = Events::default();
    if sender.send(Came::Heard(stream)).await.is_err() {
        return false;
    }
    while let Ok(Some(part)) = response.chunk().await {
        let Some(words) = events.push(&part) else { return true };
        for word in words {
            let came = match word {
                Word::Event(event, data) => Came::Frame(stream, event, data),
                Word::Alive => Came::Heard(stream),
                Word::Retry(ms) => {
                    *retry_ms = Some(ms);
                    continue;
                }
            };
            if sender.send(came).await.is_err() {
                return false;
            }
        }
    }
    true
}
