//! Hints between servers over `listen` and `notify` of our own database (house 16).
//!
//! One connection listens; another one, opened at the first hint, tells. Neither is ever waited for by the writer: of
//! hints that wait, only the newest head is kept. Hints are the only thing that travels.
//! Law: nothing depends on a hint. What cannot be told is counted, and told as soon as something can; what was missed
//! while nobody listened is made good by `Notice::Listening`, upon which every follower reads the head.
//! The channel's name comes from the installation's key, so that only servers of one log wake one another.

use std::{sync::Arc, time::Duration};

use antiphon_engine::{
    Fault, backoff,
    ports::{Heard, Hint, LocalNotices, Notice, Notices},
};
use async_trait::async_trait;
use tokio::sync::{broadcast, watch};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::{Connect, Store, errors};

/// A statement that takes longer counts as failed: the connection is made again.
const PATIENCE: Duration = Duration::from_secs(5);
/// A connection that only listens is asked this often whether it still lives.
const ALIVE: Duration = Duration::from_secs(10);

/// Carries hints between processes; nothing moves before `run`.
pub struct PgNotices {
    connect: Arc<dyn Connect>,
    channel: String,
    local: Arc<LocalNotices>,
    waiting: watch::Sender<Option<Hint>>,
}

impl Store {
    /// Returns what carries hints between the servers of this log.
    pub async fn notices(&self) -> Result<PgNotices, Fault> {
        let client = self.client().await?;
        // The name tells nothing of the key.
        let sql = "select 'antiphon_' || left(encode(sha256('antiphon notices'::bytea || key), 'hex'), 32)
                   from antiphon.installation";
        let row = client.query_opt(sql, &[]).await.map_err(errors::sql)?;
        let row = row.ok_or_else(|| errors::corrupt("the installation has no key"))?;
        Ok(PgNotices {
            connect: Arc::clone(&self.connect),
            channel: row.get(0),
            local: Arc::default(),
            waiting: watch::Sender::new(None),
        })
    }
}

#[async_trait]
impl Notices for PgNotices {
    fn publish(&self, hint: Hint) {
        self.wait(hint);
    }

    fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.local.subscribe()
    }
}

impl PgNotices {
    /// Has a hint wait with those that wait already.
    fn wait(&self, hint: Hint) {
        self.waiting.send_modify(|waiting| *waiting = Some(waiting.map_or(hint, |other| other.and(hint))));
    }

    /// Listens and tells until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        tokio::select! {
            () = self.listen() => {}
            () = self.tell() => {}
            () = stop.cancelled() => {}
        }
        metrics::gauge!("antiphon_notices_listening").set(0.0);
    }

    /// Keeps a connection that listens.
    async fn listen(&self) {
        let mut attempt = 0;
        loop {
            let mut listened = false;
            let ended = self.listen_once(&mut listened).await;
            metrics::gauge!("antiphon_notices_listening").set(0.0);
            tracing::debug!(error = %ended.chain(), "hints of other servers are not heard; it is tried again");
            attempt = if listened { 0 } else { attempt + 1 };
            tokio::time::sleep(backoff::wait(attempt, seed())).await;
        }
    }

    /// Listens until the connection ends.
    async fn listen_once(&self, listened: &mut bool) -> Fault {
        let ended = CancellationToken::new();
        let client = match self.open_listening(&ended).await {
            Ok(client) => client,
            Err(fault) => return fault,
        };
        *listened = true;
        metrics::counter!("antiphon_notices_listens_total").increment(1);
        metrics::gauge!("antiphon_notices_listening").set(1.0);
        self.local.tell(Notice::Listening);
        loop {
            tokio::select! {
                () = ended.cancelled() => return errors::lost(),
                () = tokio::time::sleep(ALIVE) => {}
            }
            // A half-open connection is silent for ever otherwise.
            if let Err(fault) = self.say_listen(&client).await {
                return fault;
            }
        }
    }

    async fn open_listening(&self, ended: &CancellationToken) -> Result<Client, Fault> {
        let (local, until) = (Arc::clone(&self.local), ended.clone().drop_guard());
        let heard: Heard = Box::new(move |payload| {
            // Held for as long as the connection takes messages.
            let _until = &until;
            match Hint::decode(payload) {
                Some(hint) => {
                    metrics::counter!("antiphon_notices_heard_total").increment(1);
                    local.tell(Notice::Moved(hint));
                }
                None => metrics::counter!("antiphon_notices_refused_total").increment(1),
            }
        });
        let client = self.connect.connect_listening(heard).await?;
        self.say_listen(&client).await?;
        Ok(client)
    }

    /// Listens; saying it again changes nothing.
    async fn say_listen(&self, client: &Client) -> Result<(), Fault> {
        // INVARIANT: the name is made of letters, digits and underscores.
        in_time(client.batch_execute(&format!("listen {}", self.channel))).await
    }

    /// Tells the newest hint, as often as there is one.
    async fn tell(&self) {
        let mut waiting = self.waiting.subscribe();
        let (mut client, mut attempt) = (None, 0);
        loop {
            if waiting.wait_for(Option::is_some).await.is_err() {
                // INVARIANT: the sender is ours.
                return std::future::pending().await;
            }
            let Some(hint) = self.waiting.send_replace(None) else { continue };
            let Some(payload) = hint.encode() else {
                metrics::counter!("antiphon_notices_failed_total").increment(1);
                continue;
            };
            match self.send(&mut client, &payload).await {
                Ok(()) => {
                    attempt = 0;
                    metrics::counter!("antiphon_notices_published_total").increment(1);
                }
                Err(fault) => {
                    client = None;
                    self.wait(hint);
                    metrics::counter!("antiphon_notices_failed_total").increment(1);
                    tracing::debug!(error = %fault.chain(), "other servers could not be told of new activities");
                    tokio::time::sleep(backoff::wait(attempt, seed())).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn send(&self, client: &mut Option<Client>, payload: &str) -> Result<(), Fault> {
        let client = match client {
            Some(client) => client,
            None => {
                let new = self.connect.connect().await?;
                // Whoever notifies holds a lock of the whole server until the commit: it must not wait for the disk.
                in_time(new.batch_execute("set synchronous_commit = off")).await?;
                client.insert(new)
            }
        };
        in_time(client.execute("select pg_notify($1, $2)", &[&self.channel, &payload])).await.map(|_| ())
    }
}

async fn in_time<T>(statement: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Fault> {
    match tokio::time::timeout(PATIENCE, statement).await {
        Ok(done) => done.map_err(errors::sql),
        Err(_) => Err(errors::lost()),
    }
}

/// Something else in each server, so that they do not all come back at the same moment.
fn seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}
