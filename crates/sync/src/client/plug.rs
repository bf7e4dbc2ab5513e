//! Whether there is a network at all, where whoever drives the client knows it (CORE-15).
//!
//! Law: without one nothing is asked and nothing is handed over, so what is typed stays as changeable as what never left;
//! what was on its way when it went counts as not answered.

use super::{Client, Now, Output};

impl Client {
    /// Notes that there is a network, or none; with a new one everything is tried at once.
    pub(super) fn plug(&mut self, now: Now, usable: bool) {
        self.unplugged = !usable;
        if usable {
            self.pace.succeeded();
            self.sending.hold.succeeded();
            return;
        }
        self.close_stream();
        for (id, (asked, _)) in std::mem::take(&mut self.asked) {
            self.outputs.push_back(Output::Cancel { id });
            self.unanswered(now, asked);
        }
        // What was prepared and not yet handed over stays `sent`: nobody can tell after a crash either.
        self.sending = Default::default();
        self.upstream_since_ms = None;
    }

    /// Tells whether the server may be asked.
    pub(super) fn may_ask(&self) -> bool {
        self.leading.is_some() && !self.unplugged
    }
}
