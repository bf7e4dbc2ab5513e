//! A simulated world for the shipped machines: virtual time, a database, a log, servers, a network and their faults.
//!
//! The engine's own tasks run here unchanged over simulated ports, in one thread, by seed (SIM-01). Law: everything that
//! happens follows from the seed and the commit; nothing here reads a clock, a socket or the machine's randomness.
//!
//! A client reaches a [`Server`] through the [`Network`] only: [`Network::request`] carries a [`Request`] and brings an
//! [`Answer`] or nothing, [`Network::open`] brings a [`StreamEnd`] whose frames wait until they are taken. Statuses and
//! bodies are those of protocol 4 and 5. Checkers look at the [`History`] that a run leaves behind.

mod browser;
mod came;
mod chaos;
pub mod checks;
pub mod coverage;

mod database;
mod device;
mod dice;
mod executor;
mod hints;
mod history;
mod log;
mod mutant;
mod network;
mod people;
mod profile;
mod server;
mod shrink;
mod storage;
mod trace;
mod typing;
mod workload;
mod world;

pub use database::{
    Acknowledged, Committed, Database, Edit, FixedSchemas, Manners, Refused, SeenRow, SlotSource, Sql, SqlError,
};
pub use dice::Dice;
pub use executor::{Clock, ProcessId, Simulation, run};
pub use hints::{HintLink, Hints};
pub use history::{FinalPart, FinalView, History, Recorder, Shown, Told};
pub use log::{Durable, Log, LogLink, LogManners};
pub use mutant::Mutant;
pub use network::{Counts, Faults, Network, REQUEST_TIMEOUT_MS, StreamEnd};
pub use people::{People, PlaceChange};
pub use profile::Profile;
pub use server::{Answer, Frames, Kind, Open, Parts, Request, Server, ServerManners, StreamFrame};
pub use shrink::{Shrunk, shrink};
pub use world::{Outcome, simulate};
