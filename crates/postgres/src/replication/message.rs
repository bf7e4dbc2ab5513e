//! Messages of the server: a kind, a length, and the body as a slice of the read buffer.
//!
//! Only the few bodies that a replication connection meets are read here. A length that cannot be is an error; bytes
//! that end early never panic.

use antiphon_engine::Fault;
use antiphon_model::Code;
use bytes::{Buf, Bytes, BytesMut};

use super::Row;
use crate::errors::ServerError;

const HEADER_BYTES: usize = 5;

/// A message of the server.
pub(super) struct Message {
    pub(super) tag: u8,
    pub(super) body: Bytes,
}

impl Message {
    /// Takes the next message, where it has arrived whole.
    #[inline]
    pub(super) fn take(input: &mut BytesMut, bytes_max: usize) -> Result<Option<Message>, Fault> {
        let Some(&[tag, a, b, c, d]) = input.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        // The length counts itself and not the tag.
        let whole = u32::from_be_bytes([a, b, c, d]) as usize + 1;
        if whole < HEADER_BYTES || whole > bytes_max {
            let detail = format!("a message of the kind {tag} claims {whole} bytes");
            return Err(Fault::new(Code::DecodeFailed, detail));
        }
        if input.len() < whole {
            return Ok(None);
        }
        let mut body = input.split_to(whole);
        body.advance(HEADER_BYTES);
        Ok(Some(Message { tag, body: body.freeze() }))
    }

    /// Reads an ErrorResponse or NoticeResponse.
    pub(super) fn server_error(&self) -> ServerError {
        let mut error = ServerError::default();
        let mut rest = &self.body[..];
        while let Some((&field, after)) = rest.split_first().filter(|(field, _)| **field != 0) {
            let end = after.iter().position(|byte| *byte == 0).unwrap_or(after.len());
            let text = String::from_utf8_lossy(&after[..end]).into_owned();
            match field {
                b'C' => error.sqlstate = text,
                b'M' => error.message = text,
                b'D' => error.detail = text,
                _ => {}
            }
            rest = after.get(end + 1..).unwrap_or_default();
        }
        error
    }

    /// A warning of the server may be the only sign that it waits for something (PG-26).
    pub(super) fn log_notice(&self) {
        let notice = self.server_error();
        tracing::warn!(sqlstate = notice.sqlstate, "the server of the source says: {}", notice.message);
    }

    /// Reads a DataRow of texts.
    pub(super) fn row(&self) -> Result<Row, Fault> {
        let mut body = self.body.clone();
        let cut = || Fault::new(Code::DecodeFailed, "a row of a command's answer ends early");
        let columns = body.try_get_u16().map_err(|_| cut())?;
        let mut row = Row::new();
        for _ in 0..columns {
            let length = body.try_get_i32().map_err(|_| cut())?;
            row.push(match usize::try_from(length) {
                Err(_) => None,
                Ok(length) if length <= body.len() => {
                    Some(String::from_utf8_lossy(&body.split_to(length)).into_owned())
                }
                Ok(_) => return Err(cut()),
            });
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(bytes: &[u8]) -> BytesMut {
        BytesMut::from(bytes)
    }

    #[test]
    fn messages_are_taken_only_whole_and_impossible_lengths_are_errors_se_38() {
        let mut input = bytes(&[b'd', 0, 0, 0, 6, 1, 2, b'E']);
        assert_eq!(Message::take(&mut input, 100).unwrap().unwrap().body, [1, 2][..]);
        assert!(Message::take(&mut input, 100).unwrap().is_none());
        assert_eq!(input, [b'E'][..]);
        for hostile in [[b'd', 0, 0, 0, 0], [b'd', 0, 0, 0, 3], [b'd', 255, 255, 255, 255], [b'd', 0, 0, 0, 100]] {
            assert_eq!(
                Message::take(&mut bytes(&hostile), 100).err().map(|fault| fault.code()),
                Some(Code::DecodeFailed)
            );
        }
        assert!(Message::take(&mut bytes(&[b'd', 0, 0, 0, 99]), 100).unwrap().is_none());
    }

    #[test]
    fn errors_and_rows_cut_short_anywhere_do_not_panic_se_38() {
        let error = b"SFATAL\0C28P01\0Mno\0Dwhy\0\0";
        for length in 0..=error.len() {
            let message = Message { tag: b'E', body: Bytes::copy_from_slice(&error[..length]) };
            message.server_error();
        }
        let whole = Message { tag: b'E', body: Bytes::from_static(error) }.server_error();
        assert_eq!((&*whole.sqlstate, &*whole.message, &*whole.detail), ("28P01", "no", "why"));
        let row = [0, 2, 255, 255, 255, 255, 0, 0, 0, 2, b'o', b'k'];
        for length in 0..row.len() {
            assert!(Message { tag: b'D', body: Bytes::copy_from_slice(&row[..length]) }.row().is_err());
        }
        let whole = Message { tag: b'D', body: Bytes::copy_from_slice(&row) }.row().unwrap();
        assert_eq!(whole, [None, Some("ok".to_owned())]);
    }
}
