//! The way from the capture's task to the caller: in order, and bounded by bytes.
//!
//! What one read of the socket brought travels as one parcel; while the caller is busy, parcels grow instead of becoming
//! many. Each parcel holds permits for its bytes until the caller takes it.
//! Law: more than the bound never waits here, but for one transaction that is larger than the bound itself.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use antiphon_engine::{
    Fault,
    ports::{Capture, Captured},
};
use antiphon_model::{Change, ChangedRow, Code, Lsn, Micros, OldRow, SourceIdentity, Transaction};
use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::events::OutboxMeasured;

/// So many bytes may wait for the caller: enough to keep it busy while the socket is read again.
const WAITING_BYTES_MAX: usize = 6 << 20;
/// What a parcel is counted for beyond its rows, which bounds the number of parcels too.
const PARCEL_BYTES: usize = 4 << 10;
/// A parcel in the making grows up to this size while the caller is busy.
const GATHERED_BYTES_MAX: usize = 512 << 10;
/// The channel itself is never full: the permits run out before.
const PARCELS_MAX: usize = WAITING_BYTES_MAX / PARCEL_BYTES + 2;
/// What a change takes beside the bytes of its rows.
const CHANGE_BYTES: usize = size_of::<Change>();

type Parcel = Result<(Captured, OwnedSemaphorePermit), Fault>;

/// The sending end.
pub(crate) struct Outbox {
    sender: mpsc::Sender<Parcel>,
    room: Arc<Semaphore>,
    transactions: Vec<Transaction>,
    bytes: usize,
    progress: Option<(Lsn, Micros)>,
    clock: Arc<AtomicI64>,
}

/// The receiving end, as the engine knows it.
pub(crate) struct Delivered {
    receiver: mpsc::Receiver<Parcel>,
    acknowledged: watch::Sender<Lsn>,
    clock: Arc<AtomicI64>,
    identity: SourceIdentity,
    started_at: Lsn,
}

/// Makes both ends; acknowledged positions travel the other way.
pub(crate) fn channel(identity: SourceIdentity, started_at: Lsn) -> (Outbox, Delivered, watch::Receiver<Lsn>) {
    let (sender, receiver) = mpsc::channel(PARCELS_MAX);
    let (acknowledged, durable) = watch::channel(Lsn::ZERO);
    let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
    let clock = Arc::new(AtomicI64::new(0));
    let outbox = Outbox { sender, room, transactions: Vec::new(), bytes: 0, progress: None, clock: Arc::clone(&clock) };
    (outbox, Delivered { receiver, acknowledged, clock, identity, started_at }, durable)
}

impl Outbox {
    /// Adds a transaction or a part of one.
    pub(crate) fn push(&mut self, transaction: Transaction) {
        self.bytes += byte_len(&transaction);
        self.transactions.push(transaction);
        // A commit says more than the position before it.
        self.progress = None;
    }

    /// Adds a position; a newer one replaces an older one.
    pub(crate) fn progress(&mut self, lsn: Lsn, at: Micros) {
        self.progress = Some((lsn, at));
    }

    /// Notes the source's clock, ahead of everything that waits here.
    pub(crate) fn heard(&self, clock: Micros) {
        self.clock.store(clock.0, Ordering::Relaxed);
    }

    /// Tells whether more may be gathered.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes < GATHERED_BYTES_MAX
    }

    /// Tells whether something waits for permits.
    pub(crate) fn waits(&self) -> bool {
        !self.transactions.is_empty() || self.progress.is_some()
    }

    /// Hands over what can be handed over now.
    pub(crate) fn flush(&mut self) {
        if self.waits() {
            OutboxMeasured { bytes: WAITING_BYTES_MAX - self.room.available_permits() + self.bytes }.emit();
        }
        while self.waits() {
            match Arc::clone(&self.room).try_acquire_many_owned(self.permits()) {
                Ok(permit) => self.send(permit),
                Err(_) => return,
            }
        }
    }

    /// Waits until the next parcel may be sent; `None` where nobody receives any more. Cancelling loses nothing.
    pub(crate) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            permit = Arc::clone(&self.room).acquire_many_owned(self.permits()) => permit.ok(),
            () = self.sender.closed() => None,
        }
    }

    /// Sends the next parcel.
    pub(crate) fn send(&mut self, permit: OwnedSemaphorePermit) {
        let captured = if self.transactions.is_empty() {
            let Some((lsn, at)) = self.progress.take() else { return };
            Captured::Progress { lsn, at }
        } else {
            self.bytes = 0;
            Captured::Transactions(std::mem::take(&mut self.transactions))
        };
        // A closed channel is noticed by `closed`; a full one cannot be, because each parcel holds permits.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.sender.try_send(Ok((captured, permit))) {
            unreachable!("INVARIANT: permits bound the number of parcels below the channel's size");
        }
    }

    /// Sends why there will be nothing more.
    pub(crate) async fn fail(self, fault: Fault) {
        if self.sender.send(Err(fault)).await.is_err() {
            tracing::debug!("nobody waits for the end of a capture");
        }
    }

    /// Returns a wait, apart from this end, until nobody receives any more.
    pub(crate) fn closing(&self) -> impl Future<Output = ()> + use<> {
        let sender = self.sender.clone();
        async move { sender.closed().await }
    }

    /// Waits until nobody receives any more.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }

    fn permits(&self) -> u32 {
        u32::try_from((self.bytes + PARCEL_BYTES).min(WAITING_BYTES_MAX)).unwrap_or(u32::MAX)
    }
}

