//! What comes back to a client's machine from the world around it: answers, frames, the store, other tabs.
//!
//! Law: it is handed over as it came; what is wrong with it is the machine's business.

use antiphon_sync::client::{Client, Input, Now, Record};

/// A trace shows so much of a text.
const SHOWN_CHARS: usize = 700;

/// What comes back to a machine.
pub(crate) enum Came {
    Answer { id: u64, status: u16, retry_after_ms: Option<u64>, server_ms: Option<u64>, body: String },
    NoAnswer { id: u64 },
    Frame { stream: u64, event: &'static str, data: String },
    Ended { stream: u64, status: Option<u16> },
    Saved { token: u64 },
    NotSaved { token: u64, reason: &'static str },
    Claimed { fence: u64, won: bool },
    Read { token: u64, records: Option<Vec<(Record, String)>> },
    Shared { message: String },
}

impl Came {
    /// Hands it to a machine.
    pub(crate) fn hand(&self, client: &mut Client, now: Now) {
        client.handle(
            now,
            match self {
                Came::Answer { id, status, retry_after_ms, server_ms, body } => {
                    let (id, status, retry_after_ms, server_ms) = (*id, *status, *retry_after_ms, *server_ms);
                    Input::Answer { id, status, retry_after_ms, server_ms, body }
                }
                Came::NoAnswer { id } => Input::NoAnswer { id: *id },
                Came::Frame { stream, event: "beat", .. } => Input::Heard { stream: *stream },
                Came::Frame { stream, event, data } => Input::Frame { stream: *stream, event, data },
                Came::Ended { stream, status } => {
                    Input::Ended { stream: *stream, status: *status, retry_after_ms: None }
                }
                Came::Saved { token } => Input::Saved { token: *token },
                Came::NotSaved { token, reason } => Input::NotSaved { token: *token, reason },
                Came::Claimed { fence, won } => Input::Claimed { fence: *fence, won: *won },
                Came::Read { token, records: Some(records) } => Input::Read { token: *token, records },
                Came::Read { token, records: None } => Input::NotRead { token: *token },
                Came::Shared { message } => Input::Shared { message },
            },
        );
    }

    /// Returns a name of its kind.
    pub(crate) fn name(&self) -> String {
        match self {
            Came::Answer { status, .. } => format!("answered {status}"),
            Came::NoAnswer { .. } => "unanswered".into(),
            Came::Frame { event, .. } => (*event).into(),
            Came::Ended { status: Some(status), .. } => format!("ended {status}"),
            Came::Ended { status: None, .. } => "ended".into(),
            Came::Saved { .. } => "saved".into(),
            Came::NotSaved { .. } => "not saved".into(),
            Came::Claimed { .. } => "claimed".into(),
            Came::Read { .. } => "read".into(),
            Came::Shared { .. } => "heard".into(),
        }
    }

    /// Returns a line for a trace.
    pub(crate) fn say(&self) -> String {
        match self {
            Came::Answer { id, status, body, .. } => format!("answer {id} {status} {}", short(body)),
            Came::NoAnswer { id } => format!("no answer {id}"),
            Came::Frame { stream, event, data } => format!("frame {stream} {event} {}", short(data)),
            Came::Ended { stream, status } => format!("ended {stream} {status:?}"),
            Came::Saved { token } => format!("saved {token}"),
            Came::NotSaved { token, reason } => format!("not saved {token} {reason}"),
            Came::Claimed { fence, won } => format!("claimed {fence} {won}"),
            Came::Read { token, records } => format!("read {token} {:?}", records.as_ref().map(Vec::len)),
            Came::Shared { message } => format!("hears {}", short(message)),
        }
    }
}

/// Cuts a text for a trace.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}
