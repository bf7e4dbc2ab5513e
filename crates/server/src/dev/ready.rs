//! Waiting until the server answers that it can serve, by asking as any client would, and until its first copies are
//! in the log, so that a stream opened now shows what happens now.

use std::{net::SocketAddr, time::Duration};

use antiphon_engine::Fault;
use antiphon_model::{Code, SourceState};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::Service;

const STREAMS: Duration = Duration::from_secs(15);
const READY: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
const ANSWER: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// Waits until capture follows the log with nothing waiting; false where that takes too long to wait for.
pub(super) async fn streams(service: &Service) -> bool {
    let mut status = service.capture().subscribe();
    let streaming = status.wait_for(|status| status.state == SourceState::Streaming);
    matches!(timeout(STREAMS, streaming).await, Ok(Ok(_)))
}

/// Waits until `/readyz` answers 200.
pub(super) async fn answers(address: SocketAddr) -> Result<(), Fault> {
    let deadline = Instant::now() + READY;
    let mut last = String::new();
    while Instant::now() < deadline {
        if let Ok(Ok(answer)) = timeout(ANSWER, ask(address)).await {
            if answer.starts_with("HTTP/1.1 200") {
                return Ok(());
            }
            last = answer.split("\r\n\r\n").nth(1).unwrap_or_default().trim().to_owned();
        }
        sleep(POLL).await;
    }
    Err(Fault::new(Code::TryAgain, format!("the server did not become ready in time: {last}")))
}

async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
