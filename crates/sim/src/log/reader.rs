//! Reading the simulated log; any server may.
//!
//! Law: nothing above the mark that the caller names is returned, and the floor is looked at after the rows, as the real log
//! does it.

use std::sync::{Arc, atomic::AtomicBool};

use antiphon_engine::{
    Fault,
    ports::{ActivityLog, Deleted, DeletedPage, EntityRef, Head, Scope, Span},
};
use antiphon_model::{Action, Activity, ActivityId, Code, EVERYONE, Epoch, Visibility};
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
        let mut head = self.log.alive(life)?.now.marks();
        head.begun |= self.log.shared.manners.mutant_list_before_slot;
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

    async fn of_entity(&self, entity: &EntityRef<'_>, span: Span, limit: usize) -> Result<Vec<Activity>, Fault> {
        let life = self.call().await?;
        let state = self.log.alive(life)?;
        let of_entity = |activity: &&Activity| {
            activity.org == entity.org
                && activity.entity_type == entity.entity_type
                && activity.entity_id.as_deref() == Some(entity.entity_id)
        };
        Ok(within(&state, span).rev().filter(of_entity).take(limit).cloned().collect())
    }

    async fn newest_of(
        &self,
        org: &str,
        entity_type: &str,
        entity_ids: &[String],
        span: Span,
    ) -> Result<Vec<Activity>, Fault> {
        let mut newest = Vec::new();
        for entity_id in entity_ids {
            newest.extend(self.of_entity(&EntityRef { org, entity_type, entity_id }, span, 1).await?);
        }
        Ok(newest)
    }

    async fn deletes(&self, org: &str, entity_type: &str, span: Span, limit: usize) -> Result<DeletedPage, Fault> {
        let deletes: Vec<Activity> = {
            let life = self.call().await?;
            let state = self.log.alive(life)?;
            let deleted = |activity: &&Activity| {
                activity.action == Action::Delete && activity.org == org && activity.entity_type == entity_type
            };
            within(&state, span).rev().filter(deleted).take(limit).cloned().collect()
        };
        let rest_below = deletes.last().map(|delete| delete.id).filter(|_| deletes.len() == limit);
        let mut page = DeletedPage { items: Vec::new(), rest_below };
        for delete in deletes {
            let entity_id = delete.entity_id.as_deref().unwrap_or_default();
            let history = self.of_entity(&EntityRef { org, entity_type, entity_id }, span, usize::MAX).await?;
            if history.first().is_some_and(|newest| newest.id == delete.id) {
                let last = history.into_iter().find(|activity| activity.image.is_some());
                page.items.push(Deleted { delete, last });
            }
        }
        Ok(page)
    }

    async fn of_transaction(&self, orgs: &[&str], id: &str, span: Span, limit: usize) -> Result<Vec<Activity>, Fault> {
        let life = self.call().await?;
        let state = self.log.alive(life)?;
        let of_it = |activity: &&Activity| {
            orgs.contains(&activity.org.as_str()) && activity.read_tx().is_some_and(|tx| tx.transaction_id == id)
        };
        Ok(within(&state, span).filter(of_it).take(limit).cloned().collect())
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

/// The activities of a part of the log, in order.
fn within(state: &State, span: Span) -> impl DoubleEndedIterator<Item = &Activity> {
    let lies_within = move |activity: &&Activity| activity.id <= span.up_to;
    above(state, span.after.max(state.now.head.floor)).iter().filter(lies_within)
}

/// The activities above an id: they lie in order.
fn above(state: &State, after: ActivityId) -> &[Activity] {
    let from = state.activities.partition_point(|activity| activity.id <= after);
    &state.activities[from..]
}
