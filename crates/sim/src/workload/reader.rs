//! Readers: list every type, stream from the lowest offset, go on from where a stream broke off, list again when told to.
//!
//! Law: a reader keeps rows and offset together, and brings epoch and access with every offset, as a client must.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon_model::Visibility;
use serde_json::Value;

use super::{Stage, view::View};
use crate::{FinalView, Kind, Open, People, Request, Server, Shown, StreamEnd, StreamFrame};

/// A stream that says nothing for this long is taken for dead: servers speak every 15 seconds.
const IDLE_MS: u64 = 20_000;
/// Rows of one page: few, so that lists have several.
const PAGE_ROWS: usize = 4;
/// The types of every run, and those that a reader may want alone: what else it does is confirmed to it then.
const TYPES: &[&str] = &["note", "page", "task"];
const FEW: &[&str] = &["note", "page"];

/// Where a reader stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    view: View,
    offset: u64,
    epoch: u32,
    access: String,
    listed: bool,
    /// Whether the present stream said that it has caught up.
    live: bool,
}

/// A reader at work; cheap to clone.
#[derive(Clone)]
pub(crate) struct Reading {
    stage: Stage,
    number: u32,
    pub(crate) subject: &'static str,
    pub(crate) org: &'static str,
    types: &'static [&'static str],
    standing: Arc<Mutex<Standing>>,
}

/// Why a stream is not read any more.
enum Ended {
    /// Go on from the last id, after so many milliseconds.
    Resume(u64),
    /// List again.
    Reset,
}

impl Reading {
    /// Makes a reader.
    pub(crate) fn new(stage: Stage, number: u32, who: (&'static str, &'static str)) -> Reading {
        let (subject, org) = who;
        let types = if stage.simulation.dice().permille(300) { FEW } else { TYPES };
        Reading { stage, number, subject, org, types, standing: Arc::default() }
    }

    /// Reads for ever.
    pub(crate) async fn run(self) {
        let mut streams = 0;
        loop {
            let wait = match self.round(&mut streams).await {
                Ok(Ended::Resume(wait)) => wait,
                Ok(Ended::Reset) => {
                    *self.standing() = Standing::default();
                    0
                }
                Err(()) => 500,
            };
            self.standing().live = false;
            // Some are away for a while, and come back with what they had.
            let dice = self.stage.simulation.dice();
            let away = if dice.permille(250) { 8_000 } else { 300 };
            let jitter = dice.below(away);
            self.stage.simulation.clock().sleep_ms(wait + jitter).await;
        }
    }

    /// Tells whether it has heard everything up to an offset, and is connected.
    pub(crate) fn heard(&self, epoch: u32, offset: u64) -> bool {
        let standing = self.standing();
        standing.live && standing.epoch == epoch && standing.offset >= offset
    }

    /// Returns what it has.
    pub(crate) fn view(&self) -> FinalView {
        FinalView {
            reader: self.number,
            subject: self.subject.to_owned(),
            org: self.org.to_owned(),
            types: self.types.iter().map(|name| (*name).to_owned()).collect(),
            parts: None,
            rows: self.standing().view.rows(),
        }
    }

    /// Says where it stands, for people.
    pub(crate) fn describe(&self) -> String {
        let standing = self.standing();
        let Reading { number, subject, org, .. } = self;
        let Standing { offset, epoch, listed, live, .. } = &*standing;
        format!("reader {number} ({subject} in {org}) listed {listed} live {live} epoch {epoch} offset {offset}")
    }

    /// One connection: list where nothing is known, then stream.
    async fn round(&self, streams: &mut u64) -> Result<Ended, ()> {
        let server = self.stage.server().clone();
        if !self.standing().listed {
            let listed = self.list(&server).await?;
            *self.standing() = listed;
        }
        let open = {
            let standing = self.standing();
            Open {
                token: People::token(self.subject),
                org: self.org.to_owned(),
                offset: standing.offset.to_string(),
                epoch: Some(standing.epoch),
                access: Some(standing.access.clone()),
                types: (self.types != TYPES).then(|| self.types.iter().map(|name| (*name).to_owned()).collect()),
            }
        };
        *streams += 1;
        self.stage.look(&server);
        let opened = self.stage.network.open(self.number, &server, open).await;
        if let Err(Some((status, body))) = &opened {
            let body: Value = serde_json::from_str(body).unwrap_or_default();
            let code = body["code"].as_str().unwrap_or_default();
            self.stage.recorder.reached(format!("stream refused {status} {code}"));
        }
        match opened {
            Ok(end) => Ok(self.stream(end, *streams).await),
            Err(Some((410, _))) => Ok(Ended::Reset),
            // Who is no member keeps nothing.
            Err(Some((403, _))) => Ok(Ended::Reset),
            Err(_) => Err(()),
        }
    }

