//! Replication slots: looked at, created, dropped and moved.
//!
//! Capture uses `find` and `create`; the command line uses the rest. The view's columns differ between versions
//! (15 knows no invalidation reason; 16 says `conflicting` of every slot that was given up, which tells a reason only on
//! a standby), so rows are read as documents and an absent column is absent.
//! Laws: a slot in use is never dropped unless the caller forces it; a slot is created by the function that waits for
//! open transactions, and giving up while it waits cancels it, so that no half slot stays (PG-20).

use std::{fmt, time::Duration};

use antiphon_engine::Fault;
use antiphon_model::{Code, Lsn};
use tokio::time::Instant;
use tokio_postgres::{Client, Row};

use crate::{
    connect::{cancel, connect_sql},
    conninfo::ConnectionInfo,
    errors::{self, Context},
};

/// The output plugin that we decode.
pub const PLUGIN: &str = "pgoutput";
/// Who a slot's creation waits for is told this often.
const WAIT_REPORT: Duration = Duration::from_secs(2);
/// A terminated reader lets go of its slot within this time.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);
const RELEASE_POLL: Duration = Duration::from_millis(50);

/// A replication slot, as far as the server's version tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// The output plugin; `None` for a physical slot.
    pub plugin: Option<String>,
    /// The database; `None` for a physical slot.
    pub database: Option<String>,
    /// The process that reads it.
    pub active_pid: Option<i32>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
    /// Why the server gave it up (17 and newer), or that it conflicts with recovery (16).
    pub invalidation: Option<String>,
    /// From where log is kept.
    pub restart: Option<Lsn>,
    /// Up to where its reader has confirmed.
    pub confirmed: Option<Lsn>,
    /// How much log is kept for it.
    pub retained_bytes: Option<i64>,
    /// How much log was written since what its reader confirmed.
    pub lag_bytes: Option<i64>,
    /// How much more may be written before it is in danger; `None` where there is no limit.
    pub safe_wal_bytes: Option<i64>,
    /// How old the transaction is that its catalogue view holds (PG-09).
    pub catalog_xmin_age: Option<i32>,
    /// Whether it is carried over to standbys (17 and newer).
    pub failover: bool,
    /// Whether it ends with its connection.
    pub temporary: bool,
}

impl Slot {
    /// Tells whether the server no longer has what the slot needs.
    pub fn lost(&self) -> bool {
        self.wal_status.as_deref() == Some("lost") || self.invalidation.is_some()
    }
}

/// A transaction that keeps a slot from being created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// The process; `None` for a prepared transaction.
    pub pid: Option<i32>,
    /// The database, which may be another one.
    pub database: String,
    /// Who it says it is, or the prepared transaction's name.
    pub name: String,
    /// How long it has been open.
    pub open_seconds: i64,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => f.write_str("a prepared transaction")?,
        }
        write!(f, " ({}) in {}", self.name, self.database)
    }
}

/// Checks a name by the server's rules, before the server cuts or refuses it (PG-16).
///
/// # Errors
/// Fails with `CONFIG_INVALID`, saying what is valid.
pub fn check_name(kind: &str, name: &str) -> Result<(), Fault> {
    let fits = (1..=63).contains(&name.len());
    if fits && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
        return Ok(());
    }
    let detail = format!("{kind}: a name of 1 to 63 characters of a-z, 0-9 and _ is needed");
    Err(Fault::new(Code::ConfigInvalid, detail))
}

const SLOTS: &str = "
    select slot_name::text, plugin::text, database::text, active_pid, wal_status, restart_lsn::text,
        confirmed_flush_lsn::text, temporary, safe_wal_size,
        pg_catalog.pg_wal_lsn_diff(present.lsn, restart_lsn)::bigint,
        pg_catalog.pg_wal_lsn_diff(present.lsn, confirmed_flush_lsn)::bigint,
        pg_catalog.age(catalog_xmin),
        coalesce(nullif(pg_catalog.to_jsonb(slot) ->> 'invalidation_reason', ''),
            case when pg_catalog.to_jsonb(slot) ->> 'conflicting' = 'true' and pg_catalog.pg_is_in_recovery()
                then 'conflicts with recovery' end),
        coalesce(pg_catalog.to_jsonb(slot) ->> 'failover', 'false') = 'true'
    from pg_catalog.pg_replication_slots as slot,
        (select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
            else pg_catalog.pg_current_wal_lsn() end as lsn) as present";

