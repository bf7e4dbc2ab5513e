//! Puts recorded transactions in order and reads them whole (CAP-31).
//!
//! A transaction's place is given once, when every transaction with a number up to its own has ended, and is kept: who
//! reads again reads the same. Within what one look orders, transactions follow the highest number that their rows took;
//! a row's number is taken under the row's lock, so whoever waited for another comes after it. Laws: nothing is read
//! that is not flushed at the source, because the commit that gives places flushes all before it; no row that commits
//! late is skipped, because no place is given above it.

use std::{collections::HashMap, sync::Arc};

use antiphon_engine::Fault;
use antiphon_model::{Change, Code, Micros, RelationName, Transaction, Xid};
use tokio_postgres::{Client, Row};

use super::{
    horizon::{Looks, Next, Placed, next},
    image::{Malformed, Recorded, RecordedColumn, Shape, message},
    install::changed,
};
use crate::{catalogue::resolve_types, errors, rows::select};

/// Places are fetched this many at a time.
const PLACES_MAX: i64 = 2_000;

/// The lowest number of a transaction that runs and may have recorded something: one that is seen to run in another
/// database has not. Without the right to see whose it is, it counts; one that ends meanwhile does too.
macro_rules! horizon {
    () => {
        "horizon as materialized (
            select coalesce((select r.x from pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot()) as r (x)
                where not exists(select from pg_catalog.pg_stat_activity a where a.backend_xid = r.x::xid and a.datid <> (
                        select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()))
                    and not exists(select from pg_catalog.pg_prepared_xacts p where p.transaction = r.x::xid
                        and p.database <> pg_catalog.current_database())
                order by r.x limit 1), pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())) as below
        )"
    };
}

/// Whether anything recorded has no place and could have one; costs no transaction number.
const LOOK: &str = concat!(
    "with ",
    horizon!(),
    "select (extract(epoch from pg_catalog.statement_timestamp()) * 1000000)::int8, h.below::text,
        pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text, pg_catalog.pg_is_in_recovery(),
        s.last_position, exists(select from antiphon.audit a where a.xid >= s.ordered_below and a.xid < h.below),
        s.ordered_below::text
    from antiphon.audit_state s, horizon h"
);
/// Two readers give places one after the other, and each sees what the one before it gave.
const TAKE_TURN: &str = "select ordered_below::text, last_position from antiphon.audit_state for update";
const STATE: &str = "select ordered_below::text, last_position from antiphon.audit_state";
/// Whoever waited for a row may have the lower number: one that took a higher number for a row than somebody above the
/// horizon did is left for later, and so is all that must come behind it. Each window grows at its end alone: one whose
/// beginning moves is counted anew for every row, which takes minutes where tens of thousands of transactions wait.
const ARRANGE: &str = concat!(
    "with ",
    horizon!(),
    ", fresh as (
        select a.xid, pg_catalog.count(*) as changes, pg_catalog.max(a.at) as at, pg_catalog.max(a.seq) as last,
            pg_catalog.sum(40 + coalesce(pg_catalog.octet_length(a.new), 0) + coalesce(pg_catalog.octet_length(a.old), 0)
                + coalesce(pg_catalog.octet_length(a.said), 0))::int8 as bytes
        from antiphon.audit a
        where a.xid >= $1::text::xid8
        group by a.xid
    ), cut as (
        select s.xid, pg_catalog.max(s.last) over (order by s.xid rows between unbounded preceding and 1 preceding) as below,
            pg_catalog.min(s.last) over (order by s.xid desc rows between unbounded preceding and current row) as above
        from (select f.xid, f.last from fresh f union all select h.below, null from horizon h) s
    ), bound as (
        select c.xid as below from cut c, horizon h
        where c.xid <= h.below and coalesce(c.below < c.above, true) order by c.xid desc limit 1
    ), placed as (
        insert into antiphon.audit_order (position, xid, changes, bytes, at)
        select $2 + pg_catalog.row_number() over (order by last), xid, changes, bytes, at from fresh
        where xid < (select below from bound)
        returning position
    )
    update antiphon.audit_state set last_position = coalesce((select pg_catalog.max(position) from placed), last_position),
        ordered_below = (select below from bound)"
);
const PLACES: &str = "
    select position, xid::text, changes, bytes, (extract(epoch from at) * 1000000)::int8
    from antiphon.audit_order where position > $1 order by position limit $2";
