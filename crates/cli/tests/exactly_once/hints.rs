//! What the server tells other servers while it is killed: hints on the channel of the log's database (house 16).
//!
//! Law that is checked: a hint speaks of what is durable at the moment it is heard, and of nothing that a kill takes
//! back afterwards. Hints may be lost with whoever was killed; they may not be wrong.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_postgres::{AsyncMessage, Client, NoTls};

const CHANNEL: &str = "select 'antiphon_' || left(encode(sha256('antiphon notices'::bytea || key), 'hex'), 32)
                       from antiphon.installation";
const HEAD: &str = "select epoch::int8, durable from log.durable";
/// Hints that wait while the head is looked at.
const WAITING_MAX: usize = 10_000;

/// Listens to hints, over every kill.
pub struct Listener {
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Heard {
    count: u64,
    newest: (i64, i64),
    /// Hints that were ahead of the log when they were heard.
    wrong: Vec<String>,
}

impl Listener {
    /// Begins to listen to the hints of this log.
    pub fn start(url: String) -> Listener {
        let heard = Arc::new(Mutex::default());
        let task = antiphon_testkit::spawn("hints", listen(url, Arc::clone(&heard)));
        Listener { heard, task }
    }

    /// Ends, and says what was heard; the log's head is what no kill may have taken back.
    pub async fn end(self, log: &Client) -> u64 {
        self.task.abort();
        let head = head(log).await.expect("the log can be read");
        let heard = self.heard.lock().expect("no panic before");
        assert!(heard.wrong.is_empty(), "hints ahead of the log: {:?}", heard.wrong);
        assert!(heard.newest <= head, "a kill took back what was told: {:?}, {head:?}", heard.newest);
        heard.count
    }
}

async fn head(log: &Client) -> Result<(i64, i64), tokio_postgres::Error> {
    let row = log.query_one(HEAD, &[]).await?;
    Ok((row.get(0), row.get(1)))
}

async fn listen(url: String, heard: Arc<Mutex<Heard>>) {
    loop {
        // Whatever fails here was killed; it comes back.
        if listen_once(&url, &heard).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn listen_once(url: &str, heard: &Mutex<Heard>) -> Result<(), tokio_postgres::Error> {
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
    while let Some(hint) = told.recv().await {
        // Asked after it was heard: it has to be true by then.
        let head = head(&client).await?;
        let parsed: Value = serde_json::from_str(&hint).expect("a hint is JSON");
        let number = |name: &str| parsed[name].as_i64().expect("a number");
        let says = (number("epoch"), number("last"));
        let mut heard = heard.lock().expect("no panic before");
        heard.count += 1;
        heard.newest = heard.newest.max(says);
        if says > head {
            heard.wrong.push(format!("{hint} at {head:?}"));
        }
    }
    messages.abort();
    Ok(())
}
