//! One WebSocket: who it is, its subscriptions, what comes in and what goes out.
//!
//! One task, one loop. Laws: what ends the connection goes before what it has still to deliver; the socket is written by
//! one hand, so a slow reader holds up only itself; every bound of protocol 4 is kept here: messages in, bytes out,
//! subscriptions, idle time, a first word in time, an answer to pings.

mod login;
mod sender;
mod subscription;

use std::{sync::Arc, time::Duration};

use antiphon_engine::ports::{Principal, TokenScope};
use antiphon_model::{ActivityId, Code};
use antiphon_sync::Bucket;
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, Interval, MissedTickBehavior},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as SocketError, Message as Packet,
        protocol::{Role, WebSocketConfig},
    },
};

use self::subscription::Subscription;
use super::{
    super::guard::{Guard, Watched},
    inbound::{self, Message, Mutate},
    outbound,
};
use crate::{
    app::{App, Caller},
    auth::Peer,
    line::StreamBytes,
    mutations,
    problem::Problem,
    takeover::Taken,
};

/// A message may have so many bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Messages a second, and at once.
const MESSAGES: (u64, u64) = (20, 40);
/// Whoever goes on sending although this many were dropped is let go.
const DROPPED_MAX: u64 = 2_000;
/// What was dropped is told at most this often.
const DROPPED_TOLD: Duration = Duration::from_secs(5);
/// Subscriptions of one connection.
const SUBSCRIPTIONS_MAX: usize = 32;
/// Mutations under way at once; beyond, nothing more is read.
const MUTATIONS_MAX: usize = 8;
/// A connection that says nothing for this long is closed.
const IDLE: Duration = Duration::from_secs(600);
/// The first word comes within this time.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Pings are sent this often; two that are not answered end the connection.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// What is kept of a socket's input between messages.
const READ_BYTES: usize = 2 * 1024;

/// Someone whose token was accepted.
pub(super) struct Identity {
    pub(super) principal: Principal,
    pub(super) token: String,
}

/// How a session begins.
pub(super) enum Opening {
    /// The page's origin may not connect.
    OriginRefused,
    /// The handshake showed who it is.
    Shown(Identity),
    /// `hello` will show it.
    Silent,
}

/// A connection.
pub(super) struct Session {
    app: Arc<App>,
    socket: WebSocketStream<TcpStream>,
    peer: Peer,
    connection_id: String,
    identity: Option<Identity>,
    greeted: bool,
    subscriptions: Vec<Subscription>,
    mutations: FuturesUnordered<BoxFuture<'static, String>>,
    inbound: Bucket,
    outbound: Option<Bucket>,
    started: Instant,
    heard_at: Instant,
    dropped: u64,
    dropped_told_at: Option<Instant>,
    pings: Interval,
    unanswered: u32,
}

