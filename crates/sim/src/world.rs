//! One run: build the world of a seed, disturb it, mend it, wait until it is quiet, and look at what is left (SIM-01).
//!
//! Law: nothing is judged before the world was mended and had its time; what is not quiet by then is complained of.

use std::io;

use antiphon_model::{Role, SourceState, SourceStatus};
use tokio_util::sync::CancellationToken;

use crate::{
    Counts, Database, Hints, Log, Network, Parts, People, ProcessId, Profile, Recorder, Server, Simulation,
    browser::Browser,
    chaos, checks,
    checks::{Truth, Violation, passed_later},
    device::Device,
    typing,
    workload::{self, Author, ORGS, Reading, SUBJECTS, Stage, Writing},
};

/// The customer's database.
const DATABASE: ProcessId = ProcessId(1);
/// The first server.
const SERVERS: u32 = 10;
/// The first client.
const CLIENTS: u32 = 100;
/// The first device.
const DEVICES: u32 = 1_000;
/// The first browser.
const BROWSERS: u32 = 2_000;
/// Whoever disturbs.
const CHAOS: ProcessId = ProcessId(5);
/// After it was mended the world is quiet within this time.
const SETTLED_MS: u64 = 120_000;
/// It is looked at this often.
const LOOK_MS: u64 = 500;

/// What came of a run.
#[derive(Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// What was done to the world, by kind.
    pub counts: Counts,
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// Transactions committed, activities in the log, changes shown, answers to edits.
    pub sizes: [usize; 4],
    /// A line for every event, where lines were wanted.
    pub trace: Vec<String>,
    /// What was left behind.
    pub history: crate::History,
    /// A number that two runs of the same seed share.
    pub fingerprint: u64,
}

/// Runs a seed.
///
/// # Errors
/// Fails where no runtime can be made.
pub fn simulate(seed: u64, change: impl Fn(Profile) -> Profile) -> io::Result<Outcome> {
    crate::run(seed, |simulation| {
        let profile = change(Profile::draw(simulation.dice()));
        async move { live(seed, simulation, profile).await }
    })
}

async fn live(seed: u64, simulation: Simulation, profile: Profile) -> Outcome {
    if profile.trace {
        simulation.listen();
    }
    simulation.say(|| format!("seed {seed}: {profile:?}"));
    let log = Log::new(&simulation, profile.log);
    let stage = build(seed, &simulation, &log, &profile);
    let readers = populate(&stage, &profile);
    let devices = plug_in(&stage, &profile);
    let browsers = open(&stage, &profile);
    if profile.disturb_ms > 0 {
        let disturbed = (stage.clone(), log.clone(), profile.clone());
        simulation.start(CHAOS, async move { chaos::disturb(disturbed.0, disturbed.1, disturbed.2).await });
    }
    simulation.clock().sleep_ms(profile.disturbed_ms).await;
    simulation.say(|| "mended".to_owned());
    stage.over.cancel();
    simulation.kill(CHAOS);
    chaos::mend(&stage, &log);
    let people = Persons { readers: &readers, devices: &devices, browsers: &browsers };
    settle(&stage, &log, &people).await;
    collect(seed, &stage, &log, &people)
}

fn build(seed: u64, simulation: &Simulation, log: &Log, profile: &Profile) -> Stage {
    let database = Database::new(simulation, DATABASE, profile.database);
    let people = People::new(simulation);
    for (index, subject) in SUBJECTS.iter().enumerate() {
        let role = [Role::Owner, Role::Member, Role::Member, Role::Viewer][index % 4];
        people.place(ORGS[index % 2], subject, Some(role));
        people.place(ORGS[0], subject, Some(role));
    }
    let hints = Hints::new(simulation);
    let servers = (0..profile.servers).map(|number| {
        let off_us = simulation.dice().below(2_000_000) as i64 - 1_000_000;
        Server::new(Parts {
            simulation: simulation.clone(),
            process: ProcessId(SERVERS + number),
            database: database.clone(),
            log: log.link(),
            hints: hints.link(),
            people: people.clone(),
            clock: simulation.clock().skewed(off_us),
            manners: profile.server,
        })
    });
    let servers: Vec<Server> = servers.collect();
    servers.iter().for_each(Server::start);
    Stage {
        simulation: simulation.clone(),
        database,
        people,
        servers,
        network: Network::new(simulation, profile.faults),
        recorder: Recorder::default(),
        over: CancellationToken::new(),
        law: profile.law,
        typing: profile.typing.then(|| typing::dice(seed)),
    }
}

