//! The states that a source may be in besides being captured: a closed list, each with a level, words and a remedy.
//!
//! Pure: from what was read to what it means, so that every threshold is a line of a table in a test.
//! Law: a slot is never dropped here nor by whoever reads this; the remedy says what to do and what it costs.

use serde::Serialize;

use super::{Holder, HoldsBy, PartitionChange, PartitionEvent, Watched};
use crate::{quote, slots::Slot};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Worth knowing.
    Notice,
    /// It will go wrong unless somebody acts.
    Warning,
    /// It goes wrong now, or within the hour.
    Urgent,
}

macro_rules! kinds {
    ($($(#[doc = $text:literal])* $variant:ident $name:literal $title:literal;)*) => {
        /// A state's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ConcernKind {
            $($(#[doc = $text])* $variant,)*
        }

        impl ConcernKind {
            /// Every kind, the gravest first.
            pub const ALL: &[ConcernKind] = &[$(ConcernKind::$variant,)*];

            /// Returns the word in documents and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(ConcernKind::$variant => $name,)* }
            }

            /// Returns a sentence for people, without particulars.
            pub const fn title(self) -> &'static str {
                match self { $(ConcernKind::$variant => $title,)* }
            }
        }
    };
}

kinds! {
    /// The server no longer has what the slot needs.
    SlotLost "slot_lost" "the server gave our replication slot up";
    /// The slot's limit comes near.
    SlotFilling "slot_filling" "our replication slot holds back much of the server's log";
    /// The publication is not there.
    PublicationMissing "publication_missing" "the publication is not there";
    /// It leaves kinds of changes out.
    PublicationIncomplete "publication_incomplete" "the publication leaves kinds of changes out";
    /// A declared table is not carried.
    TableUnpublished "table_unpublished" "changes of a declared table are not captured";
    /// Old rows of a table lack key or organisation.
    IdentityUnready "identity_unready" "old rows of a table do not hold what capture needs";
    /// Something else stands in the way of a table.
    TableUnready "table_unready" "a declared table is not fully prepared";
    /// Rows of a partition came or went without the stream.
    PartitionsChanged "partitions_changed" "rows of a partition came or went, of which the server's stream says nothing";
    /// Nobody reads our slot.
    SlotUnread "slot_unread" "nobody reads our replication slot";
    /// The server gives up slots that are idle.
    SlotIdleLimit "slot_idle_limit" "this server gives up replication slots that nobody reads for a while";
    /// A transaction that is open for long holds the log.
    TransactionHolds "transaction_holds" "a transaction that is open for long holds back log or old rows";
    /// What the slot keeps of the catalogue grows old.
    CatalogueOld "catalogue_old" "our replication slot keeps the server from removing old rows of its catalogue";
    /// A slot of somebody else is read by nobody.
    SlotOrphaned "slot_orphaned" "a replication slot that nobody reads holds back the server's log";
    /// Many slots decode the same log.
    SlotsMany "slots_many" "many replication slots decode the server's log, each all of it";
    /// Nothing limits what a slot holds.
    SlotUnlimited "slot_unlimited" "nothing limits how much log a replication slot may hold back";
}

/// A state with its particulars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Concern {
    /// Its name.
    pub state: ConcernKind,
    /// How much it matters.
    pub level: Level,
    /// What it is about: a slot, a table.
    pub subject: String,
    /// What was found.
    pub detail: String,
    /// What to do, as a statement or command where there is one.
    pub remedy: String,
}

