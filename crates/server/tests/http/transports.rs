//! One reader for each transport, so that one suite holds for all (STR-08).

use std::time::Duration;

use antiphon_testkit::{Sse, sse};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, client::IntoClientRequest, protocol::CloseFrame},
};

use crate::stage::{SOON, Stage};

/// How a stream is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Sse,
    Poll,
    WebSocket,
}

pub const ALL: [Transport; 3] = [Transport::Sse, Transport::Poll, Transport::WebSocket];

/// What a reader was told: the kind of the frame, and its JSON.
pub type Told = (String, Value);

/// A stream over some transport.
pub enum Reader {
    Sse(Box<Sse>),
    Poll(Box<Poll>),
    WebSocket(Box<Socket>),
}

/// Long-polls that follow each other.
pub struct Poll {
    stage: PollStage,
    parameters: String,
    told: std::collections::VecDeque<Told>,
}

struct PollStage {
    base: String,
    token: String,
    org: String,
}

impl Reader {
    /// Opens a stream; `parameters` as in a query (`offset=..&entityTypes=..`).
    pub async fn open(stage: &Stage, transport: Transport, token: &str, org: &str, parameters: &str) -> Reader {
        match transport {
            Transport::Sse => {
                let url = stage.url(&format!("/v1/orgs/{org}/live?live=sse&{parameters}"));
                Reader::Sse(Box::new(sse(&url, Some(token), None).await.expect("a stream")))
            }
            Transport::Poll => Reader::Poll(Box::new(Poll {
                stage: PollStage { base: stage.url(""), token: token.to_owned(), org: org.to_owned() },
                parameters: parameters.to_owned(),
                told: Default::default(),
            })),
            Transport::WebSocket => {
                let mut socket = Socket::open(stage, Some(token)).await;
                socket.say(json!({ "kind": "hello" })).await;
                assert_eq!(socket.next().await.expect("a welcome").0, "welcome");
                socket.say(subscribe("s", org, parameters)).await;
                Reader::WebSocket(Box::new(socket))
            }
        }
    }

    /// Returns what comes next; `None` at the end.
    pub async fn next(&mut self) -> Option<Told> {
        match self {
            Reader::Sse(stream) => {
                let event = stream.next(SOON).await.expect("an event")?;
                Some((event.event.clone(), serde_json::from_str(&event.data).expect("JSON")))
            }
            Reader::Poll(poll) => poll.next().await,
            Reader::WebSocket(socket) => loop {
                let (kind, mut body) = socket.next().await?;
                match kind.as_str() {
                    "subscribed" => {}
                    "change" => return Some((kind, body["activity"].take())),
                    _ => return Some((kind, body)),
                }
            },
        }
    }

    /// Returns the next change, whatever else comes before it.
    pub async fn change(&mut self) -> Value {
        loop {
            let (kind, body) = self.next().await.expect("an open stream");
            if kind == "change" {
                return body;
            }
        }
    }

    /// Returns the first frame of a kind, whatever else comes before it.
    pub async fn until(&mut self, wanted: &str) -> Value {
        loop {
            let (kind, body) = self.next().await.unwrap_or_else(|| panic!("the end instead of {wanted}"));
            if kind == wanted {
                return body;
            }
        }
    }
}

impl Poll {
    async fn next(&mut self) -> Option<Told> {
        let deadline = tokio::time::Instant::now() + SOON;
        while self.told.is_empty() {
            assert!(tokio::time::Instant::now() < deadline, "nothing came");
            let PollStage { base, token, org } = &self.stage;
            let url = format!("{base}/v1/orgs/{org}/live?live=poll&timeout=5&{}", self.parameters);
            let answer = antiphon_testkit::get(&url, Some(token), &[]).await.expect("an answer");
            let body = answer.json().expect("JSON");
            if answer.status == 410 {
                return Some(("reset".into(), body));
            }
            if answer.status != 200 {
                return None;
            }
            self.advance(&body);
        }
        self.told.pop_front()
    }

