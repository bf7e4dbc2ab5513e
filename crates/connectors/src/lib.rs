//! Targets of the activity log: each a reader with a cursor that writes somewhere else, in a folder of its own.
//!
//! A target reads through the ports of `engine`, whoever captures; it knows neither the source's adapter nor our own
//! tables. Law: where it stands is kept at the target, in the transaction that wrote what stands there. Nothing is skipped
//! in silence: what a target refuses stops it at that place, with a reason.

pub mod postgres;
