//! Groups messages into transactions, in commit order.
//!
//! A machine without IO: `handle` a payload, `poll` until `None`. An ordinary transaction is kept as the bytes that
//! arrived and decoded at its commit; one that grows past the limit, and one streamed while in progress, goes to a
//! spool that the caller keeps, and is read back by `SpoolReader` after its commit.
//! Laws: nothing of a transaction is yielded before its commit; ordinals count every committed change from 0, the same
//! whichever way the transaction took; a streamed transaction's descriptions become the connection's only with its
//! commit, and never replace one that arrived later. Two-phase messages are refused, since they are never asked for.
//! After an error the machine is of no more use: the connection is begun anew and every spool dropped.

mod resolve;

use std::collections::{HashMap, VecDeque};

use antiphon_model::{Lsn, Transaction, Xid};
use bytes::Bytes;

use crate::{Commit, CommitHeader, Error, Message, RelationCache, TypeTable, changes, decode, spool::Spool};

/// Sizes at which the assembler changes its ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// An ordinary transaction whose messages take more memory than this is spooled.
    pub transaction_bytes_max: usize,
    /// Records are handed out once this much has gathered, and at the end of each block.
    pub spool_batch_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        // 8 MiB hold about 40,000 small rows; 256 KiB make a write that costs less than its bytes.
        Limits { transaction_bytes_max: 8 << 20, spool_batch_bytes: 256 << 10 }
    }
}

/// What the assembler wants done.
#[derive(Debug)]
pub enum Output {
    /// A whole committed transaction; one without changes is given too, because its position counts.
    Transaction(Transaction),
    /// These types are not known: look them up, insert them by `types_mut`, and call `resume`. Nothing else follows
    /// before that. Types that stay unknown pass through as text.
    ResolveTypes(Vec<u32>),
    /// Append whole records to the transaction's spool, which exists from its first append.
    SpoolAppend {
        /// The transaction.
        xid: Xid,
        /// The records.
        bytes: Bytes,
    },
    /// Cut the spool: what follows was rolled back.
    SpoolTruncate {
        /// The transaction.
        xid: Xid,
        /// The length that stays.
        len_bytes: u64,
    },
    /// Drop the spool, if anything was appended to it: the transaction was rolled back.
    SpoolDrop {
        /// The transaction.
        xid: Xid,
    },
    /// The transaction is committed: read its spool back with a `SpoolReader`, then drop it. Where nothing was
    /// appended there is no spool, and the reader yields the empty transaction at once.
    SpoolCommit {
        /// The transaction.
        xid: Xid,
        /// What the reader needs.
        header: CommitHeader,
    },
    /// A logical message that stands outside transactions.
    Advisory {
        /// Where it was written.
        lsn: Lsn,
        /// Who it is for.
        prefix: Bytes,
        /// What it says.
        content: Bytes,
    },
}

/// What happened so far; they only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Committed transactions.
    pub transactions: u64,
    /// Those of them that were streamed while in progress.
    pub streamed: u64,
    /// Those of them that were spooled for their size.
    pub spilled: u64,
    /// Rollbacks of parts or transactions of which nothing was known (PG-40).
    pub unknown_aborts: u64,
    /// Messages outside transactions.
    pub advisories: u64,
    /// Messages of any kind.
    pub messages: u64,
}

/// The machine of one connection.
#[derive(Debug)]
pub struct Assembler {
    limits: Limits,
    types: TypeTable,
    relations: RelationCache,
    /// For each described table the number of the description in use, to tell which one arrived later.
    arrivals: HashMap<u32, u64>,
    arrival: u64,
    reference: Xid,
    open: Option<Open>,
    block: Option<u32>,
    streams: HashMap<u32, Spool>,
    waiting: Option<Completed>,
    inbox: VecDeque<Bytes>,
    outputs: VecDeque<Output>,
    counters: Counters,
}

/// An ordinary transaction between begin and commit.
#[derive(Debug)]
struct Open {
    xid: Xid,
    messages: Vec<Bytes>,
    bytes: usize,
    describes: bool,
    spool: Option<Spool>,
}

/// A transaction whose commit has arrived.
#[derive(Debug)]
struct Completed {
    commit: Commit,
    xid: Xid,
    describes: bool,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Memory(Vec<Bytes>),
    Spilled(Spool),
    Streamed(Spool),
}