/// Without a limit of the server, so much log is worth a word, and so much is not healthy, in bytes.
const RETAINED_NOTICE_BYTES: i64 = 1 << 30;
const RETAINED_WARNING_BYTES: i64 = 2 << 30;
/// A loss that is nearer than this is urgent, and one nearer than that is warned of, in seconds.
const LOSS_URGENT_SECONDS: u64 = 3_600;
const LOSS_WARNING_SECONDS: u64 = 6 * 3_600;
/// So old a transaction is worth a word, and so old one is warned of, in seconds.
const OPEN_NOTICE_SECONDS: i64 = 300;
const OPEN_WARNING_SECONDS: i64 = 3_600;
/// Transactions since the oldest that the slot keeps: beyond these vacuum is far behind (PG-10).
const AGE_WARNING: i64 = 200_000_000;
const AGE_URGENT: i64 = 1_000_000_000;
/// More logical slots than this cost the server noticeably (PG-102).
const SLOTS_USUAL_MAX: usize = 3;

/// Returns after how many seconds the slot is lost, at the present rate.
pub(super) fn seconds_until_loss(watched: &Watched) -> Option<u64> {
    let safe = watched.slot.as_ref().filter(|slot| !slot.lost())?.safe_wal_bytes?;
    let rate = watched.log_bytes_per_second.filter(|rate| *rate > 0)?;
    Some(u64::try_from(safe).unwrap_or(0) / rate)
}

/// Makes states of what was read, the gravest first.
pub fn concerns(watched: &Watched) -> Vec<Concern> {
    let mut found = Vec::new();
    if let Some(slot) = &watched.slot {
        own_slot(slot, watched, &mut found);
    }
    others(watched, &mut found);
    found.extend(watched.holders.iter().filter_map(holder));
    publication(watched, &mut found);
    tables(watched, &mut found);
    found.extend(watched.partitions.iter().map(partition));
    found.sort_by_key(|concern| (std::cmp::Reverse(concern.level), concern.state));
    found
}

fn own_slot(slot: &Slot, watched: &Watched, found: &mut Vec<Concern>) {
    let concern = |state, level, detail: String, remedy: &str| Concern {
        state,
        level,
        subject: slot.name.clone(),
        detail,
        remedy: remedy.to_owned(),
    };
    if slot.lost() {
        let reason = slot.invalidation.as_deref().unwrap_or("wal_removed");
        let detail = format!("the server gave the slot up: {reason}");
        return found.push(concern(ConcernKind::SlotLost, Level::Urgent, detail, lost_remedy(reason)));
    }
    let unread = slot.active_pid.is_none();
    if let Some((level, detail)) = filling(slot, watched) {
        let remedy = match unread {
            true => {
                "start `antiphon serve`, or resume it; if capture is to end, `antiphon slots drop` gives the log free"
            }
            false => "see what holds capture back; raise max_slot_wal_keep_size if the server's disk allows it",
        };
        found.push(concern(ConcernKind::SlotFilling, level, detail, remedy));
    }
    if unread {
        let detail = format!("it holds back {} of log and nobody reads it", size(slot.retained_bytes));
        let remedy = "start `antiphon serve`, or resume it; nothing is lost while the server keeps the log";
        found.push(concern(ConcernKind::SlotUnread, Level::Notice, detail, remedy));
    }
    if let Some(seconds) = watched.idle_timeout_seconds {
        let level = if unread { Level::Warning } else { Level::Notice };
        let detail =
            format!("a slot that nobody reads for {} is given up (idle_replication_slot_timeout)", time(seconds));
        let remedy = "alter system set idle_replication_slot_timeout = 0; select pg_reload_conf();";
        found.push(concern(ConcernKind::SlotIdleLimit, level, detail, remedy));
    }
    if watched.keep_bytes_max.is_none() {
        let remedy = "alter system set max_slot_wal_keep_size = '20GB'; select pg_reload_conf();";
        let detail = "max_slot_wal_keep_size is unlimited: a slot that stands still fills the server's disk".to_owned();
        found.push(concern(ConcernKind::SlotUnlimited, Level::Notice, detail, remedy));
    }
    let age = i64::from(slot.catalog_xmin_age.unwrap_or(0));
    if age >= AGE_WARNING {
        let level = if age >= AGE_URGENT { Level::Urgent } else { Level::Warning };
        let detail = format!("{age} transactions began since the oldest row of the catalogue that it keeps");
        let remedy = "let capture go on and end what holds it back; dropping the slot frees it and needs a new epoch";
        found.push(concern(ConcernKind::CatalogueOld, level, detail, remedy));
    }
}

