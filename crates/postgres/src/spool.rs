//! Files for transactions that are too large for memory or still in progress.
//!
//! One file for each transaction in a private folder (0700) that lives as long as its connection: a crash drops it, and
//! the server sends everything again, so half a transaction can never be taken for a whole one (PG-41).
//! Everything here blocks and is called from a blocking thread; whoever drives it answers keepalives meanwhile.
//! Laws: all files together never exceed the quota; a write is a batch of records, never one of them.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use antiphon_engine::Fault;
use antiphon_model::{Code, Xid};
use bytes::{Bytes, BytesMut};
use tempfile::TempDir;

/// What is to be done with a spool, in order.
#[derive(Debug)]
pub(crate) enum Operation {
    /// Append records.
    Append { xid: Xid, bytes: Bytes },
    /// Cut the file.
    Truncate { xid: Xid, len_bytes: u64 },
    /// Read on from where the last read ended, at most so much.
    Read { xid: Xid, bytes_max: usize },
    /// Drop the file, where there is one.
    Drop { xid: Xid },
}

impl Operation {
    /// Returns how much memory it holds while it waits.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Operation::Append { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }
}

/// The files of one connection.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: Option<TempDir>,
    within: PathBuf,
    prefix: String,
    bytes_max: u64,
    bytes: u64,
    files: HashMap<Xid, SpoolFile>,
}

#[derive(Debug)]
struct SpoolFile {
    file: File,
    path: PathBuf,
    len_bytes: u64,
    read_bytes: u64,
}

impl Spool {
    /// Prepares a spool; what an earlier connection of the same slot left behind is deleted.
    pub(crate) fn open(within: &Path, slot: &str, bytes_max: u64) -> Result<Spool, Fault> {
        let prefix = format!("antiphon-spool-{slot}.");
        fs::create_dir_all(within).map_err(|error| failed("the spool's folder cannot be made", error))?;
        let entries = fs::read_dir(within).map_err(|error| failed("the spool's folder cannot be read", error))?;
        for entry in entries {
            let entry = entry.map_err(|error| failed("the spool's folder cannot be read", error))?;
            if entry.file_name().to_string_lossy().starts_with(&prefix)
                && let Err(error) = fs::remove_dir_all(entry.path())
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(failed("an old spool cannot be deleted", error));
            }
        }
        let files = HashMap::new();
        Ok(Spool { folder: None, within: within.to_owned(), prefix, bytes_max, bytes: 0, files })
    }

    /// Returns how much all files hold.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Performs an operation; only a read returns bytes.
    ///
    /// # Errors
    /// Fails with `SPOOL_FULL` where the quota would be exceeded and with `DISK_FULL` where the disk has no space.
    pub(crate) fn perform(&mut self, operation: Operation) -> Result<Option<Bytes>, Fault> {
        match operation {
            Operation::Append { xid, bytes } => self.append(xid, &bytes).map(|()| None),
            Operation::Truncate { xid, len_bytes } => self.truncate(xid, len_bytes).map(|()| None),
            Operation::Read { xid, bytes_max } => self.read(xid, bytes_max).map(Some),
            Operation::Drop { xid } => self.drop_file(xid).map(|()| None),
        }
    }

    fn append(&mut self, xid: Xid, bytes: &[u8]) -> Result<(), Fault> {
        let length = bytes.len() as u64;
        if self.bytes + length > self.bytes_max {
            let detail = format!("transaction {xid} needs more than the {} bytes of spool_bytes_max", self.bytes_max);
            return Err(Fault::new(Code::SpoolFull, detail));
        }
        let file = self.file(xid)?;
        file.file.write_all(bytes).map_err(|error| failed("the spool cannot be written", error))?;
        file.len_bytes += length;
        self.bytes += length;
        Ok(())
    }

    fn truncate(&mut self, xid: Xid, len_bytes: u64) -> Result<(), Fault> {
        let Some(file) = self.files.get_mut(&xid) else { return Ok(()) };
        file.file.set_len(len_bytes).map_err(|error| failed("the spool cannot be cut", error))?;
        self.bytes -= file.len_bytes.saturating_sub(len_bytes);
        file.len_bytes = len_bytes;
        Ok(())
    }

    fn read(&mut self, xid: Xid, bytes_max: usize) -> Result<Bytes, Fault> {
        let Some(file) = self.files.get_mut(&xid) else { return Ok(Bytes::new()) };
        let left = file.len_bytes.saturating_sub(file.read_bytes);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes_max);
        let mut buffer = BytesMut::zeroed(length);
        read_exact_at(&file.file, &mut buffer, file.read_bytes)
            .map_err(|error| failed("the spool cannot be read", error))?;
        file.read_bytes += length as u64;
        Ok(buffer.freeze())
    }

    fn drop_file(&mut self, xid: Xid) -> Result<(), Fault> {
        let Some(file) = self.files.remove(&xid) else { return Ok(()) };
        self.bytes -= file.len_bytes;
        fs::remove_file(&file.path).map_err(|error| failed("a spool cannot be deleted", error))
    }

    fn file(&mut self, xid: Xid) -> Result<&mut SpoolFile, Fault> {
        if !self.files.contains_key(&xid) {
            let path = self.folder()?.join(format!("{xid}.spool"));
            // Appending writes at the end even after the file was cut.
            let file = OpenOptions::new().create_new(true).append(true).read(true).open(&path);
            let file = file.map_err(|error| failed("a spool cannot be made", error))?;
            self.files.insert(xid, SpoolFile { file, path, len_bytes: 0, read_bytes: 0 });
        }
        self.files.get_mut(&xid).ok_or_else(|| Fault::new(Code::Internal, "a spool went away"))
    }

    /// Most connections never meet a large transaction and need no folder.
    fn folder(&mut self) -> Result<&Path, Fault> {
        if self.folder.is_none() {
            let mut builder = tempfile::Builder::new();
            builder.prefix(&self.prefix);
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
            let folder = builder.tempdir_in(&self.within);
            self.folder = Some(folder.map_err(|error| failed("the spool's folder cannot be made", error))?);
        }
        self.folder.as_ref().map(TempDir::path).ok_or_else(|| Fault::new(Code::Internal, "a spool went away"))
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], at_bytes: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, at_bytes)
}

