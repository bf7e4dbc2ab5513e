//! Byte traces recorded from real servers, decoded and compared with their readable rendering.
//!
//! Each `<version>/<case>.bin` is a sequence of payloads (length in 32 bits, bytes) that the output plugin produced for
//! `cases/<case>.sql`; `.types` holds what a catalogue would tell, `.txt` what we make of it.
//! `cargo xtask bless` records them again. Positions, times and numbers that differ from run to run are not rendered.

mod caller;
mod render;
mod trace;

use antiphon_model::{Cell, Change};
use antiphon_wire::{Message, decode, encode_cell};
use expect_test::expect_file;

use caller::{Committed, commit_all};
use trace::{Trace, traces};

#[test]
fn traces_of_real_servers_decode_as_rendered() {
    let traces = traces();
    assert!(traces.len() >= 40, "traces of two versions, found {}", traces.len());
    for trace in traces {
        let rendered = render::render(&trace);
        expect_file![trace.path.with_extension("txt")].assert_eq(&rendered);
    }
}

#[test]
fn of_many_rows_on_the_wire_the_505_committed_ones_arrive_pg_38() {
    for case in ["streamed_with_subaborts", "streamed_with_subaborts_v2"] {
        for trace in traces().iter().filter(|trace| trace.case == case) {
            let rows_sent = decoded(trace).filter(|message| matches!(message, Message::Insert(_))).count();
            let committed = commit_all(trace, usize::MAX).unwrap();
            let rows: Vec<u64> = committed.iter().map(|transaction| rows(transaction).count() as u64).collect();
            assert_eq!(rows, [505, 1, 1], "{:?}", trace.path);
            let streamed: Vec<String> = rows_of(&committed[0]);
            let expected: Vec<String> = (1..=505).map(|id| id.to_string()).collect();
            assert_eq!(streamed, expected, "{:?}", trace.path);
            assert!(rows_sent > 507 + 200, "{rows_sent} rows were sent by {:?}", trace.path);
        }
    }
}

#[test]
fn a_streamed_transaction_is_the_same_under_every_protocol_and_size_of_part_pg_37_pg_39() {
    let all = traces();
    let of_case = |case: &str, version: &str| {
        let found = all.iter().find(|trace| trace.case == case && trace.version == version);
        found.unwrap_or_else(|| panic!("no trace {version}/{case}"))
    };
    let content = |committed: &[Committed]| -> Vec<Vec<String>> { committed.iter().map(rows_of).collect() };
    let reference = content(&commit_all(of_case("streamed_with_subaborts", "15"), usize::MAX).unwrap());
    for case in ["streamed_with_subaborts", "streamed_with_subaborts_v2"] {
        for version in ["15", "18"] {
            for changes_max in [1, 100, usize::MAX] {
                let committed = commit_all(of_case(case, version), changes_max).unwrap();
                assert_eq!(content(&committed), reference, "{version}/{case} in parts of {changes_max}");
                for transaction in &committed {
                    let ordinals: Vec<u64> = transaction.changes.iter().map(|(ordinal, _)| *ordinal).collect();
                    assert_eq!(ordinals, (0..ordinals.len() as u64).collect::<Vec<_>>());
                }
            }
        }
    }
}

#[test]
fn every_value_of_every_type_fits_its_type() {
    for trace in traces().iter().filter(|trace| trace.case != "two_phase") {
        for transaction in commit_all(trace, usize::MAX).unwrap() {
            for row in rows(&transaction) {
                let Some(new) = &row.new else { continue };
                for (column, cell) in
                    row.relation.columns.iter().zip(new.cells()).filter(|(_, cell)| *cell != Cell::Unchanged)
                {
                    let mut out = String::new();
                    let encoded = encode_cell(&column.ty, cell, &mut out);
                    assert!(!encoded.malformed && !encoded.lossy, "{:?} {} {out}", trace.path, column.name);
                    assert!(serde_json::from_str::<&serde_json::value::RawValue>(&out).is_ok(), "{out}");
                }
            }
        }
    }
}

#[test]
fn two_phase_messages_are_refused_by_the_assembler() {
    for trace in traces().iter().filter(|trace| trace.case == "two_phase") {
        assert!(commit_all(trace, usize::MAX).is_err(), "{:?}", trace.path);
    }
}

#[test]
fn a_message_cut_at_any_byte_is_an_error_and_never_a_panic_se_38() {
    for trace in traces() {
        for (payload, in_stream) in trace.distinct_payloads() {
            // An abort is complete after nine bytes; protocol 4 adds sixteen.
            let first = if payload[0] == b'A' { 9 } else { payload.len() };
            for length in 0..first {
                let cut = decode(payload.slice(..length), in_stream);
                assert!(cut.is_err(), "{:?}: {payload:?} cut at {length} is {cut:?}", trace.path);
            }
        }
    }
}

#[test]
fn a_message_with_any_byte_changed_never_panics_se_38() {
    for trace in traces() {
        for (payload, in_stream) in trace.distinct_payloads() {
            for at in 0..payload.len() {
                for value in [0, 1, 0x7F, 0x80, 0xFF, payload[at] ^ 0x20] {
                    let mut changed = payload.to_vec();
                    changed[at] = value;
                    // Either is right; what counts is that it returns.
                    drop(decode(changed.into(), in_stream));
                }
            }
        }
    }
}

fn decoded(trace: &Trace) -> impl Iterator<Item = Message> {
    trace.payloads().into_iter().map(|(payload, in_stream)| decode(payload, in_stream).unwrap())
}

fn rows(transaction: &Committed) -> impl Iterator<Item = &antiphon_model::ChangedRow> {
    transaction.changes.iter().filter_map(|(_, change)| match change {
        Change::Insert(row) | Change::Update(row) | Change::Delete(row) => Some(row),
        _ => None,
    })
}

/// The first column of each new row.
fn rows_of(transaction: &Committed) -> Vec<String> {
    let text = |row: &antiphon_model::ChangedRow| match row.new.as_ref().and_then(|new| new.cells().next()) {
        Some(Cell::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    };
    rows(transaction).map(text).collect()
}
