//! The benchmark `streams`: what readers of a running server see, beside a fan-out of test_decoding (STR-20 to STR-23).
//!
//! Candidate and floor take turns, as A B B A, with the same readers and the same writer; while the floor has its turn
//! the candidate is frozen. A row's time is taken in its transaction, by the one clock of this machine, so that the flush
//! of the commit is part of every figure. What is idle or old is measured last, on a server that has just started.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    backlog,
    figures::{Aim, Figure, Figures},
    fleet::Fleet,
    floor::Floor,
    idle, pace,
    reader::Target,
    report::percentile,
    served::{ORG, Served},
    usage,
};

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A short form for smoke tests: fewer readers, rows and seconds
    #[arg(long)]
    quick: bool,
    /// How often candidate and floor take turns, as A B B A
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Seconds of each turn
    #[arg(long, default_value_t = 8)]
    seconds: usize,
    /// Only these parts: latency, deliveries, idle, backlog
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The database server's version: 15 or 18
    #[arg(long, default_value_t = 15)]
    postgres: u32,
}

/// Readers, and transactions a second, of the latency measurements: a thousand readers get as much as the machine bears.
const LOADS: [(usize, u64); 3] = [(1, 50), (100, 50), (1_000, 10)];

/// Runs everything and prints the figures.
pub(crate) async fn run(mut options: Options) -> Result<()> {
    if options.quick {
        (options.rounds, options.seconds) = (1, 2);
    }
    let nofile = idle::raise_nofile()?;
    let connections: Vec<usize> = if options.quick { vec![200] } else { vec![1_000, 10_000] };
    let orgs = connections.iter().max().map_or(1, |most| most.div_ceil(1_000) + 1);
    let mut served = Served::start(options.postgres, orgs, false).await?;
    let reference = "bench/floor/test_decoding.mjs, in turns with ours";
    let mut figures = Figures::new(&served.version, reference);
    let wanted = |part: &str| options.only.is_empty() || options.only.iter().any(|only| only == part);
    if wanted("latency") {
        for (readers, rate) in LOADS {
            let readers = if options.quick { readers.min(200) } else { readers };
            latency(&served, &options, (readers, rate), &mut figures).await?;
        }
    }
    if wanted("deliveries") {
        let rows = if options.quick { 1_000 } else { 20_000 };
        deliveries(&served, 100, rows, &mut figures).await?;
        if !options.quick {
            deliveries(&served, 1_000, rows / 10, &mut figures).await?;
        }
    }
    if wanted("idle") {
        eprintln!("at most {nofile} files may be open");
        idle::measure(&mut served, &connections, &mut figures).await?;
    }
    if wanted("backlog") {
        served.restart().await?;
        backlog::measure(&served, if options.quick { 5_000 } else { 100_000 }, &mut figures).await?;
    }
    figures.print()
}

/// Returns our stream of the usual organisation.
pub(crate) fn target(served: &Served) -> Target {
    let path = format!("/v1/orgs/{ORG}/live?live=sse&offset=now");
    Target { address: served.address, path, token: served.token.clone() }
}

/// From the row's transaction to its arrival at each reader.
async fn latency(
    served: &Served,
    options: &Options,
    (readers, rate): (usize, u64),
    figures: &mut Figures,
) -> Result<()> {
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    let mut driver = 0.0;
    let rows = options.seconds * rate as usize;
    for _ in 0..options.rounds {
        for floor in [false, true, true, false] {
            let before = usage::of("self")?.cpu_seconds;
            let began = Instant::now();
            let found = match floor {
                true => {
                    let floor = Floor::start(served).await?;
                    let found = turn(served, &floor.target, readers, rate, rows).await;
                    floor.stop(served).await?;
                    found?
                }
                false => turn(served, &target(served), readers, rate, rows).await?,
            };
            driver = (usage::of("self")?.cpu_seconds - before) / began.elapsed().as_secs_f64();
            if floor { floors.extend(found) } else { ours.extend(found) }
        }
    }
    ours.sort_by(f64::total_cmp);
    floors.sort_by(f64::total_cmp);
    for (name, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
        let aim = match (readers, name) {
            (1, "p50") => Aim::TimesReference(2.0),
            (1_000, "p50") => Aim::TimesReference(1.0),
            _ => Aim::None,
        };
        let what = format!("commit to arrival, {readers} readers, {rate}/s, {name}");
        let figure = Figure::new(what, percentile(&ours, share), "ms").beside(percentile(&floors, share)).aim(aim);
        figures.add(figure.note(format!("{} arrivals; driver {driver:.2} CPUs", ours.len())));
    }
    Ok(())
}

async fn turn(served: &Served, target: &Target, readers: usize, rate: u64, rows: usize) -> Result<Vec<f64>> {
    let fleet = Fleet::open(target, readers, rows).await?;
    pace::steady(&served.client, ORG, rate, rows).await?;
    fleet.latencies().await
}

/// How many rows reach readers a second at most, and what a million of them cost.
async fn deliveries(served: &Served, readers: usize, rows: usize, figures: &mut Figures) -> Result<()> {
    let ours = flood(served, &target(served), &served.pid()?, readers, rows).await?;
    served.caught_up().await?;
    let floor = Floor::start(served).await?;
    let theirs = flood(served, &floor.target, &floor.pid()?, readers, rows).await;
    floor.stop(served).await?;
    let theirs = theirs?;
    let what = format!("deliveries a second to {readers} readers");
    let note = format!("{rows} rows; driver {:.2} CPUs", ours.driver_cpus);
    figures.add(Figure::new(what, ours.a_second, "1/s").beside(theirs.a_second).note(note));
    let what = format!("server CPU a million deliveries, {readers} readers");
    let figure = Figure::new(what, ours.cpu_a_million, "s").beside(theirs.cpu_a_million);
    figures.add(figure.aim(Aim::AtMost(10.0)).note("capture of the rows included"));
    Ok(())
}

struct Flood {
    a_second: f64,
    cpu_a_million: f64,
    driver_cpus: f64,
}

async fn flood(served: &Served, target: &Target, pid: &str, readers: usize, rows: usize) -> Result<Flood> {
    let fleet = Fleet::open(target, readers, rows).await?;
    // Opening the streams is not part of it.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (server, driver) = (usage::of(pid)?.cpu_seconds, usage::of("self")?.cpu_seconds);
    let began = Instant::now();
    pace::burst(&served.client, ORG, rows, 20).await?;
    let arrived = fleet.latencies().await?.len() as f64;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Flood {
        a_second: arrived / seconds,
        cpu_a_million: (usage::of(pid)?.cpu_seconds - server) / arrived * 1e6,
        driver_cpus: (usage::of("self")?.cpu_seconds - driver) / seconds,
    })
}