const ROWS: &str = "
    select o.n, a.statement, a.seq, a.op::text, a.relation, a.shape, a.columns, a.kept, a.old, a.new, a.said
    from pg_catalog.unnest($1::text::xid8[]) with ordinality as o (xid, n)
        cross join lateral (select * from antiphon.audit a where a.xid = o.xid
            and (a.statement, a.seq) > ($2, $3) order by a.statement, a.seq limit $4) a
    order by o.n, a.statement, a.seq";
const SHAPE: &str =
    "select schema_name, table_name, columns from antiphon.audit_shapes where relation = $1 and shape = $2";
const NAME: &str = "select schema_name, table_name from antiphon.audit_shapes where relation = $1 limit 1";

/// What a look at the source found.
pub(super) struct Look {
    /// Everything that was committed before this moment has its place.
    pub(super) reached: Micros,
    /// The source's clock.
    pub(super) clock: Micros,
    /// The oldest transaction that was running and held others back; the same as `next` where none did.
    pub(super) oldest: Xid,
    /// The first number that was not given out yet.
    pub(super) next: Xid,
    /// The highest place that was given.
    pub(super) last_position: u64,
}

/// Reads the audit table.
pub(crate) struct Reader {
    client: Client,
    looks: Looks,
    /// The horizon for which places were given last.
    arranged: Option<Xid>,
    shapes: HashMap<(u32, i64), Arc<Shape>>,
    /// Shapes of rows that were recorded with their columns.
    described: HashMap<(u32, String), Arc<Shape>>,
    /// The last place that was read.
    position: u64,
    /// A transaction that is read in parts.
    within: Option<Within>,
    /// Whether a row was met whose function was stale.
    stale: bool,
    /// Whether rows are states that were found by looking, not changes.
    polled: bool,
}

struct Within {
    placed: Placed,
    rows_max: u64,
    read: u64,
    after: (i64, i64),
}

impl Reader {
    /// Reads what comes after a place.
    pub(crate) fn new(client: Client, position: u64) -> Reader {
        let (shapes, described) = (HashMap::new(), HashMap::new());
        let (looks, within) = (Looks::default(), None);
        Reader { client, looks, arranged: None, shapes, described, position, within, stale: false, polled: false }
    }

    /// Takes rows for states that were found by looking.
    #[must_use]
    pub(crate) fn polled(mut self) -> Reader {
        self.polled = true;
        self
    }

    /// Returns the connection, for a statement in between.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the last place that was read to its end.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Tells, once, whether a row was met that a stale function recorded.
    pub(super) fn take_stale(&mut self) -> bool {
        std::mem::take(&mut self.stale)
    }

    /// Looks at the source, and gives places where there is something to place.
    pub(super) async fn look(&mut self) -> Result<Look, Fault> {
        let row = self.client.query_opt(LOOK, &[]).await.map_err(gone)?;
        let row = row.ok_or_else(|| changed("the audit table's state was deleted".to_owned()))?;
        if row.get(3) {
            return Err(Fault::new(Code::InRecovery, ""));
        }
        let clock = Micros(row.get(0));
        let (oldest, next) = (xid(&row, 1), xid(&row, 2));
        let (mut last_position, mut ordered_below): (i64, Xid) = (row.get(4), oldest);
        if row.get(5) {
            ordered_below = xid(&row, 6);
            // What is left for later stays so while the horizon is where it is: whatever comes in takes higher numbers.
            if self.arranged.replace(oldest) != Some(oldest) {
                (ordered_below, last_position) = self.arrange().await?;
            }
        }
        // What was placed after this look may lie above it; the next look says so.
        let reached = self.looks.look(oldest.min(ordered_below), next, clock);
        Ok(Look { reached, clock, oldest, next, last_position: last_position.unsigned_abs() })
    }

    /// Gives places; returns below which number everything has its place, and the highest place.
    async fn arrange(&mut self) -> Result<(Xid, i64), Fault> {
        let transaction = self.client.transaction().await.map_err(errors::sql)?;
        let row = transaction.query_one(TAKE_TURN, &[]).await.map_err(gone)?;
        let (below, last): (String, i64) = (row.get(0), row.get(1));
        transaction.execute(ARRANGE, &[&below, &last]).await.map_err(gone)?;
        let state = transaction.query_one(STATE, &[]).await.map_err(gone)?;
        transaction.commit().await.map_err(errors::sql)?;
        Ok((xid(&state, 0), state.get(1)))
    }

