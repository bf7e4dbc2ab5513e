//! One direction of one connection: a reader that stamps bytes with the time they are due, a writer that waits for it.
//!
//! The two are apart so that latency delays bytes without limiting how many are under way.

use std::{io, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{ReadHalf, WriteHalf},
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{Direction, Faults, Shared, index};

const READ_BYTES: usize = 16 * 1024;
/// So much may be under way, 4 MiB; then the sender feels it, as in a real network.
const UNDER_WAY_CHUNKS: usize = 256;
/// The timer's own resolution is 1 ms.
const TIMER: Duration = Duration::from_millis(2);

pub(super) struct Lane<'a> {
    shared: &'a Shared,
    direction: Direction,
    faults: watch::Receiver<Faults>,
    random: StdRng,
    carried_bytes: u64,
    free_at: Instant,
}

impl<'a> Lane<'a> {
    pub(super) fn new(shared: &'a Shared, direction: Direction, number: u64) -> Lane<'a> {
        let seed = shared.seed ^ (number << 1 | index(direction) as u64);
        let faults = shared.faults[index(direction)].subscribe();
        Lane {
            shared,
            direction,
            faults,
            random: StdRng::seed_from_u64(seed),
            carried_bytes: 0,
            free_at: Instant::now(),
        }
    }

    /// Returns how many of `ready` bytes the next write takes.
    fn slice(&mut self, ready: usize, faults: &Faults) -> usize {
        let sliced = faults.slice_bytes_max.map_or(ready, |max| self.random.random_range(1..=max.max(1)));
        let left = faults.reset_after_bytes.map_or(u64::MAX, |limit| limit.saturating_sub(self.carried_bytes));
        ready.min(sliced).min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Waits until the line has carried so many bytes; shorter waits than a timer can tell are added up.
    async fn pace(&mut self, bytes: usize, rate: u64) {
        let now = Instant::now();
        self.free_at = self.free_at.max(now) + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        if self.free_at - now > TIMER {
            sleep_until(self.free_at).await;
        }
    }

    async fn write(&mut self, to: &mut WriteHalf<'_>, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // Senders of faults live as long as the connection's shared state.
            let faults = self.faults.wait_for(|faults| !faults.hold).await.map_err(io::Error::other)?.clone();
            if faults.swallow {
                return Ok(());
            }
            let now = self.slice(bytes.len(), &faults);
            to.write_all(&bytes[..now]).await?;
            bytes = &bytes[now..];
            self.carried_bytes += now as u64;
            self.shared.bytes[index(self.direction)].fetch_add(now as u64, std::sync::atomic::Ordering::Relaxed);
            if faults.reset_after_bytes.is_some_and(|limit| self.carried_bytes >= limit) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if let Some(rate) = faults.bandwidth_bytes_per_second {
                self.pace(now, rate).await;
            }
            if faults.slice_bytes_max.is_some() {
                // Lets the receiver see the piece by itself.
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}

/// Carries bytes until the sender's end; an error means that the connection is to be reset.
pub(super) async fn run(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut lane: Lane<'_>) -> io::Result<()> {
    let (chunks, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY_CHUNKS);
    let faults = lane.faults.clone();
    let mut jitter = StdRng::seed_from_u64(lane.random.random());
    let read = async move {
        loop {
            let mut bytes = Vec::with_capacity(READ_BYTES);
            if from.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            let (latency, most) = { (faults.borrow().latency, faults.borrow().jitter) };
            let at = Instant::now() + latency + most.mul_f64(jitter.random::<f64>());
            if chunks.send((at, bytes)).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((at, bytes)) = due.recv().await {
            sleep_until(at).await;
            lane.write(&mut to, &bytes).await?;
        }
        // A half-close is news too: the faults that stop bytes stop it.
        let faults = lane.faults.wait_for(|faults| !faults.hold).await.map_err(io::Error::other)?.swallow;
        if faults {
            std::future::pending::<()>().await
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(seed: u64, number: u64) -> Vec<usize> {
        let shared = Shared {
            upstream: std::net::SocketAddr::from(([127, 0, 0, 1], 1)).into(),
            seed,
            faults: Default::default(),
            endings: watch::Sender::new((0, super::super::Ending::Close)),
            refusing: watch::Sender::default(),
            bytes: Default::default(),
            accepted: Default::default(),
            open: Default::default(),
        };
        let faults = Faults { slice_bytes_max: Some(1_000), ..Faults::default() };
        let mut lane = Lane::new(&shared, Direction::Up, number);
        (0..64).map(|_| lane.slice(4_096, &faults)).collect()
    }

    #[test]
    fn the_same_seed_cuts_the_same_pieces_and_another_seed_or_connection_others() {
        assert_eq!(slices(7, 3), slices(7, 3));
        assert_ne!(slices(7, 3), slices(8, 3));
        assert_ne!(slices(7, 3), slices(7, 4));
    }
}
