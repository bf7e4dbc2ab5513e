//! The connection that a request came over: from where, and how much was sent to it of late.
//!
//! It rides along with each request as an extension. Law: what one connection is sent of a stream is held to the same
//! rate whatever the transport; a stream that takes the socket over counts for itself (`antiphon_sync`), answers to
//! long-polls count here, because each is a stream of its own (STR-04).

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use antiphon_sync::Bucket;
use tokio::time::{Instant, sleep};

/// Bytes of a stream that a connection is sent a second, and at once; `None`: no limit.
pub(crate) type StreamBytes = Option<(u64, u64)>;

/// A connection.
pub(crate) struct Line {
    peer: IpAddr,
    opened: Instant,
    sent: Option<Mutex<Bucket>>,
}

impl Line {
    /// A new one, to whom nothing was sent.
    pub(crate) fn new(peer: IpAddr, bytes: StreamBytes) -> Line {
        let sent = bytes.map(|(rate, burst)| Mutex::new(Bucket::new(rate, burst, 0)));
        Line { peer, opened: Instant::now(), sent }
    }

    /// Returns the address of the other end: a client's, or a proxy's.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Waits until what was sent is paid for, but not longer than `most`; then an error says how long it would take.
    pub(crate) async fn room(&self, most: Duration) -> Result<(), Duration> {
        let wait = Duration::from_millis(self.with(|bucket, now_ms| bucket.wait_ms(1, now_ms)).unwrap_or(0));
        if wait > most {
            return Err(wait);
        }
        if !wait.is_zero() {
            metrics::counter!("antiphon_stream_throttled_total").increment(1);
            sleep(wait).await;
        }
        Ok(())
    }

    /// Notes that so many bytes are sent.
    pub(crate) fn sent(&self, bytes: usize) {
        self.with(|bucket, now_ms| bucket.charge(bytes as u64, now_ms));
    }

    fn with<T>(&self, act: impl FnOnce(&mut Bucket, u64) -> T) -> Option<T> {
        let now_ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        // INVARIANT: no panic leaves the bucket half changed.
        let mut sent = self.sent.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        Some(act(&mut sent, now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_sent_its_burst_and_then_its_rate_str_04() {
        let (rate, burst) = (1 << 20, 4 << 20);
        let line = Line::new([127, 0, 0, 1].into(), Some((rate, burst)));
        let began = Instant::now();
        let mut sent = 0;
        while sent < 20 << 20 {
            line.room(Duration::from_secs(60)).await.expect("a short wait");
            line.sent(1 << 20);
            sent += 1 << 20;
            let most = burst + rate * began.elapsed().as_millis() as u64 / 1_000 + (1 << 20);
            assert!(sent <= most, "{sent} bytes after {:?}", began.elapsed());
        }
        assert!(began.elapsed() < Duration::from_secs(17), "slower than its rate: {:?}", began.elapsed());
        // What would take too long is refused at once, and says for how long.
        line.sent(100 << 20);
        let wait = line.room(Duration::from_secs(20)).await.expect_err("a long wait");
        assert!(wait > Duration::from_secs(90) && wait < Duration::from_secs(110), "{wait:?}");
        let free = Line::new([127, 0, 0, 1].into(), None);
        free.sent(usize::MAX >> 1);
        free.room(Duration::ZERO).await.expect("no limit");
    }
}
