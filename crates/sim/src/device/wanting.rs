//! What a person looks at: parts of a type that the device does not keep whole, and single rows (CORE-12).
//!
//! Law: what is looked at outlives the process, as an application that starts again shows what it showed.

use antiphon_sync::client::{EntityKey, Filter, Level, Subset, Test};

use super::Device;
use crate::FinalPart;

/// At most so many parts are looked at, and so many rows.
const WANTED_MAX: usize = 4;

/// The type that devices keep in parts.
const KIND: &str = "task";

/// A part of the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Those with a status.
    Status(&'static str),
    /// Those without.
    Fresh,
    /// The first few by title.
    First(usize),
}

impl Wanted {
    fn subset(self) -> Subset {
        let part = self.part();
        let filter = part.equals.map(|(field, value)| Filter { field, test: Test::Eq, value });
        let order = part.first.map(|_| Level { field: "title".into(), descending: false });
        Subset {
            entity_type: part.entity_type,
            filters: filter.into_iter().collect(),
            order: order.into_iter().collect(),
            window_rows: part.first,
        }
    }

    /// Returns it for those who check.
    pub(super) fn part(self) -> FinalPart {
        let (equals, first) = match self {
            Wanted::Status(status) => (Some(("status".to_owned(), Some(status.to_owned()))), None),
            Wanted::Fresh => (Some(("status".to_owned(), None)), None),
            Wanted::First(rows) => (None, Some(rows)),
        };
        FinalPart { entity_type: KIND.to_owned(), equals, first }
    }
}

impl Device {
    /// Looks at something else.
    pub(super) fn look(&self) {
        let dice = self.stage.simulation.dice().clone();
        let (drawn, pick) = (dice.below(10), dice.below(1_000) as usize);
        let shared = self.shared();
        let (wanted, opened) = (shared.wanted.len(), shared.opened.len());
        drop(shared);
        match drawn {
            0..5 if wanted < WANTED_MAX => {
                let all = [Wanted::Status("open"), Wanted::Status("done"), Wanted::Fresh, Wanted::First(3)];
                self.want(all[pick % all.len()]);
            }
            5..8 if wanted > 0 => {
                let (number, _) = self.shared().wanted.remove(pick % wanted);
                self.step(|client, now| client.release(now, number));
            }
            8 if opened < WANTED_MAX => {
                // Somewhere else one has heard of it.
                self.open(EntityKey::new(KIND, crate::workload::shared_id(&self.stage, KIND)));
            }
            9 if opened > 0 => {
                let entity = self.shared().opened.remove(pick % opened);
                self.step(|client, now| client.close(now, &entity));
            }
            _ => {}
        }
    }

    fn want(&self, wanted: Wanted) {
        let number = self.step(|client, now| client.subscribe(now, wanted.subset()));
        if let Some(Ok(number)) = number {
            self.shared().wanted.push((number, wanted));
        }
    }

    fn open(&self, entity: EntityKey) {
        self.step(|client, now| client.open(now, &entity));
        self.shared().opened.push(entity);
    }

    /// Looks at the same as before the process died; a first life begins with one part.
    pub(super) fn look_again(&self) {
        let (wanted, opened) = {
            let mut shared = self.shared();
            (std::mem::take(&mut shared.wanted), std::mem::take(&mut shared.opened))
        };
        let lives = self.shared().lives;
        match lives {
            1 => self.want(if self.number.is_multiple_of(2) { Wanted::Status("open") } else { Wanted::First(3) }),
            _ => wanted.into_iter().for_each(|(_, wanted)| self.want(wanted)),
        }
        opened.into_iter().for_each(|entity| self.open(entity));
    }
}
