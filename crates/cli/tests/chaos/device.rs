//! One client with its rows and its outbox: it edits whether or not there is a connection, sends what it has until there
//! is an answer, and reads on where it stood.
//!
//! What it does is random by its seed; when, depends on the links. It never gives an edit up by itself.

mod outbox;
mod replica;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use antiphon_testkit::{Sse, request, spawn, sse};
use anyhow::{Context, Result, bail};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IteratorRandom};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::timeout};

pub use self::{
    outbox::{Applied, Kind, Outbox},
    replica::Replica,
};

/// An answer that takes longer is taken for lost.
const ANSWER: Duration = Duration::from_millis(2_500);
/// A stream without a word for so long is opened anew.
const SILENCE: Duration = Duration::from_millis(2_500);
/// After a reset, what was applied and is not shown for so long is listed.
const UNSHOWN: Duration = Duration::from_secs(3);
/// So many edits wait before the person stops typing.
const OUTBOX_MAX: usize = 40;
/// So many rows are enough.
pub const ROWS_MAX: usize = 300;

/// Who a device belongs to and where it connects.
#[derive(Clone, Debug)]
pub struct Owner {
    pub name: String,
    pub user: &'static str,
    pub org: &'static str,
    pub token: String,
    pub base: String,
    pub seed: u64,
}

/// What a device knows.
#[derive(Debug, Default)]
pub struct State {
    pub outbox: Outbox,
    pub replica: Replica,
    clock: (u128, u32),
    /// Whether a reset was told: what is applied between a list and the new epoch's first row comes with neither, and the
    /// copied row may have the id of a later writer only, so a device asks for it.
    reset: bool,
    /// Answers and events that no faithful server gives.
    pub complaints: Vec<String>,
    /// Codes with which the server put edits off, kept because a person would be shown them.
    pub put_off: std::collections::BTreeMap<String, u64>,
}

/// A device and its tasks; dropping it ends them, what it knows stays with whoever holds it.
#[derive(Debug)]
pub struct Device {
    pub owner: Owner,
    state: Mutex<State>,
    editing: AtomicBool,
}

/// A device that runs.
#[derive(Debug)]
pub struct Running {
    pub device: Arc<Device>,
    tasks: [JoinHandle<()>; 3],
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Running {
    /// Starts a device that does not edit yet.
    pub fn start(owner: Owner) -> Running {
        let seed = owner.seed;
        let device = Arc::new(Device { owner, state: Mutex::default(), editing: AtomicBool::new(false) });
        let random = |number: u64| StdRng::seed_from_u64(seed ^ number << 32);
        let tasks = [
            spawn("device edits", Arc::clone(&device).edit(random(1))),
            spawn("device sends", Arc::clone(&device).send(random(2))),
            spawn("device reads", Arc::clone(&device).read(random(3))),
        ];
        Running { device, tasks }
    }
}

impl Device {
    /// Lets the person type, or stop.
    pub fn set_editing(&self, on: bool) {
        self.editing.store(on, Ordering::Relaxed);
    }

