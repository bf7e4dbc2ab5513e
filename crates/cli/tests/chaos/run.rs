//! One world from its first edit to its verdict.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use antiphon_testkit::{PgVersion, skipped, spawn};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    device::{Owner, Running},
    fault::{FAULTS, Fault, pause},
    ledger,
    native::Native,
    scene::{Scene, connect},
    stop::STOPS,
    verdict::{CHECKS, Evidence, examples},
};

/// Whatever was left of a fault is over, and everything done that waited, within this time, also on a busy machine: the
/// longest wait is for a transaction whose server is gone and whose database was not told, ten seconds.
const REST: Duration = Duration::from_secs(180);

/// What is asked for.
pub struct Wish {
    first: u64,
    seeds: u64,
    rounds: u64,
    only: Option<String>,
}

impl Wish {
    /// Reads it from the environment; the short form where nothing is said.
    pub fn read() -> Wish {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
        Wish {
            first: number("ANTIPHON_SEED").unwrap_or_else(|| u64::from(std::process::id())),
            seeds: number("ANTIPHON_CHAOS_SEEDS").unwrap_or(2),
            rounds: number("ANTIPHON_CHAOS_ROUNDS").unwrap_or(0),
            only: std::env::var("ANTIPHON_CHAOS_ONLY").ok().filter(|name| !name.is_empty()),
        }
    }

    /// Returns the seeds.
    pub fn seeds(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.seeds
    }

    /// Returns the command that does one of them again.
    pub fn replay(&self, seed: u64, version: PgVersion) -> String {
        let only = self.only.as_ref().map(|name| format!(" --only {name}")).unwrap_or_default();
        format!("cargo xtask chaos --seed {seed} --postgres {} --rounds {}{only}", version.major(), self.rounds)
    }

    /// Tells whether a fault is asked for.
    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == name)
    }

    /// Tells whether time is short.
    fn short(&self) -> bool {
        self.rounds == 0
    }

    /// Where time is short, one seed strikes with the even ones of a list and the next with the odd ones.
    fn dealt<T>(&self, seed: u64, all: impl Iterator<Item = T>) -> Vec<T> {
        match self.short() && self.only.is_none() {
            true => all.skip((seed % 2) as usize).step_by(2).collect(),
            false => all.collect(),
        }
    }

    fn faults(&self, seed: u64, random: &mut StdRng) -> Vec<(&'static str, Fault)> {
        let wanted = FAULTS.iter().copied().filter(|(name, _)| self.wants(name));
        let mut faults: Vec<_> = match self.short() {
            true => self.dealt(seed, wanted),
            false => (0..self.rounds).flat_map(|_| wanted.clone()).collect(),
        };
        faults.shuffle(random);
        faults
    }
}

/// A world under test.
pub struct Run {
    pub scene: Scene,
    pub devices: Vec<Running>,
    pub natives: Vec<Native>,
    pub random: StdRng,
    seed: u64,
    struck: Vec<&'static str>,
    wrong: Vec<String>,
    sentinels: u32,
    began: Instant,
}

