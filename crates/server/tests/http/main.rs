//! The contract of reading (protocol 1 to 4, 6) against the real service on real Postgres 15 and 18.

mod auth;
mod auth_canary;
mod auth_origins;
mod auth_tickets;
mod auth_websocket;
mod authors;
mod confirmation;
mod conformance;
mod delivery;
mod encoding;
mod join;
mod mutations;
mod mutations_rows;
mod mutations_sessions;
mod operations;
mod policies;
mod policy;
mod refusals;
mod resets;
mod right_to_read;
mod rows;
mod stage;
mod streams;
mod transports;
mod wall;
mod websocket;
