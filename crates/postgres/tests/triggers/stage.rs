//! What every test of capture by triggers needs: a database with a table, and a source over it.

use std::time::Duration;

use antiphon_postgres::{ConnectionInfo, TriggerConfig, TriggerSource};
use antiphon_testkit::{Pg, TestDb};
use tokio_postgres::Client;

pub use crate::{
    reader::{NOTES, Reader, entity, notes, until, within},
    telling::told,
};

/// A database with the table `notes`.
pub struct Stage {
    pub db: TestDb,
    pub client: Client,
}

impl Stage {
    pub async fn set(pg: &Pg, hint: &str) -> Stage {
        let db = pg.database(hint).await;
        let client = db.connect().await;
        client.batch_execute(NOTES).await.unwrap();
        Stage { db, client }
    }

    pub fn config(&self) -> TriggerConfig {
        let mut config = TriggerConfig::new(ConnectionInfo::parse(&self.db.url()).unwrap(), vec![notes()]);
        config.poll_interval = Duration::from_millis(20);
        config.watch_interval = Duration::from_millis(50);
        config
    }

    pub fn source(&self) -> TriggerSource {
        TriggerSource::new(self.config()).unwrap()
    }

    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    pub async fn count(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }
}
