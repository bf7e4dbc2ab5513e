//! The bytes that one connection is sent of a stream: a burst, then a rate, whatever the transport (STR-04).
//!
//! What came is compared with what may have come since before the request was sent, so a slow machine cannot break it.

use antiphon_testkit::{Sse, for_each_postgres};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use antiphon_server::admin::ServeOptions;

use crate::stage::{SOON, Setup, Stage, next};

const RATE: u64 = 1 << 20;
const BURST: u64 = 4 << 20;
/// One batch is under way when the burst is spent.
const UNDER_WAY: u64 = 512 * 1024;
/// Each of about 192 kB.
const ROWS: u64 = 50;
/// Enough to see the rate behind the burst.
const LOOKED_AT: u64 = BURST + 2 * RATE;

/// A rate that a test can reach.
fn held_to_a_rate() -> Setup {
    let serve = |options| ServeOptions { stream_bytes_per_second: RATE, stream_bytes_burst: BURST, ..options };
    Setup { serve: Some(serve), ..Setup::default() }
}

/// Puts a backlog into the log, and returns a reader of another type, whom it costs nothing: it was told of what came
/// after, so all of it is there.
async fn backlog(stage: &Stage) -> Sse {
    let mut brisk = stage.stream("offset=now&entityTypes=task", None).await;
    next(&mut brisk, "offset").await;
    let sql = format!(
        "insert into notes (id, org, title)
         select n::text, 'acme', repeat(md5(n::text), 6000) from generate_series(1, {ROWS}) n"
    );
    stage.run(&sql).await;
    stage.run("insert into tasks (list, n, org) values ('a', 0, 'acme')").await;
    next(&mut brisk, "change").await;
    brisk
}

/// Holds what came against what may have come.
fn held(bytes: u64, began: Instant) {
    let most = BURST + UNDER_WAY + RATE * began.elapsed().as_millis() as u64 / 1_000;
    assert!(bytes <= most, "{bytes} bytes in {:?}, at most {most}", began.elapsed());
}

#[tokio::test]
async fn a_reader_of_a_long_backlog_is_held_to_its_rate_and_others_read_on_str_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, held_to_a_rate()).await;
        let mut brisk = backlog(&stage).await;
        let began = Instant::now();
        let mut slow = stage.stream("offset=-1", None).await;
        let (mut bytes, mut seen, mut written) = (0, 0, 0);
        while bytes < LOOKED_AT {
            let event = slow.next(SOON).await.expect("an event").expect("an open stream");
            bytes += event.data.len() as u64;
            held(bytes, began);
            if event.event == "change" {
                seen += 1;
                let change: Value = serde_json::from_str(&event.data).expect("JSON");
                assert_eq!(change["entityId"], seen.to_string(), "held back, and nothing left out");
            }
            // Once it is held back, the others have what is new at once.
            if bytes > BURST {
                written += 1;
                stage.run(&format!("insert into tasks (list, n, org) values ('a', {written}, 'acme')")).await;
                let (_, change) = next(&mut brisk, "change").await;
                assert_eq!(change["data"]["n"], written);
            }
        }
        assert!(seen < ROWS && written > 1, "it was not held back while others were told: {seen}, {written}");
    })
    .await;
}

/// Long-polls over one connection.
struct Kept {
    socket: TcpStream,
    head: String,
    offset: i64,
}

impl Kept {
    /// Polls once and returns the answer's body.
    async fn poll(&mut self) -> Vec<u8> {
        let head = self.head.replace("OFFSET", &self.offset.to_string());
        self.socket.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        loop {
            assert!(self.socket.read_buf(&mut answer).await.expect("an answer") > 0, "closed");
            let Some(end) = answer.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 200"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            if answer.len() == end + 4 + length.parse::<usize>().expect("a number") {
                return answer.split_off(end + 4);
            }
        }
    }
}

#[tokio::test]
async fn long_polls_over_one_connection_are_held_to_the_same_rate_and_each_to_a_size_str_04() {
    for_each_postgres(|pg| async move {
        let stage = Stage::open_with(&pg, held_to_a_rate()).await;
        drop(backlog(&stage).await);
        let url = stage.url("");
        let host = url.trim_start_matches("http://");
        let head = format!(
            "GET /v1/orgs/acme/live?live=poll&timeout=20&limit=1000&offset=OFFSET HTTP/1.1\r\nhost: {host}\r\n\
             authorization: Bearer {}\r\n\r\n",
            stage.alice
        );
        let began = Instant::now();
        let socket = TcpStream::connect(host).await.expect("connected");
        let mut kept = Kept { socket, head, offset: -1 };
        let (mut bytes, mut seen) = (0, 0);
        while bytes < LOOKED_AT {
            let body = kept.poll().await;
            bytes += body.len() as u64;
            assert!(body.len() < 1 << 21, "an answer of {} bytes", body.len());
            // An answer is paid for after it is given.
            held(bytes.saturating_sub(body.len() as u64), began);
            let page: Value = serde_json::from_slice(&body).expect("JSON");
            for activity in page["activities"].as_array().expect("activities") {
                seen += 1;
                assert_eq!(activity["entityId"], seen.to_string(), "nothing left out, nothing twice");
            }
            kept.offset = page["offset"].as_i64().expect("an offset");
            assert_eq!(page["upToDate"], false, "{seen}");
        }
    })
    .await;
}
