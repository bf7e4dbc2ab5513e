//! What the stream said lately about a type of which only parts are kept (protocol 4, the join; CORE-12).
//!
//! A page may be read before what the stream has told already: decoding sees a commit before readers do. What was passed
//! over then, because no subset wanted it, is joined to the page from here.
//! Law: it holds every activity of the type from a known position on, or says that it does not.

use std::collections::VecDeque;

use super::words::Activity;

/// So many activities are held at most.
const ACTIVITIES_MAX: usize = 256;
/// So many bytes of rows are held at most.
const BYTES_MAX: usize = 1 << 20;

/// The newest activities of a type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recent {
    /// Everything above this position is here; `None`: everything above the type's own.
    from: Option<u64>,
    activities: VecDeque<(Activity, usize)>,
    bytes: usize,
}

impl Recent {
    /// Begins at a position.
    pub fn begin(&mut self, offset: u64) {
        if self.from.is_none() {
            self.from = Some(offset);
        }
    }

    /// Holds an activity; what is too much is let go from the oldest on.
    pub fn push(&mut self, activity: &Activity) {
        let bytes = super::held::bytes_of(activity.data.iter().flatten());
        self.activities.push_back((activity.clone(), bytes));
        self.bytes += bytes;
        while self.activities.len() > ACTIVITIES_MAX || self.bytes > BYTES_MAX {
            let Some((oldest, bytes)) = self.activities.pop_front() else { return };
            self.bytes -= bytes;
            self.from = Some(oldest.activity_id);
        }
    }

    /// Returns what came above an offset, oldest first; `None` where that is not held any more.
    pub fn since(&self, offset: u64, own: u64) -> Option<impl Iterator<Item = &Activity>> {
        let above = move |activity: &&Activity| activity.activity_id > offset;
        let whole = offset >= self.from.unwrap_or(own);
        whole.then(|| self.activities.iter().map(|(activity, _)| activity).filter(above))
    }
}
