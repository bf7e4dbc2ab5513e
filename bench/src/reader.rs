//! A reader of server-sent events that costs little, so that a thousand of them do not become what is measured.
//!
//! It speaks as much HTTP as a stream needs: it looks for the field `at_us` in what comes, whatever the framing, and
//! notes how long ago that was. The clock is one, the machine's own, for writers, servers and readers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// Where a stream is, and what opens it.
#[derive(Clone)]
pub(crate) struct Target {
    /// The server.
    pub(crate) address: SocketAddr,
    /// The path and query.
    pub(crate) path: String,
    /// The token, where one is wanted.
    pub(crate) token: String,
}

/// An address of this machine holds some 28,000 connections; readers share several.
const READERS_PER_SOURCE: usize = 2_000;

/// Connects from the loopback address of a reader's number.
pub(crate) async fn connect(address: SocketAddr, number: usize) -> Result<TcpStream> {
    let source = Ipv4Addr::new(127, 0, 0, 1 + (number / READERS_PER_SOURCE) as u8);
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An open stream.
pub(crate) struct Reader {
    socket: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Reader {
    /// Opens a stream; a server that has no place yet is asked again for a while.
    pub(crate) async fn open(target: &Target, number: usize, buffer_bytes: usize) -> Result<Reader> {
        for _ in 0..100 {
            let mut socket = connect(target.address, number).await?;
            let Target { address, path, token } = target;
            let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n");
            socket.write_all(head.as_bytes()).await?;
            let mut reader = Reader { socket, buffer: vec![0; buffer_bytes], filled: 0 };
            match reader.status().await? {
                200 => return Ok(reader),
                429 | 503 => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                status => bail!("{path}: {status} {}", String::from_utf8_lossy(&reader.buffer[..reader.filled])),
            }
        }
        bail!("{}: no place", target.path)
    }

    /// Reads up to the first event's end, which every stream begins with.
    async fn status(&mut self) -> Result<u32> {
        loop {
            if !self.fill().await? {
                bail!("the server closed at once");
            }
            let text = String::from_utf8_lossy(&self.buffer[..self.filled]);
            let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            if text.contains("retry: ") || (status != 200 && text.contains("\r\n\r\n")) {
                return Ok(status);
            }
        }
    }

    /// Waits for more, and calls `seen` with the `at_us` of each row; returns how many bytes came.
    pub(crate) async fn read(&mut self, mut seen: impl FnMut(i64)) -> Result<usize> {
        let before = self.filled;
        if !self.fill().await? {
            bail!("the server closed");
        }
        let came = self.filled - before;
        let used = scan(&self.buffer[..self.filled], &mut seen);
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(came)
    }

    async fn fill(&mut self) -> Result<bool> {
        if self.filled == self.buffer.len() {
            // No row in a whole buffer: what could be cut is at its end.
            self.buffer.copy_within(self.filled / 2.., 0);
            self.filled -= self.filled / 2;
        }
        let read = self.socket.read(&mut self.buffer[self.filled..]).await.context("the stream broke off")?;
        self.filled += read;
        Ok(read > 0)
    }
}

const FIELD: &[u8] = b"at_us\"";
/// Microseconds since 1970 have so many digits.
const DIGITS: usize = 16;

/// Finds the rows' times and returns how much of the bytes is done with.
pub(crate) fn scan(bytes: &[u8], seen: &mut impl FnMut(i64)) -> usize {
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'_') {
        let field = at + found;
        // `at_us":"1769…"` or `at_us":1769…`: the name, at most three more characters, the digits.
        let start = field.saturating_sub(2);
        if bytes.len() - start < FIELD.len() + 3 + DIGITS {
            return start;
        }
        at = field + 1;
        if !bytes[start..].starts_with(FIELD) {
            continue;
        }
        let value = &bytes[start + FIELD.len()..];
        let skipped = value.iter().take(3).take_while(|byte| !byte.is_ascii_digit()).count();
        let digits = &value[skipped..skipped + DIGITS];
        if let Some(micros) = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()) {
            seen(micros);
            at = start + FIELD.len() + skipped + DIGITS;
        }
    }
    bytes.len().saturating_sub(2).max(at).min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::scan;

    #[test]
    fn times_are_found_wherever_the_bytes_are_cut() {
        let text = br#"data: {"org_id":"a_b","at_us":1769860800123456,"x":1} data: {"at_us":"1769860800123457"} the end is long"#;
        for cut in 0..text.len() {
            let mut found = Vec::new();
            let mut rest = text[..cut].to_vec();
            let used = scan(&rest, &mut |at| found.push(at));
            rest.drain(..used);
            rest.extend_from_slice(&text[cut..]);
            scan(&rest, &mut |at| found.push(at));
            assert_eq!(found, [1769860800123456, 1769860800123457], "cut at {cut}");
        }
    }
}
