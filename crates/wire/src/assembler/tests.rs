//! Claims about grouping, each by a short script of messages built by hand.

use std::{collections::BTreeMap, sync::Arc};

use antiphon_model::{Cell, Change, Tuple, Type};
use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::{Part, PartLimits, SpoolReader};

const TABLE: u32 = 16_400;

fn message(kind: u8, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(kind);
    write(&mut out);
    out.freeze()
}

fn begin(xid: u32) -> Bytes {
    message(b'B', |out| {
        out.put_u64(0);
        out.put_i64(0);
        out.put_u32(xid);
    })
}

fn commit_body(out: &mut BytesMut, end: u64) {
    out.put_u8(0);
    out.put_u64(end - 1);
    out.put_u64(end);
    out.put_i64(1);
}

fn commit(end: u64) -> Bytes {
    message(b'C', |out| commit_body(out, end))
}

fn prefix(out: &mut BytesMut, part: Option<u32>) {
    if let Some(part) = part {
        out.put_u32(part);
    }
}

fn relation(part: Option<u32>, columns: &[(&str, u32)]) -> Bytes {
    message(b'R', |out| {
        prefix(out, part);
        out.put_u32(TABLE);
        out.put_slice(b"public\0t\0d");
        out.put_u16(columns.len() as u16);
        for (name, oid) in columns {
            out.put_u8(0);
            out.put_slice(name.as_bytes());
            out.put_u8(0);
            out.put_u32(*oid);
            out.put_i32(-1);
        }
    })
}

fn insert(part: Option<u32>, values: &[&str]) -> Bytes {
    message(b'I', |out| {
        prefix(out, part);
        out.put_u32(TABLE);
        out.put_u8(b'N');
        out.put_u16(values.len() as u16);
        for value in values {
            out.put_u8(b't');
            out.put_u32(value.len() as u32);
            out.put_slice(value.as_bytes());
        }
    })
}

fn logical(part: Option<u32>, transactional: bool, content: &str) -> Bytes {
    message(b'M', |out| {
        prefix(out, part);
        out.put_u8(u8::from(transactional));
        out.put_u64(9);
        out.put_slice(b"p\0");
        out.put_u32(content.len() as u32);
        out.put_slice(content.as_bytes());
    })
}

fn stream_start(xid: u32, first: bool) -> Bytes {
    message(b'S', |out| {
        out.put_u32(xid);
        out.put_u8(u8::from(first));
    })
}

fn stream_stop() -> Bytes {
    message(b'E', |_| {})
}

fn stream_commit(xid: u32, end: u64) -> Bytes {
    message(b'c', |out| {
        out.put_u32(xid);
        commit_body(out, end);
    })
}

fn stream_abort(xid: u32, part: u32, parallel: bool) -> Bytes {
    message(b'A', |out| {
        out.put_u32(xid);
        out.put_u32(part);
        if parallel {
            out.put_u64(1);
            out.put_i64(2);
        }
    })
}

/// Keeps spools as a caller would, and collects what was committed as `xid:ordinal:values`.
struct Caller {
    assembler: Assembler,
    spools: BTreeMap<Xid, Vec<u8>>,
    rows: Vec<String>,
    asked: Vec<u32>,
    chunk: usize,
    part: PartLimits,
}

impl Caller {
    fn new(limits: Limits) -> Caller {
        Caller {
            assembler: Assembler::new(limits, TypeTable::new(), Xid::new(1000)),
            spools: BTreeMap::new(),
            rows: Vec::new(),
            asked: Vec::new(),
            chunk: 7,
            part: PartLimits { changes_max: 3, bytes_max: 1000 },
        }
    }

    fn run(&mut self, messages: impl IntoIterator<Item = Bytes>) -> &mut Self {
        for message in messages {
            self.assembler.handle(message).unwrap();
            self.drain();
        }
        self
    }

