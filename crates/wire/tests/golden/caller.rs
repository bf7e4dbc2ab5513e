//! Plays the part of the caller: keeps spools, answers for types, and joins the parts of a transaction.

use std::collections::BTreeMap;

use antiphon_model::{Change, Lsn, Transaction, Xid};
use antiphon_wire::{
    Assembler, AssemblerOutput, CommitHeader, Error, Limits, Part, PartLimits, SpoolReader, TypeTable,
};
use bytes::Bytes;

use crate::trace::Trace;

/// A committed transaction, its parts joined; or a message outside of one, with no position.
#[derive(Debug)]
pub struct Committed {
    pub lsn: Lsn,
    pub xid: Xid,
    pub changes: Vec<(u64, Change)>,
    pub alone: bool,
}

/// Runs a trace to its end.
pub fn commit_all(trace: &Trace, changes_max: usize) -> Result<Vec<Committed>, Error> {
    let mut assembler = Assembler::new(Limits::default(), TypeTable::new(), Xid::new(1000));
    let mut spools: BTreeMap<Xid, Vec<u8>> = BTreeMap::new();
    let mut committed: Vec<Committed> = Vec::new();
    for (payload, _) in trace.payloads() {
        assembler.handle(payload)?;
        while let Some(output) = assembler.poll() {
            match output {
                AssemblerOutput::Transaction(transaction) => join(&mut committed, transaction),
                AssemblerOutput::ResolveTypes(oids) => {
                    for oid in oids {
                        let ty = trace.find_type(oid).unwrap_or_else(|| panic!("type {oid} of {:?}", trace.path));
                        assembler.types_mut().insert(oid, ty);
                    }
                    assembler.resume()?;
                }
                AssemblerOutput::SpoolAppend { xid, bytes } => spools.entry(xid).or_default().extend(&bytes),
                AssemblerOutput::SpoolTruncate { xid, len_bytes } => {
                    spools.entry(xid).or_default().truncate(len_bytes as usize);
                }
                AssemblerOutput::SpoolDrop { xid } => drop(spools.remove(&xid)),
                AssemblerOutput::SpoolCommit { xid, header } => {
                    let spool = spools.remove(&xid).unwrap_or_default();
                    read(&mut committed, &spool, header, changes_max)?;
                }
                AssemblerOutput::Advisory { prefix, content, lsn } => committed.push(Committed {
                    lsn,
                    xid: Xid::new(0),
                    changes: vec![(0, Change::Message { prefix, content })],
                    alone: true,
                }),
            }
        }
    }
    let ends: Vec<Lsn> = committed.iter().filter(|one| !one.alone).map(|one| one.lsn).collect();
    assert!(ends.is_sorted(), "commit positions rise: {ends:?}");
    assert!(spools.is_empty(), "nothing is left of transactions that ended");
    Ok(committed)
}

fn read(committed: &mut Vec<Committed>, spool: &[u8], header: CommitHeader, changes_max: usize) -> Result<(), Error> {
    let mut reader = SpoolReader::new(header, PartLimits { changes_max, bytes_max: usize::MAX });
    // A length that no record shares, so that records are cut.
    let mut chunks = spool.chunks(1_009);
    loop {
        match reader.poll()? {
            Part::NeedBytes => reader.push(Bytes::copy_from_slice(chunks.next().unwrap_or_default()))?,
            Part::Transaction(transaction) => join(committed, transaction),
            Part::Done => return Ok(()),
        }
    }
}

fn join(committed: &mut Vec<Committed>, part: Transaction) {
    let numbered = (part.first_ordinal..).zip(part.changes);
    match committed.last_mut() {
        Some(one) if !one.alone && one.lsn == part.commit_lsn => one.changes.extend(numbered),
        _ => {
            committed.push(Committed { lsn: part.commit_lsn, xid: part.xid, changes: numbered.collect(), alone: false })
        }
    }
}
