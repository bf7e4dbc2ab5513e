//! What an open connection without news costs the server, as SSE and as WebSocket (STR-22).
//!
//! Each kind has a server that has just started, so that no memory of what was before is used again. The marginal figure,
//! from the first count to the last, holds nothing that a server needs once. The system's own buffers of a socket are not
//! in it: they are the kernel's.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt, TryStreamExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::{
    figures::{Aim, Figure, Figures},
    pace,
    reader::{Reader, Target, connect},
    served::Served,
    usage,
};

/// An organisation has at most so many streams; the usual one is left to others.
const STREAMS_OF_ORG: usize = 1_000;
const CONNECTING_MAX: usize = 64;
/// Memory is read when nothing has moved for this long.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
const READER_BYTES: usize = 1024;

/// Lets this process, and the servers that it starts, open as many files as the system allows; returns how many.
pub(crate) fn raise_nofile() -> Result<u64> {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).context("the limit of open files")?;
    Ok(most.unwrap_or(u64::MAX))
}

/// What a kind of connection is, and how much it may cost.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Sse,
    WebSocket,
}

/// Measures both kinds at each count of connections.
pub(crate) async fn measure(served: &mut Served, counts: &[usize], figures: &mut Figures) -> Result<()> {
    for (kind, name, aim_kib) in [(Kind::Sse, "SSE", 8.0), (Kind::WebSocket, "WebSocket", 12.0)] {
        served.restart().await?;
        let pid = served.pid()?;
        // What the first stream alone needs is there before anything is counted.
        let mut open = Open::default();
        open.add(served, kind, 0..10).await?;
        let base = settled(&pid).await?;
        let mut marks = vec![(10, base)];
        for count in counts {
            let began = Instant::now();
            let reached = open.add(served, kind, open.count..*count).await;
            let resident = settled(&pid).await?;
            let note = match reached {
                Ok(()) => format!("{} open, opened in {:.1} s", open.count, began.elapsed().as_secs_f64()),
                Err(error) => format!("only {} reached: {error:#}", open.count),
            };
            let per = (resident - base) / (open.count.max(11) - 10) as f64;
            let what = format!("memory of an idle {name} connection, {count}");
            figures.add(Figure::new(what, per, "KiB").aim(Aim::AtMost(aim_kib)).note(note));
            marks.push((open.count, resident));
        }
        if let [.., (few, small), (many, large)] = marks[..]
            && marks.len() > 2
            && many > few
        {
            let what = format!("memory of one more {name} connection");
            let figure = Figure::new(what, (large - small) / (many - few) as f64, "KiB");
            figures.add(figure.aim(Aim::AtMost(aim_kib)).note(format!("from {few} to {many}")));
        }
        // Independent of rows: what they leave behind is the server's ring of recent activities, which has a bound.
        let before = settled(&pid).await?;
        pace::burst(&served.client, "org1", 500, 50).await?;
        served.caught_up().await?;
        let grown = (settled(&pid).await? - before) / 1024.0;
        let what = format!("server grown by 500 rows sent to {} {name} streams", open.count.min(STREAMS_OF_ORG));
        figures.add(Figure::new(what, grown, "MiB").note("its ring of recent activities, at most 8 MiB, included"));
    }
    Ok(())
}

/// Connections that are held open.
#[derive(Default)]
struct Open {
    tasks: JoinSet<()>,
    count: usize,
}

impl Open {
    async fn add(&mut self, served: &Served, kind: Kind, numbers: std::ops::Range<usize>) -> Result<()> {
        let mut opening = futures::stream::iter(numbers).map(|number| one(served, kind, number));
        let mut opening = std::pin::pin!(opening.by_ref().buffer_unordered(CONNECTING_MAX));
        while let Some(connection) = opening.try_next().await? {
            self.tasks.spawn(hold(connection));
            self.count += 1;
        }
        Ok(())
    }
}

/// An open WebSocket.
pub(crate) type Socket = WebSocketStream<tokio::net::TcpStream>;

enum Connection {
    Sse(Reader),
    WebSocket(Box<Socket>),
}

async fn one(served: &Served, kind: Kind, number: usize) -> Result<Connection> {
    let org = format!("org{}", number / STREAMS_OF_ORG + 1);
    if kind == Kind::WebSocket {
        return Ok(Connection::WebSocket(Box::new(websocket(served, &org, "now", number).await?)));
    }
    let path = format!("/v1/orgs/{org}/live?live=sse&offset=now");
    let target = Target { address: served.address, path, token: served.token.clone() };
    Ok(Connection::Sse(Reader::open(&target, number, READER_BYTES).await?))
}

/// Opens a WebSocket with one subscription.
pub(crate) async fn websocket(served: &Served, org: &str, offset: &str, number: usize) -> Result<Socket> {
    let socket = connect(served.address, number).await?;
    let mut request = format!("ws://{}/v1/ws", served.address).into_client_request()?;
    let bearer = HeaderValue::from_str(&format!("Bearer {}", served.token))?;
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = client_async(request, socket).await?;
    let subscribe = format!(r#"{{"kind":"subscribe","id":"s","org":"{org}","offset":"{offset}"}}"#);
    for text in [r#"{"kind":"hello"}"#.to_owned(), subscribe] {
        socket.send(Message::text(text)).await?;
    }
    while let Some(message) = socket.next().await {
        let message = message?;
        let text = message.to_text().unwrap_or_default();
        if text.contains(r#""kind":"subscribed""#) {
            return Ok(socket);
        }
        if text.contains(r#""kind":"error""#) {
            bail!("the subscription was refused: {text}");
        }
    }
    bail!("the WebSocket ended")
}

/// Reads whatever comes, so that pings are answered, until the server closes.
async fn hold(connection: Connection) {
    match connection {
        Connection::Sse(mut reader) => while reader.read(|_| {}).await.is_ok() {},
        Connection::WebSocket(mut socket) => while let Some(Ok(_)) = socket.next().await {},
    }
}

/// Returns the resident memory in KiB once it no longer moves.
async fn settled(pid: &str) -> Result<f64> {
    let mut last = usage::resident_kib(pid)?;
    for _ in 0..10 {
        tokio::time::sleep(SETTLED_AFTER).await;
        let next = usage::resident_kib(pid)?;
        if (next - last).abs() <= last * 0.005 {
            return Ok(next);
        }
        last = next;
    }
    Ok(last)
}
