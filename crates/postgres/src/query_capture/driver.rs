//! Polls the declared tables again and again, and hands on what was recorded (CAP-40).
//!
//! One task does one thing after the other: a poll that takes longer than its interval is followed by the next, never
//! accompanied (PL-10). First come edits through the door, then what each table's cursor shows, then a while of a
//! reconciliation that is due. Law: the task waits where the caller is busy; what was recorded waits in the table.

use std::{sync::Arc, time::Duration};

use antiphon_engine::{Fault, spawn};
use antiphon_model::{Code, EntityType, Lsn, Micros};
use tokio::{sync::watch, time::Instant};
use tokio_postgres::Client;

use super::{
    QueryConfig,
    check::Prepared,
    door,
    events::{ClockStepped, TablePolled, UnpollableCounted},
    look,
    page::{self, Candidates, Refused},
    reconcile::Reconcile,
    table::Polled,
    window::{Look, Value, Window},
};
use crate::{
    delivery::{self, Delivered, Outbox},
    errors, quote,
    trigger_capture::{
        driver::{ReceiverGone, deliver, within},
        objects,
        reader::Reader,
    },
};

/// After something was found, the next poll follows after this part of the interval.
const BUSY_PART: u32 = 10;
/// Where nothing is found, progress is told this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// Rows without a value are counted up to so many.
const UNPOLLABLE_MAX: i64 = 10_000;

/// Starts the task that polls.
pub(super) fn start(config: Arc<QueryConfig>, reader: Client, prepared: Prepared) -> Delivered {
    let (outbox, capture, consumed) = delivery::channel(prepared.identity, prepared.started_at);
    let tables = config.entities.iter().map(Arc::clone).map(Table::new).collect();
    let driver = Driver {
        client: prepared.client,
        reader: Reader::new(reader, prepared.started_at.as_u64()).polled(),
        config,
        tables,
        consumed,
        looked_at: None,
        told_at: None,
        skipped: false,
        kept_house_at: None,
    };
    spawn("query capture", driver.run(outbox));
    capture
}

/// A declared table.
struct Table {
    entity: Arc<EntityType>,
    /// `None` before it is described, and where it does not fit.
    polled: Option<(Polled, Window)>,
    /// Why it does not fit, as last told.
    unfit: Option<String>,
    reconcile: Option<Reconcile>,
    reconciled_at: Instant,
    /// How many rows have no value of the cursor.
    unpollable: i64,
}

impl Table {
    fn new(entity: Arc<EntityType>) -> Table {
        let reconciled_at = Instant::now();
        Table { entity, polled: None, unfit: None, reconcile: None, reconciled_at, unpollable: 0 }
    }

    /// Describes the table where that is needed; a table that does not fit is told and hinders no other.
    async fn describe(&mut self, client: &Client, again: bool) -> Result<bool, Fault> {
        if let Some((polled, _)) = self.polled.as_mut().filter(|_| !again) {
            return Ok(polled.table.oid > 0);
        }
        let described = match Polled::describe(client, &self.entity).await {
            Ok(polled) => polled,
            Err(fault) if fault.code() == Code::TableUnfit => {
                self.polled = None;
                if self.unfit.as_deref() != Some(fault.detail()) {
                    tracing::warn!(table = %self.entity.table, "the table is not polled: {}", fault.detail());
                    self.unfit = Some(fault.detail().to_owned());
                }
                return Ok(false);
            }
            Err(fault) => return Err(fault),
        };
        self.unfit = None;
        let same = self.polled.take().filter(|(polled, _)| polled.table.oid == described.table.oid);
        let window = match same {
            Some((_, window)) => Some(window),
            None => look::known(client, described.table.oid, described.kind).await?.map(|(window, _)| window),
        };
        // Another table under the name is told when the capture begins again.
        let name = &described.table.name;
        let window = window.ok_or_else(|| {
            Fault::new(
                Code::PublicationChanged,
                format!("the table {name} was made anew, or what was told of it is gone"),
            )
        })?;
        self.polled = Some((described, window));
        Ok(true)
    }
}

struct Driver {
    client: Client,
    reader: Reader,
    config: Arc<QueryConfig>,
    tables: Vec<Table>,
    /// Up to where recorded changes are durable with the caller.
    consumed: watch::Receiver<Lsn>,
    /// When the source was looked at last.
    looked_at: Option<Instant>,
    told_at: Option<Instant>,
    /// Whether a table could not be read this time.
    skipped: bool,
    kept_house_at: Option<Instant>,
}

impl Driver {
    async fn run(mut self, mut outbox: Outbox) {
        let closed = outbox.closing();
        let ended = tokio::select! {
            biased;
            () = closed => return,
            ended = self.work(&mut outbox) => ended,
        };
        if let Err(Some(fault)) = ended {
            tracing::debug!(error = %fault.chain(), "the polling of tables ended");
            outbox.fail(fault).await;
        }
    }

