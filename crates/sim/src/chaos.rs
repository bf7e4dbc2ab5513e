//! What is done to the world while it is disturbed: crashes, partitions, clocks, people, epochs (SIM-01).
//!
//! Law: at the end everything is mended; what does not settle then is a bug.

use antiphon_model::{ActivityId, Role};

use crate::{
    Faults, Log, Profile,
    workload::{ORGS, SUBJECTS, Stage},
};

/// Everything that can be done.
pub(crate) const KINDS: &[(&str, u64)] = &[
    ("server crashed", 10),
    ("server drained", 4),
    ("database crashed", 5),
    ("log crashed", 8),
    ("server parted from the log", 6),
    ("client parted from a server", 8),
    ("lease session lost", 6),
    ("place changed", 20),
    ("database clock jumped", 3),
    ("retention", 6),
    ("new epoch", 3),
    ("database restored elsewhere", 3),
    ("place lost and won again", 8),
];

/// Disturbs the world until the end.
pub(crate) async fn disturb(stage: Stage, log: Log, profile: Profile) {
    let every_ms = profile.disturb_ms;
    let kinds: Vec<&(&str, u64)> = KINDS.iter().filter(|(kind, _)| profile.disturbances.contains(kind)).collect();
    let dice = stage.simulation.dice().clone();
    while stage.rest(dice.between(1, every_ms * 2)).await {
        let all: u64 = kinds.iter().map(|(_, weight)| weight).sum();
        let mut drawn = dice.below(all);
        let kind = kinds.iter().find(|(_, weight)| match drawn.checked_sub(*weight) {
            Some(rest) => {
                drawn = rest;
                false
            }
            None => true,
        });
        stage.servers.iter().for_each(|server| stage.look(server));
        if let Some((kind, _)) = kind {
            stage.network.count(kind);
            stage.simulation.say(|| format!("disturbed: {kind}"));
            act(&stage, &log, kind).await;
        }
    }
}

/// Mends everything.
pub(crate) fn mend(stage: &Stage, log: &Log) {
    stage.network.set(Faults::NONE);
    log.start();
    stage.database.start();
    for server in &stage.servers {
        server.log().reach(true);
        server.start_again();
    }
}

async fn act(stage: &Stage, log: &Log, kind: &str) {
    let dice = stage.simulation.dice().clone();
    let down_ms = dice.between(1, 4_000);
    match kind {
        "server crashed" => {
            let server = stage.server().clone();
            server.crash();
            stage.rest(down_ms).await;
            server.start_again();
        }
        "server drained" => {
            let server = stage.server().clone();
            server.drain();
            stage.rest(down_ms).await;
            server.crash();
            server.start_again();
        }
        "database crashed" => {
            stage.database.crash();
            stage.rest(down_ms).await;
            stage.database.start();
        }
        "log crashed" => crash_log(stage, log, down_ms).await,
        "lease session lost" => log.lose_session(),
        "server parted from the log" => {
            let server = stage.server().clone();
            server.log().reach(false);
            stage.rest(dice.between(100, 20_000)).await;
            server.log().reach(true);
        }
        "client parted from a server" => {
            let server = stage.server().process();
            let client = dice.below(10) as u32;
            stage.network.part(client, server, true);
            stage.rest(down_ms).await;
            stage.network.part(client, server, false);
        }
        "place changed" => {
            let (org, subject) = (dice.pick(ORGS).copied(), dice.pick(SUBJECTS).copied());
            let roles = [None, Some(Role::Viewer), Some(Role::Member), Some(Role::Member), Some(Role::Owner)];
            let role = dice.pick(&roles).copied().flatten();
            stage.people.place(org.unwrap_or_default(), subject.unwrap_or_default(), role);
        }
        "database clock jumped" => stage.database.clock().jump(dice.below(6_000_000) as i64 - 3_000_000),
        "retention" => {
            let head = log.marks();
            let spared = dice.below(60);
            log.retain_from(ActivityId::new(head.durable.as_u64().saturating_sub(spared)));
        }
        "new epoch" => {
            stage.database.drop_slot();
            log.new_epoch();
        }
        "database restored elsewhere" => {
            stage.database.restore_elsewhere();
            log.new_epoch();
            stage.rest(down_ms).await;
            stage.database.start();
        }
        "place lost and won again" => {
            let Some((subject, org)) = stage.somebody() else { return };
            let role = stage.people.role(org, subject);
            stage.people.place(org, subject, None);
            stage.rest(dice.between(10, 8_000)).await;
            stage.people.place(org, subject, role);
        }
        _ => {}
    }
}

/// The worst moment: something is appended and not flushed.
async fn crash_log(stage: &Stage, log: &Log, down_ms: u64) {
    for _ in 0..1_000 {
        if log.unflushed() > 0 || !stage.rest(1).await {
            break;
        }
    }
    log.crash();
    stage.rest(down_ms).await;
    log.start();
}
