//! Transactions too large for memory, or still in progress: what is kept while they grow, and how they are read back.
//!
//! A spool is a sequence of records, each a length (32 bits, big-endian) and a raw message. A part that was rolled back
//! is cut off at its first record: subtransactions nest, so everything after it belongs to it or to a part that is
//! rolled back with it (PG-38).
//! Reading back decodes each row under the description that precedes it in the spool (PG-46), and numbers changes as a
//! transaction in memory would, whatever the sizes of chunks and parts (PG-37).

use std::collections::HashMap;

use antiphon_model::{Change, Lsn, Micros, Transaction, Xid};
use bytes::{BufMut, Bytes, BytesMut};

use crate::{Commit, Error, RelationCache, TypeTable, changes, decode};

/// What is known of a spooled transaction at its commit; everything that its reader needs but the bytes.
#[derive(Clone, Debug)]
pub struct CommitHeader {
    /// The end position of the commit record.
    pub commit_lsn: Lsn,
    /// The transaction's number.
    pub xid: Xid,
    /// The commit time by the source's clock.
    pub committed_at: Micros,
    /// The length of the spool.
    pub len_bytes: u64,
    streamed: bool,
    relations: RelationCache,
    types: TypeTable,
}

/// How large a part of a transaction may grow; one change is always taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartLimits {
    /// The number of changes.
    pub changes_max: usize,
    /// The bytes of their messages.
    pub bytes_max: usize,
}

/// A transaction being spooled.
#[derive(Debug)]
pub(crate) struct Spool {
    pub(crate) xid: Xid,
    len_bytes: u64,
    pending: BytesMut,
    /// Descriptions, by position, with the number of their arrival.
    descriptions: Vec<Description>,
    /// The first record of each subtransaction, positions rising.
    parts: Vec<(u32, u64)>,
    part_starts: HashMap<u32, u64>,
    latest_part: u32,
}

/// A description of a table or type inside a spool.
#[derive(Debug)]
pub(crate) struct Description {
    at_bytes: u64,
    pub(crate) arrival: u64,
    pub(crate) payload: Bytes,
}

impl Spool {
    /// Begins a spool; `xid` is the transaction's own 32-bit number, which marks no part.
    pub(crate) fn new(xid: Xid) -> Spool {
        Spool {
            xid,
            len_bytes: 0,
            pending: BytesMut::new(),
            descriptions: Vec::new(),
            parts: Vec::new(),
            part_starts: HashMap::new(),
            latest_part: xid.as_u64() as u32,
        }
    }

    /// Adds a message of the (sub)transaction `part`; `arrival` numbers it if it is a description.
    pub(crate) fn append(&mut self, part: u32, payload: &Bytes, arrival: Option<u64>) -> Result<(), Error> {
        let tag = payload.first().copied().unwrap_or(b' ') as char;
        let length = u32::try_from(payload.len()).map_err(|_| Error::Trailing { tag, bytes: payload.len() })?;
        if part != self.latest_part {
            self.latest_part = part;
            if part != self.xid.as_u64() as u32 && !self.part_starts.contains_key(&part) {
                self.parts.push((part, self.len_bytes));
                self.part_starts.insert(part, self.len_bytes);
            }
        }
        if let Some(arrival) = arrival {
            self.descriptions.push(Description { at_bytes: self.len_bytes, arrival, payload: payload.clone() });
        }
        self.pending.put_u32(length);
        self.pending.put_slice(payload);
        self.len_bytes += 4 + u64::from(length);
        Ok(())
    }

    /// Returns how many bytes wait to be handed out.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Hands out whole records that were appended since the last time.
    pub(crate) fn take_pending(&mut self) -> Option<Bytes> {
        (!self.pending.is_empty()).then(|| self.pending.split().freeze())
    }

    /// Cuts off a subtransaction and everything after its first record; returns the new length, `None` where it has none.
    ///
    /// Only between blocks, when nothing is pending.
    pub(crate) fn abort_part(&mut self, part: u32) -> Option<u64> {
        let start = *self.part_starts.get(&part)?;
        while let Some((part, _)) = self.parts.pop_if(|(_, at_bytes)| *at_bytes >= start) {
            self.part_starts.remove(&part);
        }
        while self.descriptions.pop_if(|description| description.at_bytes >= start).is_some() {}
        self.len_bytes = start;
        self.latest_part = self.xid.as_u64() as u32;
        Some(start)
    }

    /// Returns the descriptions that survived, in order.
    pub(crate) fn descriptions(&self) -> &[Description] {
        &self.descriptions
    }

