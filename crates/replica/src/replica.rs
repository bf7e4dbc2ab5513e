//! The replica: the client machine with its disk (CORE-02, CORE-10, CORE-11, CORE-18).
//!
//! Laws: what a person does is durable before the call returns; outside of `run` nothing is asked of the network, so what
//! is typed offline stays changeable; whatever the machine asks for is done in its order. It refuses to decide anything:
//! each verb is the machine's own.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use antiphon_engine::Fault;
use antiphon_model::Code;
use antiphon_sync::client::{
    self, Client, Corrupt, Decision, Edit, EditRefused, EntityKey, EntryKey, Input, Line, Made, Now, Object, Outbox,
    Output, Status, Told, Undecided,
};

use crate::{Disk, NotSaved, Place, http::Http};

/// What subsets that nobody wants any more may keep.
const SUBSETS_BYTES_MAX: usize = 64 << 20;

/// What a replica needs to know.
#[derive(Clone)]
pub struct Config {
    /// Whose replica it is.
    pub place: Place,
    /// What the server knows its user by; sent to the place's server only.
    pub token: String,
    /// Where the store is, or will be.
    pub file: PathBuf,
    /// Whether a copy of another store is taken over.
    pub adopt: bool,
    /// Whether a delete asks where others changed the row meanwhile.
    pub delete_asks: bool,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { place, file, adopt, delete_asks, .. } = self;
        let mut shown = f.debug_struct("Config");
        shown.field("place", place).field("file", file).field("adopt", adopt).field("delete_asks", delete_asks);
        shown.finish_non_exhaustive()
    }
}

/// A local replica of what one user may see in one organisation.
pub struct Replica {
    pub(crate) place: Place,
    pub(crate) client: Client,
    pub(crate) disk: Arc<Mutex<Disk>>,
    pub(crate) http: Http,
    pub(crate) clock: Clock,
    pub(crate) told: Vec<Told>,
    /// What can be undone, until it is saved.
    pub(crate) undo: Option<String>,
    pub(crate) commands: crate::run::Commands,
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("status", &self.client.status()).finish_non_exhaustive()
    }
}

/// The two clocks of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Instant,
}

impl Clock {
    pub(crate) fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Now { wall_ms: ms(wall), tick_ms: ms(self.began.elapsed()) }
    }

    /// Returns a number from 0 to 1 that differs from process to process, so that not all knock at once.
    pub(crate) fn spread(self) -> f64 {
        f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0
    }
}

impl Replica {
    /// Opens a replica, or makes an empty one; nothing is sent.
    ///
    /// # Errors
    /// What `Disk::open` refuses; an address that is none.
    pub fn open(config: Config) -> Result<Replica, Fault> {
        let http = Http::new(&config.place.server, &config.place.org, &config.token)?;
        let (disk, loaded) = Disk::open(&config.file, &config.place, config.adopt)?;
        let (source, random) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        let machine = client::Config {
            source: source.simple().to_string(),
            seed: random.as_u64_pair().0 ^ random.as_u64_pair().1,
            delete_asks: config.delete_asks,
            subsets_bytes_max: SUBSETS_BYTES_MAX,
        };
        let mut client = Client::new(machine, loaded).map_err(|corrupt| match corrupt {
            Corrupt::Newer { format, entries } => {
                let detail =
                    format!("{} has format {format}; {} edits wait in it", config.file.display(), entries.len());
                Fault::new(Code::ReplicaNewer, detail)
            }
            Corrupt::BadSource => Fault::new(Code::Internal, "the name of the instance is not fit for ids"),
        })?;
        if let Some(undo) = disk.undo()? {
            client.resume_undo(&undo);
        }
        let fence = disk.fence();
        let clock = Clock { began: Instant::now() };
        let disk = Arc::new(Mutex::new(disk));
        let mut replica = Replica {
            place: config.place,
            client,
            disk,
            http,
            clock,
            told: Vec::new(),
            undo: None,
            commands: crate::run::Commands::new(),
        };
        replica.handle(Input::Network { usable: false });
        replica.handle(Input::Lead { fence });
        replica.settle();
        Ok(replica)
    }

    /// Returns the machine, to be looked at.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns a row as a person sees it.
    pub fn view(&self, entity: &EntityKey) -> Option<Object> {
        self.client.view(entity)
    }

    /// Returns what is not confirmed yet.
    pub fn outbox(&self) -> &Outbox {
        self.client.outbox()
    }

    /// Returns what was decided without asking, oldest first.
    pub fn journal(&self) -> impl Iterator<Item = &Line> {
        self.client.journal()
    }

    /// Returns what the replica says of itself.
    pub fn status(&self) -> Status {
        self.client.status()
    }

    /// Takes an edit; it is on the disk when this returns.
    ///
    /// # Errors
    /// The edit was not taken, or (`DISK_FULL`, `INTERNAL`) is in memory only.
    pub fn edit(&mut self, edit: Edit) -> Result<Made, Fault> {
        let made = self.client.edit(self.clock.now(), edit.clone()).map_err(|refused| refusal(refused, &edit))?;
        self.keep()?;
        Ok(made)
    }

