//! pgoutput, protocol 1 to 4: one payload of the replication stream to one message.
//!
//! Rows keep slices of the bytes that arrived; names of tables are copied, because descriptions are rare.
//! Inside a stream block each message carries the number of its (sub)transaction, which the caller says by `in_stream`.
//! Law: a row message is consumed to its last byte, so that a message read in the wrong mode is noticed.

mod reader;

use antiphon_model::{Lsn, Micros, ReplicaIdentity, Tuple};
use bytes::Bytes;

use crate::Error;
use reader::Reader;

/// A message of the output plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// `B`: a transaction begins.
    Begin {
        /// Where its commit record ends or starts, by server version; the commit message is what counts.
        final_lsn: Lsn,
        /// The commit time.
        committed_at: Micros,
        /// The transaction's number, 32 bits of it.
        xid: u32,
    },
    /// `C`: the transaction is complete.
    Commit(Commit),
    /// `O`: the transaction came from another server.
    Origin {
        /// Its commit position there.
        lsn: Lsn,
        /// The origin's name.
        name: Bytes,
    },
    /// `R`: a table is described.
    Relation {
        /// The (sub)transaction, inside a stream block.
        xid: Option<u32>,
        /// The description.
        relation: RawRelation,
    },
    /// `Y`: a type that is not built in is named; for a domain the name is its base type's.
    Type {
        /// The (sub)transaction, inside a stream block.
        xid: Option<u32>,
        /// The type's OID.
        oid: u32,
        /// The schema's name.
        schema: String,
        /// The type's name.
        name: String,
    },
    /// `I`: a row appeared; `new` is given.
    Insert(RowMessage),
    /// `U`: a row changed; `new` is given.
    Update(RowMessage),
    /// `D`: a row went away; `old` is given.
    Delete(RowMessage),
    /// `T`: tables were emptied.
    Truncate {
        /// The (sub)transaction, inside a stream block.
        xid: Option<u32>,
        /// Whether dependent tables were emptied too.
        cascade: bool,
        /// Whether sequences were reset.
        restart_identity: bool,
        /// The tables' OIDs.
        relations: Vec<u32>,
    },
    /// `M`: a logical message.
    Logical {
        /// The (sub)transaction, inside a stream block.
        xid: Option<u32>,
        /// Whether it belongs to its transaction or stands alone.
        transactional: bool,
        /// Where it was written.
        lsn: Lsn,
        /// Who it is for.
        prefix: Bytes,
        /// What it says.
        content: Bytes,
    },
    /// `S`: a block of a transaction in progress begins.
    StreamStart {
        /// The transaction's number.
        xid: u32,
        /// Whether it is the transaction's first block.
        first: bool,
    },
    /// `E`: the block ends.
    StreamStop,
    /// `c`: a streamed transaction is complete.
    StreamCommit {
        /// The transaction's number.
        xid: u32,
        /// Where and when.
        commit: Commit,
    },
    /// `A`: a streamed transaction, or a part of one, was rolled back.
    StreamAbort {
        /// The transaction's number.
        xid: u32,
        /// The part's number; equal to `xid` where all of it was rolled back.
        subxid: u32,
        /// Where and when, under protocol 4 with `streaming=parallel`.
        at: Option<(Lsn, Micros)>,
    },
    /// `b`: a transaction that was prepared begins.
    BeginPrepare(BeginPrepare),
    /// `P`: the transaction is prepared.
    Prepare(BeginPrepare),
    /// `K`: a prepared transaction was committed.
    CommitPrepared(PreparedCommit),
    /// `r`: a prepared transaction was rolled back.
    RollbackPrepared(PreparedCommit),
    /// `p`: a streamed transaction was prepared.
    StreamPrepare(BeginPrepare),
}

/// Where and when a transaction was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Where the commit record starts.
    pub commit_lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// The commit time.
    pub committed_at: Micros,
}

/// Where and when a transaction was prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeginPrepare {
    /// Where the record starts.
    pub prepare_lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// When.
    pub prepared_at: Micros,
    /// The transaction's number.
    pub xid: u32,
    /// Its global name.
    pub gid: Bytes,
}

