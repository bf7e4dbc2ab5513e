//! A TCP proxy that does to bytes what bad networks do, controlled while it runs.
//!
//! Laws: bytes keep their order and none is invented; without faults nothing is lost; what `hold` stops goes on
//! later, what `swallow` takes is gone. Slicing and jitter are random by a seed, which is printed.

mod pump;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use crate::task::spawn;

/// As long as the kernel may need to let go of a port that we had.
const REBIND: Duration = Duration::from_secs(5);

/// A direction through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What one direction of every connection suffers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// How long each byte is under way.
    pub latency: Duration,
    /// At most as much again, at random.
    pub jitter: Duration,
    /// How many bytes pass in a second; `None` is no limit.
    pub bandwidth_bytes_per_second: Option<u64>,
    /// Writes are cut into random pieces of at most so many bytes.
    pub slice_bytes_max: Option<usize>,
    /// Bytes wait, and their sender feels it once buffers are full: a half-open connection that comes back.
    pub hold: bool,
    /// Bytes are taken and thrown away: a black hole.
    pub swallow: bool,
    /// The connection is reset when this direction has carried so many bytes.
    pub reset_after_bytes: Option<u64>,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<SocketAddr>,
    seed: u64,
    faults: [watch::Sender<Faults>; 2],
    endings: watch::Sender<(u64, Ending)>,
    refusing: watch::Sender<bool>,
    bytes: [AtomicU64; 2],
    accepted: AtomicU64,
    open: AtomicUsize,
}

/// How connections are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Close,
    Reset,
    /// The client's side is reset, the server's is left open and hears nothing more.
    Strand,
}

/// A running proxy; dropping it resets its connections and frees its port.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: watch::Receiver<bool>,
    acceptor: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy in front of an address, with a seed from `ANTIPHON_SEED` or at random.
    pub async fn start(upstream: SocketAddr) -> io::Result<Proxy> {
        let given = std::env::var("ANTIPHON_SEED").ok().and_then(|text| text.parse().ok());
        Proxy::with_seed(upstream, given.unwrap_or_else(rand::random)).await
    }

    /// Starts a proxy whose randomness is given.
    pub async fn with_seed(upstream: SocketAddr, seed: u64) -> io::Result<Proxy> {
        eprintln!("proxy: ANTIPHON_SEED={seed}");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            seed,
            faults: [watch::Sender::default(), watch::Sender::default()],
            endings: watch::Sender::new((0, Ending::Close)),
            refusing: watch::Sender::default(),
            bytes: Default::default(),
            accepted: AtomicU64::default(),
            open: AtomicUsize::default(),
        });
        let (up, listening) = watch::channel(true);
        let acceptor = spawn("proxy", accept(listener, address, Arc::clone(&shared), up));
        Ok(Proxy { address, shared, listening, acceptor })
    }

    /// Returns the address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the port that clients connect to.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Replaces the faults of one direction, for present and future connections.
    pub fn set(&self, direction: Direction, faults: Faults) {
        self.shared.faults[index(direction)].send_replace(faults);
    }

    /// Changes the faults of both directions.
    pub fn change(&self, change: impl Fn(&mut Faults)) {
        for sender in &self.shared.faults {
            sender.send_modify(&change);
        }
    }

    /// Ends every fault; connections that were ended stay so.
    pub async fn heal(&self) -> io::Result<()> {
        self.change(|faults| *faults = Faults::default());
        self.refuse(false).await
    }

    /// Swallows everything in both directions without a sign to either side.
    pub fn blackhole(&self, on: bool) {
        self.change(|faults| faults.swallow = on);
    }

    /// Holds everything in both directions back, losing nothing.
    pub fn hold(&self, on: bool) {
        self.change(|faults| faults.hold = on);
    }

    /// Closes every connection now; bytes still under way are lost.
    pub fn cut(&self) {
        self.shared.endings.send_modify(|(count, ending)| (*count, *ending) = (*count + 1, Ending::Close));
    }

    /// Resets every connection now, so that both sides see an error.
    pub fn reset(&self) {
        self.shared.endings.send_modify(|(count, ending)| (*count, *ending) = (*count + 1, Ending::Reset));
    }

    /// Resets the client's side of every connection and leaves the server's open and silent: half-open.
    ///
    /// What the server holds for a client that it believes to be there stays held, until the next ending or the drop.
    pub fn strand(&self) {
        self.shared.endings.send_modify(|(count, ending)| (*count, *ending) = (*count + 1, Ending::Strand));
    }

    /// Leads to another server from now on, and resets every connection: what a moved address looks like.
    pub fn lead_to(&self, upstream: SocketAddr) {
        *self.shared.upstream.lock().unwrap_or_else(PoisonError::into_inner) = upstream;
        self.reset();
    }

    /// Refuses new connections, or takes them again; returns once it is so.
    pub async fn refuse(&self, on: bool) -> io::Result<()> {
        self.shared.refusing.send_replace(on);
        let mut listening = self.listening.clone();
        listening.wait_for(|up| *up != on).await.map(drop).map_err(io::Error::other)
    }

    /// Returns how many bytes one direction has carried, over all connections.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared.bytes[index(direction)].load(Ordering::Relaxed)
    }

    /// Returns how many connections were taken so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Returns how many connections are open.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.reset();
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Direction::Up { "up" } else { "down" })
    }
}