/// Lists every slot of the server, by name.
pub async fn list(client: &Client) -> Result<Vec<Slot>, Fault> {
    let rows = client.query(&format!("{SLOTS} order by 1"), &[]).await.map_err(errors::sql)?;
    rows.iter().map(slot).collect()
}

/// Finds a slot.
pub async fn find(client: &Client, name: &str) -> Result<Option<Slot>, Fault> {
    let statement = format!("{SLOTS} where slot_name = $1::text");
    let row = client.query_opt(&statement, &[&name]).await.map_err(errors::sql)?;
    row.as_ref().map(slot).transpose()
}

/// Creates a slot in the connection's database, waiting for open transactions, and returns from where it begins.
///
/// `waiting` is told every two seconds whom it waits for. Dropping the call cancels it on the server.
///
/// # Errors
/// Fails with `CONFIG_INVALID` for a name that cannot be, `SLOT_FOREIGN` where it is taken, `SLOTS_EXHAUSTED`,
/// `WAL_LEVEL` or `PERMISSION`.
pub async fn create(
    info: &ConnectionInfo,
    name: &str,
    waiting: &(dyn Fn(&[Blocker]) + Send + Sync),
) -> Result<Lsn, Fault> {
    check_name("slot", name)?;
    let client = connect_sql(info, "antiphon slot creation").await?;
    if let Some(slot) = find(&client, name).await? {
        let owner = slot.database.unwrap_or_else(|| "the whole server".to_owned());
        return Err(Fault::new(Code::SlotForeign, format!("{name} exists already and belongs to {owner}")));
    }
    let side = connect_sql(info, "antiphon slot creation").await?;
    let version = server_version(&client).await?;
    // From 17 on, the slot is carried over to standbys that ask for it.
    let failover = if version >= 170_000 { ", false, false, true" } else { "" };
    let statement =
        format!("select lsn::text from pg_catalog.pg_create_logical_replication_slot($1, '{PLUGIN}'{failover})");
    let cancel = CancelOnDrop { info, token: Some(client.cancel_token()) };
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&name];
    let creation = client.query_one(&statement, &parameters);
    tokio::pin!(creation);
    let row = loop {
        tokio::select! {
            created = &mut creation => break created,
            () = tokio::time::sleep(WAIT_REPORT) => match blockers(&side, None).await {
                Ok(blockers) => waiting(&blockers),
                Err(fault) => tracing::debug!(error = %fault.chain(), "who a slot waits for could not be read"),
            },
        }
    };
    cancel.disarm();
    match row {
        Ok(row) => text_lsn(&row, 0)?.ok_or_else(|| Fault::new(Code::Internal, "a new slot has no position")),
        Err(error) => Err(explain(errors::client(error, Context::Slot), &side).await),
    }
}

/// Drops a slot; one in use only with `force`, which ends its reader.
///
/// # Errors
/// Fails with `SLOT_MISSING`, or with `SLOT_IN_USE` naming the process.
pub async fn drop(client: &Client, name: &str, force: bool) -> Result<(), Fault> {
    let deadline = Instant::now() + RELEASE_TIMEOUT;
    loop {
        let slot = find(client, name).await?;
        let slot = slot.ok_or_else(|| Fault::new(Code::SlotMissing, format!("there is no slot {name}")))?;
        if let Some(pid) = slot.active_pid {
            if !force || Instant::now() > deadline {
                return Err(in_use(pid));
            }
            let end = "select pg_catalog.pg_terminate_backend($1)";
            client.execute(end, &[&pid]).await.map_err(errors::sql)?;
            tokio::time::sleep(RELEASE_POLL).await;
            continue;
        }
        let dropped = client.execute("select pg_catalog.pg_drop_replication_slot($1)", &[&name]).await;
        match dropped.map_err(|error| errors::client(error, Context::Slot)) {
            Ok(_) => return Ok(()),
            // Its reader came back in between.
            Err(fault) if fault.code() == Code::SlotInUse && force => tokio::time::sleep(RELEASE_POLL).await,
            Err(fault) => return Err(fault),
        }
    }
}

/// Moves a slot forward and returns where it is then; changes in between are given up.
///
/// # Errors
/// Fails with `SLOT_MISSING` or `SLOT_IN_USE`.
pub async fn advance(client: &Client, name: &str, to: Lsn) -> Result<Lsn, Fault> {
    let statement = "select end_lsn::text from pg_catalog.pg_replication_slot_advance($1, $2::text::pg_lsn)";
    let moved = client.query_one(statement, &[&name, &to.to_string()]).await;
    let row = moved.map_err(|error| errors::client(error, Context::Slot))?;
    text_lsn(&row, 0)?.ok_or_else(|| Fault::new(Code::Internal, "a slot was moved to nowhere"))
}

