//! What may become of an entry of the outbox: every state by every event (CORE-02, CORE-06).
//!
//! This table is the law; the rest of the client asks it and obeys. It has no default: a new event or state does not
//! compile until each cell is answered. What cannot happen is named so, changes nothing, and is counted by whoever asks.

use serde::{Deserialize, Serialize};

use crate::form::{Form, Written};

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits to be sent; it is known to have had no effect.
    Pending,
    /// It was handed to a transport, and no definite outcome is known.
    Sent,
    /// It was applied, or gives way to a newer value; its layer stays until that has come back.
    Accepted,
    /// It waits for a person.
    Conflicted,
    /// It was refused, and is kept.
    Failed,
}

impl State {
    /// Every state.
    pub const ALL: [State; 5] = [State::Pending, State::Sent, State::Accepted, State::Conflicted, State::Failed];

    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Sent => "sent",
            State::Accepted => "accepted",
            State::Conflicted => "conflicted",
            State::Failed => "failed",
        }
    }
}

/// What happens to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// It is handed to a transport.
    HandedOver,
    /// Nothing is known of its outcome: no answer, or one that was not about it.
    NoAnswer,
    /// The server says that it is applied, now or before.
    Applied,
    /// Its effect is in the rows, or it was confirmed without one.
    Confirmed,
    /// The server's value is newer and stands; it has not come back yet.
    Yields,
    /// It is to be sent again upon a newer value.
    Rebased,
    /// A person must decide.
    Disputed,
    /// The server refused it for good.
    Refused,
    /// The server says that it had no effect, and it may be tried again.
    Aborted,
    /// A new epoch: what was said of transactions is void.
    EpochChanged,
    /// A person changed its value.
    Edited,
    /// A person wants it sent (again).
    Retried,
    /// It is taken back: by a person, by undo, or because nothing is left of it.
    Dropped,
}

impl Event {
    /// Every event.
    pub const ALL: [Event; 13] = [
        Event::HandedOver,
        Event::NoAnswer,
        Event::Applied,
        Event::Confirmed,
        Event::Yields,
        Event::Rebased,
        Event::Disputed,
        Event::Refused,
        Event::Aborted,
        Event::EpochChanged,
        Event::Edited,
        Event::Retried,
        Event::Dropped,
    ];
}

/// What the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// It goes to this state, which may be the one it is in.
    To(State),
    /// It leaves the outbox.
    End,
    /// This cannot happen, and nothing changes.
    Never,
}

/// Returns what an event does to an entry in a state.
pub const fn step(state: State, event: Event) -> Step {
    use State::{Accepted, Conflicted, Failed, Pending, Sent};
    use Step::{End, Never, To};
    match event {
        Event::HandedOver => match state {
            Pending | Sent => To(Sent),
            Accepted | Conflicted | Failed => Never,
        },
        // Only what was handed over can stay unanswered.
        Event::NoAnswer => match state {
            Sent => To(Sent),
            Pending | Accepted | Conflicted | Failed => Never,
        },
        Event::Applied => match state {
            Sent => To(Accepted),
            Pending | Accepted | Conflicted | Failed => Never,
        },
        // An echo proves the effect whatever was believed before: an answer may be lost, or older than the echo.
        Event::Confirmed => match state {
            Pending | Sent | Accepted | Conflicted | Failed => End,
        },
        Event::Yields => match state {
            Pending | Sent | Conflicted => To(Accepted),
            Accepted | Failed => Never,
        },
        // From `sent` only by an answer that says that it had no effect.
        Event::Rebased => match state {
            Pending | Sent | Conflicted | Failed => To(Pending),
            Accepted => Never,
        },
        Event::Disputed => match state {
            Pending | Sent | Conflicted | Failed => To(Conflicted),
            Accepted => Never,
        },
        Event::Refused => match state {
            Pending | Sent | Conflicted | Failed => To(Failed),
            Accepted => Never,
        },
        Event::Aborted => match state {
            Sent => To(Pending),
            Pending | Accepted | Conflicted | Failed => Never,
        },
        Event::EpochChanged => match state {
            Pending => To(Pending),
            Sent | Accepted => To(Sent),
            Conflicted => To(Conflicted),
            Failed => To(Failed),
        },
        // What is in flight is immutable: an edit behind it is an entry of its own.
        Event::Edited => match state {
            Pending => To(Pending),
            Conflicted => To(Conflicted),
            Failed => To(Failed),
            Sent | Accepted => Never,
        },
        Event::Retried => match state {
            Pending => To(Pending),
            Failed => To(Pending),
            Sent | Accepted | Conflicted => Never,
        },
        Event::Dropped => match state {
            Pending | Conflicted | Failed => End,
            Sent | Accepted => Never,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_flight_ends_only_by_a_definite_word_core_03() {
        for event in Event::ALL {
            let step = step(State::Sent, event);
            let definite = !matches!(event, Event::HandedOver | Event::NoAnswer | Event::EpochChanged);
            let by_person = matches!(event, Event::Edited | Event::Retried | Event::Dropped);
            assert_eq!(step == Step::Never, by_person, "{event:?}");
            assert_eq!(step == Step::To(State::Sent), !definite, "{event:?}");
        }
    }

    #[test]
    fn only_a_confirmation_or_a_person_ends_an_entry_core_06() {
        for state in State::ALL {
            for event in Event::ALL {
                let ends = step(state, event) == Step::End;
                assert!(!ends || matches!(event, Event::Confirmed | Event::Dropped), "{state:?} {event:?}");
            }
        }
    }
}
