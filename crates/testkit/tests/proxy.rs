//! The proxy's faults, each seen from both sides of a connection.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use antiphon_testkit::{Direction, Faults, Proxy, spawn};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(20);
/// Long enough that bytes which were to come would have come over the loopback.
const SILENCE: Duration = Duration::from_millis(200);

/// A server that sends back what it gets, until the end.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    spawn("echo", async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            spawn("echo connection", async move {
                let (mut read, mut write) = socket.split();
                tokio::io::copy(&mut read, &mut write).await.and(write.shutdown().await)
            });
        }
    });
    address
}

async fn proxied() -> (Proxy, TcpStream) {
    let proxy = Proxy::with_seed(echo().await, 7).await.expect("a proxy");
    let client = TcpStream::connect(proxy.address()).await.expect("a connection");
    (proxy, client)
}

async fn round_trip(client: &mut TcpStream, text: &[u8]) {
    client.write_all(text).await.expect("to write");
    let mut answer = vec![0; text.len()];
    timeout(DEADLINE, client.read_exact(&mut answer)).await.expect("an answer in time").expect("an answer");
    assert_eq!(answer, text);
}

async fn silent(client: &mut TcpStream) -> bool {
    let mut byte = [0];
    timeout(SILENCE, client.read(&mut byte)).await.is_err()
}

#[tokio::test]
async fn bytes_pass_whole_and_in_order_through_slices_jitter_and_a_narrow_line() {
    let (proxy, mut client) = proxied().await;
    proxy.change(|faults| {
        faults.slice_bytes_max = Some(7);
        faults.jitter = Duration::from_millis(3);
        faults.bandwidth_bytes_per_second = Some(100_000_000);
    });
    let sent: Vec<u8> = (0..40_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let (mut read, mut write) = client.split();
    let writing = async {
        write.write_all(&sent).await?;
        write.shutdown().await
    };
    let mut got = Vec::new();
    let reading = timeout(DEADLINE, read.read_to_end(&mut got));
    let (written, read) = tokio::join!(writing, reading);
    written.expect("to write");
    read.expect("the end in time").expect("to read");
    assert!(got == expected, "{} bytes came of {}", got.len(), expected.len());
    assert_eq!((proxy.bytes(Direction::Up), proxy.bytes(Direction::Down)), (40_000, 40_000));
}

#[tokio::test]
async fn latency_delays_without_limiting_what_is_under_way() {
    let (proxy, mut client) = proxied().await;
    proxy.set(Direction::Up, Faults { latency: Duration::from_millis(150), ..Faults::default() });
    let begin = Instant::now();
    round_trip(&mut client, &[1; 200_000]).await;
    assert!(begin.elapsed() >= Duration::from_millis(150), "it took {:?}", begin.elapsed());
    // 200,000 bytes are at least 12 reads of the proxy: one after the other they would take 1.8 s.
    assert!(begin.elapsed() < Duration::from_millis(1_500), "it took {:?}", begin.elapsed());
}

#[tokio::test]
async fn held_bytes_come_later_and_swallowed_ones_never() {
    let (proxy, mut client) = proxied().await;
    proxy.hold(true);
    client.write_all(b"held").await.expect("to write");
    assert!(silent(&mut client).await);
    proxy.hold(false);
    let mut answer = [0; 4];
    timeout(DEADLINE, client.read_exact(&mut answer)).await.expect("in time").expect("the held bytes");
    proxy.blackhole(true);
    client.write_all(b"lost").await.expect("to write");
    assert!(silent(&mut client).await);
    proxy.heal().await.expect("to heal");
    round_trip(&mut client, b"after").await;
}

#[tokio::test]
async fn cut_is_an_end_and_reset_an_error() {
    let (proxy, mut client) = proxied().await;
    round_trip(&mut client, b"open").await;
    proxy.cut();
    let mut byte = [0];
    assert_eq!(timeout(DEADLINE, client.read(&mut byte)).await.expect("in time").expect("an end"), 0);
    let mut client = TcpStream::connect(proxy.address()).await.expect("a new connection");
    round_trip(&mut client, b"open").await;
    proxy.reset();
    let error = timeout(DEADLINE, client.read(&mut byte)).await.expect("in time").expect_err("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(proxy.accepted(), 2);
}

#[tokio::test]
async fn a_stranded_client_is_gone_and_its_server_hears_nothing_of_it() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a listener");
    let proxy = Proxy::with_seed(listener.local_addr().expect("its address"), 7).await.expect("a proxy");
    let mut client = TcpStream::connect(proxy.address()).await.expect("a connection");
    let (mut server, _) = listener.accept().await.expect("the other end");
    client.write_all(b"x").await.expect("to write");
    let mut byte = [0];
    timeout(DEADLINE, server.read_exact(&mut byte)).await.expect("in time").expect("the byte");
    proxy.strand();
    let error = timeout(DEADLINE, client.read(&mut byte)).await.expect("in time").expect_err("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(silent(&mut server).await, "the server was told");
    server.write_all(b"anyone there?").await.expect("the server may believe that it still has a client");
    let mut second = TcpStream::connect(proxy.address()).await.expect("a new connection lives beside it");
    let (mut other, _) = listener.accept().await.expect("its other end");
    second.write_all(b"y").await.expect("to write");
    timeout(DEADLINE, other.read_exact(&mut byte)).await.expect("in time").expect("the byte");
    proxy.reset();
    timeout(DEADLINE, server.read(&mut byte)).await.expect("in time").expect_err("the end of it");
}

#[tokio::test]
async fn a_connection_is_reset_after_the_named_byte() {
    let (proxy, mut client) = proxied().await;
    proxy.set(Direction::Down, Faults { reset_after_bytes: Some(5), ..Faults::default() });
    client.write_all(b"hello world").await.expect("to write");
    let mut got = Vec::new();
    let error = timeout(DEADLINE, client.read_to_end(&mut got)).await.expect("in time").expect_err("a reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(got.len() <= 5, "{got:?}");
    assert_eq!(proxy.bytes(Direction::Down), 5);
}

#[tokio::test]
async fn refused_connections_fail_and_open_ones_live_on() {
    let (proxy, mut client) = proxied().await;
    round_trip(&mut client, b"before").await;
    proxy.refuse(true).await.expect("to refuse");
    let error = TcpStream::connect(proxy.address()).await.expect_err("a refusal");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    round_trip(&mut client, b"during").await;
    proxy.refuse(false).await.expect("to take them again");
    let mut second = TcpStream::connect(proxy.address()).await.expect("a connection");
    round_trip(&mut second, b"after").await;
}

#[tokio::test]
async fn a_narrow_line_takes_as_long_as_its_width_says() {
    let (proxy, mut client) = proxied().await;
    let narrow = Faults { bandwidth_bytes_per_second: Some(200_000), ..Faults::default() };
    proxy.set(Direction::Up, narrow);
    let begin = Instant::now();
    round_trip(&mut client, &[1; 60_000]).await;
    // The wait after the last piece does not hold up the answer; one piece is at most 16 KiB.
    assert!(begin.elapsed() >= Duration::from_millis(200), "it took {:?}", begin.elapsed());
}