impl Assembler {
    /// Begins a connection; `reference` is a 64-bit transaction number near those that will come.
    pub fn new(limits: Limits, types: TypeTable, reference: Xid) -> Assembler {
        Assembler {
            limits,
            types,
            relations: RelationCache::new(),
            arrivals: HashMap::new(),
            arrival: 0,
            reference,
            open: None,
            block: None,
            streams: HashMap::new(),
            waiting: None,
            inbox: VecDeque::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Takes a payload.
    ///
    /// # Errors
    /// Fails where the payload cannot be understood or came out of place.
    #[inline]
    pub fn handle(&mut self, payload: Bytes) -> Result<(), Error> {
        self.counters.messages += 1;
        if self.waiting.is_some() {
            self.inbox.push_back(payload);
            return Ok(());
        }
        self.take(payload)
    }

    /// Goes on after `ResolveTypes`, whether or not every type was found.
    ///
    /// # Errors
    /// Fails as `handle` does, for what waited.
    pub fn resume(&mut self) -> Result<(), Error> {
        if let Some(completed) = self.waiting.take() {
            self.finish(completed)?;
        }
        while self.waiting.is_none() {
            let Some(payload) = self.inbox.pop_front() else { break };
            self.take(payload)?;
        }
        Ok(())
    }

    /// Returns what is to be done next.
    #[inline]
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns the types of this connection, to add what the catalogue told.
    pub fn types_mut(&mut self) -> &mut TypeTable {
        &mut self.types
    }

    /// Tells whether the payloads so far end inside a transaction or block, or wait for types.
    pub fn transaction_open(&self) -> bool {
        self.open.is_some() || self.block.is_some() || self.waiting.is_some()
    }

    /// Returns the 64-bit number near which the next ones are widened.
    pub fn reference(&self) -> Xid {
        self.reference
    }

    /// Returns how many streamed transactions are in progress.
    pub fn streams_open(&self) -> usize {
        self.streams.len()
    }

    /// Returns how many tables were described.
    pub fn relations(&self) -> usize {
        self.relations.len()
    }

    /// Returns what happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    #[inline]
    fn take(&mut self, payload: Bytes) -> Result<(), Error> {
        let Some(&kind) = payload.first() else { return Err(Error::Truncated { tag: ' ' }) };
        match kind {
            b'I' | b'U' | b'D' | b'T' | b'R' | b'Y' => self.take_record(kind, payload),
            b'M' => self.take_message(payload),
            b'O' => Ok(()),
            _ => self.take_boundary(payload),
        }
    }

    /// A row or a description goes to its transaction.
    #[inline]
    fn take_record(&mut self, kind: u8, payload: Bytes) -> Result<(), Error> {
        let describes = matches!(kind, b'R' | b'Y');
        if let Some(xid) = self.block {
            return self.stream_record(xid, payload, describes);
        }
        let Some(open) = &mut self.open else { return Err(Error::OutOfPlace { tag: kind as char }) };
        open.describes |= describes;
        if open.spool.is_some() {
            return self.spill(payload, describes);
        }
        open.bytes += payload.len() + size_of::<Bytes>();
        open.messages.push(payload);
        if open.bytes > self.limits.transaction_bytes_max { self.start_spill() } else { Ok(()) }
    }

    fn take_message(&mut self, payload: Bytes) -> Result<(), Error> {
        let in_stream = self.block.is_some();
        match decode(payload.clone(), in_stream)? {
            Message::Logical { transactional: false, lsn, prefix, content, .. } => {
                self.counters.advisories += 1;
                self.outputs.push_back(Output::Advisory { lsn, prefix, content });
                Ok(())
            }
            _ => self.take_record(b'M', payload),
        }
    }

    fn take_boundary(&mut self, payload: Bytes) -> Result<(), Error> {
        let tag = payload[0] as char;
        let in_stream = self.block.is_some();
        let message = decode(payload, in_stream)?;
        let out_of_place = match &message {
            Message::StreamStop => !in_stream,
            Message::Commit(_) => self.open.is_none() || in_stream,
            _ => in_stream || self.open.is_some(),
        };
        if out_of_place {
            return Err(Error::OutOfPlace { tag });
        }
        match message {
            Message::Begin { xid, .. } => {
                let xid = self.widen(xid);
                self.open = Some(Open { xid, messages: Vec::new(), bytes: 0, describes: false, spool: None });
                Ok(())
            }
            Message::Commit(commit) => self.commit(commit),
            Message::StreamStart { xid, first } => self.stream_start(xid, first),
            Message::StreamStop => {
                if let Some(spool) = self.block.take().and_then(|xid| self.streams.get_mut(&xid)) {
                    hand_out(spool, &mut self.outputs);
                }
                Ok(())
            }
            Message::StreamCommit { xid, commit } => {
                let spool = self.streams.remove(&xid).ok_or(Error::OutOfPlace { tag })?;
                self.complete(Completed { commit, xid: spool.xid, describes: true, body: Body::Streamed(spool) })
            }
            Message::StreamAbort { xid, subxid, .. } => {
                self.stream_abort(xid, subxid);
                Ok(())
            }
            _ => Err(Error::TwoPhase { tag }),
        }
    }

    fn widen(&mut self, xid: u32) -> Xid {
        self.reference = Xid::widen(xid, self.reference);
        self.reference
    }

    fn commit(&mut self, commit: Commit) -> Result<(), Error> {
        let Some(open) = self.open.take() else { return Err(Error::OutOfPlace { tag: 'C' }) };
        let body = match open.spool {
            None => Body::Memory(open.messages),
            Some(spool) => Body::Spilled(spool),
        };
        self.complete(Completed { commit, xid: open.xid, describes: open.describes, body })
    }

    fn start_spill(&mut self) -> Result<(), Error> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.spool = Some(Spool::new(open.xid));
        for payload in std::mem::take(&mut open.messages) {
            let describes = matches!(payload.first(), Some(b'R' | b'Y'));
            self.spill(payload, describes)?;
        }
        Ok(())
    }

    fn spill(&mut self, payload: Bytes, describes: bool) -> Result<(), Error> {
        let arrival = self.next_arrival(describes);
        if let Some(Open { xid, spool: Some(spool), .. }) = &mut self.open {
            spool.append(xid.as_u64() as u32, &payload, arrival)?;
            if spool.pending_bytes() >= self.limits.spool_batch_bytes {
                hand_out(spool, &mut self.outputs);
            }
        }
        Ok(())
    }

    fn stream_start(&mut self, xid: u32, first: bool) -> Result<(), Error> {
        // A later block without the earlier ones, or a first one twice, means that something is missing.
        if first == self.streams.contains_key(&xid) {
            return Err(Error::OutOfPlace { tag: 'S' });
        }
        if first {
            let wide = self.widen(xid);
            self.streams.insert(xid, Spool::new(wide));
        }
        self.block = Some(xid);
        Ok(())
    }

    fn stream_record(&mut self, xid: u32, payload: Bytes, describes: bool) -> Result<(), Error> {
        let tag = payload[0] as char;
        let part = payload.get(1..5).and_then(|part| part.try_into().ok()).map(u32::from_be_bytes);
        let part = part.ok_or(Error::Truncated { tag })?;
        let arrival = self.next_arrival(describes);
        let spool = self.streams.get_mut(&xid).ok_or(Error::OutOfPlace { tag })?;
        spool.append(part, &payload, arrival)?;
        if spool.pending_bytes() >= self.limits.spool_batch_bytes {
            hand_out(spool, &mut self.outputs);
        }
        Ok(())
    }

    fn stream_abort(&mut self, xid: u32, subxid: u32) {
        if xid == subxid {
            match self.streams.remove(&xid) {
                Some(spool) => self.outputs.push_back(Output::SpoolDrop { xid: spool.xid }),
                None => self.counters.unknown_aborts += 1,
            }
            return;
        }
        let cut = self.streams.get_mut(&xid).and_then(|spool| Some((spool.xid, spool.abort_part(subxid)?)));
        match cut {
            Some((xid, len_bytes)) => self.outputs.push_back(Output::SpoolTruncate { xid, len_bytes }),
            None => self.counters.unknown_aborts += 1,
        }
    }

    fn next_arrival(&mut self, describes: bool) -> Option<u64> {
        describes.then(|| {
            self.arrival += 1;
            self.arrival
        })
    }

    /// Yields a transaction whose types are known, or as known as they will be.
    fn finish(&mut self, completed: Completed) -> Result<(), Error> {
        let Completed { commit, xid, body, .. } = completed;
        self.counters.transactions += 1;
        match body {
            Body::Memory(messages) => self.finish_in_memory(&commit, xid, messages),
            Body::Spilled(spool) => {
                self.counters.spilled += 1;
                let relations = self.relations.clone();
                self.finish_spool(&commit, spool, false, relations)
            }
            Body::Streamed(spool) => {
                self.counters.streamed += 1;
                // A streamed transaction brings every description that it needs.
                self.finish_spool(&commit, spool, true, RelationCache::new())
            }
        }
    }

    fn finish_in_memory(&mut self, commit: &Commit, xid: Xid, messages: Vec<Bytes>) -> Result<(), Error> {
        let mut changes = Vec::with_capacity(messages.len());
        for payload in messages {
            let message = decode(payload, false)?;
            if let Message::Relation { relation, .. } = &message {
                self.arrival += 1;
                self.arrivals.insert(relation.oid, self.arrival);
            }
            changes.extend(changes::apply(message, &mut self.relations, &self.types)?);
        }
        self.outputs.push_back(Output::Transaction(Transaction {
            commit_lsn: commit.end_lsn,
            xid,
            committed_at: commit.committed_at,
            first_ordinal: 0,
            changes,
            last: true,
        }));
        Ok(())
    }

    fn finish_spool(
        &mut self,
        commit: &Commit,
        mut spool: Spool,
        streamed: bool,
        relations: RelationCache,
    ) -> Result<(), Error> {
        hand_out(&mut spool, &mut self.outputs);
        let header = spool.header(commit, streamed, relations, self.types.clone());
        // From its commit on, Postgres counts a streamed description as sent, and rows of others rely on it.
        for description in spool.descriptions() {
            let message = decode(description.payload.clone(), streamed)?;
            if let Message::Relation { relation, .. } = &message {
                let latest = self.arrivals.entry(relation.oid).or_default();
                if *latest > description.arrival {
                    continue;
                }
                *latest = description.arrival;
            }
            changes::apply(message, &mut self.relations, &self.types)?;
        }
        self.outputs.push_back(Output::SpoolCommit { xid: spool.xid, header });
        Ok(())
    }
}

fn hand_out(spool: &mut Spool, outputs: &mut VecDeque<Output>) {
    if let Some(bytes) = spool.take_pending() {
        outputs.push_back(Output::SpoolAppend { xid: spool.xid, bytes });
    }
}

#[cfg(test)]
mod tests;