    /// Works until a fault, or until nobody receives (`None`).
    async fn work(&mut self, outbox: &mut Outbox) -> Result<(), Option<Fault>> {
        loop {
            let began = Instant::now();
            let seen = within(look::look(&self.client)).await?;
            let since = self.looked_at.replace(began).map(|before| began - before);
            let reached = Micros(seen.clock);
            outbox.heard(reached);
            let (known, unnamed) = within(door::waiting(&self.client)).await?;
            let mut recorded = if known { self.tell_edits(None).await? } else { 0 };
            for index in 0..self.tables.len() {
                recorded += self.poll(index, (seen, since), outbox, reached).await?;
            }
            if !unnamed.is_empty() && !self.skipped {
                recorded += self.tell_edits(Some(&unnamed)).await?;
            }
            let found = self.read(outbox, reached).await?;
            self.tell_progress(outbox, reached, found).await?;
            self.keep_house().await?;
            let busy = recorded > 0 || self.tables.iter().any(|table| table.reconcile.is_some());
            let interval = if busy { self.config.poll_interval / BUSY_PART } else { self.config.poll_interval };
            // A poll that took longer is followed at once, and never overtaken.
            tokio::time::sleep_until((began + interval).max(Instant::now())).await;
        }
    }

    /// Tells edits that came through the door: those of known rows, or the given ones, whose tables were polled since.
    async fn tell_edits(&mut self, given: Option<&[i64]>) -> Result<u64, Option<Fault>> {
        let mut recorded = 0;
        for index in 0..self.tables.len() {
            self.ready(index).await?;
        }
        loop {
            let tables: Vec<&Polled> = self.tables.iter().filter_map(|table| Some(&table.polled.as_ref()?.0)).collect();
            let told = door::tell(&mut self.client, &tables, given, self.config.seal_key.as_ref()).await;
            match told {
                Ok((found, more)) => {
                    recorded += found.changes();
                    if !more {
                        return Ok(recorded);
                    }
                }
                Err(refused) => {
                    let mut refused = Some(refused);
                    for index in 0..self.tables.len() {
                        if self.leave(index, refused.take().unwrap_or(Refused::Stale)).await? {
                            return Ok(recorded);
                        }
                    }
                }
            }
        }
    }

    /// Polls one table to its end, then reconciles it for a while where that is due; returns what was recorded.
    async fn poll(
        &mut self,
        index: usize,
        (seen, since): (Look, Option<Duration>),
        outbox: &mut Outbox,
        reached: Micros,
    ) -> Result<u64, Option<Fault>> {
        if !self.ready(index).await? {
            return Ok(0);
        }
        let table = &self.tables[index];
        let began = Instant::now();
        let Some((_, window)) = &table.polled else { return Ok(0) };
        let step = window.step(seen, since);
        let from = window.begin(step);
        ClockStepped { table: &table.entity.table, micros: step }.emit();
        let (mut candidates, mut highest, mut recorded) = (Candidates::From(from), None, 0);
        loop {
            let table = &mut self.tables[index];
            let Some((polled, window)) = &table.polled else { return Ok(recorded) };
            let found = match page::read(&mut self.client, polled, &candidates, window.watermark()).await {
                Ok(found) => found,
                Err(refused) => match self.leave(index, refused).await? {
                    true => return Ok(recorded),
                    false => continue,
                },
            };
            recorded += found.changes();
            let open_seconds = u64::try_from(seen.clock - seen.oldest).unwrap_or_default() / 1_000_000;
            let (name, elapsed) = (&table.entity.table, began.elapsed());
            TablePolled { table: name, found: &found, elapsed, last: !found.full(), open_seconds }.emit();
            highest = found.highest.clone().or(highest);
            if found.changes() > 0 {
                self.read(outbox, reached).await?;
            }
            match found.place.clone().filter(|_| found.full()) {
                Some(place) => candidates = Candidates::After(place),
                None => break,
            }
        }
        self.end_poll(index, (seen, step), highest).await?;
        Ok(recorded + self.reconcile(index, began.elapsed()).await?)
    }

    async fn end_poll(
        &mut self,
        index: usize,
        (seen, step): (Look, i64),
        highest: Option<Value>,
    ) -> Result<(), Option<Fault>> {
        let Some((polled, window)) = &mut self.tables[index].polled else { return Ok(()) };
        let before = (window.watermark().cloned(), window.from().clone());
        window.end(seen, step, highest);
        // What is kept from time to time is read again from where it was kept: nothing is told twice for that.
        let moved = before.0.as_ref() != window.watermark() || before.1 != *window.from();
        if moved {
            within(look::keep(&self.client, polled.table.oid, window)).await?;
        }
        Ok(())
    }

