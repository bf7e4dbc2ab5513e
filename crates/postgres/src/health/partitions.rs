//! Partitions that were emptied, put on or taken off with their rows, of which the stream says nothing (PG-68, PG-70).
//!
//! Changes of partitions are published under their root, and the server then tells no truncate of a single partition; rows
//! that come or go with a partition are no changes at all. So the leaves of each look are compared with those of the
//! look before: which there are, in which file each lies, and whether it holds anything.
//! Law: what was found stays found, since only a new copy mends it. What happened while nobody looked is not known.

use std::collections::{BTreeMap, BTreeSet};

use antiphon_engine::Fault;
use antiphon_model::RelationName;
use tokio_postgres::Client;

use crate::errors;

/// What happened to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartitionEvent {
    /// Its rows were taken away by `truncate`.
    Emptied,
    /// It went, with the rows that it held.
    TakenOff,
    /// It came, with rows that it held before.
    PutOn,
}

/// A partition whose rows changed without the stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionChange {
    /// The declared table.
    pub table: RelationName,
    /// The partition.
    pub partition: RelationName,
    /// What happened to it.
    pub event: PartitionEvent,
}

/// So many are remembered: a table of thousands of partitions that was restructured needs one word, not thousands.
const CHANGES_MAX: usize = 100;

/// A leaf as a look found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    table: RelationName,
    name: RelationName,
    /// The file that holds it: a truncate and a rewrite each make another.
    file: Option<u32>,
    filled: bool,
    /// Whether it was made as a partition, and not put on later.
    born: bool,
}

/// What the looks before have shown.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    leaves: Option<BTreeMap<u32, Leaf>>,
    changes: BTreeSet<PartitionChange>,
}

/// A table's row type is as old as the table; its place in the tree is as old as its being a partition.
const LEAVES: &str = "
    select rn.nspname::text, r.relname::text, c.oid, n.nspname::text, c.relname::text,
        pg_catalog.pg_relation_filenode(c.oid), coalesce(pg_catalog.pg_relation_size(c.oid), 0) > 0,
        exists (select from pg_catalog.pg_inherits i join pg_catalog.pg_type t on t.oid = c.reltype
            where i.inhrelid = c.oid and i.xmin = t.xmin)
    from unnest($1::text[], $2::text[]) as declared (schema, name)
        join pg_catalog.pg_namespace rn on rn.nspname = declared.schema
        join pg_catalog.pg_class r on r.relnamespace = rn.oid and r.relname = declared.name and r.relkind = 'p'
        cross join pg_catalog.pg_partition_tree(r.oid) t
        join pg_catalog.pg_class c on c.oid = t.relid and c.relkind <> 'p'
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace";

impl Partitions {
    /// Reads the leaves of the declared tables and compares them with those of before.
    pub(super) async fn look(&mut self, client: &Client, declared: &[RelationName]) -> Result<(), Fault> {
        let schemas: Vec<&str> = declared.iter().map(|table| table.schema.as_str()).collect();
        let names: Vec<&str> = declared.iter().map(|table| table.name.as_str()).collect();
        let rows = client.query(LEAVES, &[&schemas, &names]).await.map_err(errors::sql)?;
        let leaf = |row: &tokio_postgres::Row| {
            let leaf = Leaf {
                table: RelationName { schema: row.get(0), name: row.get(1) },
                name: RelationName { schema: row.get(3), name: row.get(4) },
                file: row.get(5),
                filled: row.get(6),
                born: row.get(7),
            };
            (row.get(2), leaf)
        };
        self.note(rows.iter().map(leaf).collect());
        Ok(())
    }

    /// Returns what was found so far.
    pub(super) fn changes(&self) -> Vec<PartitionChange> {
        self.changes.iter().cloned().collect()
    }

    fn note(&mut self, leaves: BTreeMap<u32, Leaf>) {
        let Some(before) = self.leaves.replace(leaves) else { return };
        let now = self.leaves.iter().flatten();
        let mut found = Vec::new();
        for (oid, leaf) in now {
            let event = match before.get(oid) {
                // A rewrite makes another file too, and has the rows in it.
                Some(known) if known.filled && known.file != leaf.file && !leaf.filled => PartitionEvent::Emptied,
                None if leaf.filled && !leaf.born => PartitionEvent::PutOn,
                _ => continue,
            };
            found.push((event, leaf));
        }
        let leaves = self.leaves.as_ref();
        let gone = before.iter().filter(|(oid, leaf)| leaf.filled && leaves.is_none_or(|now| !now.contains_key(oid)));
        found.extend(gone.map(|(_, leaf)| (PartitionEvent::TakenOff, leaf)));
        for (event, leaf) in found {
            if self.changes.len() < CHANGES_MAX {
                let (table, partition) = (leaf.table.clone(), leaf.name.clone());
                self.changes.insert(PartitionChange { table, partition, event });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(name: &str, file: u32, filled: bool, born: bool) -> Leaf {
        let named = |name: &str| RelationName { schema: "public".into(), name: name.into() };
        Leaf { table: named("p"), name: named(name), file: Some(file), filled, born }
    }

    #[test]
    fn only_what_takes_rows_along_or_brings_some_is_told_and_stays_told_pg_68_pg_70() {
        let mut seen = Partitions::default();
        let first = [(1, leaf("a", 1, true, true)), (2, leaf("b", 2, false, true)), (3, leaf("c", 3, true, false))];
        seen.note(first.into());
        // What was there at the first look is part of the copy.
        assert_eq!(seen.changes(), []);
        // A rewrite, an empty one emptied again, and two that bring nothing of before.
        let quiet = [
            (1, leaf("a", 9, true, true)),
            (2, leaf("b", 8, false, true)),
            (3, leaf("c", 3, true, false)),
            (4, leaf("d", 4, true, true)),
            (5, leaf("e", 5, false, false)),
        ];
        seen.note(quiet.into());
        assert_eq!(seen.changes(), []);
        seen.note(
            [(1, leaf("a", 10, false, true)), (5, leaf("e", 5, true, false)), (6, leaf("f", 6, true, false))].into(),
        );
        let told = |seen: &Partitions| -> Vec<_> {
            seen.changes().into_iter().map(|change| (change.partition.name, change.event)).collect()
        };
        let wanted = [
            ("a".to_owned(), PartitionEvent::Emptied),
            ("c".to_owned(), PartitionEvent::TakenOff),
            ("d".to_owned(), PartitionEvent::TakenOff),
            ("f".to_owned(), PartitionEvent::PutOn),
        ];
        assert_eq!(told(&seen), wanted);
        seen.note([(1, leaf("a", 10, true, true))].into());
        assert_eq!(told(&seen).len(), wanted.len() + 2, "e and f went, and the others are not forgotten");
    }
}