/// Somebody who writes by SQL beside the devices.
pub struct Plain {
    stop: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Run {
    /// Opens the world; `None` where the version is not installed.
    pub async fn open(version: PgVersion, seed: u64) -> Option<Run> {
        let began = Instant::now();
        let scene = Scene::open(version, seed).await?;
        Some(Run::of(scene, seed, began))
    }

    /// Lets everybody into a scene.
    pub fn of(scene: Scene, seed: u64, began: Instant) -> Run {
        let devices = scene.owners.iter().cloned().map(Running::start).collect();
        let natives = natives(&scene, seed);
        let random = StdRng::seed_from_u64(seed);
        println!("open after {:.1} s", began.elapsed().as_secs_f64());
        Run { scene, devices, natives, random, seed, struck: Vec::new(), wrong: Vec::new(), sentinels: 0, began }
    }

    /// Breaks one thing after the other while everybody writes, and compares.
    pub async fn breakages(&mut self, wish: &Wish) {
        let faults = wish.faults(self.seed, &mut self.random);
        if faults.is_empty() {
            return;
        }
        self.scene.copied().await;
        let plain = self.write().await;
        pause(&mut self.random, 500..1_000).await;
        for (name, fault) in faults {
            pause(&mut self.random, 20..250).await;
            let at = self.began.elapsed().as_secs_f64();
            match fault.strike(&mut self.scene, &mut self.random).await {
                true => self.struck.push(name),
                false => skipped("a small disk: mounting one takes root"),
            }
            println!("  {at:6.1} s {name}, {:.1} s", self.began.elapsed().as_secs_f64() - at);
        }
        self.settle("breakages", plain).await;
    }

    /// Takes away what capture cannot do without, looks at how that is shown, and begins again as an operator would.
    pub async fn stops(&mut self, wish: &Wish) {
        for stop in wish.dealt(self.seed, STOPS.iter().filter(|stop| wish.wants(stop.name))) {
            self.scene.copied().await;
            let plain = self.write().await;
            pause(&mut self.random, 300..600).await;
            let at = self.began.elapsed().as_secs_f64();
            stop.strike(&self.scene).await;
            let mut wrong = stop.shown(&mut self.scene).await;
            let shown = self.began.elapsed().as_secs_f64() - at;
            let last = self.scene.last_activity().await;
            pause(&mut self.random, 800..1_200).await;
            if self.scene.last_activity().await != last {
                wrong.push("capture went on".to_owned());
            }
            let waiting: usize = self.devices.iter().map(|running| running.device.look().outbox.entries.len()).sum();
            let missing: u64 = self.devices.iter().map(|running| running.device.look().outbox.missing()).sum();
            if waiting == 0 || missing > 0 {
                wrong.push(format!("{waiting} edits wait, {missing} went without a word"));
            }
            for remedy in stop.remedy {
                self.scene.operate(remedy).await;
            }
            let outcome = if wrong.is_empty() { "ok" } else { "WRONG" };
            println!("  {at:6.1} s {}: shown after {shown:.1} s, {waiting} edits kept, {outcome}", stop.name);
            self.wrong.extend(wrong.into_iter().map(|what| format!("{}: {what}", stop.name)));
            self.struck.push(stop.name);
            if wish.short() {
                // A running server looks again every ten seconds; a restart looks at once.
                self.scene.kill_server().await;
                self.scene.start_server();
            }
            self.scene.until_ready("capture begins again", |said| said["ready"] == true).await;
            self.settle(stop.name, plain).await;
        }
    }

    /// Lets everybody write.
    pub async fn write(&mut self) -> Plain {
        self.set_editing(true);
        let stop = Arc::new(AtomicBool::new(false));
        let random = StdRng::seed_from_u64(self.random.random());
        let ledger = self.scene.apart.is_some();
        let task = spawn("plain writer", plain((self.scene.url(), ledger), Arc::clone(&stop), random));
        Plain { stop, task }
    }

    /// Lets the devices' people type, or stop.
    pub fn set_editing(&self, on: bool) {
        self.devices.iter().for_each(|running| running.device.set_editing(on));
        self.natives.iter().for_each(|native| native.set_editing(on));
    }

    /// Waits until nothing that was typed waits any more.
    pub async fn sent(&mut self) {
        self.until("every outbox is empty", |run| {
            run.devices.iter().all(|running| running.device.look().outbox.entries.is_empty())
                && run.natives.iter().map(Native::look).all(|shown| shown.rests && shown.outbox.is_empty())
        })
        .await;
    }

    /// Lets everything come to rest; returns how many commits there were by SQL.
    pub async fn rest(&mut self, plain: Plain) -> u64 {
        self.set_editing(false);
        plain.stop.store(true, Ordering::Relaxed);
        let commits = plain.task.await.expect("the plain writer does not panic");
        self.sent().await;
        let sentinel = self.sentinel().await;
        // A device may have it from a list; what the log lacks then is still on its way.
        self.scene.logged(&sentinel).await;
        self.scene.copied().await;
        self.until("every device has the last row", |run| {
            let has = |running: &Running| {
                let key = format!("{sentinel}-{}", running.device.owner.org);
                running.device.look().replica.rows.contains_key(&key)
            };
            let shows = |native: &Native| native.look().rows.contains_key(&format!("{sentinel}-{}", native.owner.org));
            run.devices.iter().all(has) && run.natives.iter().all(shows)
        })
        .await;
        commits
    }

    /// Takes down what source, log and devices have.
    pub async fn evidence(&self) -> Evidence {
        let (source, log) = (self.scene.client().await, self.scene.log_client().await);
        let devices = self.devices.iter().map(|running| &*running.device);
        Evidence::gather(&source, &log, devices, self.natives.iter()).await.expect("the evidence can be read")
    }

    /// Lets everything come to rest, and holds the checks.
    async fn settle(&mut self, phase: &str, plain: Plain) {
        let rest = Instant::now();
        let commits = self.rest(plain).await;
        let evidence = self.evidence().await;
        println!("  {phase}: at rest after {:.1} s; {}", rest.elapsed().as_secs_f64(), evidence.size());
        println!("  {phase}: {commits} commits by SQL; {}", self.pains());
        for (name, check) in CHECKS {
            let found = check(&evidence);
            let outcome = if found.is_empty() { "ok".to_owned() } else { format!("{} WRONG", found.len()) };
            println!("  {phase}: {name:<20} {outcome}");
            if !found.is_empty() {
                self.wrong.push(format!("{phase}: {name}: {} findings\n    {}", found.len(), examples(&found)));
            }
        }
        if evidence.edits() < 20 {
            self.wrong.push(format!("{phase}: too little happened to prove anything: {}", evidence.size()));
        }
    }

    /// Writes the last row of every organisation and returns what their keys begin with.
    async fn sentinel(&mut self) -> String {
        self.sentinels += 1;
        let name = format!("sentinel-{}", self.sentinels);
        let sql = "insert into notes (id, organization_id) select $1 || '-' || org, org from unnest(array['acme', 'globex']) org";
        self.scene.client().await.execute(sql, &[&name]).await.expect("the last row is written");
        name
    }

    /// Waits until something is so.
    pub async fn until(&mut self, what: &str, so: impl Fn(&Run) -> bool) {
        let deadline = Instant::now() + REST;
        while !so(self) {
            self.scene.supervise().await;
            if Instant::now() >= deadline {
                let ready = self.scene.readiness().await;
                let sessions = self.scene.sessions().await;
                let (seed, pains, said) = (self.seed, self.pains(), self.scene.said());
                let waits = |running: &Running| format!("{:?}", running.device.look().outbox.entries);
                let natives = self.natives.iter().map(|native| {
                    // Looked at once: whoever looks twice waits for himself.
                    let shown = native.look();
                    format!("{} {:?}", shown.status, shown.outbox)
                });
                let waiting: Vec<String> = self.devices.iter().map(waits).chain(natives).collect();
                panic!(
                    "seed {seed}: the server says\n{said}\n{ready}\n{sessions}\nnot in time: {what}\n{pains}\n{waiting:#?}"
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Says what the devices went through.
    fn pains(&self) -> String {
        let one = |running: &Running| {
            let state = running.device.look();
            let outbox = &state.outbox;
            format!(
                "{}: {} waiting, {} applied, {} repeated, {} duplicates, {} rebased, {} changes, {} lists, put off {:?}",
                running.device.owner.name,
                outbox.entries.len(),
                outbox.applied.len(),
                outbox.repeated,
                outbox.duplicates,
                outbox.rebased,
                state.replica.changes,
                state.replica.lists,
                state.put_off,
            )
        };
        let native = |native: &Native| {
            let shown = native.look();
            format!("{}: {} waiting, {:?}", native.owner.name, shown.outbox.len(), shown.counts)
        };
        let all: Vec<String> = self.devices.iter().map(one).chain(self.natives.iter().map(native)).collect();
        all.join("\n    ")
    }

    /// Gives the verdict.
    pub fn finish(self) {
        println!("{} faults in {:.1} s", self.struck.len(), self.began.elapsed().as_secs_f64());
        let (seed, wrong) = (self.seed, self.wrong.join("\n"));
        assert!(wrong.is_empty(), "seed {seed}: the server says\n{}\nand the checks\n{wrong}", self.scene.said());
    }
}

/// Starts a native device in each organisation.
fn natives(scene: &Scene, seed: u64) -> Vec<Native> {
    let start = |(number, org): (u64, &str)| {
        let owner = scene.owners.iter().find(|owner| owner.org == org)?;
        let (name, seed) = (format!("native-{org}"), seed.wrapping_mul(37).wrapping_add(number));
        let file = scene.folder().join(format!("{name}.sqlite"));
        Some(Native::start(Owner { name, seed, ..owner.clone() }, file))
    };
    [(0, "acme"), (1, "globex")].into_iter().filter_map(start).collect()
}

/// Changes and removes rows by SQL until it is stopped, and keeps the ledger where there is one; returns how many
/// commits it knows of.
async fn plain((url, ledger): (Arc<Mutex<String>>, bool), stop: Arc<AtomicBool>, mut random: StdRng) -> u64 {
    let mut commits = 0;
    while !stop.load(Ordering::Relaxed) {
        let now = url.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(client) = connect(&now).await else {
            // Postgres is being killed and started: there is nothing else to wait for.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        while !stop.load(Ordering::Relaxed) && !client.is_closed() {
            pause(&mut random, 5..80).await;
            // A value that is there already would be an update without an author: every one is new.
            let change = match random.random_range(0..20) {
                0 => "delete from notes",
                1..10 => "update notes set title = 'sql ' || random()",
                _ => "update notes set body = 'sql ' || random()",
            };
            let offset: i64 = random.random_range(0..20);
            let org = ledger::ORG;
            let picked = format!("select id from notes where organization_id <> '{org}' offset {offset} limit 1");
            let sql = match ledger && random.random_bool(0.5) {
                true => ledger::COMMIT.to_owned(),
                false => format!("{change} where id = ({picked})"),
            };
            let done = tokio::time::timeout(Duration::from_secs(3), client.execute(&sql, &[])).await;
            // A full disk or a lost connection: the next turn tries something else.
            if done.is_ok_and(|done| done.is_ok()) {
                commits += 1;
            }
        }
    }
    commits
}
