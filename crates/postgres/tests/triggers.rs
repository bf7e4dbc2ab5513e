//! Capture by triggers against real servers: what arrives, in which order, what is refused, and what is left behind.
//!
//! Each test names the hazard or requirement that it proves. A test waits for conditions with a deadline, never for time.

#[path = "triggers/keeping.rs"]
mod keeping;
#[path = "triggers/ordering.rs"]
mod ordering;
#[path = "reading/reader.rs"]
mod reader;
#[path = "triggers/recording.rs"]
mod recording;
#[path = "triggers/stage.rs"]
mod stage;
#[path = "reading/telling.rs"]
mod telling;
