//! Which file a store is, so that a copy of it is recognised: on a second device, or put back from a backup.
//!
//! Law: a store that was copied says so before anything of it is sent, because two replicas with one outbox would each
//! believe that they speak for it. What cannot be known (no number of the file, no name of the machine) is left out.

use std::path::Path;

use sha2::{Digest, Sha256};

/// The file that names a Linux machine.
const MACHINE_ID: &str = "/etc/machine-id";

/// Returns a digest of the machine and of the file's own number on it; moving and renaming leave it as it is.
pub(crate) fn home(file: &Path) -> String {
    let mut sum = Sha256::new();
    sum.update(b"antiphon replica");
    // A machine without a name differs from every one with a name, and that is all that can be said.
    sum.update(std::fs::read(MACHINE_ID).unwrap_or_default());
    sum.update(number(file).unwrap_or_default().to_le_bytes());
    sum.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(unix)]
fn number(file: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(file).ok().map(|metadata| metadata.ino())
}

#[cfg(not(unix))]
fn number(_: &Path) -> Option<u64> {
    None
}
