//! What is done to the scene, one fault after the other, each with its own moment and length by the seed.
//!
//! Bytes that a black hole took are never given back by a network, so each ends with its connections: reset, or left
//! stranded on one side.

use std::time::Duration;

use antiphon_testkit::{Direction, Faults, Frozen, Proxy, StopMode};
use rand::{Rng, rngs::StdRng};

use crate::scene::Scene;

/// A fault after which everything goes on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    ServerKilled,
    ServerFrozen,
    PostgresKilled,
    PostgresFrozen,
    /// At once and without a checkpoint, as by an administrator in a hurry.
    PostgresRestarted,
    /// By an administrator, or by the server itself for its silence.
    WalsenderEnded,
    BothKilled,
    Link(Link, Harm),
    DiskFull(Disk),
}

/// Which link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Clients,
    Source,
    Log,
}

/// What a link suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// Every connection is reset.
    Reset,
    /// Each connection is reset once it has carried some bytes: in the middle of an answer.
    ResetWithin,
    /// Late, narrow and in pieces.
    Slow,
    /// Nothing passes for a while, and then all of it.
    Held,
    /// What is sent back is lost, then the connections are.
    AnswersLost,
    /// Everything is lost, then the connections are.
    BlackHole,
    /// The near side is gone, the far side was never told.
    Stranded,
    /// Nobody may connect for a while, and whoever was connected is not.
    Refused,
}

/// Whose disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    Source,
    Log,
}

/// Every fault, with the name by which it is asked for alone.
pub const FAULTS: &[(&str, Fault)] = &[
    ("server-killed", Fault::ServerKilled),
    ("server-frozen", Fault::ServerFrozen),
    ("postgres-killed", Fault::PostgresKilled),
    ("postgres-frozen", Fault::PostgresFrozen),
    ("postgres-restarted", Fault::PostgresRestarted),
    ("walsender-ended", Fault::WalsenderEnded),
    ("both-killed", Fault::BothKilled),
    ("clients-reset", Fault::Link(Link::Clients, Harm::Reset)),
    ("clients-reset-within", Fault::Link(Link::Clients, Harm::ResetWithin)),
    ("clients-slow", Fault::Link(Link::Clients, Harm::Slow)),
    ("clients-held", Fault::Link(Link::Clients, Harm::Held)),
    ("clients-answers-lost", Fault::Link(Link::Clients, Harm::AnswersLost)),
    ("clients-black-hole", Fault::Link(Link::Clients, Harm::BlackHole)),
    ("clients-stranded", Fault::Link(Link::Clients, Harm::Stranded)),
    ("source-reset", Fault::Link(Link::Source, Harm::Reset)),
    ("source-reset-within", Fault::Link(Link::Source, Harm::ResetWithin)),
    ("source-slow", Fault::Link(Link::Source, Harm::Slow)),
    ("source-held", Fault::Link(Link::Source, Harm::Held)),
    ("source-answers-lost", Fault::Link(Link::Source, Harm::AnswersLost)),
    ("source-black-hole", Fault::Link(Link::Source, Harm::BlackHole)),
    ("source-stranded", Fault::Link(Link::Source, Harm::Stranded)),
    ("source-refused", Fault::Link(Link::Source, Harm::Refused)),
    ("log-reset", Fault::Link(Link::Log, Harm::Reset)),
    ("log-reset-within", Fault::Link(Link::Log, Harm::ResetWithin)),
    ("log-slow", Fault::Link(Link::Log, Harm::Slow)),
    ("log-held", Fault::Link(Link::Log, Harm::Held)),
    ("log-answers-lost", Fault::Link(Link::Log, Harm::AnswersLost)),
    ("log-black-hole", Fault::Link(Link::Log, Harm::BlackHole)),
    ("log-stranded", Fault::Link(Link::Log, Harm::Stranded)),
    ("log-refused", Fault::Link(Link::Log, Harm::Refused)),
    ("source-disk-full", Fault::DiskFull(Disk::Source)),
    ("log-disk-full", Fault::DiskFull(Disk::Log)),
];

impl Fault {
    /// Does it, for as long as the seed says, and takes it back; `false` where this machine cannot.
    pub async fn strike(self, scene: &mut Scene, random: &mut StdRng) -> bool {
        scene.supervise().await;
        match self {
            Fault::ServerKilled => {
                scene.kill_server().await;
                scene.start_server();
            }
            Fault::ServerFrozen => {
                let frozen = Frozen::family(scene.server_pid().expect("it runs")).expect("the server freezes");
                pause(random, 200..1_500).await;
                drop(frozen);
            }
            Fault::PostgresKilled => {
                scene.pg.kill9().await;
                pause(random, 1..300).await;
                scene.pg.restart().await;
            }
            Fault::PostgresFrozen => {
                let frozen = Frozen::family(scene.pg.pid().expect("it runs")).expect("Postgres freezes");
                pause(random, 200..1_500).await;
                drop(frozen);
            }
            Fault::PostgresRestarted => {
                scene.pg.halt(StopMode::Immediate).await;
                scene.pg.restart().await;
            }
            Fault::WalsenderEnded => {
                let end = "select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid > 0";
                scene.client().await.execute(end, &[]).await.expect("a superuser may");
            }
            Fault::BothKilled => {
                scene.pg.kill9().await;
                scene.kill_server().await;
                scene.pg.restart().await;
                scene.start_server();
            }
            Fault::Link(link, harm) => {
                let link = match link {
                    Link::Clients => &scene.links.clients,
                    Link::Source => &scene.links.source,
                    Link::Log => &scene.links.log,
                };
                harm.suffer(link, random).await;
            }
            Fault::DiskFull(disk) => {
                let Some(disks) = &scene.disks else { return false };
                let disk = &disks[usize::from(disk == Disk::Log)];
                disk.fill().expect("the disk fills");
                pause(random, 500..1_200).await;
                disk.empty().expect("the disk empties");
            }
        }
        true
    }
}

impl Harm {
    async fn suffer(self, link: &Proxy, random: &mut StdRng) {
        match self {
            Harm::Reset => link.reset(),
            Harm::ResetWithin => {
                let limit = random.random_range(1..20_000);
                link.set(Direction::Down, Faults { reset_after_bytes: Some(limit), ..Faults::default() });
                pause(random, 200..800).await;
            }
            Harm::Slow => {
                let (latency, jitter) = (random.random_range(5..60), random.random_range(1..60));
                let (width, slice) = (random.random_range(50_000..500_000), random.random_range(1..1_000));
                link.change(|faults| {
                    faults.latency = Duration::from_millis(latency);
                    faults.jitter = Duration::from_millis(jitter);
                    faults.bandwidth_bytes_per_second = Some(width);
                    faults.slice_bytes_max = Some(slice);
                });
                pause(random, 500..1_500).await;
            }
            Harm::Held => {
                link.hold(true);
                pause(random, 300..1_500).await;
            }
            Harm::AnswersLost => {
                link.set(Direction::Down, Faults { swallow: true, ..Faults::default() });
                pause(random, 100..600).await;
                link.reset();
            }
            Harm::BlackHole => {
                link.blackhole(true);
                pause(random, 100..800).await;
                link.reset();
            }
            Harm::Stranded => link.strand(),
            Harm::Refused => {
                link.refuse(true).await.expect("the link refuses");
                link.reset();
                pause(random, 200..1_000).await;
            }
        }
        link.heal().await.expect("the link heals");
    }
}

/// Lets time pass: the moment of a fault is what is random here, nothing is waited for.
pub async fn pause(random: &mut StdRng, range_ms: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(random.random_range(range_ms))).await;
}
