//! The ledger: a table in which every commit writes a few lines, numbered in the order of commits, with its transaction.
//!
//! By it each committed change is found in the log once and in its order, whatever broke meanwhile: a line that was
//! streamed stands in an activity of its own transaction, one that was copied in another's. Who follows the ledger live
//! is compared with the log line by line. Beside it lie notes that nobody reads, so that a copy takes a while.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use tokio_postgres::Client;

use crate::witness::Witness;

/// The organisation of the ledger, of which no device is a member.
pub const ORG: &str = "initech";
/// The ledger, and the notes that nobody reads: a kilobyte each, so that a chunk of a copy holds some two thousand.
pub const TABLES: &str = "
    create table ledger (id int8 primary key, organization_id text not null,
        xid text not null default pg_current_xact_id()::text);
    insert into notes (id, organization_id, title, body)
        select 'bulk-' || n, 'initech', 'bulk', repeat(md5(n::text), 30) from generate_series(1, 12000) n";
/// Its declaration.
pub const ENTITY: &str = "\n[[entities]]\ntype = \"entry\"\ntable = \"public.ledger\"\norg = \"organization_id\"\n";
/// One commit: three lines after the last.
pub const COMMIT: &str = "
    insert into ledger (id, organization_id)
    select (select coalesce(max(id), 0) from ledger) + n, 'initech' from generate_series(1, 3) n";
/// So many lines a commit writes.
const LINES: usize = 3;

/// A line as the log has it.
struct Line {
    activity: i64,
    id: i64,
    /// The transaction that wrote it, and that of its activity.
    written: String,
    carried: String,
    position: i64,
}

/// The present epoch of the ledger: in the source, in the log, and at whoever followed it.
pub struct Ledger {
    source: BTreeSet<i64>,
    log: Vec<Line>,
    base: i64,
    followed: Vec<(&'static str, Vec<i64>)>,
}

/// A check of the ledger.
pub type Check = fn(&Ledger) -> Vec<String>;

/// Every check with its name.
pub const CHECKS: &[(&str, Check)] = &[("commits once", commits_once), ("readers whole", readers_whole)];

impl Ledger {
    /// Reads source and log, and takes down what the witnesses were shown.
    pub async fn gather(source: &Client, log: &Client, witnesses: &[Witness]) -> Result<Ledger> {
        let base = "select ((epoch - 1)::int8 << 40) from log.head";
        let base: i64 = log.query_one(base, &[]).await?.get(0);
        let lines = "select id, entity::int8, image::jsonb->>'xid', xid::text, lsn from log.activities
                     where type = 'entry' and action in (1, 2) and id > $1 order by id";
        let line = |row: &tokio_postgres::Row| Line {
            activity: row.get(0),
            id: row.get(1),
            written: row.get(2),
            carried: row.get(3),
            position: row.get(4),
        };
        Ok(Ledger {
            source: source.query("select id from ledger", &[]).await?.iter().map(|row| row.get(0)).collect(),
            log: log.query(lines, &[&base]).await?.iter().map(line).collect(),
            base,
            followed: witnesses.iter().map(|witness| (witness.name(), witness.shown())).collect(),
        })
    }

    /// Returns the last activity of it.
    pub fn last(&self) -> Option<i64> {
        self.log.last().map(|line| line.activity)
    }