/// Each reason for which a server gives a slot up has a cause of its own (PG-04).
fn lost_remedy(reason: &str) -> &'static str {
    match reason {
        "idle_timeout" => {
            "raise or unset idle_replication_slot_timeout, which gave it up while nobody read; then begin a new epoch"
        }
        "wal_level_insufficient" => "set wal_level = logical, restart the server, then begin a new epoch",
        "rows_removed" | "conflicts with recovery" => {
            "set hot_standby_feedback = on where the slot is on a standby, then begin a new epoch"
        }
        _ => {
            "raise max_slot_wal_keep_size, which was too small for how long capture stood still; then begin a new epoch"
        }
    }
}

fn filling(slot: &Slot, watched: &Watched) -> Option<(Level, String)> {
    let retained = slot.retained_bytes.unwrap_or(0);
    let until = seconds_until_loss(watched);
    let by_time = until.and_then(|seconds| match seconds {
        seconds if seconds <= LOSS_URGENT_SECONDS => Some(Level::Urgent),
        seconds if seconds <= LOSS_WARNING_SECONDS => Some(Level::Warning),
        _ => None,
    });
    let by_bytes = match watched.keep_bytes_max.filter(|max| *max > 0) {
        Some(max) if retained >= max / 100 * 95 => Some(Level::Urgent),
        Some(max) if retained >= max / 100 * 80 => Some(Level::Warning),
        Some(max) if retained >= max / 100 * 50 => Some(Level::Notice),
        None if retained >= RETAINED_WARNING_BYTES => Some(Level::Warning),
        None if retained >= RETAINED_NOTICE_BYTES => Some(Level::Notice),
        _ => None,
    };
    // A short time says little while most of the limit is free: a burst passes.
    let level = by_bytes.map(|bytes| by_time.map_or(bytes, |time| time.max(bytes)))?;
    let limit = watched.keep_bytes_max.map(|max| format!(" of {} allowed", size(Some(max)))).unwrap_or_default();
    let loss =
        until.map(|seconds| format!("; at the present rate it is lost in {}", time_of(seconds))).unwrap_or_default();
    Some((level, format!("it holds back {} of log{limit}{loss}", size(Some(retained)))))
}

fn others(watched: &Watched, found: &mut Vec<Concern>) {
    for slot in watched.others.iter().filter(|slot| slot.active_pid.is_none() && !slot.temporary) {
        let level = match slot.retained_bytes.unwrap_or(0) {
            retained if retained >= RETAINED_WARNING_BYTES => Level::Warning,
            _ => Level::Notice,
        };
        let database = slot.database.as_deref().map(|name| format!(" of database `{name}`")).unwrap_or_default();
        found.push(Concern {
            state: ConcernKind::SlotOrphaned,
            level,
            subject: slot.name.clone(),
            detail: format!("a slot{database} holds back {} of log and nobody reads it", size(slot.retained_bytes)),
            remedy: format!("if nobody needs it: antiphon slots drop {}", slot.name),
        });
    }
    let logical = watched.others.iter().chain(&watched.slot).filter(|slot| slot.plugin.is_some()).count();
    if logical > SLOTS_USUAL_MAX {
        found.push(Concern {
            state: ConcernKind::SlotsMany,
            level: Level::Notice,
            subject: watched.slot_name.clone(),
            detail: format!("{logical} logical slots each decode all of the server's log"),
            remedy: "let several consumers read one capture, or drop slots that nobody needs: antiphon slots list"
                .to_owned(),
        });
    }
}