    fn drain(&mut self) {
        while let Some(output) = self.assembler.poll() {
            match output {
                Output::Transaction(transaction) => self.take(&transaction),
                Output::ResolveTypes(oids) => {
                    self.asked.extend(&oids);
                    self.assembler.types_mut().insert(oids[0], Arc::new(Type::text("mood")));
                    self.assembler.resume().unwrap();
                }
                Output::SpoolAppend { xid, bytes } => self.spools.entry(xid).or_default().extend(&bytes),
                Output::SpoolTruncate { xid, len_bytes } => {
                    let spool = self.spools.get_mut(&xid).unwrap();
                    assert!(len_bytes as usize <= spool.len());
                    spool.truncate(len_bytes as usize);
                }
                Output::SpoolDrop { xid } => assert!(self.spools.remove(&xid).is_some()),
                Output::SpoolCommit { xid, header } => {
                    let spool = self.spools.remove(&xid).unwrap_or_default();
                    self.read(&spool, header);
                }
                Output::Advisory { content, .. } => {
                    self.rows.push(format!("advisory {}", String::from_utf8_lossy(&content)));
                }
            }
        }
    }

    fn read(&mut self, spool: &[u8], header: CommitHeader) {
        let mut reader = SpoolReader::new(header, self.part);
        let mut chunks = spool.chunks(self.chunk);
        loop {
            match reader.poll().unwrap() {
                Part::NeedBytes => reader.push(Bytes::copy_from_slice(chunks.next().unwrap())).unwrap(),
                Part::Transaction(part) => {
                    assert!(part.changes.len() <= self.part.changes_max);
                    self.take(&part);
                }
                Part::Done => break,
            }
        }
        assert_eq!((reader.missing_bytes(), chunks.next()), (0, None));
    }

    fn take(&mut self, part: &Transaction) {
        for (index, change) in part.changes.iter().enumerate() {
            let text = match change {
                Change::Insert(row) => {
                    let names = row.relation.columns.iter().map(|column| column.name.as_str());
                    let values = texts(row.new.as_ref().unwrap());
                    names.zip(values).map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
                }
                Change::Message { content, .. } => format!("message {}", String::from_utf8_lossy(content)),
                other => format!("{other:?}"),
            };
            self.rows.push(format!("{}:{}:{text}", part.xid, part.first_ordinal + index as u64));
        }
        if part.last {
            self.rows.push(format!("{} at {}", part.xid, part.commit_lsn));
        }
    }
}

