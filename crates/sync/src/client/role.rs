//! Which of several instances over one store speaks for it: every role by every event (CORE-16, SY-55, SY-56).
//!
//! Tabs of a browser share a store. One of them leads: it holds the store's fence, the stream and the sending. The others
//! follow: they show what the leader saved, and add edits. This table is the law; like the one of entries it has no
//! default, and what cannot happen changes nothing. Laws: only a leader writes anything but new edits, and only after it
//! read the store under its own fence; whoever is outdone keeps what it shows until the other has come as far.

/// What an instance is to its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It shows what the leader saved, and adds edits.
    Follower,
    /// It heard of no leader for too long, and asks for the fence.
    Candidate,
    /// It has the fence, and reads what the former leader left.
    Heir,
    /// It speaks for the store.
    Leader,
    /// It led, and another does now; it shows what it knew until that one has come as far.
    Fenced,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 5] = [Role::Follower, Role::Candidate, Role::Heir, Role::Leader, Role::Fenced];

    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Heir => "heir",
            Role::Leader => "leader",
            Role::Fenced => "fenced",
        }
    }
}

/// What happens to a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleEvent {
    /// The store's driver took the fence before the store was read: it leads from the start.
    Began,
    /// No leader was heard of for too long.
    Silent,
    /// The fence is its own.
    Won,
    /// Another was faster.
    Lost,
    /// The store was read.
    Read,
    /// A leader with a higher fence was heard.
    Outdone,
    /// The store refused a save, because its fence is another's.
    Refused,
    /// It is to stop leading: it closes, or its driver says so.
    Released,
}

impl RoleEvent {
    /// Every event.
    pub const ALL: [RoleEvent; 8] = [
        RoleEvent::Began,
        RoleEvent::Silent,
        RoleEvent::Won,
        RoleEvent::Lost,
        RoleEvent::Read,
        RoleEvent::Outdone,
        RoleEvent::Refused,
        RoleEvent::Released,
    ];
}

/// Returns what an event makes of a role; `None` where it cannot happen, and changes nothing.
pub const fn role_step(role: Role, event: RoleEvent) -> Option<Role> {
    use Role::{Candidate, Fenced, Follower, Heir, Leader};
    match event {
        RoleEvent::Began => match role {
            Follower | Candidate | Heir | Leader | Fenced => Some(Leader),
        },
        // Whoever waits for an answer about the fence, or has it, has nothing to be silent about.
        RoleEvent::Silent => match role {
            Follower | Fenced => Some(Candidate),
            Candidate | Heir | Leader => None,
        },
        // A fence that was granted is used, however late the word of it comes: nobody else has it.
        RoleEvent::Won => match role {
            Follower | Candidate | Fenced | Heir => Some(Heir),
            Leader => None,
        },
        RoleEvent::Lost => match role {
            Candidate => Some(Follower),
            Follower | Heir | Leader | Fenced => None,
        },
        // A follower reads the store where it missed something.
        RoleEvent::Read => match role {
            Follower | Fenced => Some(Follower),
            Candidate => Some(Candidate),
            Heir => Some(Leader),
            Leader => Some(Leader),
        },
        RoleEvent::Outdone => match role {
            Follower => Some(Follower),
            Candidate => Some(Candidate),
            // It has written nothing yet, and shows what a follower does.
            Heir => Some(Follower),
            Leader | Fenced => Some(Fenced),
        },
        RoleEvent::Refused => match role {
            Heir | Follower | Candidate => None,
            Leader | Fenced => Some(Fenced),
        },
        RoleEvent::Released => match role {
            Follower => Some(Follower),
            Candidate => Some(Candidate),
            Heir => Some(Follower),
            Leader | Fenced => Some(Fenced),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_leads_without_the_fence_and_a_look_at_the_store_core_16() {
        for role in Role::ALL {
            for event in RoleEvent::ALL {
                let leads = role_step(role, event) == Some(Role::Leader) && role != Role::Leader;
                let rightly = event == RoleEvent::Began || (role, event) == (Role::Heir, RoleEvent::Read);
                assert_eq!(leads, rightly && role != Role::Leader, "{role:?} {event:?}");
            }
        }
    }

    #[test]
    fn whoever_is_outdone_stops_leading_at_once_sy_55_sy_56() {
        for event in [RoleEvent::Outdone, RoleEvent::Refused, RoleEvent::Released] {
            for role in Role::ALL {
                assert_ne!(role_step(role, event), Some(Role::Leader), "{role:?} {event:?}");
            }
        }
    }
}
