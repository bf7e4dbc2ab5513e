//! What a source did: row-level changes, grouped by the transaction that committed them.
//!
//! Every capture method yields this one shape (CAP-01), so nothing downstream knows which method was used.
//! A tuple keeps the bytes that arrived and is walked where it is used: nothing is copied per column.
//! A column has three states; a value that did not change and is not at hand is `Unchanged`, never null.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Lsn, Micros, Type, Xid};

/// A committed transaction of the source, or one part of it in order.
///
/// A large transaction arrives in several parts of the same `commit_lsn` and `xid`; `first_ordinal` numbers the
/// part's first change within the transaction and `last` marks its end.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The end position of the commit record.
    pub commit_lsn: Lsn,
    /// The transaction's number, widened to 64 bits.
    pub xid: Xid,
    /// The commit time by the source's clock.
    pub committed_at: Micros,
    /// The ordinal of the first change in this part; ordinals count every change of the transaction from 0.
    pub first_ordinal: u64,
    /// The changes in commit order.
    pub changes: Vec<Change>,
    /// True where no further part of this transaction follows.
    pub last: bool,
}

/// One event of a source.
#[derive(Clone, Debug)]
pub enum Change {
    /// A row appeared.
    Insert(ChangedRow),
    /// A row changed.
    Update(ChangedRow),
    /// A row went away; `new` of the row is empty and `old` is given.
    Delete(ChangedRow),
    /// Whole tables were emptied, in the order given.
    Truncate(Vec<Arc<Relation>>),
    /// A logical message in the place where it was written (`pg_logical_emit_message`).
    Message {
        /// Who it is for.
        prefix: Bytes,
        /// What it says.
        content: Bytes,
    },
}

/// A row before and after.
#[derive(Clone, Debug)]
pub struct ChangedRow {
    /// The table, as it was when the row was written.
    pub relation: Arc<Relation>,
    /// The old row, where the write-ahead log has it.
    pub old: OldRow,
    /// The new row; absent for a delete.
    pub new: Option<Tuple>,
}

/// What the write-ahead log tells of the row before the change.
#[derive(Clone, Debug)]
pub enum OldRow {
    /// Nothing: the identity did not change.
    Absent,
    /// Only the columns of the replica identity; the others are null in the tuple and mean nothing.
    Identity(Tuple),
    /// The whole row (`REPLICA IDENTITY FULL`).
    Full(Tuple),
}

/// Which columns of an old row are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// The primary key.
    Default,
    /// None: updates and deletes cannot be captured.
    Nothing,
    /// All.
    Full,
    /// Those of a chosen unique index.
    Index,
    /// None: rows are states that were found by looking. An old row holds what tells it apart, as it was told last; any
    /// column may have changed since, by several transactions.
    Polled,
}

/// A table's shape at the time a row was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The table's OID.
    pub oid: u32,
    /// The schema's name.
    pub schema: String,
    /// The table's name.
    pub name: String,
    /// What old rows hold.
    pub identity: ReplicaIdentity,
    /// The columns in the order of tuples.
    pub columns: Vec<Column>,
}

/// A column of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// Whether it belongs to the replica identity.
    pub identity: bool,
    /// Its type's OID.
    pub type_oid: u32,
    /// Its type modifier, -1 where there is none.
    pub type_modifier: i32,
    /// How its values are written.
    pub ty: Arc<Type>,
}

/// A row as pgoutput lays it out: for each column a kind byte, and for values a length and the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuple {
    columns: u16,
    bytes: Bytes,
}

/// A column's state in a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// SQL NULL.
    Null,
    /// A value that did not change and is not at hand (an unchanged TOASTed value).
    Unchanged,
    /// A value as Postgres prints it.
    Text(&'a [u8]),
    /// A value in Postgres's binary form.
    Binary(&'a [u8]),
}

/// The bytes are not a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TupleError {
    /// The bytes end inside a column.
    #[error("the row ends inside column {column}")]
    Truncated {
        /// The column's index.
        column: u16,
    },
    /// A kind byte that pgoutput does not define.
    #[error("column {column} has the unknown kind {kind}")]
    UnknownKind {
        /// The column's index.
        column: u16,
        /// The byte found.
        kind: u8,
    },
}