    /// Reads the next transactions, or the next part of a large one; empty where nothing is left.
    pub(crate) async fn read(&mut self, reached: Micros) -> Result<Vec<Transaction>, Fault> {
        if self.within.is_some() {
            return self.read_part(reached).await;
        }
        let position = i64::try_from(self.position).unwrap_or(i64::MAX);
        let rows = self.client.query(PLACES, &[&position, &PLACES_MAX]).await.map_err(gone)?;
        let places: Vec<Placed> = rows.iter().map(placed).collect();
        match next(&places) {
            None => Ok(Vec::new()),
            Some(Next::Whole(count)) => self.read_whole(&places[..count], reached).await,
            Some(Next::Parts(rows_max)) => {
                let placed = places[0].clone();
                self.within = Some(Within { placed, rows_max, read: 0, after: (i64::MIN, i64::MIN) });
                self.read_part(reached).await
            }
        }
    }

    async fn read_whole(&mut self, places: &[Placed], reached: Micros) -> Result<Vec<Transaction>, Fault> {
        let rows = self.rows(places, (i64::MIN, i64::MIN), i64::MAX).await?;
        let mut rows = rows.iter().peekable();
        let mut transactions = Vec::with_capacity(places.len());
        for (index, placed) in places.iter().enumerate() {
            let mut changes = Vec::new();
            while let Some(row) = rows.next_if(|row| row.get::<_, i64>(0) == index as i64 + 1) {
                changes.push(self.change(row).await?);
            }
            check_count(placed, changes.len() as u64)?;
            transactions.push(transaction(placed, 0, changes, true, reached));
            self.position = placed.position;
        }
        Ok(transactions)
    }

