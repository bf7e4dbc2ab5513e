//! One page of a polled table: its rows are compared with what was told of them, and what differs is recorded.
//!
//! A page is one statement under one snapshot, in a transaction that holds the order of recorded changes alone: nobody
//! else gives places or notes what was told meanwhile. Laws: a row that is as it was told is not recorded again; what is
//! recorded is noted as told by the same commit; a page that finds nothing writes nothing (CAP-40). Its transaction takes
//! its number after the snapshot that it read, so whoever sees it sees all that it read (CAP-01).

use antiphon_engine::Fault;
use antiphon_model::Code;
use tokio_postgres::{
    Client, Row, Transaction,
    types::{ToSql, Type},
};

use super::{
    table::Polled,
    window::{From, Kind, Value},
};
use crate::{errors, quote};

/// A page has at most so many rows.
pub(super) const PAGE_ROWS: usize = 1_000;
/// Keeps everybody else from giving places; taken before the snapshot of what follows.
const TAKE_TURN: &str = "set local lock_timeout = '2s'; lock table antiphon.audit_state in share row exclusive mode";
/// Gives what was recorded its place.
const PLACE: &str = "
    with recorded as (
        select pg_catalog.count(*) as changes, pg_catalog.sum(40 + coalesce(pg_catalog.octet_length(a.new), 0)
            + coalesce(pg_catalog.octet_length(a.old), 0) + coalesce(pg_catalog.octet_length(a.said), 0))::int8 as bytes
        from antiphon.audit a where a.xid = pg_catalog.pg_current_xact_id()
    ), placed as (
        update antiphon.audit_state set last_position = last_position + 1,
            ordered_below = greatest(ordered_below, pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()))
        returning last_position
    )
    insert into antiphon.audit_order (position, xid, changes, bytes, at)
    select p.last_position, pg_catalog.pg_current_xact_id(), r.changes, r.bytes, pg_catalog.statement_timestamp()
    from placed p, recorded r";

/// Which rows a page looks at.
#[derive(Clone, Debug)]
pub(super) enum Candidates {
    /// Rows in the order of cursor and key, from a value of the cursor on.
    From(From),
    /// Rows in that order after one that was read.
    After(Place),
    /// Rows in the order of the key, after one that was read.
    ByKey(Option<Vec<String>>),
    /// Rows that were told, in the order of their kept keys: they may be gone.
    Told(Option<Vec<String>>),
    /// The rows of these keys, as JSON: `[{"k": [key], "first": number, "gone": number}]`, with the numbers of the edits
    /// that name them: a row is told after the first, so that none is confirmed before it; where it is gone, after the
    /// other one, and before all of them where that is below 0.
    Named(String),
}

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The cursor's value; empty where it is null.
    cursor: String,
    /// The key.
    pub(super) key: Vec<String>,
}

/// What a page found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// How many rows were looked at.
    pub(super) rows: u64,
    /// How many were not told before.
    pub(super) creates: u64,
    /// How many differ from what was told.
    pub(super) updates: u64,
    /// How many are gone or marked as deleted.
    pub(super) deletes: u64,
    /// How many of the first two have a value below the highest that was read before.
    pub(super) late: u64,
    /// Where it ended; `None` where it looked at nothing.
    pub(super) place: Option<Place>,
    /// The highest value of the cursor so far.
    pub(super) highest: Option<Value>,
}

impl Found {
    /// How many changes were recorded.
    pub(super) fn changes(&self) -> u64 {
        self.creates + self.updates + self.deletes
    }

    /// Tells whether another page follows.
    pub(super) fn full(&self) -> bool {
        self.rows >= PAGE_ROWS as u64
    }
}

/// Why a page could not be read.
pub(super) enum Refused {
    /// The table's columns are not those that it was described with.
    Stale,
    /// Something else.
    Fault(Fault),
}

