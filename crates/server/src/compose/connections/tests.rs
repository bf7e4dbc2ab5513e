//! Peers that take their time, over real sockets.

use std::{convert::Infallible, sync::Arc};

use axum::{body::Body, routing::get};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    time::timeout,
};

use super::*;

/// What is waited for comes within this time, or never.
const SOON: Duration = Duration::from_secs(20);
/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3_600);
const PATIENT: Limits = Limits { head: NEVER, stalled: NEVER, sent: None, connections: 9 };

/// Tells when a body, and with it the stream behind it, is dropped.
struct Dropped(Arc<Notify>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

struct Served {
    socket: TcpStream,
    drain: CancellationToken,
    server: tokio::task::JoinHandle<()>,
    dropped: Arc<Notify>,
}

/// Serves `/quick`, and `/endless` whose body never ends, to one connected peer.
async fn served(limits: Limits) -> Served {
    let dropped = Arc::new(Notify::new());
    let tell = Arc::clone(&dropped);
    let endless = move || async move {
        let guard = Dropped(tell);
        Body::from_stream(futures::stream::poll_fn(move |_| {
            let _held = &guard;
            Poll::Ready(Some(Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 16_384]))))
        }))
    };
    let router = Router::new().route("/quick", get(async || "done")).route("/endless", get(endless));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let drain = CancellationToken::new();
    let server = antiphon_engine::spawn("http", serve(listener, router, limits, drain.clone()));
    let socket = TcpStream::connect(address).await.expect("connected");
    Served { socket, drain, server, dropped }
}

async fn ask(socket: &mut TcpStream, path: &str) {
    let head = format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n");
    socket.write_all(head.as_bytes()).await.expect("sent");
}

async fn ends(socket: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // A reset is an end as well.
    if let Err(error) = timeout(SOON, socket.read_to_end(&mut all)).await.expect("the connection ends") {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    all
}

#[tokio::test]
async fn a_head_that_never_ends_is_not_waited_for() {
    let mut served = served(Limits { head: Duration::from_millis(100), ..PATIENT }).await;
    served.socket.write_all(b"GET /quick HTTP/1.1\r\nhost: he").await.expect("sent");
    assert!(!String::from_utf8_lossy(&ends(&mut served.socket).await).contains("done"));
}

#[tokio::test]
async fn a_peer_that_takes_nothing_loses_its_connection_and_its_stream_str_06() {
    let mut served = served(Limits { stalled: Duration::from_millis(200), ..PATIENT }).await;
    ask(&mut served.socket, "/endless").await;
    timeout(SOON, served.dropped.notified()).await.expect("the stream behind it is dropped");
}

#[tokio::test]
async fn a_drain_ends_idle_connections_at_once_and_lets_answers_finish() {
    let mut served = served(PATIENT).await;
    ask(&mut served.socket, "/quick").await;
    let mut first = [0; 12];
    timeout(SOON, served.socket.read_exact(&mut first)).await.expect("in time").expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");
    served.drain.cancel();
    assert!(String::from_utf8_lossy(&ends(&mut served.socket).await).ends_with("done"));
    timeout(SOON, served.server).await.expect("the server ends").expect("no panic");
}

#[tokio::test]
async fn whoever_cuts_the_server_cuts_its_connections() {
    let mut served = served(PATIENT).await;
    ask(&mut served.socket, "/endless").await;
    let mut first = [0; 12];
    timeout(SOON, served.socket.read_exact(&mut first)).await.expect("in time").expect("an answer");
    served.server.abort();
    timeout(SOON, served.dropped.notified()).await.expect("the stream behind it is dropped");
}

#[tokio::test]
async fn who_finds_no_place_waits_and_is_answered_when_somebody_leaves_op_08() {
    let mut first = served(Limits { connections: 1, ..PATIENT }).await;
    let address = first.socket.peer_addr().expect("an address");
    ask(&mut first.socket, "/endless").await;
    let mut begun = [0; 12];
    timeout(SOON, first.socket.read_exact(&mut begun)).await.expect("in time").expect("an answer");
    let mut second = TcpStream::connect(address).await.expect("the system takes it");
    ask(&mut second, "/quick").await;
    let early = timeout(Duration::from_millis(100), second.read(&mut begun)).await;
    assert!(early.is_err(), "it was answered while every place was taken");
    drop(first.socket);
    timeout(SOON, second.read_exact(&mut begun)).await.expect("in time").expect("an answer");
    assert_eq!(&begun, b"HTTP/1.1 200");
}
