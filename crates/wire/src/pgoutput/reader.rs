//! Walks the fields of one message; every step checks what is left.
//!
//! Nothing is allocated but names, and those are as long as the bytes that hold them.

use antiphon_model::{Lsn, Micros};
use bytes::Bytes;

use super::OldKind;
use crate::{Error, frames::from_postgres};

pub(super) struct Reader {
    bytes: Bytes,
    at: usize,
    tag: char,
}

impl Reader {
    /// Begins after the kind byte.
    pub(super) fn new(bytes: Bytes, tag: char) -> Reader {
        Reader { bytes, at: 1, tag }
    }

    pub(super) fn truncated(&self) -> Error {
        Error::Truncated { tag: self.tag }
    }

    pub(super) fn unknown_mark(&self, mark: u8) -> Error {
        Error::UnknownMark { tag: self.tag, mark }
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let part = self.bytes.get(self.at..self.at + N).and_then(|part| part.try_into().ok());
        let part = part.ok_or(Error::Truncated { tag: self.tag })?;
        self.at += N;
        Ok(part)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn lsn(&mut self) -> Result<Lsn, Error> {
        self.array().map(u64::from_be_bytes).map(Lsn::new)
    }

    pub(super) fn time(&mut self) -> Result<Micros, Error> {
        self.array().map(i64::from_be_bytes).map(from_postgres)
    }

    pub(super) fn stream_xid(&mut self, in_stream: bool) -> Result<Option<u32>, Error> {
        if in_stream { self.u32().map(Some) } else { Ok(None) }
    }

    pub(super) fn mark(&mut self, expected: u8) -> Result<(), Error> {
        match self.u8()? {
            mark if mark == expected => Ok(()),
            mark => Err(self.unknown_mark(mark)),
        }
    }

    pub(super) fn old_kind(&self, mark: u8) -> Result<OldKind, Error> {
        match mark {
            b'K' => Ok(OldKind::Identity),
            b'O' => Ok(OldKind::Full),
            mark => Err(self.unknown_mark(mark)),
        }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<Bytes, Error> {
        if length > self.left() {
            return Err(self.truncated());
        }
        let part = self.bytes.slice(self.at..self.at + length);
        self.at += length;
        Ok(part)
    }

    pub(super) fn cstring(&mut self) -> Result<Bytes, Error> {
        let length = self.bytes[self.at..].iter().position(|byte| *byte == 0).ok_or(self.truncated())?;
        let text = self.take(length)?;
        self.at += 1;
        Ok(text)
    }

    /// A name; bytes that are not UTF-8 (a database of encoding SQL_ASCII) are replaced.
    pub(super) fn text(&mut self) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.cstring()?).into_owned())
    }

    /// A schema's name; the server leaves that of the catalogue empty.
    pub(super) fn schema(&mut self) -> Result<String, Error> {
        let name = self.text()?;
        Ok(if name.is_empty() { "pg_catalog".to_owned() } else { name })
    }

    pub(super) fn rest(&self) -> Bytes {
        self.bytes.slice(self.at..)
    }

    pub(super) fn end_of_row(&self, rest: &Bytes) -> Result<(), Error> {
        if rest.is_empty() { Ok(()) } else { Err(Error::Trailing { tag: self.tag, bytes: rest.len() }) }
    }

    pub(super) fn end(&self) -> Result<(), Error> {
        if self.left() == 0 { Ok(()) } else { Err(Error::Trailing { tag: self.tag, bytes: self.left() }) }
    }
}