impl std::convert::From<Fault> for Refused {
    fn from(fault: Fault) -> Refused {
        Refused::Fault(fault)
    }
}

/// Begins a transaction that nobody else gives places beside.
pub(super) async fn begin(client: &mut Client) -> Result<Transaction<'_>, Fault> {
    let builder = client.build_transaction().isolation_level(tokio_postgres::IsolationLevel::ReadCommitted);
    let transaction = builder.start().await.map_err(errors::sql)?;
    transaction.batch_execute(TAKE_TURN).await.map_err(errors::sql)?;
    Ok(transaction)
}

/// Ends it; what was recorded has its place.
pub(super) async fn end(transaction: Transaction<'_>, recorded: bool) -> Result<(), Fault> {
    if recorded {
        transaction.execute(PLACE, &[]).await.map_err(errors::sql)?;
    }
    transaction.commit().await.map_err(errors::sql)
}

/// Reads a page in a transaction of its own.
pub(super) async fn read(
    client: &mut Client,
    polled: &Polled,
    candidates: &Candidates,
    watermark: Option<&Value>,
) -> Result<Found, Refused> {
    let transaction = begin(client).await?;
    let found = look(&transaction, polled, candidates, watermark).await?;
    end(transaction, found.changes() > 0).await?;
    Ok(found)
}

/// Looks at a page within a transaction and records what differs.
pub(super) async fn look(
    transaction: &Transaction<'_>,
    polled: &Polled,
    candidates: &Candidates,
    watermark: Option<&Value>,
) -> Result<Found, Refused> {
    let sql = sql(polled, candidates)?;
    let watermark = watermark.map(|value| value.text.clone());
    let mut values: Vec<(&(dyn ToSql + Sync), Type)> = vec![(&watermark, Type::TEXT)];
    let moment: String;
    match candidates {
        Candidates::From(From::Beginning) => {}
        Candidates::From(From::Moment(at)) => {
            moment = at.to_string();
            values.push((&moment, Type::TEXT));
        }
        Candidates::From(From::Value(text)) | Candidates::Named(text) => values.push((text, Type::TEXT)),
        Candidates::After(place) => {
            values.push((&place.cursor, Type::TEXT));
            values.push((&place.key, Type::TEXT_ARRAY));
        }
        Candidates::ByKey(Some(key)) | Candidates::Told(Some(key)) => values.push((key, Type::TEXT_ARRAY)),
        Candidates::ByKey(None) | Candidates::Told(None) => {}
    }
    let row = match transaction.query_typed(&sql, &values).await {
        Ok(rows) => rows.into_iter().next(),
        Err(error) => {
            return Err(match error.code().map(|code| code.code()) {
                Some("42P01" | "42703" | "42704") if error_is_the_tables(&error) => Refused::Stale,
                _ => Refused::Fault(errors::sql(error)),
            });
        }
    };
    let Some(row) = row else { return Err(Fault::new(Code::Internal, "a page came without its sums").into()) };
    found(&row, polled).map_err(|error| Refused::Fault(errors::sql(error)))?.ok_or(Refused::Stale)
}

/// Our own tables are told of by their own name.
fn error_is_the_tables(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_none_or(|error| !error.message().contains("antiphon."))
}

fn found(row: &Row, polled: &Polled) -> Result<Option<Found>, tokio_postgres::Error> {
    let number = |column: usize| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
    if row.try_get::<_, Option<String>>(9)?.as_deref() != Some(&polled.table.stamp) {
        return Ok(None);
    }
    let key: Option<Vec<String>> = row.try_get(6)?;
    let cursor: Option<String> = row.try_get(5)?;
    let micros: Option<i64> = row.try_get(8)?;
    let highest: Option<String> = row.try_get(7)?;
    Ok(Some(Found {
        rows: number(0)?,
        creates: number(1)?,
        updates: number(2)?,
        deletes: number(3)?,
        late: number(4)?,
        place: key.map(|key| Place { cursor: cursor.unwrap_or_default(), key }),
        highest: highest.map(|text| Value { text, micros: micros.unwrap_or_default() }),
    }))
}

