//! What capture does about a fault: one table (style 4).

use antiphon_model::{Class, Code, SourceState};

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Try again soon, by backoff.
    Retry,
    /// Stand by: another server has the lease.
    StandBy,
    /// A person must act; look every now and then whether it has been done.
    Block,
    /// Stop until an operator resumes: going on by itself could hide a mistake of ours.
    Stop,
}

impl Reaction {
    /// Returns the state that is shown meanwhile.
    pub const fn state(self) -> SourceState {
        match self {
            Reaction::Retry | Reaction::StandBy => SourceState::Retrying,
            Reaction::Block => SourceState::Blocked,
            Reaction::Stop => SourceState::Failed,
        }
    }
}

/// Returns the reaction to a code.
pub const fn reaction(code: Code) -> Reaction {
    match (code, code.class()) {
        (Code::LeaseHeld | Code::Fenced, _) => Reaction::StandBy,
        (Code::DecodeFailed, _) => Reaction::Stop,
        (_, Class::Transient) => Reaction::Retry,
        (_, Class::Operator | Class::Caller) => Reaction::Block,
        // Our own tables may look wrong for a moment while they are migrated or restored: looking again is harmless.
        (_, Class::Bug) => Reaction::Block,
    }
}
