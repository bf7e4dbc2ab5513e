//! Real servers as child processes and a fault-injecting proxy, for tests only.
//!
//! What is here stands for the world outside: Postgres 15 and 18, a bad network, our own binary, a client of HTTP.
//! Law: what a test starts ends with the test's process, however that ends. The room asserts nothing about meaning.

mod clock;
mod disk;
mod freeze;
mod http;
mod limit;
mod pg;
mod process;
mod proxy;
mod skip;
mod sse;
mod standby;
mod task;
mod upgrade;

pub use clock::SteppedClock;
pub use disk::SmallDisk;
pub use freeze::Frozen;
pub use http::{Response, Sse, get, request, sse};
pub use limit::{Limited, Means, memory_bytes};
pub use pg::{Pg, PgVersion, TestDb, for_each_postgres};
pub use process::{Process, Signal, signal};
pub use proxy::{Direction, Faults, Proxy};
pub use skip::skipped;
pub use sse::{ChunkedDecoder, Event, SseParser};
pub use standby::Backup;
pub use task::spawn;

pub use antiphon_postgres::StopMode;
