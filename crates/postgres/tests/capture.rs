//! Capture against real servers of every version: what arrives, what is refused, and what survives.
//!
//! Each test names the hazard or requirement that it proves. A test waits for conditions with a deadline, never for time.

#[path = "capture/beginning.rs"]
mod beginning;
#[path = "capture/large.rs"]
mod large;
#[path = "capture/many.rs"]
mod many;
#[path = "capture/parts.rs"]
mod parts;
#[path = "capture/promotion.rs"]
mod promotion;
#[path = "reading/reader.rs"]
mod reader;
#[path = "capture/refusals.rs"]
mod refusals;
#[path = "capture/restores.rs"]
mod restores;
#[path = "capture/rows.rs"]
mod rows;
#[path = "capture/slots.rs"]
mod slots;
#[path = "capture/stage.rs"]
mod stage;
#[path = "capture/streams.rs"]
mod streams;
#[cfg(unix)]
#[path = "capture/wrap.rs"]
mod wrap;