    async fn reconcile(&mut self, index: usize, polling: Duration) -> Result<u64, Option<Fault>> {
        let table = &mut self.tables[index];
        let Some((polled, _)) = &table.polled else { return Ok(0) };
        let due = self.config.reconcile_interval.is_some_and(|interval| table.reconciled_at.elapsed() >= interval);
        if due && table.reconcile.is_none() {
            table.reconcile = Some(Reconcile::new());
        }
        let Some(reconcile) = &mut table.reconcile else { return Ok(0) };
        match reconcile.go_on(&mut self.client, polled, polling).await {
            Ok((recorded, ended)) => {
                if ended {
                    table.reconcile = None;
                    table.reconciled_at = Instant::now();
                }
                Ok(recorded)
            }
            Err(refused) => self.leave(index, refused).await.map(|_| 0),
        }
    }

    /// Decides about a table that could not be read: one that has changed is described anew, to be read again; one that
    /// somebody works on alone is left for the next time (true), so that the others are not kept waiting, and nothing is
    /// said to be read. Anything else ends the capture.
    async fn leave(&mut self, index: usize, refused: Refused) -> Result<bool, Option<Fault>> {
        let described = match refused {
            Refused::Stale => within(self.tables[index].describe(&self.client, true)).await,
            Refused::Fault(fault) => Err(Some(fault)),
        };
        self.or_later(described.map(|_| false), true)
    }

    /// Tells whether a table is described and fits.
    async fn ready(&mut self, index: usize) -> Result<bool, Option<Fault>> {
        let described = within(self.tables[index].describe(&self.client, false)).await;
        self.or_later(described, false)
    }

    /// Answers `later` where somebody works on a table alone.
    fn or_later(&mut self, done: Result<bool, Option<Fault>>, later: bool) -> Result<bool, Option<Fault>> {
        match done {
            Err(Some(fault)) if fault.code() == Code::TryAgain => {
                tracing::debug!(error = %fault.chain(), "a table is left for the next poll");
                self.skipped = true;
                Ok(later)
            }
            done => done,
        }
    }

    /// Hands on everything that has its place; tells whether there was something.
    async fn read(&mut self, outbox: &mut Outbox, reached: Micros) -> Result<bool, Option<Fault>> {
        let mut found = false;
        loop {
            let transactions = within(self.reader.read(reached)).await?;
            if transactions.is_empty() {
                return Ok(found);
            }
            found = true;
            transactions.into_iter().for_each(|transaction| outbox.push(transaction));
            deliver(outbox).await.map_err(|ReceiverGone| None)?;
        }
    }

    async fn tell_progress(&mut self, outbox: &mut Outbox, reached: Micros, found: bool) -> Result<(), Option<Fault>> {
        let due = self.told_at.is_none_or(|at| at.elapsed() >= PROGRESS_INTERVAL);
        if std::mem::take(&mut self.skipped) || found || !due {
            return Ok(());
        }
        self.told_at = Some(Instant::now());
        outbox.progress(Lsn::new(self.reader.position()), reached);
        deliver(outbox).await.map_err(|ReceiverGone| None)
    }

    /// Now and then: who asked for a reconciliation, rows that cannot be polled, days to come, and what was consumed.
    async fn keep_house(&mut self) -> Result<(), Option<Fault>> {
        if self.kept_house_at.is_some_and(|at| at.elapsed() < self.config.watch_interval) {
            return Ok(());
        }
        self.kept_house_at = Some(Instant::now());
        for index in 0..self.tables.len() {
            if !self.ready(index).await? {
                continue;
            }
            let table = &mut self.tables[index];
            let Some((polled, _)) = &table.polled else { continue };
            let known = within(look::known(&self.client, polled.table.oid, polled.kind)).await?;
            if known.is_some_and(|(_, asked)| asked) && table.reconcile.is_none() {
                table.reconcile = Some(Reconcile::new());
            }
            let rows = match within(unpollable(&self.client, polled)).await {
                Ok(rows) => rows,
                Err(Some(fault)) if fault.code() == Code::TryAgain => continue,
                Err(ended) => return Err(ended),
            };
            let before = std::mem::replace(&mut table.unpollable, rows);
            UnpollableCounted { table: &table.entity.table, rows, before }.emit();
        }
        within(objects::ensure_days(&self.client)).await?;
        let durable = *self.consumed.borrow();
        within(objects::reap(&mut self.client, durable)).await.map(drop)
    }
}

/// Counts rows without a value of the cursor: they are found by a reconciliation alone (PL-12).
async fn unpollable(client: &Client, polled: &Polled) -> Result<i64, Fault> {
    let column = polled.cursor()?;
    if column.not_null {
        return Ok(0);
    }
    let sql = format!(
        "select pg_catalog.count(*) from (select from {} t where t.{} is null limit {UNPOLLABLE_MAX}) n",
        polled.name()?,
        quote::ident(&column.name)?
    );
    Ok(client.query_one(&sql, &[]).await.map_err(errors::sql)?.get(0))
}
