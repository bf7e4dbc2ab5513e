//! Laws that are broken on purpose: each must be caught by a checker (SIM-04).
//!
//! Law: a mutant changes one switch and nothing else, at run time, in a world that keeps every promise without it, so that
//! what catches it is the broken law. The seed that is kept for a mutant moves whenever a draw changes; `hunt` then finds the next one.

use std::{io, ops::RangeInclusive};

use antiphon_sync::client::Law;

use crate::{Faults, Outcome, Profile, simulate};

/// After the kept seed so many others are tried.
const HUNT_MAX: u64 = 4_000;
/// On average a world that is shaken for a mutant is so this often, in milliseconds.
const SHAKEN_MS: u64 = 1_500;
/// So many devices run a client with a broken law.
const DEVICES: u32 = 3;

/// A law that is broken on purpose; each must be caught by a checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A flush is not waited for before readers and the source are told.
    AcknowledgeBeforeFlush,
    /// An append looks at neither fence nor position.
    MissingFence,
    /// A list's offset is the head of the log.
    OffsetOfTheHead,
    /// Numbers of transactions are compared as 32 bits.
    NarrowXid,
    /// The door reads a row without its lock.
    RowNotLocked,
    /// The right to read is looked at when a stream begins, and never again.
    PermissionAtConnectOnly,
    /// The access that a reader brings is not compared on resume.
    AccessMissedOnResume,
    /// A list is answered before the slot of its epoch is there.
    ListBeforeTheSlot,
    /// Copies may begin while a commit from before the slot is not visible yet.
    SlotDoesNotWait,
    /// Rows of a copy carry the transaction of their watermark.
    CopiesAsMarked,
    /// An applied edit leaves no record.
    RecordNotKept,
    /// The log serves offsets below its floor as if nothing were missing.
    FloorIgnored,
    /// An append does not move the stored position.
    PositionNotSaved,
    /// What was refused or met a conflict leaves a record as if it had been applied.
    ConflictRecorded,
    /// A law of the client.
    Client(Law),
}

use Mutant::Client;

impl Mutant {
    /// Every mutant, with a seed that catches it.
    pub const ALL: &[(Mutant, u64)] = &[
        (Mutant::AcknowledgeBeforeFlush, 1),
        (Mutant::MissingFence, 270),
        (Mutant::OffsetOfTheHead, 34),
        (Mutant::NarrowXid, 1),
        (Mutant::RowNotLocked, 5),
        (Mutant::PermissionAtConnectOnly, 2),
        (Mutant::AccessMissedOnResume, 59),
        (Mutant::ListBeforeTheSlot, 585),
        (Mutant::SlotDoesNotWait, 75),
        (Mutant::CopiesAsMarked, 82),
        (Mutant::RecordNotKept, 12),
        (Mutant::FloorIgnored, 84),
        (Mutant::PositionNotSaved, 1),
        (Mutant::ConflictRecorded, 1),
        (Client(Law::FlightIsImmutable), 2),
        (Client(Law::DoubtKeepsItsId), 100),
        (Client(Law::OwnListConfirms), 8),
        (Client(Law::EpochVoidsNumbers), 1),
        (Client(Law::SquashKeepsExpected), 1),
        (Client(Law::RowsConfirm), 7),
        (Client(Law::LayerStays), 2),
        (Client(Law::SavedBeforeSent), 1),
        (Client(Law::OperationsAreSettled), 17),
        (Client(Law::GenerationsApart), 411),
        (Client(Law::WideNumbers), 1),
        (Client(Law::PositionWithRows), 1),
        (Client(Law::RestartKeepsDoubt), 1996),
        (Client(Law::PagesCover), 7),
        (Client(Law::TypedOnIsMerged), 12),
        (Client(Law::DraftsMeetOthers), 5),
        (Client(Law::UndoSparesOthers), 16),
        (Client(Law::TabsAreMerged), 2),
    ];

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Mutant::AcknowledgeBeforeFlush => "acknowledge-before-flush",
            Mutant::MissingFence => "missing-fence",
            Mutant::OffsetOfTheHead => "offset-of-the-head",
            Mutant::NarrowXid => "narrow-xid",
            Mutant::RowNotLocked => "row-not-locked",
            Mutant::PermissionAtConnectOnly => "permission-at-connect-only",
            Mutant::AccessMissedOnResume => "access-missed-on-resume",
            Mutant::ListBeforeTheSlot => "list-before-the-slot",
            Mutant::SlotDoesNotWait => "slot-does-not-wait",
            Mutant::CopiesAsMarked => "copies-as-marked",
            Mutant::RecordNotKept => "record-not-kept",
            Mutant::FloorIgnored => "floor-ignored",
            Mutant::PositionNotSaved => "position-not-saved",
            Mutant::ConflictRecorded => "conflict-recorded",
            Client(law) => of_client(law),
        }
    }

    /// Returns the run that first catches it, the kept seed before all others; `None` where none does.
    ///
    /// # Errors
    /// Fails where no runtime can be made.
    pub fn hunt(self, kept: u64, seeds_max: Option<u64>) -> io::Result<Option<Outcome>> {
        let seeds: RangeInclusive<u64> = kept..=kept.saturating_add(seeds_max.unwrap_or(HUNT_MAX));
        for seed in seeds {
            let outcome = simulate(seed, |profile| profile.broken_by(self))?;
            // What fails with the law kept, too, has caught nothing.
            if !outcome.violations.is_empty() && simulate(seed, |profile| profile.around(self))?.violations.is_empty() {
                return Ok(Some(outcome));
            }
        }
        Ok(None)
    }
}

