//! Capture by queries against real servers: what arrives, what is never missed, what is refused, and what is told of the
//! rest.
//!
//! Each test names the hazard or requirement that it proves. A test waits for conditions with a deadline, never for time.

#[path = "queries/cursors.rs"]
mod cursors;
#[path = "queries/doctor.rs"]
mod doctor;
#[path = "queries/late.rs"]
mod late;
#[path = "queries/polling.rs"]
mod polling;
#[path = "reading/reader.rs"]
mod reader;
#[path = "queries/reconciling.rs"]
mod reconciling;
#[path = "queries/stage.rs"]
mod stage;
#[path = "reading/telling.rs"]
mod telling;