    /// Says how much was compared.
    pub fn size(&self) -> String {
        let followed: Vec<String> = self.followed.iter().map(|(name, ids)| format!("{name} {}", ids.len())).collect();
        format!("{} lines, {} activities; followed: {}", self.source.len(), self.log.len(), followed.join(", "))
    }
}

/// Every line is there; what was streamed came once, whole, and in the order of commits.
fn commits_once(ledger: &Ledger) -> Vec<String> {
    let mut found = Vec::new();
    let mut commits: BTreeMap<i64, Vec<&Line>> = BTreeMap::new();
    for line in &ledger.log {
        commits.entry(line.position).or_default().push(line);
    }
    let mut last = 0;
    // A chunk of a copy has one position as well, and lines of many transactions.
    let streamed = commits.values().filter(|lines| lines.iter().all(|line| line.written == line.carried));
    for lines in streamed {
        if lines.len() != LINES {
            found.push(format!("commit {} has {} lines", lines[0].carried, lines.len()));
        }
        for line in lines {
            if line.id <= last {
                found.push(format!("line {} was streamed after {last}, as activity {}", line.id, line.activity));
            }
            last = line.id;
        }
    }
    let logged: BTreeSet<i64> = ledger.log.iter().map(|line| line.id).collect();
    found.extend(ledger.source.difference(&logged).map(|id| format!("line {id} is not in the log")));
    found.extend(logged.difference(&ledger.source).map(|id| format!("line {id} is in the log alone")));
    found
}

/// Whoever follows was shown each activity of the present epoch, once and in order.
fn readers_whole(ledger: &Ledger) -> Vec<String> {
    let wanted: Vec<i64> = ledger.log.iter().map(|line| line.activity).collect();
    let mut found = Vec::new();
    for (name, shown) in &ledger.followed {
        if let Some(pair) = shown.windows(2).find(|pair| pair[0] >= pair[1]) {
            found.push(format!("{name}: {} after {}", pair[1], pair[0]));
        }
        let present: Vec<i64> = shown.iter().copied().filter(|id| *id > ledger.base).collect();
        if present != wanted {
            let lacks: Vec<_> = wanted.iter().filter(|id| !present.contains(id)).take(5).collect();
            let more: Vec<_> = present.iter().filter(|id| !wanted.contains(id)).take(5).collect();
            found.push(format!(
                "{name}: {} of {} shown, lacks {lacks:?}, and has {more:?} more",
                present.len(),
                wanted.len()
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three commits of three lines; the first was copied, the others streamed.
    fn whole() -> Ledger {
        let line = |id: i64| {
            let written = (100 + (id - 1) / 3).to_string();
            let (carried, position) =
                if id <= 3 { ("90".to_owned(), 900) } else { (written.clone(), 1_000 + (id - 1) / 3) };
            Line { activity: id, id, written, carried, position }
        };
        let ids: Vec<i64> = (1..=9).collect();
        Ledger {
            source: ids.iter().copied().collect(),
            log: ids.iter().copied().map(line).collect(),
            base: 0,
            followed: vec![("SSE", ids.clone()), ("WebSocket", ids)],
        }
    }

    #[test]
    fn what_is_lost_doubled_moved_or_never_shown_is_found() {
        assert_eq!((commits_once(&whole()), readers_whole(&whole())), (Vec::new(), Vec::new()));
        let spoiled = |spoil: fn(&mut Ledger)| {
            let mut ledger = whole();
            spoil(&mut ledger);
            (commits_once(&ledger).len(), readers_whole(&ledger).len())
        };
        assert_eq!(spoiled(|ledger| drop(ledger.log.remove(4))), (2, 2), "a line of a commit is lost");
        assert_eq!(spoiled(|ledger| ledger.log.truncate(6)), (3, 2), "a commit is lost");
        let doubled = |ledger: &mut Ledger| {
            let again = ledger.log.drain(3..6).map(|line| Line { position: 1_009, ..line });
            let again: Vec<Line> = again.collect();
            ledger.log.extend(whole().log.drain(3..6));
            ledger.log.extend(again);
        };
        assert_eq!(spoiled(doubled).0, 1, "a commit came twice");
        assert_eq!(spoiled(|ledger| ledger.log[8].position = 1), (3, 0), "a line stands elsewhere than its commit");
        assert_eq!(
            spoiled(|ledger| ledger.source.retain(|id| *id != 9)),
            (1, 0),
            "a line was rolled back, and is there"
        );
        assert_eq!(spoiled(|ledger| ledger.followed[0].1.retain(|id| *id != 4)), (0, 1), "a reader has a gap");
        assert_eq!(spoiled(|ledger| ledger.followed[1].1.push(9)), (0, 2), "a reader was shown one twice");
    }
}
