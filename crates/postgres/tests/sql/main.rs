//! The SQL side against real servers: types, lists, copies, preparing tables, doctor.

mod copying;
mod doctor;
mod entities;
mod fitness;
mod fixture;
mod lists;
mod names;
mod objects;
mod shapes;
mod sight;
mod stamp;
mod stamp_property;
mod stamp_shapes;
mod stamp_writers;
mod tenancy;
mod values;
