//! What a client may say over a WebSocket, read strictly.
//!
//! Law: what is unknown, malformed or too much is answered by an error that says so; nothing else comes of it.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::live::request::From;

/// A message of a client.
#[derive(Debug)]
pub(super) enum Message {
    /// Begins the session.
    Hello(Hello),
    /// Renews the token.
    Auth(Auth),
    /// Opens a subscription.
    Subscribe(Subscribe),
    /// Ends a subscription.
    Unsubscribe(Unsubscribe),
    /// Everything up to an offset was processed.
    Ack(Ack),
    /// Writes.
    Mutate(Mutate),
    /// The connection lives.
    Ping,
}

/// `hello {token?}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hello {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    /// Who it is, where the handshake did not say.
    #[serde(default)]
    pub(super) token: Option<String>,
}

/// `auth {token}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    /// The new token.
    pub(super) token: String,
}

/// `subscribe {id, org, offset, epoch, access, entityTypes?}`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Subscribe {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    /// Its name in this session.
    pub(super) id: String,
    /// The organisation.
    pub(super) org: String,
    /// Where to begin; absent: at the head.
    #[serde(default)]
    pub(super) offset: Option<Offset>,
    /// The epoch that the client's rows belong to.
    #[serde(default)]
    pub(super) epoch: Option<u32>,
    /// The access that they were read under.
    #[serde(default)]
    pub(super) access: Option<String>,
    /// Only these types.
    #[serde(default)]
    pub(super) entity_types: Option<Vec<String>>,
}

/// `unsubscribe {id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unsubscribe {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    /// The subscription.
    pub(super) id: String,
}

/// `ack {id, offset}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ack {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    /// The subscription.
    pub(super) id: String,
    /// The offset.
    pub(super) offset: u64,
}

/// `mutate {org, requestId, mutations, ...}`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Mutate {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    /// The organisation.
    pub(super) org: String,
    /// Names the answer.
    pub(super) request_id: String,
    /// The edits.
    pub(super) mutations: Box<RawValue>,
    /// Whether all or none is applied.
    #[serde(default)]
    pub(super) atomic: Option<bool>,
    /// What the client has read.
    #[serde(default)]
    pub(super) stream_offset: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ping {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
}

/// An offset as a client writes it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Offset {
    /// A number; -1 is the beginning.
    Number(i64),
    /// `now`, or a number as text.
    Text(String),
}

impl Offset {
    /// Returns where to begin.
    pub(super) fn read(&self) -> Option<From> {
        let number = match self {
            Offset::Number(number) => *number,
            Offset::Text(text) if text == "now" => return Some(From::Now),
            Offset::Text(text) => text.parse().ok()?,
        };
        match number {
            -1 => Some(From::Beginning),
            // Numbers above 2^53 are never given out.
            0..=0x001F_FFFF_FFFF_FFFF => Some(From::Offset(number.unsigned_abs())),
            _ => None,
        }
    }
}

/// A message that cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// What is wrong.
    pub(super) why: String,
    /// The request that it belongs to, where that much can be read.
    pub(super) request_id: Option<String>,
}

/// Reads a message; nesting is bounded by the parser itself.
pub(super) fn read(text: &str) -> Result<Message, Unreadable> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outline<'a> {
        #[serde(borrow)]
        kind: Cow<'a, str>,
        #[serde(default)]
        request_id: Option<String>,
    }
    let unreadable = |why: String, request_id| Unreadable { why, request_id };
    let outline: Outline<'_> = serde_json::from_str(text).map_err(|error| unreadable(error.to_string(), None))?;
    let message = match &*outline.kind {
        "hello" => serde_json::from_str(text).map(Message::Hello),
        "auth" => serde_json::from_str(text).map(Message::Auth),
        "subscribe" => serde_json::from_str(text).map(Message::Subscribe),
        "unsubscribe" => serde_json::from_str(text).map(Message::Unsubscribe),
        "ack" => serde_json::from_str(text).map(Message::Ack),
        "mutate" => serde_json::from_str(text).map(Message::Mutate),
        "ping" => serde_json::from_str::<Ping>(text).map(|_| Message::Ping),
        _ => return Err(unreadable("the kind of the message is not known".to_owned(), outline.request_id)),
    };
    message.map_err(|error| unreadable(error.to_string(), outline.request_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_strictly() {
        assert!(matches!(read(r#"{"kind":"hello"}"#), Ok(Message::Hello(Hello { token: None, .. }))));
        assert!(matches!(read(r#"{"kind":"ping"}"#), Ok(Message::Ping)));
        let subscribe = r#"{"kind":"subscribe","id":"a","org":"acme","offset":-1,"entityTypes":["page"]}"#;
        let Ok(Message::Subscribe(Subscribe { offset: Some(offset), .. })) = read(subscribe) else {
            panic!("a subscribe")
        };
        assert_eq!(offset.read(), Some(From::Beginning));
        let mutate = r#"{"kind":"mutate","org":"acme","requestId":"1","mutations":[{"a":1}]}"#;
        assert!(matches!(read(mutate), Ok(Message::Mutate(Mutate { atomic: None, .. }))));
        let deep = format!(r#"{{"kind":"ping","x":{}"#, "[".repeat(60_000));
        for bad in
            ["", "{}", r#"{"kind":"hallo"}"#, r#"{"kind":"ping","x":1}"#, r#"{"kind":"ack","id":"a"}"#, "[1]", &deep]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        let named = read(r#"{"kind":"mutate","requestId":"7"}"#).unwrap_err();
        assert_eq!(named.request_id.as_deref(), Some("7"));
        for (offset, from) in
            [(r#""now""#, Some(From::Now)), ("7", Some(From::Offset(7))), ("-2", None), (r#""x""#, None)]
        {
            let offset: Offset = serde_json::from_str(offset).unwrap();
            assert_eq!(offset.read(), from);
        }
    }
}
