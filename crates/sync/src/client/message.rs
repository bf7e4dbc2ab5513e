//! What instances over one store say to each other: JSON with a version, the same bytes in browsers and the simulator.
//!
//! The channel between tabs keeps the order of one sender at best, mixes senders, and loses what comes while a tab sleeps.
//! So every message is a hint that may be lost, doubled or late: what counts is in the store, numbered by saves, and
//! whoever notices a gap reads it again. A message of a newer version says at least who sent it.

use serde::{Deserialize, Serialize};

use super::{Decision, EntityKey, EntryKey, Network, Write, subset::Subset};
use crate::form::{self, Form, Written};

/// The version of the messages that this code sends.
pub(super) const VERSION: u32 = 1;

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    /// The version.
    pub(super) v: u32,
    /// Who says it: the source of an instance.
    pub(super) from: String,
    /// What is said.
    #[serde(flatten)]
    pub(super) what: What,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Form, Written)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum What {
    /// Whoever leads is asked to say so.
    Hello {
        /// Epoch and offset that are to be in the store before the asker shows what is there.
        #[serde(default)]
        until: Option<(u64, u64)>,
    },
    /// The leader lives.
    Beat(Beat),
    /// The leader saved this.
    Saved {
        /// Its fence.
        fence: u64,
        /// The number of the save.
        save: u64,
        /// What was written; `None` where it is too much for a message.
        writes: Option<Vec<Write>>,
    },
    /// Edits were added to the store.
    Added,
    /// A person did this to edits that only the leader may change.
    Wishes {
        /// Numbered by their sender, in order.
        wishes: Vec<(u64, Wish)>,
    },
    /// Parts of types that are wanted in a tab that does not lead, all of them.
    Wants {
        /// Subsets.
        subsets: Vec<Subset>,
        /// Rows that are open.
        open: Vec<EntityKey>,
    },
    /// The leader leads no more.
    Bye {
        /// Its fence.
        fence: u64,
    },
    /// A newer version says more.
    #[serde(other)]
    Unknown,
}

/// What a leader says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Form, Written)]
#[serde(rename_all = "camelCase")]
pub(super) struct Beat {
    /// Its fence.
    pub(super) fence: u64,
    /// How many saves there were.
    pub(super) save: u64,
    /// Epoch and offset that are in the store.
    pub(super) position: (u64, u64),
    /// Whether the server answers.
    pub(super) network: Network,
    /// Up to when the source is known.
    #[serde(default)]
    pub(super) as_of: Option<String>,
    /// How far the server's clock is ahead, in milliseconds.
    #[serde(default)]
    pub(super) server_ahead_ms: i64,
    /// Up to which of an instance's wishes all is done and in the store.
    #[serde(default)]
    pub(super) done: Vec<(String, u64)>,
    /// Whether the server refuses because the user is no member any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) expelled: bool,
}

/// What a person did to an edit that is in the store already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Form, Written)]
#[serde(tag = "wish", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Wish {
    /// A conflict was decided.
    Decide {
        /// The entry.
        key: EntryKey,
        /// What was on screen.
        seen: Option<String>,
        /// How.
        decision: Decision,
    },
    /// A refused edit is to be sent again.
    Retry {
        /// The entry.
        key: EntryKey,
    },
    /// An edit is taken back.
    Discard {
        /// The entry.
        key: EntryKey,
    },
}

impl Message {
    /// Reads a message; `None` where it is none.
    pub(super) fn read(text: &str) -> Option<Message> {
        form::from_text(text).ok()
    }

    /// Writes a message.
    pub(super) fn text(&self) -> String {
        form::text(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_the_same_bytes_everywhere_and_newer_ones_are_passed_over_core_16_core_17() {
        let message = Message { v: VERSION, from: "a".into(), what: What::Hello { until: Some((1, 5)) } };
        assert_eq!(message.text(), r#"{"v":1,"from":"a","kind":"hello","until":[1,5]}"#);
        assert_eq!(Message::read(&message.text()), Some(message));
        let beat = Beat {
            fence: 3,
            save: 7,
            position: (1, 9),
            network: Network::Refused(403),
            as_of: None,
            server_ahead_ms: -5,
            done: vec![("b".into(), 2)],
            expelled: true,
        };
        let message = Message { v: VERSION, from: "a".into(), what: What::Beat(beat) };
        assert_eq!(Message::read(&message.text()), Some(message));
        let newer = r#"{"v":2,"from":"z","kind":"sings","song":[1]}"#;
        assert_eq!(Message::read(newer).map(|message| message.what), Some(What::Unknown));
        assert_eq!(Message::read("half{"), None);
    }
}
