//! What a trigger wrote of a row, read back as the change that the log would have told of.
//!
//! A row is recorded as Postgres prints a composite, beside the number of the shape that it had then, or, where the
//! table had changed under the trigger, beside its columns themselves. Laws: a recorded text that is no composite of
//! its shape is an error, never a guess; a value that was left out because it did not change is `Unchanged`, never null.

use std::{borrow::Cow, sync::Arc};

use antiphon_model::{Cell, Change, ChangedRow, Column, OldRow, Relation, RelationName, ReplicaIdentity, Tuple, Type};
use bytes::Bytes;

/// A column as it was recorded: its name, its type, its modifier, and what it is (`k`: identity, `g`: generated).
pub(crate) type RecordedColumn = (String, u32, i32, String);

/// The columns of recorded rows.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    relation: Arc<Relation>,
    /// For each recorded column whether it is part of the relation: generated ones are not, as in the log.
    shown: Vec<bool>,
    /// Whether old rows are recorded whole, and not only their identity.
    whole: bool,
}

/// A row as it stands in the audit table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recorded<'a> {
    /// What happened, as a letter.
    pub(super) op: u8,
    /// The columns, counted from one, that were left out because they did not change.
    pub(super) kept: &'a [i16],
    /// The old row, as far as it was recorded.
    pub(super) old: Option<&'a [u8]>,
    /// The new row.
    pub(super) new: Option<&'a [u8]>,
}

/// What was recorded does not fit its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Shape {
    /// Makes a shape of what was recorded of it; `types` has one for each column.
    pub(super) fn new(
        oid: u32,
        table: &RelationName,
        columns: &[RecordedColumn],
        types: &[Arc<Type>],
        whole: bool,
    ) -> Shape {
        let shown: Vec<bool> = columns.iter().map(|(_, _, _, kind)| kind != "g").collect();
        let all = columns.iter().zip(types).filter(|((_, _, _, kind), _)| kind != "g");
        let columns = all.map(|((name, type_oid, type_modifier, kind), ty)| Column {
            name: name.clone(),
            identity: whole || kind == "k",
            type_oid: *type_oid,
            type_modifier: *type_modifier,
            ty: Arc::clone(ty),
        });
        let identity = if whole { ReplicaIdentity::Full } else { ReplicaIdentity::Index };
        let relation = Relation {
            oid,
            schema: table.schema.clone(),
            name: table.name.clone(),
            identity,
            columns: columns.collect(),
        };
        Shape { relation: Arc::new(relation), shown, whole }
    }

    /// Has its rows told as states that were found by looking.
    pub(super) fn polled(mut self) -> Shape {
        Arc::make_mut(&mut self.relation).identity = ReplicaIdentity::Polled;
        self
    }

    /// Returns the relation of its rows.
    pub(super) fn relation(&self) -> &Arc<Relation> {
        &self.relation
    }

    /// Makes the change of a recorded row.
    pub(super) fn change(&self, recorded: Recorded<'_>) -> Result<Change, Malformed> {
        let old = recorded.old.map(|text| self.old(text)).transpose()?.unwrap_or(OldRow::Absent);
        let new = recorded.new.map(|text| self.new_row(text, recorded.kept)).transpose()?;
        let row = ChangedRow { relation: Arc::clone(&self.relation), old, new };
        match (recorded.op, &row.new, &row.old) {
            (b'I', Some(_), _) => Ok(Change::Insert(row)),
            (b'U', Some(_), _) => Ok(Change::Update(row)),
            (b'D', None, OldRow::Identity(_) | OldRow::Full(_)) => Ok(Change::Delete(row)),
            _ => Err(Malformed),
        }
    }

    fn new_row(&self, text: &[u8], kept: &[i16]) -> Result<Tuple, Malformed> {
        let fields = fields(text, self.shown.len())?;
        let kept = |index: usize| kept.iter().any(|&number| usize::try_from(number) == Ok(index + 1));
        let shown = fields.iter().enumerate().zip(&self.shown).filter(|(_, shown)| **shown);
        Ok(Tuple::from_cells(shown.map(|((index, field), _)| match field {
            None if kept(index) => Cell::Unchanged,
            None => Cell::Null,
            Some(value) => Cell::Text(value),
        })))
    }

    fn old(&self, text: &[u8]) -> Result<OldRow, Malformed> {
        if self.whole {
            return Ok(OldRow::Full(self.new_row(text, &[])?));
        }
        let identified = self.relation.columns.iter().filter(|column| column.identity).count();
        let fields = fields(text, identified)?;
        let mut fields = fields.iter();
        let cells = self.relation.columns.iter().map(|column| match column.identity.then(|| fields.next()).flatten() {
            Some(Some(value)) => Cell::Text(value),
            Some(None) | None => Cell::Null,
        });
        Ok(OldRow::Identity(Tuple::from_cells(cells)))
    }
}

/// Makes the message of a recorded text.
pub(super) fn message(said: &[u8]) -> Change {
    let prefix = Bytes::from_static(antiphon_engine::MESSAGE_PREFIX.as_bytes());
    Change::Message { prefix, content: Bytes::copy_from_slice(said) }
}

/// Reads a composite as Postgres prints it: so many fields, `None` for those that are null.
fn fields(text: &[u8], count: usize) -> Result<Vec<Option<Cow<'_, [u8]>>>, Malformed> {
    let mut rest = text.strip_prefix(b"(").ok_or(Malformed)?;
    let mut fields = Vec::with_capacity(count);
    loop {
        let (field, after) = match rest.first() {
            Some(b'"') => quoted(&rest[1..])?,
            _ => plain(rest)?,
        };
        fields.push(field);
        rest = match after.split_first() {
            Some((b',', after)) => after,
            Some((b')', [])) if fields.len() == count => return Ok(fields),
            _ => return Err(Malformed),
        };
    }
}

