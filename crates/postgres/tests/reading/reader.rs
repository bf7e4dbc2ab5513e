//! What tests of capture share, whichever method captures: the table `notes`, its declaration, a reader that keeps a
//! checkpoint as the engine does, and the ways to wait.
//!
//! A stream of a slot may send again what lies before the checkpoint, and the reader passes over it; where triggers
//! record, what comes twice is a fault of ours, and the reader says so.

use std::{sync::Arc, time::Duration};

use antiphon_engine::{
    Fault,
    ports::{Capture, Captured, Source},
};
use antiphon_model::{Checkpoint, EntityType, Lsn, RelationName, Sync, Tenancy, Transaction};
use antiphon_postgres::{LogSource, QuerySource, TriggerSource};
use tokio_postgres::Client;

/// Everything that is waited for comes within this time, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The table of most tests.
pub const NOTES: &str = "create table notes (id int primary key, org text not null default 'acme', body text)";

/// Declares a table of the schema `public` with the columns `id` and `org`.
pub fn entity(name: &str, table: &str) -> Arc<EntityType> {
    Arc::new(EntityType {
        name: name.into(),
        table: RelationName { schema: "public".into(), name: table.into() },
        org: Tenancy::Column("org".into()),
        key: vec!["id".into()],
        tx: "tx".into(),
        hidden: Vec::new(),
        sync: Sync::All,
        filter: Vec::new(),
        together: Vec::new(),
        refs: Default::default(),
        fields: Default::default(),
        rules: Vec::new(),
        polling: Default::default(),
    })
}

/// Declares `notes`.
pub fn notes() -> Arc<EntityType> {
    entity("note", "notes")
}

/// A source that is read.
pub trait Read: Source {
    /// Whether it may send again what lies before the checkpoint.
    const REPEATS: bool;
}

impl Read for LogSource {
    const REPEATS: bool = true;
}

impl Read for TriggerSource {
    const REPEATS: bool = false;
}

impl Read for QuerySource {
    const REPEATS: bool = false;
}

/// Reads a capture and keeps a checkpoint as the engine does.
pub struct Reader {
    pub capture: Box<dyn Capture>,
    pub checkpoint: Checkpoint,
    /// Whether what lies before the checkpoint may come again.
    pub repeats: bool,
}

impl Reader {
    pub async fn connect<S: Read>(source: &S, mut checkpoint: Checkpoint) -> Result<Reader, Fault> {
        let capture = within(source.connect(&checkpoint, &|_| {})).await?;
        checkpoint.acknowledged = checkpoint.acknowledged.max(capture.started_at());
        checkpoint.identity = Some(capture.identity().clone());
        Ok(Reader { capture, checkpoint, repeats: S::REPEATS })
    }

    pub async fn next(&mut self) -> Result<Captured, Fault> {
        let captured = within(self.capture.next()).await?;
        match &captured {
            Captured::Transactions(transactions) => transactions.iter().for_each(|transaction| self.take(transaction)),
            Captured::Progress { lsn, .. } => {
                assert!(self.repeats || *lsn >= self.checkpoint.acknowledged, "progress went back");
                self.checkpoint.acknowledged = self.checkpoint.acknowledged.max(*lsn);
            }
        }
        Ok(captured)
    }

    fn take(&mut self, transaction: &Transaction) {
        let again = self.checkpoint.covers(transaction.commit_lsn, transaction.first_ordinal);
        assert!(self.repeats || !again, "it came twice: {transaction:?}");
        if self.repeats && !new(&self.checkpoint, transaction) {
            return;
        }
        self.checkpoint.lsn = transaction.commit_lsn;
        self.checkpoint.ordinal = (transaction.first_ordinal + transaction.changes.len() as u64).saturating_sub(1);
        self.checkpoint.xid = transaction.xid;
        self.checkpoint.complete = transaction.last;
        if transaction.last {
            self.checkpoint.acknowledged = self.checkpoint.acknowledged.max(transaction.commit_lsn);
        }
    }

    /// Reads until so many changes have come, each transaction with its changes; what comes again is passed over.
    pub async fn changes(&mut self, count: usize) -> Vec<Transaction> {
        let (mut taken, mut found) = (Vec::new(), 0);
        while found < count {
            let before = self.checkpoint.clone();
            if let Captured::Transactions(mut transactions) = self.next().await.unwrap() {
                transactions.retain(|transaction| !self.repeats || new(&before, transaction));
                found += transactions.iter().map(|transaction| transaction.changes.len()).sum::<usize>();
                taken.extend(transactions.into_iter().filter(|transaction| !transaction.changes.is_empty()));
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
    pub fn acknowledge(&self) -> Lsn {
        self.capture.acknowledge().send_replace(self.checkpoint.acknowledged);
        self.checkpoint.acknowledged
    }
}

/// Tells whether a transaction lies behind a checkpoint: streams begin where the slot stands, which may be before it.
pub fn new(checkpoint: &Checkpoint, transaction: &Transaction) -> bool {
    transaction.commit_lsn > checkpoint.lsn || (transaction.commit_lsn == checkpoint.lsn && !checkpoint.complete)
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
