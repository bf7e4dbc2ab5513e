//! The subscriptions of a connection: how one opens, what it tells, and how it ends.
//!
//! Laws: each ends alone, unless its reason is the connection's; bytes that were sent are paid for before more is asked
//! of its feed.

use std::{sync::Arc, time::Duration};

use antiphon_engine::Feed;
use antiphon_model::Code;
use antiphon_sync::Frame;
use futures::FutureExt;
use serde_json::json;
use tokio::time::Instant;

use super::{End, Event, SUBSCRIPTIONS_MAX, Session};
use crate::{
    live::{
        self, Ended,
        frames::Common,
        guard::{Guard, tell},
        registry::{Place, Transport},
        request::{From, Wanted, named_once},
        ws::{inbound::Subscribe, outbound},
    },
    problem::Problem,
};

/// One read of the log.
const PAGE: usize = 100;
/// A subscription's name may have so many bytes.
const ID_BYTES_MAX: usize = 128;

pub(super) struct Subscription {
    pub(super) id: String,
    pub(super) feed: Feed,
    pub(super) guard: Guard,
    ending: bool,
    place: Place,
}

impl Session {
    pub(super) async fn subscribe(&mut self, wish: Subscribe) -> Result<(), End> {
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
            types: wish.entity_types.clone().map(named_once).filter(|types| !types.is_empty()),
            snapshot: None,
            page: PAGE,
            rate: self.app.websocket_bytes,
        };
        let place =
            self.app.streams.enter(&caller, Transport::WebSocket, self.app.streams_max).map_err(Ended::Problem)?;
        let feed = wanted.feed(&self.app, &caller).await?;
        Ok((feed, Guard::new(Arc::clone(&self.app), caller), place))
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

    /// Sends what a subscription tells, and what is ready behind it.
    pub(super) async fn told(&mut self, index: usize, told: live::Told) -> Result<(), End> {
        let began = Instant::now();
        let mut next = Some(told);
        while let Some(told) = next {
            let subscription = &mut self.subscriptions[index];
            if let Frame::Change { activity, .. } = &told {
                live::delivered(activity);
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

    pub(super) async fn look(&mut self, index: usize) -> Result<(), End> {
        let subscription = &mut self.subscriptions[index];
        if let Some(watched) = subscription.guard.look().await {
            subscription.ending = true;
            tell(&mut subscription.feed, &watched);
        }
        Ok(())
    }
}

/// Waits until one of the subscriptions has something to tell or is to be looked at.
pub(super) async fn next(all: &mut [Subscription], wait_ms: u64) -> Event {
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
