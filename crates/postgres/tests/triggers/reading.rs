//! Reading a capture that records changes in the database, as the engine does, and telling what came in a few words.
//!
//! The tests of capture by triggers and by queries share it.

use std::time::Duration;

use antiphon_engine::{
    Fault,
    ports::{Capture, Captured, Source},
};
use antiphon_model::{Cell, Change, ChangedRow, Checkpoint, OldRow, Transaction, Tuple};
use tokio_postgres::Client;

/// Everything that is waited for comes within this time, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Reads a capture and keeps a checkpoint as the engine does.
pub struct Reader {
    pub capture: Box<dyn Capture>,
    pub checkpoint: Checkpoint,
}

impl Reader {
    pub async fn connect(source: &dyn Source, mut checkpoint: Checkpoint) -> Result<Reader, Fault> {
        let capture = within(source.connect(&checkpoint, &|_| {})).await?;
        checkpoint.acknowledged = capture.started_at();
        checkpoint.identity = Some(capture.identity().clone());
        Ok(Reader { capture, checkpoint })
    }

    pub async fn next(&mut self) -> Result<Captured, Fault> {
        let captured = within(self.capture.next()).await?;
        match &captured {
            Captured::Transactions(transactions) => {
                for transaction in transactions {
                    let count = transaction.changes.len() as u64;
                    assert!(
                        !self.checkpoint.covers(transaction.commit_lsn, transaction.first_ordinal),
                        "it came twice"
                    );
                    self.checkpoint.lsn = transaction.commit_lsn;
                    self.checkpoint.ordinal = (transaction.first_ordinal + count).saturating_sub(1);
                    self.checkpoint.xid = transaction.xid;
                    self.checkpoint.complete = transaction.last;
                    if transaction.last {
                        self.checkpoint.acknowledged = transaction.commit_lsn;
                    }
                }
            }
            Captured::Progress { lsn, .. } => assert!(*lsn >= self.checkpoint.acknowledged),
        }
        Ok(captured)
    }

    /// Reads until so many changes have come.
    pub async fn changes(&mut self, count: usize) -> Vec<Transaction> {
        let (mut taken, mut found) = (Vec::new(), 0);
        while found < count {
            if let Captured::Transactions(transactions) = self.next().await.unwrap() {
                found += transactions.iter().map(|transaction| transaction.changes.len()).sum::<usize>();
                taken.extend(transactions);
            }
        }
        assert_eq!(found, count, "more changes came than were made: {taken:?}");
        taken
    }

    /// Reads until the capture ends and returns why.
    pub async fn end(mut self) -> Fault {
        loop {
            if let Err(fault) = self.next().await {
                return fault;
            }
        }
    }

    /// Tells what is durable.
    pub fn acknowledge(&self) {
        self.capture.acknowledge().send_replace(self.checkpoint.acknowledged);
    }
}

/// Each change in a few words: `insert 1,acme,a`, `update 1,acme,b`, `update 1,acme -> 2,acme,b`.
pub fn told(transactions: &[Transaction]) -> Vec<String> {
    transactions.iter().flat_map(|transaction| &transaction.changes).map(tell).collect()
}

fn tell(change: &Change) -> String {
    match change {
        Change::Insert(row) => format!("insert {}", new(row)),
        Change::Update(row) => match &row.old {
            OldRow::Absent => format!("update {}", new(row)),
            OldRow::Identity(old) | OldRow::Full(old) => format!("update {} -> {}", cells(old), new(row)),
        },
        Change::Delete(row) => match &row.old {
            OldRow::Identity(old) | OldRow::Full(old) => format!("delete {}", cells(old)),
            OldRow::Absent => "delete of nothing".to_owned(),
        },
        Change::Truncate(relations) => {
            let names: Vec<_> = relations.iter().map(|relation| relation.name.clone()).collect();
            format!("truncate {}", names.join(","))
        }
        Change::Message { content, .. } => format!("message {}", String::from_utf8_lossy(content)),
    }
}

fn new(row: &ChangedRow) -> String {
    row.new.as_ref().map(cells).unwrap_or_default()
}

/// The cells of a row; null is `-`, unchanged is `=`.
pub fn cells(tuple: &Tuple) -> String {
    let cell = |cell: Cell<'_>| match cell {
        Cell::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Cell::Null => "-".to_owned(),
        Cell::Unchanged => "=".to_owned(),
        Cell::Binary(_) => "binary".to_owned(),
    };
    tuple.cells().map(cell).collect::<Vec<_>>().join(",")
}

pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("what was waited for did not come in time")
}

/// Waits until a statement answers true.
pub async fn until(client: &Client, condition: &str) {
    let holds = async {
        while !client.query_one(condition, &[]).await.unwrap().get::<_, Option<bool>>(0).unwrap_or(false) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(holds).await;
}
