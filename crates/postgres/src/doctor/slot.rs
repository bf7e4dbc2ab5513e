//! Slots: how many are free, the state of ours, and how much log it may hold back before the server gives it up.
//!
//! A slot that nobody reads fills the disk or is lost; both are told of while there is time. It neither makes nor drops
//! a slot.

use std::path::Path;

use antiphon_engine::Fault;
use antiphon_model::Code;
use tokio_postgres::Client;

use super::{Findings, size};
use crate::{ConnectionInfo, errors, quote, slots};

/// So much retained log is worth a look, and so much more is not healthy, where no limit says what is.
const RETAINED_WARN_BYTES: i64 = 1 << 30;
const RETAINED_UNHEALTHY_BYTES: i64 = 2 << 30;
/// A transaction that has written and is open for so long is worth a look before capture begins.
const OPEN_WARN_SECONDS: i64 = 10;
/// A disk with less than this may be full before anyone has read the warning.
const DISK_FREE_MIN_BYTES: u64 = 1 << 30;

const CAPACITY: &str = "
    select current_setting('max_replication_slots')::int, current_setting('max_wal_senders')::int,
        (select count(*)::int from pg_catalog.pg_stat_replication)";

pub(super) async fn capacity(client: &Client, own: &str, findings: &mut Findings) -> Result<(), Fault> {
    let row = client.query_one(CAPACITY, &[]).await.map_err(errors::sql)?;
    let number = |column| row.try_get::<_, i32>(column).map_err(errors::sql);
    let (slots_max, senders_max, senders) = (number(0)?, number(1)?, number(2)?);
    let held = slots::list(client).await?;
    let ours = held.iter().any(|slot| slot.name == own);
    let used = held.len();
    if !ours && used >= usize::try_from(slots_max).unwrap_or(0) {
        let names: Vec<&str> = held.iter().map(|slot| slot.name.as_str()).collect();
        let detail = format!("all {slots_max} replication slots are taken: {}", names.join(", "));
        let remedy = format!("alter system set max_replication_slots = {}; -- then restart the server", slots_max + 5);
        findings.problem("slots_free", Code::SlotsExhausted, detail, Some(remedy));
    } else {
        findings.ok("slots_free", format!("{used} of {slots_max} replication slots are taken"));
    }
    if senders >= senders_max && !held.iter().any(|slot| slot.name == own && slot.active_pid.is_some()) {
        let detail = format!("all {senders_max} WAL senders are taken");
        let remedy = format!("alter system set max_wal_senders = {}; -- then restart the server", senders_max + 5);
        findings.problem("senders_free", Code::SlotsExhausted, detail, Some(remedy));
    } else {
        findings.ok("senders_free", format!("{senders} of {senders_max} WAL senders are taken"));
    }
    Ok(())
}

const LIMITS: &str = "
    select pg_catalog.pg_size_bytes(s.setting || s.unit)
    from pg_catalog.pg_settings s where s.name = 'max_slot_wal_keep_size' and s.setting <> '-1'";
const IDLE_TIMEOUT: &str = "
    select s.setting || coalesce(s.unit, '')
    from pg_catalog.pg_settings s where s.name = 'idle_replication_slot_timeout' and s.setting <> '0'";

pub(super) async fn check(
    client: &Client,
    info: &ConnectionInfo,
    name: &str,
    findings: &mut Findings,
) -> Result<(), Fault> {
    let limit = client.query_opt(LIMITS, &[]).await.map_err(errors::sql)?;
    let limit: Option<i64> = limit.map(|row| row.try_get(0)).transpose().map_err(errors::sql)?;
    match limit {
        Some(limit) => findings.ok("slot_limit", format!("a slot may hold back {} of log", size(limit))),
        None => {
            let remedy = "alter system set max_slot_wal_keep_size = '20GB'; select pg_reload_conf();".to_owned();
            let detail = "a slot that nobody reads may fill the server's disk (max_slot_wal_keep_size is unlimited)";
            findings.warn("slot_limit", detail, Some(remedy));
        }
    }
    // The server knows this setting from 18 on.
    if let Some(row) = client.query_opt(IDLE_TIMEOUT, &[]).await.map_err(errors::sql)? {
        let timeout: String = row.try_get(0).map_err(errors::sql)?;
        let detail = format!("the server gives up a slot that was idle for {timeout} (idle_replication_slot_timeout)");
        let remedy = "alter system set idle_replication_slot_timeout = 0; select pg_reload_conf();".to_owned();
        findings.warn("slot_idle_timeout", detail, Some(remedy));
    }
    open_transactions(client, findings).await?;
    let Some(slot) = slots::find(client, name).await? else {
        findings.ok("slot", format!("`{name}` is not there yet; the first start creates it"));
        return Ok(());
    };
    let foreign = slot.plugin.as_deref() != Some(slots::PLUGIN) || slot.database.as_deref() != Some(info.database());
    if foreign {
        let detail = format!("`{name}` belongs to another plugin or database");
        findings.problem("slot", Code::SlotForeign, detail, Some("choose another `slot` in [database]".to_owned()));
    } else if slot.lost() {
        let reason = slot.invalidation.unwrap_or_else(|| "the log that it needed was removed".to_owned());
        findings.problem("slot", Code::SlotLost, format!("`{name}`: {reason}"), Some(Code::SlotLost.hint().to_owned()));
    } else {
        retained(&slot, limit, findings);
    }
    Ok(())
}

