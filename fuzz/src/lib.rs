//! One function per parser of outside bytes: each takes anything and panics only where a law is broken (SE-38).
//!
//! The laws are stronger than "does not crash": output is JSON, text round-trips, acknowledgements never rise above
//! what is durable, and what was spooled reads back. `fuzz/run` drives them; tests may call them too.

mod client;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use antiphon_model::{Cell, Lsn, Micros, Type, TypeKind, Visibility, Xid};
use antiphon_sync::{Piece, clean, merge_text, text_tokens};
use antiphon_wire::{
    Assembler, AssemblerOutput, Limits, Part, PartLimits, Session, SessionConfig, SessionInput, SessionOutput,
    SpoolReader, TypeTable, decode, encode_cell, encode_text,
};
use bytes::Bytes;

pub use self::client::client_frames;

/// The first byte tells whether the rest stands inside a stream block.
pub fn pgoutput_decode(data: &[u8]) {
    let Some((mode, payload)) = data.split_first() else { return };
    let payload = Bytes::copy_from_slice(payload);
    if let Ok(message) = decode(payload.clone(), mode & 1 != 0) {
        let again = decode(payload, mode & 1 != 0);
        assert_eq!(again.as_ref(), Ok(&message), "decoding is a function");
    }
}

/// Payloads with a length in front, as in a golden trace; small limits, so that spools are used.
pub fn assembler(data: &[u8]) {
    let limits = Limits { transaction_bytes_max: 300, spool_batch_bytes: 64 };
    let mut assembler = Assembler::new(limits, TypeTable::new(), Xid::new(1 << 32));
    let mut spools: BTreeMap<Xid, Vec<u8>> = BTreeMap::new();
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = (u32::from_be_bytes(*length) as usize).min(after.len());
        let (payload, after) = after.split_at(length);
        rest = after;
        let handled = assembler.handle(Bytes::copy_from_slice(payload));
        if handled.is_err() || !perform(&mut assembler, &mut spools) {
            return;
        }
    }
}

/// Performs what the assembler wants; `false` where it reports an error.
fn perform(assembler: &mut Assembler, spools: &mut BTreeMap<Xid, Vec<u8>>) -> bool {
    while let Some(output) = assembler.poll() {
        match output {
            AssemblerOutput::Transaction(transaction) => {
                for change in &transaction.changes {
                    encode_change(change);
                }
            }
            AssemblerOutput::ResolveTypes(oids) => {
                assembler.types_mut().insert(oids[0], Arc::new(Type::text("found")));
                if assembler.resume().is_err() {
                    return false;
                }
            }
            AssemblerOutput::SpoolAppend { xid, bytes } => spools.entry(xid).or_default().extend(&bytes),
            AssemblerOutput::SpoolTruncate { xid, len_bytes } => {
                let spool = spools.entry(xid).or_default();
                assert!(len_bytes <= spool.len() as u64, "a cut never lengthens");
                spool.truncate(len_bytes as usize);
            }
            AssemblerOutput::SpoolDrop { xid } => drop(spools.remove(&xid)),
            AssemblerOutput::SpoolCommit { xid, header } => {
                let spool = spools.remove(&xid).unwrap_or_default();
                assert_eq!(spool.len() as u64, header.len_bytes, "the header knows the length");
                let mut reader = SpoolReader::new(header, PartLimits { changes_max: 3, bytes_max: 200 });
                let mut chunks = spool.chunks(23);
                loop {
                    match reader.poll() {
                        Ok(Part::NeedBytes) => {
                            let chunk = chunks.next().expect("the reader asks for what is there");
                            reader.push(Bytes::copy_from_slice(chunk)).expect("the chunk belongs to the spool");
                        }
                        Ok(Part::Transaction(part)) => part.changes.iter().for_each(encode_change),
                        Ok(Part::Done) => break,
                        Err(_) => return false,
                    }
                }
            }
            AssemblerOutput::Advisory { .. } => {}
        }
    }
    true
}

fn encode_change(change: &antiphon_model::Change) {
    use antiphon_model::Change::{Delete, Insert, Update};
    let (Insert(row) | Update(row) | Delete(row)) = change else { return };
    let Some(new) = &row.new else { return };
    for (column, cell) in row.relation.columns.iter().zip(new.cells()) {
        let mut out = String::new();
        encode_cell(&column.ty, cell, &mut out);
        assert_json(&out);
    }
}

