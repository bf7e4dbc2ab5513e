//! What every test of capture by triggers needs: a database with a table, and a source over it.

use std::{sync::Arc, time::Duration};

use antiphon_model::{EntityType, RelationName, Sync, Tenancy};
use antiphon_postgres::{ConnectionInfo, TriggerConfig, TriggerSource};
use antiphon_testkit::{Pg, TestDb};
use tokio_postgres::Client;

pub use crate::reading::{Reader, told, until, within};

/// A database with the table `notes`.
pub struct Stage {
    pub db: TestDb,
    pub client: Client,
}

impl Stage {
    pub async fn set(pg: &Pg, hint: &str) -> Stage {
        let db = pg.database(hint).await;
        let client = db.connect().await;
        let table = "create table notes (id int primary key, org text not null default 'acme', body text)";
        client.batch_execute(table).await.unwrap();
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

pub fn notes() -> Arc<EntityType> {
    entity("note", "notes")
}