/// Tells of transactions that the beginning of capture would wait for, or waits for now.
async fn open_transactions(client: &Client, findings: &mut Findings) -> Result<(), Fault> {
    let open = slots::blockers(client, None).await?;
    let Some(oldest) = open.first().filter(|oldest| oldest.open_seconds >= OPEN_WARN_SECONDS) else {
        findings.ok("open_transactions", "no transaction that writes has been open for long");
        return Ok(());
    };
    let seconds = oldest.open_seconds;
    let detail = format!("{oldest} has been open for {seconds} s; a first start, or a new epoch, waits for its end");
    let remedy = match oldest.pid {
        Some(pid) => format!("if it was forgotten: select pg_terminate_backend({pid});"),
        None => format!("if it was forgotten: rollback prepared {};", quote::literal(&oldest.name)?),
    };
    findings.warn("open_transactions", detail, Some(remedy));
    Ok(())
}

fn retained(slot: &slots::Slot, limit: Option<i64>, findings: &mut Findings) {
    let bytes = slot.retained_bytes.unwrap_or(0);
    let (warn, unhealthy) = match limit {
        Some(limit) => (limit / 2, limit / 5 * 4),
        None => (RETAINED_WARN_BYTES, RETAINED_UNHEALTHY_BYTES),
    };
    let reader = match slot.active_pid {
        Some(pid) => format!("the process {pid} reads it"),
        None => "nobody reads it".to_owned(),
    };
    let detail = format!("`{}` holds back {} of log; {reader}", slot.name, size(bytes));
    let remedy = format!("start `antiphon serve`, or give it up: antiphon slots drop {}", slot.name);
    if bytes >= unhealthy {
        findings.add("slot", super::Outcome::Problem, None, detail, Some(remedy));
    } else if bytes >= warn {
        findings.warn("slot", detail, Some(remedy));
    } else {
        findings.ok("slot", detail);
    }
}

/// Free space cannot be asked for in SQL; where the server's folder is on this machine it is looked at directly.
const DISK: &str = "
    select case when pg_catalog.pg_has_role('pg_read_all_settings', 'usage')
            then current_setting('data_directory') end,
        pg_catalog.inet_server_addr() is null
            or pg_catalog.inet_server_addr() <<= '127.0.0.0/8' or pg_catalog.inet_server_addr() = '::1'";

pub(super) async fn disk(client: &Client, findings: &mut Findings) -> Result<(), Fault> {
    let row = client.query_one(DISK, &[]).await.map_err(errors::sql)?;
    let folder: Option<String> = row.try_get(0).map_err(errors::sql)?;
    let local: bool = row.try_get(1).map_err(errors::sql)?;
    let space = folder.filter(|_| local).and_then(|folder| rustix::fs::statvfs(Path::new(&folder)).ok());
    let Some(space) = space else {
        findings.ok("disk", "the server's free space cannot be seen from here; watch it where the server runs");
        return Ok(());
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let whole = space.f_blocks.saturating_mul(space.f_frsize);
    let detail = format!("{} free", size(i64::try_from(free).unwrap_or(i64::MAX)));
    let remedy = || Some("make room on the disk of the server's data folder".to_owned());
    if free < DISK_FREE_MIN_BYTES {
        findings.problem("disk", Code::DiskFull, detail, remedy());
    } else if free < whole / 20 {
        findings.warn("disk", detail, remedy());
    } else {
        findings.ok("disk", detail);
    }
    Ok(())
}
