//! Opening a socket to a host: addresses are resolved anew each time (PG-33), dead peers are noticed (PG-36), and TLS is
//! agreed on before anything else is said.
//!
//! Law: where TLS is asked for and the server declines, nothing is sent in the clear unless the mode is `prefer`.

use std::{io, time::Duration};

use antiphon_engine::Fault;
use antiphon_model::Code;
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    conninfo::{ConnectionInfo, Host, SslMode},
    errors,
    tls::Tls,
};

/// A stream of bytes of any kind; one virtual call a read of many kilobytes costs nothing.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// Opens a connection and returns with it what a login can be bound to, where it is encrypted.
pub(super) async fn open(
    info: &ConnectionInfo,
    host: &Host,
    port: u16,
) -> Result<(Box<dyn Socket>, Option<Channel>), Fault> {
    let name = match host {
        #[cfg(unix)]
        Host::Unix(folder) => {
            let path = folder.join(format!(".s.PGSQL.{port}"));
            let socket = tokio::net::UnixStream::connect(path).await.map_err(errors::socket)?;
            return Ok((Box::new(socket), Some(Channel::Local)));
        }
        #[cfg(not(unix))]
        Host::Unix(_) => return Err(Fault::new(Code::ConfigInvalid, "Unix sockets do not exist here")),
        Host::Tcp(name) => name,
    };
    let mut socket = dial(name, port).await?;
    tune(&socket, info).map_err(errors::socket)?;
    if info.ssl_mode == SslMode::Disable {
        return Ok((Box::new(socket), None));
    }
    if ask_for_tls(&mut socket).await? {
        let stream = Tls::new(info)?.handshake(name, socket).await?;
        let end_point = stream.end_point();
        return Ok((Box::new(stream), Some(Channel::Tls(end_point))));
    }
    if info.ssl_mode == SslMode::Prefer {
        return Ok((Box::new(socket), None));
    }
    Err(Fault::new(Code::TlsFailed, "the server does not offer TLS"))
}

/// A connection on which nobody listens in.
pub(super) enum Channel {
    /// A Unix socket.
    Local,
    /// TLS, with what a login can be bound to.
    Tls(Option<Vec<u8>>),
}

async fn dial(name: &str, port: u16) -> Result<TcpStream, Fault> {
    let unresolved = |error: io::Error| Fault::new(Code::SourceUnreachable, errors::UNRESOLVED).with_source(error);
    let mut failed = None;
    for address in tokio::net::lookup_host((name, port)).await.map_err(unresolved)? {
        match TcpStream::connect(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => failed = Some(error),
        }
    }
    let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    Err(errors::socket(failed.unwrap_or_else(none)))
}

fn tune(socket: &TcpStream, info: &ConnectionInfo) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = socket2::SockRef::from(socket);
    let keepalive = &info.keepalive;
    if keepalive.enabled {
        let parameters = socket2::TcpKeepalive::new().with_time(keepalive.idle).with_interval(keepalive.interval);
        #[cfg(unix)]
        let parameters = parameters.with_retries(keepalive.count);
        socket.set_tcp_keepalive(&parameters)?;
    }
    #[cfg(target_os = "linux")]
    if keepalive.user_timeout > Duration::ZERO {
        socket.set_tcp_user_timeout(Some(keepalive.user_timeout))?;
    }
    Ok(())
}

async fn ask_for_tls(socket: &mut TcpStream) -> Result<bool, Fault> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await.map_err(errors::socket)?;
    // One byte and no more: what a third party sent after it in the clear must not count as encrypted.
    match socket.read_u8().await.map_err(errors::socket)? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        // The server is too busy to start a session at all; its text may not be trusted before TLS.
        b'E' => Err(Fault::new(Code::SourceUnreachable, "the server refused the connection")),
        _ => Err(Fault::new(Code::TlsFailed, "what answers is no Postgres server")),
    }
}