/// The end of a prepared transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedCommit {
    /// Where the record starts (commit) or where the prepare record ends (rollback).
    pub lsn: Lsn,
    /// Where the record ends.
    pub end_lsn: Lsn,
    /// When it was committed or rolled back.
    pub at: Micros,
    /// The transaction's number.
    pub xid: u32,
    /// Its global name.
    pub gid: Bytes,
}

/// A table's description as it arrives, types not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRelation {
    /// The table's OID.
    pub oid: u32,
    /// The schema's name.
    pub schema: String,
    /// The table's name.
    pub name: String,
    /// What old rows hold.
    pub identity: ReplicaIdentity,
    /// The columns.
    pub columns: Vec<RawColumn>,
}

/// A column as it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawColumn {
    /// The column's name.
    pub name: String,
    /// Whether it belongs to the replica identity.
    pub identity: bool,
    /// Its type's OID.
    pub type_oid: u32,
    /// Its type modifier, -1 where there is none.
    pub type_modifier: i32,
}

/// A row as it arrives, its table not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowMessage {
    /// The (sub)transaction, inside a stream block.
    pub xid: Option<u32>,
    /// The table's OID.
    pub relation: u32,
    /// The old row, where it was sent.
    pub old: Option<(OldKind, Tuple)>,
    /// The new row, where it was sent.
    pub new: Option<Tuple>,
}

/// What an old row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldKind {
    /// `K`: the columns of the replica identity; others are null.
    Identity,
    /// `O`: all columns.
    Full,
}

/// Decodes one payload.
///
/// # Errors
/// Fails where bytes are missing, left over after a row, or without meaning.
#[inline]
pub fn decode(payload: Bytes, in_stream: bool) -> Result<Message, Error> {
    let Some(&kind) = payload.first() else {
        return Err(Error::Truncated { tag: ' ' });
    };
    let reader = Reader::new(payload, kind as char);
    match kind {
        b'I' => insert(reader, in_stream).map(Message::Insert),
        b'U' => update(reader, in_stream).map(Message::Update),
        b'D' => delete(reader, in_stream).map(Message::Delete),
        b'B' => begin(reader),
        b'C' => commit(reader).map(Message::Commit),
        b'R' => relation(reader, in_stream),
        b'T' => truncate(reader, in_stream),
        b'M' => logical(reader, in_stream),
        b'Y' | b'O' => naming(reader, kind, in_stream),
        b'S' | b'E' | b'c' | b'A' => stream(reader, kind),
        b'b' | b'P' | b'K' | b'r' | b'p' => two_phase(reader, kind),
        kind => Err(Error::UnknownMessage { kind }),
    }
}

fn insert(mut reader: Reader, in_stream: bool) -> Result<RowMessage, Error> {
    let xid = reader.stream_xid(in_stream)?;
    let relation = reader.u32()?;
    reader.mark(b'N')?;
    let (new, rest) = Tuple::take(&reader.rest())?;
    reader.end_of_row(&rest)?;
    Ok(RowMessage { xid, relation, old: None, new: Some(new) })
}

fn update(mut reader: Reader, in_stream: bool) -> Result<RowMessage, Error> {
    let xid = reader.stream_xid(in_stream)?;
    let relation = reader.u32()?;
    let mark = reader.u8()?;
    let mut rest = reader.rest();
    let mut old = None;
    if mark != b'N' {
        let (tuple, after) = Tuple::take(&rest)?;
        old = Some((reader.old_kind(mark)?, tuple));
        match after.first() {
            Some(b'N') => rest = after.slice(1..),
            Some(&mark) => return Err(reader.unknown_mark(mark)),
            None => return Err(reader.truncated()),
        }
    }
    let (new, rest) = Tuple::take(&rest)?;
    reader.end_of_row(&rest)?;
    Ok(RowMessage { xid, relation, old, new: Some(new) })
}

fn delete(mut reader: Reader, in_stream: bool) -> Result<RowMessage, Error> {
    let xid = reader.stream_xid(in_stream)?;
    let relation = reader.u32()?;
    let mark = reader.u8()?;
    let kind = reader.old_kind(mark)?;
    let (old, rest) = Tuple::take(&reader.rest())?;
    reader.end_of_row(&rest)?;
    Ok(RowMessage { xid, relation, old: Some((kind, old)), new: None })
}

fn begin(mut reader: Reader) -> Result<Message, Error> {
    Ok(Message::Begin { final_lsn: reader.lsn()?, committed_at: reader.time()?, xid: reader.u32()? })
}

