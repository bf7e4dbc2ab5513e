//! A standby's part: whether it copies slots, and how its copy of ours stands.
//!
//! A copy counts only when it is persistent: one that is still temporary vanishes at the promotion (PG-25).

use std::time::Duration;

use antiphon_engine::Fault;
use antiphon_model::Code;
use tokio_postgres::Client;

use super::{Lack, Primary, Readiness};
use crate::{ConnectionInfo, connect::connect_sql, errors, quote};

/// A standby that does not answer keeps the others from being looked at for so long.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

const STANDBY: &str = "
    select pg_catalog.pg_is_in_recovery(), (select system_identifier::text from pg_catalog.pg_control_system()),
        coalesce(nullif(current_setting('cluster_name', true), ''), $1::text),
        current_setting('sync_replication_slots', true), current_setting('hot_standby_feedback'),
        current_setting('primary_slot_name'),
        case when pg_catalog.pg_has_role('pg_read_all_settings', 'usage') then current_setting('primary_conninfo') end";

const COPY: &str = "
    select coalesce(pg_catalog.to_jsonb(s) ->> 'synced', 'false') = 'true', s.temporary,
        nullif(pg_catalog.to_jsonb(s) ->> 'invalidation_reason', '')
    from pg_catalog.pg_replication_slots s where s.slot_name = $1";

/// Looks at a host, known to people by its place; one that is no standby is passed over, unless it was named as one.
pub(super) async fn look(
    host: &ConnectionInfo,
    place: &str,
    explicit: bool,
    primary: &Primary,
    readiness: &mut Readiness,
) {
    let looked = async {
        let client = connect_sql(host, "antiphon failover").await?;
        settings(&client, place, explicit, primary, readiness).await
    };
    let late = Err(Fault::new(Code::SourceUnreachable, "no answer in time"));
    if let Err(fault) = tokio::time::timeout(LOOK_TIMEOUT, looked).await.unwrap_or(late) {
        tracing::debug!(error = %fault.chain(), "a standby could not be looked at");
        let detail = format!("{place}: {}", fault.code().title());
        readiness.lack(Lack::StandbyUnreachable, Some(place), detail, "start it, or correct its address");
    }
}

async fn settings(
    client: &Client,
    place: &str,
    explicit: bool,
    primary: &Primary,
    readiness: &mut Readiness,
) -> Result<(), Fault> {
    let row = client.query_one(STANDBY, &[&place]).await.map_err(errors::sql)?;
    let (recovers, system_identifier, name): (bool, String, String) = (row.get(0), row.get(1), row.get(2));
    if system_identifier != primary.system_identifier {
        let detail = format!("{place} belongs to another cluster");
        readiness.lack(Lack::StandbyForeign, Some(place), detail, "correct its address");
        return Ok(());
    }
    if !recovers {
        if explicit {
            let detail = format!("{place} is no standby: it takes writes");
            readiness.lack(Lack::StandbyForeign, Some(place), detail, "take it out of `standby_url`");
        }
        return Ok(());
    }
    readiness.seen.push(name.clone());
    let text = |index: usize| row.get::<_, Option<String>>(index).unwrap_or_default();
    let on = |setting: &str| format!("on the standby: alter system set {setting}; select pg_reload_conf();");
    let mut lack = |lack, detail: String, remedy: String| readiness.lack(lack, Some(&name), detail, remedy);
    if text(3) != "on" {
        lack(Lack::SyncOff, format!("{name} does not copy slots"), on("sync_replication_slots = on"));
    }
    if text(4) != "on" {
        let detail = format!("{name} may lose its copy of the slot to a vacuum of the primary");
        lack(Lack::FeedbackOff, detail, on("hot_standby_feedback = on"));
    }
    if text(5).is_empty() {
        let detail = format!("{name} follows without a physical slot, so it cannot copy slots");
        let remedy = "on the primary: select pg_create_physical_replication_slot('standby', true); ".to_owned();
        lack(Lack::PrimarySlotUnset, detail, remedy + &on("primary_slot_name = 'standby'"));
    }
    if !text(6).is_empty() && !text(6).contains("dbname") {
        let detail = format!("{name} does not know in which database to ask for slots (primary_conninfo)");
        let remedy = on(&format!("primary_conninfo = '<as before> dbname={}'", primary.database));
        lack(Lack::PrimaryDatabaseUnset, detail, remedy);
    }
    copy(client, &name, primary, readiness).await
}

async fn copy(client: &Client, standby: &str, primary: &Primary, readiness: &mut Readiness) -> Result<(), Fault> {
    let slot = &primary.slot.name;
    let row = client.query_opt(COPY, &[slot]).await.map_err(errors::sql)?;
    let mut lack = |lack, detail: String, remedy: String| readiness.lack(lack, Some(standby), detail, remedy);
    let Some(row) = row else {
        let detail = format!("{standby} has no copy of `{slot}`");
        let remedy = "see to the lacks above; the copy comes by itself within a minute".to_owned();
        lack(Lack::SlotNotCopied, detail, remedy);
        return Ok(());
    };
    let (synced, temporary, invalidation): (bool, bool, Option<String>) = (row.get(0), row.get(1), row.get(2));
    let dropped = format!("on the standby: select pg_drop_replication_slot({});", quote::literal(slot)?);
    if !synced {
        let detail = format!("{standby} has a slot `{slot}` of its own, which keeps the copy from being made");
        lack(Lack::SlotNameTaken, detail, dropped);
    } else if let Some(reason) = invalidation {
        let detail = format!("{standby} gave its copy of `{slot}` up ({reason})");
        lack(Lack::SlotInvalidated, detail, dropped);
    } else if temporary {
        let detail = format!("the copy of `{slot}` on {standby} is not persistent yet and would vanish");
        let remedy = "wait: it becomes so once the standby has caught up with the slot; write something if the \
                      primary is idle";
        lack(Lack::SlotTemporary, detail, remedy.to_owned());
    }
    Ok(())
}