    /// Looks at what it knows.
    pub fn look(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it looked has failed already.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Types, online or not.
    async fn edit(self: Arc<Device>, mut random: StdRng) {
        loop {
            tokio::time::sleep(Duration::from_millis(random.random_range(5..60))).await;
            if self.editing.load(Ordering::Relaxed) {
                self.look().type_something(&self.owner.name, &mut random);
            }
        }
    }

    /// Sends, again and again under the same ids.
    async fn send(self: Arc<Device>, mut random: StdRng) {
        loop {
            let batch = self.look().outbox.batch(&self.owner.name, random.random_range(1..=6));
            if batch.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            if let Err(error) = self.post(batch).await {
                tracing::debug!(%error, "{} sends again", self.owner.name);
                tokio::time::sleep(Duration::from_millis(random.random_range(20..150))).await;
            }
        }
    }

    async fn post(&self, batch: Vec<Value>) -> Result<()> {
        let url = format!("{}/v1/orgs/{}/mutations", self.owner.base, self.owner.org);
        let body = json!({ "mutations": batch }).to_string();
        let headers = [("content-type", "application/json")];
        let sent = request("POST", &url, Some(&self.owner.token), &headers, body.as_bytes());
        let answer = timeout(ANSWER, sent).await.context("no answer")??;
        let document = answer.json()?;
        let mut state = self.look();
        if answer.status != 200 {
            let code = document["code"].as_str().unwrap_or_default().to_owned();
            if !matches!(answer.status, 429 | 503) {
                state.complaints.push(format!("a batch was answered by {}: {document}", answer.status));
            }
            *state.put_off.entry(code.clone()).or_default() += 1;
            bail!("{} {code}", answer.status);
        }
        for result in document["results"].as_array().context("no results")? {
            let State { outbox, clock, complaints, replica, .. } = &mut *state;
            let next = |above: &str| next_id(clock, &self.owner.name, above);
            complaints.extend(outbox.answer(result, next).err());
            outbox.covered(|xid| replica.sees(xid));
        }
        Ok(())
    }

    /// Lists, then follows the stream; after each cut it goes on where it stood.
    async fn read(self: Arc<Device>, mut random: StdRng) {
        let mut last: Option<String> = None;
        loop {
            if self.look().misses_something() {
                self.look().replica.position = None;
            }
            if self.look().replica.position.is_none() {
                last = None;
                if let Err(error) = self.list().await {
                    tracing::debug!(%error, "{} lists again", self.owner.name);
                    tokio::time::sleep(Duration::from_millis(random.random_range(20..150))).await;
                    continue;
                }
            }
            if let Err(error) = self.follow(&mut last).await {
                tracing::debug!(%error, "{} reads on", self.owner.name);
                tokio::time::sleep(Duration::from_millis(random.random_range(10..80))).await;
            }
        }
    }

    async fn list(&self) -> Result<()> {
        let url = format!("{}/v1/orgs/{}/entities/note?limit=1000", self.owner.base, self.owner.org);
        let answer = timeout(ANSWER, request("GET", &url, Some(&self.owner.token), &[], &[])).await??;
        anyhow::ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        let mut state = self.look();
        let State { outbox, replica, .. } = &mut *state;
        replica.list(&answer.json()?)?;
        outbox.covered(|xid| replica.sees(xid));
        Ok(())
    }

    async fn follow(&self, last: &mut Option<String>) -> Result<()> {
        let position = self.look().replica.position.clone().context("no list")?;
        let (base, org) = (&self.owner.base, self.owner.org);
        let (offset, epoch, access) = (position.offset, position.epoch, position.access);
        let url = format!("{base}/v1/orgs/{org}/live?live=sse&offset={offset}&epoch={epoch}&access={access}");
        let opened = timeout(ANSWER, sse(&url, Some(&self.owner.token), last.as_deref())).await;
        let mut stream: Sse = opened.context("no stream")??;
        while let Some(event) = stream.next(SILENCE).await? {
            let data: Value = serde_json::from_str(&event.data)?;
            let mut state = self.look();
            let State { outbox, replica, .. } = &mut *state;
            match event.event.as_str() {
                "change" => {
                    let ids = replica.change(&data)?;
                    outbox.confirm(ids.iter().map(String::as_str));
                }
                "confirm" => {
                    let ids = data["transactionIds"].as_array().into_iter().flatten();
                    outbox.confirm(ids.filter_map(Value::as_str));
                }
                "reset" => {
                    replica.position = None;
                    state.reset = true;
                    return Ok(());
                }
                "offset" | "notice" => {}
                other => state.complaints.push(format!("an event of no known kind: {other} {data}")),
            }
            *last = event.id.or(last.take());
            if state.misses_something() {
                return Ok(());
            }
        }
        bail!("the stream ended")
    }
}

impl State {
    fn misses_something(&self) -> bool {
        self.reset && self.outbox.waits(UNSHOWN)
    }

    /// Makes one edit of what the device sees.
    fn type_something(&mut self, name: &str, random: &mut StdRng) {
        if self.outbox.entries.len() >= OUTBOX_MAX {
            return;
        }
        let rows = &self.replica.rows;
        let doomed = |entity: &str| self.outbox.entries.iter().any(|e| e.entity == entity && e.kind == Kind::Delete);
        let picked = rows.iter().filter(|(entity, _)| !doomed(entity)).choose(random);
        let dice = random.random_range(0..100);
        if rows.len() < 5 || (dice < 12 && rows.len() < ROWS_MAX) {
            let entity = format!("{name}-{}", random.random::<u32>());
            let data = json!({ "title": text(random), "body": text(random) });
            let id = next_id(&mut self.clock, name, "");
            return self.outbox.push(id, &entity, Kind::Create(data), None);
        }
        let Some((entity, row)) = picked else { return };
        let (entity, seen) = (entity.clone(), |field: &str| row.id(field).cloned());
        let (kind, seen) = match dice {
            0..45 => (Kind::Add(random.random_range(1..10)), None),
            45..70 => (Kind::Set("title", text(random).into()), seen("title")),
            70..95 => (Kind::Set("body", text(random).into()), seen("body")),
            _ => (Kind::Delete, row.last.clone()),
        };
        let id = next_id(&mut self.clock, name, seen.as_deref().unwrap_or_default());
        self.outbox.push(id, &entity, kind, seen);
    }
}

/// Mostly a word, sometimes long enough to be stored out of line.
pub fn text(random: &mut StdRng) -> String {
    let length = if random.random_ratio(1, 25) { 12_000 } else { random.random_range(3..60) };
    (0..length).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect()
}

/// Makes a hybrid logical id above all of the device's own and above another.
fn next_id(clock: &mut (u128, u32), name: &str, above: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut parts = above.split('.');
    let mut number = || parts.next().and_then(|part| part.parse::<u128>().ok()).unwrap_or(0);
    let other = (number(), number() as u32);
    *clock = (*clock).max(other).max((now, 0));
    clock.1 += 1;
    format!("{:013}.{:04}.{name}", clock.0, clock.1)
}
