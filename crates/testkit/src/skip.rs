//! Tests that cannot run on this machine say so aloud and are counted; under CI they fail.
//!
//! A test that passes without having run is worse than one that fails.

use std::{env, fs::OpenOptions, io::Write};

/// Reports that a test lacks what `needs` names, such as `Postgres 18`.
///
/// # Panics
/// Under `CI=true`, where nothing may be skipped, and when the skip cannot be counted.
pub fn skipped(needs: &str) {
    let line = format!("skipped: needs {needs}, install with script/bootstrap");
    assert!(env::var("CI").as_deref() != Ok("true"), "{line}");
    eprintln!("{line}");
    if let Some(path) = env::var_os("ANTIPHON_SKIP_LOG") {
        let log = OpenOptions::new().create(true).append(true).open(path);
        let written = log.and_then(|mut log| writeln!(log, "{line}"));
        assert!(written.is_ok(), "ANTIPHON_SKIP_LOG cannot be written: {written:?}");
    }
}
