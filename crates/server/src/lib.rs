//! HTTP over the engine: lists, streams, schema, operations; and the place where adapters become a running server.
//!
//! Handlers are thin: they ask who is calling, read the request strictly, call a port and write the answer. HTTP shapes
//! live here and are converted by hand. The room parses no command line and reads no environment.

mod activities;
pub mod admin;
mod app;
mod auth;
mod compose;
mod copies;
mod descriptors;
mod desk;
pub mod dev;
mod entities;
mod history;
mod line;
mod live;
mod mirrors;
mod mutations;
mod openapi;
mod operations;
mod problem;
mod process;
mod query;
mod router;
mod schema;
mod source_watch;
mod takeover;
mod telemetry;

pub use compose::{Config, Service};
pub use openapi::openapi_document;
/// For the tests of the contract only.
#[doc(hidden)]
pub use router::ROUTES;
