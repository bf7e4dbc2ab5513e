//! Fills a conformance vector: steps on standard input, steps with the machine's answers on standard output.
//!
//! `cargo xtask gen` asks it for every file of `vectors/`; bindings never need it.

use std::io::{self, Read, Write};

use antiphon_sync::client::Vector;

fn main() -> io::Result<()> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let vector = Vector::read(&text).map_err(io::Error::other)?;
    io::stdout().write_all(vector.filled().write().as_bytes())
}
