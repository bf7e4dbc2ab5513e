//! Keeps the keys of an identity provider: fetches them, and again when a token names one that is not known.
//!
//! Laws: tokens with known keys never wait; between two fetches lies a least time, and there is one at a time, so that
//! a storm of tokens with made-up keys costs the provider nothing (SE-06); what was fetched stays in force while the
//! provider does not answer; a key that the provider withdrew ends open streams.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use antiphon_engine::Fault;
use antiphon_model::Code;
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{config::KeyPlace, keys::KeySet};

/// The least time between two fetches.
const FLOOR: Duration = Duration::from_secs(10);
/// Keys are fetched again this often although nobody asks: some may have been withdrawn.
const AGAIN_URL: Duration = Duration::from_secs(300);
const AGAIN_FILE: Duration = Duration::from_secs(10);
/// A provider has so long to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// And may say so much.
const BYTES_MAX: usize = 256 * 1024;

/// The keys of a provider.
pub(super) struct Provider {
    place: KeyPlace,
    client: reqwest::Client,
    floor: Duration,
    known: RwLock<Arc<KeySet>>,
    /// When the last fetch began; held while one is under way.
    fetched: Mutex<Option<Instant>>,
    /// Called when a key is gone.
    withdrawn: Box<dyn Fn() + Send + Sync>,
}

/// The provider's keys were never seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unknown;

impl Provider {
    /// Makes a keeper and fetches for the first time.
    ///
    /// A provider that does not answer is waited for; a file that is not there is an error of whoever configured it.
    pub(super) async fn open(place: KeyPlace, withdrawn: Box<dyn Fn() + Send + Sync>) -> Result<Provider, Fault> {
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("antiphon")
            .build()
            .map_err(|error| Fault::new(Code::TlsFailed, "the client for auth.jwks").with_source(error))?;
        let (known, fetched) = (RwLock::default(), Mutex::default());
        let provider = Provider { place, client, floor: FLOOR, known, fetched, withdrawn };
        provider.refresh().await;
        match (&provider.place, provider.known().is_empty()) {
            (KeyPlace::File(_), true) => {
                Err(Fault::new(Code::ConfigInvalid, "auth.jwks: the file cannot be read or holds no key that serves"))
            }
            _ => Ok(provider),
        }
    }

    /// Returns the key that a token names; `None` where there is none.
    pub(super) async fn key(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<Option<DecodingKey>, Unknown> {
        if let Some(key) = self.known().find(algorithm, kid) {
            return Ok(Some(key.clone()));
        }
        self.refresh().await;
        let known = self.known();
        match known.find(algorithm, kid) {
            Some(key) => Ok(Some(key.clone())),
            None if known.is_empty() => Err(Unknown),
            None => Ok(None),
        }
    }

    /// Fetches from time to time until it is stopped.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        let again = if matches!(self.place, KeyPlace::File(_)) { AGAIN_FILE } else { AGAIN_URL };
        let mut tick = tokio::time::interval(again);
        tick.tick().await;
        loop {
            tokio::select! {
                _ = tick.tick() => self.refresh().await,
                () = stop.cancelled() => return,
            }
        }
    }

    fn known(&self) -> Arc<KeySet> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches, unless that was done a moment ago; whoever comes meanwhile waits for the same answer.
    async fn refresh(&self) {
        let mut fetched = self.fetched.lock().await;
        if fetched.is_some_and(|at| at.elapsed() < self.floor) {
            return;
        }
        *fetched = Some(Instant::now());
        metrics::counter!("antiphon_auth_key_fetches_total").increment(1);
        let keys = match self.fetch().await {
            Ok(text) => KeySet::parse(&text).ok_or("it holds no key that serves"),
            Err(why) => Err(why),
        };
        let keys = match keys {
            Ok(keys) => Arc::new(keys),
            Err(why) => {
                tracing::warn!(reason = why, "the keys of the identity provider could not be read: {why}");
                return;
            }
        };
        let before = {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *known, Arc::clone(&keys))
        };
        if before.loses(&keys) {
            tracing::info!("the identity provider has withdrawn a key; its tokens end");
            (self.withdrawn)();
        }
    }

    async fn fetch(&self) -> Result<Vec<u8>, &'static str> {
        let url = match &self.place {
            KeyPlace::Url(url) => url,
            KeyPlace::File(path) => return tokio::fs::read(path).await.map_err(|_| "the file cannot be read"),
            KeyPlace::Secret(_) => return Err("a shared secret is no address"),
        };
        let mut response = self.client.get(url).send().await.map_err(|_| "it does not answer")?;
        if response.status() != reqwest::StatusCode::OK {
            return Err("it answers with another status than 200");
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| "its answer broke off")? {
            if body.len() + chunk.len() > BYTES_MAX {
                return Err("its answer is too long");
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

#[cfg(test)]
impl Provider {
    /// Lets the next question fetch again.
    pub(super) async fn let_the_floor_pass(&self) {
        *self.fetched.lock().await = None;
    }
}
