//! The binary as a person or a script meets it: help, exit codes, configuration, and `dev` end to end.
//!
//! Real processes, real Postgres; nothing here knows the inside.

mod capture;
mod configuration;
mod dev;
mod guide;
mod operators;
mod own;
mod plan;
mod resync;
mod run;
mod surface;
mod sync;
