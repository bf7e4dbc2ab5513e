//! What the server tells other servers while it is killed: hints on the channel of the log's database (house 16).
//!
//! Law that is checked: a hint speaks of what is durable at the moment it is heard, and of nothing that a kill takes
//! back afterwards. Hints may be lost with whoever was killed; they may not be wrong.

use std::{future::poll_fn, time::Duration};

use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::scene::DEADLINE;

const CHANNEL: &str = "select 'antiphon_' || left(encode(sha256('antiphon notices'::bytea || key), 'hex'), 32)
                       from antiphon.installation";
const HEAD: &str = "select epoch::int8, durable from log.durable";
/// Differs after each start of Postgres.
const STARTED: &str = "select pg_postmaster_start_time()::text";
/// Hints that wait while the head is looked at.
const WAITING_MAX: usize = 10_000;

/// Listens to hints, over every kill.
pub struct Listener {
    heard: watch::Sender<Heard>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Heard {
    /// The start of the Postgres that is listened to.
    started: String,
    count: u64,
    newest: (i64, i64),
    /// Hints that were ahead of the log when they were heard.
    wrong: Vec<String>,
}

impl Listener {
    /// Begins to listen to the hints of this log.
    pub fn start(url: String) -> Listener {
        let heard = watch::Sender::default();
        let task = antiphon_testkit::spawn("hints", listen(url, heard.clone()));
        Listener { heard, task }
    }

    /// Waits until the Postgres that runs now is listened to: whatever is told from here on is heard.
    pub async fn listening(&self, log: &Client) {
        let started: String = log.query_one(STARTED, &[]).await.expect("the log can be read").get(0);
        self.wait("nobody listens", |heard| heard.started == started).await;
    }

    /// Waits until the log's head was told, ends, and says how often something was; no kill may have taken back any of it.
    pub async fn end(self, log: &Client) -> u64 {
        let head = head(log).await.expect("the log can be read");
        self.wait("the head was never told", |heard| heard.newest >= head).await;
        self.task.abort();
        let heard = self.heard.borrow();
        assert!(heard.wrong.is_empty(), "hints ahead of the log: {:?}", heard.wrong);
        assert!(heard.newest <= head, "a kill took back what was told: {:?}, {head:?}", heard.newest);
        heard.count
    }

    async fn wait(&self, never: &str, until: impl FnMut(&Heard) -> bool) {
        let mut heard = self.heard.subscribe();
        let waited = tokio::time::timeout(DEADLINE, heard.wait_for(until)).await.map(drop);
        waited.unwrap_or_else(|_| panic!("{never}: {:?}", self.heard.borrow().newest));
    }
}

async fn head(log: &Client) -> Result<(i64, i64), tokio_postgres::Error> {
    let row = log.query_one(HEAD, &[]).await?;
    Ok((row.get(0), row.get(1)))
}

async fn listen(url: String, heard: watch::Sender<Heard>) {
    loop {
        // Whatever fails here was killed; it comes back.
        if listen_once(&url, &heard).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn listen_once(url: &str, heard: &watch::Sender<Heard>) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
    let (tell, mut told) = mpsc::channel(WAITING_MAX);
    let messages = antiphon_testkit::spawn("messages", async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            let AsyncMessage::Notification(notification) = message else { continue };
            // Nobody looks at them any more: the connection was given up.
            if tell.send(notification.payload().to_owned()).await.is_err() {
                return;
            }
        }
    });
    let channel: String = client.query_one(CHANNEL, &[]).await?.get(0);
    client.batch_execute(&format!("listen {channel}")).await?;
    let started = client.query_one(STARTED, &[]).await?.get(0);
    heard.send_modify(|heard| heard.started = started);
    while let Some(hint) = told.recv().await {
        // Asked after it was heard: it has to be true by then.
        let head = head(&client).await?;
        let parsed: Value = serde_json::from_str(&hint).expect("a hint is JSON");
        let number = |name: &str| parsed[name].as_i64().expect("a number");
        let says = (number("epoch"), number("last"));
        heard.send_modify(|heard| {
            heard.count += 1;
            heard.newest = heard.newest.max(says);
            if says > head {
                heard.wrong.push(format!("{hint} at {head:?}"));
            }
        });
    }
    messages.abort();
    Ok(())
}
