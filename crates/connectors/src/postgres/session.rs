//! One connection's worth of mirroring: take the right to write, make tables, list, then follow the log.
//!
//! Whatever fails ends the session; the next one begins at the cursor that the target holds. Law: what was applied but
//! whose transaction has not ended is written, never committed; the cursor moves to the end of a transaction only.

use std::{collections::HashMap, sync::Arc, time::Duration};

use antiphon_engine::{Fault, ports::Head, ports::Scope};
use antiphon_model::{Activity, ActivityId, Code, EntityType, Micros};
use tokio_postgres::Client;

use super::{
    ListingStatus, MirrorConfig, MirrorState,
    apply::Shaped,
    boundaries::Boundaries,
    control::{Control, Cursor, Known},
    errors, events,
    fold::{Fold, Values},
    layout::Layout,
    listing::Listing,
    rows::SourceRows,
    status::Board,
    write::Writer,
};

/// A page of the log is sized to about so many bytes,
const PAGE_BYTES: usize = 8 << 20;
/// and to so many activities.
const PAGE_ACTIVITIES: std::ops::RangeInclusive<usize> = 64..=8_192;
/// A target to which nothing is written is asked this often whether it is still there.
const IDLE: Duration = Duration::from_secs(5);

/// Looks at whether the source shows a transaction follow one another closely at first,
const VISIBLE_WAIT_MIN: Duration = Duration::from_millis(5);
/// and end here: the mirror is then shown as trying again.
const VISIBLE_WAIT_MAX: Duration = Duration::from_secs(2);

/// A mirror at work over one connection.
pub(super) struct Session {
    config: Arc<MirrorConfig>,
    board: Board,
    writer: Writer,
    control: Control,
    cursor: Cursor,
    /// Up to where the log was read and applied; the cursor or later.
    read: ActivityId,
    shapes: HashMap<String, Shaped>,
    waiting: Vec<Known>,
    rows: SourceRows,
    boundaries: Boundaries,
    pub(super) fold: Fold,
    open: bool,
    unsaved: bool,
    page_limit: usize,
}

impl Session {
    /// Takes the right to write and makes what is missing at the target.
    pub(super) async fn open(config: Arc<MirrorConfig>, board: Board, client: Client) -> Result<Session, Fault> {
        let (control, cursor) = Control::acquire(&client, &config.name).await?;
        board.enter(MirrorState::Starting, (config.clock)());
        let mut session = Session {
            board,
            writer: Writer::new(client),
            control,
            read: cursor.offset,
            cursor,
            shapes: HashMap::new(),
            waiting: Vec::new(),
            rows: SourceRows::default(),
            boundaries: Boundaries::default(),
            fold: Fold::default(),
            open: false,
            unsaved: false,
            page_limit: 1_024,
            config,
        };
        session.make_tables().await?;
        Ok(session)
    }

    /// Mirrors until something fails.
    pub(super) async fn run(&mut self) -> Result<(), Fault> {
        loop {
            let head = self.config.bus.begun().await?;
            if let Some(why) = self.outdated(&head) {
                self.begin_anew(why).await?;
            }
            self.list().await?;
            self.follow().await?;
        }
    }

