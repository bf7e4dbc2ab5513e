//! The replication connection: login, commands, and the stream of bytes in both directions.
//!
//! It exists because the SQL client cannot stream. It reads and never interprets: what a payload means is `wire`'s.
//! Laws: a payload is a slice of the buffer that the socket was read into, so nothing is copied on the way; a buffer
//! grows with the bytes that arrived and never by a length that somebody claims; `fill` may be cancelled at any time.

mod login;
mod message;
mod socket;

use std::time::Duration;

use antiphon_engine::Fault;
use antiphon_model::Code;
use bytes::{BufMut, Bytes, BytesMut};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::{message::Message, socket::Socket};
use crate::{
    connect,
    conninfo::{ConnectionInfo, TargetSession},
    errors::{self, Context},
};

/// One read takes at most this much: large enough that a busy stream costs few system calls and few wake-ups.
const READ_BYTES: usize = 256 << 10;
/// A new buffer is taken only when less than this is left: payloads keep their buffer alive, and many small reads must
/// not keep many large ones.
const SPARE_BYTES_MIN: usize = 32 << 10;
/// A message of the stream may be this long; Postgres itself builds none above 1 GiB.
const STREAM_MESSAGE_BYTES_MAX: usize = (1 << 30) + (1 << 20);
/// Answers to commands are short.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// A command of ours is answered within this time; none of them waits for anything but the server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Sending a few bytes blocks only where the peer has been gone for a while.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// A row of a command's answer, as text.
pub(crate) type Row = Vec<Option<String>>;

/// A logged-in replication connection to one database.
pub(crate) struct ReplicationConnection {
    socket: Box<dyn Socket>,
    input: BytesMut,
}

impl ReplicationConnection {
    /// Connects to the first host that will do; `settings` join those that every session pins.
    pub(crate) async fn connect(
        info: &ConnectionInfo,
        application_name: &str,
        settings: &[(&str, &str)],
    ) -> Result<ReplicationConnection, Fault> {
        let options = connect::options(info, settings);
        let name = info.application_name.as_deref().unwrap_or(application_name);
        let mut refused = Fault::new(Code::SourceUnreachable, "there is no host");
        for (host, port) in &info.hosts {
            let one = async {
                let (socket, end_point) = socket::open(info, host, *port).await?;
                let mut connection = ReplicationConnection { socket, input: BytesMut::new() };
                connection.login(info, end_point, name, &options).await?;
                Ok::<_, Fault>(connection)
            };
            let mut connection = match tokio::time::timeout(info.connect_timeout, one).await {
                Ok(Ok(connection)) => connection,
                // As with libpq, only a host that cannot be reached is a reason to ask the next one.
                Ok(Err(fault)) if fault.code() == Code::SourceUnreachable => {
                    refused = fault;
                    continue;
                }
                Ok(Err(fault)) => return Err(fault),
                Err(_) => {
                    refused = Fault::new(Code::SourceUnreachable, "no answer in time");
                    continue;
                }
            };
            if info.target_session == TargetSession::ReadWrite && connection.read_only().await? {
                refused = Fault::new(Code::InRecovery, "no host takes writes");
                continue;
            }
            return Ok(connection);
        }
        Err(refused)
    }