type Field<'a> = (Option<Cow<'a, [u8]>>, &'a [u8]);

fn plain(text: &[u8]) -> Result<Field<'_>, Malformed> {
    let end = text.iter().position(|byte| matches!(byte, b',' | b')')).ok_or(Malformed)?;
    let (field, rest) = text.split_at(end);
    if field.iter().any(|byte| matches!(byte, b'"' | b'\\' | b'(')) {
        return Err(Malformed);
    }
    Ok(((!field.is_empty()).then_some(Cow::Borrowed(field)), rest))
}

/// Reads what follows an opening quote; a doubled quote and a doubled backslash stand for one.
fn quoted(text: &[u8]) -> Result<Field<'_>, Malformed> {
    let mut value: Option<Vec<u8>> = None;
    let (mut from, mut at) = (0, 0);
    loop {
        match (text.get(at).ok_or(Malformed)?, text.get(at + 1)) {
            (b'"', next) if next != Some(&b'"') => {
                let tail = &text[from..at];
                let field = match value {
                    Some(mut value) => {
                        value.extend_from_slice(tail);
                        Cow::Owned(value)
                    }
                    None => Cow::Borrowed(tail),
                };
                return Ok((Some(field), &text[at + 1..]));
            }
            (b'"', _) | (b'\\', Some(_)) => {
                // What was escaped stands after the mark and is taken with what follows it.
                value.get_or_insert_default().extend_from_slice(&text[from..at]);
                from = at + 1;
                at += 2;
            }
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_model::TypeKind;
    use proptest::prelude::*;

    use super::*;

    fn shape(whole: bool) -> Shape {
        let table = RelationName { schema: "public".into(), name: "notes".into() };
        let column = |name: &str, kind: &str| (name.to_owned(), 25, -1, kind.to_owned());
        let columns = [column("id", "k"), column("org", "k"), column("body", ""), column("made", "g")];
        let text = Arc::new(Type { name: "text".into(), kind: TypeKind::Text });
        let types: Vec<_> = columns.iter().map(|_| Arc::clone(&text)).collect();
        Shape::new(7, &table, &columns, &types, whole)
    }

    fn cells(tuple: &Tuple) -> Vec<String> {
        let show = |cell: Cell<'_>| match cell {
            Cell::Text(text) => String::from_utf8_lossy(text).into_owned(),
            other => format!("{other:?}"),
        };
        tuple.cells().map(show).collect()
    }

    /// Prints as `record_out` does.
    fn printed(values: &[Option<String>]) -> String {
        let special = |c: char| c.is_whitespace() || "\"\\(),".contains(c);
        let fields = values.iter().map(|value| match value {
            None => String::new(),
            Some(text) if text.is_empty() || text.contains(special) => {
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""))
            }
            Some(text) => text.clone(),
        });
        format!("({})", fields.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn recorded_rows_become_the_changes_of_the_log_cap_30() {
        let recorded = Recorded { op: b'U', kept: &[3], old: Some(b"(1,acme)"), new: Some(b"(2,acme,,x)") };
        let Change::Update(row) = shape(false).change(recorded).unwrap() else { panic!("an update") };
        assert_eq!(cells(row.new.as_ref().unwrap()), ["2", "acme", "Unchanged"], "what is generated is left out");
        let OldRow::Identity(old) = &row.old else { panic!("identity only") };
        assert_eq!(cells(old), ["1", "acme", "Null"]);
        let recorded = Recorded { op: b'D', old: Some(b"(1,\"\",\"a \"\"b\"\" \\\\\",)"), ..Recorded::default() };
        let Change::Delete(row) = shape(true).change(recorded).unwrap() else { panic!("a delete") };
        let OldRow::Full(old) = &row.old else { panic!("the whole row") };
        assert_eq!(cells(old), ["1", "", "a \"b\" \\"]);
    }

    #[test]
    fn what_does_not_fit_its_shape_is_refused_cap_30() {
        for new in ["", "(", "()", "(1,2,3)", "(1,2,3,4,5)", "(1,2,3,4", "(1,2,3,4)x", "(1,\"2,3,4)", "(1,2\"\",3,4)"] {
            let recorded = Recorded { op: b'I', new: Some(new.as_bytes()), ..Recorded::default() };
            assert!(shape(false).change(recorded).is_err(), "{new}");
        }
        for op in *b"UIDX" {
            assert!(shape(false).change(Recorded { op, ..Recorded::default() }).is_err(), "{op}");
        }
    }

    proptest! {
        #[test]
        fn prop_every_composite_is_read_as_it_was_printed_cap_30(
            values in prop::collection::vec(prop::option::of("[a-z\"\\\\(), \t\u{e4}]{0,6}"), 2..6)
        ) {
            let text = printed(&values);
            let read = fields(text.as_bytes(), values.len()).unwrap();
            let read: Vec<Option<String>> =
                read.into_iter().map(|field| field.map(|value| String::from_utf8(value.into_owned()).unwrap())).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn prop_no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..40), count in 0_usize..5) {
            let read = fields(&text, count);
            prop_assert!(read.is_err() || read.is_ok_and(|fields| fields.len() == count));
        }
    }
}
