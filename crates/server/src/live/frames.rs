//! What readers are told, as text: events of a stream, and the JSON inside that WebSocket frames share.
//!
//! One place for the shapes of protocol 4. Law: a frame of a stream is whole lines, whatever line ends a document holds.

use antiphon_engine::Published;
use antiphon_model::{ActivityId, Code, Columns, Epoch, Micros, write_string, write_time};
use antiphon_sync::Frame;
use bytes::Bytes;

/// What a reader who is not told otherwise waits before it comes back, in milliseconds.
pub(super) const RETRY_MS: u64 = 1_000;

/// What frames of one stream have in common.
#[derive(Clone, Copy)]
pub(super) struct Common<'a> {
    pub(super) epoch: Epoch,
    pub(super) access: &'a str,
    pub(super) as_of: Option<Micros>,
}

/// Writes the members of an `offset`.
pub(super) fn offset(offset: ActivityId, common: Common<'_>) -> String {
    let as_of = match common.as_of {
        Some(at) => {
            let mut text = String::from("\"");
            write_time(&mut text, at);
            text.push('"');
            text
        }
        None => "null".to_owned(),
    };
    let Common { epoch, access, .. } = common;
    format!("\"offset\":{offset},\"epoch\":{epoch},\"access\":\"{access}\",\"asOf\":{as_of}")
}

/// Writes the members of a `confirm`.
pub(super) fn confirm(transaction_ids: &[String], offset: ActivityId) -> String {
    format!("\"transactionIds\":{},\"offset\":{offset}", names(transaction_ids))
}

/// Writes the members of a `reset`.
pub(super) fn reset(code: Code, epoch: Epoch, types: &[String]) -> String {
    let mut text = format!("\"code\":\"{code}\",\"epoch\":{epoch}");
    if !types.is_empty() {
        text.push_str(",\"entityTypes\":");
        text.push_str(&names(types));
    }
    text
}

/// Writes the members of a `notice`.
pub(super) fn notice(reason: &str, retry_after_ms: Option<u64>) -> String {
    let retry = retry_after_ms.unwrap_or(RETRY_MS);
    format!("\"code\":\"disconnect_notice\",\"reason\":\"{reason}\",\"retryAfterMs\":{retry}")
}

fn names(list: &[String]) -> String {
    let mut text = String::from("[");
    for name in list {
        if text.len() > 1 {
            text.push(',');
        }
        write_string(&mut text, name);
    }
    text.push(']');
    text
}

/// Returns a frame as an event of a stream, in a chunk; nothing where nothing of an activity is left.
pub(super) fn event(frame: &Frame<std::sync::Arc<Published>>, common: Common<'_>) -> Bytes {
    let owned = match frame {
        Frame::Change { activity, action, columns } => return change(activity, *action, columns),
        Frame::Offset(at) => one("offset", Some(*at), &format!("{{{}}}", offset(*at, common))),
        Frame::Confirm { transaction_ids, offset } => {
            one("confirm", Some(*offset), &format!("{{{}}}", confirm(transaction_ids, *offset)))
        }
        Frame::Beat => ": beat\n\n".to_owned(),
        Frame::Reset { code, epoch, types } => {
            format!("id: end\n{}", one("reset", None, &format!("{{{}}}", reset(*code, *epoch, types))))
        }
        Frame::Notice { reason, retry_after_ms } => {
            let retry = retry_after_ms.unwrap_or(RETRY_MS);
            format!("retry: {retry}\n{}", one("notice", None, &format!("{{{}}}", notice(reason, *retry_after_ms))))
        }
    };
    chunk(&owned).into()
}

fn change(activity: &Published, action: antiphon_model::Action, columns: &Columns) -> Bytes {
    let encoded = activity.encoded(action, columns);
    if encoded.json.is_empty() {
        return Bytes::new();
    }
    encoded.sse(|json| chunk(&one("change", Some(activity.id), json))).clone()
}

/// Returns text as a chunk of a body.
pub(super) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Returns the text inside a chunk.
pub(super) fn unchunked(chunk: &Bytes) -> Bytes {
    let start = chunk.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    chunk.slice(start.min(chunk.len())..chunk.len().saturating_sub(2).max(start))
}

/// Writes one event.
fn one(event: &str, id: Option<ActivityId>, data: &str) -> String {
    let mut out = String::with_capacity(data.len() + 64);
    if let Some(id) = id {
        out.push_str(&format!("id: {id}\n"));
    }
    out.push_str("event: ");
    out.push_str(event);
    // A document of type `json` may hold line ends of every kind between its parts: each line is a field of its own, and
    // the reader joins them.
    for line in data.split(['\n', '\r']) {
        out.push_str("\ndata: ");
        out.push_str(line);
    }
    out.push_str("\n\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_in_a_document_does_not_end_the_frame_sy_08() {
        let out = one("change", Some(ActivityId::new(7)), "{\"a\":\n1}");
        assert_eq!(out, "id: 7\nevent: change\ndata: {\"a\":\ndata: 1}\n\n");
        // A carriage return ends a line for an EventSource as well.
        let out = one("change", None, "{\"a\":\r1,\r\n\"b\":2}");
        assert_eq!(out, "event: change\ndata: {\"a\":\ndata: 1,\ndata: \ndata: \"b\":2}\n\n");
    }

    #[test]
    fn a_chunk_holds_its_text() {
        let text = chunk(": beat\n\n");
        assert_eq!(text, "8\r\n: beat\n\n\r\n");
        assert_eq!(unchunked(&text.into()), ": beat\n\n");
    }
}