/// Inputs of a session, each with a kind, a wait in milliseconds, and a length or position.
pub fn session_frames(data: &[u8]) {
    let mut now = Duration::ZERO;
    let mut session = Session::new(SessionConfig::default(), Lsn::new(1), now, Micros(0));
    let (mut durable, mut told) = (0, 0);
    let mut rest = data;
    while let Some(([kind, wait @ .., length], after)) = rest.split_first_chunk::<4>() {
        now += Duration::from_millis(u64::from(u16::from_be_bytes(*wait)));
        let (content, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        let input = match kind % 4 {
            0 => SessionInput::Tick,
            1 => {
                let position = content.iter().fold(0u64, |position, byte| position << 8 | u64::from(*byte));
                durable = durable.max(position);
                SessionInput::Acknowledge(Lsn::new(position))
            }
            _ => SessionInput::CopyData(Bytes::copy_from_slice(content)),
        };
        if session.handle(now, input).is_err() {
            return;
        }
        while let Some(output) = session.poll() {
            let SessionOutput::Send(status) = output else { continue };
            let flushed = u64::from_be_bytes(status[9..17].try_into().expect("a status has 34 bytes"));
            assert!(flushed <= durable && flushed >= told, "acknowledged {flushed}, durable {durable}, told {told}");
            told = flushed;
        }
        assert!(session.deadline() > now, "a tick at the deadline moves it");
    }
}

/// The first byte chooses a built-in type.
pub fn values_encode(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let mut oids: Vec<u32> = TypeTable::built_in_oids().collect();
    oids.sort_unstable();
    let oid = oids[usize::from(*choice) % oids.len()];
    let ty = TypeTable::new().resolve(oid).expect("built-in types are known");
    let mut out = String::from("kept");
    let cell = if oid == 17 && text.len() % 2 == 0 { Cell::Binary(text) } else { Cell::Text(text) };
    encode_cell(&ty, cell, &mut out);
    assert!(out.starts_with("kept"));
    assert_json(&out[4..]);
}

/// The first byte chooses arrays and composites of several depths.
pub fn array_text(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else { return };
    let leaf = TypeTable::new().resolve([23, 25, 3802, 17, 1184][usize::from(choice >> 4) % 5]);
    let mut ty = leaf.expect("built-in types are known");
    for bit in 0..4 {
        let kind = match choice >> bit & 1 {
            0 => TypeKind::Array(ty.clone(), if bit == 3 { b';' } else { b',' }),
            _ => TypeKind::Composite([("a".to_owned(), ty.clone()), ("b \"".to_owned(), ty.clone())].into()),
        };
        ty = Arc::new(Type { name: "nested".into(), kind });
        let mut out = String::new();
        encode_text(&ty, text, &mut out);
        assert_json(&out);
    }
}

/// Positions and visibilities round-trip.
pub fn lsn_visibility_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(lsn) = text.parse::<Lsn>() {
        assert_eq!(lsn.to_string().parse(), Ok(lsn));
    }
    if let Ok(visibility) = text.parse::<Visibility>() {
        assert_eq!(visibility.to_string().parse(), Ok(visibility.clone()));
        assert!(!visibility.sees(visibility.xmax()), "nothing at or above xmax is seen");
    }
}

/// Three texts with a zero byte between them: new words of both sides are kept, and nothing is invented.
pub fn merge_texts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut texts = text.splitn(3, '\0');
    let (Some(base), Some(mine), Some(theirs)) = (texts.next(), texts.next(), texts.next()) else { return };
    let pieces = merge_text(base, mine, theirs);
    let swapped: Vec<Piece> = merge_text(base, theirs, mine)
        .into_iter()
        .map(|piece| match piece {
            Piece::Overlap { base, mine, theirs } => Piece::Overlap { base, mine: theirs, theirs: mine },
            merged => merged,
        })
        .collect();
    assert_eq!(pieces, swapped, "sides may be swapped");
    let taken = |piece: &Piece| match piece.clone() {
        Piece::Merged(text) | Piece::Overlap { mine: text, .. } => text,
    };
    let read: String = pieces.iter().map(taken).collect();
    let old: BTreeSet<&str> = text_tokens(base).into_iter().collect();
    let kept: BTreeSet<&str> = text_tokens(&read).into_iter().collect();
    let is_word = |token: &&str| token.chars().any(char::is_alphanumeric);
    for word in text_tokens(mine).into_iter().filter(is_word) {
        assert!(old.contains(word) || kept.contains(word), "{word:?} is lost");
    }
    if let Some(text) = clean(&pieces) {
        let known: BTreeSet<&str> = text_tokens(mine).into_iter().chain(text_tokens(theirs)).collect();
        for token in text_tokens(&text) {
            assert!(known.contains(token), "{token:?} is invented");
        }
    }
}

/// Panics where the text is not one JSON value; deep documents are left to the property tests of `wire`.
fn assert_json(text: &str) {
    if let Err(error) = serde_json::from_str::<&serde_json::value::RawValue>(text) {
        assert!(error.to_string().contains("recursion limit"), "{error}: {text}");
    }
}
