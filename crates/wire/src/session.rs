//! The replication session: what is acknowledged, when a status is due, and when the server counts as dead.
//!
//! A machine without IO: `handle` an input, `poll` until `None`, and come back at `deadline`. Time is a `Duration` since
//! any start that the caller chooses.
//! Laws, asserted in release: the acknowledged position never goes back, and it is never above what the application
//! said is durable. The end of log data is never acknowledged, since it says nothing about what is saved (PG-06).
//! A keepalive's position becomes `Progress` only while no transaction is open.

use std::{collections::VecDeque, time::Duration};

use antiphon_model::{Lsn, Micros};
use bytes::Bytes;

use crate::{
    Error,
    frames::{Frame, StatusUpdate, parse_frame},
};

/// The session's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// A status is sent at least this often; well below the server's `wal_sender_timeout`.
    pub status_interval: Duration,
    /// Without a frame for this long, the server counts as dead; at half of it, it is asked for a sign of life.
    pub server_timeout: Duration,
    /// Positions that move within this time share one status.
    pub acknowledge_delay: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            // Postgres gives up after 60 s by default; a tenth of it survives lost packets and slow schedulers.
            status_interval: Duration::from_secs(5),
            server_timeout: Duration::from_secs(30),
            acknowledge_delay: Duration::from_millis(10),
        }
    }
}

/// What happens to a session.
#[derive(Clone, Debug)]
pub enum Input {
    /// The content of a CopyData message.
    CopyData(Bytes),
    /// Everything that committed before this position is durable; a lower position than before changes nothing.
    Acknowledge(Lsn),
    /// Time passed.
    Tick,
    /// Time passed in which the caller read nothing, by its own choice: the silence is not the server's (PG-35).
    Unread,
}

/// What a session wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A message of the output plugin.
    Payload(Bytes),
    /// Everything that committed before this position was yielded as payloads.
    Progress {
        /// The position.
        lsn: Lsn,
        /// The server's clock.
        server_time: Micros,
    },
    /// Send this as the content of a CopyData message.
    Send(Bytes),
    /// Nothing was heard for this long: close the connection. Given once.
    Dead {
        /// How long.
        silent_for: Duration,
    },
}

/// The machine of one connection.
#[derive(Debug)]
pub struct Session {
    config: Config,
    /// The wall clock at time zero of the caller's durations, for the clock in our status.
    clock_zero: Micros,
    started_at: Lsn,
    received: Lsn,
    server_clock: Micros,
    durable: Lsn,
    told: Lsn,
    transaction_open: bool,
    heard_at: Duration,
    status_at: Duration,
    asked_at: Option<Duration>,
    dead: bool,
    outputs: VecDeque<Output>,
}

impl Session {
    /// Begins a session that streams from `started_at`; `clock` is the wall clock at `now`.
    pub fn new(config: Config, started_at: Lsn, now: Duration, clock: Micros) -> Session {
        Session {
            config,
            clock_zero: Micros(clock.0.saturating_sub(micros(now))),
            started_at,
            received: started_at,
            server_clock: Micros(0),
            durable: Lsn::ZERO,
            told: Lsn::ZERO,
            transaction_open: false,
            heard_at: now,
            status_at: now,
            asked_at: None,
            dead: false,
            outputs: VecDeque::new(),
        }
    }

    /// Takes an input.
    ///
    /// # Errors
    /// Fails where a frame is not one of the protocol's; the connection is of no more use then.
    pub fn handle(&mut self, now: Duration, input: Input) -> Result<(), Error> {
        match input {
            Input::CopyData(content) => self.handle_frame(now, content)?,
            Input::Acknowledge(lsn) => self.durable = self.durable.max(lsn),
            Input::Tick => {}
            Input::Unread => {
                self.heard_at = now;
                self.asked_at = None;
            }
        }
        self.check_time(now);
        Ok(())
    }

    /// Says whether the payloads so far end inside a transaction, which holds back `Progress`.
    pub fn transaction_open(&mut self, open: bool) {
        self.transaction_open = open;
    }

    /// Returns what is to be done next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when `handle` must be called with a tick at the latest.
    pub fn deadline(&self) -> Duration {
        let mut deadline = self.status_at + self.config.status_interval;
        if self.told < self.durable {
            deadline = deadline.min(self.status_at + self.config.acknowledge_delay);
        }
        if !self.dead {
            deadline = deadline.min(self.dead_at());
            if self.asked_at.is_none() {
                deadline = deadline.min(self.ask_at());
            }
        }
        deadline
    }

    /// Returns the highest position that the server was told.
    pub fn acknowledged(&self) -> Lsn {
        self.told
    }

    /// Returns the server's clock at its newest frame; zero before the first.
    pub fn server_clock(&self) -> Micros {
        self.server_clock
    }

    /// Returns the highest position that was received.
    pub fn received(&self) -> Lsn {
        self.received
    }

    fn handle_frame(&mut self, now: Duration, content: Bytes) -> Result<(), Error> {
        let frame = parse_frame(content)?;
        self.heard_at = now;
        self.asked_at = None;
        match frame {
            Frame::LogData { start, payload, sent_at, .. } => {
                self.server_clock = sent_at;
                self.received = self.received.max(start);
                self.outputs.push_back(Output::Payload(payload));
            }
            Frame::Keepalive { end, sent_at, reply } => {
                self.server_clock = sent_at;
                self.received = self.received.max(end);
                if !self.transaction_open && end >= self.started_at {
                    self.outputs.push_back(Output::Progress { lsn: end, server_time: sent_at });
                }
                if reply {
                    self.send_status(now, false);
                }
            }
        }
        Ok(())
    }

    fn check_time(&mut self, now: Duration) {
        let moved = self.told < self.durable && now >= self.status_at + self.config.acknowledge_delay;
        let ask = !self.dead && self.asked_at.is_none() && now >= self.ask_at();
        if ask {
            self.asked_at = Some(now);
        }
        if ask || moved || now >= self.status_at + self.config.status_interval {
            self.send_status(now, ask);
        }
        if !self.dead && now >= self.dead_at() {
            self.dead = true;
            self.outputs.push_back(Output::Dead { silent_for: now.saturating_sub(self.heard_at) });
        }
    }

    fn send_status(&mut self, now: Duration, reply: bool) {
        // INVARIANT: acknowledged <= durable, and it never goes back.
        let position = self.durable;
        assert!(position >= self.told, "an acknowledged position went back from {} to {position}", self.told);
        self.told = position;
        self.status_at = now;
        let at = Micros(self.clock_zero.0.saturating_add(micros(now)));
        let update = StatusUpdate { written: self.received.max(position), durable: position, at, reply };
        self.outputs.push_back(Output::Send(update.encode()));
    }

    fn ask_at(&self) -> Duration {
        self.heard_at + self.config.server_timeout / 2
    }

    fn dead_at(&self) -> Duration {
        self.heard_at + self.config.server_timeout
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