    /// Makes the header of the committed transaction.
    pub(crate) fn header(
        &self,
        commit: &Commit,
        streamed: bool,
        relations: RelationCache,
        types: TypeTable,
    ) -> CommitHeader {
        CommitHeader {
            commit_lsn: commit.end_lsn,
            xid: self.xid,
            committed_at: commit.committed_at,
            len_bytes: self.len_bytes,
            streamed,
            relations,
            types,
        }
    }
}

/// What reading back has come to.
#[derive(Debug)]
pub enum Part {
    /// Push the next bytes of the spool.
    NeedBytes,
    /// A part of the transaction, in order; `last` marks the end.
    Transaction(Transaction),
    /// Every part was given.
    Done,
}

/// Reads a spooled transaction back in parts.
#[derive(Debug)]
pub struct SpoolReader {
    header: CommitHeader,
    limits: PartLimits,
    buffer: Bytes,
    pushed_bytes: u64,
    consumed_bytes: u64,
    ordinal: u64,
    changes: Vec<Change>,
    part_bytes: usize,
    done: bool,
}

impl SpoolReader {
    /// Begins to read a spool from its first byte.
    pub fn new(header: CommitHeader, limits: PartLimits) -> SpoolReader {
        SpoolReader {
            header,
            limits,
            buffer: Bytes::new(),
            pushed_bytes: 0,
            consumed_bytes: 0,
            ordinal: 0,
            changes: Vec::new(),
            part_bytes: 0,
            done: false,
        }
    }

    /// Returns how many bytes of the spool are still to be pushed.
    pub fn missing_bytes(&self) -> u64 {
        self.header.len_bytes - self.pushed_bytes
    }

    /// Takes the next bytes of the spool, cut anywhere.
    ///
    /// # Errors
    /// Fails for an empty chunk (the spool is shorter than it was) and for bytes beyond its length.
    pub fn push(&mut self, chunk: Bytes) -> Result<(), Error> {
        if chunk.is_empty() || chunk.len() as u64 > self.missing_bytes() {
            return Err(Error::Spool { at_bytes: self.pushed_bytes });
        }
        self.pushed_bytes += chunk.len() as u64;
        if self.buffer.is_empty() {
            self.buffer = chunk;
        } else {
            let mut joined = BytesMut::with_capacity(self.buffer.len() + chunk.len());
            joined.put_slice(&self.buffer);
            joined.put_slice(&chunk);
            self.buffer = joined.freeze();
        }
        Ok(())
    }

    /// Goes on as far as the bytes at hand allow.
    ///
    /// # Errors
    /// Fails where the bytes are not those that were spooled, or a message does not decode.
    pub fn poll(&mut self) -> Result<Part, Error> {
        if self.done {
            return Ok(Part::Done);
        }
        while let Some(payload) = self.next_record()? {
            let bytes = payload.len();
            let message = decode(payload, self.header.streamed)?;
            let Some(change) = changes::apply(message, &mut self.header.relations, &self.header.types)? else {
                continue;
            };
            let full = self.changes.len() >= self.limits.changes_max.max(1) || self.part_bytes >= self.limits.bytes_max;
            let part = (full && !self.changes.is_empty()).then(|| self.take_part(false));
            self.changes.push(change);
            self.part_bytes += bytes;
            if let Some(part) = part {
                return Ok(Part::Transaction(part));
            }
        }
        if self.consumed_bytes < self.header.len_bytes {
            return Ok(Part::NeedBytes);
        }
        self.done = true;
        Ok(Part::Transaction(self.take_part(true)))
    }

    fn next_record(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(length) = self.buffer.first_chunk::<4>().map(|length| u32::from_be_bytes(*length)) else {
            return Ok(None);
        };
        let record_bytes = 4 + u64::from(length);
        if record_bytes > self.header.len_bytes - self.consumed_bytes {
            return Err(Error::Spool { at_bytes: self.consumed_bytes });
        }
        if (self.buffer.len() as u64) < record_bytes {
            return Ok(None);
        }
        let record = self.buffer.split_to(record_bytes as usize);
        self.consumed_bytes += record_bytes;
        Ok(Some(record.slice(4..)))
    }

    fn take_part(&mut self, last: bool) -> Transaction {
        let changes = std::mem::take(&mut self.changes);
        let first_ordinal = self.ordinal;
        self.ordinal += changes.len() as u64;
        self.part_bytes = 0;
        Transaction {
            commit_lsn: self.header.commit_lsn,
            xid: self.header.xid,
            committed_at: self.header.committed_at,
            first_ordinal,
            changes,
            last,
        }
    }
}
