//! Renders a trace: its messages, then its transactions, each value as the protocol writes it.
//!
//! Long runs of alike lines are shown by their ends. Transaction numbers are replaced by their order of appearance.

use std::{collections::HashMap, fmt::Write as _};

use antiphon_model::{Cell, Change, ChangedRow, OldRow, Relation, Tuple, write_string};
use antiphon_wire::{Message, OldKind, RowMessage, decode, encode_cell};

use crate::{
    caller::{Committed, commit_all},
    trace::Trace,
};

/// Renders a trace.
pub fn render(trace: &Trace) -> String {
    let mut out = String::from("# messages\n");
    let mut names = Names::default();
    let mut lines = Vec::new();
    for (payload, in_stream) in trace.payloads() {
        let message = decode(payload, in_stream).unwrap();
        lines.push(names.message(&message));
    }
    write_runs(&mut out, &lines);
    out.push_str("\n# transactions\n");
    match commit_all(trace, 100) {
        Ok(committed) => committed.iter().for_each(|one| transaction(&mut out, &mut names, one)),
        Err(error) => writeln!(out, "refused: {error}").unwrap(),
    }
    out
}

/// A line of a rendering: lines of one key may be folded.
type Line = (String, String);

/// Writes lines; of a long run of one key only both ends.
fn write_runs(out: &mut String, lines: &[Line]) {
    for run in lines.chunk_by(|a, b| a.0 == b.0) {
        if run.len() <= 8 {
            run.iter().for_each(|(key, rest)| writeln!(out, "{key}{rest}").unwrap());
        } else {
            let (first, last) = (&run[0], &run[run.len() - 1]);
            writeln!(out, "{}{}\n  ... {} alike ...\n{}{}", first.0, first.1, run.len() - 2, last.0, last.1).unwrap();
        }
    }
}

#[derive(Default)]
struct Names {
    xids: HashMap<u32, usize>,
    tables: HashMap<u32, String>,
    types: HashMap<u32, String>,
}

impl Names {
    fn xid(&mut self, xid: u32) -> String {
        let next = self.xids.len() + 1;
        format!("x{}", self.xids.entry(xid).or_insert(next))
    }

    fn part(&mut self, xid: Option<u32>) -> String {
        xid.map_or(String::new(), |xid| format!("[{}] ", self.xid(xid)))
    }

    fn table(&self, oid: u32) -> String {
        self.tables.get(&oid).cloned().unwrap_or_else(|| "unknown table".into())
    }

    fn message(&mut self, message: &Message) -> Line {
        match message {
            Message::Insert(row) => self.row("insert", row),
            Message::Update(row) => self.row("update", row),
            Message::Delete(row) => self.row("delete", row),
            other => (self.other(other), String::new()),
        }
    }

    fn row(&mut self, kind: &str, row: &RowMessage) -> Line {
        let key = format!("{}{kind} {}", self.part(row.xid), self.table(row.relation));
        let mut rest = String::new();
        for (mark, tuple) in [
            (" old key ", row.old.as_ref().filter(|(kind, _)| *kind == OldKind::Identity).map(|(_, tuple)| tuple)),
            (" old ", row.old.as_ref().filter(|(kind, _)| *kind == OldKind::Full).map(|(_, tuple)| tuple)),
            (" new ", row.new.as_ref()),
        ] {
            if let Some(tuple) = tuple {
                write!(rest, "{mark}{}", raw(tuple)).unwrap();
            }
        }
        (key, rest)
    }