    /// Tells why the cursor says nothing about the log as it is.
    fn outdated(&self, head: &Head) -> Option<&'static str> {
        let offset = self.cursor.offset;
        match () {
            () if self.cursor.epoch == 0 => Some("it is new"),
            () if self.cursor.log != self.config.log_identity => Some("its cursor belongs to another activity log"),
            () if !self.cursor.fits(&self.config.log_identity, head.epoch) => Some("a new epoch of the log began"),
            () if offset < head.floor => Some("the log no longer holds what follows its cursor"),
            () if offset > head.last.max(head.durable) => Some("its cursor lies beyond the log"),
            () => None,
        }
    }

    /// Sets the cursor to an offset that a list vouches for, and every table to be listed.
    async fn begin_anew(&mut self, why: &str) -> Result<(), Fault> {
        events::began_anew(&self.config.name, why);
        let before = self.config.bus.before_list().await?;
        let visibility = self.config.source.visibility().await?;
        let (offset, epoch) = before.vouch(&visibility).await?;
        let cursor = Cursor {
            log: self.config.log_identity.clone(),
            epoch: epoch.as_u32(),
            offset,
            settle: None,
            begun_anew: self.cursor.begun_anew + 1,
        };
        self.begin().await?;
        for shaped in self.shapes.values() {
            let layout = &shaped.layout;
            self.control.list(self.writer.client(), &layout.entity.name, &layout.table).await?;
        }
        self.control.save(self.writer.client(), &cursor).await?;
        self.commit().await?;
        (self.read, self.cursor) = (offset, cursor);
        self.boundaries = Boundaries::default();
        self.waiting = self.tables_that_wait().await?;
        Ok(())
    }

    /// Makes tables that are missing and columns that they lack; those are listed.
    async fn make_tables(&mut self) -> Result<(), Fault> {
        let known = self.control.tables(self.writer.client()).await?;
        let entities = self.config.entities.clone();
        for entity in &entities {
            let own = known.iter().find(|known| known.entity_type == entity.name);
            self.make_table(entity, own).await?;
        }
        let gone = known.iter().filter(|known| !known.retired && !self.shapes.contains_key(&known.entity_type));
        for known in gone {
            self.control.retire(self.writer.client(), &known.entity_type).await?;
        }
        self.waiting = self.tables_that_wait().await?;
        Ok(())
    }

    async fn make_table(&mut self, entity: &Arc<EntityType>, own: Option<&Known>) -> Result<(), Fault> {
        let shape = self.config.catalogue.shape(entity).await?;
        let client = self.writer.client();
        let mut layout = Layout::resolve(client, entity, &shape).await?;
        let doing = format!("table {}", entity.table);
        let failed = |error| errors::sql(error, &doing);
        let there = "select pg_catalog.to_regclass($1) is not null, pg_catalog.to_regnamespace($2) is not null";
        let schema = super::layout::ident(&entity.table.schema);
        let row = client.query_one(there, &[&layout.table, &schema]).await.map_err(failed)?;
        let (there, schema_there): (bool, bool) = (row.get(0), row.get(1));
        if there && own.is_none() {
            let detail = format!("table {} exists there, and this mirror did not make it", entity.table);
            return Err(Fault::new(Code::MirrorForeign, detail));
        }
        let mut statements = match there {
            true => layout.reconcile(client).await?,
            false => vec![layout.create()],
        };
        if !there && !schema_there {
            statements.insert(0, format!("create schema {schema}"));
        }
        if !statements.is_empty() || own.is_some_and(|own| own.retired) {
            self.begin().await?;
            self.writer.run(&statements.join("; "), &doing).await?;
            self.control.list(self.writer.client(), &entity.name, &layout.table).await?;
            self.commit().await?;
        }
        self.shapes.insert(entity.name.clone(), Shaped { layout, schema: None });
        Ok(())
    }

    async fn tables_that_wait(&self) -> Result<Vec<Known>, Fault> {
        let known = self.control.tables(self.writer.client()).await?;
        Ok(known.into_iter().filter(|known| known.listing && self.shapes.contains_key(&known.entity_type)).collect())
    }

    /// Lists the tables that wait for it.
    async fn list(&mut self) -> Result<(), Fault> {
        while let Some(known) = self.waiting.first().cloned() {
            self.board.enter(MirrorState::Listing, (self.config.clock)());
            let Some(shaped) = self.shapes.get(&known.entity_type) else { break };
            let (client, source) = (self.writer.client(), &*self.config.source);
            let mut listing = Listing::open(client, &self.control, &shaped.layout, (source, &known)).await?;
            let visibility = loop {
                let done = listing.next().await?;
                let (entity_type, waiting) = (known.entity_type.clone(), self.waiting.len() - 1);
                self.board.listing(ListingStatus { entity_type, rows: listing.rows(), waiting });
                if let Some(visibility) = done {
                    break visibility;
                }
            };
            let rows = listing.rows();
            let settle = self.cursor.settle.max(Some(visibility.xmax()));
            let cursor = Cursor { settle, ..self.cursor.clone() };
            self.writer.run("begin", "initial rows").await?;
            listing.put().await?;
            self.control.save(self.writer.client(), &cursor).await?;
            self.writer.run("commit", "initial rows").await?;
            self.cursor = cursor;
            self.board.rows(rows, 0);
            events::listed(&self.config.name, &known.entity_type, rows);
            self.waiting.remove(0);
        }
        self.board.stands(&self.cursor, None);
        Ok(())
    }

    /// Follows the log; returns where a table has to be listed, or the log is another one.
    async fn follow(&mut self) -> Result<(), Fault> {
        let mut heads = self.config.bus.subscribe();
        loop {
            let head = *heads.borrow_and_update();
            if self.outdated(&head).is_some() {
                return Ok(());
            }
            if self.read >= head.durable {
                self.board.advanced();
                self.board.enter(MirrorState::Following, (self.config.clock)());
                match tokio::time::timeout(IDLE, heads.changed()).await {
                    Ok(Ok(())) => {}
                    // INVARIANT: the sender lives as long as the bus.
                    Ok(Err(_)) => return Err(Fault::new(Code::Shutdown, "the log's readers are told nothing more")),
                    Err(_) => self.idle().await?,
                }
                continue;
            }
            let page = self.config.bus.log().read(&Scope::Everything, self.read, head.durable, self.page_limit).await;
            let page = match page {
                Err(fault) if matches!(fault.code(), Code::OffsetExpired | Code::EpochChanged) => {
                    let marks = self.config.bus.log().head().await?;
                    self.config.bus.refresh(marks);
                    return self.reset().await;
                }
                page => page?,
            };
            if head.durable.as_u64() - self.read.as_u64() > *PAGE_ACTIVITIES.end() as u64 {
                self.board.enter(MirrorState::CatchingUp, (self.config.clock)());
            }
            self.page(page, head.durable).await?;
            if !self.waiting.is_empty() && !self.open {
                return Ok(());
            }
        }
    }

    /// What is open belongs to a log that is no more.
    async fn reset(&mut self) -> Result<(), Fault> {
        drop(self.fold.take());
        if std::mem::take(&mut self.open) {
            self.writer.run("rollback", "the transaction at hand").await?;
        }
        self.read = self.cursor.offset;
        Ok(())
    }

    /// Applies a page, and commits what is whole of it.
    async fn page(&mut self, mut page: Vec<Activity>, durable: ActivityId) -> Result<(), Fault> {
        let full = page.len() >= self.page_limit;
        let at_head = !full || page.last().is_some_and(|last| last.id >= durable);
        if !at_head && page.last().is_some_and(|last| last.action == antiphon_model::Action::Delete) {
            // Its other half may be on the next page.
            page.pop();
        }
        let bytes: usize = page.iter().map(Activity::byte_len).sum();
        let mean = bytes / page.len().max(1) + 1;
        self.page_limit = (PAGE_BYTES / mean).clamp(*PAGE_ACTIVITIES.start(), *PAGE_ACTIVITIES.end());
        let reached = if at_head { durable } else { page.last().map_or(self.read, |last| last.id) };
        let whole = self.boundaries.pass(&page, at_head);
        let (ended, rest) = page.split_at(whole.unwrap_or(0));
        self.apply(ended).await?;
        if whole.is_some() || page.is_empty() {
            let end = if rest.is_empty() { reached } else { ended.last().map_or(self.read, |last| last.id) };
            self.end(end, ended).await?;
        }
        self.apply(rest).await?;
        self.read = reached;
        Ok(())
    }

    /// Commits: everything up to `end` is whole.
    async fn end(&mut self, end: ActivityId, ended: &[Activity]) -> Result<(), Fault> {
        self.write_fold().await?;
        let begun_later = |activity: &Activity| self.cursor.settle.is_some_and(|xid| activity.commit.xid >= xid);
        let settled = ended.iter().any(begun_later);
        self.cursor.offset = end;
        if settled {
            self.cursor.settle = None;
        }
        self.unsaved = !self.open;
        if self.open {
            self.control.save(self.writer.client(), &self.cursor).await?;
            self.commit().await?;
            self.board.advanced();
            events::committed(&self.config.name, ended.len() as u64);
        }
        let applied_at: Option<Micros> = ended.last().map(|last| last.commit.at);
        self.board.stands(&self.cursor, applied_at);
        Ok(())
    }

    /// Nothing comes: saves what was passed without a change, and sees whether the right to write still holds.
    async fn idle(&mut self) -> Result<(), Fault> {
        if self.open {
            return Ok(());
        }
        if std::mem::take(&mut self.unsaved) {
            return self.control.save(self.writer.client(), &self.cursor).await;
        }
        self.writer.run("select", "the connection").await
    }

    /// Writes the fold into the transaction at hand, and begins one where there is none.
    pub(super) async fn write_fold(&mut self) -> Result<(), Fault> {
        if self.fold.is_empty() {
            return Ok(());
        }
        if !self.open {
            self.begin().await?;
        }
        for (entity_type, fold) in self.fold.take() {
            if let Some(shaped) = self.shapes.get(&entity_type) {
                let counted = self.writer.fold(&shaped.layout, fold).await?;
                self.board.rows(counted.written, counted.deleted);
            }
        }
        Ok(())
    }

    /// Gives a row another identity.
    pub(super) async fn rename(&mut self, entity_type: &str, old: &[String], values: Values) -> Result<(), Fault> {
        if !self.open {
            self.begin().await?;
        }
        if let Some(shaped) = self.shapes.get(entity_type) {
            let counted = self.writer.rename(&shaped.layout, old, values).await?;
            self.board.rows(counted.written, counted.deleted);
        }
        Ok(())
    }

    /// Tells whether a row has no value in one of these places.
    pub(super) async fn lacks(
        &mut self,
        entity_type: &str,
        identity: &[String],
        places: &[usize],
    ) -> Result<bool, Fault> {
        let Some(shaped) = self.shapes.get(entity_type) else { return Ok(false) };
        self.writer.lacks(&shaped.layout, identity, places).await
    }

    /// Returns the layout of an activity's type, which is mirrored.
    pub(super) fn layout(&self, activity: &Activity) -> Result<&Layout, Fault> {
        let shaped = self.shapes.get(&activity.entity_type);
        shaped.map(|shaped| &shaped.layout).ok_or_else(|| {
            Fault::new(Code::EntityTypeUnknown, format!("activity {} is of a type that is not mirrored", activity.id))
        })
    }

    /// Tells whether an activity's type is mirrored, and takes in its shape where that is another than before.
    pub(super) async fn mirrors(&mut self, activity: &Activity) -> Result<bool, Fault> {
        let Some(shaped) = self.shapes.get(&activity.entity_type) else { return Ok(false) };
        if shaped.schema == Some(activity.schema) {
            return Ok(true);
        }
        let entity = Arc::clone(&shaped.layout.entity);
        self.until_visible(activity).await?;
        let shape = self.config.catalogue.shape(&entity).await?;
        let mut layout = Layout::resolve(self.writer.client(), &entity, &shape).await?;
        let missing = layout.reconcile(self.writer.client()).await?;
        let differs = layout.columns.iter().map(|column| &column.name).ne(self.columns(&entity.name));
        if differs || !missing.is_empty() {
            // What was folded belongs to the columns of before.
            self.write_fold().await?;
            self.writer.forget();
        }
        if !missing.is_empty() {
            if !self.open {
                self.begin().await?;
            }
            self.writer.run(&missing.join("; "), &format!("table {}", entity.table)).await?;
            self.control.list(self.writer.client(), &entity.name, &layout.table).await?;
            self.waiting.push(Known {
                entity_type: entity.name.clone(),
                listing: true,
                retired: false,
                last_key: None,
            });
        }
        self.shapes.insert(entity.name.clone(), Shaped { layout, schema: Some(activity.schema) });
        Ok(true)
    }

    /// Waits until the source shows an activity's transaction: a commit is in the log before it is visible, and what is
    /// asked of the source by then is as it was before.
    async fn until_visible(&self, activity: &Activity) -> Result<(), Fault> {
        let mut wait = VISIBLE_WAIT_MIN;
        while wait < VISIBLE_WAIT_MAX {
            if self.config.source.visibility().await?.sees(activity.commit.xid) {
                return Ok(());
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        Err(Fault::new(Code::TryAgain, "the transaction that changed a table is not visible in the source yet"))
    }

    fn columns(&self, entity_type: &str) -> impl Iterator<Item = &String> {
        let columns = self.shapes.get(entity_type).map(|shaped| &shaped.layout.columns[..]).unwrap_or_default();
        columns.iter().map(|column| &column.name)
    }

    /// Tells whether listed rows may be ahead of the rest.
    pub(super) fn settling(&self) -> bool {
        self.cursor.settle.is_some()
    }

    /// Returns a row's present values in the source.
    pub(super) async fn present(&mut self, entity_type: &str, row: (&str, &[String])) -> Result<Option<Values>, Fault> {
        let Some(shaped) = self.shapes.get(entity_type) else { return Ok(None) };
        self.rows.present(&*self.config.source, &shaped.layout, row).await
    }

    async fn begin(&mut self) -> Result<(), Fault> {
        self.writer.run("begin", "a transaction").await?;
        self.open = true;
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), Fault> {
        self.writer.run("commit", "a transaction").await?;
        self.open = false;
        Ok(())
    }
}
