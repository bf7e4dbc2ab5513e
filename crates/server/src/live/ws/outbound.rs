//! What a session says over a WebSocket: frames of protocol 4 with `kind` and the subscription's `id`.

use antiphon_model::{Code, write_string, write_time};
use serde_json::{Value, json};

use super::super::{
    Told,
    frames::{self, Common},
};
use antiphon_sync::Frame;

/// Writes what a subscription tells; `None` where there is nothing to say.
pub(super) fn frame(id: &str, told: &Told, common: Common<'_>) -> Option<String> {
    let (kind, members) = match told {
        Frame::Change { activity, action, columns } => {
            let encoded = activity.encoded(*action, columns);
            if encoded.json.is_empty() {
                return None;
            }
            let mut text = String::with_capacity(encoded.json.len() + id.len() + 48);
            open(&mut text, "change", id);
            text.push_str(",\"activity\":");
            // INVARIANT: the JSON was a String.
            text.push_str(std::str::from_utf8(&encoded.json).unwrap_or("null"));
            text.push('}');
            return Some(text);
        }
        Frame::Offset(offset) => ("offset", frames::offset(*offset, common)),
        Frame::Confirm { transaction_ids, offset } => ("confirm", frames::confirm(transaction_ids, *offset)),
        Frame::Reset { code, epoch, types } => ("reset", frames::reset(*code, *epoch, types)),
        Frame::Notice { reason, retry_after_ms } => ("notice", frames::notice(reason, *retry_after_ms)),
        // Pings of the protocol itself keep the connection alive.
        Frame::Beat => return None,
    };
    let mut text = String::with_capacity(members.len() + id.len() + 32);
    open(&mut text, kind, id);
    text.push(',');
    text.push_str(&members);
    text.push('}');
    Some(text)
}

fn open(text: &mut String, kind: &str, id: &str) {
    text.push_str("{\"kind\":\"");
    text.push_str(kind);
    text.push_str("\",\"id\":");
    write_string(text, id);
}

/// Writes a notice about the whole connection.
pub(super) fn notice(reason: &str, retry_after_ms: Option<u64>) -> String {
    format!("{{\"kind\":\"notice\",{}}}", frames::notice(reason, retry_after_ms))
}

/// Writes an error; `about` names the subscription or request, where it is about one.
pub(super) fn error(code: Code, detail: &str, about: Option<(&str, &str)>) -> String {
    let mut body =
        json!({ "kind": "error", "code": code, "detail": detail, "title": code.title(), "hint": code.hint() });
    if let Some((name, value)) = about {
        body[name] = Value::from(value);
    }
    body.to_string()
}

/// Writes the greeting.
pub(super) fn welcome(connection_id: &str, limits: Value, now: antiphon_model::Micros) -> String {
    let mut time = String::new();
    write_time(&mut time, now);
    json!({ "kind": "welcome", "connectionId": connection_id, "limits": limits, "serverTime": time }).to_string()
}
