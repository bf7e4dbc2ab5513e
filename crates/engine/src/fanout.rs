//! Feeds live streams: drives one stream machine from the bus and the clock (walk of one change, step 8).
//!
//! One feed for each stream, whatever its transport. It holds a position and at most one page; between pages it waits
//! for its organisation, for time, or for its transport. It has no say in what is shown: that is the machine's.

use std::{sync::Arc, time::Duration};

use antiphon_model::{ActivityId, Code, Epoch, Micros};
use antiphon_sync::{Frame, Input, Marks, Output, Standing, StreamConfig, StreamServer};
use tokio::time::{Instant, sleep_until};

use crate::{Bus, OrgWatch, Published};

/// What a stream reads.
pub struct FeedConfig {
    /// The organisation.
    pub org: String,
    /// The stream.
    pub stream: StreamConfig,
    /// The present moment.
    pub now: Instant,
}

/// A live stream's source of frames.
pub struct Feed {
    bus: Bus,
    org: String,
    watch: OrgWatch,
    machine: StreamServer<Arc<Published>>,
    started: Instant,
}

impl Feed {
    /// Opens a feed.
    pub fn new(bus: &Bus, config: FeedConfig) -> Feed {
        // Watched before the marks are read, so that nothing that comes in between is missed.
        let watch = bus.watch(&config.org);
        let machine = StreamServer::new(config.stream, marks(bus), 0);
        let mut feed = Feed { bus: bus.clone(), org: config.org, watch, machine, started: config.now };
        feed.handle(Input::Marks(marks(bus)));
        feed
    }

    /// Returns the next frame, waiting until there is one; pending for ever once the stream is over. Cancel safe.
    pub async fn next(&mut self) -> Frame<Arc<Published>> {
        loop {
            if self.machine.reading() {
                self.read().await;
            }
            match self.machine.poll(self.now_ms()) {
                Some(Output::Frame(frame)) => return frame,
                // The machine remembers that it reads; the loop does so above, where it can be cut and begun again.
                Some(Output::Read { .. }) => {}
                None => self.wait().await,
            }
        }
    }

    /// Returns the next frame if it is there already.
    pub fn ready(&mut self) -> Option<Frame<Arc<Published>>> {
        match self.machine.poll(self.now_ms()) {
            Some(Output::Frame(frame)) => Some(frame),
            // A read that was asked for here is done by `next`.
            Some(Output::Read { .. }) | None => None,
        }
    }

    /// Tells that so many bytes were handed to the transport.
    pub fn sent(&mut self, bytes: usize) {
        self.handle(Input::Sent(bytes));
    }

    /// Tells that the reader has processed everything up to here.
    pub fn acknowledged(&mut self, offset: ActivityId) {
        self.handle(Input::Acknowledged(offset));
    }

    /// Tells what became of the right to read.
    pub fn standing(&mut self, standing: Standing) {
        self.handle(Input::Standing(standing));
    }

    /// Tells that the server stops.
    pub fn drain(&mut self, retry_after_ms: u64) {
        self.handle(Input::Drain(retry_after_ms));
    }

    /// Tells that the transport took nothing for too long.
    pub fn stalled(&mut self) {
        self.handle(Input::Stalled);
    }

    /// Returns the offset up to which the reader was told everything.
    pub fn offset(&self) -> ActivityId {
        self.machine.offset()
    }

    /// Returns the epoch that it reads.
    pub fn epoch(&self) -> Epoch {
        self.machine.epoch()
    }

    /// Tells whether everything durable was told.
    pub fn up_to_date(&self) -> bool {
        self.machine.up_to_date()
    }

    /// Tells whether it has said its last.
    pub fn over(&self) -> bool {
        self.machine.over()
    }

    /// Returns the source's clock before which everything is in the log.
    pub fn as_of(&self) -> Option<Micros> {
        self.bus.as_of()
    }

    async fn read(&mut self) {
        let (after, limit) = self.machine.wanted();
        let input = match self.bus.read(&self.org, after, limit).await {
            Ok(page) => {
                // A horizon that rose over the position while the page was read may have cut it.
                self.handle(Input::Marks(marks(&self.bus)));
                Input::Page { activities: page.activities, offset: page.offset, up_to_date: page.up_to_date }
            }
            Err(fault) => match fault.code() {
                code @ (Code::OffsetExpired | Code::EpochChanged) => Input::Lost(code, self.bus.head().epoch),
                // The log's database is away: the stream stays open and goes on when it is back.
                _ => {
                    tracing::debug!(error = %fault.chain(), "a page of the log could not be read; it is tried again");
                    Input::ReadFailed
                }
            },
        };
        self.handle(input);
    }

    async fn wait(&mut self) {
        let now_ms = self.now_ms();
        if self.machine.throttled(now_ms) {
            metrics::counter!("antiphon_stream_throttled_total").increment(1);
        }
        let wake = Duration::from_millis(self.machine.wake_at_ms(now_ms));
        tokio::select! {
            biased;
            () = self.watch.changed() => {}
            () = sleep_until(self.started + wake) => {}
        }
        self.handle(Input::Marks(marks(&self.bus)));
    }

    fn handle(&mut self, input: Input<Arc<Published>>) {
        self.machine.handle(self.now_ms(), input);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn marks(bus: &Bus) -> Marks {
    let head = bus.head();
    Marks { epoch: head.epoch, durable: head.durable, floor: head.floor }
}
