//! One message of a transaction to one change, under the descriptions that precede it.
//!
//! Shared by transactions that fit in memory and by spooled ones, so that both number and decode alike (PG-37, PG-38).
//! Messages that begin or end something are refused: whoever groups them has taken those out.

use antiphon_model::{Change, ChangedRow, OldRow, Tuple};

use crate::{Error, Message, OldKind, RelationCache, RowMessage, TypeTable};

/// Applies a message: a description is remembered and yields nothing, everything else yields its change.
#[inline]
pub(crate) fn apply(
    message: Message,
    relations: &mut RelationCache,
    types: &TypeTable,
) -> Result<Option<Change>, Error> {
    let change = match message {
        Message::Insert(row) => Change::Insert(changed_row(row, relations)?),
        Message::Update(row) => Change::Update(changed_row(row, relations)?),
        Message::Delete(row) => Change::Delete(changed_row(row, relations)?),
        Message::Truncate { relations: oids, .. } => {
            let tables = oids.into_iter().map(|oid| relations.find(oid).cloned());
            Change::Truncate(tables.collect::<Result<_, _>>()?)
        }
        Message::Logical { prefix, content, .. } => Change::Message { prefix, content },
        Message::Relation { relation, .. } => {
            relations.insert(&relation, types);
            return Ok(None);
        }
        Message::Type { oid, schema, name, .. } => {
            relations.name_type(oid, &schema, &name);
            return Ok(None);
        }
        Message::Origin { .. } => return Ok(None),
        other => return Err(Error::OutOfPlace { tag: tag(&other) }),
    };
    Ok(Some(change))
}

#[inline]
fn changed_row(row: RowMessage, relations: &mut RelationCache) -> Result<ChangedRow, Error> {
    let relation = relations.find(row.relation)?;
    let expected = relation.columns.len();
    let check = |tuple: &Tuple| {
        let found = tuple.len();
        if found == expected { Ok(()) } else { Err(Error::ColumnCount { oid: row.relation, expected, found }) }
    };
    if let Some(new) = &row.new {
        check(new)?;
    }
    let old = match row.old {
        None => OldRow::Absent,
        Some((kind, old)) => {
            check(&old)?;
            match kind {
                OldKind::Identity => OldRow::Identity(old),
                OldKind::Full => OldRow::Full(old),
            }
        }
    };
    Ok(ChangedRow { relation: relation.clone(), old, new: row.new })
}

fn tag(message: &Message) -> char {
    match message {
        Message::Begin { .. } => 'B',
        Message::Commit(_) => 'C',
        Message::Origin { .. } => 'O',
        Message::Relation { .. } => 'R',
        Message::Type { .. } => 'Y',
        Message::Insert(_) => 'I',
        Message::Update(_) => 'U',
        Message::Delete(_) => 'D',
        Message::Truncate { .. } => 'T',
        Message::Logical { .. } => 'M',
        Message::StreamStart { .. } => 'S',
        Message::StreamStop => 'E',
        Message::StreamCommit { .. } => 'c',
        Message::StreamAbort { .. } => 'A',
        Message::BeginPrepare(_) => 'b',
        Message::Prepare(_) => 'P',
        Message::CommitPrepared(_) => 'K',
        Message::RollbackPrepared(_) => 'r',
        Message::StreamPrepare(_) => 'p',
    }
}