/// Why a connection ends.
enum End {
    /// The other side is gone.
    Gone,
    /// It is closed with this code.
    Close(u16, &'static str),
    /// The reader takes nothing.
    Stalled,
}

/// What happened.
enum Event {
    Packet(Option<Result<Packet, SocketError>>),
    Told(usize, crate::live::Told),
    Look(usize),
    Result(String),
    Ping,
    Drain,
    Quiet,
}

impl Session {
    /// Runs a connection to its end.
    pub(super) async fn run(app: Arc<App>, peer: Peer, opening: Opening, taken: Taken) {
        let Taken { mut socket, head, .. } = taken;
        if socket.write_all(&head).await.is_err() {
            return;
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let socket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await;
        let mut pings = tokio::time::interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        let (identity, refused) = match opening {
            Opening::OriginRefused => (None, true),
            Opening::Shown(identity) => (Some(identity), false),
            Opening::Silent => (None, false),
        };
        let outbound = app.websocket_bytes.map(|(rate, burst)| Bucket::new(rate, burst, 0));
        let mut session = Session {
            app,
            socket,
            peer,
            connection_id: uuid::Uuid::new_v4().to_string(),
            identity,
            greeted: false,
            subscriptions: Vec::new(),
            mutations: FuturesUnordered::new(),
            inbound: Bucket::new(MESSAGES.0, MESSAGES.1, 0),
            outbound,
            started: Instant::now(),
            heard_at: Instant::now(),
            dropped: 0,
            dropped_told_at: None,
            pings,
            unanswered: 0,
        };
        metrics::gauge!("antiphon_websockets_open").increment(1.0);
        let end = match refused {
            true => {
                metrics::counter!("antiphon_origin_refusals_total").increment(1);
                End::Close(4403, "origin")
            }
            false => match session.serve().await {
                Ok(()) => End::Gone,
                Err(end) => end,
            },
        };
        Box::pin(session.finish(end)).await;
        metrics::gauge!("antiphon_websockets_open").decrement(1.0);
    }

    async fn serve(&mut self) -> Result<(), End> {
        loop {
            match self.event().await {
                Event::Packet(None) => return Err(End::Gone),
                Event::Packet(Some(Err(error))) => return Err(broken(&error)),
                // What seldom happens has its room made when it does, so that an idle connection stays small (STR-22).
                Event::Packet(Some(Ok(packet))) => Box::pin(self.packet(packet)).await?,
                Event::Told(index, told) => self.told(index, told).await?,
                Event::Look(index) => Box::pin(self.look(index)).await?,
                Event::Result(text) => self.send(text).await?,
                Event::Ping => self.ping().await?,
                Event::Drain => return Box::pin(self.drain()).await,
                Event::Quiet if self.greeted => return Err(End::Close(4408, "idle")),
                Event::Quiet => return Err(End::Close(4401, "hello")),
            }
        }
    }

    /// Waits for the next thing that happens.
    async fn event(&mut self) -> Event {
        let wait = self.outbound_wait_ms();
        let quiet = if self.greeted { self.heard_at + IDLE } else { self.started + HELLO_WITHIN };
        let reads = self.mutations.len() < MUTATIONS_MAX;
        let (app, mutations) = (&self.app, &mut self.mutations);
        // What is not taken is cancel safe: nothing is lost with it.
        let next = subscription::next(&mut self.subscriptions, wait);
        tokio::select! {
            biased;
            () = app.drain.cancelled() => Event::Drain,
            _ = self.pings.tick() => Event::Ping,
            () = tokio::time::sleep_until(quiet) => Event::Quiet,
            Some(text) = mutations.next(), if !mutations.is_empty() => Event::Result(text),
            packet = self.socket.next(), if reads => Event::Packet(packet),
            event = next => event,
        }
    }

    /// Returns for how long what was sent is still to be paid for.
    fn outbound_wait_ms(&mut self) -> u64 {
        let now_ms = self.started.elapsed().as_millis() as u64;
        self.outbound.as_mut().map_or(0, |outbound| outbound.wait_ms(1, now_ms))
    }

    async fn packet(&mut self, packet: Packet) -> Result<(), End> {
        let now = Instant::now();
        let text = match packet {
            Packet::Text(text) => text,
            Packet::Close(_) => return Err(End::Gone),
            other => return self.without_text(other, now).await,
        };
        self.heard_at = now;
        metrics::counter!("antiphon_ws_messages_in_total").increment(1);
        metrics::counter!("antiphon_ws_bytes_in_total").increment(text.len() as u64);
        if !self.inbound.take(1, self.started.elapsed().as_millis() as u64) {
            return self.too_much(now).await;
        }
        match inbound::read(&text) {
            Ok(message) => self.message(message).await,
            Err(unreadable) => {
                let about = unreadable.request_id.as_deref().map(|id| ("requestId", id));
                self.send(outbound::error(Code::BodyInvalid, &unreadable.why, about)).await
            }
        }
    }

    /// Takes what is no message; it costs as much, so that nobody floods with what needs no reading.
    async fn without_text(&mut self, packet: Packet, now: Instant) -> Result<(), End> {
        if matches!(packet, Packet::Pong(_)) {
            self.unanswered = 0;
        }
        if !self.inbound.take(1, self.started.elapsed().as_millis() as u64) {
            return self.too_much(now).await;
        }
        match packet {
            Packet::Binary(_) => self.send(outbound::error(Code::BodyInvalid, "text is wanted", None)).await,
            // Pings are answered by the library.
            _ => Ok(()),
        }
    }

    /// A message above the rate is dropped, counted and, now and then, told.
    async fn too_much(&mut self, now: Instant) -> Result<(), End> {
        metrics::counter!("antiphon_ws_messages_dropped_total").increment(1);
        self.dropped += 1;
        if self.dropped > DROPPED_MAX {
            self.send(outbound::notice("rate_limited", Some(5_000))).await?;
            return Err(End::Close(4429, "rate"));
        }
        if self.dropped_told_at.is_some_and(|at| now - at < DROPPED_TOLD) {
            return Ok(());
        }
        self.dropped_told_at = Some(now);
        let detail = format!("{} messages were dropped so far; at most {} a second are read", self.dropped, MESSAGES.0);
        self.send(outbound::error(Code::RateLimited, &detail, None)).await
    }

    async fn message(&mut self, message: Message) -> Result<(), End> {
        if !self.greeted && !matches!(message, Message::Hello(_)) {
            self.send(outbound::error(Code::Unauthenticated, "`hello` comes first", None)).await?;
            return Err(End::Close(4401, "hello"));
        }
        match message {
            Message::Hello(hello) => self.hello(hello.token).await,
            Message::Auth(auth) => self.renew(auth.token).await,
            Message::Subscribe(subscribe) => self.subscribe(subscribe).await,
            Message::Unsubscribe(unsubscribe) => {
                self.subscriptions.retain(|subscription| subscription.id != unsubscribe.id);
                Ok(())
            }
            Message::Ack(ack) => {
                if let Some(found) = self.subscriptions.iter_mut().find(|subscription| subscription.id == ack.id) {
                    found.feed.acknowledged(ActivityId::new(ack.offset));
                }
                Ok(())
            }
            Message::Mutate(mutate) => self.mutate(mutate).await,
            Message::Ping => self.send(json!({ "kind": "pong" }).to_string()).await,
        }
    }

    /// Finds out who is asking: a connection lives longer than tokens do, and nothing else watches over one that has no
    /// subscription.
    async fn caller(&mut self, org: &str) -> Result<Caller, Problem> {
        let Some(identity) = &self.identity else { return Err(Problem::new(Code::Unauthenticated, "")) };
        self.app.caller_again(&identity.token, org).await
    }

    /// Applies edits beside everything else; the answer comes when they are decided.
    async fn mutate(&mut self, mutate: Mutate) -> Result<(), End> {
        let Mutate { org, request_id, mutations, atomic, stream_offset, .. } = mutate;
        let caller = self.caller(&org).await;
        if let Err(problem) = &caller
            && problem.code() == Code::Unauthenticated
        {
            self.send(outbound::error(problem.code(), problem.detail(), Some(("requestId", &request_id)))).await?;
            return Err(End::Close(4401, "authentication"));
        }
        let batch = mutations::read_batch(mutations.get(), atomic.unwrap_or(false), stream_offset);
        let app = Arc::clone(&self.app);
        self.mutations.push(Box::pin(async move {
            let results = async {
                let caller = caller?;
                Caller::demand(&caller.principal, TokenScope::Write)?;
                mutations::apply(&app, &caller, &batch?).await
            };
            match results.await {
                Ok(results) => json!({ "kind": "result", "requestId": request_id, "results": results }).to_string(),
                Err(problem) => outbound::error(problem.code(), problem.detail(), Some(("requestId", &request_id))),
            }
        }));
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), End> {
        if self.unanswered >= 2 {
            metrics::counter!("antiphon_half_open_disconnects_total").increment(1);
            return Err(End::Gone);
        }
        self.unanswered += 1;
        self.write(Packet::Ping(Default::default())).await?;
        self.flush().await
    }

    async fn drain(&mut self) -> Result<(), End> {
        let Watched::Drain(retry) = Guard::drained() else { return Err(End::Gone) };
        self.send(outbound::notice("shutdown", Some(retry))).await?;
        Err(End::Close(1001, "shutdown"))
    }
}

/// What a connection may do, for its `welcome` and for operators.
pub(crate) fn limits(bytes: StreamBytes) -> serde_json::Value {
    json!({
        "messageBytes": MESSAGE_BYTES_MAX, "messagesPerSecond": MESSAGES.0, "messagesBurst": MESSAGES.1,
        "bytesPerSecond": bytes.map(|(rate, _)| rate), "bytesBurst": bytes.map(|(_, burst)| burst), "subscriptions": SUBSCRIPTIONS_MAX,
        "unacknowledged": antiphon_sync::UNACKNOWLEDGED_MAX, "idleTimeoutSeconds": IDLE.as_secs(),
    })
}

/// What a broken socket means.
fn broken(error: &SocketError) -> End {
    match error {
        SocketError::Capacity(_) => End::Close(1009, "a message may have 64 KiB"),
        SocketError::Utf8(_) => End::Close(1007, "text is UTF-8"),
        SocketError::Protocol(_) => End::Close(1002, "the protocol was not kept"),
        _ => End::Gone,
    }
}