    /// Sends a command and returns its rows.
    pub(crate) async fn query(&mut self, command: &str) -> Result<Vec<Row>, Fault> {
        let answer = async {
            self.send_query(command).await?;
            let mut rows = Vec::new();
            let mut failed = None;
            loop {
                let message = self.message().await?;
                match message.tag {
                    b'D' => rows.push(message.row()?),
                    // The session goes on after an error, up to the mark that it is ready.
                    b'E' => failed = Some(message.server_error()),
                    b'Z' => break,
                    b'N' => message.log_notice(),
                    _ => {}
                }
            }
            failed.map_or(Ok(rows), |error| Err(errors::server(error, Context::Slot)))
        };
        let late = || Fault::new(Code::SourceUnreachable, "no answer to a replication command in time");
        tokio::time::timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| late())?
    }

    /// Starts the stream; from here on only `take`, `fill` and `send` are of use.
    pub(crate) async fn start_streaming(&mut self, command: &str) -> Result<(), Fault> {
        let answer = async {
            self.send_query(command).await?;
            loop {
                let message = self.message().await?;
                match message.tag {
                    b'W' => return Ok(()),
                    b'E' => return Err(errors::server(message.server_error(), Context::Slot)),
                    b'N' => message.log_notice(),
                    b'S' => {}
                    _ => return Err(unexpected(message.tag)),
                }
            }
        };
        let late = || Fault::new(Code::SourceUnreachable, "the stream did not start in time");
        tokio::time::timeout(ANSWER_TIMEOUT, answer).await.map_err(|_| late())?
    }

    /// Takes the content of the next CopyData message that has arrived whole.
    pub(crate) fn take(&mut self) -> Result<Option<Bytes>, Fault> {
        while let Some(message) = Message::take(&mut self.input, STREAM_MESSAGE_BYTES_MAX)? {
            match message.tag {
                b'd' => return Ok(Some(message.body)),
                b'E' => return Err(errors::server(message.server_error(), Context::Stream)),
                b'N' => message.log_notice(),
                b'S' => {}
                b'c' | b'C' => return Err(Fault::new(Code::SourceUnreachable, "the server ended the stream")),
                tag => return Err(unexpected(tag)),
            }
        }
        Ok(None)
    }

    /// Waits for bytes and returns how many came; cancelling loses none.
    pub(crate) async fn fill(&mut self) -> Result<usize, Fault> {
        // A long message doubles the buffer with each read; a claimed length alone allocates nothing.
        if self.input.capacity() - self.input.len() < SPARE_BYTES_MIN {
            self.input.reserve(READ_BYTES.max(self.input.len()));
        }
        match self.socket.read_buf(&mut self.input).await {
            Ok(0) => Err(Fault::new(Code::SourceUnreachable, "the server closed the connection")),
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(errors::socket(error)),
        }
    }

    /// Sends the content of a CopyData message.
    pub(crate) async fn send(&mut self, content: &[u8]) -> Result<(), Fault> {
        let mut out = BytesMut::with_capacity(content.len() + 5);
        out.put_u8(b'd');
        // Our contents are status updates of 34 bytes.
        out.put_u32(u32::try_from(content.len() + 4).unwrap_or(u32::MAX));
        out.put_slice(content);
        self.write(&out).await
    }

    /// Says good-bye, so that the server frees the slot at once; failing is of no interest any more.
    pub(crate) async fn end(mut self) {
        let mut out = BytesMut::new();
        frontend::copy_done(&mut out);
        frontend::terminate(&mut out);
        if let Err(fault) = self.write(&out).await {
            tracing::debug!(error = %fault.chain(), "a replication connection ended without good-bye");
        } else if let Err(error) = self.socket.shutdown().await {
            tracing::debug!(%error, "a replication connection could not be shut down");
        }
    }

    async fn read_only(&mut self) -> Result<bool, Fault> {
        let rows = self.query("show transaction_read_only").await?;
        Ok(rows.first().and_then(|row| row.first()) == Some(&Some("on".to_owned())))
    }

    async fn send_query(&mut self, command: &str) -> Result<(), Fault> {
        let mut out = BytesMut::new();
        frontend::query(command, &mut out).map_err(errors::socket)?;
        self.write(&out).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let write = async {
            self.socket.write_all(bytes).await?;
            self.socket.flush().await
        };
        let late = || Fault::new(Code::SourceUnreachable, "the server takes no more bytes");
        tokio::time::timeout(SEND_TIMEOUT, write).await.map_err(|_| late())?.map_err(errors::socket)
    }

    /// Waits for a whole message outside the stream.
    async fn message(&mut self) -> Result<Message, Fault> {
        loop {
            if let Some(message) = Message::take(&mut self.input, ANSWER_BYTES_MAX)? {
                return Ok(message);
            }
            self.fill().await?;
        }
    }
}

fn unexpected(tag: u8) -> Fault {
    Fault::new(Code::DecodeFailed, format!("the server sent a message of the unexpected kind {tag}"))
}

#[cfg(all(test, unix))]
mod tests;
