//! The join of list and stream: which offset a list's snapshot vouches for (protocol 4, house 6).
//!
//! Law: the mark is taken first, then the list's snapshot in the source, then the log is tested against it, from the
//! mark up to the durable head. A commit is decoded before readers see it, so the head itself is no answer; and a
//! mark taken after the snapshot would be none either, because a later list may have raised it beyond what this
//! snapshot sees. And capture must have begun before the snapshot: what changes between a list and the beginning of the
//! source's slot reaches nobody, so its offset would vouch for what never comes.

use std::time::Duration;

use antiphon_model::{ActivityId, Code, Epoch, Visibility};

use crate::{Bus, Fault, ports::Head};

/// A list waits so long for the beginning of capture: longer than a start takes and than other servers need to hear of it.
const BEGIN_WAIT_MS: u64 = 3_000;

/// What was known before a list was read; made by [`Bus::before_list`].
pub struct BeforeList {
    bus: Bus,
    head: Head,
}

impl Bus {
    /// Notes what is known to be visible before a list's snapshot is taken.
    ///
    /// Fails with `TRY_AGAIN` where capture has not begun in this epoch, after a short wait for it.
    pub async fn before_list(&self) -> Result<BeforeList, Fault> {
        Ok(BeforeList { bus: self.clone(), head: self.begun().await? })
    }

    /// Returns the log's marks once capture has begun in the epoch; before that, no offset is one to start from.
    ///
    /// Fails with `TRY_AGAIN` where it does not begin in a short while.
    pub async fn begun(&self) -> Result<Head, Fault> {
        let mut heads = self.subscribe();
        let begun = heads.wait_for(|head| head.begun);
        match tokio::time::timeout(Duration::from_millis(BEGIN_WAIT_MS), begun).await {
            Ok(Ok(head)) => Ok(*head),
            // INVARIANT: the sender lives as long as this bus.
            Ok(Err(_)) | Err(_) => {
                Err(Fault::new(Code::TryAgain, "the capture of the source has not begun in this epoch of the log"))
            }
        }
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
