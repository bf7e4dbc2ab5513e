//! Reading the simulated log; any server may.
//!
//! Law: nothing above the mark that the caller names is returned, and the floor is looked at after the rows, as the real log
//! does it.

use std::sync::{Arc, atomic::AtomicBool};

use antiphon_engine::{
    Fault,
    ports::{ActivityLog, DeletedPage, EntityRef, Head, Scope, Span},
};
use antiphon_model::{Activity, ActivityId, Code, EVERYONE, Epoch, Visibility};
use async_trait::async_trait;

use super::{Log, State};

/// One server's way to the log.
#[derive(Clone)]
pub struct LogLink {
    pub(super) log: Log,
    pub(super) reachable: Arc<AtomicBool>,
}

#[async_trait]
impl ActivityLog for LogLink {
    async fn head(&self) -> Result<Head, Fault> {
        let life = self.call().await?;
        let mut head = self.log.alive(life)?.now.head;
        if self.log.shared.manners.mutant_no_floor {
            head.floor = head.epoch.base();
        }
        Ok(head)
    }

    async fn read(
        &self,
        scope: &Scope,
        after: ActivityId,
        up_to: ActivityId,
        limit: usize,
    ) -> Result<Vec<Activity>, Fault> {
        let life = self.call().await?;
        let found = {
            let state = self.log.alive(life)?;
            // What lies below the floor is gone.
            let from = after.max(state.now.head.floor);
            let within = above(&state, from).iter().take_while(|activity| activity.id <= up_to);
            let wanted = within.filter(|activity| match scope {
                Scope::Org(org) => activity.org == *org || activity.org == EVERYONE,
                Scope::Everything => true,
            });
            wanted.take(limit).cloned().collect()
        };
        self.log.pause().await;
        // The floor is read after the rows.
        let head = self.log.alive(life)?.now.head;
        match after >= head.floor {
            true => Ok(found),
            false if self.log.shared.manners.mutant_no_floor => Ok(found),
            false if head.epoch.contains(after) => Err(Fault::new(Code::OffsetExpired, "")),
            false => Err(Fault::new(Code::EpochChanged, "")),
        }
    }

    async fn of_entity(&self, _: &EntityRef<'_>, _: Span, _: usize) -> Result<Vec<Activity>, Fault> {
        // The past of entities is asked for by people, and no one here does.
        Ok(Vec::new())
    }

    async fn newest_of(&self, _: &str, _: &str, _: &[String], _: Span) -> Result<Vec<Activity>, Fault> {
        Ok(Vec::new())
    }

    async fn deletes(&self, _: &str, _: &str, _: Span, _: usize) -> Result<DeletedPage, Fault> {
        Ok(DeletedPage::default())
    }

    async fn first_invisible(
        &self,
        after: ActivityId,
        up_to: ActivityId,
        visibility: &Visibility,
    ) -> Result<Option<ActivityId>, Fault> {
        let life = self.call().await?;
        if self.log.shared.manners.mutant_offset_is_head {
            return Ok(None);
        }
        let state = self.log.alive(life)?;
        let within = above(&state, after).iter().take_while(|activity| activity.id <= up_to);
        Ok(within
            .map(|activity| (activity.id, activity.commit.xid))
            .find(|(_, xid)| !visibility.sees(*xid))
            .map(|(id, _)| id))
    }

    async fn raise_visible(&self, epoch: Epoch, to: ActivityId) -> Result<(), Fault> {
        let life = self.call().await?;
        let mut state = self.log.alive(life)?;
        if state.now.head.epoch == epoch && state.now.head.visible < to {
            state.now.head.visible = to;
            let tick = self.log.shared.simulation.tick();
            state.flush(tick);
        }
        Ok(())
    }
}

/// The activities above an id: they lie in order.
fn above(state: &State, after: ActivityId) -> &[Activity] {
    let from = state.activities.partition_point(|activity| activity.id <= after);
    &state.activities[from..]
}
