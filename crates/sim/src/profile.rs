//! What a run consists of, drawn by its seed; and the mutants that must be caught (SIM-04).
//!
//! Law: a profile follows from the seed alone, and a mutant changes one switch of it and nothing else, so that what catches
//! it is the broken law.

use crate::{Dice, Faults, LogManners, Manners, ServerManners, chaos};

/// How large and how harsh a run is.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Servers over one log.
    pub servers: u32,
    /// Readers of lists and streams.
    pub readers: u32,
    /// Clients that write through the door.
    pub writers: u32,
    /// Plain SQL writers.
    pub sql_writers: u32,
    /// Devices with the shipped client machine.
    pub devices: u32,
    /// For so long the world is disturbed, in simulated milliseconds.
    pub disturbed_ms: u64,
    /// On average a disturbance comes this often, in milliseconds; 0: none.
    pub disturb_ms: u64,
    /// Which disturbances there are.
    pub disturbances: Vec<&'static str>,
    /// The network.
    pub faults: Faults,
    /// The customer's database.
    pub database: Manners,
    /// The log's database.
    pub log: LogManners,
    /// The servers.
    pub server: ServerManners,
    /// Whether a line is kept for every event.
    pub trace: bool,
}

impl Profile {
    /// Draws the profile of a seed.
    pub fn draw(dice: &Dice) -> Profile {
        let harsh = dice.permille(700);
        Profile {
            servers: dice.between(1, 3) as u32,
            readers: dice.between(2, 5) as u32,
            writers: dice.between(1, 4) as u32,
            sql_writers: dice.between(1, 3) as u32,
            devices: 0,
            disturbed_ms: dice.between(20_000, 60_000),
            disturb_ms: if harsh { dice.between(1_000, 8_000) } else { 0 },
            disturbances: chaos::KINDS.iter().map(|(kind, _)| *kind).collect(),
            faults: if harsh { Faults::HARSH } else { Faults::NONE },
            database: Manners {
                slow_permille: dice.between(50, 300),
                hidden_permille: dice.between(20, 300),
                hidden_ms_max: dice.between(5, 1_500),
                locks: true,
                slot_waits: true,
                records: true,
            },
            log: LogManners {
                slow_permille: dice.between(50, 300),
                disk_ms_max: dice.between(1, 40),
                late_permille: if harsh { 10 } else { 0 },
                answer_lost_permille: if harsh { 3 } else { 0 },
                ..LogManners::default()
            },
            server: ServerManners::default(),
            trace: false,
        }
    }

    /// Returns the profile with devices beside the scripted clients; their number follows from the seed.
    #[must_use]
    pub fn with_devices(mut self, seed: u64) -> Profile {
        self.devices = 1 + (seed % 4) as u32;
        self
    }

    /// Returns the profile with one law of the system under test broken.
    #[must_use]
    pub fn broken_by(mut self, mutant: Mutant) -> Profile {
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
            Mutant::RecordNotKept => self.database.records = false,
            Mutant::FloorIgnored => self.log.mutant_no_floor = true,
            Mutant::PositionNotSaved => self.log.mutant_no_position = true,
        }
        self
    }
}

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
    /// An applied edit leaves no record.
    RecordNotKept,
    /// The log serves offsets below its floor as if nothing were missing.
    FloorIgnored,
    /// An append does not move the stored position.
    PositionNotSaved,
}

impl Mutant {
    /// Every mutant.
    pub const ALL: &[Mutant] = &[
        Mutant::AcknowledgeBeforeFlush,
        Mutant::MissingFence,
        Mutant::OffsetOfTheHead,
        Mutant::NarrowXid,
        Mutant::RowNotLocked,
        Mutant::PermissionAtConnectOnly,
        Mutant::AccessMissedOnResume,
        Mutant::ListBeforeTheSlot,
        Mutant::SlotDoesNotWait,
        Mutant::RecordNotKept,
        Mutant::FloorIgnored,
        Mutant::PositionNotSaved,
    ];

    /// Returns a seed that catches it; what changes the draws of a run may need another one (`--mutants` finds it).
    pub const fn kept_seed(self) -> u64 {
        match self {
            Mutant::AcknowledgeBeforeFlush | Mutant::NarrowXid | Mutant::PositionNotSaved => 1,
            Mutant::RowNotLocked | Mutant::PermissionAtConnectOnly => 2,
            Mutant::SlotDoesNotWait => 10,
            Mutant::RecordNotKept => 11,
            Mutant::OffsetOfTheHead => 13,
            Mutant::MissingFence => 32,
            Mutant::AccessMissedOnResume => 38,
            Mutant::FloorIgnored => 79,
            Mutant::ListBeforeTheSlot => 505,
        }
    }

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
            Mutant::RecordNotKept => "record-not-kept",
            Mutant::FloorIgnored => "floor-ignored",
            Mutant::PositionNotSaved => "position-not-saved",
        }
    }
}
