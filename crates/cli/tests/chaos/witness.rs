//! Readers that follow the ledger through everything, one over server-sent events and one over a WebSocket.
//!
//! After each cut they go on behind the last activity that they were shown, and after a reset from the beginning of the
//! new epoch. They note what they are shown and judge nothing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use antiphon_testkit::{spawn, sse};
use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use crate::{device::Owner, ledger};

/// A stream without a word for so long is opened anew, behind what was shown.
const SILENCE: Duration = Duration::from_secs(3);
/// Without a stream, the next attempt comes after this long.
const AGAIN: Duration = Duration::from_millis(50);

type Shown = Arc<Mutex<Vec<i64>>>;

/// A reader that follows; dropping it ends it.
#[derive(Debug)]
pub struct Witness {
    name: &'static str,
    shown: Shown,
    task: JoinHandle<()>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Witness {
    /// Starts one for each transport.
    pub fn start(owner: &Owner) -> Vec<Witness> {
        let (events, socket) = (Shown::default(), Shown::default());
        let by_events = spawn("events witness", follow_events(owner.clone(), Arc::clone(&events)));
        let by_socket = spawn("socket witness", follow_socket(owner.clone(), Arc::clone(&socket)));
        vec![
            Witness { name: "SSE", shown: events, task: by_events },
            Witness { name: "WebSocket", shown: socket, task: by_socket },
        ]
    }

    /// Returns the transport.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the activities that it was shown, in their order.
    pub fn shown(&self) -> Vec<i64> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where to go on: behind the last activity, or from the beginning after a reset.
struct Place {
    shown: Shown,
    from: i64,
}

impl Place {
    fn note(&mut self, activity: &Value) -> Result<()> {
        self.from = activity["activityId"].as_i64().context("no activityId")?;
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).push(self.from);
        Ok(())
    }
}

async fn follow_events(owner: Owner, shown: Shown) {
    let mut place = Place { shown, from: -1 };
    loop {
        if let Err(error) = read_events(&owner, &mut place).await {
            tracing::debug!(%error, "the events witness reads on");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn read_events(owner: &Owner, place: &mut Place) -> Result<()> {
    let (base, org, from) = (&owner.base, ledger::ORG, place.from);
    let url = format!("{base}/v1/orgs/{org}/live?live=sse&entityTypes=entry&offset={from}");
    let opened = timeout(SILENCE, sse(&url, Some(&owner.token), None)).await;
    let mut stream = opened.context("no stream")??;
    while let Some(event) = stream.next(SILENCE).await? {
        match event.event.as_str() {
            "change" => place.note(&serde_json::from_str(&event.data)?)?,
            "reset" => {
                place.from = -1;
                return Ok(());
            }
            _ => {}
        }
    }
    bail!("the stream ended")
}

async fn follow_socket(owner: Owner, shown: Shown) {
    let mut place = Place { shown, from: -1 };
    loop {
        if let Err(error) = read_socket(&owner, &mut place).await {
            tracing::debug!(%error, "the socket witness reads on");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn read_socket(owner: &Owner, place: &mut Place) -> Result<()> {
    let address = owner.base.trim_start_matches("http://");
    let mut request = format!("ws://{address}/v1/ws").into_client_request()?;
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", "antiphon.v1".parse()?);
    headers.insert("authorization", format!("Bearer {}", owner.token).parse()?);
    let open = async {
        let stream = TcpStream::connect(address).await?;
        anyhow::Ok(tokio_tungstenite::client_async(request, stream).await?.0)
    };
    let mut socket = timeout(SILENCE, open).await.context("no socket")??;
    let subscribe = json!({
        "kind": "subscribe", "id": "ledger", "org": ledger::ORG, "entityTypes": ["entry"], "offset": place.from,
    });
    for message in [json!({ "kind": "hello" }), subscribe] {
        socket.send(Message::text(message.to_string())).await?;
    }
    loop {
        let frame = timeout(SILENCE, socket.next()).await.context("silence")?.context("the socket ended")??;
        let Message::Text(text) = frame else { continue };
        let frame: Value = serde_json::from_str(&text)?;
        match frame["kind"].as_str().unwrap_or_default() {
            "change" => place.note(&frame["activity"])?,
            "reset" => {
                place.from = -1;
                return Ok(());
            }
            "error" => bail!("{frame}"),
            _ => {}
        }
    }
}