fn populate(stage: &Stage, profile: &Profile) -> Vec<Reading> {
    let simulation = &stage.simulation;
    let mut client = 0;
    let mut process = || {
        client += 1;
        (client, ProcessId(CLIENTS + client))
    };
    for _ in 0..profile.sql_writers {
        simulation.start(process().1, workload::write_sql(stage.clone()));
    }
    for _ in 0..profile.writers {
        let (number, process) = process();
        simulation.start(process, Writing::new(stage.clone(), number).run());
    }
    for _ in 0..stage.typing.as_ref().map_or(0, |dice| dice.between(1, 2)) {
        let (number, process) = process();
        simulation.start(process, Author::new(stage.clone(), number).run());
    }
    let mut readers = Vec::new();
    for _ in 0..profile.readers {
        let (number, process) = process();
        let Some(who) = stage.somebody() else { continue };
        let reader = Reading::new(stage.clone(), number, who);
        simulation.start(process, reader.clone().run());
        readers.push(reader);
    }
    readers
}

fn plug_in(stage: &Stage, profile: &Profile) -> Vec<Device> {
    let numbers = DEVICES..DEVICES + profile.devices;
    let mut devices: Vec<Device> = Vec::new();
    for number in numbers {
        let copied = devices.first().filter(|_| stage.simulation.dice().permille(300)).cloned();
        let Some(who) = stage.somebody() else { continue };
        let device = match &copied {
            Some(of) => of.twin(number),
            None => Device::new(stage.clone(), number, ProcessId(number), who),
        };
        match copied {
            Some(of) => stage.simulation.start(ProcessId(number), device.clone().run_as_twin(of)),
            None => stage.simulation.start(ProcessId(number), device.clone().run()),
        }
        devices.push(device);
    }
    devices
}

fn open(stage: &Stage, profile: &Profile) -> Vec<Browser> {
    let numbers = BROWSERS..BROWSERS + profile.browsers;
    let browsers = numbers.filter_map(|number| {
        let browser = Browser::new(stage.clone(), number, ProcessId(number), stage.somebody()?);
        browser.start();
        Some(browser)
    });
    browsers.collect()
}

/// Whoever reads.
struct Persons<'a> {
    readers: &'a [Reading],
    devices: &'a [Device],
    browsers: &'a [Browser],
}

/// Waits until every reader that has a place has heard everything.
async fn settle(stage: &Stage, log: &Log, people: &Persons<'_>) {
    let Persons { readers, devices, browsers } = *people;
    let clock = stage.simulation.clock();
    let until = clock.elapsed_us() + SETTLED_MS * 1_000;
    // What was sent before is answered or given up by then.
    clock.sleep_ms(crate::REQUEST_TIMEOUT_MS * 2).await;
    let tables = stage.database.entities().len();
    loop {
        let head = log.marks();
        let behind = readers.iter().filter(|reader| stage.people.role(reader.org, reader.subject).is_some());
        let behind: Vec<&Reading> =
            behind.filter(|reader| !reader.heard(head.epoch.as_u32(), head.durable.as_u64())).collect();
        let streams = |status: SourceStatus| status.state == SourceState::Streaming;
        // What is judged is what readers of the source see.
        let captured = stage.servers.iter().any(|server| server.status().is_some_and(streams))
            && !stage.database.hides()
            && log.captured() >= stage.database.last_commit();
        let placed = devices.iter().filter(|device| stage.people.role(device.org, device.subject).is_some());
        let (epoch, durable) = (u64::from(head.epoch.as_u32()), head.durable.as_u64());
        let busy: Vec<&Device> = placed.filter(|device| !device.settled(epoch, durable)).collect();
        let open = browsers.iter().filter(|browser| stage.people.role(browser.org, browser.subject).is_some());
        let open: Vec<&Browser> = open.filter(|browser| !browser.settled(epoch, durable)).collect();
        let quiet = behind.is_empty()
            && busy.is_empty()
            && open.is_empty()
            && captured
            && log.copied(tables)
            && head.last == head.durable;
        if quiet {
            return;
        }
        if clock.elapsed_us() > until {
            let states: Vec<String> = stage.servers.iter().map(|server| format!("{:?}", server.status())).collect();
            let behind: Vec<String> = behind.iter().map(|reader| reader.describe()).collect();
            let copied = log.copied(tables);
            let open = open.iter().map(|browser| browser.describe());
            let busy: Vec<String> = busy.iter().map(|device| device.describe()).chain(open).collect();
            let found = format!("after {SETTLED_MS} ms: {head:?}, copied {copied}, {behind:?}, {busy:?}, {states:?}");
            stage.recorder.note(|history| history.complaints.push(found));
            return;
        }
        clock.sleep_ms(LOOK_MS).await;
    }
}

