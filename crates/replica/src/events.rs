//! Server-sent events out of bytes that may be cut anywhere (WHATWG, protocol 4).
//!
//! Law: an event counts once its empty line has come; what the stream ends with in the middle is nothing. It refuses to
//! hold more than one event of a bounded size.

/// An event may have so many bytes; the server's frames are far below.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// What a stream said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// An event: its name and its data.
    Event(String, String),
    /// Something that says only that the stream lives.
    Alive,
    /// How long to wait before coming back, in milliseconds.
    Retry(u64),
}

/// Takes bytes apart.
#[derive(Debug, Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    after_cr: bool,
    event: String,
    data: Option<String>,
}

impl Events {
    /// Takes bytes; `None` where one event has no end.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<Vec<Word>> {
        let mut words = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => words.extend(self.end_line()),
                _ => self.line.push(byte),
            }
        }
        let held_bytes = self.line.len() + self.data.as_ref().map_or(0, String::len);
        (held_bytes <= EVENT_BYTES_MAX).then_some(words)
    }

    fn end_line(&mut self) -> Option<Word> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return self.data.take().map(|data| Word::Event(event, data));
        }
        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => return Some(Word::Alive),
            "event" => value.clone_into(&mut self.event),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "retry" => return value.parse().ok().map(Word::Retry),
            // The position is in the data, and the machine asks for it by `offset`.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut_str_08() {
        let stream = "retry: 250\nid: 7\nevent: change\ndata: {\"a\":\ndata: \"ü\"}\n\n:\n\r\nevent: none\n\ndata:x\r\r\
                      event: confirm\ndata: unfinished\n";
        let event = |name: &str, data: &str| Word::Event(name.to_owned(), data.to_owned());
        let expected = [Word::Retry(250), event("change", "{\"a\":\n\"ü\"}"), Word::Alive, event("", "x")];
        for size in 1..=stream.len() {
            let mut events = Events::default();
            let words: Vec<Word> =
                stream.as_bytes().chunks(size).flat_map(|part| events.push(part).expect("small events")).collect();
            assert_eq!(words, expected, "cut every {size} bytes");
        }
    }

    #[test]
    fn an_event_without_an_end_is_given_up() {
        let mut events = Events::default();
        let part = vec![b'x'; 1 << 20];
        assert!((0..=EVENT_BYTES_MAX >> 20).any(|_| events.push(&part).is_none()));
    }
}