impl Tuple {
    /// Takes a tuple from the front of `input` (column count, then columns) and returns it with what follows.
    ///
    /// # Errors
    /// Fails where the bytes end early or a kind byte is unknown; nothing is allocated before that is checked.
    pub fn take(input: &Bytes) -> Result<(Tuple, Bytes), TupleError> {
        let Some(head) = input.get(..2) else {
            return Err(TupleError::Truncated { column: 0 });
        };
        let columns = u16::from_be_bytes([head[0], head[1]]);
        let mut at = 2;
        for column in 0..columns {
            at = next_cell(input, at, column)?.1;
        }
        Ok((Tuple { columns, bytes: input.slice(2..at) }, input.slice(at..)))
    }

    /// Builds a tuple from cells; for captures that do not read pgoutput, and for tests.
    pub fn from_cells<'a>(cells: impl IntoIterator<Item = Cell<'a>>) -> Tuple {
        let mut bytes = Vec::new();
        let mut columns = 0;
        for cell in cells {
            columns += 1;
            let (kind, value) = match cell {
                Cell::Null => (b'n', None),
                Cell::Unchanged => (b'u', None),
                Cell::Text(value) => (b't', Some(value)),
                Cell::Binary(value) => (b'b', Some(value)),
            };
            bytes.push(kind);
            if let Some(value) = value {
                bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
                bytes.extend_from_slice(value);
            }
        }
        Tuple { columns, bytes: bytes.into() }
    }

    /// Returns how many columns the row has.
    pub fn len(&self) -> usize {
        self.columns as usize
    }

    /// Tells whether the row has no column.
    pub fn is_empty(&self) -> bool {
        self.columns == 0
    }

    /// Returns how many bytes the row occupies.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Walks the columns in order.
    pub fn cells(&self) -> Cells<'_> {
        Cells { bytes: &self.bytes, at: 0, column: 0, columns: self.columns }
    }
}

/// Walks the columns of a tuple.
#[derive(Clone, Debug)]
pub struct Cells<'a> {
    bytes: &'a [u8],
    at: usize,
    column: u16,
    columns: u16,
}

impl<'a> Iterator for Cells<'a> {
    type Item = Cell<'a>;

    fn next(&mut self) -> Option<Cell<'a>> {
        if self.column == self.columns {
            return None;
        }
        // INVARIANT: `take` and `from_cells` made these bytes, so a cell is always there.
        let (cell, at) = next_cell(self.bytes, self.at, self.column).ok()?;
        self.at = at;
        self.column += 1;
        Some(cell)
    }
}

fn next_cell(bytes: &[u8], at: usize, column: u16) -> Result<(Cell<'_>, usize), TupleError> {
    let truncated = TupleError::Truncated { column };
    let kind = *bytes.get(at).ok_or(truncated)?;
    match kind {
        b'n' => Ok((Cell::Null, at + 1)),
        b'u' => Ok((Cell::Unchanged, at + 1)),
        b't' | b'b' => {
            let length = bytes.get(at + 1..at + 5).ok_or(truncated)?;
            let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
            let end = (at + 5).checked_add(length).ok_or(truncated)?;
            let value = bytes.get(at + 5..end).ok_or(truncated)?;
            Ok((if kind == b't' { Cell::Text(value) } else { Cell::Binary(value) }, end))
        }
        kind => Err(TupleError::UnknownKind { column, kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_survive_the_round_trip_and_the_rest_is_returned() {
        let cells = [Cell::Null, Cell::Unchanged, Cell::Text(b"a"), Cell::Text(b""), Cell::Binary(&[0, 1])];
        let tuple = Tuple::from_cells(cells);
        let mut input = vec![0, 5];
        input.extend_from_slice(&tuple.bytes);
        input.extend_from_slice(b"rest");
        let (taken, rest) = Tuple::take(&input.into()).unwrap();
        assert_eq!(taken.cells().collect::<Vec<_>>(), cells);
        assert_eq!(&rest[..], b"rest");
    }

    #[test]
    fn hostile_bytes_are_errors_se_38() {
        let cases: [(&[u8], TupleError); 4] = [
            (&[0], TupleError::Truncated { column: 0 }),
            (&[0, 1], TupleError::Truncated { column: 0 }),
            (&[0, 1, b't', 255, 255, 255, 255, 0], TupleError::Truncated { column: 0 }),
            (&[0, 2, b'n', b'x'], TupleError::UnknownKind { column: 1, kind: b'x' }),
        ];
        for (bytes, error) in cases {
            assert_eq!(Tuple::take(&Bytes::copy_from_slice(bytes)).unwrap_err(), error);
        }
    }
}
