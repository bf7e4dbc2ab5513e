//! A source's state, as it is shown everywhere alike, and its checkpoint (CAP-03, house 18).
//!
//! There is one table from states to the words that people see, and it is here.
//! A checkpoint names positions of one server and timeline; which one is stored with it.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{Code, Lsn, Micros, Xid};

/// What a source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Connecting, checking, preparing slot and publication.
    Initialising,
    /// Copying tables while streaming.
    Snapshotting,
    /// Following the log with nothing waiting.
    Streaming,
    /// Following the log with a backlog.
    CatchingUp,
    /// Held by an operator; nothing is lost.
    Paused,
    /// Failed and trying again by itself.
    Retrying,
    /// Cannot go on until a person acts.
    Blocked,
    /// Stopped by a fault of our own; data is safe.
    Failed,
}

impl SourceState {
    /// Every state.
    pub const ALL: [SourceState; 8] = [
        SourceState::Initialising,
        SourceState::Snapshotting,
        SourceState::Streaming,
        SourceState::CatchingUp,
        SourceState::Paused,
        SourceState::Retrying,
        SourceState::Blocked,
        SourceState::Failed,
    ];

    /// Returns the word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            SourceState::Initialising => "initialising",
            SourceState::Snapshotting => "snapshotting",
            SourceState::Streaming => "streaming",
            SourceState::CatchingUp => "catching_up",
            SourceState::Paused => "paused",
            SourceState::Retrying => "retrying",
            SourceState::Blocked => "blocked",
            SourceState::Failed => "failed",
        }
    }

    /// Returns the status for people.
    pub const fn status(self) -> Status {
        match self {
            SourceState::Streaming => Status::Healthy,
            SourceState::Snapshotting | SourceState::CatchingUp => Status::CatchingUp,
            SourceState::Initialising | SourceState::Retrying => Status::Waiting,
            SourceState::Paused => Status::Paused,
            SourceState::Blocked => Status::NeedsYou,
            SourceState::Failed => Status::Failed,
        }
    }
}

/// The one vocabulary of status for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// All is well.
    Healthy,
    /// Working through what is waiting.
    CatchingUp,
    /// Waiting for something that will come by itself.
    Waiting,
    /// A person must act.
    NeedsYou,
    /// Held by an operator.
    Paused,
    /// Stopped; data is safe.
    Failed,
    /// Changes may be missing.
    DataGap,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Healthy => "healthy",
            Status::CatchingUp => "catching up",
            Status::Waiting => "waiting",
            Status::NeedsYou => "needs you",
            Status::Paused => "paused",
            Status::Failed => "failed (data safe)",
            Status::DataGap => "data gap",
        })
    }
}

/// A source's state with its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// What it is doing.
    pub state: SourceState,
    /// Why, where something is wrong.
    pub reason: Option<Code>,
    /// The particulars, without secrets.
    pub detail: String,
    /// Since when.
    pub since: Micros,
    /// When it tries again, where it does.
    pub next_attempt_at: Option<Micros>,
}

/// Which server a position belongs to; positions of different servers or timelines are never compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceIdentity {
    /// The cluster's system identifier.
    pub system_identifier: String,
    /// The timeline.
    pub timeline: u32,
    /// The database's OID.
    pub database_oid: u32,
    /// The database's name.
    pub database: String,
    /// The publication as it was then; absent in what older versions saved, and where the method has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publication: Option<PublicationMark>,
}

/// By what a publication and its tables are known again: one that was made anew, or a table that left and came back,
/// has lost changes that nobody tells of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicationMark {
    /// Its OID.
    pub oid: u32,
    /// A mark for each declared table; empty for one that was declared once and is not captured since.
    pub tables: BTreeMap<String, String>,
}

/// Up to where a source is durable in the log.
///
/// `acknowledged` is the position that Postgres may be told: everything that committed before it is durable.
/// `lsn` and `ordinal` name the last change appended; where `complete` is false, its transaction goes on after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The position that may be acknowledged.
    pub acknowledged: Lsn,
    /// The commit position of the last transaction appended.
    pub lsn: Lsn,
    /// The ordinal of the last change appended of it.
    pub ordinal: u64,
    /// Whether that transaction was appended to its end.
    pub complete: bool,
    /// The 64-bit number near which 32-bit ones are widened.
    pub xid: Xid,
    /// Which server the positions belong to; `None` before the first connection.
    pub identity: Option<SourceIdentity>,
}

impl Checkpoint {
    /// The checkpoint of a source that was never captured.
    pub const fn start() -> Checkpoint {
        Checkpoint {
            acknowledged: Lsn::ZERO,
            lsn: Lsn::ZERO,
            ordinal: 0,
            complete: true,
            xid: Xid::new(0),
            identity: None,
        }
    }

    /// Tells whether a change at this place is already in the log (a re-sent one is counted, never appended).
    pub fn covers(&self, lsn: Lsn, ordinal: u64) -> bool {
        lsn < self.lsn || (lsn == self.lsn && (self.complete || ordinal <= self.ordinal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partly_appended_transaction_goes_on_after_its_last_ordinal_pg_12() {
        let checkpoint = Checkpoint { lsn: Lsn::new(100), ordinal: 4, complete: false, ..Checkpoint::start() };
        for (lsn, ordinal, covered) in [(99, 9, true), (100, 4, true), (100, 5, false), (101, 0, false)] {
            assert_eq!(checkpoint.covers(Lsn::new(lsn), ordinal), covered);
        }
        let complete = Checkpoint { complete: true, ..checkpoint };
        assert!(complete.covers(Lsn::new(100), 5));
    }
}
