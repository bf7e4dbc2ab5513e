//! Laws of the client that a simulated world breaks on purpose, to show that its checkers bite (SIM-04).
//!
//! Law: only a build with the feature `mutants` can break one, at run time, one client at a time; in every other build
//! `Outbox::breaks` is a constant, so what ships holds nothing of it. It refuses to be anything but a test's switch.

use super::{Client, outbox::Outbox};
#[cfg(feature = "mutants")]
use super::{EntryKey, Event};

/// A law that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// What is in flight is not edited (CORE-03).
    FlightIsImmutable,
    /// What may have had an effect keeps its id (CORE-03).
    DoubtKeepsItsId,
    /// An edit is confirmed by lists of its own type only (CORE-11).
    OwnListConfirms,
    /// A new epoch voids every transaction number (CORE-11).
    EpochVoidsNumbers,
    /// A squashed edit expects what the first one expected (CORE-03).
    SquashKeepsExpected,
    /// What a list or a row shows confirms, not only the echo (CORE-09).
    RowsConfirm,
    /// The layer of an accepted edit stays until its effect has come (CORE-10).
    LayerStays,
    /// An edit is saved as sent before it is handed over (CORE-02).
    SavedBeforeSent,
    /// No page is taken while the outcome of an operation is unknown (CORE-11).
    OperationsAreSettled,
    /// Pages of two generations do not mix (SY-20).
    GenerationsApart,
    /// Numbers of transactions are compared whole (CAP-13).
    WideNumbers,
    /// The position rises only with what was applied (CORE-11).
    PositionWithRows,
    /// What was handed over before a crash is in doubt after it (CORE-02).
    RestartKeepsDoubt,
    /// A row does not go back to what its page had seen already (protocol 4, the join).
    PagesCover,
    /// What was typed on behind an edit in flight is merged with what that edit meets (CORE-03, CORE-07).
    TypedOnIsMerged,
    /// An edit upon a text that was on screen meets what others have written since (CORE-07).
    DraftsMeetOthers,
    /// Undo takes back nothing where others have written since (CORE-13).
    UndoSparesOthers,
    /// Texts that several tabs type in are merged (CORE-16).
    TabsAreMerged,
}

impl Outbox {
    /// Tells whether a law is broken on purpose.
    #[cfg(feature = "mutants")]
    pub(super) fn breaks(&self, law: Law) -> bool {
        self.broken == Some(law)
    }

    /// Tells whether a law is broken on purpose: in this build none can be.
    #[cfg(not(feature = "mutants"))]
    #[inline(always)]
    pub(super) fn breaks(&self, _law: Law) -> bool {
        false
    }
}

impl Client {
    /// Breaks a law from now on.
    #[cfg(feature = "mutants")]
    #[doc(hidden)]
    pub fn break_law(&mut self, law: Law) {
        self.outbox.broken = Some(law);
        if law == Law::RestartKeepsDoubt {
            // As if what was on its way when the client ended had never left.
            let sent: Vec<EntryKey> =
                self.outbox.iter().filter(|entry| entry.is_in_flight()).map(|entry| entry.key.clone()).collect();
            for key in sent {
                self.outbox.happen(&key, Event::Aborted, &mut self.dirty);
                self.outbox.update(&key, &mut self.dirty, |entry| (entry.handed, entry.doubt) = (false, false));
            }
        }
    }

    /// Tells whether a law is broken on purpose.
    #[inline(always)]
    pub(super) fn breaks(&self, law: Law) -> bool {
        self.outbox.breaks(law)
    }
}
