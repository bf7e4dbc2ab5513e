//! What a reader asks for, and whether its offset is one that the log can vouch for.
//!
//! Law: an offset of another epoch, above the head or below the floor is answered by a reset, whether or not the epoch
//! was given; never by an empty answer that says up to date.

use antiphon_engine::{Feed, FeedConfig, ports::Head};
use antiphon_model::{AccessChange, ActivityId, Code, Epoch, Visibility};
use antiphon_sync::StreamConfig;
use axum::http::HeaderMap;
use tokio::time::Instant;

use super::Ended;
use crate::{
    app::{App, Caller},
    problem::Problem,
    query::{Query, invalid},
};

/// The parameters of a stream.
pub(crate) const PARAMETERS: &[&str] =
    &["offset", "epoch", "access", "live", "entityTypes", "snapshot", "limit", "timeout", "ticket"];

/// One read of the log, whatever is asked for: activities may be large, and a reader's page lies in memory.
const PAGE_MAX: usize = 100;

/// The form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Server-sent events.
    Sse,
    /// Waits for something.
    Poll {
        /// At most so many seconds.
        timeout_seconds: usize,
    },
    /// What is there.
    Page,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// Everything still in the log.
    Beginning,
    /// Nothing old.
    Now,
    /// What lies above.
    Offset(u64),
}

/// A request for a stream.
pub(crate) struct Request {
    pub(crate) form: Form,
    pub(crate) limit: usize,
    pub(crate) wanted: Wanted,
}

/// Where a stream begins and what it is for, whatever its transport.
pub(crate) struct Wanted {
    pub(crate) from: From,
    pub(crate) epoch: Option<u32>,
    pub(crate) access: Option<String>,
    pub(crate) types: Option<Vec<String>>,
    pub(crate) snapshot: Option<Visibility>,
    /// Activities of one read.
    pub(crate) page: usize,
    /// Bytes a second and burst.
    pub(crate) rate: Option<(u64, u64)>,
}

impl Request {
    /// Reads the parameters; `Last-Event-ID` stands in for the offset.
    pub(crate) fn parse(query: Option<&str>, headers: &HeaderMap, app: &App) -> Result<Request, Problem> {
        let query = Query::parse(query, PARAMETERS, &[])?;
        let form = match query.text("live") {
            None => Form::Page,
            Some("sse") => Form::Sse,
            Some("poll") => Form::Poll { timeout_seconds: query.number("timeout", 20, 1..=60)? },
            Some(_) => return Err(invalid("live", "`sse` or `poll` is wanted")),
        };
        if query.text("timeout").is_some() && !matches!(form, Form::Poll { .. }) {
            return Err(invalid("timeout", "it belongs to `live=poll`"));
        }
        let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty());
        let from = match last {
            Some(last) => offset("Last-Event-ID", last)?,
            None => query.text("offset").map_or(Ok(From::Now), |text| offset("offset", text))?,
        };
        let epoch = query.text("epoch").map(|text| text.parse().map_err(|_| invalid("epoch", "a number is wanted")));
        let snapshot = query
            .text("snapshot")
            .map(|text| text.parse().map_err(|_| invalid("snapshot", "the `snapshot` of a list is wanted")));
        let types = query.list("entityTypes");
        for name in &types {
            app.entity(name)?;
        }
        let limit = query.number("limit", 100, 1..=1_000)?;
        let wanted = Wanted {
            from,
            epoch: epoch.transpose()?,
            access: query.text("access").map(str::to_owned),
            types: (!types.is_empty()).then_some(types),
            snapshot: snapshot.transpose()?,
            page: limit.min(PAGE_MAX),
            // What an answer costs is its connection's to pay, see `Line`.
            rate: app.stream_bytes.filter(|_| form == Form::Sse),
        };
        Ok(Request { form, limit, wanted })
    }
}

impl Wanted {
    /// Opens the feed, or says why the reader must list again.
    pub(crate) async fn feed(&self, app: &App, caller: &Caller) -> Result<Feed, Ended> {
        let bus = &app.bus;
        let mut head = bus.head();
        if matches!(self.from, From::Offset(offset) if offset > head.durable.as_u64() || !head.epoch.contains(ActivityId::new(offset)))
        {
            // Another server may have written what this one has not heard of yet.
            bus.refresh(bus.log().head().await?);
            head = bus.head();
        }
        let foreign = |head: &Head| self.epoch.is_some_and(|epoch| Epoch::new(epoch) != head.epoch);
        if self.from == From::Now && !foreign(&head) {
            // What changes before capture has begun comes to nobody, so until then there is no now.
            head = bus.begun().await?;
        }
        let reset = |code| Ended::Reset { code, epoch: head.epoch, types: Vec::new() };
        if foreign(&head) {
            return Err(reset(Code::EpochChanged));
        }
        let position = self.position(&head).map_err(reset)?;
        if let Some(types) = self.changed_access(app, caller) {
            return Err(Ended::Reset { code: Code::AccessChanged, epoch: head.epoch, types });
        }
        let stream = StreamConfig {
            reader: caller.reader(),
            entities: app.entities.values().cloned().collect(),
            types: self.types.clone(),
            snapshot: self.snapshot.clone(),
            epoch: head.epoch,
            position,
            page: self.page,
            rate: self.rate,
        };
        Ok(Feed::new(bus, FeedConfig { org: caller.membership.org.clone(), stream, now: Instant::now() }))
    }

    /// Returns the types whose rows must be listed again, all where none is named; `None` where none must.
    fn changed_access(&self, app: &App, caller: &Caller) -> Option<Vec<String>> {
        let brought = self.access.as_deref()?;
        match caller.access.change(brought, app.entities.values().map(|entity| &**entity)) {
            AccessChange::None => None,
            AccessChange::Everything => Some(Vec::new()),
            AccessChange::Types(mut changed) => {
                changed.retain(|name| self.types.as_ref().is_none_or(|types| types.contains(name)));
                (!changed.is_empty()).then_some(changed)
            }
        }
    }

    fn position(&self, head: &Head) -> Result<ActivityId, Code> {
        let offset = match self.from {
            From::Beginning => return Ok(head.floor),
            From::Now => return Ok(head.durable),
            From::Offset(offset) => ActivityId::new(offset),
        };
        match offset {
            offset if !head.epoch.contains(offset) => Err(Code::EpochChanged),
            offset if offset > head.last => Err(Code::OffsetInvalid),
            offset if offset < head.floor => Err(Code::OffsetExpired),
            offset => Ok(offset),
        }
    }
}

fn offset(name: &str, text: &str) -> Result<From, Problem> {
    match text {
        "-1" => Ok(From::Beginning),
        "now" => Ok(From::Now),
        text => {
            // Numbers above 2^53 are never given out, and would be another one in a reader's JSON.
            let number = text.parse().ok().filter(|number| *number < 1 << 53);
            number.map(From::Offset).ok_or_else(|| invalid(name, "`-1`, `now` or an offset is wanted"))
        }
    }
}
