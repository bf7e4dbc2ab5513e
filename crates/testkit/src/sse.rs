//! Incremental parsers: HTTP/1.1 chunks, and server-sent events as the WHATWG standard says.
//!
//! Written apart from the server's encoder on purpose: a test that parsed with the encoder's own code would prove
//! little. Bytes may be cut anywhere, also inside a line end or a character.

use anyhow::{Context, Result, bail};

/// One event of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The last id that the stream named, as a client sends it back after a cut.
    pub id: Option<String>,
    /// The event's name, `message` where it has none.
    pub event: String,
    /// The data, its lines joined.
    pub data: String,
}

/// Parses server-sent events.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    after_cr: bool,
    id: Option<String>,
    event: String,
    data: Option<String>,
    comments: usize,
    retry_ms: Option<u64>,
    events: Vec<Event>,
}

impl SseParser {
    /// Takes bytes and returns the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => self.end_line(),
                _ => self.line.push(byte),
            }
        }
        std::mem::take(&mut self.events)
    }

    /// Returns how many comments came, which serve as heartbeats.
    pub fn comments(&self) -> usize {
        self.comments
    }

    /// Returns the reconnection time that the stream asked for.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            self.dispatch();
            return;
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.comments += 1,
            "event" => value.clone_into(&mut self.event),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" => self.retry_ms = value.parse().ok().or(self.retry_ms),
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        let name = std::mem::take(&mut self.event);
        // An event without data is none, but an id that came with it counts.
        let Some(data) = self.data.take() else { return };
        let event = if name.is_empty() { "message".to_owned() } else { name };
        self.events.push(Event { id: self.id.clone(), event, data });
    }
}

/// Takes `Transfer-Encoding: chunked` apart.
#[derive(Debug, Default)]
pub struct ChunkedDecoder {
    state: ChunkState,
    line: Vec<u8>,
}

#[derive(Debug, Default)]
enum ChunkState {
    #[default]
    Size,
    Data(usize),
    DataEnd,
    Trailer,
    Done,
}

impl ChunkedDecoder {
    /// Takes bytes, appends what they carry to `out`, and reports whether the body is complete.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        while !bytes.is_empty() {
            match self.state {
                ChunkState::Done => bail!("bytes after the last chunk"),
                ChunkState::Data(left) => {
                    let (now, rest) = bytes.split_at(left.min(bytes.len()));
                    out.extend_from_slice(now);
                    bytes = rest;
                    self.state =
                        if now.len() == left { ChunkState::DataEnd } else { ChunkState::Data(left - now.len()) };
                }
                _ => {
                    let (byte, rest) = (bytes[0], &bytes[1..]);
                    bytes = rest;
                    if byte != b'\n' {
                        self.line.push(byte);
                        continue;
                    }
                    let line = std::mem::take(&mut self.line);
                    self.end_line(String::from_utf8_lossy(&line).trim())?;
                }
            }
        }
        Ok(self.done())
    }

    /// Reports whether the body is complete.
    pub fn done(&self) -> bool {
        matches!(self.state, ChunkState::Done)
    }

    fn end_line(&mut self, line: &str) -> Result<()> {
        self.state = match self.state {
            ChunkState::Size => {
                let size = line.split(';').next().unwrap_or_default().trim();
                match usize::from_str_radix(size, 16).with_context(|| format!("a chunk's size is {size:?}"))? {
                    0 => ChunkState::Trailer,
                    size => ChunkState::Data(size),
                }
            }
            ChunkState::DataEnd if line.is_empty() => ChunkState::Size,
            ChunkState::DataEnd => bail!("a chunk is longer than its size"),
            ChunkState::Trailer if line.is_empty() => ChunkState::Done,
            _ => ChunkState::Trailer,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\nretry: 250\nid: 3-7\nevent: activity\ndata: {\"a\":\ndata: 1}\n\nid: 3-8\n\n\
                          data:no space\r\n\r\nevent: empty\n\ndata\n\ndata: grüße\r\rdata: unfinished\n";

    fn event(id: &str, name: &str, data: &str) -> Event {
        Event { id: Some(id.to_owned()), event: name.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut() {
        let expected = vec![
            event("3-7", "activity", "{\"a\":\n1}"),
            event("3-8", "message", "no space"),
            event("3-8", "message", ""),
            event("3-8", "message", "grüße"),
        ];
        for size in 1..=STREAM.len() {
            let mut parser = SseParser::default();
            let events: Vec<Event> = STREAM.as_bytes().chunks(size).flat_map(|part| parser.push(part)).collect();
            assert_eq!(events, expected, "cut every {size} bytes");
            assert_eq!((parser.comments(), parser.retry_ms()), (1, Some(250)));
        }
    }

    #[test]
    fn chunks_are_joined_wherever_the_bytes_are_cut() {
        let body = b"5;name=value\r\nhello\r\nA\r\n, \r\nworld!\r\n0\r\nTrailer: x\r\n\r\n";
        for size in 1..=body.len() {
            let mut decoder = ChunkedDecoder::default();
            let mut out = Vec::new();
            let mut done = false;
            for part in body.chunks(size) {
                assert!(!done, "done before the end");
                done = decoder.push(part, &mut out).expect("a sound body");
            }
            assert!(done);
            assert_eq!(out, b"hello, \r\nworld!");
        }
    }

    #[test]
    fn false_chunk_sizes_are_errors() {
        for body in [&b"zz\r\n"[..], b"2\r\nabc\r\n", b"0\r\n\r\nmore", b"\r\n"] {
            assert!(ChunkedDecoder::default().push(body, &mut Vec::new()).is_err(), "{body:?}");
        }
    }
}