    fn other(&mut self, message: &Message) -> String {
        match message {
            Message::Begin { xid, .. } => format!("begin {}", self.xid(*xid)),
            Message::Commit(_) => "commit".into(),
            Message::Origin { name, .. } => format!("origin {name:?}"),
            Message::Relation { xid, relation } => {
                let name = format!("{}.{}", relation.schema, relation.name);
                self.tables.insert(relation.oid, name.clone());
                let columns: Vec<String> = relation
                    .columns
                    .iter()
                    .map(|column| {
                        let key = if column.identity { "*" } else { "" };
                        let ty = match self.types.get(&column.type_oid) {
                            Some(name) => name.clone(),
                            None => column.type_oid.to_string(),
                        };
                        format!("{key}{}: {ty}({})", column.name, column.type_modifier)
                    })
                    .collect();
                format!("{}relation {name} {:?} ({})", self.part(*xid), relation.identity, columns.join(", "))
            }
            Message::Type { xid, oid, schema, name } => {
                let name = format!("{schema}.{name}");
                self.types.insert(*oid, name.clone());
                format!("{}type {name}", self.part(*xid))
            }
            Message::Truncate { xid, cascade, restart_identity, relations } => {
                let tables: Vec<String> = relations.iter().map(|oid| self.table(*oid)).collect();
                let flags = format!("cascade {cascade}, restart identity {restart_identity}");
                format!("{}truncate {} ({flags})", self.part(*xid), tables.join(", "))
            }
            Message::Logical { xid, transactional, prefix, content, .. } => {
                let part = self.part(*xid);
                format!("{part}message {prefix:?} {content:?}{}", if *transactional { "" } else { " alone" })
            }
            Message::StreamStart { xid, first } => format!("stream start {} first {first}", self.xid(*xid)),
            Message::StreamStop => "stream stop".into(),
            Message::StreamCommit { xid, .. } => format!("stream commit {}", self.xid(*xid)),
            Message::StreamAbort { xid, subxid, at } => {
                let position = if at.is_some() { " with position" } else { "" };
                format!("stream abort {} of {}{position}", self.xid(*subxid), self.xid(*xid))
            }
            Message::BeginPrepare(prepare) => format!("begin prepare {} {:?}", self.xid(prepare.xid), prepare.gid),
            Message::Prepare(prepare) => format!("prepare {} {:?}", self.xid(prepare.xid), prepare.gid),
            Message::StreamPrepare(prepare) => format!("stream prepare {} {:?}", self.xid(prepare.xid), prepare.gid),
            Message::CommitPrepared(end) => format!("commit prepared {} {:?}", self.xid(end.xid), end.gid),
            Message::RollbackPrepared(end) => format!("rollback prepared {} {:?}", self.xid(end.xid), end.gid),
            Message::Insert(_) | Message::Update(_) | Message::Delete(_) => String::new(),
        }
    }
}

/// The cells of a row as they came, long ones by their length.
fn raw(tuple: &Tuple) -> String {
    let cell = |cell: Cell<'_>| match cell {
        Cell::Null => "null".to_owned(),
        Cell::Unchanged => "unchanged".to_owned(),
        Cell::Text(text) if text.len() > 100 => format!("{} bytes", text.len()),
        Cell::Text(text) => format!("'{}'", String::from_utf8_lossy(text).escape_debug()),
        Cell::Binary(bytes) => format!("binary {bytes:?}"),
    };
    format!("({})", tuple.cells().map(cell).collect::<Vec<_>>().join(", "))
}

fn transaction(out: &mut String, names: &mut Names, one: &Committed) {
    if one.alone {
        writeln!(out, "outside transactions").unwrap();
    } else {
        writeln!(out, "transaction {} of {} changes", names.xid(one.xid.as_u64() as u32), one.changes.len()).unwrap();
    }
    let lines: Vec<Line> = one.changes.iter().map(|(ordinal, change)| change_line(*ordinal, change)).collect();
    write_runs(out, &lines);
}

fn change_line(ordinal: u64, change: &Change) -> Line {
    let row = |kind: &str, row: &ChangedRow| {
        let mut rest = String::new();
        match &row.old {
            OldRow::Absent => {}
            OldRow::Identity(old) => write!(rest, " old key {}", json(&row.relation, old)).unwrap(),
            OldRow::Full(old) => write!(rest, " old {}", json(&row.relation, old)).unwrap(),
        }
        if let Some(new) = &row.new {
            write!(rest, " new {}", json(&row.relation, new)).unwrap();
        }
        (format!("  {kind} {}.{}", row.relation.schema, row.relation.name), format!(" #{ordinal}{rest}"))
    };
    match change {
        Change::Insert(changed) => row("insert", changed),
        Change::Update(changed) => row("update", changed),
        Change::Delete(changed) => row("delete", changed),
        Change::Truncate(tables) => {
            let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
            ("  truncate".into(), format!(" #{ordinal} {}", names.join(", ")))
        }
        Change::Message { prefix, content } => ("  message".into(), format!(" #{ordinal} {prefix:?} {content:?}")),
    }
}

/// The row as an object, unchanged columns as a mark that is no JSON.
fn json(relation: &Relation, tuple: &Tuple) -> String {
    let mut out = String::from("{");
    for (index, (column, cell)) in relation.columns.iter().zip(tuple.cells()).enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_string(&mut out, &column.name);
        out.push_str(": ");
        let start = out.len();
        match cell {
            Cell::Unchanged => out.push_str("<unchanged>"),
            cell => {
                let encoded = encode_cell(&column.ty, cell, &mut out);
                if out.len() - start > 200 {
                    let length = out.len() - start;
                    out.truncate(start);
                    write!(out, "<{length} bytes>").unwrap();
                }
                if encoded.json_null {
                    out.push_str(" <json null>");
                }
            }
        }
    }
    out.push('}');
    out
}
