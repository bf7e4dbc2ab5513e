//! The task of one connection: socket, session, assembler and spool on one side, the caller on the other.
//!
//! `advance` moves everything that can move without waiting, then one `select` waits for whatever comes first. The socket
//! is read only while there is room for what it brings; the session's deadline, acknowledged positions and the spool's
//! threads are attended to all the time (PG-35).
//! Law: what is yielded is in commit order. A spooled transaction is read back before anything behind it is taken.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use antiphon_engine::{Fault, spawn};
use antiphon_model::{Checkpoint, Code, Lsn, Micros, Transaction, Type, Xid};
use antiphon_wire::{
    Assembler, AssemblerOutput, CommitHeader, Limits, Part, PartLimits, Session, SessionConfig, SessionInput,
    SessionOutput, SpoolReader, TypeTable,
};
use bytes::Bytes;
use tokio::{sync::watch, time::Instant};
use tokio_postgres::Client;

use super::{SourceConfig, check::Prepared, pace::Pace, proof::Proof, spooler::Spooler, watch::Watch};
use crate::{
    catalogue::resolve_types,
    delivery::{self, Delivered, Outbox},
    events::{BytesReceived, CaptureEnded, TransactionsResent},
    replication::ReplicationConnection,
    spool::{Operation, Spool},
};

/// A part of a spooled transaction: as large as a batch of the log.
const PART_LIMITS: PartLimits = PartLimits { changes_max: 4_000, bytes_max: 1 << 20 };
/// So much of a spool is read at once.
const SPOOL_READ_BYTES: usize = 1 << 20;
/// The catalogue answers within this time, or the connection is begun anew.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(30);
/// Positions that move within this time share one status.
const ACKNOWLEDGE_DELAY: Duration = Duration::from_millis(10);

/// Starts the stream and the task that serves it.
pub(super) async fn start(
    config: Arc<SourceConfig>,
    mut prepared: Prepared,
    checkpoint: &Checkpoint,
) -> Result<Delivered, Fault> {
    let (within, slot, bytes_max) = (config.spool_dir.clone(), config.slot.clone(), config.spool_bytes_max);
    let opened = tokio::task::spawn_blocking(move || Spool::open(&within, &slot, bytes_max)).await;
    let panicked = |error| Fault::new(Code::Internal, "the spool's thread panicked").with_source(error);
    let spool = opened.map_err(panicked)??;
    prepared.connection.start_streaming(&prepared.command).await?;
    let (outbox, capture, acknowledged) = delivery::channel(prepared.identity, prepared.started_at);
    let session = SessionConfig {
        status_interval: prepared.status_interval,
        server_timeout: prepared.server_timeout,
        acknowledge_delay: ACKNOWLEDGE_DELAY,
    };
    let limits = Limits { transaction_bytes_max: config.transaction_bytes_max, ..Limits::default() };
    let stream = Stream {
        session: Session::new(session, prepared.started_at, Duration::ZERO, wall_clock()),
        assembler: Assembler::new(limits, TypeTable::new(), prepared.reference),
        spooler: Spooler::new(spool),
        items: VecDeque::new(),
        reading: None,
        unknown_types: None,
        sends: Vec::new(),
        proof: prepared.proof,
        resent_up_to: checkpoint.lsn,
        resent: 0,
        bytes: 0,
    };
    let driver = Driver {
        watch: Watch::start(Arc::clone(&config), prepared.baseline),
        connection: prepared.connection,
        client: Arc::new(prepared.client),
        stream,
        outbox,
        acknowledged,
        resolving: None,
        pace: Pace::new(Instant::now()),
        started: Instant::now(),
    };
    spawn("capture", driver.run(config));
    Ok(capture)
}

type Resolved = Result<Vec<(u32, Arc<Type>)>, Fault>;

struct Driver {
    connection: ReplicationConnection,
    client: Arc<Client>,
    stream: Stream,
    outbox: Outbox,
    acknowledged: watch::Receiver<Lsn>,
    resolving: Option<Pin<Box<dyn Future<Output = Resolved> + Send>>>,
    watch: Watch,
    pace: Pace,
    started: Instant,
}

/// Why a driver's loop ended without a fault.
struct ReceiverGone;

impl Driver {
    async fn run(mut self, config: Arc<SourceConfig>) {
        let fault = loop {
            match self.turn().await {
                Ok(None) => {}
                Ok(Some(ReceiverGone)) => break None,
                Err(fault) => break Some(fault),
            }
        };
        let Driver { connection, stream, outbox, .. } = self;
        match fault {
            Some(fault) => {
                CaptureEnded { slot: &config.slot, fault: &fault }.emit();
                // The socket goes first, so that the server frees the slot for whoever comes next.
                drop(connection);
                stream.spooler.end().await;
                outbox.fail(fault).await;
            }
            None => {
                connection.end().await;
                stream.spooler.end().await;
            }
        }
    }

