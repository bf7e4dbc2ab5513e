//! What every test of capture needs: a database with a table, a source over it, and a way to wait for what it yields.

use std::{sync::Arc, time::Duration};

use antiphon_engine::{
    Fault,
    ports::{Capture, Captured, Source},
};
use antiphon_model::{Change, Checkpoint, EntityType, Lsn, RelationName, Sync, Tenancy, Transaction};
use antiphon_postgres::{ConnectionInfo, LogSource, SourceConfig, publication};
use antiphon_testkit::{Pg, TestDb};
use tempfile::TempDir;
use tokio_postgres::Client;

/// Everything that is waited for comes within this time, also on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Whether this run takes the sizes of the hazards, which are too long for every day.
pub fn long() -> bool {
    std::env::var_os("ANTIPHON_LONG").is_some()
}

/// A database with the table `notes` in a publication, and a folder for spools.
pub struct Stage {
    pub db: TestDb,
    pub client: Client,
    pub spool: TempDir,
}

impl Stage {
    pub async fn set(pg: &Pg, hint: &str) -> Stage {
        let db = pg.database(hint).await;
        let client = db.connect().await;
        let table = "create table notes (id int primary key, org text not null default 'acme', body text)";
        client.batch_execute(table).await.unwrap();
        publication::create_if_missing(&client, &db.publication()).await.unwrap();
        let add = format!("alter publication {} add table notes", db.publication());
        client.batch_execute(&add).await.unwrap();
        Stage { db, client, spool: tempfile::tempdir().unwrap() }
    }

    pub fn config(&self) -> SourceConfig {
        self.config_of(&self.db.url())
    }

    pub fn config_of(&self, url: &str) -> SourceConfig {
        let info = ConnectionInfo::parse(url).unwrap();
        let (slot, publication) = (self.db.slot(), self.db.publication());
        let mut config = SourceConfig::new(info, slot, publication, vec![notes()], self.spool.path());
        config.watch_interval = Duration::from_millis(50);
        config
    }

    pub fn source(&self) -> LogSource {
        LogSource::new(self.config()).unwrap()
    }

    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }
}

pub fn notes() -> Arc<EntityType> {
    Arc::new(EntityType {
        name: "note".into(),
        table: RelationName { schema: "public".into(), name: "notes".into() },
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

/// Reads a capture and keeps a checkpoint as the engine does.
pub struct Reader {
    pub capture: Box<dyn Capture>,
    pub checkpoint: Checkpoint,
}

impl Reader {
    pub async fn connect(source: &LogSource, mut checkpoint: Checkpoint) -> Result<Reader, Fault> {
        let capture = within(source.connect(&checkpoint, &|_| {})).await?;
        checkpoint.acknowledged = checkpoint.acknowledged.max(capture.started_at());
        checkpoint.identity = Some(capture.identity().clone());
        Ok(Reader { capture, checkpoint })
    }

    pub async fn next(&mut self) -> Result<Captured, Fault> {
        let captured = within(self.capture.next()).await?;
        match &captured {
            Captured::Transactions(transactions) => {
                for transaction in transactions {
                    if !new(&self.checkpoint, transaction) {
                        continue;
                    }
                    self.checkpoint.lsn = transaction.commit_lsn;
                    self.checkpoint.ordinal =
                        (transaction.first_ordinal + transaction.changes.len() as u64).saturating_sub(1);
                    self.checkpoint.xid = transaction.xid;
                    self.checkpoint.complete = transaction.last;
                    if transaction.last {
                        self.checkpoint.acknowledged = self.checkpoint.acknowledged.max(transaction.commit_lsn);
                    }
                }
            }
            Captured::Progress { lsn, .. } => {
                self.checkpoint.acknowledged = self.checkpoint.acknowledged.max(*lsn);
            }
        }
        Ok(captured)
    }

    /// Reads until so many changes have come, each transaction with its changes; what comes again is passed over.
    pub async fn changes(&mut self, count: usize) -> Vec<Transaction> {
        let (mut taken, mut found) = (Vec::new(), 0);
        while found < count {
            let before = self.checkpoint.clone();
            if let Captured::Transactions(mut transactions) = self.next().await.unwrap() {
                transactions.retain(|transaction| new(&before, transaction));
                found += transactions.iter().map(|transaction| transaction.changes.len()).sum::<usize>();
                taken.extend(transactions.into_iter().filter(|transaction| !transaction.changes.is_empty()));
            }
        }
        assert_eq!(found, count, "more changes came than were made");
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

    /// As `end`, however long the server takes.
    pub async fn capture_end(mut self) -> Fault {
        loop {
            if let Err(fault) = self.capture.next().await {
                return fault;
            }
        }
    }

    /// Tells the server what is durable.
    pub fn acknowledge(&self) -> Lsn {
        self.capture.acknowledge().send_replace(self.checkpoint.acknowledged);
        self.checkpoint.acknowledged
    }
}

/// Tells whether a transaction lies behind a checkpoint: streams begin where the slot stands, which may be before it.
pub fn new(checkpoint: &Checkpoint, transaction: &Transaction) -> bool {
    transaction.commit_lsn > checkpoint.lsn || (transaction.commit_lsn == checkpoint.lsn && !checkpoint.complete)
}

/// The text of a column of each change's row, in order.
pub fn column(transactions: &[Transaction], index: usize) -> Vec<String> {
    let rows = transactions.iter().flat_map(|transaction| &transaction.changes).filter_map(|change| match change {
        Change::Insert(row) | Change::Update(row) => row.new.as_ref(),
        _ => None,
    });
    rows.map(|row| match row.cells().nth(index) {
        Some(antiphon_model::Cell::Text(text)) => String::from_utf8(text.to_vec()).unwrap(),
        other => format!("{other:?}"),
    })
    .collect()
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