/// Writes the statement: candidates, what was told of them, what differs, and what is noted and recorded of it.
fn sql(polled: &Polled, candidates: &Candidates) -> Result<String, Fault> {
    let (oid, shape) = (polled.table.oid, polled.shape);
    let alike = polled.alike.iter().map(|shape| format!("({shape})")).collect::<Vec<_>>().join(", ");
    let cursor = &polled.cursor()?.type_sql;
    let counts = polled.counts("c.cur")?;
    let moment = match polled.kind {
        Kind::Timed => "(extract(epoch from h.value) * 1000000)::pg_catalog.int8",
        Kind::Ranked => "0::pg_catalog.int8",
    };
    // Whoever edits is said right before.
    let statement = match candidates {
        Candidates::Named(_) => "case when e.n < 0 then 0 else 1 end",
        _ => "0",
    };
    let stamp = crate::rows::select::stamp_sql(&quote::literal(&polled.name()?)?);
    Ok(format!(
        "with c as materialized ({rows}), d as (
            select c.*, w.relation is not null as known, w.identity as identity_was, w.hash as hash_was,
                w.shape as shape_was, w.shape in ({alike}) as alike,
                pg_catalog.hashtextextended(c.image collate \"C\", 0) as hash
            from c left join lateral ({told}) w on true
        ), e as materialized (
            select d.*, case when d.gone then 'D' when not d.known then 'I' when d.alike then 'U' else 'A' end as op from d
            where case when d.gone then d.known when d.image is null then false
                when d.known then d.hash <> d.hash_was or d.alike and d.identity <> d.identity_was else true end
        ), noted as (
            insert into antiphon.poll_told (relation, key, identity, hash, shape)
            select {oid}, d.key, d.identity, d.hash, {shape} from d
            where not d.gone and d.image is not null and (not d.known or not d.alike or d.hash <> d.hash_was
                or d.identity <> d.identity_was)
            on conflict (relation, key) do update
                set identity = excluded.identity, hash = excluded.hash, shape = excluded.shape
        ), forgotten as (
            delete from antiphon.poll_told w using e where e.gone and w.relation = {oid} and w.key = e.key
        ), recorded as (
            insert into antiphon.audit (xid, statement, seq, op, relation, shape, old, new)
            select pg_catalog.pg_current_xact_id(), {statement}, 4 * e.n + 1, 'D', {oid}, e.shape_was, e.identity_was, null
            from e where e.op in ('D', 'A')
            union all
            select pg_catalog.pg_current_xact_id(), {statement}, 4 * e.n + 2, case e.op when 'U' then 'U' else 'I' end::\"char\",
                {oid}, {shape}, case when e.op = 'U' and e.identity <> e.identity_was then e.identity_was end, e.image
            from e where e.op <> 'D'
        ), h as (select greatest(pg_catalog.max(c.cur) filter (where {counts}), $1::pg_catalog.text::{cursor}) as value from c)
        select (select pg_catalog.count(*) from c), s.creates, s.updates, s.deletes, s.late,
            (select c.cur::pg_catalog.text from c order by c.n desc limit 1),
            (select c.key from c order by c.n desc limit 1), h.value::pg_catalog.text, {moment}, {stamp}
        from h, (select pg_catalog.count(*) filter (where e.op = 'I') as creates,
            pg_catalog.count(*) filter (where e.op in ('U', 'A')) as updates,
            pg_catalog.count(*) filter (where e.op = 'D') as deletes,
            pg_catalog.count(*) filter (where e.cur < $1::pg_catalog.text::{cursor}) as late from e) s",
        rows = candidate_rows(polled, candidates)?,
        told = told(oid, "c.key"),
    ))
}