fn holder(holder: &Holder) -> Option<Concern> {
    let level = match holder.open_seconds {
        seconds if seconds >= OPEN_WARNING_SECONDS || holder.age >= AGE_WARNING => Level::Warning,
        seconds if seconds >= OPEN_NOTICE_SECONDS => Level::Notice,
        _ => return None,
    };
    let (what, remedy) = match (holder.by, holder.pid) {
        (HoldsBy::Prepared, _) | (_, None) => {
            let name = quote::literal(&holder.name).unwrap_or_default();
            let remedy = format!("rollback prepared {name}; -- or commit it, in database {}", holder.database);
            (format!("a transaction prepared as {name}"), remedy)
        }
        (HoldsBy::Writing, Some(pid)) => {
            (format!("a writing transaction of the process {pid}"), format!("select pg_terminate_backend({pid});"))
        }
        (HoldsBy::Reading, Some(pid)) => {
            (format!("a reading transaction of the process {pid}"), format!("select pg_terminate_backend({pid});"))
        }
    };
    Some(Concern {
        state: ConcernKind::TransactionHolds,
        level,
        subject: holder.pid.map_or_else(|| holder.name.clone(), |pid| pid.to_string()),
        detail: format!(
            "{what} in database `{}` has been open for {}; {} transactions began since",
            holder.database,
            time(holder.open_seconds),
            holder.age
        ),
        remedy: format!("if it was forgotten: {remedy}"),
    })
}

fn publication(watched: &Watched, found: &mut Vec<Concern>) {
    let name = &watched.publication_name;
    let concern =
        |state, level, detail: String, remedy: String| Concern { state, level, subject: name.clone(), detail, remedy };
    match &watched.publication {
        // Before the first start neither is there, and nothing is wrong.
        None if watched.slot.is_some() => {
            let detail = format!("there is no publication {name}, so nothing is captured");
            let remedy = "antiphon entities add puts the tables back; then begin a new epoch".to_owned();
            found.push(concern(ConcernKind::PublicationMissing, Level::Urgent, detail, remedy));
        }
        Some(publication) if !publication.unpublished.is_empty() => {
            let detail = format!("it leaves out: {}", publication.unpublished.join(", "));
            let quoted = quote::ident(name).unwrap_or_default();
            let remedy = format!(
                "alter publication {quoted} set (publish = 'insert, update, delete, truncate'); then begin a new epoch"
            );
            found.push(concern(ConcernKind::PublicationIncomplete, Level::Urgent, detail, remedy));
        }
        _ => {}
    }
}

fn tables(watched: &Watched, found: &mut Vec<Concern>) {
    for table in &watched.tables {
        let Some(problem) = &table.problem else { continue };
        let (state, level) = match table {
            table if !table.published && watched.publication.is_some() => {
                (ConcernKind::TableUnpublished, Level::Urgent)
            }
            table if !table.identity_ready || !table.index_valid => (ConcernKind::IdentityUnready, Level::Urgent),
            _ => (ConcernKind::TableUnready, Level::Warning),
        };
        found.push(Concern {
            state,
            level,
            subject: table.table.to_string(),
            detail: problem.clone(),
            remedy: format!(
                "antiphon entities add {} --table {} --dry-run shows what is missing",
                table.entity_type, table.table
            ),
        });
    }
}

fn partition(change: &PartitionChange) -> Concern {
    let (what, instead) = match change.event {
        PartitionEvent::Emptied => {
            ("was emptied by itself, so clients go on showing its rows", "`delete from` tells each row")
        }
        PartitionEvent::TakenOff => {
            ("was taken off with its rows, so clients go on showing them", "delete its rows before it goes")
        }
        PartitionEvent::PutOn => ("was put on with its rows, so clients lack them", "insert its rows after it came"),
    };
    Concern {
        state: ConcernKind::PartitionsChanged,
        level: Level::Warning,
        subject: change.table.to_string(),
        detail: format!("the partition {} {what}", change.partition),
        remedy: format!("antiphon resync copies the tables anew; next time, {instead}"),
    }
}

fn size(bytes: Option<i64>) -> String {
    crate::doctor::size(bytes.unwrap_or(0))
}

fn time_of(seconds: u64) -> String {
    time(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// Writes a span of time as people read it.
fn time(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
