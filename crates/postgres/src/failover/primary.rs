//! The primary's part: version, slot, who follows, and whom it waits for.
//!
//! A promoted standby lacks nothing that was streamed only where the primary waited for it; and whoever waits for a
//! standby that is gone sends nothing. Both are asked of the server's own views; nothing is guessed from names of hosts.

use antiphon_engine::Fault;
use antiphon_model::Code;
use tokio_postgres::Client;

use super::{Lack, Primary, Readiness, VERSION_MIN};
use crate::{errors, quote, slots};

const SERVER: &str = "
    select current_setting('server_version_num')::int, pg_catalog.current_database()::text,
        (select system_identifier::text from pg_catalog.pg_control_system())";

/// Who follows the log as a whole, with the physical slot by which; copies being made do not count.
const STANDBYS: &str = "
    select coalesce(nullif(r.application_name, ''), 'process ' || r.pid), s.slot_name::text
    from pg_catalog.pg_stat_replication r left join pg_catalog.pg_replication_slots s on s.active_pid = r.pid
    where r.state <> 'backup' and coalesce(s.slot_type, 'physical') = 'physical' order by 1";

/// The setting as the server splits it, with what it finds under each name.
const AWAITED: &str = "
    select name, s.slot_name is not null and s.slot_type = 'physical', coalesce(s.active, false),
        coalesce(s.wal_status = 'lost', false)
    from pg_catalog.unnest(pg_catalog.string_to_array(
            pg_catalog.replace(coalesce(current_setting('synchronized_standby_slots', true), ''), ' ', ''), ','))
        as name
    left join pg_catalog.pg_replication_slots s on s.slot_name = pg_catalog.btrim(name, '\"')
    where name <> ''";

/// Looks at the primary; `None` where there is no slot of ours to carry over, or no way to.
pub(super) async fn look(client: &Client, name: &str, readiness: &mut Readiness) -> Result<Option<Primary>, Fault> {
    let row = client.query_one(SERVER, &[]).await.map_err(errors::sql)?;
    let (version, database, system_identifier): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
    let rows = client.query(STANDBYS, &[]).await.map_err(errors::sql)?;
    readiness.standbys = rows.iter().map(|row| row.get(0)).collect();
    if version < VERSION_MIN {
        if !readiness.standbys.is_empty() {
            let detail = format!("Postgres {} does not carry the slot over to standbys", version / 10_000);
            let remedy = "upgrade to Postgres 17 or newer; until then a failover ends in `antiphon resync`";
            readiness.lack(Lack::VersionOld, None, detail, remedy);
        }
        return Ok(None);
    }
    if let Err(fault) = check_standbys(client).await {
        if fault.code() != Code::StandbyWaits {
            return Err(fault);
        }
        let remedy = "start that standby; or, where it is gone for good, on the primary: \
                      alter system reset synchronized_standby_slots; select pg_reload_conf();";
        readiness.lack(Lack::StandbyWaits, None, fault.detail().to_owned(), remedy);
    }
    let Some(slot) = slots::find(client, name).await? else { return Ok(None) };
    if !slot.failover {
        let remedy = format!(
            "stop antiphon for a moment, then: psql \"<the connection URL>&replication=database\" \
             -c 'alter_replication_slot {} (failover true)'",
            quote::ident(name)?
        );
        readiness.lack(Lack::SlotNotForFailover, None, format!("`{name}` was not made for failover"), remedy);
    }
    awaits(client, &rows, readiness).await?;
    Ok(Some(Primary { system_identifier, database, slot }))
}

/// Finds standbys that the primary does not wait for: promoted, they may lack what was streamed.
async fn awaits(client: &Client, standbys: &[tokio_postgres::Row], readiness: &mut Readiness) -> Result<(), Fault> {
    let awaited = client.query(AWAITED, &[]).await.map_err(errors::sql)?;
    let awaited: Vec<String> = awaited.iter().map(|row| row.get(0)).collect();
    for row in standbys {
        let (standby, slot): (String, Option<String>) = (row.get(0), row.get(1));
        let Some(slot) = slot else {
            let detail = format!("{standby} follows without a physical slot, so the primary cannot wait for it");
            let remedy = format!(
                "on the primary: select pg_create_physical_replication_slot({0}, true); on the standby: \
                 alter system set primary_slot_name = {0}; select pg_reload_conf();",
                quote::literal(&slot_name(&standby))?
            );
            readiness.lack(Lack::StandbyNotAwaited, Some(&standby), detail, remedy);
            continue;
        };
        if !awaited.contains(&slot) {
            let detail = format!("{standby} may lack changes that clients have seen (synchronized_standby_slots)");
            let names: Vec<&str> = awaited.iter().map(String::as_str).chain([slot.as_str()]).collect();
            let remedy = format!(
                "on the primary: alter system set synchronized_standby_slots = {}; select pg_reload_conf();",
                quote::literal(&names.join(","))?
            );
            readiness.lack(Lack::StandbyNotAwaited, Some(&standby), detail, remedy);
        }
    }
    Ok(())
}

/// Makes a name that is fit for a slot.
fn slot_name(text: &str) -> String {
    let fit = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' };
    text.to_ascii_lowercase().chars().map(fit).take(63).collect()
}

/// Finds out whether the server holds changes back for a standby that is not there (PG-26).
///
/// # Errors
/// Fails with `STANDBY_WAITS`, naming the standby's slot.
pub(crate) async fn check_standbys(client: &Client) -> Result<(), Fault> {
    for row in client.query(AWAITED, &[]).await.map_err(errors::sql)? {
        let (name, physical, active, lost): (String, bool, bool, bool) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        let what = match (physical, lost, active) {
            (false, ..) => "is not a physical slot of this server",
            (_, true, _) => "has lost the log that its standby needs",
            (_, _, false) => "has no standby connected",
            _ => continue,
        };
        let detail = format!(
            "`synchronized_standby_slots` names {name}, which {what}; to wait for it no longer: \
             alter system reset synchronized_standby_slots; select pg_reload_conf();"
        );
        return Err(Fault::new(Code::StandbyWaits, detail));
    }
    Ok(())
}
