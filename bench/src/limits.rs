//! The benchmark `limits`: whoever floods is held to a rate, and the others do not notice (STR-04).
//!
//! Two floods: a WebSocket that takes a long catch-up as fast as it is given and acknowledges all of it, and a reader of
//! server-sent events that begins at the beginning again and again. Turns with and without the flood alternate, as
//! A B B A, with the same other readers and the same writer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use antiphon_testkit::spawn;
use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    figures::{Aim, Figure, Figures},
    fleet::Fleet,
    idle, pace,
    reader::{Reader, Target},
    report::percentile,
    served::{ORG, Served},
    streams,
};

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A short form for smoke tests
    #[arg(long)]
    quick: bool,
    /// How often turns with and without the flood alternate, as A B B A
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each turn
    #[arg(long, default_value_t = 10)]
    seconds: usize,
    /// The database server's version: 15 or 18
    #[arg(long, default_value_t = 15)]
    postgres: u32,
}

/// The others, and what is written for them.
const READERS: usize = 50;
const WRITES_PER_SECOND: u64 = 50;
/// Bytes out of a WebSocket: a second, and at once.
const RATE_BYTES: f64 = 1_048_576.0;
const BURST_BYTES: f64 = 4.0 * RATE_BYTES;
/// The flood's rows belong to an organisation of its own.
const FLOODED: &str = "org1";
/// Changes that may be unacknowledged are 256, and messages of a client 20 a second: fewer acknowledgements would stop the
/// flood, more would be dropped.
const ACKNOWLEDGED_EACH: usize = 200;

#[derive(Clone, Copy)]
enum Flood {
    WebSocket,
    Sse,
}

/// Runs everything and prints the figures.
pub(crate) async fn run(mut options: Options) -> Result<()> {
    if options.quick {
        (options.rounds, options.seconds) = (1, 6);
    }
    idle::raise_nofile()?;
    let served = Served::start(options.postgres, 1, true).await?;
    let reference = "the same readers and writer without the flood, in turns";
    let mut figures = Figures::new(&served.version, reference);
    // More than the flood may take: the burst, and a turn of its rate, at some 300 bytes a row.
    let rows = (options.seconds + 6) * 4_000;
    eprintln!("writing {rows} rows for the flood");
    pace::burst(&served.client, FLOODED, rows, 1_000).await?;
    served.caught_up().await?;
    for (flood, name) in [(Flood::WebSocket, "WebSocket"), (Flood::Sse, "SSE")] {
        paired(&served, &options, (flood, name), &mut figures).await?;
    }
    figures.print()
}

async fn paired(served: &Served, options: &Options, (flood, name): (Flood, &str), figures: &mut Figures) -> Result<()> {
    let (mut calm, mut flooded) = (Vec::new(), Vec::new());
    let (mut calm_p99, mut flooded_p99, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        for floods in [false, true, true, false] {
            if floods {
                let (found, rate) = with_flood(served, options, flood).await?;
                flooded_p99.push(percentile(&found, 0.99));
                flooded.extend(found);
                rates.push(rate);
            } else {
                let found = turn(served, options).await?;
                calm_p99.push(percentile(&found, 0.99));
                calm.extend(found);
            }
        }
    }
    for all in [&mut calm, &mut flooded, &mut rates] {
        all.sort_by(f64::total_cmp);
    }
    let rate = Figure::new(format!("bytes a second to the flooding {name}"), percentile(&rates, 0.5), "B/s");
    figures.add(match flood {
        Flood::WebSocket => rate.beside(RATE_BYTES).aim(Aim::Within(0.1)).note("beside its rate; the burst taken off"),
        Flood::Sse => rate.note("no byte rate is set for SSE: it is held by its own reading"),
    });
    for (quantile, share) in [("p50", 0.5), ("p99", 0.99)] {
        let what = format!("the others' {quantile} beside a flooding {name}");
        let figure = Figure::new(what, percentile(&flooded, share), "ms").beside(percentile(&calm, share));
        figures.add(figure.note(if share > 0.9 { spread(&calm_p99, &flooded_p99) } else { String::new() }));
    }
    Ok(())
}

/// Says between what values the turns of each kind lie.
fn spread(calm: &[f64], flooded: &[f64]) -> String {
    let span = |all: &[f64]| {
        let (least, most) = all.iter().fold((f64::MAX, 0.0_f64), |(least, most), p| (least.min(*p), most.max(*p)));
        format!("{least:.1} to {most:.1}")
    };
    format!("turns without {}, with {}", span(calm), span(flooded))
}

async fn turn(served: &Served, options: &Options) -> Result<Vec<f64>> {
    let rows = options.seconds * WRITES_PER_SECOND as usize;
    let fleet = Fleet::open(&streams::target(served), READERS, rows).await?;
    pace::steady(&served.client, ORG, WRITES_PER_SECOND, rows).await?;
    fleet.latencies().await
}

/// A turn beside a flood, and how many bytes a second that got.
async fn with_flood(served: &Served, options: &Options, flood: Flood) -> Result<(Vec<f64>, f64)> {
    let (bytes, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
    let got = Arc::clone(&bytes);
    let path = format!("/v1/orgs/{FLOODED}/live?live=sse&offset=-1");
    let target = Target { address: served.address, path, token: served.token.clone() };
    let task = match flood {
        Flood::WebSocket => {
            let socket = idle::websocket(served, FLOODED, "-1", 0).await?;
            spawn("flood", stop.clone().run_until_cancelled_owned(take(socket, got)))
        }
        Flood::Sse => spawn("flood", stop.clone().run_until_cancelled_owned(again(target, got))),
    };
    let task = AbortOnDropHandle::new(task);
    let began = Instant::now();
    let found = turn(served, options).await?;
    let (taken, seconds) = (bytes.load(Relaxed) as f64, began.elapsed().as_secs_f64());
    stop.cancel();
    if let Some(ended) = task.await? {
        ended.context("the flood ended early")?;
    }
    let burst = if matches!(flood, Flood::WebSocket) { BURST_BYTES } else { 0.0 };
    // The server forgets the reader before the next turn begins.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok((found, (taken - burst) / seconds))
}

/// Takes whatever comes and acknowledges it.
async fn take(mut socket: idle::Socket, got: Arc<AtomicU64>) -> Result<()> {
    let mut changes = 0;
    while let Some(message) = socket.next().await {
        let message = message?;
        let text = message.to_text().unwrap_or_default();
        got.fetch_add(text.len() as u64, Relaxed);
        if !text.starts_with(r#"{"kind":"change""#) {
            continue;
        }
        changes += 1;
        if changes % ACKNOWLEDGED_EACH == 0 {
            let rest = text.split_once(r#""activityId":"#).context("no `activityId`")?.1;
            let offset: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let ack = format!(r#"{{"kind":"ack","id":"s","offset":{offset}}}"#);
            socket.send(Message::text(ack)).await?;
        }
    }
    bail!("the WebSocket ended")
}

/// Reads from the beginning to the end, again and again.
async fn again(target: Target, got: Arc<AtomicU64>) -> Result<()> {
    loop {
        let mut reader = Reader::open(&target, 0, 256 << 10).await?;
        let mut quiet = false;
        while !quiet {
            let next = tokio::time::timeout(Duration::from_millis(50), reader.read(|_| {})).await;
            quiet = next.is_err();
            if let Ok(read) = next {
                got.fetch_add(read? as u64, Relaxed);
            }
        }
    }
}