fn texts(tuple: &Tuple) -> Vec<String> {
    let text = |cell| match cell {
        Cell::Text(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    };
    tuple.cells().map(text).collect()
}

#[test]
fn an_ordinary_transaction_is_yielded_whole_at_its_commit() {
    let mut caller = Caller::new(Limits::default());
    caller.run([begin(1001), relation(None, &[("a", 23)]), insert(None, &["1"]), logical(None, true, "m")]);
    assert!(caller.rows.is_empty() && caller.assembler.transaction_open());
    caller.run([insert(None, &["2"]), commit(50), begin(1002), commit(60)]);
    assert_eq!(
        caller.rows,
        ["1001:0:a=1", "1001:1:message m", "1001:2:a=2", "1001 at 0/32", "1002 at 0/3C"],
        "ordinals count rows and transactional messages"
    );
    assert!(!caller.assembler.transaction_open());
    assert_eq!(caller.assembler.reference(), Xid::new(1002));
}

#[test]
fn a_spilled_transaction_is_the_same_as_one_in_memory_pg_37() {
    let script = [
        begin(1001),
        relation(None, &[("a", 23)]),
        insert(None, &["1"]),
        relation(None, &[("a", 23), ("b", 25)]),
        insert(None, &["2", "x"]),
        insert(None, &["3", "y"]),
        insert(None, &["4", "z"]),
        commit(50),
        begin(1002),
        insert(None, &["5", "w"]),
        commit(60),
    ];
    let mut whole = Caller::new(Limits::default());
    whole.run(script.clone());
    for transaction_bytes_max in [0, 40, 100, 200] {
        let mut spilled = Caller::new(Limits { transaction_bytes_max, spool_batch_bytes: 1 });
        spilled.run(script.clone());
        assert_eq!(spilled.rows, whole.rows);
        assert!(spilled.assembler.counters().spilled > 0 && spilled.spools.is_empty());
    }
}

#[test]
fn rolled_back_parts_of_a_streamed_transaction_vanish_pg_38() {
    let mut caller = Caller::new(Limits::default());
    caller.run([
        stream_start(1001, true),
        relation(Some(1001), &[("a", 23)]),
        insert(Some(1001), &["1"]),
        insert(Some(1002), &["gone"]),
        insert(Some(1003), &["gone with its parent"]),
        stream_stop(),
        stream_abort(1001, 1003, true),
        stream_abort(1001, 1002, false),
        stream_start(1001, false),
        relation(Some(1004), &[("a", 23)]),
        insert(Some(1004), &["gone"]),
        stream_stop(),
        stream_abort(1001, 1004, true),
        stream_start(1001, false),
        relation(Some(1001), &[("a", 23)]),
        insert(Some(1001), &["2"]),
        stream_stop(),
        stream_commit(1001, 50),
    ]);
    assert_eq!(caller.rows, ["1001:0:a=1", "1001:1:a=2", "1001 at 0/32"]);
}

#[test]
fn a_rollback_of_something_unknown_is_counted_and_changes_nothing_pg_40() {
    let mut caller = Caller::new(Limits::default());
    caller.run([stream_abort(7, 7, true), stream_abort(7, 8, false)]);
    caller.run([stream_start(1001, true), stream_stop(), stream_abort(1001, 1009, true), stream_commit(1001, 50)]);
    assert_eq!(caller.assembler.counters().unknown_aborts, 3);
    assert_eq!(caller.rows, ["1001 at 0/32"]);
}

#[test]
fn a_wholly_rolled_back_streamed_transaction_yields_nothing() {
    let mut caller = Caller::new(Limits::default());
    caller.run([
        stream_start(1001, true),
        relation(Some(1001), &[("a", 23)]),
        insert(Some(1001), &["1"]),
        stream_stop(),
        stream_abort(1001, 1001, true),
    ]);
    assert!(caller.rows.is_empty() && caller.spools.is_empty());
    assert_eq!(caller.assembler.streams_open(), 0);
}

#[test]
fn interleaved_streams_are_released_in_commit_order_pg_41() {
    let mut caller = Caller::new(Limits::default());
    caller.run([
        stream_start(1001, true),
        relation(Some(1001), &[("a", 23)]),
        insert(Some(1001), &["1"]),
        stream_stop(),
        stream_start(1002, true),
        relation(Some(1002), &[("a", 23)]),
        insert(Some(1002), &["2"]),
        stream_stop(),
        begin(1003),
        relation(None, &[("a", 23)]),
        insert(None, &["3"]),
        commit(40),
        stream_start(1001, false),
        insert(Some(1001), &["4"]),
        stream_stop(),
        stream_commit(1002, 50),
        stream_commit(1001, 60),
    ]);
    assert_eq!(
        caller.rows,
        ["1003:0:a=3", "1003 at 0/28", "1002:0:a=2", "1002 at 0/32", "1001:0:a=1", "1001:1:a=4", "1001 at 0/3C"]
    );
}

#[test]
fn a_streamed_description_counts_for_others_from_its_commit_unless_a_later_one_came_pg_46() {
    let streamed = |columns: &[(&str, u32)]| {
        [stream_start(1001, true), relation(Some(1001), columns), insert(Some(1001), &["1"]), stream_stop()]
    };
    let mut caller = Caller::new(Limits::default());
    caller.run(streamed(&[("a", 23)]));
    caller.run([stream_commit(1001, 50), begin(1002), insert(None, &["2"]), commit(60)]);
    assert_eq!(caller.rows[2..], ["1002:0:a=2", "1002 at 0/3C"]);

    let mut caller = Caller::new(Limits::default());
    caller.run(streamed(&[("a", 23)]));
    caller.run([begin(1002), relation(None, &[("later", 23)]), insert(None, &["2"]), commit(40)]);
    caller.run([stream_commit(1001, 50), begin(1003), insert(None, &["3"]), commit(60)]);
    assert_eq!(caller.rows[2..], ["1001:0:a=1", "1001 at 0/32", "1003:0:later=3", "1003 at 0/3C"]);

    let mut caller = Caller::new(Limits::default());
    caller.run(streamed(&[("a", 23)]));
    caller.run([stream_abort(1001, 1001, true), begin(1002), insert(None, &["2"])]);
    assert_eq!(caller.assembler.handle(commit(60)), Err(Error::UnknownRelation { oid: TABLE }));
}

#[test]
fn unknown_types_are_asked_for_before_any_row_and_once() {
    for limits in [Limits::default(), Limits { transaction_bytes_max: 0, ..Limits::default() }] {
        let mut assembler = Assembler::new(limits, TypeTable::new(), Xid::new(1000));
        for payload in [begin(1001), relation(None, &[("m", 90_000), ("n", 90_001)]), insert(None, &["a", "b"])] {
            assembler.handle(payload).unwrap();
        }
        assembler.handle(commit(50)).unwrap();
        let asked = std::iter::from_fn(|| assembler.poll()).find_map(|output| match output {
            Output::ResolveTypes(oids) => Some(oids),
            Output::Transaction(_) | Output::SpoolCommit { .. } => panic!("a row came before its types"),
            _ => None,
        });
        assert_eq!(asked, Some(vec![90_000, 90_001]));
        assembler.handle(begin(1002)).unwrap();
        assembler.handle(commit(60)).unwrap();
        assert!(assembler.poll().is_none() && assembler.transaction_open());
        assembler.resume().unwrap();
        let committed = |output: &Output| matches!(output, Output::Transaction(_) | Output::SpoolCommit { .. });
        assert_eq!(std::iter::from_fn(|| assembler.poll()).filter(committed).count(), 2);
        assert!(!assembler.transaction_open());
    }
    let mut caller = Caller::new(Limits::default());
    caller.run([
        stream_start(1001, true),
        relation(Some(1001), &[("m", 90_000)]),
        insert(Some(1001), &["ok"]),
        stream_stop(),
        stream_commit(1001, 50),
    ]);
    assert_eq!((caller.asked.as_slice(), caller.rows[0].as_str()), (&[90_000][..], "1001:0:m=ok"));
}

#[test]
fn messages_outside_transactions_are_advisories() {
    let mut caller = Caller::new(Limits::default());
    caller.run([logical(None, false, "hint")]);
    assert_eq!(caller.rows, ["advisory hint"]);
    assert_eq!(caller.assembler.handle(logical(None, true, "x")), Err(Error::OutOfPlace { tag: 'M' }));
}

#[test]
fn messages_out_of_place_are_errors_and_two_phase_is_refused() {
    let prepare = message(b'b', |out| out.put_slice(&[0; 29]));
    for (script, error) in [
        (vec![insert(None, &["1"])], Error::OutOfPlace { tag: 'I' }),
        (vec![commit(50)], Error::OutOfPlace { tag: 'C' }),
        (vec![begin(1), begin(2)], Error::OutOfPlace { tag: 'B' }),
        (vec![stream_stop()], Error::OutOfPlace { tag: 'E' }),
        (vec![stream_start(1, false)], Error::OutOfPlace { tag: 'S' }),
        (vec![stream_start(1, true), stream_start(2, true)], Error::OutOfPlace { tag: 'S' }),
        (vec![stream_start(1, true), stream_stop(), stream_start(1, true)], Error::OutOfPlace { tag: 'S' }),
        (vec![stream_start(1, true), commit(9)], Error::OutOfPlace { tag: 'C' }),
        (vec![begin(1), stream_start(2, true)], Error::OutOfPlace { tag: 'S' }),
        (vec![stream_commit(1, 9)], Error::OutOfPlace { tag: 'c' }),
        (vec![prepare], Error::TwoPhase { tag: 'b' }),
        (vec![Bytes::new()], Error::Truncated { tag: ' ' }),
        (vec![Bytes::from_static(b"?")], Error::UnknownMessage { kind: b'?' }),
    ] {
        let mut assembler = Assembler::new(Limits::default(), TypeTable::new(), Xid::new(0));
        let mut result = Ok(());
        for payload in script {
            result = result.and_then(|()| assembler.handle(payload));
        }
        assert_eq!(result, Err(error));
    }
}

#[test]
fn a_row_of_another_width_than_described_is_an_error() {
    let mut assembler = Assembler::new(Limits::default(), TypeTable::new(), Xid::new(0));
    for payload in [begin(1), relation(None, &[("a", 23)]), insert(None, &["1", "2"])] {
        assembler.handle(payload).unwrap();
    }
    assert_eq!(assembler.handle(commit(9)), Err(Error::ColumnCount { oid: TABLE, expected: 1, found: 2 }));
}

#[test]
fn numbers_are_widened_across_the_wrap_cap_13() {
    let mut assembler = Assembler::new(Limits::default(), TypeTable::new(), Xid::new((1 << 32) - 2));
    for (xid, wide) in [(u32::MAX, (1u64 << 32) - 1), (3, (1 << 32) + 3), (u32::MAX, (1 << 32) - 1), (9, (1 << 32) + 9)]
    {
        assembler.handle(begin(xid)).unwrap();
        assembler.handle(commit(9)).unwrap();
        let Some(Output::Transaction(transaction)) = assembler.poll() else { panic!("no transaction") };
        assert_eq!(transaction.xid, Xid::new(wide));
        assert_eq!(assembler.reference(), Xid::new(wide));
    }
}

#[test]
fn a_damaged_spool_is_an_error_and_never_a_shorter_transaction() {
    let mut assembler = Assembler::new(Limits::default(), TypeTable::new(), Xid::new(1000));
    let script = [stream_start(1001, true), relation(Some(1001), &[("a", 23)]), insert(Some(1001), &["1"])];
    for payload in script.into_iter().chain([stream_stop(), stream_commit(1001, 50)]) {
        assembler.handle(payload).unwrap();
    }
    let Some(Output::SpoolAppend { bytes, .. }) = assembler.poll() else { panic!("nothing spooled") };
    let Some(Output::SpoolCommit { header, .. }) = assembler.poll() else { panic!("not committed") };
    let limits = PartLimits { changes_max: 10, bytes_max: 1000 };

    let mut reader = SpoolReader::new(header.clone(), limits);
    reader.push(bytes.slice(..bytes.len() - 1)).unwrap();
    assert!(matches!(reader.poll(), Ok(Part::NeedBytes)));
    assert!(reader.push(Bytes::new()).is_err(), "the end of the file before the end of the spool");

    let mut reader = SpoolReader::new(header.clone(), limits);
    assert!(reader.push(Bytes::from([bytes.as_ref(), b"x"].concat())).is_err());

    let mut damaged = bytes.to_vec();
    damaged[0] = 255;
    let mut reader = SpoolReader::new(header, limits);
    reader.push(damaged.into()).unwrap();
    assert!(matches!(reader.poll(), Err(Error::Spool { at_bytes: 0 })));
}

/// One step of a transaction with savepoints.
#[derive(Clone, Debug)]
enum Step {
    Row,
    Message,
    Savepoint,
    Release,
    RollBack,
    Block,
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Row),
        1 => Just(Step::Message),
        2 => Just(Step::Savepoint),
        1 => Just(Step::Release),
        2 => Just(Step::RollBack),
        2 => Just(Step::Block),
    ];
    prop::collection::vec(step, 0..60)
}