    fn advance(&mut self, body: &Value) {
        for activity in body["activities"].as_array().expect("activities") {
            self.told.push_back(("change".into(), activity.clone()));
        }
        let frame = json!({ "offset": body["offset"], "epoch": body["epoch"], "access": body["access"] });
        if let Some(ids) = body.get("confirmed") {
            self.told.push_back(("confirm".into(), json!({ "transactionIds": ids, "offset": body["offset"] })));
        }
        self.told.push_back(("offset".into(), frame));
        let kept =
            self.parameters.split('&').filter(|pair| !pair.starts_with("offset=") && !pair.starts_with("snapshot="));
        let mut parameters: Vec<String> = kept.map(str::to_owned).collect();
        parameters.push(format!("offset={}", body["offset"]));
        self.parameters = parameters.join("&");
    }
}

fn subscribe(id: &str, org: &str, parameters: &str) -> Value {
    let mut message = json!({ "kind": "subscribe", "id": id, "org": org });
    for (name, value) in parameters.split('&').filter_map(|pair| pair.split_once('=')) {
        message[name] = match name {
            "entityTypes" => value.split(',').collect(),
            "offset" if value == "now" => "now".into(),
            "offset" | "epoch" => value.parse::<i64>().expect("a number").into(),
            _ => value.into(),
        };
    }
    message
}

/// A WebSocket.
pub struct Socket {
    inner: WebSocketStream<TcpStream>,
    pub closed: Option<CloseFrame>,
}

impl Socket {
    pub async fn open(stage: &Stage, token: Option<&str>) -> Socket {
        Socket::open_from(stage, token, None).await
    }

    pub async fn open_from(stage: &Stage, token: Option<&str>, origin: Option<&str>) -> Socket {
        Socket::open_at(stage, "/v1/ws", token, origin).await.expect("a handshake")
    }

    /// Opens an address; the error is the status of the refusal.
    pub async fn open_at(stage: &Stage, path: &str, token: Option<&str>, origin: Option<&str>) -> Result<Socket, u16> {
        let url = stage.url(path).replace("http://", "ws://");
        let mut request = url.as_str().into_client_request().expect("a request");
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", "antiphon.v1".parse().expect("a value"));
        if let Some(token) = token {
            headers.insert("authorization", format!("Bearer {token}").parse().expect("a value"));
        }
        if let Some(origin) = origin {
            headers.insert("origin", origin.parse().expect("a value"));
        }
        let address = url.trim_start_matches("ws://").split('/').next().expect("a host").to_owned();
        let stream = TcpStream::connect(&address).await.expect("connected");
        let (inner, answer) = match tokio_tungstenite::client_async(request, stream).await {
            Ok(opened) => opened,
            Err(Error::Http(answer)) => return Err(answer.status().as_u16()),
            Err(error) => panic!("no handshake: {error}"),
        };
        assert_eq!(answer.headers()["sec-websocket-protocol"], "antiphon.v1");
        Ok(Socket { inner, closed: None })
    }

    pub async fn say(&mut self, message: Value) {
        self.inner.send(Message::text(message.to_string())).await.expect("sent");
    }

    pub async fn raw(&mut self, message: Message) {
        self.inner.send(message).await.expect("sent");
    }

    /// Returns the next frame; `None` when the connection is closed.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            let packet = tokio::time::timeout(SOON + Duration::from_secs(5), self.inner.next()).await.expect("a frame");
            match packet {
                Some(Ok(Message::Text(text))) => {
                    let body: Value = serde_json::from_str(&text).expect("JSON");
                    return Some((body["kind"].as_str().expect("a kind").to_owned(), body));
                }
                Some(Ok(Message::Close(frame))) => self.closed = frame,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// Reads to the end and returns the code that the connection was closed with.
    pub async fn close_code(&mut self) -> Option<u16> {
        while self.next().await.is_some() {}
        self.closed.as_ref().map(|frame| frame.code.into())
    }
}
