//! What a run of activities comes to: for each row its end, so that a row that changed often is written once.
//!
//! Rows are told apart by the text of what identifies them. Law: writing a fold (truncates, then deletes, then writes)
//! leaves the tables as applying its activities one by one would. A write holds the columns that are at hand; a column that
//! is not keeps what the target has, unless the row is a new one.

use std::collections::BTreeMap;

/// A row's values by the places of its columns: not at hand, null, or a text.
pub(super) type Values = Vec<Option<Option<String>>>;

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// It is gone.
    Delete,
    /// It is there.
    Write {
        /// Its values.
        values: Values,
        /// Whether it is another row than the one of before: what is not at hand is null.
        anew: bool,
    },
}

/// What becomes of a type's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TypeFold {
    /// Whether every row of before is gone.
    pub(super) truncated: bool,
    /// The rows by what identifies them.
    pub(super) rows: BTreeMap<Vec<String>, Op>,
}

/// What becomes of everything.
#[derive(Debug, Default)]
pub(super) struct Fold {
    types: BTreeMap<String, TypeFold>,
    changes: usize,
    bytes: usize,
}

impl Fold {
    /// Tells whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// Returns how many changes and bytes it took in.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.changes, self.bytes)
    }

    /// Hands out what is to be written, and is empty.
    pub(super) fn take(&mut self) -> BTreeMap<String, TypeFold> {
        (self.changes, self.bytes) = (0, 0);
        std::mem::take(&mut self.types)
    }

    /// Every row of a type is gone.
    pub(super) fn truncate(&mut self, entity_type: &str) {
        self.changes += 1;
        *self.of(entity_type) = TypeFold { truncated: true, rows: BTreeMap::new() };
    }

    /// A row is gone.
    pub(super) fn delete(&mut self, entity_type: &str, identity: Vec<String>) {
        self.changes += 1;
        self.bytes += identity.iter().map(String::len).sum::<usize>();
        self.of(entity_type).rows.insert(identity, Op::Delete);
    }

    /// A row is there, with these values.
    pub(super) fn write(&mut self, entity_type: &str, identity: Vec<String>, values: Values) {
        self.changes += 1;
        let bytes = values.iter().flatten().flatten().map(String::len).sum::<usize>();
        self.bytes += bytes + values.len() * size_of::<Option<Option<String>>>();
        let of_type = self.of(entity_type);
        let truncated = of_type.truncated;
        match of_type.rows.get_mut(&identity) {
            Some(Op::Write { values: known, .. }) if known.len() == values.len() => {
                for (known, value) in known.iter_mut().zip(values) {
                    if value.is_some() {
                        *known = value;
                    }
                }
            }
            Some(op) => {
                let anew = !matches!(op, Op::Write { anew: false, .. });
                *op = Op::Write { values, anew };
            }
            None => drop(of_type.rows.insert(identity, Op::Write { values, anew: truncated })),
        }
    }

    fn of(&mut self, entity_type: &str) -> &mut TypeFold {
        if !self.types.contains_key(entity_type) {
            self.types.insert(entity_type.to_owned(), TypeFold::default());
        }
        self.types.entry(entity_type.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> Vec<String> {
        vec![id.to_owned()]
    }

    fn values(texts: &[Option<&str>]) -> Values {
        texts.iter().map(|text| text.map(|text| Some(text.to_owned()))).collect()
    }

    #[test]
    fn a_row_that_changed_often_is_written_once_with_its_newest_values_pip_06() {
        let mut fold = Fold::default();
        fold.write("t", id("1"), values(&[Some("1"), Some("a"), Some("long")]));
        fold.write("t", id("1"), values(&[Some("1"), Some("b"), None]));
        fold.write("t", id("2"), values(&[Some("2"), None, None]));
        fold.delete("t", id("3"));
        assert_eq!(fold.size().0, 4);
        let rows = fold.take().remove("t").expect("rows").rows;
        let merged = values(&[Some("1"), Some("b"), Some("long")]);
        assert_eq!(rows[&id("1")], Op::Write { values: merged, anew: false });
        assert_eq!(rows[&id("3")], Op::Delete);
        assert!(fold.is_empty());
    }

    #[test]
    fn a_row_that_was_deleted_and_came_back_keeps_nothing_of_before_pip_06() {
        let mut fold = Fold::default();
        fold.write("t", id("1"), values(&[Some("1"), Some("old")]));
        fold.delete("t", id("1"));
        fold.write("t", id("1"), values(&[Some("1"), None]));
        fold.truncate("u");
        fold.write("u", id("1"), values(&[Some("1"), None]));
        let types = fold.take();
        let anew = Op::Write { values: values(&[Some("1"), None]), anew: true };
        assert_eq!(types["t"].rows[&id("1")], anew);
        assert_eq!(types["u"], TypeFold { truncated: true, rows: BTreeMap::from([(id("1"), anew)]) });
    }

    #[test]
    fn a_truncate_forgets_what_came_before_it_pip_06() {
        let mut fold = Fold::default();
        fold.write("t", id("1"), values(&[Some("1")]));
        fold.delete("t", id("2"));
        fold.truncate("t");
        assert_eq!(fold.take()["t"], TypeFold { truncated: true, rows: BTreeMap::new() });
    }
}
