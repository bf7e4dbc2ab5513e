//! Looks at the audit table again and again, and hands on what has its place (CAP-31).
//!
//! A poll, not a notification: `notify` takes one lock of the whole cluster at every commit, and a row becomes readable
//! when the oldest transaction has ended, which nobody notifies of. After something was found the next look follows
//! soon, so that a busy source is read with little delay and an idle one costs four looks a second.
//! Law: the task waits where the caller is busy; nothing but the table itself holds what was not read.

use std::{sync::Arc, time::Duration};

use antiphon_engine::{Fault, spawn};
use antiphon_model::{Code, Lsn};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

use super::{
    TriggerConfig,
    check::Prepared,
    reader::{Look, Reader},
    watch::Watch,
};
use crate::{
    delivery::{self, Delivered, Outbox},
    events::HorizonHeld,
    slots,
};

/// After something was found, the next look follows after this part of the interval.
const BUSY_PART: u32 = 10;
/// Where nothing is found, progress is told this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// A statement that takes longer has lost its server.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// Who holds the horizon is told where nothing could be read for so long, and then this often.
const HELD_INTERVAL: Duration = Duration::from_secs(10);

/// Starts the task that reads.
pub(super) fn start(config: Arc<TriggerConfig>, prepared: Prepared) -> Delivered {
    let (outbox, capture, acknowledged) = delivery::channel(prepared.identity, prepared.started_at);
    let look_again = Arc::new(Notify::new());
    let driver = Driver {
        watch: Watch::start(Arc::clone(&config), prepared.baseline, acknowledged, Arc::clone(&look_again)),
        reader: Reader::new(prepared.client, prepared.started_at.as_u64()),
        interval: config.poll_interval,
        config,
        look_again,
        told_at: None,
        held_since: None,
    };
    spawn("trigger capture", driver.run(outbox));
    capture
}

struct Driver {
    reader: Reader,
    config: Arc<TriggerConfig>,
    interval: Duration,
    watch: Watch,
    /// Has the watch look at the functions at once.
    look_again: Arc<Notify>,
    told_at: Option<Instant>,
    /// Since when the oldest transaction is the same one, and when that was told of last.
    held_since: Option<(antiphon_model::Xid, Instant, Instant)>,
}

/// Nobody receives any more.
pub(crate) struct ReceiverGone;

impl Driver {
    async fn run(mut self, mut outbox: Outbox) {
        let closed = outbox.closing();
        let ended = tokio::select! {
            biased;
            () = closed => return,
            ended = self.work(&mut outbox) => ended,
        };
        if let Err(Some(fault)) = ended {
            tracing::debug!(error = %fault.chain(), "the reading of the audit table ended");
            outbox.fail(fault).await;
        }
    }

    /// Works until a fault, or until nobody receives (`None`).
    async fn work(&mut self, outbox: &mut Outbox) -> Result<(), Option<Fault>> {
        loop {
            let look = within(self.reader.look()).await?;
            outbox.heard(look.clock);
            let found = self.read(outbox, &look).await?;
            self.tell_progress(outbox, &look, found).await?;
            self.tell_held(&look).await;
            let wait = if found { self.config.poll_interval / BUSY_PART } else { self.config.poll_interval };
            self.interval = if found { wait } else { (self.interval * 2).min(wait) };
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                fault = self.watch.fault() => return Err(Some(fault)),
            }
        }
    }

    /// Reads everything that has its place; tells whether there was something.
    async fn read(&mut self, outbox: &mut Outbox, look: &Look) -> Result<bool, Option<Fault>> {
        let mut found = false;
        loop {
            let transactions = within(self.reader.read(look.reached)).await?;
            if self.reader.take_stale() {
                self.look_again.notify_one();
            }
            if transactions.is_empty() {
                return Ok(found);
            }
            found = true;
            transactions.into_iter().for_each(|transaction| outbox.push(transaction));
            deliver(outbox).await.map_err(|ReceiverGone| None)?;
        }
    }

    async fn tell_progress(&mut self, outbox: &mut Outbox, look: &Look, found: bool) -> Result<(), Option<Fault>> {
        let due = self.told_at.is_none_or(|at| at.elapsed() >= PROGRESS_INTERVAL);
        // What another reader placed meanwhile is read at the next look.
        if found || !due || self.reader.position() < look.last_position {
            return Ok(());
        }
        self.told_at = Some(Instant::now());
        outbox.progress(Lsn::new(self.reader.position()), look.reached);
        deliver(outbox).await.map_err(|ReceiverGone| None)
    }

    /// Names who holds the horizon: a writer anywhere in the cluster does (TG-02).
    async fn tell_held(&mut self, look: &Look) {
        let now = Instant::now();
        if look.oldest >= look.next {
            self.held_since = None;
            HorizonHeld { seconds: 0, transactions: 0, holder: None }.emit();
            return;
        }
        let (xid, since, told) =
            self.held_since.filter(|(xid, ..)| *xid == look.oldest).unwrap_or((look.oldest, now, now));
        let seconds = since.elapsed().as_secs();
        let transactions = look.next.as_u64() - look.oldest.as_u64();
        let tell = told.elapsed() >= HELD_INTERVAL;
        self.held_since = Some((xid, since, if tell { now } else { told }));
        let holder = if tell { self.holder().await } else { None };
        HorizonHeld { seconds, transactions, holder }.emit();
    }

    async fn holder(&self) -> Option<String> {
        let blockers = slots::blockers(self.reader.client(), None).await.ok()?;
        blockers.first().map(ToString::to_string)
    }
}

/// Hands over what is gathered, as fast as the caller takes it.
pub(crate) async fn deliver(outbox: &mut Outbox) -> Result<(), ReceiverGone> {
    outbox.flush();
    while outbox.waits() {
        let permit = outbox.permit().await.ok_or(ReceiverGone)?;
        outbox.send(permit);
    }
    Ok(())
}

pub(crate) async fn within<T>(future: impl Future<Output = Result<T, Fault>>) -> Result<T, Option<Fault>> {
    match timeout(STATEMENT_TIMEOUT, future).await {
        Ok(result) => result.map_err(Some),
        Err(_) => Err(Some(Fault::new(Code::SourceUnreachable, "the audit table does not answer"))),
    }
}

/// Positions that may be reaped, as the watch hears of them.
pub(super) type Consumed = watch::Receiver<Lsn>;
