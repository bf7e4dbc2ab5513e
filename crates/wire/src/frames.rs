//! The frames inside CopyData of a replication connection: log data, keepalive, and our status update.
//!
//! Only headers are read here; what a payload means is `pgoutput`'s. A frame shorter than its header is an error, and
//! bytes after a keepalive's last field are ignored, as libpq does.

use antiphon_model::{Lsn, Micros, POSTGRES_EPOCH_MICROS};
use bytes::{BufMut, Bytes, BytesMut};

use crate::Error;

const LOG_DATA_HEADER_BYTES: usize = 25;
const KEEPALIVE_BYTES: usize = 18;

/// A frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message of the output plugin.
    LogData {
        /// Where the message starts in the log, or the commit's position; 0 for messages without one.
        start: Lsn,
        /// The end of what the server has sent.
        end: Lsn,
        /// The server's clock.
        sent_at: Micros,
        /// The message.
        payload: Bytes,
    },
    /// A sign of life.
    Keepalive {
        /// Everything that committed before this position was sent.
        end: Lsn,
        /// The server's clock.
        sent_at: Micros,
        /// Whether the server wants an answer at once.
        reply: bool,
    },
}

/// Reads the content of one CopyData message.
///
/// # Errors
/// Fails where the kind is unknown or the header is cut short.
pub fn parse_frame(content: Bytes) -> Result<Frame, Error> {
    let bytes = content.len();
    let field = |at: usize| -> Option<u64> {
        let part = content.get(at..at + 8)?;
        Some(u64::from_be_bytes(part.try_into().ok()?))
    };
    let short = Error::ShortFrame { bytes };
    match content.first() {
        Some(b'w') if bytes >= LOG_DATA_HEADER_BYTES => Ok(Frame::LogData {
            start: Lsn::new(field(1).ok_or(short)?),
            end: Lsn::new(field(9).ok_or(short)?),
            sent_at: from_postgres(field(17).ok_or(short)? as i64),
            payload: content.slice(LOG_DATA_HEADER_BYTES..),
        }),
        Some(b'k') if bytes >= KEEPALIVE_BYTES => Ok(Frame::Keepalive {
            end: Lsn::new(field(1).ok_or(short)?),
            sent_at: from_postgres(field(9).ok_or(short)? as i64),
            reply: content[17] != 0,
        }),
        Some(b'w' | b'k') | None => Err(short),
        Some(kind) => Err(Error::UnknownFrame { kind: *kind }),
    }
}

/// A standby status update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusUpdate {
    /// What was received.
    pub written: Lsn,
    /// What is durable, told as flushed and as applied.
    pub durable: Lsn,
    /// Our clock.
    pub at: Micros,
    /// Whether the server shall answer at once.
    pub reply: bool,
}

impl StatusUpdate {
    /// Writes the content of the CopyData message.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(34);
        out.put_u8(b'r');
        out.put_u64(self.written.as_u64());
        out.put_u64(self.durable.as_u64());
        out.put_u64(self.durable.as_u64());
        out.put_i64(self.at.0.saturating_sub(POSTGRES_EPOCH_MICROS));
        out.put_u8(u8::from(self.reply));
        out.freeze()
    }
}

/// Converts a time of Postgres's epoch; one at the edge of the range is clamped.
pub(crate) fn from_postgres(micros: i64) -> Micros {
    Micros(micros.saturating_add(POSTGRES_EPOCH_MICROS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_cut_short_at_every_byte_are_errors_se_38() {
        for (kind, header) in [(b'w', LOG_DATA_HEADER_BYTES), (b'k', KEEPALIVE_BYTES)] {
            let mut frame = vec![kind];
            frame.resize(header, 1);
            for length in 1..header {
                let cut = Bytes::copy_from_slice(&frame[..length]);
                assert_eq!(parse_frame(cut), Err(Error::ShortFrame { bytes: length }));
            }
            assert!(parse_frame(frame.into()).is_ok());
        }
        assert_eq!(parse_frame(Bytes::new()), Err(Error::ShortFrame { bytes: 0 }));
        assert_eq!(parse_frame(Bytes::from_static(b"x")), Err(Error::UnknownFrame { kind: b'x' }));
    }

    #[test]
    fn a_status_update_is_34_bytes_with_the_durable_position_twice() {
        let update = StatusUpdate {
            written: Lsn::new(3),
            durable: Lsn::new(2),
            at: Micros(POSTGRES_EPOCH_MICROS + 5),
            reply: true,
        };
        let bytes = update.encode();
        assert_eq!(bytes.len(), 34);
        assert_eq!(&bytes[1..9], &3u64.to_be_bytes());
        assert_eq!((&bytes[9..17], &bytes[17..25]), (&2u64.to_be_bytes()[..], &2u64.to_be_bytes()[..]));
        assert_eq!((&bytes[25..33], bytes[33]), (&5i64.to_be_bytes()[..], 1));
    }
}
