//! What a mirror keeps at its target: the cursor, who may write, and which tables are its own.
//!
//! Schema `antiphon_mirror`. The right to write is a lock of the session, and a fence: a number that each runner raises and
//! that every change of the cursor asks for, so that a runner which lost its lock without knowing writes nothing.
//! Law: the cursor moves in the transaction of the rows, or not at all.

use antiphon_engine::Fault;
use antiphon_model::{ActivityId, Code, Epoch, Xid};
use tokio_postgres::Client;

use super::errors;

const SCHEMA: &str = "
    select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('antiphon_mirror', 0));
    create schema if not exists antiphon_mirror;
    create table if not exists antiphon_mirror.mirrors (
        name text primary key,
        fence bigint not null,
        log text not null default '',
        epoch int not null default 0,
        offset_id bigint not null default 0,
        settle_xid bigint,
        begun_anew bigint not null default 0,
        updated_at timestamptz not null default now()
    );
    create table if not exists antiphon_mirror.tables (
        mirror text not null references antiphon_mirror.mirrors,
        entity_type text not null,
        table_name text not null unique,
        state text not null check (state in ('listing', 'ready', 'retired')),
        last_key text,
        primary key (mirror, entity_type)
    );
    comment on table antiphon_mirror.mirrors is
        'Antiphon: where each mirror stands in the activity log. It moves with the rows; change nothing here.';";
const LOCK: &str = "select pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('antiphon_mirror:' || $1, 0))";
pub(super) const HOLDER: &str = "select l.pid from pg_catalog.pg_locks l,
    pg_catalog.hashtextextended('antiphon_mirror:' || $1, 0) as wanted
    where l.locktype = 'advisory' and l.granted and l.objsubid = 1
      and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
      and l.classid::bigint = (wanted >> 32) & 4294967295 and l.objid::bigint = wanted & 4294967295";
const ACQUIRE: &str = "insert into antiphon_mirror.mirrors as m (name, fence) values ($1, 1)
    on conflict (name) do update set fence = m.fence + 1
    returning fence, log, epoch, offset_id, settle_xid, begun_anew";
const SAVE: &str = "update antiphon_mirror.mirrors set log = $3, epoch = $4, offset_id = $5, settle_xid = $6,
    begun_anew = $7, updated_at = pg_catalog.clock_timestamp() where name = $1 and fence = $2";

/// Where a mirror stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Which log it reads.
    pub(super) log: String,
    /// The log's generation; 0 before the first beginning.
    pub(super) epoch: u32,
    /// The last activity that was written.
    pub(super) offset: ActivityId,
    /// Until a transaction of this number or a later one comes, rows that were listed may be ahead of the rest.
    pub(super) settle: Option<Xid>,
    /// How often it began anew.
    pub(super) begun_anew: u64,
}

impl Cursor {
    /// Tells whether it belongs to a log's epoch.
    pub(super) fn fits(&self, log: &str, epoch: Epoch) -> bool {
        self.log == log && self.epoch == epoch.as_u32() && epoch.contains(self.offset)
    }
}

/// The right to write, over one session.
pub(super) struct Control {
    name: String,
    fence: i64,
}

/// A table that a mirror made.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) entity_type: String,
    pub(super) listing: bool,
    pub(super) retired: bool,
    pub(super) last_key: Option<String>,
}

impl Control {
    /// Takes the right to write, making our tables where they are missing.
    ///
    /// # Errors
    /// Fails with `MIRROR_IN_USE` while another runner has it, and with `MIRROR_FOREIGN` where this is a database of ours.
    pub(super) async fn acquire(client: &Client, name: &str) -> Result<(Control, Cursor), Fault> {
        let failed = |error| errors::sql(error, "schema antiphon_mirror");
        let sql = "select pg_catalog.to_regnamespace('antiphon') is not null,
                   pg_catalog.to_regclass('antiphon_mirror.tables') is not null";
        let row = client.query_one(sql, &[]).await.map_err(failed)?;
        if row.get(0) {
            let detail = "it holds a schema `antiphon`: it is a captured database, or our own";
            return Err(Fault::new(Code::MirrorForeign, detail));
        }
        if !row.get::<_, bool>(1) {
            client.batch_execute(&format!("begin; {SCHEMA}; commit")).await.map_err(failed)?;
        }
        if !client.query_one(LOCK, &[&name]).await.map_err(failed)?.get::<_, bool>(0) {
            let holder = client.query_opt(HOLDER, &[&name]).await.map_err(failed)?;
            let detail = holder.map(|row| format!("process {} of the mirror's database", row.get::<_, i32>(0)));
            return Err(Fault::new(Code::MirrorInUse, detail.unwrap_or_default()));
        }
        let row = client.query_one(ACQUIRE, &[&name]).await.map_err(failed)?;
        let cursor = Cursor {
            log: row.get(1),
            epoch: row.get::<_, i32>(2).unsigned_abs(),
            offset: ActivityId::new(row.get::<_, i64>(3).unsigned_abs()),
            settle: row.get::<_, Option<i64>>(4).map(|xid| Xid::new(xid.unsigned_abs())),
            begun_anew: row.get::<_, i64>(5).unsigned_abs(),
        };
        Ok((Control { name: name.to_owned(), fence: row.get(0) }, cursor))
    }

