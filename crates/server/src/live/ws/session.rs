//! One WebSocket: who it is, its subscriptions, what comes in and what goes out.
//!
//! One task, one loop. Laws: what ends the connection goes before what it has still to deliver; the socket is written by
//! one hand, so a slow reader holds up only itself; every bound of protocol 4 is kept here: messages in, bytes out,
//! subscriptions, idle time, a first word in time, an answer to pings.

use std::{sync::Arc, time::Duration};

use antiphon_engine::{
    Feed,
    ports::{Principal, TokenScope},
};
use antiphon_model::{ActivityId, Code};
use antiphon_sync::{Bucket, Frame};
use futures::{FutureExt, SinkExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, Interval, MissedTickBehavior, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as SocketError, Message as Packet,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    super::{
        Ended,
        frames::Common,
        guard::{Guard, Watched, tell},
        registry::{Place, Transport},
        request::{From, Wanted},
    },
    inbound::{self, Message, Mutate, Subscribe},
    outbound,
};
use crate::{
    app::{App, Caller},
    auth::{Peer, Refusal},
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
/// A reader that takes nothing for this long is let go.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// And has so long to take the reason.
const LAST_WORD: Duration = Duration::from_secs(20);
/// One read of the log.
const PAGE: usize = 100;
/// A subscription's name may have so many bytes.
const ID_BYTES_MAX: usize = 128;
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

struct Subscription {
    id: String,
    feed: Feed,
    guard: Guard,
    ending: bool,
    place: Place,
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
    Told(usize, super::super::Told),
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
        let outbound = app.stream_bytes.map(|(rate, burst)| Bucket::new(rate, burst, 0));
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
        let next = subscriptions(&mut self.subscriptions, wait);
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
        let text = match packet {
            Packet::Text(text) => text,
            Packet::Pong(_) => {
                self.unanswered = 0;
                return Ok(());
            }
            // Pings are answered by the library.
            Packet::Ping(_) | Packet::Frame(_) => return Ok(()),
            Packet::Close(_) => return Err(End::Gone),
            Packet::Binary(_) => return self.send(outbound::error(Code::BodyInvalid, "text is wanted", None)).await,
        };
        let now = Instant::now();
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

    async fn hello(&mut self, token: Option<String>) -> Result<(), End> {
        if let Some(token) = token {
            self.identity = Some(self.authenticate(token).await?);
        }
        if self.identity.is_none() {
            self.send(outbound::error(Code::Unauthenticated, "a token is wanted", None)).await?;
            return Err(End::Close(4401, "authentication"));
        }
        self.greeted = true;
        self.greet().await
    }

    async fn greet(&mut self) -> Result<(), End> {
        let text = outbound::welcome(&self.connection_id, limits(self.app.stream_bytes), crate::compose::now());
        self.send(text).await
    }

    /// Takes a new token of the same person; subscriptions go on under it.
    async fn renew(&mut self, token: String) -> Result<(), End> {
        let renewed = self.authenticate(token).await?;
        let subject = self.identity.as_ref().map(|identity| identity.principal.subject.clone());
        if subject.as_ref() != Some(&renewed.principal.subject) {
            self.send(outbound::error(Code::Unauthenticated, "the token is somebody else's", None)).await?;
            return Err(End::Close(4401, "authentication"));
        }
        for subscription in &mut self.subscriptions {
            subscription.guard.renew(renewed.principal.clone(), renewed.token.clone());
        }
        self.identity = Some(renewed);
        self.greet().await
    }

    async fn authenticate(&mut self, token: String) -> Result<Identity, End> {
        match self.app.authenticate(&token).await {
            Ok(Ok(principal)) => Ok(Identity { principal, token }),
            Ok(Err(refusal)) => Err(self.turn_away(refusal).await?),
            Err(fault) => {
                tracing::warn!(error = %fault.chain(), "a token could not be looked at");
                self.send(outbound::notice("shutdown", Some(1_000))).await?;
                Err(End::Close(1013, "try again"))
            }
        }
    }

    /// Answers a token that is not accepted.
    async fn turn_away(&mut self, refusal: Refusal) -> Result<End, End> {
        if refusal.guess()
            && let Err(problem) = self.app.gate.guessed(self.peer)
        {
            let retry_ms = problem.retry_after_seconds().map(|seconds| u64::from(seconds) * 1_000);
            self.send(outbound::notice("rate_limited", retry_ms)).await?;
            return Ok(End::Close(4429, "rate"));
        }
        let detail = "the token is unknown, expired or revoked";
        self.send(outbound::error(Code::Unauthenticated, detail, None)).await?;
        Ok(End::Close(4401, "authentication"))
    }

    async fn subscribe(&mut self, wish: Subscribe) -> Result<(), End> {
        match self.open(&wish).await {
            Ok((feed, guard, place)) => {
                let schema = self.schemas().await;
                let head = json!({
                    "kind": "subscribed", "id": wish.id, "offset": feed.offset().as_u64(),
                    "epoch": feed.epoch().as_u32(), "access": guard.access(), "schema": schema,
                });
                let subscription = Subscription { id: wish.id, feed, guard, ending: false, place };
                self.subscriptions.push(subscription);
                self.send(head.to_string()).await
            }
            Err(Ended::Reset { code, epoch, types }) => {
                let common = Common { epoch, access: "", as_of: None };
                let told = Frame::Reset { code, epoch, types };
                match outbound::frame(&wish.id, &told, common) {
                    Some(text) => self.send(text).await,
                    None => Ok(()),
                }
            }
            Err(Ended::Problem(problem)) => {
                self.send(outbound::error(problem.code(), problem.detail(), Some(("id", &wish.id)))).await?;
                match problem.code() {
                    Code::Unauthenticated => Err(End::Close(4401, "authentication")),
                    Code::NotAMember if self.subscriptions.is_empty() => Err(End::Close(4403, "membership")),
                    _ => Ok(()),
                }
            }
        }
    }

    async fn open(&mut self, wish: &Subscribe) -> Result<(Feed, Guard, Place), Ended> {
        let refuse = |code, detail: &str| Err(Ended::Problem(Problem::new(code, detail)));
        if wish.id.is_empty() || wish.id.len() > ID_BYTES_MAX {
            return refuse(Code::BodyInvalid, "an `id` of 1 to 128 bytes is wanted");
        }
        if self.subscriptions.iter().any(|subscription| subscription.id == wish.id) {
            return refuse(Code::BodyInvalid, "a subscription of this `id` is open");
        }
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return refuse(Code::RateLimited, "this connection has too many subscriptions");
        }
        let caller = self.caller(&wish.org).await.map_err(Ended::Problem)?;
        let from = match &wish.offset {
            None => From::Now,
            Some(offset) => match offset.read() {
                Some(from) => from,
                None => return refuse(Code::ParameterInvalid, "`offset`: -1, \"now\" or an offset is wanted"),
            },
        };
        for name in wish.entity_types.iter().flatten() {
            self.app.entity(name).map_err(Ended::Problem)?;
        }
        let wanted = Wanted {
            from,
            epoch: wish.epoch,
            access: wish.access.clone(),
            types: wish.entity_types.clone().filter(|types| !types.is_empty()),
            snapshot: None,
            page: PAGE,
            rate: self.app.stream_bytes,
        };
        let place =
            self.app.streams.enter(&caller, Transport::WebSocket, self.app.streams_max).map_err(Ended::Problem)?;
        let feed = wanted.feed(&self.app, &caller).await?;
        Ok((feed, Guard::new(Arc::clone(&self.app), caller), place))
    }

    /// Finds out who is asking: a connection lives longer than tokens do, and nothing else watches over one that has no
    /// subscription.
    async fn caller(&mut self, org: &str) -> Result<Caller, Problem> {
        let Some(identity) = &self.identity else { return Err(Problem::new(Code::Unauthenticated, "")) };
        self.app.caller_again(&identity.token, org).await
    }

    async fn schemas(&mut self) -> serde_json::Map<String, serde_json::Value> {
        let mut numbers = serde_json::Map::new();
        for entity in self.app.entities.values() {
            if let Ok((_, number)) = self.app.shape(entity).await {
                numbers.insert(entity.name.clone(), number.into());
            }
        }
        numbers
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

    /// Sends what a subscription tells, and what is ready behind it.
    async fn told(&mut self, index: usize, told: super::super::Told) -> Result<(), End> {
        let began = Instant::now();
        let mut next = Some(told);
        while let Some(told) = next {
            let subscription = &mut self.subscriptions[index];
            if let Frame::Change { activity, .. } = &told {
                super::super::delivered(activity);
            }
            let (epoch, as_of) = (subscription.feed.epoch(), subscription.feed.as_of());
            let common = Common { epoch, access: subscription.guard.access(), as_of };
            let text = outbound::frame(&subscription.id, &told, common);
            let bytes = text.as_ref().map_or(0, String::len);
            subscription.feed.sent(bytes);
            subscription.place.sent(bytes, subscription.feed.offset().as_u64());
            if let Some(text) = text {
                self.feed(text).await?;
            }
            if let Frame::Notice { reason, .. } = told {
                metrics::counter!("antiphon_stream_notices_total", "reason" => reason).increment(1);
                return self.ended(index, reason).await;
            }
            if told.ends() {
                self.subscriptions.remove(index);
                break;
            }
            next = if self.outbound_wait_ms() > 0 { None } else { self.subscriptions[index].feed.ready() };
        }
        self.flush().await?;
        metrics::histogram!("antiphon_send_path_seconds").record(began.elapsed().as_secs_f64());
        Ok(())
    }

    /// A subscription has said why it ends; some reasons end the connection.
    async fn ended(&mut self, index: usize, reason: &str) -> Result<(), End> {
        self.subscriptions.remove(index);
        self.flush().await?;
        match reason {
            "auth_expired" => Err(End::Close(4401, "authentication")),
            "access_revoked" if self.subscriptions.is_empty() => Err(End::Close(4403, "membership")),
            "backpressure" => Err(End::Close(1013, "backpressure")),
            _ => Ok(()),
        }
    }

    async fn look(&mut self, index: usize) -> Result<(), End> {
        let subscription = &mut self.subscriptions[index];
        if let Some(watched) = subscription.guard.look().await {
            subscription.ending = true;
            tell(&mut subscription.feed, &watched);
        }
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

    async fn send(&mut self, text: String) -> Result<(), End> {
        self.feed(text).await?;
        self.flush().await
    }

    async fn feed(&mut self, text: String) -> Result<(), End> {
        if let Some(outbound) = &mut self.outbound {
            outbound.charge(text.len() as u64, self.started.elapsed().as_millis() as u64);
        }
        metrics::counter!("antiphon_ws_messages_out_total").increment(1);
        metrics::counter!("antiphon_ws_bytes_out_total").increment(text.len() as u64);
        self.write(Packet::text(text)).await
    }

    async fn write(&mut self, packet: Packet) -> Result<(), End> {
        match timeout(STALLED_AFTER, self.socket.feed(packet)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Stalled),
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        match timeout(STALLED_AFTER, self.socket.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Stalled),
        }
    }

    /// Says why the connection ends, as far as the reader takes it.
    async fn finish(mut self, end: End) {
        self.subscriptions.clear();
        let (code, reason, notice) = match end {
            End::Gone => return,
            End::Close(code, reason) => (code, reason, None),
            End::Stalled => {
                metrics::counter!("antiphon_stream_stalled_total").increment(1);
                (1013, "backpressure", Some(outbound::notice("backpressure", None)))
            }
        };
        if code == 4408 {
            metrics::counter!("antiphon_idle_disconnects_total").increment(1);
        }
        let notice = notice.or_else(|| (code == 4408).then(|| outbound::notice("idle_timeout", None)));
        let farewell = async {
            if let Some(notice) = notice {
                self.socket.feed(Packet::text(notice)).await?;
            }
            let close = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
            self.socket.send(Packet::Close(Some(close))).await?;
            // The other side answers; what it still says is not looked at.
            while let Some(Ok(_)) = self.socket.next().await {}
            Ok::<(), SocketError>(())
        };
        if timeout(LAST_WORD, farewell).await.is_err() {
            tracing::debug!("a WebSocket was cut without a word");
        }
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

/// Waits until one of the subscriptions has something to tell or is to be looked at.
async fn subscriptions(all: &mut [Subscription], wait_ms: u64) -> Event {
    let mut waiting = Vec::with_capacity(all.len());
    for (index, subscription) in all.iter_mut().enumerate() {
        let Subscription { feed, guard, ending, .. } = subscription;
        let looks = !*ending;
        waiting.push(
            async move {
                tokio::select! {
                    biased;
                    () = guard.due(), if looks => Event::Look(index),
                    told = async {
                        // Bytes that were sent are paid for first.
                        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                        feed.next().await
                    } => Event::Told(index, told),
                }
            }
            .boxed(),
        );
    }
    match waiting.is_empty() {
        true => std::future::pending().await,
        false => futures::future::select_all(waiting).await.0,
    }
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