#[async_trait]
impl Capture for Delivered {
    async fn next(&mut self) -> Result<Captured, Fault> {
        match self.receiver.recv().await {
            Some(parcel) => parcel.map(|(captured, _)| captured),
            None => Err(ended()),
        }
    }

    fn try_next(&mut self) -> Option<Result<Captured, Fault>> {
        match self.receiver.try_recv() {
            Ok(parcel) => Some(parcel.map(|(captured, _)| captured)),
            Err(mpsc::error::TryRecvError::Empty) => None,
            Err(mpsc::error::TryRecvError::Disconnected) => Some(Err(ended())),
        }
    }

    fn acknowledge(&self) -> watch::Sender<Lsn> {
        self.acknowledged.clone()
    }

    fn source_clock(&self) -> Micros {
        Micros(self.clock.load(Ordering::Relaxed))
    }

    fn identity(&self) -> &SourceIdentity {
        &self.identity
    }

    fn started_at(&self) -> Lsn {
        self.started_at
    }
}

fn ended() -> Fault {
    Fault::new(Code::SourceUnreachable, "the capture has ended")
}

fn byte_len(transaction: &Transaction) -> usize {
    transaction.changes.iter().map(|change| CHANGE_BYTES + change_bytes(change)).sum()
}

fn change_bytes(change: &Change) -> usize {
    match change {
        Change::Insert(row) | Change::Update(row) | Change::Delete(row) => row_bytes(row),
        Change::Truncate(relations) => relations.len() * size_of::<usize>(),
        Change::Message { prefix, content } => prefix.len() + content.len(),
    }
}

fn row_bytes(row: &ChangedRow) -> usize {
    let old = match &row.old {
        OldRow::Absent => 0,
        OldRow::Identity(old) | OldRow::Full(old) => old.byte_len(),
    };
    old + row.new.as_ref().map_or(0, |new| new.byte_len())
}

#[cfg(test)]
mod tests {
    use antiphon_model::Xid;
    use bytes::Bytes;

    use super::*;

    fn transaction(lsn: u64, bytes: usize) -> Transaction {
        let content = Bytes::from(vec![0; bytes]);
        Transaction {
            commit_lsn: Lsn::new(lsn),
            xid: Xid::new(lsn),
            committed_at: Micros(0),
            first_ordinal: 0,
            changes: vec![Change::Message { prefix: Bytes::new(), content }],
            last: true,
        }
    }

    fn ends() -> (Outbox, Delivered) {
        let identity = SourceIdentity {
            system_identifier: "1".into(),
            timeline: 1,
            database_oid: 1,
            database: "d".into(),
            publication: None,
        };
        let (outbox, capture, _) = channel(identity, Lsn::ZERO);
        (outbox, capture)
    }

    #[tokio::test]
    async fn no_more_than_the_bound_waits_and_nothing_is_lost_or_reordered_pg_35() {
        let (mut outbox, mut capture) = ends();
        let (mut sent, mut received) = (0, Vec::new());
        while outbox.has_room() {
            sent += 1;
            outbox.push(transaction(sent, 100 << 10));
            outbox.flush();
        }
        assert!((60..80).contains(&sent), "{sent} transactions of 100 KiB waited");
        while let Some(captured) = capture.try_next() {
            let Captured::Transactions(transactions) = captured.unwrap() else { panic!("no progress was sent") };
            received.extend(transactions.iter().map(|transaction| transaction.commit_lsn.as_u64()));
            outbox.flush();
        }
        assert!(!outbox.waits());
        assert_eq!(received, (1..=sent).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn progress_is_replaced_by_what_says_more() {
        let (mut outbox, mut capture) = ends();
        outbox.progress(Lsn::new(1), Micros(1));
        outbox.progress(Lsn::new(2), Micros(2));
        outbox.push(transaction(3, 1));
        outbox.progress(Lsn::new(4), Micros(4));
        outbox.flush();
        assert!(matches!(capture.next().await, Ok(Captured::Transactions(transactions)) if transactions.len() == 1));
        assert!(matches!(capture.next().await, Ok(Captured::Progress { lsn, .. }) if lsn == Lsn::new(4)));
        assert!(capture.try_next().is_none());
        drop(outbox);
        assert_eq!(capture.next().await.unwrap_err().code(), Code::SourceUnreachable);
    }

    #[tokio::test]
    async fn a_transaction_larger_than_the_bound_passes_alone() {
        let (mut outbox, mut capture) = ends();
        outbox.push(transaction(1, WAITING_BYTES_MAX * 2));
        outbox.flush();
        assert!(!outbox.waits());
        outbox.push(transaction(2, 1));
        outbox.flush();
        assert!(outbox.waits());
        assert!(capture.next().await.is_ok());
        let permit = outbox.permit().await.expect("the receiver is there");
        outbox.send(permit);
        assert!(capture.next().await.is_ok());
    }
}
