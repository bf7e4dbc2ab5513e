//! What goes out of a connection, and its last word.
//!
//! Law: whoever takes nothing for ten seconds is let go; nothing waits for a reader longer than that.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{
    Error as SocketError, Message as Packet,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{End, Session};
use crate::live::ws::outbound;

/// A reader that takes nothing for this long is let go.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// And has so long to take the reason.
const LAST_WORD: Duration = Duration::from_secs(20);

impl Session {
    pub(super) async fn send(&mut self, text: String) -> Result<(), End> {
        self.feed(text).await?;
        self.flush().await
    }

    pub(super) async fn feed(&mut self, text: String) -> Result<(), End> {
        if let Some(outbound) = &mut self.outbound {
            outbound.charge(text.len() as u64, self.started.elapsed().as_millis() as u64);
        }
        metrics::counter!("antiphon_ws_messages_out_total").increment(1);
        metrics::counter!("antiphon_ws_bytes_out_total").increment(text.len() as u64);
        self.write(Packet::text(text)).await
    }

    pub(super) async fn write(&mut self, packet: Packet) -> Result<(), End> {
        match timeout(STALLED_AFTER, self.socket.feed(packet)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Stalled),
        }
    }

    pub(super) async fn flush(&mut self) -> Result<(), End> {
        match timeout(STALLED_AFTER, self.socket.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Stalled),
        }
    }

    /// Says why the connection ends, as far as the reader takes it.
    pub(super) async fn finish(mut self, end: End) {
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
