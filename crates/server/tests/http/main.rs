//! The contract of reading (protocol 1 to 4, 6) against the real service on real Postgres 15 and 18.

mod refusals;
mod resets;
mod rows;
mod stage;
mod streams;
