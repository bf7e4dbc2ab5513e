//! A person who types in a tab: what the pen says next is done, and compared with what that tab shows after it.
//!
//! Several tabs of a person type in the same texts at the same time. Law: undo and redo take out only what was typed in
//! some tab of this browser.

use antiphon_sync::client::{Client, Now, Request as Wish};

use super::{Shared, tab::Tab};
use crate::typing::{Stroke, Words};

impl Tab {
    /// Returns in how many milliseconds the person types on in it, where people type.
    pub(super) fn types_in_ms(&self, now: Now) -> Option<u64> {
        let shared = self.browser.shared();
        shared.slots[self.at].pen.as_ref().map(|pen| pen.due_ms().saturating_sub(now.tick_ms))
    }

    /// Does what comes next; `true` where the page is loaded anew.
    pub(super) fn type_on(&self) -> bool {
        let now_ms = self.browser.stage.simulation.clock().elapsed_us() / 1_000;
        let stroke = {
            let mut shared = self.browser.shared();
            let slot = &mut shared.slots[self.at];
            let (Some(client), Some(pen)) = (&slot.client, &mut slot.pen) else { return false };
            pen.next(client, now_ms)
        };
        match stroke {
            Stroke::Edit(edit, seen) => {
                self.make(seen.as_deref(), |_| edit);
                let mut shared = self.browser.shared();
                let slot = &mut shared.slots[self.at];
                if let (Some(client), Some(pen)) = (&slot.client, &mut slot.pen) {
                    pen.shows(client);
                }
            }
            Stroke::Undo => drop(self.by_hand(true, |tab| tab.step(true, Client::undo))),
            Stroke::Redo => drop(self.by_hand(true, |tab| tab.step(true, Client::redo))),
            Stroke::Decide => self.by_hand(false, Tab::decide),
            Stroke::Offline(offline) => self.browser.shared().offline = offline,
            Stroke::Reload => {
                self.browser.stage.network.count("reloaded while typing");
                return true;
            }
            Stroke::Rest => {}
        }
        false
    }

    /// Looks at what the rows show before and after something else than an edit.
    pub(super) fn by_hand<T>(&self, undo: bool, what: impl FnOnce(&Tab) -> T) -> T {
        if self.browser.stage.typing.is_none() {
            return what(self);
        }
        let before = self.browser.shared().slots[self.at].client.as_ref().map(Words::look).unwrap_or_default();
        let result = what(self);
        let mut shared = self.browser.shared();
        let Shared { slots, book, words, .. } = &mut *shared;
        if let Some(client) = &slots[self.at].client {
            words.stepped(client, &before, undo);
            words.wrong().into_iter().for_each(|wrong| book.complain(wrong));
        }
        result
    }

    /// Looks at the words of what leaves.
    pub(super) fn look_at_words(&self, wish: &Wish) {
        let Wish::Mutations { body } = wish else { return };
        if self.browser.stage.typing.is_none() {
            return;
        }
        let mut shared = self.browser.shared();
        let Shared { slots, book, words, copied, .. } = &mut *shared;
        let Some(client) = slots[self.at].client.as_ref().filter(|_| !*copied) else { return };
        let wrong = words.handed(client, body, &self.browser.stage.database);
        wrong.into_iter().for_each(|wrong| book.complain(wrong));
    }
}
