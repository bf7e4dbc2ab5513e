//! A device of our own make: the native replica with its store on disk, used as people use a device that is often
//! offline. It is opened, edits, is in touch for a moment, and is closed again; what was typed must outlive all of it.
//!
//! Conflicts are decided for what was typed; what the server refuses for good is taken back and counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use antiphon_replica::{
    Config, Place, Replica, Stopper,
    client::{Decision, Edit, EntityKey, Entry, Object, State, Told},
};
use antiphon_testkit::spawn;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IteratorRandom};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

use crate::device::{Owner, ROWS_MAX, text};

/// What the replica showed when it was last looked at.
#[derive(Debug, Default)]
pub struct Shown {
    /// The rows as a person sees them.
    pub rows: BTreeMap<String, Map<String, Value>>,
    /// What waits, in words.
    pub outbox: Vec<String>,
    /// Whether nothing was typed since.
    pub rests: bool,
    /// What was added to which row's counter.
    pub adds: Vec<(String, i64)>,
    /// What nobody but us can have got wrong.
    pub complaints: Vec<String>,
    /// How it describes itself.
    pub status: String,
    /// How many edits were made, decided and taken back, and how often it was opened.
    pub counts: Counts,
}

/// What a native device went through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub made: u64,
    pub decided: u64,
    pub taken_back: u64,
    pub opened: u64,
}

