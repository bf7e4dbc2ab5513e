//! A small HTTP/1.1 client for tests: whole answers and streams of server-sent events.
//!
//! It hides nothing: no redirects, no retries, no pool, one connection for each request, so that a test sees what
//! was on the wire. Plain `http://` only.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::sse::{ChunkedDecoder, Event, SseParser};

/// A test's answer that takes longer than this will not come.
const ANSWER: Duration = Duration::from_secs(30);
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// Returns a header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("the body is not JSON: {}", self.text()))
    }
}

/// Sends a GET and reads the whole answer.
pub async fn get(url: &str, token: Option<&str>, headers: &[(&str, &str)]) -> Result<Response> {
    request("GET", url, token, headers, &[]).await
}

/// Sends a request and reads the whole answer.
pub async fn request(
    method: &str,
    url: &str,
    token: Option<&str>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response> {
    let whole = async {
        let mut answer = open(method, url, token, headers, body).await?;
        let mut out = Vec::new();
        while answer.read_body(&mut out).await? {}
        Ok(Response { status: answer.status, headers: answer.headers, body: out })
    };
    timeout(ANSWER, whole).await.with_context(|| format!("{method} {url} did not end in time"))?
}

/// Opens a stream of server-sent events.
///
/// # Errors
/// When the answer is not a stream; the error shows status and body.
pub async fn sse(url: &str, token: Option<&str>, last_event_id: Option<&str>) -> Result<Sse> {
    let mut headers = vec![("accept", "text/event-stream")];
    headers.extend(last_event_id.map(|id| ("last-event-id", id)));
    let opened = timeout(ANSWER, open("GET", url, token, &headers, &[])).await;
    let mut answer = opened.with_context(|| format!("GET {url} did not answer in time"))??;
    let kind = find(&answer.headers, "content-type").unwrap_or_default();
    if answer.status != 200 || !kind.starts_with("text/event-stream") {
        let mut body = Vec::new();
        while answer.read_body(&mut body).await? {}
        bail!("no stream but {} {}", answer.status, String::from_utf8_lossy(&body));
    }
    Ok(Sse { answer, parser: SseParser::default(), ready: Vec::new().into_iter() })
}

/// An open stream of server-sent events; dropping it closes the connection.
#[derive(Debug)]
pub struct Sse {
    answer: Answer,
    parser: SseParser,
    ready: std::vec::IntoIter<Event>,
}

impl Sse {
    /// Waits for the next event; `None` once the server has ended the stream.
    ///
    /// # Errors
    /// When none comes within the deadline, or the connection breaks.
    pub async fn next(&mut self, deadline: Duration) -> Result<Option<Event>> {
        timeout(deadline, self.read()).await.context("no event came in time")?
    }

    /// Returns the headers of the answer.
    pub fn headers(&self) -> &[(String, String)] {
        &self.answer.headers
    }

    /// Returns how many comments (heartbeats) came so far.
    pub fn comments(&self) -> usize {
        self.parser.comments()
    }

    async fn read(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.ready.next() {
                return Ok(Some(event));
            }
            let mut bytes = Vec::new();
            let more = self.answer.read_body(&mut bytes).await?;
            self.ready = self.parser.push(&bytes).into_iter();
            if !more && self.ready.len() == 0 {
                return Ok(None);
            }
        }
    }
}

#[derive(Debug)]
struct Answer {
    socket: TcpStream,
    status: u16,
    headers: Vec<(String, String)>,
    framing: Framing,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Framing {
    Length(usize),
    Chunked(ChunkedDecoder),
    UntilClose,
}

impl Answer {
    /// Appends body bytes to `out` and reports whether more may follow.
    async fn read_body(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        match &self.framing {
            Framing::Length(0) => return Ok(false),
            Framing::Chunked(decoder) if decoder.done() => return Ok(false),
            _ => {}
        }
        let mut bytes = std::mem::take(&mut self.buffer);
        let ended = bytes.is_empty() && self.socket.read_buf(&mut bytes).await? == 0;
        match &mut self.framing {
            Framing::UntilClose => {
                out.extend_from_slice(&bytes);
                Ok(!ended)
            }
            _ if ended => bail!("the connection was closed inside the body"),
            Framing::Length(left) => {
                let now = bytes.len().min(*left);
                out.extend_from_slice(&bytes[..now]);
                *left -= now;
                Ok(*left > 0)
            }
            Framing::Chunked(decoder) => Ok(!decoder.push(&bytes, out)?),
        }
    }
}

async fn open(method: &str, url: &str, token: Option<&str>, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    let rest = url.strip_prefix("http://").with_context(|| format!("{url} is not http"))?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let mut socket = TcpStream::connect(&address).await.with_context(|| format!("{address} cannot be reached"))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    if let Some(token) = token {
        head.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body).await?;
    let (head, buffer) = read_head(&mut socket).await?;
    let (status, headers) = parse_head(&head)?;
    let chunked = find(&headers, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let length = find(&headers, "content-length").map(str::parse).transpose().context("content-length")?;
    let framing = match length {
        _ if method == "HEAD" || matches!(status, 204 | 304) => Framing::Length(0),
        _ if chunked => Framing::Chunked(ChunkedDecoder::default()),
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    Ok(Answer { socket, status, headers, framing, buffer })
}

/// Reads up to the empty line; returns the head and what came after it.
async fn read_head(socket: &mut TcpStream) -> Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((String::from_utf8(bytes).context("the head is not text")?, body));
        }
        if bytes.len() > HEAD_BYTES_MAX {
            bail!("the head is too long");
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            bail!("the connection was closed before the head's end, after {} bytes", bytes.len());
        }
    }
}

fn parse_head(head: &str) -> Result<(u16, Vec<(String, String)>)> {
    let mut lines = head.trim_end().split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("the first line is {first:?}"))?;
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').with_context(|| format!("a header is {line:?}"))?;
        Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    Ok((status, headers.collect::<Result<_>>()?))
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}
