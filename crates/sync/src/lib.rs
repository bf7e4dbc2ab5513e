//! Both halves of the live protocol as machines without IO: streams, conflicts, text merges, rates.
//!
//! The server drives its half from `engine` and `server`; clients run the other half, in a page as WebAssembly, so this
//! room builds for wasm32. Time and randomness are arguments. It knows no socket, no database and no HTTP.

mod bucket;
pub mod client;
mod clock;
mod conflict;
mod float;
mod form;
mod json;
mod merge;
mod ordered;
mod stream_server;

pub use bucket::Bucket;
pub use clock::Clock;
pub use conflict::{AHEAD_MAX_MS, OLD_MAX_MS, Verdict, elements, judge, judge_clock};
pub use merge::{Piece, TEXT_BYTES_MAX, clean, merge_text, text_tokens};
pub use ordered::{OrderedEntry, OrderedMap, OrderedSet};
pub use stream_server::{
    CONFIRM_IDS_MAX, Frame, HEARTBEAT_MS, Input, Marks, OFFSET_INTERVAL_MS, OVERLOADED_MS, Output, Standing,
    StreamConfig, StreamServer, UNACKNOWLEDGED_MAX, sight,
};
