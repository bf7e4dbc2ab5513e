//! A person who types at a device: what the pen says next is done, and compared with what the rows show after it.
//!
//! Law: whatever a person does by hand outside of an edit may take words out, and that is noted; undo and redo may not
//! take out those of others.

use antiphon_sync::client::{Client, Now};

use super::{Device, Shared};
use crate::typing::{Stroke, Words};

impl Device {
    /// Returns in how many milliseconds the person types on, where people type.
    pub(super) fn types_in_ms(&self, now: Now) -> Option<u64> {
        self.shared().pen.as_ref().map(|pen| pen.due_ms().saturating_sub(now.tick_ms))
    }

    /// Does what comes next; `true` where the page is loaded anew.
    pub(super) fn type_on(&self) -> bool {
        let now_ms = self.now().tick_ms;
        let stroke = {
            let mut shared = self.shared();
            let Shared { client, pen, .. } = &mut *shared;
            let (Some(client), Some(pen)) = (client, pen) else { return false };
            pen.next(client, now_ms)
        };
        match stroke {
            Stroke::Edit(edit, seen) => {
                self.make(seen.as_deref(), |_| edit);
                let mut shared = self.shared();
                let Shared { client, pen, .. } = &mut *shared;
                if let (Some(client), Some(pen)) = (client, pen) {
                    pen.shows(client);
                }
            }
            Stroke::Undo => drop(self.by_hand(true, |device| device.step(Client::undo))),
            Stroke::Redo => drop(self.by_hand(true, |device| device.step(Client::redo))),
            Stroke::Decide => self.by_hand(false, Device::decide),
            Stroke::Offline(offline) => self.shared().offline = offline,
            Stroke::Reload => {
                self.stage.network.count("reloaded while typing");
                return true;
            }
            Stroke::Rest => {}
        }
        false
    }

    /// Looks at what the rows show before and after something else than an edit.
    pub(super) fn by_hand<T>(&self, undo: bool, what: impl FnOnce(&Device) -> T) -> T {
        if self.stage.typing.is_none() {
            return what(self);
        }
        let before = self.shared().client.as_ref().map(Words::look).unwrap_or_default();
        let result = what(self);
        let mut shared = self.shared();
        self.stage.simulation.say(|| format!("device {} does by hand, undo {undo}", self.number));
        let Shared { client, watch, words, .. } = &mut *shared;
        if let Some(client) = client {
            words.stepped(client, &before, undo);
            words.wrong().into_iter().for_each(|wrong| watch.complain(wrong));
            watch.accept(client);
        }
        result
    }
}
