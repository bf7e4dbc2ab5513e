//! A reader's position in the log: one cursor for SSE, long-poll and single pages (house 5).
//!
//! Law: the position only rises; what lies below it was delivered or is not for this reader. The cursor holds no
//! activities: a slow reader costs a number.

use antiphon_engine::Bus;
use antiphon_model::{Access, Action, Activity, ActivityId, Code, Epoch, Visibility};

use crate::problem::Problem;

/// Where and what a reader reads.
#[derive(Clone)]
pub(crate) struct Cursor {
    pub(crate) org: String,
    pub(crate) types: Option<Vec<String>>,
    pub(crate) snapshot: Option<Visibility>,
    pub(crate) access: Access,
    pub(crate) epoch: Epoch,
    pub(crate) position: ActivityId,
}

/// Why a reader must list again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reset {
    pub(crate) code: Code,
    pub(crate) epoch: Epoch,
}

/// One thing to deliver.
pub(crate) enum Item {
    /// An activity.
    Change(std::sync::Arc<Activity>),
    /// The end of a transaction whose last activity is not for this reader.
    Offset(ActivityId),
}

/// What a read brought.
pub(crate) struct Items {
    pub(crate) items: Vec<Item>,
    pub(crate) up_to_date: bool,
}

/// A read ends well, or with a reset, or with a problem.
pub(crate) enum Ended {
    Reset(Reset),
    Problem(Problem),
}

impl From<antiphon_engine::Fault> for Ended {
    fn from(fault: antiphon_engine::Fault) -> Ended {
        Ended::Problem(fault.into())
    }
}

impl Cursor {
    /// Reads on from the position, at most `limit` activities of the organisation.
    pub(crate) async fn read(&mut self, bus: &Bus, limit: usize) -> Result<Items, Ended> {
        self.check(bus)?;
        let page = bus.read(&self.org, self.position, limit).await?;
        // A horizon that rose over the position while the page was read may have cut it.
        self.check(bus)?;
        let mut items = Vec::with_capacity(page.activities.len());
        for activity in page.activities {
            if self.delivers(&activity) {
                items.push(Item::Change(activity));
            } else if activity.commit.last {
                items.push(Item::Offset(activity.id));
            }
        }
        assert!(page.offset >= self.position, "a reader's position went back");
        self.position = page.offset;
        Ok(Items { items, up_to_date: page.up_to_date })
    }

    fn check(&self, bus: &Bus) -> Result<(), Ended> {
        let head = bus.head();
        let reset = |code| Err(Ended::Reset(Reset { code, epoch: head.epoch }));
        if head.epoch != self.epoch {
            return reset(Code::EpochChanged);
        }
        if self.position < head.floor {
            return reset(Code::OffsetExpired);
        }
        Ok(())
    }

    fn delivers(&self, activity: &Activity) -> bool {
        let wanted = self.types.as_ref().is_none_or(|types| types.contains(&activity.entity_type));
        let listed = self.snapshot.as_ref().is_some_and(|snapshot| snapshot.sees(activity.commit.xid));
        activity.action != Action::Mark && wanted && !listed
    }
}
