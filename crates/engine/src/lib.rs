//! Ports and the tasks that drive machines: intake, bus, live readers.
//!
//!
//! A driver here is a loop over one closed enum that feeds a machine and performs its outputs.
//! The room reads neither environment nor sockets and knows no SQL; adapters come in through `ports`.

pub mod backoff;
pub mod ports;

mod authorship;
mod bus;
mod capture;
mod copier;
mod events;
mod fanout;
mod fault;
mod follow;
mod image;
mod intake;
mod join;
mod mutate;
mod pipeline;
mod policy;
mod published;
mod ring;
mod task;

pub use authorship::{Authorship, MESSAGE_PREFIX, SealKey, Unsealed, open, seal};
pub use bus::{Bus, OrgWatch, Page};
pub use capture::{CaptureConfig, CaptureHandle, CaptureService};
pub use copier::{CopyState, CopyStatus, CopyTrouble};
pub use fanout::{Feed, FeedConfig};
pub use fault::Fault;
pub use image::{ImageWriter, OMITTED_ABOVE_BYTES, ReadImage, checksum, read_image};
pub use intake::{Mapped, Mapper};
pub use join::BeforeList;
pub use mutate::{Applied, Door, Outcome};
pub use policy::{Reaction, reaction};
pub use published::{Encoded, Published};
pub use task::spawn;