fn collect(seed: u64, stage: &Stage, log: &Log, people: &Persons<'_>) -> Outcome {
    let Persons { readers, devices, browsers } = *people;
    let mut history = stage.recorder.history();
    history.entities = stage.database.entities();
    history.committed = stage.database.committed();
    history.refused = stage.database.refused();
    history.slot_from = stage.database.slot_from();
    history.log = log.activities();
    history.former = log.former();
    history.durable = log.durable();
    history.acknowledged = stage.database.acknowledged();
    history.rows = stage.database.rows();
    history.places = stage.people.history();
    let settled = history.complaints.is_empty();
    let placed = readers.iter().filter(|reader| settled && stage.people.role(reader.org, reader.subject).is_some());
    history.views = placed.map(Reading::view).collect();
    let placed = devices.iter().filter(|device| settled && stage.people.role(device.org, device.subject).is_some());
    history.views.extend(placed.map(Device::view));
    let placed = browsers.iter().filter(|browser| settled && stage.people.role(browser.org, browser.subject).is_some());
    history.views.extend(placed.flat_map(Browser::views));
    let edits = history.committed.iter().flat_map(|committed| &committed.edits);
    let applied = edits.filter_map(|edit| edit.transaction_id.clone()).collect();
    let late = passed_later(&history).into_iter().map(|(_, id)| id.to_owned()).collect();
    let truth = Truth { applied, late, written: stage.database.words() };
    for (state, event) in devices.iter().flat_map(Device::reached).map(|(cell, _)| cell) {
        *history.reached.entry(crate::coverage::of_entry(state, event)).or_default() += 1;
    }
    browsers.iter().flat_map(Browser::reached).for_each(|cell| *history.reached.entry(cell).or_default() += 1);
    history.complaints.extend(browsers.iter().flat_map(|browser| browser.complaints(&truth)));
    history.complaints.extend(devices.iter().flat_map(|device| device.complaints(&truth)));
    let sizes = [history.committed.len(), history.log.len(), history.shown.len(), history.told.len()];
    let mut counts = stage.network.counts();
    counts.insert("activities taken back", log.taken_back());
    Outcome {
        seed,
        simulated_ms: stage.simulation.clock().elapsed_us() / 1_000,
        violations: checks::all(&history),
        fingerprint: fingerprint(&history, stage.simulation.tick()),
        counts,
        sizes,
        trace: stage.simulation.lines(),
        history,
    }
}

/// Sums up what happened, so that two runs can be told apart.
fn fingerprint(history: &crate::History, ticks: u64) -> u64 {
    // FNV-1a: fixed for good.
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut take = |text: &str| {
        for byte in text.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    take(&ticks.to_string());
    history.committed.iter().for_each(|one| take(&format!("{}{}{}", one.lsn, one.xid, one.at.0)));
    history.log.iter().for_each(|activity| take(&format!("{}{:?}", activity.id, activity.image)));
    history.shown.iter().for_each(|shown| take(&format!("{}{}{}", shown.reader, shown.sent_us, shown.activity)));
    hash
}