    async fn read_part(&mut self, reached: Micros) -> Result<Vec<Transaction>, Fault> {
        let Some(within) = self.within.take() else { return Ok(Vec::new()) };
        let limit = i64::try_from(within.rows_max).unwrap_or(i64::MAX);
        let rows = self.rows(std::slice::from_ref(&within.placed), within.after, limit).await?;
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            changes.push(self.change(row).await?);
        }
        let read = within.read + changes.len() as u64;
        let last = read >= within.placed.changes;
        if last || rows.is_empty() {
            check_count(&within.placed, read)?;
        }
        let part = transaction(&within.placed, within.read, changes, last, reached);
        if last {
            self.position = within.placed.position;
        } else {
            let after = rows.last().map_or(within.after, |row| (row.get(1), row.get(2)));
            self.within = Some(Within { read, after, ..within });
        }
        Ok(vec![part])
    }

    async fn rows(&self, places: &[Placed], after: (i64, i64), limit: i64) -> Result<Vec<Row>, Fault> {
        let xids: Vec<String> = places.iter().map(|placed| placed.xid.to_string()).collect();
        let xids = format!("{{{}}}", xids.join(","));
        self.client.query(ROWS, &[&xids, &after.0, &after.1, &limit]).await.map_err(gone)
    }

    async fn change(&mut self, row: &Row) -> Result<Change, Fault> {
        let op = row.get::<_, &str>(3).bytes().next().unwrap_or_default();
        if op == b'M' {
            return Ok(message(row.get::<_, Option<&[u8]>>(10).unwrap_or_default()));
        }
        let relation: u32 = row.get::<_, Option<u32>>(4).ok_or_else(|| malformed(Malformed))?;
        if op == b'G' {
            let why = row.get::<_, Option<&str>>(6).unwrap_or_default();
            let table = self.name(relation).await?;
            return Err(changed(format!("a change of {table} could not be recorded: {why}")));
        }
        let shape = match (row.get::<_, Option<i64>>(5), row.get::<_, Option<&str>>(6)) {
            (Some(shape), _) => self.shape(relation, shape).await?,
            (None, Some(columns)) => self.describe(relation, columns).await?,
            (None, None) => return Err(malformed(Malformed)),
        };
        if op == b'T' {
            return Ok(Change::Truncate(vec![Arc::clone(shape.relation())]));
        }
        let kept: Vec<i16> = row.get::<_, Option<Vec<i16>>>(7).unwrap_or_default();
        let (old, new) = (select::bytes(row, 8), select::bytes(row, 9));
        shape.change(Recorded { op, kept: &kept, old, new }).map_err(malformed)
    }

    async fn shape(&mut self, relation: u32, shape: i64) -> Result<Arc<Shape>, Fault> {
        if let Some(known) = self.shapes.get(&(relation, shape)) {
            return Ok(Arc::clone(known));
        }
        let row = self.client.query_opt(SHAPE, &[&relation, &shape]).await.map_err(gone)?;
        let row = row.ok_or_else(|| changed("the shape of recorded rows was deleted".to_owned()))?;
        let table = RelationName { schema: row.get(0), name: row.get(1) };
        let made = self.make(relation, &table, row.get(2), false).await?;
        self.shapes.insert((relation, shape), Arc::clone(&made));
        Ok(made)
    }

    async fn describe(&mut self, relation: u32, columns: &str) -> Result<Arc<Shape>, Fault> {
        self.stale = true;
        let key = (relation, columns.to_owned());
        if let Some(known) = self.described.get(&key) {
            return Ok(Arc::clone(known));
        }
        let table = self.name(relation).await?;
        let made = self.make(relation, &table, columns, true).await?;
        self.described.insert(key, Arc::clone(&made));
        Ok(made)
    }

    async fn make(&self, relation: u32, table: &RelationName, columns: &str, whole: bool) -> Result<Arc<Shape>, Fault> {
        let columns: Vec<RecordedColumn> = serde_json::from_str(columns).map_err(|_| malformed(Malformed))?;
        let oids: Vec<u32> = columns.iter().map(|(_, oid, ..)| *oid).collect();
        let types: Vec<_> = resolve_types(&self.client, &oids).await?.into_iter().map(|(_, ty)| ty).collect();
        let shape = Shape::new(relation, table, &columns, &types, whole);
        Ok(Arc::new(if self.polled { shape.polled() } else { shape }))
    }

    async fn name(&self, relation: u32) -> Result<RelationName, Fault> {
        let row = self.client.query_opt(NAME, &[&relation]).await.map_err(gone)?;
        let row = row.ok_or_else(|| changed("the shape of recorded rows was deleted".to_owned()))?;
        Ok(RelationName { schema: row.get(0), name: row.get(1) })
    }
}

fn xid(row: &Row, column: usize) -> Xid {
    Xid::new(row.get::<_, &str>(column).parse().unwrap_or_default())
}

fn placed(row: &Row) -> Placed {
    Placed {
        position: row.get::<_, i64>(0).unsigned_abs(),
        xid: xid(row, 1),
        changes: row.get::<_, i64>(2).unsigned_abs(),
        bytes: row.get::<_, i64>(3).unsigned_abs(),
        at: Micros(row.get(4)),
    }
}

/// The commit's time is not recorded, so the last row's stands for it, but never later than what was reached: what
/// is told of as read up to a moment must hold whatever was committed before it.
fn transaction(placed: &Placed, first_ordinal: u64, changes: Vec<Change>, last: bool, reached: Micros) -> Transaction {
    let committed_at = if reached > Micros(0) { placed.at.min(reached) } else { placed.at };
    Transaction {
        commit_lsn: antiphon_model::Lsn::new(placed.position),
        xid: placed.xid,
        committed_at,
        first_ordinal,
        changes,
        last,
    }
}

/// Rows that have gone since they were counted were never consumed.
fn check_count(placed: &Placed, read: u64) -> Result<(), Fault> {
    if read == placed.changes {
        return Ok(());
    }
    let detail = format!("{} rows were recorded of transaction {}, and {read} are left", placed.changes, placed.xid);
    Err(changed(detail))
}

fn malformed(_: Malformed) -> Fault {
    Fault::new(Code::DecodeFailed, "a recorded row does not fit the shape that it was recorded with")
}

/// The audit table may be dropped while it is read.
fn gone(error: tokio_postgres::Error) -> Fault {
    match error.code().map(tokio_postgres::error::SqlState::code) {
        Some("42P01" | "3F000") => changed("the audit table was dropped".to_owned()).with_source(error),
        _ => errors::sql(error),
    }
}