    /// Does what can be done, then waits for one thing to happen.
    async fn turn(&mut self) -> Result<Option<ReceiverGone>, Fault> {
        self.advance()?;
        for content in std::mem::take(&mut self.stream.sends) {
            self.connection.send(&content).await?;
        }
        let reads = self.wants_bytes();
        let rests = self.pace.rests_until(Instant::now());
        let deadline = self.started + self.stream.session.deadline();
        let deadline = rests.map_or(deadline, |rests| deadline.min(rests));
        tokio::select! {
            filled = self.connection.fill(), if reads && rests.is_none() => self.pace.filled(filled?, Instant::now()),
            permit = self.outbox.permit(), if self.outbox.waits() => match permit {
                Some(permit) => self.outbox.send(permit),
                None => return Ok(Some(ReceiverGone)),
            },
            read = self.stream.spooler.finished(), if self.stream.spooler.busy() => {
                let read = read?;
                self.stream.spooled(read)?;
            }
            resolved = resolved(&mut self.resolving) => {
                self.resolving = None;
                self.stream.learn(resolved?)?;
            }
            changed = self.acknowledged.changed() => {
                if changed.is_err() {
                    return Ok(Some(ReceiverGone));
                }
                let durable = *self.acknowledged.borrow_and_update();
                self.stream.input(self.started.elapsed(), SessionInput::Acknowledge(durable))?;
            }
            () = tokio::time::sleep_until(deadline) => {}
            fault = self.watch.fault() => return Err(fault),
            () = self.outbox.closed() => return Ok(Some(ReceiverGone)),
        }
        let passed = if reads { SessionInput::Tick } else { SessionInput::Unread };
        self.stream.input(self.started.elapsed(), passed)?;
        Ok(None)
    }

    /// Moves everything that can move without waiting.
    fn advance(&mut self) -> Result<(), Fault> {
        self.stream.pump(&mut self.outbox)?;
        self.resolve();
        let now = self.started.elapsed();
        while self.wants_bytes() {
            let Some(content) = self.connection.take()? else { break };
            self.stream.bytes += content.len() as u64;
            self.stream.input(now, SessionInput::CopyData(content))?;
            self.stream.pump(&mut self.outbox)?;
            self.resolve();
        }
        self.stream.report();
        self.stream.spooler.start();
        self.outbox.heard(self.stream.session.server_clock());
        self.outbox.flush();
        Ok(())
    }

    fn wants_bytes(&self) -> bool {
        self.resolving.is_none() && self.stream.wants_bytes() && self.outbox.has_room()
    }

    /// Asks the catalogue for types that the assembler waits for.
    fn resolve(&mut self) {
        let Some(oids) = self.stream.unknown_types.take() else { return };
        let client = Arc::clone(&self.client);
        self.resolving = Some(Box::pin(async move {
            let late = |_| Fault::new(Code::SourceUnreachable, "the catalogue does not answer");
            tokio::time::timeout(RESOLVE_TIMEOUT, resolve_types(&client, &oids)).await.map_err(late)?
        }));
    }
}

/// What was taken from the stream and waits for its turn.
enum Item {
    Transaction(Transaction),
    Spooled { xid: Xid, header: CommitHeader },
    Progress { lsn: Lsn, at: Micros },
}

/// A spooled transaction being read back.
struct Reading {
    xid: Xid,
    reader: SpoolReader,
    /// Whether a read was asked for.
    asked: bool,
}

/// The machines and what lies between them; nothing here waits.
struct Stream {
    session: Session,
    assembler: Assembler,
    spooler: Spooler,
    items: VecDeque<Item>,
    reading: Option<Reading>,
    unknown_types: Option<Vec<u32>>,
    sends: Vec<Bytes>,
    proof: Proof,
    resent_up_to: Lsn,
    resent: u64,
    bytes: u64,
}

impl Stream {
    fn input(&mut self, now: Duration, input: SessionInput) -> Result<(), Fault> {
        self.session.handle(now, input).map_err(undecodable)?;
        while let Some(output) = self.session.poll() {
            match output {
                SessionOutput::Payload(payload) => {
                    self.assembler.handle(payload).map_err(undecodable)?;
                    self.drain();
                    self.session.transaction_open(self.assembler.transaction_open());
                }
                SessionOutput::Progress { lsn, server_time } => {
                    self.items.push_back(Item::Progress { lsn, at: server_time });
                }
                SessionOutput::Send(content) => self.sends.push(content),
                SessionOutput::Dead { silent_for } => {
                    let detail = format!("nothing was heard of the server for {} s", silent_for.as_secs());
                    return Err(Fault::new(Code::SourceUnreachable, detail));
                }
            }
        }
        Ok(())
    }