/// A native device that runs; dropping it ends it.
#[derive(Debug)]
pub struct Native {
    pub owner: Owner,
    shown: Arc<Mutex<Shown>>,
    editing: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Drop for Native {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Native {
    /// Starts one whose store is a new file.
    pub fn start(owner: Owner, file: PathBuf) -> Native {
        let (shown, editing) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let place = Place {
            application: "chaos".to_owned(),
            server: owner.base.clone(),
            user: owner.user.to_owned(),
            org: owner.org.to_owned(),
        };
        let config = Config { place, token: owner.token.clone(), file, adopt: false, delete_asks: false };
        let random = StdRng::seed_from_u64(owner.seed);
        let task = spawn("native device", live(config, Arc::clone(&shown), Arc::clone(&editing), random));
        Native { owner, shown, editing, task }
    }

    /// Lets the person type, or stop.
    pub fn set_editing(&self, on: bool) {
        self.editing.store(on, Ordering::Relaxed);
    }

    /// Looks at what it showed last.
    pub fn look(&self) -> MutexGuard<'_, Shown> {
        lock(&self.shown)
    }
}

/// Opens, edits, is in touch, closes, again and again.
async fn live(config: Config, shown: Arc<Mutex<Shown>>, editing: Arc<AtomicBool>, mut random: StdRng) {
    loop {
        let mut replica = match Replica::open(config.clone()) {
            Ok(replica) => replica,
            Err(fault) => {
                lock(&shown).complaints.push(format!("it does not open: {}", fault.chain()));
                return;
            }
        };
        lock(&shown).counts.opened += 1;
        for _ in 0..random.random_range(1..4) {
            let now = editing.load(Ordering::Relaxed);
            if now {
                // What is typed now is shown only after it was in touch.
                lock(&shown).rests = false;
            }
            for _ in 0..if now { random.random_range(0..6) } else { 0 } {
                type_something(&mut replica, &mut lock(&shown), &mut random);
            }
            // At rest it is in touch until there is nothing left to do, which a busy machine takes its time for.
            let span_ms = if now { random.random_range(300..1_800) } else { 60_000 };
            in_touch(&mut replica, &shown, Duration::from_millis(span_ms), !now).await;
            decide(&mut replica, &mut lock(&shown));
            show(&replica, &mut lock(&shown));
            lock(&shown).rests = !now;
        }
    }
}

/// Uses the network for so long, or until everything is settled where nobody types.
async fn in_touch(replica: &mut Replica, shown: &Arc<Mutex<Shown>>, span: Duration, settling: bool) {
    let stop = Stopper::new();
    let (complaints, ending) = (Arc::clone(shown), stop.clone());
    let timer = spawn("native device's time", async move {
        tokio::time::sleep(span).await;
        ending.cancel();
    });
    replica
        .run(&stop, move |moment| {
            for told in moment.told {
                if let Told::Nonsense(_) | Told::NotSaved { .. } | Told::TokenWanted | Told::NewIdentity = told {
                    lock(&complaints).complaints.push(format!("{told:?}"));
                }
            }
            settling && moment.in_step
        })
        .await;
    timer.abort();
}

/// Makes one edit of what is shown.
fn type_something(replica: &mut Replica, shown: &mut Shown, random: &mut StdRng) {
    let ids: BTreeSet<String> = replica.client().ids("note").into_iter().collect();
    let dice = random.random_range(0..100);
    let edit = match ids.iter().choose(random).map(|id| EntityKey::new("note", id)) {
        None => return,
        Some(_) if dice < 10 && ids.len() < ROWS_MAX => {
            let id = antiphon_replica::new_id();
            let fields = json!({ "id": id, "title": text(random), "body": text(random) });
            Edit::Create { entity: EntityKey::new("note", &id), data: object(fields) }
        }
        Some(entity) if dice < 50 => {
            let by = random.random_range(1..10);
            Edit::Add { entity, field: "votes".to_owned(), by: by.into() }
        }
        Some(entity) if dice < 70 => Edit::Set { entity, fields: object(json!({ "title": text(random) })) },
        Some(entity) if dice < 96 => Edit::Set { entity, fields: object(json!({ "body": text(random) })) },
        Some(entity) => Edit::Delete { entity },
    };
    match replica.edit(edit.clone()) {
        Ok(_) => {
            shown.counts.made += 1;
            if let Edit::Add { entity, by, .. } = edit {
                shown.adds.push((entity.entity_id, by.as_i64().unwrap_or_default()));
            }
        }
        // A full outbox is an answer; anything else is not.
        Err(fault) if fault.code() == antiphon_model::Code::OutboxFull => {}
        Err(fault) => shown.complaints.push(format!("{edit:?} is not taken: {}", fault.chain())),
    }
}

/// Decides for what was typed, and takes back what can never be.
fn decide(replica: &mut Replica, shown: &mut Shown) {
    let open: Vec<_> = replica.outbox().iter().cloned().collect();
    for Entry { key, state, theirs, .. } in open {
        match state {
            State::Conflicted => {
                shown.counts.decided += 1;
                let seen = theirs.and_then(|theirs| theirs.id);
                let mine = replica.decide(&key, seen.as_deref(), Decision::KeepMine);
                // A row that is gone keeps nothing of mine.
                let done = mine.or_else(|_| replica.decide(&key, seen.as_deref(), Decision::KeepTheirs));
                if let Err(fault) = done {
                    shown.complaints.push(format!("{key} cannot be decided: {}", fault.chain()));
                }
            }
            State::Failed => match replica.discard(&key) {
                Ok(gone) => shown.counts.taken_back += gone.len() as u64,
                Err(fault) => shown.complaints.push(format!("{key} cannot be taken back: {}", fault.chain())),
            },
            State::Pending | State::Sent | State::Accepted => {}
        }
    }
}

fn show(replica: &Replica, shown: &mut Shown) {
    let client = replica.client();
    let row = |id: String| replica.view(&EntityKey::new("note", &id)).map(|row| (id, row.into()));
    shown.rows = client.ids("note").into_iter().filter_map(row).collect();
    shown.status = format!("{:?} at {:?}", replica.status(), client.position());
    shown.outbox = replica.outbox().iter().map(|entry| format!("{entry:?}")).collect();
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(map) => map.into(),
        _ => Object::new(),
    }
}

fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    // A test that panicked while it looked has failed already.
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}
