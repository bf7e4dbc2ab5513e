//! The join of list and stream: which offset a list's snapshot vouches for (protocol 4, house 6).
//!
//! Law: the mark is taken first, then the list's snapshot in the source, then the log is tested against it, from the
//! mark up to the durable head. A commit is decoded before readers see it, so the head itself is no answer; and a
//! mark taken after the snapshot would be none either, because a later list may have raised it beyond what this
//! snapshot sees.

use antiphon_model::{ActivityId, Code, Epoch, Visibility};

use crate::{Bus, Fault, ports::Head};

/// What was known before a list was read; made by [`Bus::before_list`].
pub struct BeforeList {
    bus: Bus,
    head: Head,
}

impl Bus {
    /// Notes what is known to be visible before a list's snapshot is taken.
    pub fn before_list(&self) -> BeforeList {
        BeforeList { bus: self.clone(), head: self.head() }
    }
}

impl BeforeList {
    /// Returns the highest offset such that every activity up to it is visible in the list's snapshot, with its epoch.
    ///
    /// What it proves is remembered for later lists. Fails with `TRY_AGAIN` where a new epoch began meanwhile: such a
    /// list may lack what lies between the two.
    pub async fn vouch(self, visibility: &Visibility) -> Result<(ActivityId, Epoch), Fault> {
        let now = self.bus.head();
        if now.epoch != self.head.epoch {
            return Err(Fault::new(Code::TryAgain, "a new epoch of the activity log began while the list was read"));
        }
        let first = self.bus.log().first_invisible(self.head.visible, now.durable, visibility).await?;
        let offset = first.map_or(now.durable, |id| ActivityId::new(id.as_u64() - 1));
        if offset > now.visible {
            self.bus.raise_visible(offset);
            self.bus.log().raise_visible(now.epoch, offset).await?;
        }
        Ok((offset, now.epoch))
    }
}
