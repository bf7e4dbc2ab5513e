//! A local replica: the client machine of `sync` with a disk, a network and a clock.
//!
//! `Replica` is its face; `disk` is its store, `http` and `events` its network. What is shown, sent and decided is the
//! machine's business; this room performs what the machine asks for. It knows no command line and no environment: where
//! files lie and who asks is handed in.

mod disk;
mod events;
mod home;
mod http;
mod place;
mod portable;
mod replica;
mod run;

pub use antiphon_engine::Fault;
/// The machine's own words.
pub use antiphon_sync::client;
/// Stops a run.
pub use tokio_util::sync::CancellationToken as Stopper;

pub use disk::{Disk, NotSaved, Salvaged, salvage};
pub use place::{Place, user_of};
pub use portable::Exported;
pub use replica::{Config, Replica};
pub use run::{Handle, Moment};

/// Returns an id for a new row.
pub fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
