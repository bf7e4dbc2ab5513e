//! Ports and the tasks that drive machines: intake, bus, live readers.
//!
//! A driver here is a loop over one closed enum that feeds a machine and performs its outputs.
//! The room reads neither environment nor sockets and knows no SQL; adapters come in through `ports`.

pub mod ports;

mod fault;
mod image;

pub use fault::Fault;
pub use image::{ImageWriter, OMITTED_ABOVE_BYTES, checksum};
