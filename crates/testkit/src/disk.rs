//! A filesystem of a few megabytes that a test can fill and empty.
//!
//! It needs a mount, which only root may do; where that is refused the test says so and is counted. It is unmounted at
//! the end, also where something still has a file open in it.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// A mounted filesystem of a fixed size.
#[derive(Debug)]
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts one whose only user is `owner`; `None` where this machine does not let us.
    pub fn mount(size_bytes: u64, owner: u32) -> Option<SmallDisk> {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::Builder::new().prefix("antiphon-small-").tempdir().ok()?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).ok()?;
        let disk = SmallDisk { folder };
        std::fs::create_dir(disk.path()).ok()?;
        let options = format!("size={size_bytes},uid={owner},mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "antiphon-small"]).arg(disk.path());
        let mounted = mount.stdin(Stdio::null()).stderr(Stdio::null()).status().ok()?;
        mounted.success().then_some(disk)
    }

    /// Returns the folder where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Fills it to the last byte.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(self.ballast()).context("the ballast cannot be made")?;
        for piece_bytes in [1 << 20, 1 << 12, 1] {
            let piece = vec![0; piece_bytes];
            // What is written in part is part of the ballast.
            let full = loop {
                if let Err(error) = file.write_all(&piece) {
                    break error;
                }
            };
            ensure!(full.kind() == std::io::ErrorKind::StorageFull, "the disk is not full but {full}");
        }
        Ok(())
    }

    /// Gives the space back.
    pub fn empty(&self) -> Result<()> {
        std::fs::remove_file(self.ballast()).context("the ballast cannot be removed")
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.path());
    }
}

/// Takes the filesystem out of sight at once; it goes when its last file is closed.
fn unmount(path: &Path) {
    let done = Command::new("umount").arg("-l").arg(path).stdin(Stdio::null()).stderr(Stdio::null()).status();
    tracing::debug!(?done, "a small disk is unmounted");
}
