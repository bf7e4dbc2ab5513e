//! Whether a failover would go on without a gap: the slot's way to the standbys, looked at before anybody needs it.
//!
//! From Postgres 17 on a slot made for failover is copied to standbys that ask for it, and a primary that is told so
//! sends a change only when the standbys have it; then a promoted standby lacks nothing that was streamed. Each setting
//! of this chain that is missing is a named state with its remedy (PG-25, PG-26, PG-27).
//! The primary is asked for its part, each standby whose address is known for its own. Nothing is changed here.

mod primary;
mod standby;

use std::fmt;

use antiphon_engine::Fault;

pub(crate) use primary::check_standbys;

use crate::{ConnectionInfo, connect::connect_sql, slots::Slot};

/// The first version that carries logical slots over to standbys.
const VERSION_MIN: i32 = 170_000;

macro_rules! lacks {
    ($($(#[doc = $text:literal])* $variant:ident $name:literal $hinders:literal;)*) => {
        /// What a failover would meet.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Lack {
            $($(#[doc = $text])* $variant,)*
        }

        impl Lack {
            /// Every lack, in the order in which to see to them.
            pub const ALL: &[Lack] = &[$(Lack::$variant,)*];

            /// Returns the word in documents and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Lack::$variant => $name,)* }
            }

            /// Tells whether a failover would need a resync, or changes are held back now.
            pub const fn hinders(self) -> bool {
                match self { $(Lack::$variant => $hinders,)* }
            }
        }
    };
}

lacks! {
    /// The primary waits for a standby that is not there, and sends nothing.
    StandbyWaits "standby_waits" true;
    /// The server's version carries no slots over.
    VersionOld "version_old" true;
    /// The slot was not made for failover.
    SlotNotForFailover "slot_not_for_failover" true;
    /// A standby exists, and the primary does not wait for it before it sends.
    StandbyNotAwaited "standby_not_awaited" true;
    /// A standby exists, and its address is not known here.
    StandbyUnseen "standby_unseen" false;
    /// A standby does not answer.
    StandbyUnreachable "standby_unreachable" false;
    /// A host that was named as a standby belongs to another cluster.
    StandbyForeign "standby_foreign" false;
    /// A standby does not copy slots.
    SyncOff "sync_off" true;
    /// A standby does not tell the primary what it needs.
    FeedbackOff "feedback_off" true;
    /// A standby follows without a physical slot.
    PrimarySlotUnset "primary_slot_unset" true;
    /// A standby does not know in which database to ask for slots.
    PrimaryDatabaseUnset "primary_database_unset" true;
    /// A standby has no copy of the slot.
    SlotNotCopied "slot_not_copied" true;
    /// A standby has a slot of the same name that is its own.
    SlotNameTaken "slot_name_taken" true;
    /// A standby's copy of the slot is not persistent yet and would vanish.
    SlotTemporary "slot_temporary" true;
    /// A standby gave its copy of the slot up.
    SlotInvalidated "slot_invalidated" true;
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A lack as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub lack: Lack,
    /// The standby it is about: the name by which it follows, or its host.
    pub standby: Option<String>,
    /// What was seen.
    pub detail: String,
    /// The statement that puts it right, and where to run it.
    pub remedy: String,
}

/// How ready a source is for a failover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Standbys that follow the primary, by the names they give.
    pub standbys: Vec<String>,
    /// Standbys that were looked at.
    pub seen: Vec<String>,
    /// What is missing; where a standby exists and nothing is, a failover goes on without a gap.
    pub lacks: Vec<Found>,
}

impl Readiness {
    /// Sums it up in a word: `ready`, `no_standby`, or the first lack that hinders; else the first lack.
    pub fn word(&self) -> &'static str {
        let first = self.lacks.iter().find(|found| found.lack.hinders()).or(self.lacks.first());
        match first {
            Some(found) => found.lack.as_str(),
            None if self.standbys.is_empty() && self.seen.is_empty() => "no_standby",
            None => "ready",
        }
    }

    /// Tells whether a failover now would go on without a gap, as far as can be seen.
    pub fn ready(&self) -> bool {
        self.word() == "ready"
    }

    fn lack(&mut self, lack: Lack, standby: Option<&str>, detail: impl Into<String>, remedy: impl Into<String>) {
        let standby = standby.map(str::to_owned);
        self.lacks.push(Found { lack, standby, detail: detail.into(), remedy: remedy.into() });
    }
}

/// Looks at the primary and at every standby whose address is known: the other hosts of `info`, and those of `standbys`.
///
/// # Errors
/// Fails where the primary cannot be asked; a standby that cannot be is a lack.
pub async fn examine(info: &ConnectionInfo, standbys: Option<&ConnectionInfo>, slot: &str) -> Result<Readiness, Fault> {
    let client = connect_sql(info, "antiphon failover").await?;
    let mut readiness = Readiness::default();
    let Some(primary) = primary::look(&client, slot, &mut readiness).await? else { return Ok(readiness) };
    let hosts = info.each_host();
    // With one host there is nobody but the primary.
    for (number, host) in hosts.iter().enumerate().filter(|_| hosts.len() > 1) {
        let place = format!("host {} of the connection URL", number + 1);
        standby::look(host, &place, false, &primary, &mut readiness).await;
    }
    for (number, host) in standbys.iter().flat_map(|info| info.each_host()).enumerate() {
        let place = format!("host {} of `standby_url`", number + 1);
        standby::look(&host, &place, true, &primary, &mut readiness).await;
    }
    let named = hosts.len() > 1 || standbys.is_some();
    if !named && !readiness.standbys.is_empty() {
        let detail = format!("{} follows, and cannot be looked at from here", readiness.standbys.join(", "));
        let remedy = "name its address: `standby_url` in the section [database]";
        readiness.lack(Lack::StandbyUnseen, None, detail, remedy);
    }
    Ok(readiness)
}

/// What a standby is compared with.
struct Primary {
    system_identifier: String,
    database: String,
    slot: Slot,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_what_hinders_first() {
        let mut readiness = Readiness::default();
        assert_eq!((readiness.word(), readiness.ready()), ("no_standby", false));
        readiness.standbys.push("one".into());
        assert_eq!((readiness.word(), readiness.ready()), ("ready", true));
        readiness.lack(Lack::StandbyUnseen, None, "", "");
        assert_eq!((readiness.word(), readiness.ready()), ("standby_unseen", false));
        readiness.lack(Lack::SyncOff, Some("one"), "", "");
        assert_eq!(readiness.word(), "sync_off");
    }
}