    async fn list(&self, server: &Server) -> Result<Standing, ()> {
        let mut standing = Standing { offset: u64::MAX, listed: true, ..Standing::default() };
        for entity_type in self.types {
            let mut after = None;
            loop {
                let kind = Kind::List { entity_type: (*entity_type).to_owned(), after, limit: PAGE_ROWS };
                let id = self.stage.simulation.tick();
                let request = Request { id, token: People::token(self.subject), org: self.org.to_owned(), kind };
                let answer = self.stage.network.request(self.number, server, request).await;
                let answer = answer.filter(|answer| answer.status == 200).ok_or(())?;
                let page: Value = serde_json::from_str(&answer.body).map_err(|_| ())?;
                let (epoch, access) = (page["epoch"].as_u64(), page["access"].as_str());
                let (epoch, access) = (epoch.unwrap_or_default() as u32, access.unwrap_or_default());
                // Pages of different epochs, or under another access, do not make one list.
                if standing.offset != u64::MAX && (standing.epoch != epoch || standing.access != access) {
                    return Err(());
                }
                (standing.epoch, standing.access) = (epoch, access.to_owned());
                standing.offset = standing.offset.min(page["offset"].as_u64().unwrap_or_default());
                let visibility: Visibility = page["snapshot"].as_str().unwrap_or_default().parse().map_err(|_| ())?;
                let visibility = Arc::new(visibility);
                for item in page["items"].as_array().into_iter().flatten() {
                    standing.view.listed(entity_type, item, &visibility);
                }
                after = page["next"].as_str().map(str::to_owned);
                if after.is_none() {
                    break;
                }
                // Time passes between two pages.
                let ms = self.stage.simulation.dice().below(30);
                self.stage.simulation.clock().sleep_ms(ms).await;
            }
        }
        Ok(standing)
    }

    async fn stream(&self, mut end: StreamEnd, stream: u64) -> Ended {
        loop {
            let frame = tokio::select! {
                biased;
                frame = end.next() => frame,
                () = self.stage.simulation.clock().sleep_ms(IDLE_MS) => None,
            };
            let Some(frame) = frame else { return Ended::Resume(0) };
            if let Some(ended) = self.take(&frame, stream) {
                return ended;
            }
        }
    }

    fn take(&self, frame: &StreamFrame, stream: u64) -> Option<Ended> {
        let data: Value = serde_json::from_str(&frame.data).unwrap_or_default();
        self.stage.simulation.say(|| {
            let id = frame.id.as_deref().unwrap_or("-");
            format!("reader {} stream {stream}: {} {id}", self.number, frame.event)
        });
        let of_kind = ["action", "code", "reason"].map(|name| data[name].as_str());
        let kind = match (frame.event, of_kind) {
            ("change", [Some(kind), ..]) | ("reset", [_, Some(kind), _]) | ("notice", [.., Some(kind)]) => kind,
            _ => "",
        };
        self.stage.recorder.reached(format!("frame {} {kind}", frame.event).trim_end().to_owned());
        let mut standing = self.standing();
        match frame.event {
            "change" => {
                standing.view.apply(&data);
                standing.offset = standing.offset.max(data["activityId"].as_u64().unwrap_or_default());
                let shown = Shown {
                    reader: self.number,
                    stream,
                    subject: self.subject.to_owned(),
                    org: self.org.to_owned(),
                    sent_us: frame.sent_us,
                    activity: data,
                };
                self.stage.recorder.note(|history| history.shown.push(shown));
                None
            }
            "offset" | "confirm" => {
                standing.offset = standing.offset.max(data["offset"].as_u64().unwrap_or_default());
                standing.live |= frame.event == "offset";
                None
            }
            "reset" => Some(Ended::Reset),
            "notice" if data["reason"] == "access_revoked" => Some(Ended::Reset),
            "notice" => Some(Ended::Resume(data["retryAfterMs"].as_u64().unwrap_or(1_000))),
            _ => None,
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        // A panic ends the run.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