    /// Takes in what the catalogue told.
    fn learn(&mut self, types: Vec<(u32, Arc<Type>)>) -> Result<(), Fault> {
        for (oid, ty) in types {
            self.assembler.types_mut().insert(oid, ty);
        }
        self.assembler.resume().map_err(undecodable)?;
        self.drain();
        self.session.transaction_open(self.assembler.transaction_open());
        Ok(())
    }

    /// Takes in what a thread of the spool read.
    fn spooled(&mut self, read: Option<Bytes>) -> Result<(), Fault> {
        if let (Some(bytes), Some(reading)) = (read, &mut self.reading) {
            reading.asked = false;
            reading.reader.push(bytes).map_err(undecodable)?;
        }
        Ok(())
    }

    fn drain(&mut self) {
        while let Some(output) = self.assembler.poll() {
            match output {
                AssemblerOutput::Transaction(transaction) => self.items.push_back(Item::Transaction(transaction)),
                AssemblerOutput::SpoolCommit { xid, header } => self.items.push_back(Item::Spooled { xid, header }),
                AssemblerOutput::ResolveTypes(oids) => self.unknown_types = Some(oids),
                AssemblerOutput::SpoolAppend { xid, bytes } => self.spooler.push(Operation::Append { xid, bytes }),
                AssemblerOutput::SpoolTruncate { xid, len_bytes } => {
                    self.spooler.push(Operation::Truncate { xid, len_bytes });
                }
                AssemblerOutput::SpoolDrop { xid } => self.spooler.push(Operation::Drop { xid }),
                // What stands outside transactions may come from one that was rolled back (PG-51).
                AssemblerOutput::Advisory { .. } => {}
            }
        }
    }

    /// Moves items to the caller, reading spooled ones back, as far as there is room.
    fn pump(&mut self, outbox: &mut Outbox) -> Result<(), Fault> {
        while self.read_back(outbox)? {
            match self.items.pop_front() {
                None => break,
                Some(Item::Transaction(transaction)) => self.yield_to(outbox, transaction)?,
                Some(Item::Progress { lsn, at }) => {
                    self.proof.progress(lsn)?;
                    outbox.progress(lsn, at);
                }
                Some(Item::Spooled { xid, header }) => {
                    let reader = SpoolReader::new(header, PART_LIMITS);
                    self.reading = Some(Reading { xid, reader, asked: false });
                }
            }
        }
        Ok(())
    }

    /// Goes on with the spooled transaction being read; `false` where it must wait.
    fn read_back(&mut self, outbox: &mut Outbox) -> Result<bool, Fault> {
        while let Some(reading) = &mut self.reading {
            // What was gathered may leave at once: then there is room for the next part.
            outbox.flush();
            if reading.asked || !outbox.has_room() {
                return Ok(false);
            }
            let xid = reading.xid;
            match reading.reader.poll().map_err(undecodable)? {
                Part::Transaction(part) => self.yield_to(outbox, part)?,
                Part::NeedBytes => {
                    reading.asked = true;
                    self.spooler.push(Operation::Read { xid, bytes_max: SPOOL_READ_BYTES });
                }
                Part::Done => {
                    self.reading = None;
                    self.spooler.push(Operation::Drop { xid });
                }
            }
        }
        Ok(true)
    }

    fn yield_to(&mut self, outbox: &mut Outbox, transaction: Transaction) -> Result<(), Fault> {
        self.proof.transaction(&transaction)?;
        self.resent += u64::from(transaction.last && transaction.commit_lsn <= self.resent_up_to);
        outbox.push(transaction);
        Ok(())
    }

    fn wants_bytes(&self) -> bool {
        self.items.is_empty() && self.reading.is_none() && self.unknown_types.is_none() && self.spooler.has_room()
    }

    fn report(&mut self) {
        if self.bytes > 0 {
            BytesReceived { bytes: std::mem::take(&mut self.bytes) }.emit();
        }
        if self.resent > 0 {
            TransactionsResent { transactions: std::mem::take(&mut self.resent) }.emit();
        }
    }
}

async fn resolved(resolving: &mut Option<Pin<Box<dyn Future<Output = Resolved> + Send>>>) -> Resolved {
    match resolving {
        Some(resolving) => resolving.await,
        None => std::future::pending().await,
    }
}

fn undecodable(error: antiphon_wire::Error) -> Fault {
    Fault::new(error.code(), error.to_string())
}

fn wall_clock() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
