//! Running the server for the command line: from operators' words to the service's configuration.

use std::net::SocketAddr;

use antiphon_engine::Fault;
use antiphon_model::Code;
use axum::Router;

use super::AdminConfig;

/// How to serve.
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// The address to listen on; its port may be 0.
    pub listen: SocketAddr,
    /// Whether our tables are brought to this version first.
    pub migrate: bool,
    /// Activities younger than this stay in the log.
    pub retention_days: u64,
    /// At least so many activities stay in the log.
    pub retention_min_activities: u64,
}

/// A running server.
pub struct Serving {}

/// Starts the server.
pub async fn serve(config: AdminConfig, options: ServeOptions) -> Result<Serving, Fault> {
    let _ = (config, options);
    Err(Fault::new(Code::Internal, "the server is not joined yet"))
}

/// Starts the server of `antiphon dev`, with its page.
pub(crate) async fn serve_with_page(config: AdminConfig, options: ServeOptions, page: Router) -> Result<Serving, Fault> {
    let _ = page;
    serve(config, options).await
}

impl Serving {
    /// Returns the address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// Waits for a failure that it cannot mend by itself.
    pub async fn failed(&self) -> Fault {
        std::future::pending().await
    }

    /// Drains and stops.
    pub async fn stop(self) {}
}