/// Plays the steps as Postgres does: what a rollback takes away, and which parts its record names.
///
/// Returns the streamed script and the rows that survive.
fn play(steps: &[Step]) -> (Vec<Bytes>, Vec<Bytes>) {
    let (top, mut next_part, mut counter, mut described) = (1001, 1002, 0, false);
    let mut stack = vec![(top, Vec::new(), 0)];
    let (mut survivors, mut script) = (Vec::new(), vec![stream_start(top, true)]);
    let describe = |script: &mut Vec<Bytes>, part, described: &mut bool| {
        if !std::mem::replace(described, true) {
            script.push(relation(Some(part), &[("a", 23)]));
        }
    };
    for step in steps {
        let part = stack.last().map_or(top, |(part, _, _)| *part);
        counter += 1;
        let value = counter.to_string();
        match step {
            Step::Row => {
                describe(&mut script, part, &mut described);
                script.push(insert(Some(part), &[&value]));
                survivors.push(insert(None, &[&value]));
            }
            Step::Message => {
                script.push(logical(Some(part), true, &value));
                survivors.push(logical(None, true, &value));
            }
            Step::Savepoint => {
                stack.push((next_part, Vec::new(), survivors.len()));
                next_part += 1;
            }
            Step::Release if stack.len() > 1 => {
                if let (Some((part, children, _)), Some(parent)) = (stack.pop(), stack.last_mut()) {
                    parent.1.extend(children);
                    parent.1.push(part);
                }
            }
            Step::RollBack if stack.len() > 1 => {
                if let Some((part, children, kept)) = stack.pop() {
                    survivors.truncate(kept);
                    script.push(stream_stop());
                    script.extend(children.into_iter().chain([part]).map(|part| stream_abort(top, part, true)));
                    script.push(stream_start(top, false));
                    described = false;
                }
            }
            Step::Block => script.extend([stream_stop(), stream_start(top, false)]),
            Step::Release | Step::RollBack => {}
        }
    }
    script.extend([stream_stop(), stream_commit(top, 50)]);
    (script, survivors)
}

