//! Connections of HTTP: accepted, bounded in time, drained.
//!
//! Why not `axum::serve`: it waits for ever for a request's head, for ever for a socket that takes nothing, and leaves
//! its connections behind when it is cut. Laws: a head comes within its time; a write that makes no progress for its
//! time ends the connection, and with it the stream behind it (a reader that stops reading costs no memory for long);
//! when this future is dropped, every connection is cut; no more are open at once than descriptors allow (see
//! `descriptors`). Streams take their socket over (see `takeover`).

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, Response},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, Sleep, sleep, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use crate::{
    line::{Line, StreamBytes},
    takeover::{self, Run, Taken, Takeover},
};

/// After a failure to accept (no file descriptors left), the next attempt waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How long a peer may take, and how much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the connection, or the last answer, to the whole head of the next request.
    pub(super) head: Duration,
    /// Without any progress of a write.
    pub(super) stalled: Duration,
    /// Bytes of streams.
    pub(super) sent: StreamBytes,
    /// So many are open at once.
    pub(super) connections: usize,
}

/// Serves until `drain`; returns when every connection has ended.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: Limits, drain: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut door = Door::new(listener, limits.connections);
    let taken = TakenOver { tasks: TaskTracker::new(), cut: CancellationToken::new() };
    // Whoever drops this future cuts what was taken over, too.
    let _cut = taken.cut.clone().drop_guard();
    loop {
        tokio::select! {
            () = drain.cancelled() => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = door.accept() => match accepted {
                Ok((socket, peer, place)) => {
                    let service = Served { line: Arc::new(Line::new(peer.ip(), limits.sent)), router: router.clone() };
                    connections.spawn(connection((socket, place), service, limits, drain.clone(), taken.clone()));
                }
                Err(error) if of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted; it is tried again");
                    tokio::select! {
                        () = sleep(ACCEPT_PAUSE) => {}
                        () = drain.cancelled() => break,
                    }
                }
            },
        }
    }
    // New connections are refused by the system from here on.
    drop(door);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
    taken.tasks.close();
    taken.tasks.wait().await;
}

/// Where connections come in, and how many more may.
struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    most: usize,
    /// Whether nobody is let in at present, which is told once.
    full: bool,
}

impl Door {
    fn new(listener: TcpListener, most: usize) -> Door {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Door { listener, places: Arc::new(Semaphore::new(most)), most, full: false }
    }

    /// Waits for a place, then for who takes it; the place is free again when what is returned is dropped.
    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let free = self.places.available_permits();
        if free == 0 && !self.full {
            self.full = true;
            tracing::warn!(
                connections = self.most,
                "{} connections are open, as many as this process may have descriptors for; new ones wait until some \
                 end, and capture goes on; raise the limit of open files (LimitNOFILE, ulimit -n)",
                self.most
            );
        }
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        // Not at the first that leaves, which the next in the queue replaces: else every turn would be told.
        if self.full && free > self.most / 10 {
            self.full = false;
            tracing::info!(connections = self.most - free, "new connections are taken again");
        }
        let (socket, peer) = self.listener.accept().await?;
        Ok((socket, peer, place))
    }
}

/// What answers the requests of one connection.
#[derive(Clone)]
struct Served {
    line: Arc<Line>,
    router: Router,
}

/// Connections that streams have taken over.
#[derive(Clone)]
struct TakenOver {
    tasks: TaskTracker,
    cut: CancellationToken,
}

/// Where a request leaves what takes its connection over.
type Slot = Arc<Mutex<Option<(Run, Vec<u8>, bool)>>>;

async fn connection(
    (socket, place): (TcpStream, OwnedSemaphorePermit),
    served: Served,
    limits: Limits,
    drain: CancellationToken,
    taken_over: TakenOver,
) {
    // Frames go out one by one: without this, the system holds a small one back until the one before is confirmed.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "small frames of a connection may be delayed");
    }
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head);
    let io = TokioIo::new(Progress { io: socket, limit: limits.stalled, stalled: None });
    let slot = Slot::default();
    let left = Arc::new(Notify::new());
    let service = {
        let (slot, left) = (Arc::clone(&slot), Arc::clone(&left));
        service_fn(move |request| answer(served.clone(), request, Arc::clone(&slot), Arc::clone(&left)))
    };
    let mut connection = builder.serve_connection(io, service);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = left.notified() => {
            let socket = connection.into_parts().io.into_inner().io;
            take_over((socket, place), &slot, &taken_over);
            return;
        }
        () = drain.cancelled() => {
            Pin::new(&mut connection).graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

/// Answers a request; one whose connection is taken over leaves that behind and never answers.
async fn answer(
    served: Served,
    mut request: Request<Incoming>,
    slot: Slot,
    left: Arc<Notify>,
) -> Result<Response<Body>, Infallible> {
    let (version, head_only) = (request.version(), request.method() == Method::HEAD);
    request.extensions_mut().insert(served.line);
    let mut response = served.router.oneshot(request.map(Body::new)).await?;
    let takeover = response.extensions_mut().remove::<Takeover>().filter(|_| !head_only);
    if let Some(run) = takeover.and_then(|takeover| takeover.take()) {
        let (head, chunked) = takeover::head(&response, version);
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((run, head, chunked));
        left.notify_one();
        std::future::pending::<()>().await;
    }
    Ok(response)
}

/// Runs what takes a socket over, in a task of its own: the one of HTTP was larger.
fn take_over((socket, place): (TcpStream, OwnedSemaphorePermit), slot: &Slot, taken_over: &TakenOver) {
    let left = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((run, head, chunked)) = left else { return };
    let cut = taken_over.cut.clone();
    let running = run(Taken { socket, head, chunked });
    let tracked = taken_over.tasks.track_future(async move {
        cut.run_until_cancelled(running).await;
        drop(place);
    });
    drop(antiphon_engine::spawn("stream", tracked));
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

/// The peer was gone before it was accepted: nothing is wrong with the listener.
fn of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A socket whose writes fail when they make no progress for a time.
struct Progress<T> {
    io: T,
    limit: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<T> Progress<T> {
    fn judge<R>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Progress<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, into)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Progress<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, parts);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.judge(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