fn index(direction: Direction) -> usize {
    match direction {
        Direction::Up => 0,
        Direction::Down => 1,
    }
}

async fn accept(listener: TcpListener, address: SocketAddr, shared: Arc<Shared>, up: watch::Sender<bool>) {
    let mut refusing = shared.refusing.subscribe();
    let mut listener = Some(listener);
    loop {
        let refuse = *refusing.borrow_and_update();
        if refuse {
            listener = None;
            up.send_replace(false);
        } else if listener.is_none() {
            listener = rebind(address).await;
            up.send_replace(listener.is_some());
        }
        let Some(open) = &listener else {
            if refusing.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            taken = open.accept() => match taken {
                Ok((client, _)) => {
                    let number = shared.accepted.fetch_add(1, Ordering::Relaxed);
                    spawn("proxy connection", connection(client, number, Arc::clone(&shared)));
                }
                Err(error) => tracing::warn!(%error, "the proxy could not take a connection"),
            },
            changed = refusing.changed() => if changed.is_err() { return },
        }
    }
}

async fn rebind(address: SocketAddr) -> Option<TcpListener> {
    let bind = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(128)
    };
    let retry = async {
        loop {
            match bind() {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(REBIND, retry).await.ok()
}

async fn connection(mut client: TcpStream, number: u64, shared: Arc<Shared>) {
    let mut endings = shared.endings.subscribe();
    endings.mark_unchanged();
    let upstream = *shared.upstream.lock().unwrap_or_else(PoisonError::into_inner);
    let server = tokio::select! {
        server = TcpStream::connect(upstream) => server,
        _ = endings.changed() => return,
    };
    let Ok(mut server) = server else {
        // The nearest to a refusal that a proxy can do once it has accepted.
        end(&client, Ending::Reset);
        return;
    };
    for socket in [&client, &server] {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "the proxy could not switch delays off");
        }
    }
    shared.open.fetch_add(1, Ordering::Relaxed);
    let ending = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let up = pump::run(client_read, server_write, pump::Lane::new(&shared, Direction::Up, number));
        let down = pump::run(server_read, client_write, pump::Lane::new(&shared, Direction::Down, number));
        tokio::select! {
            done = async { tokio::try_join!(up, down) } => match done {
                Ok(_) => Ending::Close,
                Err(_) => Ending::Reset,
            },
            _ = endings.changed() => endings.borrow().1,
        }
    };
    end(&client, ending);
    if ending == Ending::Strand {
        drop(client);
        stranded(&server, &mut endings).await;
        end(&server, Ending::Reset);
    } else {
        end(&server, ending);
    }
    shared.open.fetch_sub(1, Ordering::Relaxed);
}

/// Keeps the server's side as it is until every connection is ended in another way; the server's own bytes pile up.
async fn stranded(server: &TcpStream, endings: &mut watch::Receiver<(u64, Ending)>) {
    endings.mark_unchanged();
    if let Err(error) = endings.wait_for(|(_, ending)| *ending != Ending::Strand).await {
        tracing::debug!(%error, server = ?server.peer_addr(), "the proxy ended with a stranded connection");
    }
}

/// Prepares a socket so that dropping it ends it in this way.
fn end(socket: &TcpStream, ending: Ending) {
    if ending != Ending::Close
        && let Err(error) = socket.set_zero_linger()
    {
        tracing::debug!(%error, "the proxy could not reset a connection");
    }
}