/// Makes the fault of a slot that another process reads.
pub(crate) fn in_use(pid: i32) -> Fault {
    Fault::new(Code::SlotInUse, format!("held by the process {pid}"))
}

/// Returns the server's version as a number such as 150018.
pub(crate) async fn server_version(client: &Client) -> Result<i32, Fault> {
    let statement = "select pg_catalog.current_setting('server_version_num')::int";
    Ok(client.query_one(statement, &[]).await.map_err(errors::sql)?.get(0))
}

/// Returns the open transactions that have written, oldest first, a few: any, or those with a lower number.
///
/// A slot's creation waits for each of them, and so does the beginning of an epoch.
pub async fn blockers(client: &Client, below: Option<&str>) -> Result<Vec<Blocker>, Fault> {
    let statement = "
        select pid, database, name, open_seconds from (
            select pid, coalesce(datname::text, '') as database, application_name as name, backend_xid as xid,
                coalesce(extract(epoch from pg_catalog.clock_timestamp() - xact_start)::bigint, 0) as open_seconds
            from pg_catalog.pg_stat_activity where backend_xid is not null and pid <> pg_catalog.pg_backend_pid()
            union all
            select null, database::text, gid, transaction,
                extract(epoch from pg_catalog.clock_timestamp() - prepared)::bigint
            from pg_catalog.pg_prepared_xacts
        ) as open
        where $1::text is null
            or pg_catalog.age(xid) > pg_catalog.age(($1::text::pg_catalog.xid8)::pg_catalog.xid)
        order by open_seconds desc limit 5";
    let rows = client.query(statement, &[&below]).await.map_err(errors::sql)?;
    let blocker = |row: &Row| Blocker {
        pid: row.get(0),
        database: row.get(1),
        name: row.get::<_, Option<String>>(2).unwrap_or_default(),
        open_seconds: row.get(3),
    };
    Ok(rows.iter().map(blocker).collect())
}

/// Adds who holds the slots where there is none left (PG-17).
async fn explain(fault: Fault, side: &Client) -> Fault {
    if fault.code() != Code::SlotsExhausted {
        return fault;
    }
    let Ok(slots) = list(side).await else { return fault };
    let names: Vec<_> = slots.into_iter().map(|slot| slot.name).collect();
    Fault::new(Code::SlotsExhausted, format!("in use are: {}", names.join(", "))).with_source(fault)
}

fn slot(row: &Row) -> Result<Slot, Fault> {
    Ok(Slot {
        name: row.get(0),
        plugin: row.get(1),
        database: row.get(2),
        active_pid: row.get(3),
        wal_status: row.get(4),
        restart: text_lsn(row, 5)?,
        confirmed: text_lsn(row, 6)?,
        temporary: row.get(7),
        safe_wal_bytes: row.get(8),
        retained_bytes: row.get(9),
        lag_bytes: row.get(10),
        catalog_xmin_age: row.get(11),
        invalidation: row.get(12),
        failover: row.get(13),
    })
}

fn text_lsn(row: &Row, index: usize) -> Result<Option<Lsn>, Fault> {
    let text: Option<&str> = row.get(index);
    let unreadable = |error| Fault::new(Code::Internal, "the server printed no WAL position").with_source(error);
    text.map(|text| text.parse::<Lsn>().map_err(unreadable)).transpose()
}

/// Cancels a statement that is still running when its caller goes away.
struct CancelOnDrop<'a> {
    info: &'a ConnectionInfo,
    token: Option<tokio_postgres::CancelToken>,
}

impl CancelOnDrop<'_> {
    fn disarm(mut self) {
        self.token = None;
    }
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            antiphon_engine::spawn("cancel slot creation", cancel(self.info.clone(), token));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_the_server_cuts_or_refuses_them_pg_16() {
        for good in ["a", "antiphon_slot_1", &"a".repeat(63)] {
            assert!(check_name("slot", good).is_ok(), "{good}");
        }
        for bad in ["", "A", "a-b", "a b", "ä", "a\"", &"a".repeat(64)] {
            assert_eq!(check_name("slot", bad).unwrap_err().code(), Code::ConfigInvalid, "{bad}");
        }
    }
}