fn commit(mut reader: Reader) -> Result<Commit, Error> {
    reader.u8()?;
    Ok(Commit { commit_lsn: reader.lsn()?, end_lsn: reader.lsn()?, committed_at: reader.time()? })
}

fn relation(mut reader: Reader, in_stream: bool) -> Result<Message, Error> {
    let xid = reader.stream_xid(in_stream)?;
    let oid = reader.u32()?;
    let schema = reader.schema()?;
    let name = reader.text()?;
    let identity = match reader.u8()? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        mark => return Err(reader.unknown_mark(mark)),
    };
    let count = usize::from(reader.u16()?);
    // A column takes at least ten bytes, so what is reserved is bounded by what has arrived.
    let mut columns = Vec::with_capacity(count.min(reader.left() / 10));
    for _ in 0..count {
        let identity = reader.u8()? & 1 != 0;
        let name = reader.text()?;
        columns.push(RawColumn { name, identity, type_oid: reader.u32()?, type_modifier: reader.u32()? as i32 });
    }
    Ok(Message::Relation { xid, relation: RawRelation { oid, schema, name, identity, columns } })
}

fn truncate(mut reader: Reader, in_stream: bool) -> Result<Message, Error> {
    let xid = reader.stream_xid(in_stream)?;
    let count = reader.u32()? as usize;
    let flags = reader.u8()?;
    let mut relations = Vec::with_capacity(count.min(reader.left() / 4));
    for _ in 0..count {
        relations.push(reader.u32()?);
    }
    reader.end()?;
    Ok(Message::Truncate { xid, cascade: flags & 1 != 0, restart_identity: flags & 2 != 0, relations })
}

fn logical(mut reader: Reader, in_stream: bool) -> Result<Message, Error> {
    let xid = reader.stream_xid(in_stream)?;
    let transactional = reader.u8()? & 1 != 0;
    let lsn = reader.lsn()?;
    let prefix = reader.cstring()?;
    let length = reader.u32()? as usize;
    let content = reader.take(length)?;
    reader.end()?;
    Ok(Message::Logical { xid, transactional, lsn, prefix, content })
}

fn naming(mut reader: Reader, kind: u8, in_stream: bool) -> Result<Message, Error> {
    if kind == b'O' {
        return Ok(Message::Origin { lsn: reader.lsn()?, name: reader.cstring()? });
    }
    let xid = reader.stream_xid(in_stream)?;
    Ok(Message::Type { xid, oid: reader.u32()?, schema: reader.schema()?, name: reader.text()? })
}

fn stream(mut reader: Reader, kind: u8) -> Result<Message, Error> {
    if kind == b'E' {
        return Ok(Message::StreamStop);
    }
    let xid = reader.u32()?;
    match kind {
        b'S' => Ok(Message::StreamStart { xid, first: reader.u8()? != 0 }),
        b'c' => Ok(Message::StreamCommit { xid, commit: commit(reader)? }),
        _ => {
            let subxid = reader.u32()?;
            let at = if reader.left() >= 16 { Some((reader.lsn()?, reader.time()?)) } else { None };
            Ok(Message::StreamAbort { xid, subxid, at })
        }
    }
}

fn two_phase(mut reader: Reader, kind: u8) -> Result<Message, Error> {
    if kind != b'b' {
        reader.u8()?;
    }
    let lsn = reader.lsn()?;
    let end_lsn = reader.lsn()?;
    let at = reader.time()?;
    if kind == b'r' {
        let at = reader.time()?;
        let (xid, gid) = (reader.u32()?, reader.cstring()?);
        return Ok(Message::RollbackPrepared(PreparedCommit { lsn, end_lsn, at, xid, gid }));
    }
    let (xid, gid) = (reader.u32()?, reader.cstring()?);
    if kind == b'K' {
        return Ok(Message::CommitPrepared(PreparedCommit { lsn, end_lsn, at, xid, gid }));
    }
    let prepare = BeginPrepare { prepare_lsn: lsn, end_lsn, prepared_at: at, xid, gid };
    Ok(match kind {
        b'b' => Message::BeginPrepare(prepare),
        b'P' => Message::Prepare(prepare),
        _ => Message::StreamPrepare(prepare),
    })
}