    /// Moves the cursor; part of the transaction at hand.
    ///
    /// # Errors
    /// Fails with `MIRROR_IN_USE` where another runner has taken over.
    pub(super) async fn save(&self, client: &Client, cursor: &Cursor) -> Result<(), Fault> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let settle = cursor.settle.map(|xid| number(xid.as_u64()));
        let (epoch, offset) = (cursor.epoch as i32, number(cursor.offset.as_u64()));
        let (name, fence, anew) = (&self.name, &self.fence, number(cursor.begun_anew));
        let saved = client.execute(SAVE, &[name, fence, &cursor.log, &epoch, &offset, &settle, &anew]).await;
        match saved.map_err(|error| errors::sql(error, "the cursor"))? {
            0 => Err(Fault::new(Code::MirrorInUse, "another runner has taken over")),
            _ => Ok(()),
        }
    }

    /// Returns the tables that this mirror made.
    pub(super) async fn tables(&self, client: &Client) -> Result<Vec<Known>, Fault> {
        let sql = "select entity_type, state, last_key from antiphon_mirror.tables where mirror = $1 order by 1";
        let rows = client.query(sql, &[&self.name]).await.map_err(|error| errors::sql(error, "its tables"))?;
        let known = rows.iter().map(|row| {
            let state: &str = row.get(1);
            Known {
                entity_type: row.get(0),
                listing: state == "listing",
                retired: state == "retired",
                last_key: row.get(2),
            }
        });
        Ok(known.collect())
    }

    /// Notes that a table is this mirror's, and that its rows are to be listed from the beginning.
    pub(super) async fn list(&self, client: &Client, entity_type: &str, table: &str) -> Result<(), Fault> {
        let sql =
            "insert into antiphon_mirror.tables (mirror, entity_type, table_name, state) values ($1, $2, $3, 'listing')
                   on conflict (mirror, entity_type) do update set state = 'listing', last_key = null";
        let noted = client.execute(sql, &[&self.name, &entity_type, &table]).await;
        noted.map(drop).map_err(|error| match error.code().map(|state| state.code()) {
            Some("23505") => Fault::new(Code::MirrorForeign, format!("table {table} belongs to another mirror")),
            _ => errors::sql(error, "its tables"),
        })
    }

    /// Notes how far the listing of a table is; `last_key` is `None` once its rows are in place.
    pub(super) async fn listed(&self, client: &Client, entity_type: &str, last_key: Option<&str>) -> Result<(), Fault> {
        let sql = "update antiphon_mirror.tables set last_key = $3::text,
                   state = case when $3::text is null then 'ready' else 'listing' end
                   where mirror = $1 and entity_type = $2";
        let noted = client.execute(sql, &[&self.name, &entity_type, &last_key]).await;
        noted.map(drop).map_err(|error| errors::sql(error, "its tables"))
    }

    /// Notes that a type is declared no more: its table stays, and is listed anew should it come back.
    pub(super) async fn retire(&self, client: &Client, entity_type: &str) -> Result<(), Fault> {
        let sql = "update antiphon_mirror.tables set state = 'retired', last_key = null
                   where mirror = $1 and entity_type = $2";
        let noted = client.execute(sql, &[&self.name, &entity_type]).await;
        noted.map(drop).map_err(|error| errors::sql(error, "its tables"))
    }
}
