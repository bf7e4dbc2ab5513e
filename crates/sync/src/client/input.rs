//! All that may happen to a client, and what it is made of: its two clocks and its configuration.
//!
//! Law: time, randomness, answers and what the store holds come in here and nowhere else. The same shapes are the messages
//! of the WebAssembly build (`SPEC.md`), so a name that changes here changes there.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::form::{Form, Written};

/// Two clocks: one that tells the time and may jump, one that only goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Now {
    /// Milliseconds since 1970.
    pub wall_ms: u64,
    /// Milliseconds of a clock that never goes back.
    pub tick_ms: u64,
}

/// What a client is.
#[derive(Clone, Debug, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The name of this instance: random at each start, never stored.
    pub source: String,
    /// Where randomness begins.
    pub seed: u64,
    /// Whether a delete asks where others changed the row meanwhile.
    pub delete_asks: bool,
    /// What subsets that nobody wants any more may keep, in bytes.
    pub subsets_bytes_max: usize,
}

/// What happens to a client.
#[derive(Debug)]
pub enum Input<'a> {
    /// The store's fence was raised for it: it leads. As the first input it says that the store was read after that;
    /// later the store is read again first.
    Lead {
        /// What a save must find in the store, so that a former leader cannot save any more.
        fence: u64,
    },
    /// It is not to speak for its store any more: its tab closes, or its driver says so.
    Follow,
    /// There is a network, or there is none. At first one is taken for granted.
    Network {
        /// Whether it is worth asking.
        usable: bool,
    },
    /// The fence that was asked for was granted, or not.
    Claimed {
        /// The store's fence now.
        fence: u64,
        /// Whether it is this instance's.
        won: bool,
    },
    /// The tab can be seen, or not. At first it can.
    Visible {
        /// Whether it can.
        visible: bool,
    },
    /// Time has passed.
    Tick,
    /// A request was answered.
    Answer {
        /// Which.
        id: u64,
        /// HTTP's status.
        status: u16,
        /// How long to wait before the next, where the server said so.
        retry_after_ms: Option<u64>,
        /// The server's clock, where it said so.
        server_ms: Option<u64>,
        /// The body.
        body: &'a str,
    },
    /// A request was not answered.
    NoAnswer {
        /// Which.
        id: u64,
    },
    /// A frame of the stream came.
    Frame {
        /// Which stream.
        stream: u64,
        /// Its event.
        event: &'a str,
        /// Its JSON.
        data: &'a str,
    },
    /// Something came that says only that the stream lives.
    Heard {
        /// Which stream.
        stream: u64,
    },
    /// The stream could not be opened, or has ended.
    Ended {
        /// Which.
        stream: u64,
        /// HTTP's status, where there was an answer.
        status: Option<u16>,
        /// How long to wait, where the server said so.
        retry_after_ms: Option<u64>,
    },
    /// A save is durable.
    Saved {
        /// Which.
        token: u64,
    },
    /// A save did not happen, and the store is as before.
    NotSaved {
        /// Which.
        token: u64,
        /// Why: `full`, `fenced`, or anything else.
        reason: &'a str,
    },
    /// Another instance over the same store says something.
    Shared {
        /// What `Output::Share` gave it.
        message: &'a str,
    },
    /// The store was read.
    Read {
        /// Which reading.
        token: u64,
        /// What was asked for.
        records: &'a [(Record, String)],
    },
    /// The store could not be read.
    NotRead {
        /// Which reading.
        token: u64,
    },
}
