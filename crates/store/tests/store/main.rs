//! Our tables over real Postgres 15 and 18.

mod crash;
mod directory;
mod lease;
mod log;
mod look_up;
mod migrations;
mod notices;
mod reading;
mod retention;
mod tickets;

use std::sync::Arc;

use antiphon_engine::{
    Fault,
    ports::{Batch, Heard},
};
use antiphon_model::{Action, Activity, ActivityId, Checkpoint, Code, Commit, Lsn, Micros, Xid};
use antiphon_store::{Connect, Store};
use antiphon_testkit::{Pg, TestDb};
use async_trait::async_trait;
use deadpool_postgres::{Manager, Pool};
use tokio_postgres::{AsyncMessage, Client, NoTls};

/// Connects without TLS to a test's database.
struct Plain(String);

#[async_trait]
impl Connect for Plain {
    async fn connect(&self) -> Result<Client, Fault> {
        let (client, connection) = tokio_postgres::connect(&self.0, NoTls)
            .await
            .map_err(|error| Fault::new(Code::LogUnreachable, "").with_source(error))?;
        drop(antiphon_testkit::spawn("connection", connection));
        Ok(client)
    }

    async fn connect_listening(&self, mut heard: Heard) -> Result<Client, Fault> {
        let (client, mut connection) = tokio_postgres::connect(&self.0, NoTls)
            .await
            .map_err(|error| Fault::new(Code::LogUnreachable, "").with_source(error))?;
        drop(antiphon_testkit::spawn("listening connection", async move {
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(notification) = message {
                    heard(notification.payload());
                }
            }
        }));
        Ok(client)
    }
}

/// A store over a new database with migrated tables.
pub async fn open(pg: &Pg, hint: &str) -> (TestDb, Store) {
    let db = pg.database(hint).await;
    antiphon_store::migrate(&mut db.connect_log().await).await.expect("migrations apply");
    let store = over(&db);
    (db, store)
}

/// Another store over the same database, as another server would have.
pub fn over(db: &TestDb) -> Store {
    let config = db.log_url().parse().expect("the URL is valid");
    let pool = Pool::builder(Manager::new(config, NoTls)).max_size(4).build().expect("the pool is valid");
    Store::new(pool, Arc::new(Plain(db.log_url())))
}

/// An activity without an id.
pub fn activity(org: &str, entity: &str, lsn: u64) -> Activity {
    Activity {
        id: ActivityId::default(),
        org: org.into(),
        entity_type: "page".into(),
        entity_id: Some(entity.into()),
        action: Action::Create,
        image: Some(format!("{{\"id\":\"{entity}\",\"nul\":\"\\u0000\"}}")),
        changed: None,
        details: None,
        tx: None,
        policy: None,
        schema: 1,
        commit: Commit {
            lsn: Lsn::new(lsn),
            seq: 0,
            last: true,
            xid: Xid::new(lsn),
            at: Micros(1_700_000_000_000_000),
        },
    }
}

/// A batch at a position.
pub fn batch(lsn: u64, activities: Vec<Activity>) -> Batch {
    let checkpoint =
        Checkpoint { acknowledged: Lsn::new(lsn), lsn: Lsn::new(lsn), xid: Xid::new(lsn), ..Checkpoint::start() };
    Batch { activities, checkpoint, organisations: vec![("page".into(), "acme".into())], snapshot: None }
}