    /// Takes a decision about a conflict; `seen` is the id of the server's version that was on screen.
    ///
    /// # Errors
    /// Nothing was changed, or it is in memory only.
    pub fn decide(&mut self, key: &str, seen: Option<&str>, decision: Decision) -> Result<(), Fault> {
        self.client.decide(self.clock.now(), key, seen, decision).map_err(|undecided| match undecided {
            Undecided::NoConflict => Fault::new(Code::NotFound, format!("{key} is no conflict")),
            Undecided::Newer => Fault::new(Code::FieldConflict, format!("{key}: someone changed it again")),
            Undecided::NotPossible => Fault::new(Code::Usage, format!("{key} cannot be decided so")),
        })?;
        self.keep()
    }

    /// Lets a refused edit be sent again.
    ///
    /// # Errors
    /// There is no such edit, or it is in memory only.
    pub fn retry(&mut self, key: &str) -> Result<(), Fault> {
        match self.client.retry(self.clock.now(), key) {
            true => self.keep(),
            false => Err(Fault::new(Code::NotFound, format!("{key} is no refused edit"))),
        }
    }

    /// Takes an edit back with all that goes with it; returns what was taken back.
    ///
    /// # Errors
    /// It is in memory only.
    pub fn discard(&mut self, key: &str) -> Result<Vec<EntryKey>, Fault> {
        let gone = self.client.discard(self.clock.now(), key);
        self.keep()?;
        Ok(gone)
    }

    /// Undoes what was done last; tells whether there was something.
    ///
    /// # Errors
    /// It is in memory only.
    pub fn undo(&mut self) -> Result<bool, Fault> {
        let undone = self.client.undo(self.clock.now());
        self.keep()?;
        Ok(undone)
    }

    /// Does again what was undone last; tells whether there was something.
    ///
    /// # Errors
    /// It is in memory only.
    pub fn redo(&mut self) -> Result<bool, Fault> {
        let done = self.client.redo(self.clock.now());
        self.keep()?;
        Ok(done)
    }

    /// Does what the machine asks for, and tells whether all of it is on the disk.
    pub(crate) fn keep(&mut self) -> Result<(), Fault> {
        self.settle();
        self.look_at_undo();
        if let Some(undo) = self.undo.take() {
            // A step that can no longer be undone is gone without an edit. What is lost by a full disk is such a step.
            let fence = lock(&self.disk).fence();
            lock(&self.disk).save_with(Some(fence), &[], Some(&undo)).unwrap_or_default();
        }
        match self.client.status().not_saving.as_deref() {
            None => Ok(()),
            Some("full") => Err(Fault::new(Code::DiskFull, "the edit is not saved")),
            Some("fenced") => Err(Fault::new(Code::ReplicaInUse, "the edit is not saved")),
            Some(other) => Err(Fault::new(Code::Internal, format!("the edit is not saved: {other}"))),
        }
    }

    pub(crate) fn look_at_undo(&mut self) {
        self.undo = self.client.take_undo().or(self.undo.take());
    }

    pub(crate) fn handle(&mut self, input: Input<'_>) {
        self.client.handle(self.clock.now(), input);
    }

    /// Performs what can be done without a network.
    pub(crate) fn settle(&mut self) {
        while let Some(output) = self.client.poll() {
            match output {
                Output::Save { token, fence, writes } => {
                    self.look_at_undo();
                    let saved = lock(&self.disk).save_with(fence, &writes, self.undo.as_deref());
                    self.saved(token, saved);
                }
                Output::Claim { .. } => self.claimed(),
                Output::Read { token, all } => self.read_again(token, all),
                // No other instance has this store open.
                Output::Share { .. } => {}
                Output::Tell(told) => self.told.push(*told),
                // There is no network, so nothing of this is asked for; whatever it was, nobody answers.
                Output::Request { id, .. } => self.handle(Input::NoAnswer { id }),
                Output::Open { stream, .. } => {
                    self.handle(Input::Ended { stream, status: None, retry_after_ms: None });
                }
                Output::Cancel { .. } | Output::Close { .. } => {}
            }
        }
    }

    /// The file is held by this process: whoever raised its fence did so on a copy, and that stands.
    pub(crate) fn claimed(&mut self) {
        let fence = lock(&self.disk).fence();
        self.handle(Input::Claimed { fence, won: false });
    }

    pub(crate) fn read_again(&mut self, token: u64, all: bool) {
        let read = lock(&self.disk).records(all);
        match read {
            Ok(records) => self.handle(Input::Read { token, records: &records }),
            Err(_) => self.handle(Input::NotRead { token }),
        }
    }

    pub(crate) fn saved(&mut self, token: u64, saved: Result<(), NotSaved>) {
        match saved {
            Ok(()) => {
                self.undo = None;
                self.handle(Input::Saved { token });
            }
            Err(reason) => self.handle(Input::NotSaved { token, reason: reason.reason() }),
        }
    }
}

pub(crate) fn lock(disk: &Mutex<Disk>) -> std::sync::MutexGuard<'_, Disk> {
    // A save that panicked was rolled back with its transaction.
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refusal(refused: EditRefused, edit: &Edit) -> Fault {
    let EntityKey { entity_type, entity_id } = edit.entity();
    match refused {
        EditRefused::OutboxFull => Fault::new(Code::OutboxFull, ""),
        EditRefused::NoSuchRow => Fault::new(Code::NotFound, format!("there is no {entity_type} {entity_id} here")),
        EditRefused::NoSchema => Fault::new(Code::ReplicaEmpty, ""),
        EditRefused::OnlineOnly => {
            Fault::new(Code::Usage, format!("the database makes the keys of {entity_type}, so create it online"))
        }
    }
}
