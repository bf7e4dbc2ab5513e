//! The gate before every route: it sees from where a request comes, and what became of the token that it showed.
//!
//! Why here and not where tokens are judged: a refusal passes through one place on its way out, whatever the route, so
//! no route can forget to count it. Laws: the answer to a guess beyond the limit is the same for every reason, and comes
//! after the token was judged, so a good one is let in at any time.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use antiphon_engine::Fault;
use antiphon_model::Code;
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{
    guesses::{FAILURES, Guesses},
    peers::{Peer, Proxies},
};
use crate::{app::App, line::Line, problem::Problem};

/// Marks an answer that refuses what may have been a guess.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guessed;

/// Counts guesses by where they come from.
pub(crate) struct Gate {
    proxies: Proxies,
    guesses: Guesses,
}

impl Gate {
    /// Makes a gate; `proxies` are the networks of those that are believed.
    pub(crate) fn new(proxies: &[String]) -> Result<Gate, Fault> {
        Ok(Gate { proxies: Proxies::read(proxies)?, guesses: Guesses::new() })
    }

    /// Returns how many guesses from one place are answered as such a second, and at once.
    pub(crate) fn rate() -> (u64, u64) {
        FAILURES
    }

    /// Counts a guess; an error is the answer in place of its own.
    pub(crate) fn guessed(&self, peer: Peer) -> Result<(), Problem> {
        let Err(seconds) = self.guesses.failed(peer.0) else { return Ok(()) };
        let problem = Problem::new(Code::RateLimited, "too many tokens from this address were not accepted");
        Err(problem.retry_after(seconds))
    }

    fn peer(&self, request: &Request) -> Peer {
        let line = request.extensions().get::<Arc<Line>>();
        // Only tests hand over requests without a connection.
        let socket = line.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |line| line.peer());
        self.proxies.peer(socket, request.headers())
    }
}

/// Lets a request pass, and judges what comes back.
pub(crate) async fn gate(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let peer = app.gate.peer(&request);
    request.extensions_mut().insert(peer);
    let response = next.run(request).await;
    if response.extensions().get::<Guessed>().is_none() {
        return response;
    }
    match app.gate.guessed(peer) {
        Ok(()) => response,
        Err(problem) => problem.into_response(),
    }
}
