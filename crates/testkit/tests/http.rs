//! The HTTP client against bytes written by hand.

use std::{net::SocketAddr, time::Duration};

use antiphon_testkit::{get, request, spawn, sse};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// Answers one request with these bytes, one write each; returns what was asked.
async fn serve(answer: &'static [&'static str]) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    let asked = spawn("server", async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") && !asked.ends_with(b"}") {
            assert!(socket.read_buf(&mut asked).await.expect("a request") > 0, "the request ended early");
        }
        socket.set_nodelay(true).expect("no delay");
        for part in answer {
            socket.write_all(part.as_bytes()).await.expect("to answer");
            tokio::task::yield_now().await;
        }
        String::from_utf8(asked).expect("text")
    });
    (address, asked)
}

#[tokio::test]
async fn bodies_are_read_by_length_by_chunks_and_to_the_end() {
    for answer in [
        &["HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\nX-A:  b \r\n", "\r\n{\"a\"", ":1}"][..],
        &[
            "HTTP/1.1 404 Not Found\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n3\r",
            "\n:1}\r\n0\r\n\r\n",
        ],
        &["HTTP/1.1 404\r\nx-a: b\r\n\r\n{\"a\":1}"],
    ] {
        let (address, asked) = serve(answer).await;
        let got = get(&format!("http://{address}/v1/x?y=1"), Some("secret"), &[("accept", "a/b")]).await;
        let got = got.expect("an answer");
        assert_eq!((got.status, got.header("X-a")), (404, Some("b")));
        assert_eq!(got.json().expect("JSON"), serde_json::json!({"a": 1}));
        let asked = asked.await.expect("no panic");
        assert!(asked.starts_with("GET /v1/x?y=1 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("authorization: Bearer secret\r\n") && asked.contains("accept: a/b\r\n"), "{asked}");
    }
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_an_error() {
    for answer in [
        &["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort"][..],
        &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nshort"],
        &["HTTP/1.1 200 OK\r\nconte"],
    ] {
        let (address, _) = serve(answer).await;
        assert!(get(&format!("http://{address}"), None, &[]).await.is_err(), "{answer:?}");
    }
}

#[tokio::test]
async fn bodies_are_sent_with_their_length() {
    let (address, asked) = serve(&["HTTP/1.1 204 No Content\r\n\r\n"]).await;
    let got = request("POST", &format!("http://{address}/"), None, &[], b"{\"b\":2}").await.expect("an answer");
    assert_eq!((got.status, got.body.len()), (204, 0));
    let asked = asked.await.expect("no panic");
    assert!(asked.contains("content-length: 7\r\n") && asked.ends_with("{\"b\":2}"), "{asked}");
}

#[tokio::test]
async fn streams_give_events_as_they_come_and_end() {
    let (address, asked) = serve(&[
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        "6\r\n: hi\n\n\r\n",
        "B\r\nid: 1\ndata:\r\n",
        "1B\r\n a\n\nevent: offset\ndata: b\n\n\r\n0\r\n\r\n",
    ])
    .await;
    let mut stream = sse(&format!("http://{address}/s"), None, Some("0-9")).await.expect("a stream");
    let first = stream.next(DEADLINE).await.expect("an event").expect("not the end");
    assert_eq!((first.id.as_deref(), first.event.as_str(), first.data.as_str()), (Some("1"), "message", "a"));
    let second = stream.next(DEADLINE).await.expect("an event").expect("not the end");
    assert_eq!((second.id.as_deref(), second.event.as_str(), second.data.as_str()), (Some("1"), "offset", "b"));
    assert_eq!(stream.next(DEADLINE).await.expect("the end"), None);
    assert_eq!(stream.comments(), 1);
    assert!(asked.await.expect("no panic").contains("last-event-id: 0-9\r\n"));
}

#[tokio::test]
async fn an_answer_that_is_no_stream_is_shown() {
    let (address, _) = serve(&["HTTP/1.1 410 Gone\r\ncontent-length: 4\r\n\r\ngone"]).await;
    let error = sse(&format!("http://{address}/s"), None, None).await.expect_err("no stream");
    assert!(error.to_string().contains("410 gone"), "{error}");
}