const fn of_client(law: Law) -> &'static str {
    match law {
        Law::FlightIsImmutable => "squash-in-flight",
        Law::DoubtKeepsItsId => "restamp-in-doubt",
        Law::OwnListConfirms => "confirmed-by-another-list",
        Law::EpochVoidsNumbers => "number-kept-across-epochs",
        Law::SquashKeepsExpected => "squash-with-the-wrong-expected",
        Law::RowsConfirm => "confirmed-by-echo-alone",
        Law::LayerStays => "layer-dropped-at-accept",
        Law::SavedBeforeSent => "sent-before-saved",
        Law::OperationsAreSettled => "operation-counted-twice",
        Law::GenerationsApart => "generations-mixed",
        Law::WideNumbers => "narrow-number-at-the-client",
        Law::PositionWithRows => "position-before-rows",
        Law::RestartKeepsDoubt => "doubt-forgotten-by-restart",
        Law::PagesCover => "page-does-not-cover",
        Law::TypedOnIsMerged => "typed-on-not-merged",
        Law::DraftsMeetOthers => "draft-as-if-seen",
        Law::UndoSparesOthers => "undo-over-others",
        Law::TabsAreMerged => "tabs-not-merged",
    }
}

/// What shakes the world of a mutant whose law matters only then; none: whatever there is.
const fn shaken_by(mutant: Mutant) -> &'static [&'static str] {
    match mutant {
        Mutant::ListBeforeTheSlot | Mutant::SlotDoesNotWait | Mutant::OffsetOfTheHead | Mutant::CopiesAsMarked => {
            &["new epoch", "database restored elsewhere", "server crashed"]
        }
        Mutant::MissingFence => &["lease session lost", "server parted from the log", "log crashed"],
        Mutant::FloorIgnored => &["retention", "server crashed", "server drained", "client parted from a server"],
        Mutant::AccessMissedOnResume | Mutant::PermissionAtConnectOnly => {
            &["place changed", "place lost and won again", "server crashed"]
        }
        Client(Law::EpochVoidsNumbers | Law::OperationsAreSettled | Law::GenerationsApart | Law::OwnListConfirms) => {
            &["new epoch", "database restored elsewhere", "server crashed", "place changed"]
        }
        _ => &[],
    }
}

impl Profile {
    /// Returns the profile of a world in which a mutant's law matters, and is kept.
    #[must_use]
    pub fn around(mut self, mutant: Mutant) -> Profile {
        if let Client(_) | Mutant::CopiesAsMarked = mutant {
            self.devices = DEVICES;
        }
        match mutant {
            Client(Law::TypedOnIsMerged | Law::DraftsMeetOthers | Law::UndoSparesOthers) => self.typing = true,
            Client(Law::TabsAreMerged) => (self.typing, self.devices, self.browsers) = (true, 0, 2),
            _ => {}
        }
        let kinds = shaken_by(mutant);
        if !kinds.is_empty() {
            self.disturbances = kinds.to_vec();
            (self.disturb_ms, self.faults) = (SHAKEN_MS, Faults::HARSH);
        }
        self
    }

    /// Returns the profile of a world in which a mutant's law matters, and is broken.
    #[must_use]
    pub fn broken_by(self, mutant: Mutant) -> Profile {
        let mut broken = self.around(mutant);
        broken.break_law(mutant);
        broken
    }

    fn break_law(&mut self, mutant: Mutant) {
        match mutant {
            Mutant::AcknowledgeBeforeFlush => self.log.mutant_no_flush = true,
            Mutant::MissingFence => self.log.mutant_no_fence = true,
            Mutant::OffsetOfTheHead => self.log.mutant_offset_is_head = true,
            Mutant::NarrowXid => self.server.mutant_narrow = true,
            Mutant::RowNotLocked => self.database.locks = false,
            Mutant::PermissionAtConnectOnly => self.server.mutant_connect_only = true,
            Mutant::AccessMissedOnResume => self.server.mutant_access_on_resume = true,
            Mutant::ListBeforeTheSlot => self.log.mutant_list_before_slot = true,
            Mutant::SlotDoesNotWait => self.database.slot_waits = false,
            Mutant::CopiesAsMarked => self.log.mutant_copies_as_marked = true,
            Mutant::RecordNotKept => self.database.records = false,
            Mutant::FloorIgnored => self.log.mutant_no_floor = true,
            Mutant::PositionNotSaved => self.log.mutant_no_position = true,
            Mutant::ConflictRecorded => self.database.mutant_conflicts_recorded = true,
            Client(law) => self.law = Some(law),
        }
    }
}
