//! Both halves of the live protocol as machines without IO: streams, conflicts, rates.
//!
//! The server drives its half from `engine` and `server`; clients will run the other half as WebAssembly, so this room
//! builds for wasm32. Time and randomness are arguments. It knows no socket, no database and no HTTP.

mod bucket;

pub use bucket::Bucket;