#[cfg(not(unix))]
fn read_exact_at(mut file: &File, buffer: &mut [u8], at_bytes: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(at_bytes))?;
    file.read_exact(buffer)
}

fn failed(what: &'static str, error: io::Error) -> Fault {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::DiskFull,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory => {
            Code::ConfigInvalid
        }
        _ => Code::Internal,
    };
    Fault::new(code, what).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const XID: Xid = Xid::new(7);

    fn append(spool: &mut Spool, xid: u64, bytes: &'static [u8]) -> Result<Option<Bytes>, Fault> {
        spool.perform(Operation::Append { xid: Xid::new(xid), bytes: Bytes::from_static(bytes) })
    }

    #[test]
    fn what_was_cut_is_gone_and_the_rest_is_read_in_order_pg_38() {
        let within = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(within.path(), "s", 100).unwrap();
        append(&mut spool, 7, b"onetwo").unwrap();
        append(&mut spool, 8, b"other").unwrap();
        spool.perform(Operation::Truncate { xid: XID, len_bytes: 3 }).unwrap();
        append(&mut spool, 7, b"three").unwrap();
        assert_eq!(spool.bytes(), 13);
        let mut read = Vec::new();
        loop {
            let bytes = spool.perform(Operation::Read { xid: XID, bytes_max: 3 }).unwrap().unwrap();
            if bytes.is_empty() {
                break;
            }
            read.extend_from_slice(&bytes);
        }
        assert_eq!(read, b"onethree");
        spool.perform(Operation::Drop { xid: XID }).unwrap();
        spool.perform(Operation::Drop { xid: XID }).unwrap();
        assert_eq!(spool.bytes(), 5);
    }

    #[test]
    fn the_quota_holds_over_all_files_and_is_freed_by_drops() {
        let within = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(within.path(), "s", 6).unwrap();
        append(&mut spool, 7, b"1234").unwrap();
        assert_eq!(append(&mut spool, 8, b"567").unwrap_err().code(), Code::SpoolFull);
        spool.perform(Operation::Drop { xid: XID }).unwrap();
        append(&mut spool, 8, b"567").unwrap();
    }

    #[test]
    fn a_connection_drops_what_a_crash_left_and_nothing_else_pg_41() {
        let within = tempfile::tempdir().unwrap();
        let stale = within.path().join("antiphon-spool-s.crashed");
        let foreign = within.path().join("antiphon-spool-s2.alive");
        fs::create_dir(&stale).unwrap();
        fs::create_dir(&foreign).unwrap();
        fs::write(stale.join("7.spool"), b"half").unwrap();
        let mut spool = Spool::open(within.path(), "s", 100).unwrap();
        assert!(!stale.exists() && foreign.exists());
        append(&mut spool, 7, b"x").unwrap();
        assert_eq!(fs::read_dir(within.path()).unwrap().count(), 2);
        drop(spool);
        assert_eq!(fs::read_dir(within.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_a_spool() {
        use std::os::unix::fs::PermissionsExt;
        let within = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(within.path(), "s", 100).unwrap();
        append(&mut spool, 7, b"x").unwrap();
        let mode = fs::metadata(spool.folder().unwrap()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told_as_such() {
        let mut spool = Spool::open(tempfile::tempdir().unwrap().path(), "s", 100).unwrap();
        let file = OpenOptions::new().append(true).open("/dev/full").unwrap();
        spool.files.insert(XID, SpoolFile { file, path: PathBuf::new(), len_bytes: 0, read_bytes: 0 });
        assert_eq!(append(&mut spool, 7, b"x").unwrap_err().code(), Code::DiskFull);
    }
}