proptest! {
    #[test]
    fn prop_streamed_with_savepoints_equals_ordinary_pg_37_pg_38(
        steps in any_steps(), chunk in 1usize..40, changes_max in 1usize..6, spool_batch_bytes in 1usize..200
    ) {
        let (script, survivors) = play(&steps);
        let mut streamed = Caller::new(Limits { spool_batch_bytes, ..Limits::default() });
        (streamed.chunk, streamed.part.changes_max) = (chunk, changes_max);
        streamed.run(script);
        let mut ordinary = Caller::new(Limits::default());
        ordinary.run([begin(1001), relation(None, &[("a", 23)])]).run(survivors).run([commit(50)]);
        prop_assert_eq!(&streamed.rows, &ordinary.rows);
        prop_assert!(streamed.spools.is_empty());
    }

    #[test]
    fn prop_hostile_payloads_never_panic_se_38(
        payloads in prop::collection::vec(
            (prop::sample::select(b"BCOYRIUDTMSEcAbPKrp".to_vec()), prop::collection::vec(any::<u8>(), 0..60)), 0..20
        )
    ) {
        let mut assembler = Assembler::new(Limits::default(), TypeTable::new(), Xid::new(0));
        for (kind, rest) in payloads {
            if assembler.handle([&[kind], rest.as_slice()].concat().into()).is_err() {
                break;
            }
            while let Some(output) = assembler.poll() {
                if matches!(output, Output::ResolveTypes(_)) && assembler.resume().is_err() {
                    break;
                }
            }
        }
    }
}