/// What was told of the row with this key. One look at the index for each row, whatever the planner believes: while the
/// table is new there are no statistics, and it would read all that was ever told for each page.
fn told(oid: u32, key: &str) -> String {
    format!("select w.* from antiphon.poll_told w where w.relation = {oid} and w.key = {key} limit 1")
}

fn candidate_rows(polled: &Polled, candidates: &Candidates) -> Result<String, Fault> {
    let (name, oid) = (polled.name()?, polled.table.oid);
    let column = polled.cursor()?;
    let (cursor, cursor_type) = (format!("t.{}", quote::ident(&column.name)?), &column.type_sql);
    let keys = polled.key_list()?;
    let (key, identity, image, gone) = (polled.key_array()?, polled.identity()?, polled.image()?, polled.gone()?);
    let row = format!("{key} as key, {identity} as identity, {image} as image, {gone} as gone");
    let rows = |condition: &str, order: &str| {
        format!(
            "select {row}, {cursor} as cur, pg_catalog.row_number() over (order by {order}) as n
            from (select t.* from {name} t where {condition} order by {order} limit {PAGE_ROWS}) t"
        )
    };
    let by_cursor = format!("{cursor}, {keys}");
    Ok(match candidates {
        Candidates::From(From::Beginning) => rows(&format!("{cursor} is not null"), &by_cursor),
        Candidates::From(From::Moment(_)) => {
            let from = "'epoch'::pg_catalog.timestamptz + $2::pg_catalog.text::pg_catalog.int8 * '1 microsecond'::pg_catalog.interval";
            rows(&format!("{cursor} >= {from}"), &by_cursor)
        }
        Candidates::From(From::Value(_)) => {
            rows(&format!("{cursor} >= $2::pg_catalog.text::{cursor_type}"), &by_cursor)
        }
        Candidates::After(_) => {
            let place = polled.key_values("$3::pg_catalog.text[]")?;
            rows(&format!("({by_cursor}) > ($2::pg_catalog.text::{cursor_type}, {place})"), &by_cursor)
        }
        Candidates::ByKey(None) => rows("true", &keys),
        Candidates::ByKey(Some(_)) => {
            rows(&format!("({keys}) > ({})", polled.key_values("$2::pg_catalog.text[]")?), &keys)
        }
        Candidates::Told(after) => {
            let after = if after.is_some() { " and w.key > $2::pg_catalog.text[]" } else { "" };
            let same = format!("({keys}) = ({})", polled.key_values("w.key")?);
            format!(
                "select w.key, null::pg_catalog.text as identity, null::pg_catalog.text as image,
                    not exists(select from {name} t where {same} and not ({gone})) as gone, null::{cursor_type} as cur,
                    pg_catalog.row_number() over (order by w.key) as n
                from (select w.key from antiphon.poll_told w where w.relation = {oid}{after}
                    order by w.key limit {PAGE_ROWS}) w"
            )
        }
        Candidates::Named(_) => {
            let same = format!("({keys}) = ({})", polled.key_values("u.key")?);
            format!(
                "with u as materialized (
                    select array(select v.value from pg_catalog.jsonb_array_elements_text(o.one -> 'k') with ordinality v (value, at)
                        order by v.at) as key, (o.one ->> 'first')::pg_catalog.int8 as first, (o.one ->> 'gone')::pg_catalog.int8 as gone_at
                    from pg_catalog.jsonb_array_elements($2::pg_catalog.text::pg_catalog.jsonb) o (one)
                )
                select distinct on (key) * from (
                    select {row}, {cursor} as cur, case when {gone} then u.gone_at else u.first end as n from u join {name} t on {same}
                    union all
                    select w.key, null, null, true, null, u.gone_at from u
                        cross join lateral ({told}) w
                    where not exists(select from {name} t where {same})
                ) named order by key, n desc",
                told = told(oid, "u.key"),
            )
        }
    })
}
