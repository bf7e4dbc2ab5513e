//! A connection taken over from HTTP: streams speak to their socket themselves.
//!
//! Why: an idle stream behind an HTTP server keeps the server's buffers; taken over, it costs a socket and a small task,
//! and a frame that many readers share is written without being copied. A handler answers with [`Takeover::answer`]; the
//! response passes through every layer as any other, so that its head carries what all heads carry; then `connections`
//! hands the socket over. A request whose answer is not taken over this way (HEAD) gets the head alone.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::Body,
    http::{Response, Version, header},
};
use tokio::net::TcpStream;

/// What runs on the socket.
pub(crate) type Run = Box<dyn FnOnce(Taken) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A socket that was taken over.
pub(crate) struct Taken {
    /// The socket.
    pub(crate) socket: TcpStream,
    /// The head of the answer, ready to be written.
    pub(crate) head: Vec<u8>,
    /// Whether the body is to be sent in chunks.
    pub(crate) chunked: bool,
}

/// Rides along with a response.
#[derive(Clone)]
pub(crate) struct Takeover(Arc<Mutex<Option<Run>>>);

impl Takeover {
    /// Marks a response as one whose socket `run` takes over.
    pub(crate) fn answer<F>(
        mut response: Response<Body>,
        run: impl FnOnce(Taken) -> F + Send + 'static,
    ) -> Response<Body>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let run: Run = Box::new(move |taken| Box::pin(run(taken)));
        response.extensions_mut().insert(Takeover(Arc::new(Mutex::new(Some(run)))));
        response
    }

    /// Takes out what is to run.
    pub(crate) fn take(&self) -> Option<Run> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Writes the head of a response; what follows it is up to whoever takes over.
pub(crate) fn head(response: &Response<Body>, version: Version) -> (Vec<u8>, bool) {
    let status = response.status();
    let upgrade = status.is_informational();
    let chunked = !upgrade && version == Version::HTTP_11;
    let line = if version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut head = format!("{line} {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or("")).into_bytes();
    for (name, value) in response.headers() {
        // The framing is ours.
        if name == header::CONTENT_LENGTH || name == header::TRANSFER_ENCODING {
            continue;
        }
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    if chunked {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if !upgrade {
        head.extend_from_slice(b"connection: close\r\n");
    }
    head.extend_from_slice(b"\r\n");
    (head, chunked)
}
