//! What a run consists of, drawn by its seed.
//!
//! Law: a profile follows from the seed alone; what a command or a mutant changes of it is a switch that draws nothing.

use antiphon_sync::client::Law;

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
    /// Browsers with one to three tabs of it.
    pub browsers: u32,
    /// Whether people type: bursts of small edits in few texts.
    pub typing: bool,
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
    /// The law of the client that devices break; a mutant's switch.
    pub law: Option<Law>,
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
            browsers: 0,
            typing: false,
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
                mutant_conflicts_recorded: false,
            },
            log: LogManners {
                slow_permille: dice.between(50, 300),
                disk_ms_max: dice.between(1, 40),
                late_permille: if harsh { 10 } else { 0 },
                answer_lost_permille: if harsh { 3 } else { 0 },
                ..LogManners::default()
            },
            server: ServerManners::default(),
            law: None,
            trace: false,
        }
    }

    /// Returns the profile with devices beside the scripted clients; their number follows from the seed.
    #[must_use]
    pub fn with_devices(mut self, seed: u64) -> Profile {
        self.devices = 1 + (seed % 4) as u32;
        self.browsers = u32::from(seed.is_multiple_of(3));
        self
    }

    /// Returns the profile with people who type, in three worlds of five: `OPEN.md` says why only where that is wanted.
    #[must_use]
    pub fn with_typing(mut self, seed: u64) -> Profile {
        self.typing = seed % 5 > 1;
        self
    }

    /// Returns the profile with browsers instead of devices.
    #[must_use]
    pub fn with_browsers(mut self, seed: u64) -> Profile {
        (self.devices, self.browsers) = (0, 1 + (seed % 2) as u32);
        self
    }
}
