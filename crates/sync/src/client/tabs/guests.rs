//! Parts of types that are wanted in tabs that do not lead: the leader wants them in their stead (CORE-12, CORE-16).
//!
//! Law: what a guest wants is said whole each time, so a lost word costs a moment; a guest that is not heard for long is
//! gone, and what it wanted is kept like anything that was released.

use super::super::{Client, EntityKey, Now, message::What, subset::Subset};
use crate::ordered::OrderedMap;

/// A guest that is not heard for so long is gone, in milliseconds: timers of hidden tabs run once a minute.
const GONE_MS: u64 = 150_000;

/// Tabs that want something, by their names.
#[derive(Debug, Default)]
pub(super) struct Guests(OrderedMap<String, Guest>);

#[derive(Debug, Default)]
struct Guest {
    heard_ms: u64,
    /// The leader's subscriptions in its stead.
    subsets: OrderedMap<u64, Subset>,
    open: Vec<EntityKey>,
}

impl Client {
    /// Tells whether this tab wants parts of types.
    pub(super) fn wants_parts(&self) -> bool {
        let (subsets, open) = self.subsets.all_wanted();
        !subsets.is_empty() || !open.is_empty()
    }

    /// Says what this tab wants.
    pub(super) fn say_wants(&mut self) {
        let (subsets, open) = self.subsets.all_wanted();
        if self.tabs.wants_said || !subsets.is_empty() || !open.is_empty() {
            self.tabs.wants_said = !subsets.is_empty() || !open.is_empty();
            self.share(What::Wants { subsets, open });
        }
    }

    /// Wants what a guest wants from now on, and no more what it wanted before.
    pub(super) fn hear_wants(&mut self, now: Now, from: &str, subsets: Vec<Subset>, open: Vec<EntityKey>) {
        let mut guest = self.tabs.guests.0.remove(from).unwrap_or_default();
        guest.heard_ms = now.tick_ms;
        let gone: Vec<u64> =
            guest.subsets.iter().filter(|(_, subset)| !subsets.contains(subset)).map(|(number, _)| *number).collect();
        let new: Vec<Subset> =
            subsets.into_iter().filter(|subset| !guest.subsets.values().any(|known| known == subset)).collect();
        for subset in new {
            // With as many as may be, the guest's stays incomplete, as it would in its own tab.
            if let Ok(number) = self.subscribe(now, subset.clone()) {
                guest.subsets.insert(number, subset);
            }
        }
        for number in gone {
            guest.subsets.remove(&number);
            self.release(now, number);
        }
        let former = std::mem::take(&mut guest.open);
        for entity in open {
            if self.open(now, &entity).is_ok() {
                guest.open.push(entity);
            }
        }
        for entity in former {
            self.close(now, &entity);
        }
        if !guest.subsets.is_empty() || !guest.open.is_empty() {
            self.tabs.guests.0.insert(from.to_owned(), guest);
        }
    }

    /// Lets go of what guests wanted that are gone; called where things are driven, so that it drives nothing itself.
    pub(super) fn forget_guests(&mut self, now: Now) {
        let late = |guest: &Guest| now.tick_ms.saturating_sub(guest.heard_ms) >= GONE_MS;
        let gone: Vec<String> =
            self.tabs.guests.0.iter().filter(|(_, guest)| late(guest)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            let Some(guest) = self.tabs.guests.0.remove(&name) else { continue };
            guest.subsets.into_keys().for_each(|number| self.release(now, number));
            guest.open.iter().for_each(|entity| self.close(now, entity));
        }
    }

    /// Whoever leads no more wants nothing in the stead of others.
    pub(super) fn drop_guests(&mut self, now: Now) {
        for guest in std::mem::take(&mut self.tabs.guests).0.into_values() {
            guest.subsets.into_keys().for_each(|number| self.release(now, number));
            guest.open.iter().for_each(|entity| self.close(now, entity));
        }
    }
}
